/* SPDX-License-Identifier: Apache-2.0 */
/* Several tokens: which of them are shown, and with which section's settings each is
 * served. */
#include "module_ground.h"

#include <stdio.h>
#include <string.h>

/* An operation that outgrows this holds its real session, which tells how many of them
 * the pool has. */
#define NO_JOURNAL "journal-limit = 1B\n"

static struct fixture fixture;

static void begin(const char *pool_lines, const char *proxy_lines)
{
	module_configure(&fixture, pool_lines, proxy_lines);
	module_begin();
}

/* The label of each slot with a token that is initialised, in the list's order. */
static CK_ULONG list_labels(char labels[8][33], CK_SLOT_ID slots[8])
{
	CK_SLOT_ID all[8];
	CK_ULONG count = 8, found = 0;
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, all, &count), CKR_OK);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		assert_rv(module_load()->C_GetTokenInfo(all[i], &info), CKR_OK);
		if (!(info.flags & CKF_TOKEN_INITIALIZED))
			continue;
		snprintf(labels[found], 33, "%.32s", (const char *)info.label);
		*strchrnul(labels[found], ' ') = '\0';
		slots[found++] = all[i];
	}
	return found;
}

static CK_SLOT_ID slot_of(const char *label)
{
	char labels[8][33];
	CK_SLOT_ID slots[8];
	CK_ULONG count = list_labels(labels, slots);
	for (CK_ULONG i = 0; i < count; i++)
		if (strcmp(labels[i], label) == 0)
			return slots[i];
	fail_msg("no token %s", label);
	return 0;
}

/* As many operations as can be pinned before one finds no session. */
static unsigned sessions_of(const char *label)
{
	CK_SLOT_ID slot = slot_of(label);
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE two[2] = { 0 };
	unsigned count = 0;
	CK_RV rv = CKR_OK;
	while (rv == CKR_OK && count < 10) {
		CK_SESSION_HANDLE s;
		assert_rv(module_load()->C_OpenSession(slot, RW, NULL, NULL, &s), CKR_OK);
		rv = module_load()->C_DigestInit(s, &sha);
		if (rv == CKR_OK)
			rv = module_load()->C_DigestUpdate(s, two, sizeof(two));
		count += rv == CKR_OK;
	}
	assert_rv(rv, CKR_FUNCTION_FAILED);
	return count;
}

/* --- login = application ---------------------------------------------------------------
 */

static void a_section_that_names_a_token_is_that_tokens(void **state)
{
	(void)state;
	begin("max-sessions = 3\nborrow-timeout = 50ms\n"
	      "[pool small]\ntoken = pkcs11:token=second\nmax-sessions = 1\n",
	      NO_JOURNAL);
	char labels[8][33];
	CK_SLOT_ID slots[8];
	assert_int_equal(list_labels(labels, slots), 3); /* all of them are shown */
	assert_int_equal(sessions_of("second"), 1);
	assert_int_equal(sessions_of("third"), 3);
	assert_int_equal(sessions_of(FIXTURE_TOKEN), 3);
	module_end();
}

static void where_pool_names_a_token_the_named_ones_are_shown_and_no_others(void **state)
{
	char labels[8][33];
	CK_SLOT_ID slots[8];
	CK_ULONG count = 1;
	(void)state;
	begin("token = pkcs11:token=" FIXTURE_TOKEN "\n"
	      "[pool other]\ntoken = pkcs11:token=third\n"
	      "[pool gone]\ntoken = pkcs11:token=none\n",
	      NULL);
	assert_int_equal(list_labels(labels, slots), 2);
	assert_string_equal(labels[0], FIXTURE_TOKEN);
	assert_string_equal(labels[1], "third");
	assert_rv(module_load()->C_GetSlotList(CK_TRUE, slots, &count),
		  CKR_BUFFER_TOO_SMALL);
	assert_int_equal(count, 2);
	module_end();
}

/* For a program that uses the library, and chooses by name. */
static void sections_that_mean_the_same_token_change_nothing(void **state)
{
	(void)state;
	begin("token = pkcs11:token=second\nmax-sessions = 2\nborrow-timeout = 50ms\n"
	      "[pool batch]\nmax-sessions = 1\n"
	      "[pool again]\ntoken = pkcs11:token=second\nmax-sessions = 1\n"
	      "[pool by-serial]\ntoken = pkcs11:token=second;manufacturer=SoftHSM%20project\n"
	      "max-sessions = 1\n"
	      "[pool elsewhere]\nmodule = /nowhere.so\ntoken = pkcs11:token=third\n",
	      NO_JOURNAL);
	char labels[8][33];
	CK_SLOT_ID slots[8];
	assert_int_equal(list_labels(labels, slots), 1);
	assert_int_equal(sessions_of("second"), 2);
	module_end();
}

static void a_wrong_section_is_an_error_at_once(void **state)
{
	(void)state;
	module_configure(&fixture, "[pool wrong]\ntoken = pkcs11:nonsense=1\n", NULL);
	assert_rv(module_load()->C_Initialize(NULL), CKR_GENERAL_ERROR);
}

/* --- login = automatic -----------------------------------------------------------------
 */

static void assert_born_logged_in(const char *label)
{
	CK_SESSION_HANDLE s;
	assert_rv(module_load()->C_OpenSession(slot_of(label), RW, NULL, NULL, &s),
		  CKR_OK);
	assert_int_equal(module_state(s), CKS_RW_USER_FUNCTIONS);
}

static void automatic_login_serves_every_token_that_has_a_section_and_a_pin(void **state)
{
	char lines[1000], labels[8][33];
	CK_SLOT_ID slots[8];
	(void)state;
	snprintf(lines, sizeof(lines),
		 "[pool one]\ntoken = pkcs11:token=second\npin-source = file:%s\n"
		 "[pool two]\ntoken = pkcs11:token=third\npin-source = file:%s\n",
		 fixture.pin_file, fixture.pin_file);
	begin(lines, "login = automatic");
	assert_int_equal(list_labels(labels, slots), 2);
	assert_born_logged_in("second");
	assert_born_logged_in("third");
	module_end();
}

static void automatic_login_needs_a_pin_for_each(void **state)
{
	(void)state;
	module_configure(&fixture,
			 "[pool one]\ntoken = pkcs11:token=second\npin-source = env:PIN\n"
			 "[pool two]\ntoken = pkcs11:token=third\n",
			 "login = automatic");
	assert_rv(module_load()->C_Initialize(NULL), CKR_GENERAL_ERROR);
}

/* ---------------------------------------------------------------------------------------
 */

static int make_tokens(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	fixture_add_token(&fixture, "second");
	fixture_add_token(&fixture, "third");
	return 0;
}

static int remove_tokens(void **state)
{
	(void)state;
	fixture_remove(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_section_that_names_a_token_is_that_tokens),
		cmocka_unit_test(
			where_pool_names_a_token_the_named_ones_are_shown_and_no_others),
		cmocka_unit_test(sections_that_mean_the_same_token_change_nothing),
		cmocka_unit_test(a_wrong_section_is_an_error_at_once),
		cmocka_unit_test(
			automatic_login_serves_every_token_that_has_a_section_and_a_pin),
		cmocka_unit_test(automatic_login_needs_a_pin_for_each),
	};
	return cmocka_run_group_tests(tests, make_tokens, remove_tokens);
}
