/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library leaves in memory: nothing, after each operation in one part or
 * several.
 *
 * A scenario runs in a process of its own, on the mock, which keeps no data either. The
 * names of the canaries say what was found.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/secret.h"
#include "hygiene/library_ground.h"

/* --- controls of the search itself ------------------------------------------------- */

static void leaves_it_on_the_heap(void)
{
	uint8_t *canary = child_canary("heap", 200);
	uint8_t *copy = malloc(200);
	memcpy(copy, canary, 200);
	__asm__ volatile("" : : "r"(copy) : "memory");
	free(copy);
	child_stop("a freed copy", false);
}

static void keeps_it_in_a_secret(void)
{
	struct hp_secret *secret = hp_secret_new(64);
	memcpy(secret->data, child_canary("pin", 64), 64);
	child_stop("held", true);
	child_crash("held");
}

static void keeps_it_unlocked(void)
{
	void *pages = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(pages, child_canary("pin", 64), 64);
	__asm__ volatile("" : : "r"(pages) : "memory");
	child_stop("held", true);
}

static void tells_a_secret(void)
{
	uint8_t *secret = child_canary("in disguise", 32);
	uint8_t *copy = malloc(200);
	memcpy(copy + 100, secret + 3, 20);
	__asm__ volatile("" : : "r"(copy) : "memory");
	child_tell("told", secret, 32);
	child_stop("a piece of it", false);
	child_crash("a piece of it");
}

/* --- one part ---------------------------------------------------------------------- */

static void seal_and_open(hsmpool_key *key, const char *scheme, const char *name,
			  size_t len, size_t spare)
{
	hsmpool_buf sealed = room(len + 600);
	hsmpool_buf plain = room(len + spare);
	CHILD_OK(hsmpool_encrypt(subject.pool, key, scheme, NULL,
				 BYTES(child_canary(name, len), len), &sealed,
				 HSMPOOL_DEFAULT, err));
	CHILD_OK(hsmpool_decrypt(subject.pool, key, scheme, NULL,
				 BYTES(sealed.data, sealed.len), &plain, HSMPOOL_DEFAULT,
				 err));
	if (plain.len != len)
		child_die(name, "has another length");
}

static void seal_in_place(const char *name, size_t len)
{
	uint8_t *data = child_room(len + 64);
	hsmpool_buf out = { data, len + 64, 0 };
	memcpy(data, child_canary(name, len), len);
	CHILD_OK(hsmpool_encrypt(subject.pool, subject.aes, "aes-gcm", NULL,
				 BYTES(data, len), &out, HSMPOOL_DEFAULT, err));
	CHILD_OK(hsmpool_decrypt(subject.pool, subject.aes, "aes-gcm", NULL,
				 BYTES(data, out.len), &out, HSMPOOL_DEFAULT, err));
}

static void fail_to_open(const char *name, size_t len)
{
	hsmpool_buf sealed = room(len + 64);
	hsmpool_buf plain = room(len + 64);
	CHILD_OK(hsmpool_encrypt(subject.pool, subject.aes, "aes-gcm", NULL,
				 BYTES(child_canary(name, len), len), &sealed,
				 HSMPOOL_DEFAULT, err));
	sealed.data[sealed.len - 1] ^= 1;
	CHILD_FAILS(HSMPOOL_ERR_DATA,
		    hsmpool_decrypt(subject.pool, subject.aes, "aes-gcm", NULL,
				    BYTES(sealed.data, sealed.len), &plain,
				    HSMPOOL_DEFAULT, err));
	sealed.data[sealed.len - 1] ^= 1;
	plain.cap = len - 1;
	CHILD_FAILS(HSMPOOL_ERR_SPACE,
		    hsmpool_decrypt(subject.pool, subject.aes, "aes-gcm", NULL,
				    BYTES(sealed.data, sealed.len), &plain,
				    HSMPOOL_DEFAULT, err));
}

static void encrypts_and_decrypts(void)
{
	open_pool();
	seal_and_open(subject.aes, "aes-gcm", "gcm short", 40, 64);
	seal_and_open(subject.aes, "aes-gcm", "gcm long", 200000, 64);
	seal_and_open(subject.aes, "aes-gcm", "gcm exact", 4000, 0);
	seal_and_open(subject.aes, "aes-cbc-pad", "cbc", 4001, 0);
	seal_and_open(subject.rsa, "rsa-oaep-sha1", "oaep", 100, 0);
	seal_and_open(subject.rsa, "rsa-pkcs1", "pkcs1", 100, 0);
	seal_in_place("in place short", 100);
	seal_in_place("in place long", 50000);
	fail_to_open("tampered", 5000);
	fail_to_open("tampered short", 60);
	child_stop("after encryption", true);
	close_pool();
}

