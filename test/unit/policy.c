/* SPDX-License-Identifier: Apache-2.0 */
/* What policies allow, and how several of them combine: pool/policy.c. */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <hsmpool/log.h>
#include <hsmpool/metrics.h>
#include "base/memory.h"
#include "pool/policy.h"
#include "pool/policy_counts.h"

static struct hp_policy_options sections[8];
static size_t section_count;
static struct hp_policy_set *set;
static hsmpool_error err;
static char last_line[1024];
static unsigned lines;

static void take_line(void *user, hsmpool_log_level level, const char *event,
		      const char *text)
{
	(void)user;
	(void)level;
	assert_string_equal(event, "policy-denied");
	snprintf(last_line, sizeof(last_line), "%s", text);
	lines++;
}

static int begin(void **state)
{
	(void)state;
	memset(sections, 0, sizeof(sections));
	section_count = 0;
	lines = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	hp_policy_free(set);
	set = NULL;
	return 0;
}

/* A section that says nothing but what is given; functions and mechanisms NULL: all. */
static struct hp_policy_options *add(const char *name, const char *keys,
				     const char *functions, const char *mechanisms)
{
	struct hp_policy_options *section = &sections[section_count++];
	section->name = (char *)(uintptr_t)name;
	section->keys = (char *)(uintptr_t)keys;
	section->mechanisms = (char *)(uintptr_t)(mechanisms ? mechanisms : "all");
	assert_ok(
		hp_actions_parse(functions ? functions : "all", &section->actions, &err),
		&err);
	return section;
}

static struct hp_token bank(void)
{
	struct hp_token token = { .slot = 3 };
	memset(&token.info, ' ', sizeof(token.info.label));
	memset(token.info.label, ' ', sizeof(token.info.label));
	memset(token.info.manufacturerID, ' ', sizeof(token.info.manufacturerID));
	memset(token.info.model, ' ', sizeof(token.info.model));
	memset(token.info.serialNumber, ' ', sizeof(token.info.serialNumber));
	memcpy(token.info.label, "bank", 4);
	return token;
}

static void compile(void)
{
	struct hp_token token = bank();
	struct hp_policy_set *next;
	assert_ok(
		hp_policy_compile(&next, "tested", sections, section_count, &token, &err),
		&err);
	hp_policy_keep(next, set);
	set = next;
}

static struct hp_key_identity key(CK_OBJECT_CLASS class, const char *label, uint8_t id)
{
	struct hp_key_identity identity = { .class = class, .is_token = true };
	identity.label_len = strlen(label);
	memcpy(identity.label, label, identity.label_len);
	identity.id_len = 1;
	identity.id[0] = id;
	return identity;
}

static const struct hp_key_identity *payments(void)
{
	static struct hp_key_identity identity;
	identity = key(CKO_PRIVATE_KEY, "payments", 1);
	return &identity;
}

static const struct hp_key_identity *other(void)
{
	static struct hp_key_identity identity;
	identity = key(CKO_SECRET_KEY, "other", 2);
	return &identity;
}

static bool allows(enum hp_action action, const struct hp_key_identity *object)
{
	struct hp_policy_question q = { .call = "C_Call",
					.action = action,
					.object = object };
	return hp_policy_ask(set, &q, &err) == HSMPOOL_OK;
}

static bool allows_by(unsigned long mechanism, const struct hp_key_identity *object)
{
	struct hp_policy_question q = { .call = "C_Sign",
					.action = HP_ACTION_SIGN,
					.object = object,
					.has_mechanism = true,
					.mechanism = mechanism };
	return hp_policy_ask(set, &q, &err) == HSMPOOL_OK;
}

static bool allows_change(enum hp_action action, const struct hp_key_identity *object)
{
	struct hp_policy_question q = { .call = "C_Call",
					.action = action,
					.object = object,
					.changes_token = !object || object->is_token };
	return hp_policy_ask(set, &q, &err) == HSMPOOL_OK;
}

