/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Picking the token by URI, among three of one module.
 */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "p11/token.h"

static struct hp_module *module;

static hsmpool_status find(const char *uri_text, struct hp_token *token,
			   hsmpool_error *err)
{
	struct hp_uri *uri = NULL;
	if (uri_text)
		assert_ok(hp_uri_parse(uri_text, &uri, err), err);
	hsmpool_status status = hp_token_find(module, uri, token, err);
	hp_uri_free(&uri);
	return status;
}

static void label_of(const struct hp_token *token, char label[33])
{
	hp_token_text(token->info.label, sizeof(token->info.label), label);
}

static void expect_label(const char *uri, const char *expected)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	char label[33];
	assert_ok(find(uri, &token, &err), &err);
	label_of(&token, label);
	assert_string_equal(label, expected);
}

static void assert_says(const hsmpool_error *err, const char *part)
{
	if (!strstr(err->text, part))
		fail_msg("\"%s\" does not say \"%s\"", err->text, part);
}

static void serial_uri(const char *label, char *uri, size_t cap)
{
	char text[100];
	char serial[17];
	struct hp_token token;
	hsmpool_error err = { 0 };
	snprintf(text, sizeof(text), "pkcs11:token=%s", label);
	assert_ok(find(text, &token, &err), &err);
	hp_token_text(token.info.serialNumber, sizeof(token.info.serialNumber), serial);
	snprintf(uri, cap, "pkcs11:serial=%s", serial);
}

static void a_token_is_found_by_label_serial_or_slot(void **state)
{
	char uri[100];
	struct hp_token token;
	hsmpool_error err = { 0 };
	(void)state;
	expect_label("pkcs11:token=" FIXTURE_TOKEN, FIXTURE_TOKEN);
	expect_label("pkcs11:token=second;model=SoftHSM%20v2", "second");
	serial_uri("second", uri, sizeof(uri));
	expect_label(uri, "second");
	assert_ok(find("pkcs11:token=second", &token, &err), &err);
	snprintf(uri, sizeof(uri), "pkcs11:slot-id=%lu", token.slot);
	expect_label(uri, "second");
}

static void what_the_uri_says_of_module_and_slot_counts_too(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	(void)state;
	expect_label("pkcs11:token=second;library-manufacturer=SoftHSM", "second");
	assert_status(
		find("pkcs11:token=second;library-manufacturer=Other", &token, &err),
		HSMPOOL_ERR_DOWN);
	assert_status(find("pkcs11:token=second;slot-description=Other", &token, &err),
		      HSMPOOL_ERR_DOWN);
}

static void two_matches_are_an_error_that_lists_both(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	char uri[100];
	(void)state;
	assert_status(find("pkcs11:model=SoftHSM%20v2", &token, &err), HSMPOOL_ERR_DOWN);
	assert_says(&err, "token=" FIXTURE_TOKEN);
	assert_says(&err, "token=second");
	serial_uri("second", uri, sizeof(uri));
	assert_says(&err, strchr(uri, '=') + 1);
	assert_status(find(NULL, &token, &err), HSMPOOL_ERR_DOWN);
	assert_says(&err, "2 match");
}

static void no_match_says_what_tokens_there_are(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	(void)state;
	assert_status(find("pkcs11:token=absent", &token, &err), HSMPOOL_ERR_DOWN);
	assert_says(&err, "token=" FIXTURE_TOKEN);
	assert_says(&err, "correct the option");
}

