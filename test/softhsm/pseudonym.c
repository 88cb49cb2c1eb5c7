/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pseudonyms under a key of a real token: the right ones, always the same ones, and back.
 */
#include "crypto_ground.h"

#include "base/memory.h"
#include "pseudonym/alphabet.h"
#include "pseudonym/cache.h"
#include "pseudonym/ff1.h"
#include "pseudonym/method.h"
#include "support/pseudonymized.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define NAMED(column_name) .size = sizeof(hsmpool_column), .name = (column_name)
#define KEY_HEX            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

extern char **environ;

static hsmpool_key *known;

static hsmpool_key *open_known(void)
{
	return crypto_open("pkcs11:object=pseudonyms");
}

static int set_up(void **state)
{
	uint8_t value[32];
	crypto_setup(state);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)i;
	known = crypto_import_secret("generic", "pseudonyms", value, sizeof(value));
	return 0;
}

static int tear_down(void **state)
{
	hsmpool_key_close(&known);
	return crypto_teardown(state);
}

/* ---- numbers that a seed repeats ---- */

static unsigned seed;

static void choose_seed(void)
{
	const char *given = getenv("HSMPOOL_TEST_SEED");
	if (given)
		seed = (unsigned)strtoul(given, NULL, 0);
	else
		RAND_bytes((uint8_t *)&seed, sizeof(seed));
	printf("# HSMPOOL_TEST_SEED=%u\n", seed);
}

static uint32_t number_below(uint32_t bound)
{
	return (uint32_t)(((uint64_t)rand_r(&seed) << 16 ^ (uint64_t)rand_r(&seed)) %
			  bound);
}

/* ---- one method and its worker ---- */

struct use {
	struct hp_method *method;
	struct hp_method_worker *worker;
};

static struct use begin(const hsmpool_column *column, struct hp_cache *cache,
			bool is_reverse)
{
	const struct hp_method_ground shared = {
		.pool = ground.pool,
		.key = known,
		.cache = cache,
		.is_reverse = is_reverse,
		.deadline = HSMPOOL_DEFAULT,
	};
	struct use use;
	hsmpool_error err;
	assert_ok(hp_method_open(&use.method, &shared, column, &err), &err);
	assert_ok(hp_method_worker_new(&use.worker, use.method, &err), &err);
	return use;
}

static void end(struct use *use)
{
	hp_method_worker_free(&use->worker);
	hp_method_close(&use->method);
}

/* The pseudonym of value, free()d by the caller; NULL if it fails: cmocka's assertions
 * belong to its own thread. */
static char *try_value(const struct use *use, const char *value)
{
	struct hp_text out = { 0 };
	bool is_bad;
	if (pseudonymized(use->method, use->worker, BYTES(value, strlen(value)), &out,
			  &is_bad, NULL) != HSMPOOL_OK)
		return NULL;
	char *text = strndup((const char *)out.data, out.len);
	hp_text_clear(&out);
	return text;
}

static char *apply(const struct use *use, const char *value)
{
	char *text = try_value(use, value);
	assert_non_null(text);
	return text;
}

/* The same, with all that is around it. */
static char *pseudonym(hsmpool_column column, const char *value)
{
	struct use use = begin(&column, NULL, false);
	char *text = apply(&use, value);
	end(&use);
	return text;
}

static void expect_pseudonym(hsmpool_column column, const char *value, const char *right)
{
	char *text = pseudonym(column, value);
	assert_string_equal(text, right);
	free(text);
}

/* ---- asking another implementation ---- */

static FILE *answers;

static void answers_path(char path[512])
{
	snprintf(path, 512, "%s/answers", ground.fixture.dir);
}

static void open_answers(void)
{
	char path[512];
	answers_path(path);
	answers = fopen(path, "w");
	assert_non_null(answers);
}