static void sign_and_verify(hsmpool_key *key, const char *scheme, const char *name,
			    size_t len)
{
	hsmpool_bytes message = BYTES(child_canary(name, len), len);
	hsmpool_buf signature = room(600);
	CHILD_OK(hsmpool_sign(subject.pool, key, scheme, message, &signature,
			      HSMPOOL_DEFAULT, err));
	CHILD_OK(hsmpool_verify(subject.pool, key, scheme, message,
				BYTES(signature.data, signature.len), HSMPOOL_DEFAULT,
				err));
}

static void mac_and_digest(const char *name, size_t len)
{
	hsmpool_bytes message = BYTES(child_canary(name, len), len);
	hsmpool_buf made = room(64);
	CHILD_OK(hsmpool_mac(subject.pool, subject.hmac, "hmac-sha256", message, &made,
			     HSMPOOL_DEFAULT, err));
	CHILD_OK(hsmpool_mac_verify(subject.pool, subject.hmac, "hmac-sha256", message,
				    BYTES(made.data, made.len), HSMPOOL_DEFAULT, err));
	made = room(64);
	CHILD_OK(hsmpool_digest(subject.pool, "sha256", message, &made, HSMPOOL_DEFAULT,
				err));
}

static void signs_and_digests(void)
{
	open_pool();
	sign_and_verify(subject.rsa, "rsa-pkcs1-sha256", "signed", 5000);
	sign_and_verify(subject.rsa, "rsa-pss-sha256", "signed pss", 50);
	sign_and_verify(subject.ec, "ecdsa-sha256", "signed here", 5000);
	sign_and_verify(subject.ec, "ecdsa-sha256", "signed short", 50);
	mac_and_digest("authenticated", 5000);
	mac_and_digest("authenticated short", 50);
	child_stop("after signatures", true);
	close_pool();
}

/* --- several parts ----------------------------------------------------------------- */

static hsmpool_multipart *begin(hsmpool_key *key, hsmpool_multipart_kind kind,
				const char *scheme)
{
	hsmpool_multipart *op = NULL;
	CHILD_OK(hsmpool_multipart_begin(&op, subject.pool, key, kind, scheme, NULL,
					 HSMPOOL_DEFAULT, err));
	return op;
}

static size_t give_in_parts(hsmpool_multipart *op, hsmpool_bytes in, size_t part,
			    hsmpool_buf *whole)
{
	for (size_t at = 0; at < in.len; at += part) {
		size_t len = in.len - at < part ? in.len - at : part;
		hsmpool_buf out = { whole->data + whole->len, whole->cap - whole->len,
				    0 };
		CHILD_OK(hsmpool_multipart_update(op, BYTES(in.data + at, len), &out,
						  err));
		whole->len += out.len;
	}
	return whole->len;
}

static void finish(hsmpool_multipart *op, hsmpool_buf *whole)
{
	hsmpool_buf out = { whole->data + whole->len, whole->cap - whole->len, 0 };
	CHILD_OK(hsmpool_multipart_final(&op, &out, err));
	whole->len += out.len;
}

static void cipher_in_parts(const char *name, const char *scheme, size_t len)
{
	hsmpool_buf sealed = room(len + 1000), plain = room(len + 1000);
	hsmpool_multipart *op = begin(subject.aes, HSMPOOL_MULTIPART_ENCRYPT, scheme);
	give_in_parts(op, BYTES(child_canary(name, len), len), 700, &sealed);
	finish(op, &sealed);
	op = begin(subject.aes, HSMPOOL_MULTIPART_DECRYPT, scheme);
	give_in_parts(op, BYTES(sealed.data, sealed.len), 700, &plain);
	finish(op, &plain);
	if (plain.len != len)
		child_die(name, "has another length");
}