static uint64_t counted(const char *policy, enum hp_action action,
			enum hp_policy_mode mode)
{
	return hp_policy_counted(hp_policy_counts_of("tested", policy), action, mode);
}

/* --- one section -----------------------------------------------------------------------
 */

static void without_a_section_everything_is_allowed(void **state)
{
	(void)state;
	compile();
	assert_true(allows(HP_ACTION_SIGN, payments()));
}

static void a_section_allows_the_functions_that_it_names(void **state)
{
	(void)state;
	add("p", NULL, "sign random", NULL);
	compile();
	assert_true(allows(HP_ACTION_SIGN, payments()));
	assert_true(allows(HP_ACTION_RANDOM, NULL));
	assert_false(allows(HP_ACTION_DECRYPT, payments()));
	assert_false(allows(HP_ACTION_DIGEST, NULL));
}

static void a_section_allows_the_mechanisms_that_it_names(void **state)
{
	(void)state;
	add("p", NULL, NULL, "ecdsa-sha256 CKM_EDDSA 0x80000001");
	compile();
	assert_true(allows_by(CKM_ECDSA, payments()));
	assert_true(allows_by(CKM_ECDSA_SHA256, payments()));
	assert_true(allows_by(CKM_EDDSA, payments()));
	assert_true(allows_by(0x80000001, payments()));
	assert_false(allows_by(CKM_ECDSA_SHA384, payments()));
	assert_false(allows_by(0, payments()));
	assert_true(allows(HP_ACTION_DESTROY, payments())); /* has none */
}

static void a_section_allows_all_mechanisms_but_the_excepted(void **state)
{
	(void)state;
	add("p", NULL, NULL, "!CKM_RSA_PKCS !aes-cbc");
	compile();
	assert_false(allows_by(CKM_RSA_PKCS, payments()));
	assert_false(allows_by(CKM_AES_CBC, payments()));
	assert_true(allows_by(CKM_AES_GCM, payments()));
}

static void a_mechanism_that_is_named_and_excepted_is_not_allowed(void **state)
{
	(void)state;
	add("p", NULL, NULL, "all ecdsa-sha256 !CKM_ECDSA");
	compile();
	assert_false(allows_by(CKM_ECDSA, payments()));
	assert_true(allows_by(CKM_ECDSA_SHA256, payments()));
	assert_false(allows_by(CKM_AES_GCM, payments()));
}

static void a_read_only_section_keeps_objects_of_the_token_as_they_are(void **state)
{
	(void)state;
	add("p", NULL, NULL, NULL)->is_read_only = true;
	compile();
	struct hp_key_identity session_key = *other();
	session_key.is_token = false;
	assert_false(allows_change(HP_ACTION_DESTROY, payments()));
	assert_false(allows_change(HP_ACTION_GENERATE, payments()));
	assert_false(allows_change(HP_ACTION_ADMIN, NULL));
	assert_true(allows_change(HP_ACTION_GENERATE, &session_key));
	assert_true(allows(HP_ACTION_SIGN, payments()));
}

/* --- which objects ---------------------------------------------------------------------
 */

