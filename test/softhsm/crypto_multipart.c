/* SPDX-License-Identifier: Apache-2.0 */
/* Operations in parts on SoftHSM2: crypto/multipart.c, multipart_cipher.c. */
#include "crypto_ground.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_LEN 1000

static hsmpool_key *aes;
static hsmpool_key *rsa;
static hsmpool_key *ec;
static hsmpool_key *ed;
static hsmpool_key *hmac_key;
static uint8_t *text;

static const char *const ciphers[] = { "aes-gcm", "aes-gcm:tag=12", "aes-cbc-pad",
				       "aes-ctr" };

static hsmpool_multipart *begin(hsmpool_key *key, hsmpool_multipart_kind kind,
				const char *scheme, const hsmpool_params *params)
{
	hsmpool_error err;
	hsmpool_multipart *op;
	assert_ok(hsmpool_multipart_begin(&op, ground.pool, key, kind, scheme, params,
					  HSMPOOL_DEFAULT, &err),
		  &err);
	return op;
}

/* Put in through op in pieces of so many bytes; returns what came out. */
static size_t pump(hsmpool_multipart **op, hsmpool_bytes in, size_t piece,
		   uint8_t *result, size_t cap)
{
	hsmpool_error err;
	size_t done = 0;
	while (in.len > 0) {
		size_t len = in.len < piece ? in.len : piece;
		uint8_t part[TEXT_LEN + 128];
		hsmpool_buf out = { part, len + 32, 0 };
		assert_ok(hsmpool_multipart_update(*op, BYTES(in.data, len), &out, &err),
			  &err);
		assert_true(done + out.len <= cap);
		memcpy(result + done, part, out.len);
		done += out.len;
		in.data += len;
		in.len -= len;
	}
	hsmpool_buf out = { result + done, cap - done, 0 };
	assert_ok(hsmpool_multipart_final(op, &out, &err), &err);
	assert_null(*op);
	return done + out.len;
}

static uint32_t sessions_in_use(void)
{
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_get_stats(ground.pool, &stats);
	return stats.used;
}

/* However the text is cut, the IV in front included. */
static void parts_and_the_whole_are_the_same_encryption(void **state)
{
	(void)state;
	hsmpool_error err;
	static const size_t pieces[] = { 1, 5, 11, 12, 13, 16, 17, 250, TEXT_LEN };
	static const size_t lengths[] = { 0, 1, 15, 16, 17, TEXT_LEN };
	for (size_t c = 0; c < 4; c++)
		for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++)
			for (size_t l = 0; l < 6; l++) {
				uint8_t sealed[TEXT_LEN + 64], back[TEXT_LEN + 64];
				hsmpool_multipart *op = begin(
					aes, HSMPOOL_MULTIPART_ENCRYPT, ciphers[c], NULL);
				size_t len = pump(&op, BYTES(text, lengths[l]), pieces[p],
						  sealed, sizeof(sealed));
				hsmpool_buf out = BUF(back);
				assert_ok(hsmpool_decrypt(ground.pool, aes, ciphers[c],
							  NULL, BYTES(sealed, len), &out,
							  HSMPOOL_DEFAULT, &err),
					  &err);
				assert_int_equal(out.len, lengths[l]);
				assert_memory_equal(back, text, out.len);

				op = begin(aes, HSMPOOL_MULTIPART_DECRYPT, ciphers[c],
					   NULL);
				memset(back, 0, sizeof(back));
				assert_int_equal(pump(&op, BYTES(sealed, len), pieces[p],
						      back, sizeof(back)),
						 lengths[l]);
				assert_memory_equal(back, text, lengths[l]);
			}
	assert_int_equal(sessions_in_use(), 0);
}

