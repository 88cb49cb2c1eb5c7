/* SPDX-License-Identifier: Apache-2.0 */
/* Names of mechanisms and the words of policies: config/mechanisms.c. */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <p11-kit/pkcs11.h>
#include "base/memory.h"
#include "config/mechanisms.h"
#include "crypto/scheme.h"

/* "#define CKM_NAME (VALUEUL)" */
static bool parse_define(const char *line, char name[64], unsigned long *type)
{
	char text[64];
	if (sscanf(line, "#define %63s %63[^\n]", name, text) != 2 ||
	    strncmp(name, "CKM_", 4) != 0 || strcmp(name, "CKM_VENDOR_DEFINED") == 0)
		return false;
	*type = strtoul(text + strspn(text, "("), NULL, 0);
	return true;
}

static void every_constant_of_the_header_is_a_word(void **state)
{
	(void)state;
	FILE *header = fopen(HP_PKCS11_HEADER, "r");
	assert_non_null(header);
	char line[256];
	size_t seen = 0;
	while (fgets(line, sizeof(line), header)) {
		char name[64];
		unsigned long type;
		unsigned long types[HP_MECHANISM_MEANINGS];
		if (!parse_define(line, name, &type))
			continue;
		if (hp_mechanism_parse(name, types) != 1)
			fail_msg("%s is not in the table", name);
		assert_int_equal(types[0], type);
		seen++;
	}
	fclose(header);
	assert_true(seen > 300);
}

static void the_table_is_sorted_and_every_mechanism_has_one_name_to_write(void **state)
{
	(void)state;
	const struct hp_mechanism_row *row;
	const struct hp_mechanism_row *last = NULL;
	for (size_t i = 0; (row = hp_mechanism_at(i)); i++) {
		char buf[HP_MECHANISM_TEXT];
		unsigned long types[HP_MECHANISM_MEANINGS];
		assert_true(!last || row->type >= last->type);
		if (!last || row->type != last->type)
			assert_string_equal(hp_mechanism_name(row->type, buf), row->name);
		assert_int_equal(hp_mechanism_parse(row->name, types), 1);
		assert_int_equal(types[0], row->type);
		last = row;
	}
	assert_non_null(last);
}

static void names_of_later_standards_are_known(void **state)
{
	(void)state;
	char buf[HP_MECHANISM_TEXT];
	assert_string_equal(hp_mechanism_name(0x402a, buf), "CKM_HKDF_DERIVE");
	assert_string_equal(hp_mechanism_name(0x4021, buf), "CKM_CHACHA20_POLY1305");
	assert_string_equal(hp_mechanism_name(0x1d, buf), "CKM_ML_DSA");
	assert_string_equal(hp_mechanism_name(CKM_EC_KEY_PAIR_GEN, buf),
			    "CKM_EC_KEY_PAIR_GEN");
}

static void an_unknown_number_is_written_so_that_it_can_be_read_again(void **state)
{
	(void)state;
	char buf[HP_MECHANISM_TEXT];
	unsigned long types[HP_MECHANISM_MEANINGS];
	const char *name = hp_mechanism_name(0x80000042, buf);
	assert_string_equal(name, "0x80000042");
	assert_int_equal(hp_mechanism_parse(name, types), 1);
	assert_int_equal(types[0], 0x80000042);
	assert_int_equal(hp_mechanism_parse("0xDEadbeef", types), 1);
	assert_int_equal(types[0], 0xdeadbeef);
}

static void what_is_no_mechanism_is_no_word(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "0x",
					   "0x1g",
					   "17",
					   "CKM_",
					   "CKM_AES_gcm",
					   "0x123456789",
					   "AES_GCM",
					   "0X1",
					   "aes-gcm:tag=12" };
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		unsigned long types[HP_MECHANISM_MEANINGS];
		if (hp_mechanism_parse(bad[i], types) != 0)
			fail_msg("'%s' is taken for a mechanism", bad[i]);
	}
}

static void the_nearest_word_is_found(void **state)
{
	(void)state;
	assert_string_equal(hp_mechanism_nearest("CKM_AES_GCN"), "CKM_AES_GCM");
	assert_string_equal(hp_mechanism_nearest("CKM_SHA256_RSA_PKC"),
			    "CKM_SHA256_RSA_PKCS");
	assert_string_equal(hp_mechanism_nearest("edcsa-sha256"), "ecdsa-sha256");
	assert_null(hp_mechanism_nearest("?"));
}

/* A policy that names a scheme allows what the library does for it. */
static void every_scheme_stands_for_its_mechanisms(void **state)
{
	(void)state;
	const struct hp_scheme_entry *scheme;
	for (size_t i = 0; (scheme = hp_scheme_at(i)); i++) {
		unsigned long types[HP_MECHANISM_MEANINGS] = { 0 };
		size_t count = hp_mechanism_parse(scheme->name, types);
		if (count == 0)
			fail_msg("the scheme %s is not a word", scheme->name);
		assert_int_equal(types[0], scheme->mechanism);
		assert_int_equal(count, scheme->family == HP_FAMILY_ECDSA ? 2 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_constant_of_the_header_is_a_word),
		cmocka_unit_test(
			the_table_is_sorted_and_every_mechanism_has_one_name_to_write),
		cmocka_unit_test(names_of_later_standards_are_known),
		cmocka_unit_test(
			an_unknown_number_is_written_so_that_it_can_be_read_again),
		cmocka_unit_test(what_is_no_mechanism_is_no_word),
		cmocka_unit_test(the_nearest_word_is_found),
		cmocka_unit_test(every_scheme_stands_for_its_mechanisms),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