static void a_section_is_about_the_objects_that_any_of_its_uris_selects(void **state)
{
	static const struct {
		const char *keys;
		bool has_payments, has_other, has_none;
	} rows[] = {
		{ NULL, true, true, true },
		{ "pkcs11:", true, true, false },
		{ "pkcs11:object=payments", true, false, false },
		{ "pkcs11:object=payment", false, false, false },
		{ "pkcs11:object=Payments", false, false, false },
		{ "pkcs11:id=%01", true, false, false },
		{ "pkcs11:id=%01%02", false, false, false },
		{ "pkcs11:object=payments;id=%02", false, false, false },
		{ "pkcs11:object=payments;id=%01;type=private", true, false, false },
		{ "pkcs11:object=payments;type=public", false, false, false },
		{ "pkcs11:type=secret-key", false, true, false },
		{ "pkcs11:token=bank;object=payments", true, false, false },
		{ "pkcs11:token=vault;object=payments", false, false, false },
		{ "pkcs11:object=payments pkcs11:object=other", true, true, false },
		{ "!pkcs11:object=payments", false, true, false },
		{ "!pkcs11:token=vault;object=payments", true, true, false },
		{ "pkcs11:token=vault !pkcs11:object=other", false, false, false },
		{ "pkcs11:token=bank !pkcs11:object=other", true, false, false },
		{ "!pkcs11:object=payments !pkcs11:object=other", false, false, false },
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++) {
		section_count = 0;
		add("p", rows[i].keys, "none", NULL);
		compile();
		if (allows(HP_ACTION_SIGN, payments()) == rows[i].has_payments ||
		    allows(HP_ACTION_SIGN, other()) == rows[i].has_other ||
		    allows(HP_ACTION_RANDOM, NULL) == rows[i].has_none)
			fail_msg("key = %s", rows[i].keys ? rows[i].keys : "(none)");
	}
}

static void what_is_not_known_of_an_object_is_held_against_it(void **state)
{
	(void)state;
	struct hp_key_identity classless = *payments();
	struct hp_policy_question unknown = { .call = "C_Sign", .is_unknown = true };
	classless.class = CK_UNAVAILABLE_INFORMATION;
	add("p", "pkcs11:object=payments;type=secret-key", "none", NULL);
	compile();
	assert_false(allows(HP_ACTION_GENERATE, &classless));
	assert_status(hp_policy_ask(set, &unknown, &err), HSMPOOL_ERR_DENIED);
	assert_non_null(strstr(err.text, "C_Sign with an unknown object is not allowed"));
	assert_true(allows(HP_ACTION_RANDOM, NULL));
}

static void of_a_new_key_pair_both_halves_are_meant(void **state)
{
	(void)state;
	add("p", "pkcs11:object=payments;type=public", "none", NULL);
	compile();
	struct hp_policy_question q = { .call = "C_GenerateKeyPair",
					.action = HP_ACTION_GENERATE,
					.object = payments() };
	assert_ok(hp_policy_ask(set, &q, &err), &err);
	q.is_pair = true;
	assert_status(hp_policy_ask(set, &q, &err), HSMPOOL_ERR_DENIED);
	sections[0].keys = (char *)(uintptr_t) "!pkcs11:type=public";
	compile();
	assert_status(hp_policy_ask(set, &q, &err), HSMPOOL_ERR_DENIED);
}

static void a_uri_that_is_none_is_refused_with_its_section(void **state)
{
	(void)state;
	struct hp_token token = bank();
	struct hp_policy_set *next;
	add("broken", "pkcs11:object=a;pin-value=1234", NULL, NULL);
	assert_status(
		hp_policy_compile(&next, "tested", sections, section_count, &token, &err),
		HSMPOOL_ERR_CONFIG);
	assert_null(next);
	assert_non_null(strstr(err.text, "[policy broken] key: URI"));
}

static void another_text_of_a_section_is_another_policy(void **state)
{
	(void)state;
	struct hp_policy_set *before;
	add("p", "pkcs11:object=a", "sign", "CKM_RSA_PKCS");
	compile();
	before = set;
	compile();
	assert_true(hp_policy_is_same(before, set));
	sections[0].keys = NULL;
	compile();
	assert_false(hp_policy_is_same(before, set));
	sections[0].keys = (char *)(uintptr_t) "pkcs11:object=a";
	sections[0].mode = HP_POLICY_DRY_RUN;
	compile();
	assert_false(hp_policy_is_same(before, set));
	section_count = 0;
	compile();
	assert_false(hp_policy_is_same(before, set));
	assert_true(hp_policy_is_same(NULL, set));
}

/* --- several sections ------------------------------------------------------------------
 */

