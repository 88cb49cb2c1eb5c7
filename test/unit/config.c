/* SPDX-License-Identifier: Apache-2.0 */
/* Values in force, inheritance and the typed options: config/config.c, section.c. */
#include "support/fixture.h"

#include "base/time.h"
#include "config/options.h"

#include <string.h>
#include <unistd.h>

static hsmpool_config *config;
static hsmpool_error err;

static int open_empty(void **state)
{
	(void)state;
	return hsmpool_config_new(&config, &err);
}

static int close_it(void **state)
{
	(void)state;
	hsmpool_config_close(&config);
	return 0;
}

static void set(const char *section, const char *key, const char *value)
{
	assert_ok(hsmpool_config_set(config, section, key, value, &err), &err);
}

/* The value must be refused, with this in the text. */
static void refused(const char *section, const char *key, const char *value,
		    const char *expected)
{
	hsmpool_status status = hsmpool_config_set(config, section, key, value, &err);
	assert_status(status, HSMPOOL_ERR_CONFIG);
	if (!strstr(err.text, expected))
		fail_msg("\"%s\" does not say \"%s\"", err.text, expected);
}

static void defaults_are_those_of_the_manual(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	assert_string_equal(pool.name, "");
	assert_string_equal(pool.module, "/m.so");
	assert_null(pool.token);
	assert_null(pool.pin_source);
	assert_null(pool.module_env);
	assert_int_equal(pool.max_sessions, 16);
	assert_int_equal(pool.min_sessions, 2);
	assert_int_equal(pool.max_waiters, 1024);
	assert_true(pool.borrow_timeout == 5 * HP_SECOND);
	assert_true(pool.revalidate_interval == 60 * HP_SECOND);
	assert_true(pool.validate_after == 30 * HP_SECOND);
	assert_int_equal(pool.probe, HP_PROBE_TOKEN_INFO);
	assert_null(pool.probe_key);
	assert_true(pool.idle_timeout == 600 * HP_SECOND);
	assert_true(pool.max_lifetime == 3600 * HP_SECOND);
	assert_true(pool.stuck_after == 30 * HP_SECOND);
	assert_int_equal(pool.stuck_reserve, 0);
	assert_true(pool.call_timeout == 0);
	assert_true(pool.leak_warn == 60 * HP_SECOND);
	assert_true(pool.close_grace == 10 * HP_SECOND);
	assert_int_equal(pool.key_copies, HP_KEY_COPIES_NONE);
	assert_false(pool.fair);
	assert_int_equal(pool.sign_retry, HP_SIGN_RETRY_NO);
	assert_false(pool.offload_public);
	assert_int_equal(pool.session_mode, HP_SESSIONS_ON_DEMAND);
	assert_true(pool.keeper);
	assert_true(pool.control);
	assert_false(pool.hsm_iv);
	assert_null(pool.rv_class);
	assert_null(pool.log);
	assert_int_equal(pool.log_level, HSMPOOL_LOG_WARNING);
	assert_false(pool.log_json);
	hp_pool_options_clear(&pool);
}

