/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls of an application are uses of the HSM, by the audit trail that they leave:
 * what is one, under which name, with which result, and what stays out of it.
 */
#include "operations_ground.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "base/time.h"
#include "support/trail.h"

static struct ground *g;
static char folder[300];
static CK_BYTE text[32] = "canary plaintext of thirty-two.";
static CK_BYTE out[600];
static CK_ULONG out_len;

/* --- a trail, and what it tells -------------------------------------------------------
 */

static void begin_with(const char *lines)
{
	static unsigned count;
	char pool_lines[600];
	snprintf(folder, sizeof(folder), "%s/audit-%u", g->fixture.dir, count++);
	snprintf(pool_lines, sizeof(pool_lines), "audit = %s\n%s", folder, lines);
	ground_begin(g, 4, pool_lines, "admin = yes");
}

static void begin(void)
{
	begin_with("");
}

static char *end(void)
{
	ground_end(g);
	return trail_read(folder);
}

/* The uses after the ground's own, which end with a mark: a seed. */
static void mark(void)
{
	CK_BYTE seed[1] = { 0 };
	g->p11->C_SeedRandom(g->main, seed, sizeof(seed));
}

static size_t after_mark(const char *trail)
{
	size_t n = 0;
	const char *use;
	while ((use = trail_use(trail, n)) && strncmp(use, "C_SeedRandom", 12) != 0)
		n++;
	assert_non_null(use);
	return n + 1;
}

#define EXPECT(...)                                                    \
	do {                                                           \
		static const char *const expected[] = { __VA_ARGS__ }; \
		char *trail = end();                                   \
		trail_assert(trail, after_mark(trail), expected);      \
		free(trail);                                           \
	} while (0)

#define LAST ""

/* --- calls ---------------------------------------------------------------------------
 */

static CK_MECHANISM ecb = { CKM_AES_ECB, NULL, 0 };
static CK_MECHANISM mac = { CKM_SHA256_HMAC, NULL, 0 };
static CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };

static CK_BYTE *room(void)
{
	out_len = sizeof(out);
	return out;
}

static void sign_once(void)
{
	assert_rv(g->p11->C_SignInit(g->main, &mac, g->hmac), CKR_OK);
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), room(), &out_len), CKR_OK);
}

/* --- operations ------------------------------------------------------------------------
 */

static void init_and_the_call_that_ends_it_are_one_use(void **state)
{
	g = *state;
	begin();
	mark();
	sign_once();
	assert_rv(g->p11->C_VerifyInit(g->main, &mac, g->hmac), CKR_OK);
	assert_rv(g->p11->C_Verify(g->main, text, sizeof(text), out, out_len), CKR_OK);
	assert_rv(g->p11->C_EncryptInit(g->main, &ecb, g->aes), CKR_OK);
	assert_rv(g->p11->C_Encrypt(g->main, text, sizeof(text), room(), &out_len),
		  CKR_OK);
	assert_rv(g->p11->C_DecryptInit(g->main, &ecb, g->aes), CKR_OK);
	assert_rv(g->p11->C_Decrypt(g->main, out, out_len, text, &out_len), CKR_OK);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_OK);
	assert_rv(g->p11->C_Digest(g->main, text, sizeof(text), room(), &out_len),
		  CKR_OK);
	EXPECT("C_Sign CKR_OK", "C_Verify CKR_OK", "C_Encrypt CKR_OK", "C_Decrypt CKR_OK",
	       "C_Digest CKR_OK", LAST);
}