static void all_sections_that_are_about_an_object_must_allow(void **state)
{
	(void)state;
	add("payments", "pkcs11:object=payments", "sign verify", NULL);
	add("everything", NULL, "sign decrypt random", NULL);
	compile();
	assert_true(allows(HP_ACTION_SIGN, payments()));
	assert_false(allows(HP_ACTION_VERIFY, payments()));
	assert_non_null(strstr(err.text, "[policy everything]"));
	assert_false(allows(HP_ACTION_DECRYPT, payments()));
	assert_non_null(strstr(err.text, "[policy payments]"));
	assert_true(allows(HP_ACTION_DECRYPT, other()));
	assert_false(allows(HP_ACTION_WRAP, payments()));
	assert_non_null(strstr(err.text, "[policy payments]")); /* the first */
}

static void a_dry_run_refuses_nothing_and_hides_no_refusal(void **state)
{
	(void)state;
	add("tried", NULL, "sign", NULL)->mode = HP_POLICY_DRY_RUN;
	add("in-force", "pkcs11:object=payments", "sign verify", NULL);
	compile();
	assert_true(allows(HP_ACTION_DECRYPT, other()));
	assert_int_equal(lines, 1);
	assert_non_null(strstr(last_line, "[policy tried] would refuse C_Call with key "
					  "'other'"));
	assert_false(allows(HP_ACTION_DECRYPT, payments()));
	assert_int_equal(lines, 3);
	assert_non_null(strstr(err.text, "[policy in-force]"));
	assert_int_equal(counted("tried", HP_ACTION_DECRYPT, HP_POLICY_DRY_RUN), 2);
	assert_int_equal(counted("tried", HP_ACTION_DECRYPT, HP_POLICY_ENFORCE), 0);
	assert_int_equal(counted("in-force", HP_ACTION_DECRYPT, HP_POLICY_ENFORCE), 1);
	assert_int_equal(counted("in-force", HP_ACTION_DECRYPT, HP_POLICY_DRY_RUN), 0);
}

/* --- what is said ----------------------------------------------------------------------
 */

static void a_refusal_names_call_key_section_and_reason(void **state)
{
	(void)state;
	add("payments", "pkcs11:object=payments", "sign", "CKM_EDDSA");
	compile();
	assert_false(allows(HP_ACTION_DECRYPT, payments()));
	assert_string_equal(err.text,
			    "C_Call with key 'payments' is not allowed by [policy "
			    "payments]: its functions do not include 'decrypt'; use "
			    "another key, or have the policy changed");
	assert_false(allows_by(CKM_RSA_PKCS, payments()));
	assert_non_null(strstr(err.text, "its mechanisms do not include CKM_RSA_PKCS;"));
	assert_string_equal(last_line, "[policy payments] refuses C_Sign with key "
				       "'payments': its mechanisms do not include "
				       "CKM_RSA_PKCS");
}

static void a_key_without_a_label_is_named_by_its_id(void **state)
{
	(void)state;
	struct hp_key_identity nameless = key(CKO_SECRET_KEY, "", 0xab);
	add("p", NULL, "none", NULL);
	compile();
	assert_false(allows(HP_ACTION_SIGN, &nameless));
	assert_non_null(strstr(err.text, "with key of id 'ab'"));
}

static void a_hostile_label_stays_within_its_quotes_and_bounds(void **state)
{
	(void)state;
	struct hp_key_identity hostile = key(CKO_SECRET_KEY, "a\nb\x1b", 1);
	add("p", NULL, "none", NULL);
	compile();
	assert_false(allows(HP_ACTION_SIGN, &hostile));
	assert_non_null(strstr(err.text, "with key 'a?b?'"));
	memset(hostile.label, 'x', sizeof(hostile.label));
	hostile.label_len = sizeof(hostile.label);
	assert_false(allows(HP_ACTION_SIGN, &hostile));
	assert_true(strlen(err.text) < 300);
}

