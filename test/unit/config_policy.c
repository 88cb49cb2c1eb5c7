/* SPDX-License-Identifier: Apache-2.0 */
/* [policy NAME] in the configuration: config/policy.c and what config.c makes of it. */
#include "support/fixture.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "config/options.h"
#include "scratch.h"

#define BIT(function) (1u << HP_ACTION_##function)

static hsmpool_config *config;
static hsmpool_error err;

static int close_it(void **state)
{
	(void)state;
	hsmpool_config_close(&config);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

static void refused(const char *text, const char *expected)
{
	hsmpool_status status =
		hsmpool_config_load(&config, scratch_text("c.conf", text), &err);
	assert_status(status, HSMPOOL_ERR_CONFIG);
	if (!strstr(err.text, expected))
		fail_msg("\"%s\" does not say \"%s\"", err.text, expected);
}

static void load(const char *text)
{
	hsmpool_config_close(&config);
	assert_ok(hsmpool_config_load(&config, scratch_text("c.conf", text), &err), &err);
}

/* --- functions -----------------------------------------------------------------------
 */

static void functions_are_those_that_are_named_or_all_but_some(void **state)
{
	static const struct {
		const char *list;
		uint32_t functions;
	} rows[] = {
		{ "all", HP_ACTIONS_ALL },
		{ "none", 0 },
		{ "sign", BIT(SIGN) },
		{ "sign verify", BIT(SIGN) | BIT(VERIFY) },
		{ "verify \t sign  sign", BIT(SIGN) | BIT(VERIFY) },
		{ "!destroy", HP_ACTIONS_ALL & ~BIT(DESTROY) },
		{ "all !destroy !modify", HP_ACTIONS_ALL & ~BIT(DESTROY) & ~BIT(MODIFY) },
		{ "sign wrap !wrap", BIT(SIGN) },
		{ "!all", 0 },
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(rows); i++) {
		uint32_t functions = 7;
		assert_ok(hp_actions_parse(rows[i].list, &functions, &err), &err);
		if (functions != rows[i].functions)
			fail_msg("\"%s\" means %x", rows[i].list, functions);
	}
}

static void every_function_has_a_word_that_means_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < HP_ACTION_COUNT; i++) {
		uint32_t functions;
		assert_ok(hp_actions_parse(hp_action_word(i), &functions, &err), &err);
		assert_int_equal(functions, 1u << i);
	}
}

/* --- what is wrong ---------------------------------------------------------------------
 */

static void a_wrong_word_is_refused_with_its_line_and_the_nearest(void **state)
{
	(void)state;
	refused("[policy p]\n\nfunctions = verify sing\n",
		"c.conf:3: functions: 'sing' is no function; did you mean 'sign'?");
	refused("[policy p]\nfunctions = zzzzzzz\n", "there are: sign verify encrypt");
	refused("[policy p]\nfunctions = !\n", "functions: '' is no function");
	refused("[policy p]\nfunctions = none sign\n", "functions: 'none' is no");
	refused("[policy p]\nmechanisms = CKM_AES_GCN\n",
		"c.conf:2: mechanisms: 'CKM_AES_GCN' is no mechanism; did you mean "
		"'CKM_AES_GCM'?");
	refused("[policy p]\nmechanisms = ??\n", "write CKM_AES_GCM");
	refused("[policy p]\nkey = pkcs11:object=a payments\n",
		"c.conf:2: key: 'payments' is not a PKCS#11 URI");
	refused("[policy p]\nread-only = maybe\n", "neither yes nor no");
	refused("[policy p]\nmode = try\n", "is none of enforce|dry-run");
	refused("[policy p]\nfunction = sign\n", "did you mean 'functions'?");
	refused("[policy]\nfunctions = sign\n", "needs a name: [policy NAME]");
	refused("[pool]\nfunctions = sign\n", "it belongs in [policy NAME]");
	refused("[polcy p]\n", "did you mean [policy NAME]?");
}