static void parts_are_one_use_named_after_the_last(void **state)
{
	g = *state;
	begin();
	mark();
	assert_rv(g->p11->C_SignInit(g->main, &mac, g->hmac), CKR_OK);
	assert_rv(g->p11->C_SignUpdate(g->main, text, 10), CKR_OK);
	assert_rv(g->p11->C_SignUpdate(g->main, text, 22), CKR_OK);
	assert_rv(g->p11->C_SignFinal(g->main, room(), &out_len), CKR_OK);
	assert_rv(g->p11->C_DigestInit(g->main, &sha), CKR_OK);
	assert_rv(g->p11->C_DigestUpdate(g->main, text, 5), CKR_OK);
	assert_rv(g->p11->C_DigestFinal(g->main, room(), &out_len), CKR_OK);
	assert_rv(g->p11->C_EncryptInit(g->main, &ecb, g->aes), CKR_OK);
	assert_rv(g->p11->C_EncryptUpdate(g->main, text, 16, room(), &out_len), CKR_OK);
	assert_rv(g->p11->C_EncryptUpdate(g->main, text, 16, room(), &out_len), CKR_OK);
	assert_rv(g->p11->C_EncryptFinal(g->main, room(), &out_len), CKR_OK);
	char *trail = end();
	size_t first = after_mark(trail);
	static const char *const expected[] = { "C_SignFinal CKR_OK",
						"C_DigestFinal CKR_OK",
						"C_EncryptFinal CKR_OK", LAST };
	trail_assert(trail, first, expected);
	assert_non_null(strstr(trail_line(trail, first), "\"in\":32,\"out\":32"));
	assert_non_null(strstr(trail_line(trail, first + 1), "\"in\":5,\"out\":32"));
	assert_non_null(strstr(trail_line(trail, first + 2), "\"in\":32,\"out\":32"));
	free(trail);
}

static void an_init_that_fails_is_a_use_of_its_own(void **state)
{
	g = *state;
	begin();
	mark();
	assert_rv(g->p11->C_SignInit(g->main, &mac, g->hmac), CKR_OK);
	CK_RV rv = g->p11->C_SignInit(g->main, &mac, g->hmac);
	assert_rv(rv, CKR_OPERATION_ACTIVE);
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), room(), &out_len), CKR_OK);
	EXPECT("C_SignInit CKR_OPERATION_ACTIVE", "C_Sign CKR_OK", LAST);
}

static void an_init_alone_is_no_use(void **state)
{
	g = *state;
	begin();
	CK_SESSION_HANDLE other = ground_session(g);
	mark();
	assert_rv(g->p11->C_SignInit(other, &mac, g->hmac), CKR_OK);
	assert_rv(g->p11->C_CloseSession(other), CKR_OK);
	EXPECT(LAST);
}

static void what_gave_output_and_is_given_up_is_told(void **state)
{
	g = *state;
	begin();
	CK_SESSION_HANDLE other = ground_session(g);
	mark();
	assert_rv(g->p11->C_EncryptInit(other, &ecb, g->aes), CKR_OK);
	assert_rv(g->p11->C_EncryptUpdate(other, text, 16, room(), &out_len), CKR_OK);
	assert_rv(g->p11->C_CloseSession(other), CKR_OK);
	EXPECT("C_EncryptUpdate CKR_FUNCTION_CANCELED", LAST);
}

static void asking_for_a_size_is_no_use_nor_is_too_little_room(void **state)
{
	g = *state;
	begin();
	mark();
	assert_rv(g->p11->C_SignInit(g->main, &mac, g->hmac), CKR_OK);
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), NULL, &out_len), CKR_OK);
	out_len = 1;
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), out, &out_len),
		  CKR_BUFFER_TOO_SMALL);
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), room(), &out_len), CKR_OK);
	EXPECT("C_Sign CKR_OK", LAST);
}

static void a_call_without_an_operation_is_told_as_it_failed(void **state)
{
	g = *state;
	begin();
	mark();
	assert_rv(g->p11->C_Sign(g->main, text, sizeof(text), room(), &out_len),
		  CKR_OPERATION_NOT_INITIALIZED);
	EXPECT("C_Sign CKR_OPERATION_NOT_INITIALIZED", LAST);
}

static void searches_and_reading_attributes_are_no_uses(void **state)
{
	g = *state;
	begin();
	mark();
	CK_OBJECT_HANDLE found;
	CK_ULONG count;
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE look = { CKA_CLASS, &class, sizeof(class) };
	assert_rv(g->p11->C_FindObjectsInit(g->main, NULL, 0), CKR_OK);
	assert_rv(g->p11->C_FindObjects(g->main, &found, 1, &count), CKR_OK);
	assert_rv(g->p11->C_FindObjectsFinal(g->main), CKR_OK);
	assert_rv(g->p11->C_GetAttributeValue(g->main, g->aes, &look, 1), CKR_OK);
	EXPECT(LAST);
}

