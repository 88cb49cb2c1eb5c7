/* SPDX-License-Identifier: Apache-2.0 */
/* Files that no one wrote on purpose: whatever they hold, the answer is a configuration
 * or one line of refusal. The inputs are made from fixed seeds, so a failure repeats. */
#include "support/fixture.h"

#include "config/options.h"
#include "scratch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char good[] = "\xef\xbb\xbf; all kinds of lines\n"
			   "[pool]\n"
			   "module = /usr/lib/softhsm/libsofthsm2.so   ; path\r\n"
			   "token = pkcs11:token=payments;serial=0123456789abcdef\n"
			   "\tpin-source : file:/etc/hsmpool/pin\n"
			   "max-sessions = 16\n"
			   "borrow-timeout = 5s # x\n"
			   "probe = canary:pkcs11:object=a;type=private\n"
			   "[pool two]\n"
			   "fair = yes\n"
			   "[key default]\n"
			   "uri = pkcs11:object=a\n"
			   "sign-retry = deterministic\n"
			   "[proxy]\n"
			   "journal-limit = 64KiB\n"
			   "pin-timeout = 60s\n";

static uint64_t random_state;

/* xorshift64: the tests need variety, not quality. */
static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

static void use_everything(const hsmpool_config *config)
{
	struct hp_pool_options pool;
	struct hp_key_options *keys;
	struct hp_proxy_options proxy;
	size_t count;
	if (hp_config_pool(config, NULL, &pool, NULL) == HSMPOOL_OK)
		hp_pool_options_clear(&pool);
	if (hp_config_pool(config, "two", &pool, NULL) == HSMPOOL_OK)
		hp_pool_options_clear(&pool);
	if (hp_config_keys(config, &keys, &count, NULL) == HSMPOOL_OK)
		hp_key_options_free(keys, count);
	(void)!hp_config_proxy(config, &proxy, NULL);
}

/* Whether it was accepted. */
static bool try(const void *data, size_t len)
{
	hsmpool_config *config;
	hsmpool_error err;
	const char *path = scratch_write("h.conf", data, len, 0600);
	hsmpool_status status = hsmpool_config_load(&config, path, &err);
	if (status == HSMPOOL_OK) {
		use_everything(config);
		hsmpool_config_close(&config);
		return true;
	}
	assert_status(status, HSMPOOL_ERR_CONFIG);
	assert_null(config);
	assert_true(strlen(err.text) > 0 && strlen(err.text) < sizeof(err.text));
	for (const char *at = err.text; *at; at++)
		assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
	return false;
}

static void a_file_cut_off_anywhere_is_survived(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(good) - 1; len++)
		try(good, len);
	assert_true(try(good, strstr(good, "borrow") - good));
}

static void random_bytes_are_survived(void **state)
{
	(void)state;
	uint8_t data[600];
	random_state = 1;
	for (int round = 0; round < 500; round++) {
		size_t len = next_random() % sizeof(data);
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)next_random();
		try(data, len);
	}
}

/* Made of the pieces that a parser looks for. */
static void random_syntax_is_survived(void **state)
{
	(void)state;
	static const char *const pieces[] = {
		"[",         "]",
		"=",         ":",
		";",         " ;",
		"#",         "\n",
		"\n",        "\r\n",
		" ",         "\t",
		"pool",      "[pool]\n",
		"key",       "two",
		"[key k]\n", "max-sessions",
		"uri",       "pkcs11:",
		"fair",      "yes",
		"5s",        "0",
		"-1",        "99999999999999999999999",
		"\"",        "canary:",
		"file:",     "probe",
		"log",       "\xef\xbb\xbf",
		"\xff",
	};
	const size_t piece_count = sizeof(pieces) / sizeof(pieces[0]);
	random_state = 2;
	for (int round = 0; round < 2000; round++) {
		char text[1000] = "[pool]\n";
		size_t len = next_random() % 2 ? 7 : 0;
		for (uint32_t n = next_random() % 40; n > 0; n--) {
			const char *piece = pieces[next_random() % piece_count];
			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		try(text, len);
	}
}

static void a_good_file_with_a_few_wrong_bytes_is_survived(void **state)
{
	(void)state;
	char data[sizeof(good)];
	random_state = 3;
	for (int round = 0; round < 2000; round++) {
		memcpy(data, good, sizeof(good));
		for (uint32_t n = next_random() % 4 + 1; n > 0; n--)
			data[next_random() % (sizeof(good) - 1)] = (char)next_random();
		try(data, sizeof(good) - 1);
	}
}

static void a_line_of_a_mebibyte_is_refused(void **state)
{
	(void)state;
	const size_t len = 1 << 20;
	char *data = malloc(len);
	assert_non_null(data);
	const char fillings[] = { 'x', ' ', ';', '[', '=', '\0', '\xff' };
	for (size_t i = 0; i < sizeof(fillings); i++) {
		memset(data, fillings[i], len);
		assert_false(try(data, len));
		memcpy(data, "[pool]\nmodule =", 15);
		assert_false(try(data, len));
	}
	free(data);
}

static void a_mebibyte_of_short_lines_is_survived(void **state)
{
	(void)state;
	const size_t len = 1 << 20;
	char *data = malloc(len);
	assert_non_null(data);
	memset(data, '\n', len);
	assert_true(try(data, len));
	for (size_t i = 0; i < len; i += 2)
		data[i] = ';';
	assert_true(try(data, len));
	for (size_t i = 0; i + 8 <= len; i += 8)
		memcpy(data + i, "[proxy]\n", 8);
	assert_true(try(data, len));
	free(data);
}

static int clean_up(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_cut_off_anywhere_is_survived),
		cmocka_unit_test(random_bytes_are_survived),
		cmocka_unit_test(random_syntax_is_survived),
		cmocka_unit_test(a_good_file_with_a_few_wrong_bytes_is_survived),
		cmocka_unit_test(a_line_of_a_mebibyte_is_refused),
		cmocka_unit_test(a_mebibyte_of_short_lines_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
