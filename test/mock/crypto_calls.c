/* SPDX-License-Identifier: Apache-2.0 */
/* How many calls of the module an operation costs: two. */
#include "pool_ground.h"

#include <stdio.h>
#include <string.h>

#define BYTES(pointer, length) ((hsmpool_bytes){ (const uint8_t *)(pointer), (length) })
#define TEXT(literal)          BYTES(literal, sizeof(literal) - 1)

struct keys {
	hsmpool_key *aes, *rsa, *ec, *hmac;
};

static hsmpool_key *open_key(hsmpool *pool, const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	char uri[64];
	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static struct keys open_keys(hsmpool *pool)
{
	return (struct keys){ open_key(pool, "aes"), open_key(pool, "rsa"),
			      open_key(pool, "ec"), open_key(pool, "hmac") };
}

static void close_keys(struct keys *keys)
{
	hsmpool_key_close(&keys->aes);
	hsmpool_key_close(&keys->rsa);
	hsmpool_key_close(&keys->ec);
	hsmpool_key_close(&keys->hmac);
}

/* --- the operations ---------------------------------------------------------- */

static uint8_t sealed[128], signature[512], mac[64];
static hsmpool_buf sealed_buf, signature_buf, mac_buf;

static hsmpool_status run_encrypt(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	sealed_buf = (hsmpool_buf){ sealed, sizeof(sealed), 0 };
	return hsmpool_encrypt(pool, k->aes, "aes-gcm", NULL, TEXT("text"), &sealed_buf,
			       HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_decrypt(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	uint8_t plain[8];
	hsmpool_buf out = { plain, sizeof(plain), 0 };
	return hsmpool_decrypt(pool, k->aes, "aes-gcm", NULL,
			       BYTES(sealed, sealed_buf.len), &out, HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_sign(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	signature_buf = (hsmpool_buf){ signature, sizeof(signature), 0 };
	return hsmpool_sign(pool, k->rsa, "rsa-pss-sha256", TEXT("text"), &signature_buf,
			    HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_verify(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	return hsmpool_verify(pool, k->rsa, "rsa-pss-sha256", TEXT("text"),
			      BYTES(signature, signature_buf.len), HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_ecdsa(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	uint8_t made[128];
	hsmpool_buf out = { made, sizeof(made), 0 };
	return hsmpool_sign(pool, k->ec, "ecdsa-sha256", TEXT("text"), &out,
			    HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_mac(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	mac_buf = (hsmpool_buf){ mac, sizeof(mac), 0 };
	return hsmpool_mac(pool, k->hmac, "hmac-sha256", TEXT("text"), &mac_buf,
			   HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_mac_verify(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	return hsmpool_mac_verify(pool, k->hmac, "hmac-sha256", TEXT("text"),
				  BYTES(mac, mac_buf.len), HSMPOOL_DEFAULT, err);
}

static hsmpool_status run_digest(hsmpool *pool, struct keys *k, hsmpool_error *err)
{
	uint8_t made[32];
	hsmpool_buf out = { made, sizeof(made), 0 };
	(void)k;
	return hsmpool_digest(pool, "sha256", TEXT("text"), &out, HSMPOOL_DEFAULT, err);
}

static const struct {
	const char *name;
	hsmpool_status (*run)(hsmpool *pool, struct keys *k, hsmpool_error *err);
} operations[] = {
	{ "encrypt", run_encrypt },
	{ "decrypt", run_decrypt },
	{ "sign", run_sign },
	{ "verify", run_verify },
	{ "ecdsa", run_ecdsa },
	{ "mac", run_mac },
	{ "mac-verify", run_mac_verify },
	{ "digest", run_digest },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* --- tests ------------------------------------------------------------------- */

static void every_operation_makes_exactly_two_calls(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	struct keys k = open_keys(pool);
	for (size_t i = 0; i < OPERATIONS; i++)
		assert_ok(operations[i].run(pool, &k, &err),
			  &err); /* handles are found */
	for (size_t i = 0; i < OPERATIONS; i++) {
		uint64_t before = ground_counters(g).calls;
		for (int round = 0; round < 10; round++)
			assert_ok(operations[i].run(pool, &k, &err), &err);
		uint64_t calls = ground_counters(g).calls - before;
		if (calls != 20)
			fail_msg("ten times %s made %d calls", operations[i].name,
				 (int)calls);
	}
	close_keys(&k);
}

static void a_size_query_makes_no_call(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	struct keys k = open_keys(pool);
	hsmpool_buf none = { NULL, 0, 0 };
	assert_ok(run_encrypt(pool, &k, &err), &err);
	assert_ok(run_sign(pool, &k, &err), &err);
	assert_ok(run_ecdsa(pool, &k, &err), &err);

	uint64_t before = ground_counters(g).calls;
	assert_status(hsmpool_encrypt(pool, k.aes, "aes-gcm", NULL, TEXT("text"), &none,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_status(hsmpool_decrypt(pool, k.aes, "aes-gcm", NULL,
				      BYTES(sealed, sealed_buf.len), &none,
				      HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(none.len, 4);
	assert_status(hsmpool_sign(pool, k.rsa, "rsa-pss-sha256", TEXT("text"), &none,
				   HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_status(hsmpool_sign(pool, k.ec, "ecdsa-sha256", TEXT("text"), &none,
				   HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_status(hsmpool_mac(pool, k.hmac, "hmac-sha256", TEXT("text"), &none,
				  HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(ground_counters(g).calls, before);
	close_keys(&k);
}

static void what_the_token_has_is_asked_once_per_pool(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	struct keys k = open_keys(pool);
	uint64_t before = g->mock->calls("C_GetMechanismInfo");
	for (int i = 0; i < 5; i++) {
		assert_ok(run_sign(pool, &k, &err), &err);
		assert_ok(run_verify(pool, &k, &err), &err);
	}
	assert_int_equal(g->mock->calls("C_GetMechanismInfo") - before, 2);
	close_keys(&k);
}

static void a_wrong_key_or_argument_is_noticed_before_any_init(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	struct keys k = open_keys(pool);
	uint8_t out[512];
	hsmpool_buf buf = { out, sizeof(out), 0 };
	assert_ok(run_sign(pool, &k, &err), &err);
	uint64_t before = ground_counters(g).calls;
	assert_status(hsmpool_sign(pool, k.rsa, "ecdsa-sha256", TEXT("m"), &buf,
				   HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_KEY);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_status(hsmpool_sign(pool, k.rsa, "rsa-pss-sha256:salt=400", TEXT("m"),
				   &buf, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_sign(pool, k.rsa, "rsa-pss", TEXT("m"), &buf,
				   HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_int_equal(ground_counters(g).calls, before);
	close_keys(&k);
}

static void parts_cost_one_call_each(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;
	hsmpool *pool = ground_open(g, NULL);
	struct keys k = open_keys(pool);
	hsmpool_multipart *op;
	uint8_t out[128];
	hsmpool_buf buf = { out, sizeof(out), 0 };
	assert_ok(run_encrypt(pool, &k, &err), &err);
	uint64_t before = ground_counters(g).calls;
	assert_ok(hsmpool_multipart_begin(&op, pool, k.aes, HSMPOOL_MULTIPART_ENCRYPT,
					  "aes-gcm", NULL, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_ok(hsmpool_multipart_update(op, TEXT("text"), &buf, &err), &err);
	assert_ok(hsmpool_multipart_update(op, TEXT("text"), &buf, &err), &err);
	assert_ok(hsmpool_multipart_final(&op, &buf, &err), &err);
	assert_int_equal(ground_counters(g).calls - before, 4);
	close_keys(&k);
}

/* offload-public: after the first use, which reads the public half, the HSM is left
 * alone. */
static void offloaded_verification_makes_no_call(void **state)
{
	(void)state;
	struct ground g = { .mock = fixture_mock_control() };
	hsmpool_error err;
	hsmpool_key *key;
	uint8_t made[128];
	hsmpool_buf out = { made, sizeof(made), 0 };
	const hsmpool_key_spec spec = { .size = sizeof(spec),
					.type = "ec",
					.label = "ec" };
	fixture_mock_over_softhsm(&g.fixture);
	hsmpool *pool = ground_open(&g, "offload-public", "yes", "revalidate-interval",
				    "0", NULL);
	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	assert_ok(hsmpool_sign(pool, key, "ecdsa-sha256", TEXT("m"), &out,
			       HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_bytes signature_made = BYTES(made, out.len);
	uint64_t before = 0;
	for (int i = 0; i < 10; i++) {
		if (i == 1)
			before = ground_counters(&g).calls;
		assert_ok(hsmpool_verify(pool, key, "ecdsa-sha256", TEXT("m"),
					 signature_made, HSMPOOL_DEFAULT, &err),
			  &err);
	}
	assert_int_equal(ground_counters(&g).calls, before);
	assert_int_equal(g.mock->calls("C_VerifyInit"), 0);
	hsmpool_key_close(&key);
	hsmpool_close(&g.pool);
	g.mock->wrap(NULL);
	g.mock->reset();
	fixture_remove(&g.fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(every_operation_makes_exactly_two_calls),
		GROUND_TEST(a_size_query_makes_no_call),
		GROUND_TEST(what_the_token_has_is_asked_once_per_pool),
		GROUND_TEST(a_wrong_key_or_argument_is_noticed_before_any_init),
		GROUND_TEST(parts_cost_one_call_each),
		cmocka_unit_test(offloaded_verification_makes_no_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