static void give_up_in_parts(const char *name, size_t len)
{
	hsmpool_buf sealed = room(len + 1000), plain = room(len + 1000);
	hsmpool_multipart *op = begin(subject.aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-gcm");
	hsmpool_bytes in = BYTES(child_canary(name, len), len);
	give_in_parts(op, in, 700, &sealed);
	finish(op, &sealed);
	op = begin(subject.aes, HSMPOOL_MULTIPART_DECRYPT, "aes-gcm");
	give_in_parts(op, BYTES(sealed.data, sealed.len - 20), 700, &plain);
	hsmpool_multipart_abort(&op);
	sealed.len = 0;
	op = begin(subject.aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-gcm");
	give_in_parts(op, in, 700, &sealed);
	hsmpool_multipart_abort(&op);
}

static void result_in_parts(const char *name, hsmpool_key *key,
			    hsmpool_multipart_kind kind, const char *scheme)
{
	hsmpool_buf result = room(600);
	hsmpool_multipart *op = begin(key, kind, scheme);
	give_in_parts(op, BYTES(child_canary(name, 5000), 5000), 700, &result);
	finish(op, &result);
	result.len = 0;
	op = begin(key, kind, scheme);
	give_in_parts(op, BYTES(child_canary(name, 5000), 5000), 700, &result);
	hsmpool_multipart_abort(&op);
}

static void works_in_parts(void)
{
	open_pool();
	cipher_in_parts("gcm in parts", "aes-gcm", 5000);
	cipher_in_parts("cbc in parts", "aes-cbc-pad", 5001);
	give_up_in_parts("given up", 5000);
	result_in_parts("sign in parts", subject.rsa, HSMPOOL_MULTIPART_SIGN,
			"rsa-pkcs1-sha256");
	result_in_parts("ecdsa in parts", subject.ec, HSMPOOL_MULTIPART_SIGN,
			"ecdsa-sha256");
	result_in_parts("mac in parts", subject.hmac, HSMPOOL_MULTIPART_SIGN,
			"hmac-sha256");
	result_in_parts("digest in parts", NULL, HSMPOOL_MULTIPART_DIGEST, "sha256");
	child_stop("after parts", true);
	close_pool();
}

/* --- a crash in the middle of it --------------------------------------------------- */

static void dies_at_work(void)
{
	open_pool();
	seal_and_open(subject.aes, "aes-gcm", "gcm", 40, 64);
	sign_and_verify(subject.ec, "ecdsa-sha256", "signed", 5000);
	child_stop("at work", true);
	child_crash("at work");
}

/* --- tests ------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "leaves_it_on_the_heap", leaves_it_on_the_heap },
	{ "keeps_it_in_a_secret", keeps_it_in_a_secret },
	{ "keeps_it_unlocked", keeps_it_unlocked },
	{ "tells_a_secret", tells_a_secret },
	{ "encrypts_and_decrypts", encrypts_and_decrypts },
	{ "signs_and_digests", signs_and_digests },
	{ "works_in_parts", works_in_parts },
	{ "dies_at_work", dies_at_work },
};

static void the_search_finds_what_is_left(void **state)
{
	(void)state;
	assert_true(hygiene_run("leaves_it_on_the_heap", &quiet).leaked > 0);
	assert_true(hygiene_run("tells_a_secret", &quiet).leaked > 1);
	assert_true(hygiene_run("keeps_it_unlocked", &quiet).leaked > 0);
}

static void a_secret_is_found_where_it_may_be_and_is_not_in_a_core(void **state)
{
	(void)state;
	struct findings found = hygiene_run("keeps_it_in_a_secret", &on_mock);
	assert_int_equal(found.leaked, 0);
	assert_true(found.allowed > 0);
}

static void nothing_is_left_of_an_encryption(void **state)
{
	(void)state;
	hygiene_check("encrypts_and_decrypts", &on_mock);
	hygiene_check("encrypts_and_decrypts", &on_workers);
}

static void nothing_is_left_of_a_signature(void **state)
{
	(void)state;
	hygiene_check("signs_and_digests", &on_mock);
	hygiene_check("signs_and_digests", &on_workers);
}

static void nothing_is_left_of_an_operation_in_parts(void **state)
{
	(void)state;
	hygiene_check("works_in_parts", &on_mock);
	hygiene_check("works_in_parts", &on_workers);
}

static void the_trail_and_the_log_have_no_secrets(void **state)
{
	const struct hygiene_ground told = {
		.pin_source = "file:pin",
		.lines =
			"audit = @/told/audit\nlog = file:@/told/log\nlog-level = debug\n"
			"metrics-file = @/told/metrics",
	};
	static const char *const all[] = { "encrypts_and_decrypts", "signs_and_digests",
					   "works_in_parts" };
	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct findings found = hygiene_run_and_read(all[i], &told, "/told/");
		assert_int_equal(found.leaked, 0);
	}
}

/* With the PIN held, and workers that have made calls. */
static void a_core_dump_has_no_secrets(void **state)
{
	(void)state;
	struct findings found = hygiene_run("dies_at_work", &on_workers);
	assert_int_equal(found.leaked, 0);
	assert_true(found.allowed > 0);
	if (!found.has_core)
		skip();
}

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_search_finds_what_is_left),
		cmocka_unit_test(a_secret_is_found_where_it_may_be_and_is_not_in_a_core),
		cmocka_unit_test(nothing_is_left_of_an_encryption),
		cmocka_unit_test(nothing_is_left_of_a_signature),
		cmocka_unit_test(nothing_is_left_of_an_operation_in_parts),
		cmocka_unit_test(the_trail_and_the_log_have_no_secrets),
		cmocka_unit_test(a_core_dump_has_no_secrets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