static void run_python(const char *verb, const char *path)
{
	char program[512];
	snprintf(program, sizeof(program), "%s/test/softhsm/pseudonyms.py",
		 getenv("HSMPOOL_TEST_SOURCE"));
	const char *argv[] = { TEST_PYTHON, program, verb, path, NULL };
	pid_t child;
	int status = 0;
	assert_int_equal(
		posix_spawn(&child, argv[0], NULL, NULL, (char *const *)argv, environ),
		0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void check_answers(void)
{
	char path[512];
	answers_path(path);
	assert_int_equal(fclose(answers), 0);
	run_python("answers", path);
}

static const char *domain_of(const hsmpool_column *column)
{
	return column->domain ? column->domain : column->name;
}

static void answer_token(hsmpool_column column, uint32_t length, const char *value)
{
	char *text = pseudonym(column, value);
	fprintf(answers, "token\t" KEY_HEX "\t%s\t%s\t%u\t%s\t%s\n", domain_of(&column),
		column.alphabet ? column.alphabet : "hex", length, value, text);
	free(text);
}

static void answer_fpe(hsmpool_column column, const char *value)
{
	column.method = HSMPOOL_COLUMN_FPE;
	char *text = pseudonym(column, value);
	fprintf(answers, "fpe\t" KEY_HEX "\t%s\t%s\t%s\t%s\n", domain_of(&column),
		column.alphabet ? column.alphabet : "digits", value, text);
	free(text);
}

static void tokens_are_those_that_anybody_with_the_key_computes(void **state)
{
	(void)state;
	const char *const values[] = { "alice@example.com", "", "0", "Zoë", "a b,c\"d" };
	open_answers();
	for (size_t i = 0; i < HP_ARRAY_LEN(values); i++) {
		answer_token((hsmpool_column){ NAMED("email") }, 32, values[i]);
		answer_token((hsmpool_column){ NAMED("x"), .domain = "persönlich" }, 32,
			     values[i]);
		answer_token((hsmpool_column){ NAMED("id"), .alphabet = "digits" }, 39,
			     values[i]);
		answer_token((hsmpool_column){ NAMED("id"), .alphabet = "base62",
					       .length = 32 },
			     32, values[i]);
		answer_token((hsmpool_column){ NAMED("id"), .alphabet = "chars:äöüß€",
					       .length = 60 },
			     60, values[i]);
	}
	check_answers();
}

static void fpe_is_ff1_under_the_derived_key(void **state)
{
	(void)state;
	open_answers();
	answer_fpe((hsmpool_column){ NAMED("card") }, "4111111111111111");
	answer_fpe((hsmpool_column){ NAMED("card") }, "000000");
	answer_fpe(
		(hsmpool_column){ NAMED("card"), .domain = "a longer name than usual" },
		"49927398716");
	answer_fpe((hsmpool_column){ NAMED("serial"), .alphabet = "alnum" }, "a1b2c3");
	answer_fpe((hsmpool_column){ NAMED("text"), .alphabet = "printable" },
		   "What's this? 42!");
	answer_fpe((hsmpool_column){ NAMED("bits"), .alphabet = "chars:01" },
		   "01010101010101010101010101");
	answer_fpe((hsmpool_column){ NAMED("city"),
				     .alphabet = "chars:abcdefghijklmnopqrstuvwxyzäöüß" },
		   "münchen");
	check_answers();
}

static void print_numerals(const uint16_t *numerals, size_t count, char ends_with)
{
	for (size_t i = 0; i < count; i++)
		fprintf(answers, "%s%u", i ? "," : "", numerals[i]);
	fputc(ends_with, answers);
}

static void answer_ff1(size_t key_len, uint32_t radix, size_t tweak_len, size_t count)
{
	uint8_t key[32], tweak[64];
	char key_hex[65], tweak_hex[129];
	uint16_t numerals[HP_FF1_LENGTH_MAX];
	struct hp_ff1 *ff1;
	hsmpool_error err;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)number_below(256);
	for (size_t i = 0; i < sizeof(tweak); i++)
		tweak[i] = (uint8_t)number_below(256);
	for (size_t i = 0; i < count; i++)
		numerals[i] = (uint16_t)number_below(radix);
	hp_hex_encode(key, key_len, key_hex);
	hp_hex_encode(tweak, tweak_len, tweak_hex);
	fprintf(answers, "ff1\t%s\t%s\t%u\t", key_hex, tweak_hex, radix);
	print_numerals(numerals, count, '\t');
	assert_ok(hp_ff1_new(&ff1, key, key_len, radix, BYTES(tweak, tweak_len), &err),
		  &err);
	assert_ok(hp_ff1_encrypt(ff1, numerals, count, &err), &err);
	print_numerals(numerals, count, '\n');
	hp_ff1_free(&ff1);
}

/* Lengths of tweak and number around the block of AES, and as far as they go. */
static void ff1_agrees_with_another_implementation(void **state)
{
	(void)state;
	open_answers();
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t radix = 2 + number_below(i % 2 ? 64 : HP_FF1_RADIX_MAX - 1);
		answer_ff1(16 + i % 3 * 8, radix, i % 65,
			   hp_ff1_length_min(radix) + number_below(50));
	}
	answer_ff1(32, HP_FF1_RADIX_MAX, 15, HP_FF1_LENGTH_MAX);
	answer_ff1(32, 10, 16, HP_FF1_LENGTH_MAX);
	answer_ff1(32, 2, 17, HP_FF1_LENGTH_MAX - 1);
	check_answers();
}