static void additional_data_and_a_callers_iv_outlive_begin(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[TEXT_LEN + 64], back[TEXT_LEN + 64];
	uint8_t *aad = crypto_pattern(100, 9), *iv = crypto_pattern(12, 10);
	hsmpool_params params = { .size = sizeof(params),
				  .flags = HSMPOOL_CALLER_IV,
				  .aad = BYTES(aad, 100),
				  .iv = BYTES(iv, 12) };
	hsmpool_buf out = BUF(sealed);
	assert_ok(hsmpool_encrypt(ground.pool, aes, "aes-gcm", &params, BYTES(text, 333),
				  &out, HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_multipart *op = begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", &params);
	memset(aad, 0, 100);
	memset(iv, 0, 12);
	assert_int_equal(pump(&op, BYTES(sealed, out.len), 50, back, sizeof(back)), 333);
	assert_memory_equal(back, text, 333);
	free(aad);
	free(iv);
}

/* What is in front waits for the update: the AAD is copied. */
static void additional_data_is_kept_until_the_iv_has_come(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64], back[64];
	uint8_t *aad = crypto_pattern(100, 9);
	hsmpool_params params = { .size = sizeof(params), .aad = BYTES(aad, 100) };
	hsmpool_buf out = BUF(sealed);
	assert_ok(hsmpool_encrypt(ground.pool, aes, "aes-gcm", &params, BYTES(text, 20),
				  &out, HSMPOOL_DEFAULT, &err),
		  &err);
	hsmpool_multipart *op = begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", &params);
	free(aad);
	assert_int_equal(pump(&op, BYTES(sealed, out.len), 3, back, sizeof(back)), 20);
}

static void what_does_not_verify_ends_with_data_and_no_session_lost(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[128], back[256];
	hsmpool_buf out = BUF(sealed);
	assert_ok(hsmpool_encrypt(ground.pool, aes, "aes-gcm", NULL, BYTES(text, 50),
				  &out, HSMPOOL_DEFAULT, &err),
		  &err);
	for (size_t cut = 0; cut <= out.len; cut++) {
		hsmpool_multipart *op =
			begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", NULL);
		hsmpool_buf part = BUF(back), rest = BUF(back);
		if (cut == out.len)
			sealed[20] ^= 1;
		assert_ok(hsmpool_multipart_update(op, BYTES(sealed, cut), &part, &err),
			  &err);
		assert_status(hsmpool_multipart_final(&op, &rest, &err),
			      HSMPOOL_ERR_DATA);
		assert_null(op);
		assert_int_equal(rest.len, 0);
	}
	assert_int_equal(sessions_in_use(), 0);
}

static void signatures_in_parts_verify_as_a_whole(void **state)
{
	(void)state;
	hsmpool_error err;
	const struct {
		hsmpool_key *key;
		const char *scheme;
	} cases[] = {
		{ rsa, "rsa-pkcs1-sha256" },    { rsa, "rsa-pss-sha512" },
		{ rsa, "rsa-pss-sha1:salt=7" }, { ec, "ecdsa-sha256" },
		{ ec, "ecdsa-sha512:raw" },
	};
	for (size_t i = 0; i < 5; i++)
		for (size_t len = 0; len <= TEXT_LEN; len += 250) {
			uint8_t made[512];
			hsmpool_multipart *op =
				begin(cases[i].key, HSMPOOL_MULTIPART_SIGN,
				      cases[i].scheme, NULL);
			size_t made_len =
				pump(&op, BYTES(text, len), 99, made, sizeof(made));
			assert_ok(hsmpool_verify(ground.pool, cases[i].key,
						 cases[i].scheme, BYTES(text, len),
						 BYTES(made, made_len), HSMPOOL_DEFAULT,
						 &err),
				  &err);
		}
}

static void macs_and_digests_in_parts_are_those_of_the_whole(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t parts[64], whole[64];
	hsmpool_multipart *op =
		begin(hmac_key, HSMPOOL_MULTIPART_SIGN, "hmac-sha256", NULL);
	size_t len = pump(&op, BYTES(text, TEXT_LEN), 7, parts, sizeof(parts));
	hsmpool_buf out = BUF(whole);
	assert_ok(hsmpool_mac(ground.pool, hmac_key, "hmac-sha256", BYTES(text, TEXT_LEN),
			      &out, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(len, out.len);
	assert_memory_equal(parts, whole, len);

	op = begin(NULL, HSMPOOL_MULTIPART_DIGEST, "sha384", NULL);
	len = pump(&op, BYTES(text, TEXT_LEN), 7, parts, sizeof(parts));
	assert_ok(hsmpool_digest(ground.pool, "sha384", BYTES(text, TEXT_LEN), &out,
				 HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(len, out.len);
	assert_memory_equal(parts, whole, len);
}

static void too_little_room_leaves_the_operation_going(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[TEXT_LEN + 64], back[TEXT_LEN], made[512];
	hsmpool_multipart *op = begin(aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-gcm", NULL);
	hsmpool_buf small = { sealed, 100 + 31, 0 }, none = { NULL, 0, 0 };
	assert_status(hsmpool_multipart_update(op, BYTES(text, 100), &small, &err),
		      HSMPOOL_ERR_SPACE);
	assert_int_equal(small.len, 132);
	hsmpool_buf out = BUF(sealed);
	assert_ok(hsmpool_multipart_update(op, BYTES(text, 100), &out, &err), &err);
	assert_int_equal(out.len, 112);
	assert_status(hsmpool_multipart_final(&op, &none, &err), HSMPOOL_ERR_SPACE);
	assert_non_null(op);
	assert_int_equal(none.len, 16);
	hsmpool_buf rest = { sealed + out.len, 16, 0 };
	assert_ok(hsmpool_multipart_final(&op, &rest, &err), &err);

	op = begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", NULL);
	assert_ok(hsmpool_multipart_update(op, BYTES(sealed, 128),
					   &(hsmpool_buf){ back, sizeof(back), 0 }, &err),
		  &err);
	small = (hsmpool_buf){ back, 99, 0 }; /* SoftHSM2 gives it all at the end */
	assert_status(hsmpool_multipart_final(&op, &small, &err), HSMPOOL_ERR_SPACE);
	assert_int_equal(small.len, 100);
	small.cap = 100;
	assert_ok(hsmpool_multipart_final(&op, &small, &err), &err);
	assert_memory_equal(back, text, 100);

	op = begin(ec, HSMPOOL_MULTIPART_SIGN, "ecdsa-sha256", NULL);
	assert_ok(hsmpool_multipart_update(op, BYTES(text, 10), NULL, &err), &err);
	assert_status(hsmpool_multipart_final(&op, &none, &err), HSMPOOL_ERR_SPACE);
	assert_int_equal(none.len, 72);
	assert_ok(hsmpool_multipart_update(op, BYTES(text + 10, 10), NULL, &err), &err);
	hsmpool_buf signature = BUF(made);
	assert_ok(hsmpool_multipart_final(&op, &signature, &err), &err);
	assert_ok(hsmpool_verify(ground.pool, ec, "ecdsa-sha256", BYTES(text, 20),
				 BYTES(made, signature.len), HSMPOOL_DEFAULT, &err),
		  &err);
}

/* Half-done operations of each kind: their sessions come back clean or replaced, and
 * work for whoever borrows them next. */
static void aborted_operations_leave_usable_sessions(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t out[TEXT_LEN + 64];
	hsmpool_multipart *op = NULL;
	hsmpool_multipart_abort(NULL);
	hsmpool_multipart_abort(&op);
	for (int round = 0; round < 4; round++) {
		hsmpool_multipart *ops[5] = {
			begin(aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-cbc-pad", NULL),
			begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", NULL),
			begin(rsa, HSMPOOL_MULTIPART_SIGN, "rsa-pkcs1-sha256", NULL),
			begin(ec, HSMPOOL_MULTIPART_SIGN, "ecdsa-sha256", NULL),
			begin(NULL, HSMPOOL_MULTIPART_DIGEST, "sha256", NULL),
		};
		assert_int_equal(sessions_in_use(), 5);
		for (int i = 0; i < 5; i++) {
			hsmpool_buf buf = BUF(out);
			if (round % 2)
				assert_ok(hsmpool_multipart_update(
						  ops[i], BYTES(text, 100), &buf, &err),
					  &err);
			hsmpool_multipart_abort(&ops[i]);
			assert_null(ops[i]);
		}
		assert_int_equal(sessions_in_use(), 0);
		for (int i = 0; i < 6; i++) {
			hsmpool_buf buf = BUF(out);
			assert_ok(hsmpool_sign(ground.pool, ec, "ecdsa-sha256", TEXT("m"),
					       &buf, HSMPOOL_DEFAULT, &err),
				  &err);
		}
	}
}

static void an_error_ends_the_operation_and_frees_its_session(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[64] = { 1 }, back[128];
	hsmpool_buf out = BUF(back);
	hsmpool_multipart *op =
		begin(aes, HSMPOOL_MULTIPART_DECRYPT, "aes-cbc-pad", NULL);
	assert_ok(hsmpool_multipart_update(op, BYTES(sealed, 40), &out, &err), &err);
	assert_status(hsmpool_multipart_final(&op, &out, &err), HSMPOOL_ERR_DATA);
	assert_null(op);
	assert_int_equal(sessions_in_use(), 0);
	assert_status(hsmpool_multipart_update(op, BYTES(sealed, 1), &out, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_multipart_final(&op, &out, &err), HSMPOOL_ERR_USAGE);
}

static void what_cannot_be_done_in_parts_is_refused_at_begin(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_multipart *op;
	const struct {
		hsmpool_key *key;
		hsmpool_multipart_kind kind;
		const char *scheme;
		hsmpool_status status;
	} cases[] = {
		{ rsa, HSMPOOL_MULTIPART_ENCRYPT, "rsa-pkcs1", HSMPOOL_ERR_UNSUPPORTED },
		{ ed, HSMPOOL_MULTIPART_SIGN, "ed25519", HSMPOOL_ERR_UNSUPPORTED },
		{ ec, HSMPOOL_MULTIPART_SIGN, "ecdsa-sha256:digest", HSMPOOL_ERR_USAGE },
		{ ec, HSMPOOL_MULTIPART_SIGN, "sha256", HSMPOOL_ERR_USAGE },
		{ ec, HSMPOOL_MULTIPART_SIGN, "rsa-pkcs1-sha256", HSMPOOL_ERR_KEY },
		{ ec, HSMPOOL_MULTIPART_SIGN, "hmac-sha256", HSMPOOL_ERR_KEY },
		{ rsa, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm", HSMPOOL_ERR_KEY },
		{ ec, HSMPOOL_MULTIPART_DIGEST, "sha256", HSMPOOL_ERR_USAGE },
		{ NULL, HSMPOOL_MULTIPART_SIGN, "ecdsa-sha256", HSMPOOL_ERR_USAGE },
		{ NULL, (hsmpool_multipart_kind)7, "sha256", HSMPOOL_ERR_USAGE },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		op = (hsmpool_multipart *)&op;
		assert_status(hsmpool_multipart_begin(&op, ground.pool, cases[i].key,
						      cases[i].kind, cases[i].scheme,
						      NULL, HSMPOOL_DEFAULT, &err),
			      cases[i].status);
		assert_null(op);
	}
	assert_int_equal(sessions_in_use(), 0);
}

/* Fork: the child is told so, and the parent's operation goes on. */
static void a_child_cannot_go_on_with_its_parents_operation(void **state)
{
	(void)state;
	hsmpool_error err;
	uint8_t sealed[128];
	hsmpool_buf out = BUF(sealed);
	hsmpool_multipart *op = begin(aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-ctr", NULL);
	pid_t child = fork();
	if (child == 0) {
		bool is_told = hsmpool_multipart_update(op, TEXT("child"), &out, &err) ==
			       HSMPOOL_ERR_FORKED;
		hsmpool_multipart_abort(&op);
		_exit(is_told ? 0 : 1);
	}
	int how;
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
	assert_ok(hsmpool_multipart_update(op, TEXT("parent"), &out, &err), &err);
	assert_int_equal(out.len, 22);
	assert_ok(hsmpool_multipart_final(&op, &out, &err), &err);
}

static int make_keys(void **state)
{
	crypto_setup(state);
	text = crypto_pattern(TEXT_LEN, 0);
	aes = crypto_generate("aes", 256, NULL, "aes", 0);
	rsa = crypto_generate("rsa", 2048, NULL, "rsa",
			      HSMPOOL_KEY_CAN_SIGN | HSMPOOL_KEY_CAN_VERIFY |
				      HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT);
	ec = crypto_generate("ec", 0, "P-256", "ec", 0);
	ed = crypto_generate("ed25519", 0, NULL, "ed", 0);
	hmac_key = crypto_generate("generic", 256, NULL, "hmac", 0);
	return 0;
}

static int close_keys(void **state)
{
	free(text);
	hsmpool_key_close(&aes);
	hsmpool_key_close(&rsa);
	hsmpool_key_close(&ec);
	hsmpool_key_close(&ed);
	hsmpool_key_close(&hmac_key);
	return crypto_teardown(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_and_the_whole_are_the_same_encryption),
		cmocka_unit_test(additional_data_and_a_callers_iv_outlive_begin),
		cmocka_unit_test(additional_data_is_kept_until_the_iv_has_come),
		cmocka_unit_test(what_does_not_verify_ends_with_data_and_no_session_lost),
		cmocka_unit_test(signatures_in_parts_verify_as_a_whole),
		cmocka_unit_test(macs_and_digests_in_parts_are_those_of_the_whole),
		cmocka_unit_test(too_little_room_leaves_the_operation_going),
		cmocka_unit_test(aborted_operations_leave_usable_sessions),
		cmocka_unit_test(an_error_ends_the_operation_and_frees_its_session),
		cmocka_unit_test(what_cannot_be_done_in_parts_is_refused_at_begin),
		cmocka_unit_test(a_child_cannot_go_on_with_its_parents_operation),
	};
	crypto_arguments(argc, argv);
	return cmocka_run_group_tests(tests, make_keys, close_keys);
}