/* --- management, random, login ---------------------------------------------------------
 */

static void objects_made_changed_and_destroyed_are_uses(void **state)
{
	g = *state;
	begin();
	mark();
	CK_MECHANISM generation = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 16;
	CK_BBOOL no = CK_FALSE;
	CK_OBJECT_HANDLE key;
	CK_ATTRIBUTE template[] = {
		{ CKA_VALUE_LEN, &len, sizeof(len) },
		{ CKA_TOKEN, &no, 1 },
		{ CKA_LABEL, (void *)(uintptr_t) "made here", 9 },
	};
	CK_ATTRIBUTE renamed = { CKA_LABEL, (void *)(uintptr_t) "renamed", 7 };
	assert_rv(g->p11->C_GenerateKey(g->main, &generation, template, 3, &key), CKR_OK);
	assert_rv(g->p11->C_SetAttributeValue(g->main, key, &renamed, 1), CKR_OK);
	assert_rv(g->p11->C_DestroyObject(g->main, key), CKR_OK);
	assert_rv(g->p11->C_GenerateRandom(g->main, out, 40), CKR_OK);
	char *trail = end();
	size_t first = after_mark(trail);
	static const char *const expected[] = { "C_GenerateKey CKR_OK",
						"C_SetAttributeValue CKR_OK",
						"C_DestroyObject CKR_OK",
						"C_GenerateRandom CKR_OK", LAST };
	trail_assert(trail, first, expected);
	assert_non_null(strstr(trail_line(trail, first), "\"event\":\"management\""));
	assert_non_null(strstr(trail_line(trail, first), "\"label\":\"made here\""));
	assert_non_null(
		strstr(trail_line(trail, first), "\"mechanism\":\"CKM_AES_KEY_GEN\""));
	assert_non_null(strstr(trail_line(trail, first + 2), "\"label\":\"renamed\""));
	assert_non_null(strstr(trail_line(trail, first + 3), "\"event\":\"operation\""));
	assert_non_null(strstr(trail_line(trail, first + 3), "\"out\":40"));
	free(trail);
}

static void logins_and_logouts_are_uses(void **state)
{
	g = *state;
	begin();
	mark();
	CK_UTF8CHAR wrong[] = "wrong-9999";
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, wrong, sizeof(wrong) - 1),
		  CKR_PIN_INCORRECT);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
	assert_rv(g->p11->C_CloseSession(g->main), CKR_OK);
	EXPECT("C_Logout CKR_OK", "C_Login CKR_PIN_INCORRECT", "C_Login CKR_OK",
	       "C_Logout CKR_OK", LAST);
}

static void an_attempt_to_initialise_the_token_is_told(void **state)
{
	g = *state;
	CK_UTF8CHAR pin[] = FIXTURE_SO_PIN;
	CK_UTF8CHAR label[33] = "new label                       ";
	begin();
	mark();
	assert_rv(g->p11->C_InitToken(g->slot, pin, sizeof(pin) - 1, label),
		  CKR_SESSION_EXISTS);
	char *trail = end();
	static const char *const expected[] = { "C_InitToken CKR_SESSION_EXISTS", LAST };
	trail_assert(trail, after_mark(trail), expected);
	assert_non_null(strstr(trail, "\"token\":\"new label\""));
	assert_null(strstr(trail, FIXTURE_SO_PIN));
	free(trail);
}

/* --- what a record says ---------------------------------------------------------------
 */