static void a_program_gets_the_code_that_fits_the_reason(void **state)
{
	(void)state;
	add("p", NULL, "encrypt sign destroy", "CKM_EDDSA")->is_read_only = true;
	compile();
	assert_false(allows(HP_ACTION_DECRYPT, payments()));
	assert_int_equal(err.ck_rv, CKR_KEY_FUNCTION_NOT_PERMITTED);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_false(allows(HP_ACTION_CREATE, payments()));
	assert_int_equal(err.ck_rv, CKR_ACTION_PROHIBITED);
	assert_false(allows(HP_ACTION_RANDOM, NULL));
	assert_int_equal(err.ck_rv, CKR_ACTION_PROHIBITED);
	assert_false(allows_by(CKM_RSA_PKCS, payments()));
	assert_int_equal(err.ck_rv, CKR_MECHANISM_INVALID);
	assert_false(allows_change(HP_ACTION_DESTROY, payments()));
	assert_int_equal(err.ck_rv, CKR_ACTION_PROHIBITED);
}

/* --- changes ---------------------------------------------------------------------------
 */

static void counts_go_on_when_a_section_is_changed_or_comes_back(void **state)
{
	(void)state;
	add("counted", NULL, "none", NULL);
	compile();
	assert_false(allows(HP_ACTION_SIGN, payments()));
	section_count = 0;
	compile(); /* no sections any more */
	assert_non_null(set);
	assert_true(allows(HP_ACTION_SIGN, payments()));
	add("counted", NULL, "verify", NULL);
	compile();
	assert_false(allows(HP_ACTION_SIGN, payments()));
	assert_int_equal(counted("counted", HP_ACTION_SIGN, HP_POLICY_ENFORCE), 2);
}

static void refusals_are_metrics(void **state)
{
	(void)state;
	char *text;
	size_t len;
	add("measured", NULL, "none", NULL);
	compile();
	assert_false(allows(HP_ACTION_SIGN, payments()));
	sections[0].mode = HP_POLICY_DRY_RUN;
	compile();
	assert_true(allows(HP_ACTION_DESTROY, payments()));
	assert_ok(hsmpool_metrics_text(&text, &len, &err), &err);
	assert_non_null(strstr(text,
			       "\nhsmpool_policy_denied_total{pool=\"tested\",policy="
			       "\"measured\",function=\"sign\"} 1\n"));
	assert_non_null(strstr(text, "\nhsmpool_policy_would_deny_total{pool=\"tested\","
				     "policy=\"measured\",function=\"destroy\"} 1\n"));
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		/* These first: the log writes 20 lines of an event in 10 seconds. */
		TEST(a_dry_run_refuses_nothing_and_hides_no_refusal),
		TEST(a_refusal_names_call_key_section_and_reason),
		TEST(without_a_section_everything_is_allowed),
		TEST(a_section_allows_the_functions_that_it_names),
		TEST(a_section_allows_the_mechanisms_that_it_names),
		TEST(a_section_allows_all_mechanisms_but_the_excepted),
		TEST(a_mechanism_that_is_named_and_excepted_is_not_allowed),
		TEST(a_read_only_section_keeps_objects_of_the_token_as_they_are),
		TEST(a_section_is_about_the_objects_that_any_of_its_uris_selects),
		TEST(what_is_not_known_of_an_object_is_held_against_it),
		TEST(of_a_new_key_pair_both_halves_are_meant),
		TEST(a_uri_that_is_none_is_refused_with_its_section),
		TEST(another_text_of_a_section_is_another_policy),
		TEST(all_sections_that_are_about_an_object_must_allow),
		TEST(a_key_without_a_label_is_named_by_its_id),
		TEST(a_hostile_label_stays_within_its_quotes_and_bounds),
		TEST(a_program_gets_the_code_that_fits_the_reason),
		TEST(counts_go_on_when_a_section_is_changed_or_comes_back),
		TEST(refusals_are_metrics),
	};
	hsmpool_log_set_callback(take_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