static void every_pool_option_reaches_its_field(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "softhsm2");
	set("pool", "module-env", "SOFTHSM2_CONF=/a=b");
	set("pool", "token", "pkcs11:token=a;serial=b");
	set("pool", "pin-source", "command:/bin/pin --of \"a b\"");
	set("pool", "max-sessions", "65535");
	set("pool", "min-sessions", "9");
	set("pool", "max-waiters", "0");
	set("pool", "borrow-timeout", "0");
	set("pool", "revalidate-interval", "100us");
	set("pool", "validate-after", "1d");
	set("pool", "probe", "canary:pkcs11:object=c;type=private");
	set("pool", "idle-timeout", "1s");
	set("pool", "max-lifetime", "2s");
	set("pool", "stuck-after", "3s");
	set("pool", "leak-warn", "4s");
	set("pool", "close-grace", "5s");
	set("pool", "key-copies", "session");
	set("pool", "fair", "yes");
	set("pool", "sign-retry", "deterministic");
	set("pool", "offload-public", "yes");
	set("pool", "sessions", "read-write");
	set("pool", "keeper", "no");
	set("pool", "control", "no");
	set("pool", "hsm-iv", "yes");
	set("pool", "rv-class", "0x80000001=device");
	set("pool", "state-dir", "/s");
	set("pool", "log", "file:/l");
	set("pool", "log-level", "debug");
	set("pool", "log-format", "json");
	set("pool", "metrics-file", "/m-%p.prom");
	set("pool", "metrics-interval", "3s");
	set("pool", "audit", "/a");
	set("pool", "audit-records", "management");
	set("pool", "audit-failure", "refuse");
	set("pool", "audit-rotate-size", "4KiB");
	set("pool", "audit-rotate-after", "2h");
	set("pool", "audit-keep", "2190d");
	set("pool", "audit-keep-size", "1GiB");
	set("pool", "audit-checkpoint", "5m");
	set("pool", "audit-key", "pkcs11:object=k");
	set("pool", "audit-pool", "other");
	assert_ok(hp_config_pool(config, "", &pool, &err), &err);
	assert_string_equal(pool.module, "softhsm2");
	assert_string_equal(pool.module_env, "SOFTHSM2_CONF=/a=b");
	assert_string_equal(pool.token, "pkcs11:token=a;serial=b");
	assert_string_equal(pool.pin_source, "command:/bin/pin --of \"a b\"");
	assert_int_equal(pool.max_sessions, 65535);
	assert_int_equal(pool.min_sessions, 9);
	assert_int_equal(pool.max_waiters, 0);
	assert_true(pool.borrow_timeout == 0);
	assert_true(pool.revalidate_interval == 100 * HP_US);
	assert_true(pool.validate_after == 86400 * HP_SECOND);
	assert_int_equal(pool.probe, HP_PROBE_CANARY);
	assert_string_equal(pool.probe_key, "pkcs11:object=c;type=private");
	assert_true(pool.idle_timeout == 1 * HP_SECOND);
	assert_true(pool.max_lifetime == 2 * HP_SECOND);
	assert_true(pool.stuck_after == 3 * HP_SECOND);
	assert_true(pool.leak_warn == 4 * HP_SECOND);
	assert_true(pool.close_grace == 5 * HP_SECOND);
	assert_int_equal(pool.key_copies, HP_KEY_COPIES_SESSION);
	assert_true(pool.fair);
	assert_int_equal(pool.sign_retry, HP_SIGN_RETRY_DETERMINISTIC);
	assert_true(pool.offload_public);
	assert_int_equal(pool.session_mode, HP_SESSIONS_READ_WRITE);
	assert_false(pool.keeper);
	assert_false(pool.control);
	assert_true(pool.hsm_iv);
	assert_string_equal(pool.rv_class, "0x80000001=device");
	assert_string_equal(pool.state_dir, "/s");
	assert_string_equal(pool.log, "file:/l");
	assert_int_equal(pool.log_level, HSMPOOL_LOG_DEBUG);
	assert_true(pool.log_json);
	assert_string_equal(pool.metrics_file, "/m-%p.prom");
	assert_true(pool.metrics_interval == 3 * HP_SECOND);
	hp_pool_options_clear(&pool);
}

static void a_value_out_of_range_is_refused_by_name(void **state)
{
	(void)state;
	refused("pool", "max-sessions", "0",
		"max-sessions: '0' is out of range (1 to 65535)");
	refused("pool", "max-sessions", "65536", "out of range");
	refused("pool", "max-sessions", "18446744073709551617", "not a whole number");
	refused("pool", "max-sessions", "-1", "not a whole number");
	refused("pool", "max-sessions", "many", "'many' is not a whole number");
	refused("pool", "max-sessions", "", "not a whole number");
	refused("pool", "max-sessions", "8 ; no comment here", "not a whole number");
	refused("pool", "stuck-after", "0", "out of range");
	refused("pool", "borrow-timeout", "366d", "out of range");
	refused("proxy", "journal-limit", "2GiB", "out of range");
	set("pool", "call-timeout", "5s");
	set("pool", "call-timeout", "0");
	set("pool", "call-timeout", "0s");
	set("pool", "stuck-reserve", "0");
	set("pool", "stuck-reserve", "4");
}