static void a_record_names_key_mechanism_session_and_token(void **state)
{
	g = *state;
	char session[40];
	begin();
	mark();
	sign_once();
	snprintf(session, sizeof(session), "\"session\":%lu", g->main);
	char *trail = end();
	const char *line = trail_line(trail, after_mark(trail));
	assert_non_null(line);
	assert_non_null(strstr(line, session));
	assert_non_null(strstr(line, "\"mechanism\":\"CKM_SHA256_HMAC\""));
	assert_non_null(strstr(line, "\"key\":{\"label\":\"hmac\""));
	assert_non_null(strstr(line, "\"fingerprint\":\""));
	assert_non_null(strstr(line, "\"token\":\""));
	assert_non_null(strstr(line, "\"request\":\""));
	assert_non_null(strstr(line, "\"us\":"));
	free(trail);
}

static void nothing_secret_is_in_the_trail(void **state)
{
	g = *state;
	CK_UTF8CHAR wrong[] = "wrong-9999";
	begin();
	mark();
	assert_rv(g->p11->C_EncryptInit(g->main, &ecb, g->aes), CKR_OK);
	assert_rv(g->p11->C_Encrypt(g->main, text, sizeof(text), room(), &out_len),
		  CKR_OK);
	assert_rv(g->p11->C_Logout(g->main), CKR_OK);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, wrong, sizeof(wrong) - 1),
		  CKR_PIN_INCORRECT);
	char *trail = end();
	assert_null(strstr(trail, "canary"));
	assert_null(strstr(trail, "wrong-9999"));
	assert_null(strstr(trail, FIXTURE_USER_PIN));
	free(trail);
}

static void who_the_key_is_costs_no_call(void **state)
{
	g = *state;
	const struct mock_control *control = fixture_mock_control();
	struct mock_counters before, after;
	begin();
	sign_once();
	control->counters(&before);
	sign_once();
	control->counters(&after);
	assert_int_equal(after.calls - before.calls, 2);
	ground_end(g);
}

/* --- a trail that cannot be written
 * -----------------------------------------------------
 */

static void limit_files(rlim_t size)
{
	struct rlimit limit;
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static CK_RV try_to_sign(void)
{
	CK_RV rv = g->p11->C_SignInit(g->main, &mac, g->hmac);
	return rv == CKR_OK
		       ? g->p11->C_Sign(g->main, text, sizeof(text), room(), &out_len)
		       : rv;
}

static void without_a_record_there_is_no_signature_if_so_configured(void **state)
{
	g = *state;
	signal(SIGXFSZ, SIG_IGN);
	begin_with("audit-failure = refuse");
	limit_files(0);
	CK_RV rv = CKR_OK;
	for (int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	     rv == CKR_OK && hp_now_ns() < until;)
		rv = try_to_sign();
	memset(out, 0, sizeof(out));
	CK_RV again = try_to_sign();
	limit_files(RLIM_INFINITY);
	assert_rv(rv, CKR_DEVICE_ERROR);
	assert_rv(again, CKR_DEVICE_ERROR);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0);
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_and_the_call_that_ends_it_are_one_use),
		cmocka_unit_test(parts_are_one_use_named_after_the_last),
		cmocka_unit_test(an_init_that_fails_is_a_use_of_its_own),
		cmocka_unit_test(an_init_alone_is_no_use),
		cmocka_unit_test(what_gave_output_and_is_given_up_is_told),
		cmocka_unit_test(asking_for_a_size_is_no_use_nor_is_too_little_room),
		cmocka_unit_test(a_call_without_an_operation_is_told_as_it_failed),
		cmocka_unit_test(searches_and_reading_attributes_are_no_uses),
		cmocka_unit_test(objects_made_changed_and_destroyed_are_uses),
		cmocka_unit_test(logins_and_logouts_are_uses),
		cmocka_unit_test(an_attempt_to_initialise_the_token_is_told),
		cmocka_unit_test(a_record_names_key_mechanism_session_and_token),
		cmocka_unit_test(nothing_secret_is_in_the_trail),
		/* on the mock alone */
		cmocka_unit_test(who_the_key_is_costs_no_call),
		cmocka_unit_test(without_a_record_there_is_no_signature_if_so_configured),
	};
	return ground_run("uses", tests, sizeof(tests) / sizeof(tests[0]), 2, argc, argv);
}