static void to_log_in_and_to_search_is_said_to_be_allowed_always(void **state)
{
	(void)state;
	refused("[policy p]\nfunctions = sign login\n", "'login' is no function; to log "
							"in");
	refused("[policy p]\nfunctions = find\n", "allowed always");
}

static void a_pool_that_does_not_exist_is_refused(void **state)
{
	(void)state;
	refused("[pool]\nmodule = m\n[pool two]\n[policy p]\npool = tow\n",
		"[policy p] pool: no section [pool tow]; there are [pool], [pool two]");
	refused("[pool]\nmodule = m\n[policy p]\npool = !tow\n", "no section [pool tow]");
}

/* --- what is read
 * ----------------------------------------------------------------------- */

static void a_policy_is_read_with_its_defaults(void **state)
{
	(void)state;
	load("[policy p]\n");
	struct hp_policy_options *policies;
	size_t count;
	assert_ok(hp_config_policies(config, &policies, &count, &err), &err);
	assert_int_equal(count, 1);
	assert_string_equal(policies[0].name, "p");
	assert_null(policies[0].keys);
	assert_null(policies[0].pools);
	assert_int_equal(policies[0].actions, HP_ACTIONS_ALL);
	assert_string_equal(policies[0].mechanisms, "all");
	assert_false(policies[0].is_read_only);
	assert_int_equal(policies[0].mode, HP_POLICY_ENFORCE);
	hp_policy_options_free(policies, count);
}

static void a_policy_is_read_with_what_it_says(void **state)
{
	(void)state;
	load("[policy p]\nkey = pkcs11:object=a;type=private !pkcs11:id=%01\n"
	     "functions = sign\nmechanisms = ecdsa-sha256 CKM_EDDSA 0x80000001\n"
	     "read-only = yes\nmode = dry-run\n");
	struct hp_policy_options *policies;
	size_t count;
	assert_ok(hp_config_policies(config, &policies, &count, &err), &err);
	assert_string_equal(policies[0].keys,
			    "pkcs11:object=a;type=private !pkcs11:id=%01");
	assert_int_equal(policies[0].actions, BIT(SIGN));
	assert_string_equal(policies[0].mechanisms, "ecdsa-sha256 CKM_EDDSA 0x80000001");
	assert_true(policies[0].is_read_only);
	assert_int_equal(policies[0].mode, HP_POLICY_DRY_RUN);
	hp_policy_options_free(policies, count);
}

static void assert_policies_of(const char *pool, const char *expected)
{
	struct hp_pool_options options;
	char names[100] = "";
	assert_ok(hp_config_pool(config, pool, &options, &err), &err);
	for (size_t i = 0; i < options.policy_count; i++)
		strncat(names, options.policies[i].name,
			sizeof(names) - strlen(names) - 1);
	assert_string_equal(names, expected);
	hp_pool_options_clear(&options);
}

static void a_pool_has_the_policies_that_are_for_it(void **state)
{
	(void)state;
	load("[pool]\nmodule = m\n[pool two]\n[pool three]\n"
	     "[policy a]\n"
	     "[policy b]\npool = two\n"
	     "[policy c]\npool = three two\n"
	     "[policy d]\npool = !two\n"
	     "[policy e]\npool = !two !three\n"
	     "[policy f]\npool = three !three\n");
	assert_policies_of("", "ade");
	assert_policies_of("two", "abc");
	assert_policies_of("three", "acd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_those_that_are_named_or_all_but_some),
		cmocka_unit_test(every_function_has_a_word_that_means_it),
		cmocka_unit_test_teardown(
			a_wrong_word_is_refused_with_its_line_and_the_nearest, close_it),
		cmocka_unit_test_teardown(
			to_log_in_and_to_search_is_said_to_be_allowed_always, close_it),
		cmocka_unit_test_teardown(a_pool_that_does_not_exist_is_refused,
					  close_it),
		cmocka_unit_test_teardown(a_policy_is_read_with_its_defaults, close_it),
		cmocka_unit_test_teardown(a_policy_is_read_with_what_it_says, close_it),
		cmocka_unit_test_teardown(a_pool_has_the_policies_that_are_for_it,
					  close_it),
	};
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
