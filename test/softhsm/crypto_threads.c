/* SPDX-License-Identifier: Apache-2.0 */
/* Eight threads, all kinds of operation mixed, four sessions. */
#include "crypto_ground.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS 8
#define ROUNDS  40

static hsmpool_key *aes, *rsa, *ec, *hmac_key;
static atomic_uint failures;
static pthread_barrier_t together;

/* In a thread cmocka's assertions cannot stop the test: count. */
static void expect(hsmpool_status status, hsmpool_status expected,
		   const hsmpool_error *err)
{
	if (status == expected)
		return;
	print_message("# %s instead of %s: %s\n", hsmpool_status_name(status),
		      hsmpool_status_name(expected), err->text);
	atomic_fetch_add(&failures, 1);
}

static void encrypt_and_decrypt(hsmpool_bytes text)
{
	hsmpool_error err;
	uint8_t sealed[512], back[512];
	hsmpool_buf out = BUF(sealed), plain = BUF(back);
	expect(hsmpool_encrypt(ground.pool, aes, "aes-gcm", NULL, text, &out,
			       HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	expect(hsmpool_decrypt(ground.pool, aes, "aes-gcm", NULL, BYTES(sealed, out.len),
			       &plain, HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	if (plain.len != text.len || memcmp(back, text.data, text.len) != 0)
		atomic_fetch_add(&failures, 1);
	sealed[out.len - 1] ^= 1;
	expect(hsmpool_decrypt(ground.pool, aes, "aes-gcm", NULL, BYTES(sealed, out.len),
			       &plain, HSMPOOL_DEFAULT, &err),
	       HSMPOOL_ERR_DATA, &err);
}

static void sign_and_verify(hsmpool_key *key, const char *scheme, hsmpool_bytes text)
{
	hsmpool_error err;
	uint8_t made[512];
	hsmpool_buf out = BUF(made);
	expect(hsmpool_sign(ground.pool, key, scheme, text, &out, HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	expect(hsmpool_verify(ground.pool, key, scheme, text, BYTES(made, out.len),
			      HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	made[out.len / 2] ^= 1;
	expect(hsmpool_verify(ground.pool, key, scheme, text, BYTES(made, out.len),
			      HSMPOOL_DEFAULT, &err),
	       HSMPOOL_ERR_DATA, &err);
}

static void mac_in_one_and_in_parts(hsmpool_bytes text)
{
	hsmpool_error err;
	uint8_t made[64];
	hsmpool_buf out = BUF(made);
	hsmpool_multipart *op;
	expect(hsmpool_multipart_begin(&op, ground.pool, hmac_key, HSMPOOL_MULTIPART_SIGN,
				       "hmac-sha256", NULL, HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	expect(hsmpool_multipart_update(op, text, NULL, &err), HSMPOOL_OK, &err);
	expect(hsmpool_multipart_final(&op, &out, &err), HSMPOOL_OK, &err);
	expect(hsmpool_mac_verify(ground.pool, hmac_key, "hmac-sha256", text,
				  BYTES(made, out.len), HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
}

static void give_up_half_way(hsmpool_bytes text)
{
	hsmpool_error err;
	hsmpool_multipart *op;
	expect(hsmpool_multipart_begin(&op, ground.pool, ec, HSMPOOL_MULTIPART_SIGN,
				       "ecdsa-sha256", NULL, HSMPOOL_DEFAULT, &err),
	       HSMPOOL_OK, &err);
	expect(hsmpool_multipart_update(op, text, NULL, &err), HSMPOOL_OK, &err);
	hsmpool_multipart_abort(&op);
}

static void *work(void *number)
{
	hsmpool_error err;
	uint8_t text[300];
	memset(text, (int)(uintptr_t)number + 1, sizeof(text));
	pthread_barrier_wait(&together);
	for (size_t i = 0; i < ROUNDS; i++) {
		hsmpool_bytes message = BYTES(text, i * 7 % sizeof(text) + 1);
		uint8_t random[32];
		encrypt_and_decrypt(message);
		sign_and_verify(ec, "ecdsa-sha256", message);
		if (i % 8 == 0)
			sign_and_verify(rsa, "rsa-pss-sha256", message);
		mac_in_one_and_in_parts(message);
		give_up_half_way(message);
		expect(hsmpool_random(ground.pool, random, sizeof(random),
				      HSMPOOL_DEFAULT, &err),
		       HSMPOOL_OK, &err);
	}
	return NULL;
}

static void eight_threads_do_everything_at_once(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	hsmpool_stats stats = { .size = sizeof(stats) };
	pthread_barrier_init(&together, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&together);
	assert_int_equal(atomic_load(&failures), 0);
	hsmpool_get_stats(ground.pool, &stats);
	assert_int_equal(stats.used, 0);
	assert_true(stats.peak <= 4);
}

static int make_keys(void **state)
{
	crypto_setup(state);
	fixture_set(&ground.fixture, "max-sessions", "4");
	crypto_reopen("borrow-timeout", "60s");
	aes = crypto_generate("aes", 256, NULL, "aes", 0);
	rsa = crypto_generate("rsa", 2048, NULL, "rsa", 0);
	ec = crypto_generate("ec", 0, "P-256", "ec", 0);
	hmac_key = crypto_generate("generic", 256, NULL, "hmac", 0);
	return 0;
}

static int close_keys(void **state)
{
	hsmpool_key_close(&aes);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&ec);
	hsmpool_key_close(&hmac_key);
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_threads_do_everything_at_once),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, close_keys);
}