/* SoftHSM2 always shows one more slot whose token is not initialised. */
static void a_fresh_slot_is_never_the_token(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	char uri[100];
	CK_SLOT_ID slots[16];
	CK_ULONG count = HP_ARRAY_LEN(slots);
	CK_TOKEN_INFO info;
	(void)state;
	assert_int_equal(module->fl->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	assert_int_equal(count, 3);
	for (CK_ULONG i = 0; i < count; i++) {
		memset(&info, 0, sizeof(info));
		assert_int_equal(module->fl->C_GetTokenInfo(slots[i], &info), CKR_OK);
		snprintf(uri, sizeof(uri), "pkcs11:slot-id=%lu", slots[i]);
		assert_status(find(uri, &token, &err), info.flags & CKF_TOKEN_INITIALIZED
							       ? HSMPOOL_OK
							       : HSMPOOL_ERR_DOWN);
	}
}

static void a_token_is_found_again_where_it_is_now(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	(void)state;
	assert_ok(find("pkcs11:token=second", &token, &err), &err);
	CK_SLOT_ID slot = token.slot;
	token.slot = slot + 1; /* as if it had moved */
	memset(&token.info.utcTime, 'x', sizeof(token.info.utcTime));
	assert_ok(hp_token_find_again(&token, &err), &err);
	assert_int_equal(token.slot, slot);
	token.info.serialNumber[0] ^= 1;
	assert_status(hp_token_find_again(&token, &err), HSMPOOL_ERR_DOWN);
	assert_says(&err, "is gone");
}

static void a_refresh_reads_the_flags_anew(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	(void)state;
	assert_ok(find("pkcs11:token=second", &token, &err), &err);
	CK_FLAGS flags = token.info.flags;
	token.info.flags = ~flags; /* SoftHSM2 ORs into what it is given */
	assert_int_equal(hp_token_refresh(&token), CKR_OK);
	assert_int_equal(token.info.flags, flags);
}

static void mechanisms_are_listed_and_described(void **state)
{
	struct hp_token token;
	hsmpool_error err = { 0 };
	CK_MECHANISM_TYPE *list = NULL;
	CK_MECHANISM_INFO info;
	CK_ULONG count = 0;
	bool has_gcm = false;
	(void)state;
	assert_ok(find("pkcs11:token=second", &token, &err), &err);
	assert_int_equal(hp_token_mechanisms(&token, &list, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++)
		has_gcm |= list[i] == CKM_AES_GCM;
	free(list);
	assert_true(has_gcm);
	assert_int_equal(hp_token_mechanism_info(&token, CKM_AES_GCM, &info), CKR_OK);
	assert_true(info.flags & CKF_ENCRYPT);
	assert_int_equal(hp_token_mechanism_info(&token, 0x7ffffff0, &info),
			 CKR_MECHANISM_INVALID);
}

static void a_session_limit_that_says_nothing_is_none(void **state)
{
	const struct {
		CK_ULONG all, writing, expected_ro, expected_rw;
	} cases[] = {
		{ CK_EFFECTIVELY_INFINITE, CK_EFFECTIVELY_INFINITE, 0, 0 },
		{ CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 0, 0 },
		{ 8, CK_UNAVAILABLE_INFORMATION, 8, 8 },
		{ CK_EFFECTIVELY_INFINITE, 4, 0, 4 },
		{ 8, 4, 8, 4 },
		{ 4, 8, 4, 4 },
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(cases); i++) {
		struct hp_token token = {
			.info = { .ulMaxSessionCount = cases[i].all,
				  .ulMaxRwSessionCount = cases[i].writing },
		};
		assert_int_equal(hp_token_session_limit(&token, false),
				 cases[i].expected_ro);
		assert_int_equal(hp_token_session_limit(&token, true),
				 cases[i].expected_rw);
	}
}

static void padded_fields_are_trimmed_on_the_right_only(void **state)
{
	const CK_UTF8CHAR field[8] = { ' ', 'a', ' ', 'b', ' ', ' ', ' ', ' ' };
	const CK_UTF8CHAR full[2] = { 'x', 'y' };
	const CK_UTF8CHAR ended[4] = { 'x', '\0', 'y', ' ' };
	char text[9];
	(void)state;
	hp_token_text(field, sizeof(field), text);
	assert_string_equal(text, " a b");
	hp_token_text(full, sizeof(full), text);
	assert_string_equal(text, "xy");
	hp_token_text(ended, sizeof(ended), text);
	assert_string_equal(text, "x");
}

static int make_ground(void **state)
{
	static struct fixture f;
	hsmpool_error err = { 0 };
	fixture_softhsm(&f);
	fixture_add_token(&f, "second");
	assert_ok(hp_module_open(&module, f.module, NULL, NULL, &err), &err);
	*state = &f;
	return 0;
}

static int remove_ground(void **state)
{
	hp_module_close(&module);
	fixture_remove(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_found_by_label_serial_or_slot),
		cmocka_unit_test(what_the_uri_says_of_module_and_slot_counts_too),
		cmocka_unit_test(two_matches_are_an_error_that_lists_both),
		cmocka_unit_test(no_match_says_what_tokens_there_are),
		cmocka_unit_test(a_fresh_slot_is_never_the_token),
		cmocka_unit_test(a_token_is_found_again_where_it_is_now),
		cmocka_unit_test(a_refresh_reads_the_flags_anew),
		cmocka_unit_test(mechanisms_are_listed_and_described),
		cmocka_unit_test(a_session_limit_that_says_nothing_is_none),
		cmocka_unit_test(padded_fields_are_trimmed_on_the_right_only),
	};
	return cmocka_run_group_tests(tests, make_ground, remove_ground);
}
