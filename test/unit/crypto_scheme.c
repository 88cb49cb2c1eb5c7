/* SPDX-License-Identifier: Apache-2.0 */
/* Names of schemes and their options: crypto/scheme.c. */
#include "support/fixture.h"

#include "crypto/scheme.h"

#include <stdio.h>
#include <string.h>

static void every_scheme_of_the_table_is_found_by_its_name(void **state)
{
	(void)state;
	hsmpool_error err;
	size_t count = 0;
	for (const struct hp_scheme_entry *entry; (entry = hp_scheme_at(count));
	     count++) {
		struct hp_scheme scheme;
		assert_ok(hp_scheme_parse(entry->kind, entry->name, &scheme, &err), &err);
		assert_ptr_equal(scheme.entry, entry);
		assert_int_equal(scheme.index, count);
		assert_int_equal(scheme.options, 0);
		assert_int_equal(strlen(entry->name), entry->name_len);
	}
	assert_int_equal(count, HP_SCHEME_COUNT);
}

static void a_scheme_of_another_kind_is_told_from_an_unknown_one(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	assert_status(hp_scheme_parse(HP_SCHEME_SIGNATURE, "aes-gcm", &scheme, &err),
		      HSMPOOL_ERR_USAGE);
	assert_string_equal(err.text,
			    "\"aes-gcm\" is a scheme for encryption, not for signature");
}

static void an_unknown_scheme_names_the_nearest_and_all_of_its_kind(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	assert_status(hp_scheme_parse(HP_SCHEME_SIGNATURE, "ecdsa-sha25", &scheme, &err),
		      HSMPOOL_ERR_USAGE);
	assert_non_null(strstr(err.text, "did you mean \"ecdsa-sha256\"?"));
	for (size_t i = 0; i < HP_SCHEME_COUNT; i++) {
		const struct hp_scheme_entry *entry = hp_scheme_at(i);
		if (entry->kind == HP_SCHEME_SIGNATURE)
			assert_non_null(strstr(err.text, entry->name));
	}
}

static void nothing_like_a_scheme_gets_no_suggestion(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	const char *const names[] = { "", ":", "x",
				      "AES_GCM_AND_A_NAME_THAT_NEVER_ENDS_AT_ALL",
				      "%s%n%s" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_status(hp_scheme_parse(HP_SCHEME_MAC, names[i], &scheme, &err),
			      HSMPOOL_ERR_USAGE);
		assert_null(strstr(err.text, "did you mean"));
	}
}

static void no_name_at_all_is_an_error(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	assert_status(hp_scheme_parse(HP_SCHEME_CIPHER, NULL, &scheme, &err),
		      HSMPOOL_ERR_USAGE);
}

static void options_are_read(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	assert_ok(hp_scheme_parse(HP_SCHEME_SIGNATURE, "ecdsa-sha384:raw,digest", &scheme,
				  &err),
		  &err);
	assert_true(hp_scheme_is_raw(&scheme));
	assert_true(hp_scheme_takes_digest(&scheme));
	assert_ok(hp_scheme_parse(HP_SCHEME_SIGNATURE, "rsa-pss-sha256:salt=0", &scheme,
				  &err),
		  &err);
	assert_int_equal(scheme.salt_len, 0);
	assert_ok(hp_scheme_parse(HP_SCHEME_CIPHER, "aes-gcm:tag=12", &scheme, &err),
		  &err);
	assert_int_equal(scheme.tag_len, 12);
}

static void options_have_the_usual_defaults(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	assert_ok(hp_scheme_parse(HP_SCHEME_SIGNATURE, "rsa-pss-sha384", &scheme, &err),
		  &err);
	assert_int_equal(scheme.salt_len, 48);
	assert_ok(hp_scheme_parse(HP_SCHEME_CIPHER, "aes-gcm", &scheme, &err), &err);
	assert_int_equal(scheme.tag_len, 16);
}

static void wrong_options_are_refused_with_those_that_there_are(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_scheme scheme;
	const char *const wrong[] = {
		"ecdsa-sha256:",
		"ecdsa-sha256:RAW",
		"ecdsa-sha256:raw,",
		"ecdsa-sha256:raw,raw",
		"ecdsa-sha256:,raw",
		"ecdsa-sha256:salt=1",
		"ecdsa-sha256:raw:raw",
		"rsa-pss-sha256:salt=",
		"rsa-pss-sha256:salt=-1",
		"rsa-pss-sha256:raw",
		"rsa-pss-sha256:salt=1x",
		"rsa-pss-sha256:salt=99999",
		"ed25519:raw",
		"ed25519:digest",
		"rsa-pss-sha256:salt=513",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_status(
			hp_scheme_parse(HP_SCHEME_SIGNATURE, wrong[i], &scheme, &err),
			HSMPOOL_ERR_USAGE);
		assert_non_null(strstr(err.text, "wrong option"));
	}
	assert_status(hp_scheme_parse(HP_SCHEME_CIPHER, "aes-gcm:tag=128", &scheme, &err),
		      HSMPOOL_ERR_USAGE);
	assert_non_null(strstr(err.text, "tag=N (bytes, 12 to 16)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_scheme_of_the_table_is_found_by_its_name),
		cmocka_unit_test(a_scheme_of_another_kind_is_told_from_an_unknown_one),
		cmocka_unit_test(an_unknown_scheme_names_the_nearest_and_all_of_its_kind),
		cmocka_unit_test(nothing_like_a_scheme_gets_no_suggestion),
		cmocka_unit_test(no_name_at_all_is_an_error),
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(options_have_the_usual_defaults),
		cmocka_unit_test(wrong_options_are_refused_with_those_that_there_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