static void a_value_of_the_wrong_kind_is_refused_with_what_is_right(void **state)
{
	(void)state;
	refused("pool", "borrow-timeout", "5",
		"'5' has no unit; put us, ms, s, m, h or d");
	refused("pool", "borrow-timeout", "soon", "not a duration");
	refused("pool", "fair", "true", "'true' is neither yes nor no");
	refused("pool", "key-copies", "token", "'token' is none of none|session");
	refused("pool", "log-level", "warn", "none of error|warning|notice|info|debug");
	refused("pool", "log", "stdout", "none of stderr, file:PATH, syslog, journald");
	refused("pool", "log", "file:", "none of");
	refused("pool", "token", "mytoken", "not a PKCS#11 URI");
	refused("pool", "probe", "ping", "none of session-info|token-info|random");
	refused("pool", "probe", "canary:", "names no key");
	refused("pool", "probe", "canary", "none of");
	refused("pool", "module-env", "SOFTHSM2_CONF", "not of the form NAME=value");
	refused("pool", "module-env", "=x", "not of the form");
	refused("pool", "module-env", "1A=x", "not of the form");
	refused("pool", "state-dir", "here", "not an absolute path");
	refused("pool", "metrics-file", "m.prom", "not the absolute path of a file");
	refused("pool", "metrics-file", "/m/", "not the absolute path of a file");
	refused("pool", "metrics-file", "/%p/m.prom", "%p elsewhere");
	refused("pool", "metrics-file", "/m-%p-%p.prom", "%p elsewhere");
	set("pool", "metrics-file", "/m.prom");
	refused("pool", "module", "", "the value is missing");
	refused("pool", "module", "\"/usr/lib/m.so\"", "without");
	refused("proxy", "journal-limit", "64kb", "is not a size");
	refused("key k", "uri", "label", "not a PKCS#11 URI");
}

/* L37. Someone may write the PIN where its source belongs. */
static void a_wrong_pin_source_is_refused_but_never_repeated(void **state)
{
	(void)state;
	refused("pool", "pin-source", "s3cret-1234", "is none of file:PATH");
	assert_null(strstr(err.text, "s3cret"));
	refused("pool", "pin-source", "\"s3cret-1234\"", "quotes");
	assert_null(strstr(err.text, "s3cret"));
	refused("pool", "token", "PKCS11:token=a?pin-value=s3cret",
		"'PKCS11:token=a' is");
	assert_null(strstr(err.text, "s3cret"));
	refused("pool", "pin-source", "file:", "is none of");
	set("pool", "pin-source", "prompt");
	set("pool", "pin-source", "fd:3");
	set("pool", "pin-source", "env:PIN");
	set("pool", "pin-source", "credential:pin");
}

static void an_unknown_key_is_refused_with_the_nearest_one(void **state)
{
	(void)state;
	refused("pool", "max-session", "1",
		"unknown key 'max-session' in [pool]; did you mean 'max-sessions'?");
	refused("pool two", "max_sessions", "1",
		"unknown key 'max_sessions' in [pool two]; did you mean 'max-sessions'?");
	refused("pool", "pin-timeout", "1s", "it belongs in [proxy]");
	refused("pool", "uri", "pkcs11:", "it belongs in [key NAME]");
	refused("proxy", "module", "/m", "it belongs in [pool]");
	refused("pool", "colour", "red", "unknown key 'colour' in [pool]");
	assert_null(strstr(err.text, "did you mean"));
	refused("pool", "", "red", "unknown key ''");
}

static void an_unknown_section_is_refused(void **state)
{
	(void)state;
	refused("pol", "module", "/m", "unknown section [pol]; did you mean [pool]?");
	refused("Pool", "module", "/m", "did you mean [pool]?");
	refused("database", "module", "/m", "there are [pool], [pool NAME], [key NAME]");
	refused("", "module", "/m", "unknown section []");
	refused("key", "uri", "pkcs11:", "[key] needs a name: [key NAME]");
	refused("proxy two", "admin", "no", "[proxy] takes no name");
	refused("pool a/b", "fair", "no", "'a/b' is not valid");
	refused("pool a b", "fair", "no", "'a b' is not valid");
	refused("pool -a", "fair", "no", "'-a' is not valid");
	refused("pool 12345678901234567890123456789012345678901", "fair", "no",
		"is not valid");
	set("pool 1234567890123456789012345678901234567890", "fair", "no");
	set("  pool \t two ", "fair", "yes");
	assert_string_equal(hsmpool_config_get(config, "pool two", "fair"), "yes");
}