static void the_document_tells_the_truth(void **state)
{
	(void)state;
	char path[512];
	snprintf(path, sizeof(path), "%s/docs/pseudonyms.md",
		 getenv("HSMPOOL_TEST_SOURCE"));
	run_python("document", path);
}

static void a_prefix_stands_in_front_of_the_token(void **state)
{
	(void)state;
	char *token = pseudonym((hsmpool_column){ NAMED("email") }, "a");
	char *prefixed =
		pseudonym((hsmpool_column){ NAMED("email"), .prefix = "p–" }, "a");
	assert_memory_equal(prefixed, "p–", strlen("p–"));
	assert_string_equal(prefixed + strlen("p–"), token);
	free(token);
	free(prefixed);
}

static void equal_values_match_in_equal_domains_only(void **state)
{
	(void)state;
	char *email = pseudonym((hsmpool_column){ NAMED("email") }, "alice");
	char *owner = pseudonym((hsmpool_column){ NAMED("owner") }, "alice");
	assert_string_not_equal(email, owner);
	expect_pseudonym((hsmpool_column){ NAMED("owner"), .domain = "email" }, "alice",
			 email);
	expect_pseudonym((hsmpool_column){ .size = sizeof(hsmpool_column),
					   .number = 7,
					   .domain = "email" },
			 "alice", email);
	free(email);
	free(owner);
}

static void a_token_is_of_every_byte_of_the_value(void **state)
{
	(void)state;
	const hsmpool_bytes values[] = { TEXT("a"), TEXT("a\0"), TEXT("a\0b"),
					 TEXT("\xff\xfe"), TEXT("a ") };
	const hsmpool_column column = { NAMED("c") };
	struct use use = begin(&column, NULL, false);
	struct hp_text made = { 0 };
	hsmpool_error err;
	bool is_bad;
	for (size_t i = 0; i < HP_ARRAY_LEN(values); i++) {
		assert_ok(pseudonymized(use.method, use.worker, values[i], &made, &is_bad,
					&err),
			  &err);
		assert_int_equal(made.len, 32 * (i + 1));
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(made.data + 32 * i, made.data + 32 * j,
						32);
	}
	hp_text_clear(&made);
	end(&use);
}

/* ---- the same whatever the pool ---- */

enum { VALUES = 64, THREADS = 4 };

struct table {
	char *tokens[VALUES];
	char *numbers[VALUES];
};

struct share {
	struct use tokens, numbers;
	struct table *table;
	size_t first;
};

/* Every value is met twice, so that the cache has something to find. */
static void *fill_share(void *user)
{
	struct share *share = user;
	char value[32];
	for (size_t i = share->first; i < VALUES; i += THREADS) {
		snprintf(value, sizeof(value), "%08zu", i / 2);
		share->table->tokens[i] = try_value(&share->tokens, value);
		share->table->numbers[i] = try_value(&share->numbers, value);
	}
	return NULL;
}