static void a_refused_value_leaves_no_trace(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	refused("pool two", "fair", "maybe", "neither");
	assert_null(hsmpool_config_get(config, "pool two", "fair"));
	assert_status(hp_config_pool(config, "two", &pool, &err), HSMPOOL_ERR_CONFIG);
	set("pool", "max-sessions", "3");
	refused("pool", "max-sessions", "x", "number");
	assert_string_equal(hsmpool_config_get(config, "pool", "max-sessions"), "3");
}

static void a_value_can_be_taken_back(void **state)
{
	(void)state;
	set("pool", "max-sessions", "3");
	set("pool", "max-sessions", "4");
	assert_string_equal(hsmpool_config_get(config, "pool", "max-sessions"), "4");
	set("pool", "max-sessions", NULL);
	assert_string_equal(hsmpool_config_get(config, "pool", "max-sessions"), "16");
	set("pool two", "max-sessions", NULL);
	assert_null(hsmpool_config_get(config, "pool two", "max-sessions"));
}

static void get_answers_null_where_there_is_nothing(void **state)
{
	(void)state;
	assert_null(hsmpool_config_get(config, "pool", "module"));
	assert_null(hsmpool_config_get(config, "pool", "no-such-key"));
	assert_null(hsmpool_config_get(config, "nonsense", "module"));
	assert_null(hsmpool_config_get(config, "key nobody", "uri"));
	assert_null(hsmpool_config_get(NULL, "pool", "fair"));
	assert_null(hsmpool_config_get(config, NULL, "fair"));
	assert_string_equal(hsmpool_config_get(config, "pool", "fair"), "no");
	assert_string_equal(hsmpool_config_get(config, "proxy", "journal-limit"),
			    "64KiB");
	assert_null(hsmpool_config_path(config));
}

static void a_named_pool_inherits_what_it_does_not_set(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	set("pool", "max-sessions", "5");
	set("pool", "log", "syslog");
	set("pool two", "max-sessions", "7");
	set("pool two", "token", "pkcs11:token=two");
	assert_ok(hp_config_pool(config, "two", &pool, &err), &err);
	assert_string_equal(pool.name, "two");
	assert_string_equal(pool.module, "/m.so");
	assert_string_equal(pool.token, "pkcs11:token=two");
	assert_string_equal(pool.log, "syslog");
	assert_int_equal(pool.max_sessions, 7);
	hp_pool_options_clear(&pool);
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	assert_null(pool.token);
	assert_int_equal(pool.max_sessions, 5);
	hp_pool_options_clear(&pool);
	assert_string_equal(hsmpool_config_get(config, "pool two", "log"), "syslog");
}

static void a_pool_that_does_not_exist_is_refused_with_those_that_do(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	set("pool two", "fair", "yes");
	assert_status(hp_config_pool(config, "three", &pool, &err), HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "[pool three]; there are [pool], [pool two]"));
}

static void a_pool_without_a_module_is_refused(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	assert_status(hp_config_pool(config, NULL, &pool, &err), HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "[pool] sets no module"));
	hp_pool_options_clear(&pool); /* harmless */
}

static void the_default_minimum_gives_way_to_a_small_maximum(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	set("pool", "max-sessions", "1");
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	assert_int_equal(pool.min_sessions, 1);
	hp_pool_options_clear(&pool);
	set("pool", "min-sessions", "2");
	assert_status(hp_config_pool(config, NULL, &pool, &err), HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(
		err.text, "[pool] min-sessions (2) is larger than max-sessions (1)"));
}

static void the_log_is_named_if_any_of_its_options_is(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	set("pool", "log-level", "info");
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	assert_string_equal(pool.log, "stderr");
	hp_pool_options_clear(&pool);
}

static void the_state_folder_is_the_effective_users(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	set("pool", "module", "/m.so");
	const char *dir = hsmpool_config_get(config, "pool", "state-dir");
	if (geteuid() == 0)
		assert_string_equal(dir, "/var/lib/hsmpool");
	else if (dir)
		assert_non_null(strstr(dir, "/hsmpool"));
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	if (dir)
		assert_string_equal(pool.state_dir, dir);
	hp_pool_options_clear(&pool);
}