static void fill_table(struct table *table, struct hp_cache *cache)
{
	const hsmpool_column token = { NAMED("id") };
	const hsmpool_column number = { NAMED("id"), .method = HSMPOOL_COLUMN_FPE };
	struct use tokens = begin(&token, cache, false);
	struct use numbers = begin(&number, cache, false);
	struct share shares[THREADS];
	pthread_t threads[THREADS];
	hsmpool_error err;
	for (size_t i = 0; i < THREADS; i++) {
		shares[i] = (struct share){ tokens, numbers, table, i };
		assert_ok(hp_method_worker_new(&shares[i].tokens.worker, tokens.method,
					       &err),
			  &err);
		assert_ok(hp_method_worker_new(&shares[i].numbers.worker, numbers.method,
					       &err),
			  &err);
		assert_int_equal(
			pthread_create(&threads[i], NULL, fill_share, &shares[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		hp_method_worker_free(&shares[i].tokens.worker);
		hp_method_worker_free(&shares[i].numbers.worker);
	}
	end(&tokens);
	end(&numbers);
}

static void clear_table(struct table *table)
{
	for (size_t i = 0; i < VALUES; i++) {
		free(table->tokens[i]);
		free(table->numbers[i]);
	}
}

static void expect_equal_tables(const struct table *a, const struct table *b)
{
	for (size_t i = 0; i < VALUES; i++) {
		assert_non_null(a->tokens[i]);
		assert_non_null(a->numbers[i]);
		assert_non_null(b->tokens[i]);
		assert_non_null(b->numbers[i]);
		assert_string_equal(a->tokens[i], b->tokens[i]);
		assert_string_equal(a->numbers[i], b->numbers[i]);
	}
}

static void reopen_with_sessions(const char *sessions)
{
	hsmpool_key_close(&known);
	crypto_reopen("max-sessions", sessions);
	known = open_known();
}

static void pseudonyms_are_the_same_in_every_run_and_any_pool(void **state)
{
	(void)state;
	struct table first, again;
	struct hp_cache *cache = hp_cache_new(HP_CACHE_BYTES);
	reopen_with_sessions("1");
	fill_table(&first, NULL);
	reopen_with_sessions("4");
	fill_table(&again, cache);
	expect_equal_tables(&first, &again);
	clear_table(&again);
	fill_table(&again, cache); /* all of it is in there now */
	expect_equal_tables(&first, &again);
	clear_table(&again);
	clear_table(&first);
	hp_cache_free(&cache);
}

/* ---- back ---- */

static const char *const alphabets[] = { "digits",      "hex",       "lower",
					 "upper",       "base32",    "alnum",
					 "base62",      "base64url", "printable",
					 "chars:äbc€𝄞", "chars:10" };

static char *random_text(const char *which, size_t beyond_least)
{
	struct hp_alphabet *alphabet;
	struct hp_text text = { 0 };
	hsmpool_error err;
	assert_ok(hp_alphabet_new(&alphabet, which, &err), &err);
	uint32_t radix = hp_alphabet_radix(alphabet);
	size_t count = hp_ff1_length_min(radix) + beyond_least;
	for (size_t i = 0; i < count; i++) {
		uint16_t numeral = (uint16_t)number_below(radix);
		assert_ok(hp_alphabet_write(alphabet, &numeral, 1, &text, &err), &err);
	}
	char *made = strndup((const char *)text.data, text.len);
	hp_text_clear(&text);
	hp_alphabet_free(&alphabet);
	return made;
}

static void round_trips(const char *alphabet)
{
	const hsmpool_column column = { NAMED("c"), .method = HSMPOOL_COLUMN_FPE,
					.alphabet = alphabet };
	struct use there = begin(&column, NULL, false);
	struct use back = begin(&column, NULL, true);
	for (size_t i = 0; i < 40; i++) {
		char *value = random_text(alphabet, i);
		char *pseudonym_of_it = apply(&there, value);
		char *again = apply(&back, pseudonym_of_it);
		assert_string_equal(again, value);
		free(again);
		free(pseudonym_of_it);
		free(value);
	}
	end(&back);
	end(&there);
}

static void fpe_is_undone_for_any_alphabet_and_length(void **state)
{
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(alphabets); i++)
		round_trips(alphabets[i]);
}

/* ---- what cannot be ---- */

static void expect_bad(const hsmpool_column *column, const char *value,
		       const char *because)
{
	struct use use = begin(column, NULL, false);
	struct hp_text out = { 0 };
	hsmpool_error err;
	bool is_bad = false;
	assert_ok(hp_text_append(&out, "before", 6, &err), &err);
	assert_status(pseudonymized(use.method, use.worker, BYTES(value, strlen(value)),
				    &out, &is_bad, &err),
		      HSMPOOL_ERR_DATA);
	assert_true(is_bad);
	assert_string_equal(err.text, because);
	assert_int_equal(out.len, 6);
	hp_text_clear(&out);
	end(&use);
}

static void a_value_that_does_not_fit_is_bad_and_not_quoted(void **state)
{
	(void)state;
	char too_long[HP_FF1_LENGTH_MAX + 2];
	const hsmpool_column digits = { NAMED("c"), .method = HSMPOOL_COLUMN_FPE };
	const hsmpool_column umlauts = { NAMED("c"), .method = HSMPOOL_COLUMN_FPE,
					 .alphabet = "chars:äöü" };
	memset(too_long, '7', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	expect_bad(&digits, "", "it has 0 characters, at least 6 are needed");
	expect_bad(&digits, "4", "it has 1 character, at least 6 are needed");
	expect_bad(&digits, "41111", "it has 5 characters, at least 6 are needed");
	expect_bad(&digits, "4111-1111", "its character 5 is not in the alphabet");
	expect_bad(&digits, too_long, "it has more than 1024 characters");
	expect_bad(&umlauts, "äöu", "its character 3 is not in the alphabet");
}

static void a_value_as_long_as_allowed_is_good(void **state)
{
	(void)state;
	const hsmpool_column digits = { NAMED("c"), .method = HSMPOOL_COLUMN_FPE };
	char longest[HP_FF1_LENGTH_MAX + 1];
	memset(longest, '7', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	char *text = pseudonym(digits, longest);
	assert_int_equal(strlen(text), HP_FF1_LENGTH_MAX);
	free(text);
}

static void expect_key_refused(hsmpool_key *key, const char *because)
{
	const hsmpool_column columns[] = {
		{ NAMED("c"), .method = HSMPOOL_COLUMN_HMAC },
		{ NAMED("c"), .method = HSMPOOL_COLUMN_FPE },
	};
	const struct hp_method_ground shared = { .pool = ground.pool,
						 .key = key,
						 .deadline = HSMPOOL_DEFAULT };
	for (size_t i = 0; i < HP_ARRAY_LEN(columns); i++) {
		struct hp_method *method;
		hsmpool_error err;
		assert_status(hp_method_open(&method, &shared, &columns[i], &err),
			      HSMPOOL_ERR_KEY);
		assert_null(method);
		if (!strstr(err.text, because) || !strstr(err.text, "column 'c': "))
			fail_msg("%s", err.text);
	}
	hsmpool_key_close(&key);
}

/* Of a size that the library does not make itself. */
static hsmpool_key *make_short_key(void)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_LABEL, (void *)(uintptr_t) "short", 5 },
		{ CKA_VALUE, (void *)(uintptr_t) "ten bytes.", 10 },
	};
	CK_OBJECT_HANDLE object;
	hsmpool_session *session;
	hsmpool_error err;
	assert_ok(hsmpool_borrow(ground.pool, &session, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	assert_int_equal(module->C_CreateObject(hsmpool_session_handle(session), template,
						HP_ARRAY_LEN(template), &object),
			 CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	return crypto_open("pkcs11:object=short");
}

static void keys_of_another_kind_are_refused_before_any_row(void **state)
{
	(void)state;
	expect_key_refused(crypto_generate("aes", 256, NULL, "aes", 0),
			   "wants a generic secret key");
	expect_key_refused(crypto_generate("ec", 0, "P-256", "ec", 0),
			   "wants a generic secret key");
	expect_key_refused(
		crypto_generate("generic", 256, NULL, "idle", HSMPOOL_KEY_CAN_DERIVE),
		"CKR_KEY_FUNCTION_NOT_PERMITTED");
	expect_key_refused(make_short_key(), "has 80 bits");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_are_those_that_anybody_with_the_key_computes),
		cmocka_unit_test(fpe_is_ff1_under_the_derived_key),
		cmocka_unit_test(ff1_agrees_with_another_implementation),
		cmocka_unit_test(the_document_tells_the_truth),
		cmocka_unit_test(a_token_is_of_every_byte_of_the_value),
		cmocka_unit_test(a_prefix_stands_in_front_of_the_token),
		cmocka_unit_test(equal_values_match_in_equal_domains_only),
		cmocka_unit_test(pseudonyms_are_the_same_in_every_run_and_any_pool),
		cmocka_unit_test(fpe_is_undone_for_any_alphabet_and_length),
		cmocka_unit_test(a_value_that_does_not_fit_is_bad_and_not_quoted),
		cmocka_unit_test(a_value_as_long_as_allowed_is_good),
		cmocka_unit_test(keys_of_another_kind_are_refused_before_any_row),
	};
	crypto_arguments(argc, argv);
	choose_seed();
	return cmocka_run_group_tests_name("pseudonym", tests, set_up, tear_down);
}