static void keys_are_listed_in_order(void **state)
{
	(void)state;
	struct hp_key_options *keys;
	size_t count;
	assert_ok(hp_config_keys(config, &keys, &count, &err), &err);
	assert_int_equal(count, 0);
	hp_key_options_free(keys, count);
	set("key default", "uri", "pkcs11:object=a");
	set("pool", "fair", "no");
	set("key other", "uri", "pkcs11:object=b");
	set("key other", "sign-retry", "yes");
	set("key other", "counting", "yes");
	assert_ok(hp_config_keys(config, &keys, &count, &err), &err);
	assert_int_equal(count, 2);
	assert_string_equal(keys[0].name, "default");
	assert_string_equal(keys[0].uri, "pkcs11:object=a");
	assert_false(keys[0].has_sign_retry);
	assert_false(keys[0].counting);
	assert_string_equal(keys[1].name, "other");
	assert_true(keys[1].has_sign_retry);
	assert_int_equal(keys[1].sign_retry, HP_SIGN_RETRY_YES);
	assert_true(keys[1].counting);
	hp_key_options_free(keys, count);
}

static void a_key_without_a_uri_is_refused(void **state)
{
	(void)state;
	struct hp_key_options *keys;
	size_t count;
	set("key one", "uri", "pkcs11:object=a");
	set("key two", "counting", "yes");
	assert_status(hp_config_keys(config, &keys, &count, &err), HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "[key two] sets no uri"));
	assert_null(keys);
	assert_int_equal(count, 0);
}

static void the_proxys_options_are_read_and_checked(void **state)
{
	(void)state;
	struct hp_proxy_options proxy;
	assert_ok(hp_config_proxy(config, &proxy, &err), &err);
	assert_int_equal(proxy.login, HP_PROXY_LOGIN_APPLICATION);
	assert_false(proxy.admin);
	assert_true(proxy.journal_limit == 64 << 10);
	assert_true(proxy.journal_total == 64 << 20);
	assert_true(proxy.pin_timeout == 60 * HP_SECOND);
	set("proxy", "login", "automatic");
	set("proxy", "admin", "yes");
	set("proxy", "journal-limit", "1MiB");
	set("proxy", "pin-timeout", "5s");
	assert_ok(hp_config_proxy(config, &proxy, &err), &err);
	assert_int_equal(proxy.login, HP_PROXY_LOGIN_AUTOMATIC);
	assert_true(proxy.admin);
	assert_true(proxy.journal_limit == 1 << 20);
	assert_true(proxy.pin_timeout == 5 * HP_SECOND);
	set("proxy", "journal-total", "64KiB");
	assert_status(hp_config_proxy(config, &proxy, &err), HSMPOOL_ERR_CONFIG);
	assert_non_null(strstr(err.text, "journal-limit is larger than journal-total"));
}

static void wrong_arguments_are_refused(void **state)
{
	(void)state;
	assert_status(hsmpool_config_new(NULL, &err), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_config_load(NULL, "/x", &err), HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_config_set(NULL, "pool", "fair", "no", &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_config_set(config, NULL, "fair", "no", NULL),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_config_set(config, "pool", NULL, "no", NULL),
		      HSMPOOL_ERR_USAGE);
	hsmpool_config_close(NULL);
	hsmpool_config *none = NULL;
	hsmpool_config_close(&none);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_empty, close_it)
	const struct CMUnitTest tests[] = {
		TEST(defaults_are_those_of_the_manual),
		TEST(every_pool_option_reaches_its_field),
		TEST(a_value_out_of_range_is_refused_by_name),
		TEST(a_value_of_the_wrong_kind_is_refused_with_what_is_right),
		TEST(a_wrong_pin_source_is_refused_but_never_repeated),
		TEST(an_unknown_key_is_refused_with_the_nearest_one),
		TEST(an_unknown_section_is_refused),
		TEST(a_refused_value_leaves_no_trace),
		TEST(a_value_can_be_taken_back),
		TEST(get_answers_null_where_there_is_nothing),
		TEST(a_named_pool_inherits_what_it_does_not_set),
		TEST(a_pool_that_does_not_exist_is_refused_with_those_that_do),
		TEST(a_pool_without_a_module_is_refused),
		TEST(the_default_minimum_gives_way_to_a_small_maximum),
		TEST(the_log_is_named_if_any_of_its_options_is),
		TEST(the_state_folder_is_the_effective_users),
		TEST(keys_are_listed_in_order),
		TEST(a_key_without_a_uri_is_refused),
		TEST(the_proxys_options_are_read_and_checked),
		TEST(wrong_arguments_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
