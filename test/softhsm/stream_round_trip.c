/* SPDX-License-Identifier: Apache-2.0 */
/* Streams there and back: sizes, modes, recipients, the caller's functions. */
#include "stream_ground.h"

#include "base/memory.h"
#include "stream/container.h"

#include <stdlib.h>
#include <string.h>

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *aes;

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	aes = ground_generated_key(pool, "aes", 256, "backup", 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hsmpool_key_close(&aes);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static struct hp_container *parse(const struct ground_sink *container)
{
	struct hp_container *c = malloc(sizeof(*c));
	size_t used;
	hsmpool_error err;
	assert_non_null(c);
	assert_ok(hp_container_parse(container->data, container->len, c, &used, &err),
		  &err);
	return c;
}

static void round_trip(hsmpool_stream_mode mode, uint32_t chunk_size, size_t len)
{
	const hsmpool_stream_options options = ground_options(mode, chunk_size);
	uint8_t *plain = ground_pattern(len);
	struct ground_sink container;
	ground_encrypt(pool, &aes, 1, &options, plain, len, &container);
	ground_expect(pool, aes, NULL, &container, plain, len);
	ground_expect(pool, NULL, NULL, &container, plain, len);
	ground_sink_clear(&container);
	free(plain);
}

static void sizes_around_the_chunk_size_come_back_in_envelope_mode(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 1023, 1024, 1025, 2048, 3 * 1024 + 7 };
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++)
		round_trip(HSMPOOL_STREAM_ENVELOPE, 1024, sizes[i]);
}

static void sizes_around_the_chunk_size_come_back_in_direct_mode(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 1023, 1024, 1025, 2048, 3 * 1024 + 7 };
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++)
		round_trip(HSMPOOL_STREAM_DIRECT, 1024, sizes[i]);
}

static void the_default_chunk_sizes_come_back(void **state)
{
	(void)state;
	round_trip(HSMPOOL_STREAM_ENVELOPE, 0, (3 << 20) + 1);
	round_trip(HSMPOOL_STREAM_DIRECT, 0, (200 << 10) + 1);
}

static void the_largest_and_odd_chunk_sizes_come_back(void **state)
{
	(void)state;
	round_trip(HSMPOOL_STREAM_ENVELOPE, 64 << 20, (1 << 20) + 5);
	round_trip(HSMPOOL_STREAM_DIRECT, 1 << 20, (1 << 20) + 5);
	round_trip(HSMPOOL_STREAM_ENVELOPE, 100003, 300000);
}

static void chunk_sizes_out_of_bounds_are_refused(void **state)
{
	(void)state;
	static const struct {
		hsmpool_stream_mode mode;
		uint32_t chunk_size;
	} bad[] = {
		{ HSMPOOL_STREAM_ENVELOPE, 1023 },
		{ HSMPOOL_STREAM_ENVELOPE, (64 << 20) + 1 },
		{ HSMPOOL_STREAM_DIRECT, (1 << 20) + 1 },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		hsmpool_stream_options options =
			ground_options(bad[i].mode, bad[i].chunk_size);
		struct ground_source source = { 0 };
		struct ground_sink sink = { 0 };
		hsmpool_error err;
		assert_status(hsmpool_stream_encrypt(pool, &aes, 1, &options, ground_read,
						     &source, ground_write, &sink,
						     HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_USAGE);
		assert_int_equal(sink.len, 0);
	}
}

static void a_reader_that_gives_a_byte_at_a_time_is_enough(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	uint8_t *plain = ground_pattern(2500);
	struct ground_sink container = { 0 }, out = { 0 };
	hsmpool_error err;
	struct ground_source source = { .data = plain, .len = 2500, .piece = 1 };
	assert_ok(hsmpool_stream_encrypt(pool, &aes, 1, &options, ground_read, &source,
					 ground_write, &container, HSMPOOL_DEFAULT, &err),
		  &err);
	source = (struct ground_source){ .data = container.data,
					 .len = container.len,
					 .piece = 1 };
	assert_ok(hsmpool_stream_decrypt(pool, aes, NULL, ground_read, &source,
					 ground_write, &out, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(out.len, 2500);
	assert_memory_equal(out.data, plain, 2500);
	ground_sink_clear(&container);
	ground_sink_clear(&out);
	free(plain);
}

static void two_containers_of_one_input_have_nothing_in_common(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	uint8_t *plain = ground_pattern(1000);
	struct ground_sink a, b;
	ground_encrypt(pool, &aes, 1, &options, plain, 1000, &a);
	ground_encrypt(pool, &aes, 1, &options, plain, 1000, &b);
	struct hp_container *first = parse(&a), *second = parse(&b);
	assert_memory_not_equal(first->fixed.id, second->fixed.id, 16);
	assert_memory_not_equal(first->fixed.commitment, second->fixed.commitment, 32);
	assert_memory_not_equal(first->recipients.at[0].wrapped.data,
				second->recipients.at[0].wrapped.data, 60);
	assert_memory_not_equal(a.data + a.len - 1016, b.data + b.len - 1016, 1000);
	free(first);
	free(second);
	ground_sink_clear(&a);
	ground_sink_clear(&b);
	free(plain);
}

/* ---- recipients ---- */

static void any_of_several_recipients_opens_the_container(void **state)
{
	(void)state;
	hsmpool_key *keys[] = {
		aes,
		ground_generated_key(pool, "aes", 128, "old-backup", 0),
		ground_generated_key(pool, "rsa", 2048, "recovery",
				     HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT),
		ground_generated_key(pool, "aes", 256, "wrap-only",
				     HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP),
	};
	uint8_t *plain = ground_pattern(3000);
	struct ground_sink container;
	ground_encrypt(pool, keys, HP_ARRAY_LEN(keys), NULL, plain, 3000, &container);
	struct hp_container *c = parse(&container);
	assert_int_equal(c->recipients.count, 4);
	assert_int_equal(c->recipients.at[0].type, HP_RECIPIENT_AES_GCM);
	assert_int_equal(c->recipients.at[2].type, HP_RECIPIENT_RSA_OAEP);
	/* SoftHSM2 has OAEP with SHA-1 only (field notes, section 3): that is recorded */
	assert_int_equal(c->recipients.at[2].parameter, HP_OAEP_SHA1);
	assert_int_equal(c->recipients.at[2].check.len, 32);
	assert_int_equal(c->recipients.at[3].type, HP_RECIPIENT_AES_KW);
	for (size_t i = 0; i < HP_ARRAY_LEN(keys); i++)
		ground_expect(pool, keys[i], NULL, &container, plain, 3000);
	ground_expect(pool, NULL, NULL, &container, plain, 3000);
	for (size_t i = 1; i < HP_ARRAY_LEN(keys); i++) {
		hsmpool_error err;
		assert_ok(hsmpool_key_destroy(keys[i], HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&keys[i]);
	}
	free(c);
	ground_sink_clear(&container);
	free(plain);
}

/* OpenSSL could do SHA-256 there, but the token could not undo it: the hash is the
 * token's even so. */
static void with_offload_public_the_token_still_opens_what_rsa_was_given(void **state)
{
	(void)state;
	hsmpool_error err;
	fixture_set(&fixture, "offload-public", "yes");
	hsmpool *offloading = fixture_open(&fixture);
	fixture_set(&fixture, "offload-public", "no");
	hsmpool_key *rsa =
		ground_generated_key(offloading, "rsa", 2048, "offloaded",
				     HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT);
	uint8_t *plain = ground_pattern(10);
	struct ground_sink container;
	ground_encrypt(offloading, &rsa, 1, NULL, plain, 10, &container);
	ground_expect(offloading, NULL, NULL, &container, plain, 10);
	assert_ok(hsmpool_key_destroy(rsa, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&rsa);
	hsmpool_close(&offloading);
	ground_sink_clear(&container);
	free(plain);
}

/* The key of the header that is on the token is found behind two that are not. */
static void the_key_is_found_though_other_recipients_are_gone(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *keys[] = {
		ground_generated_key(pool, "aes", 256, "gone-1", 0),
		ground_generated_key(pool, "rsa", 2048, "gone-2", 0),
		aes,
	};
	uint8_t *plain = ground_pattern(10);
	struct ground_sink container;
	ground_encrypt(pool, keys, 3, NULL, plain, 10, &container);
	for (size_t i = 0; i < 2; i++) {
		assert_ok(hsmpool_key_destroy(keys[i], HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&keys[i]);
	}
	ground_expect(pool, NULL, NULL, &container, plain, 10);
	ground_sink_clear(&container);
	free(plain);
}

static void without_a_key_of_the_header_it_says_which_are_asked_for(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_error err;
		hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, 1024);
		hsmpool_key *other = ground_generated_key(pool, "aes", 256, "vault-7", 0);
		uint8_t *plain = ground_pattern(10);
		struct ground_sink container, out;
		ground_encrypt(pool, &other, 1, &options, plain, 10, &container);
		assert_ok(hsmpool_key_destroy(other, HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&other);
		assert_status(ground_decrypt(pool, NULL, NULL, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_KEY);
		assert_non_null(strstr(err.text, "vault-7"));
		assert_status(ground_decrypt(pool, aes, NULL, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_KEY);
		assert_non_null(strstr(err.text, "vault-7"));
		assert_int_equal(out.len, 0);
		ground_sink_clear(&container);
		free(plain);
	}
}

/* Imported again under another id and label, as at a recovery site: found by no name,
 * opened when it is given. */
static void the_same_key_under_another_name_opens_when_given(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *here = ground_known_key(pool, "here", "here-id", 0);
	uint8_t *plain = ground_pattern(100);
	struct ground_sink container, out;
	ground_encrypt(pool, &here, 1, NULL, plain, 100, &container);
	assert_ok(hsmpool_key_destroy(here, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&here);
	hsmpool_key *there = ground_known_key(pool, "there", "there-id", 0);
	assert_status(ground_decrypt(pool, NULL, NULL, container.data, container.len,
				     &out, &err),
		      HSMPOOL_ERR_KEY);
	ground_expect(pool, there, NULL, &container, plain, 100);
	assert_ok(hsmpool_key_destroy(there, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&there);
	ground_sink_clear(&container);
	free(plain);
}

static void a_key_found_by_label_alone_opens_it(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_error err;
		hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, 1024);
		hsmpool_key *before = ground_known_key(pool, "yearly", "id-1", 0);
		uint8_t *plain = ground_pattern(100);
		struct ground_sink container;
		ground_encrypt(pool, &before, 1, &options, plain, 100, &container);
		assert_ok(hsmpool_key_destroy(before, HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&before);
		hsmpool_key *after = ground_known_key(pool, "yearly", "id-2", 0);
		ground_expect(pool, NULL, NULL, &container, plain, 100);
		assert_ok(hsmpool_key_destroy(after, HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&after);
		ground_sink_clear(&container);
		free(plain);
	}
}

/* It is the recipient, it may not decrypt: that is said, not that it is none. */
static void a_recipient_that_may_not_decrypt_is_told_so(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *key = ground_generated_key(pool, "aes", 256, "write-only",
						HSMPOOL_KEY_CAN_ENCRYPT);
	uint8_t *plain = ground_pattern(10);
	for (int mode = 0; mode < 2; mode++) {
		const hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, 0);
		struct ground_sink container, out;
		ground_encrypt(pool, &key, 1, &options, plain, 10, &container);
		assert_status(ground_decrypt(pool, NULL, NULL, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_KEY);
		assert_non_null(strstr(err.text, "write-only"));
		assert_null(strstr(err.text, "opens the container"));
		ground_sink_clear(&container);
	}
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	free(plain);
}

/* The library makes none so short, but a token may have one. */
static hsmpool_key *short_rsa_key(void)
{
	CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
	CK_KEY_TYPE type = CKK_RSA;
	CK_BBOOL yes = CK_TRUE;
	CK_BYTE modulus[128], exponent[] = { 1, 0, 1 };
	char label[] = "short";
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_LABEL, label, sizeof(label) - 1 },
		{ CKA_MODULUS, modulus, sizeof(modulus) },
		{ CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
	};
	hsmpool_session *session = NULL;
	hsmpool_key *key = NULL;
	CK_OBJECT_HANDLE object;
	hsmpool_error err;
	memset(modulus, 0xc5, sizeof(modulus));
	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	CK_RV rv = module->C_CreateObject(hsmpool_session_handle(session), template,
					  HP_ARRAY_LEN(template), &object);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(rv, CKR_OK);
	assert_ok(hsmpool_key_open(&key, pool, "pkcs11:object=short", HSMPOOL_DEFAULT,
				   &err),
		  &err);
	return key;
}

static void unfit_keys_are_refused_before_anything_is_read(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *bad[] = {
		ground_generated_key(pool, "ec", 0, "curve", 0),
		ground_generated_key(pool, "generic", 256, "mac-key", 0),
		short_rsa_key(),
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		struct ground_source source = { 0 };
		struct ground_sink sink = { 0 };
		assert_status(hsmpool_stream_encrypt(pool, &bad[i], 1, NULL, ground_read,
						     &source, ground_write, &sink,
						     HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_KEY);
		assert_int_equal(source.reads_after_end, 0);
		assert_int_equal(sink.len, 0);
		assert_ok(hsmpool_key_destroy(bad[i], HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&bad[i]);
	}
}

static void direct_mode_takes_one_aes_key_that_may_encrypt(void **state)
{
	(void)state;
	hsmpool_error err;
	const hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_DIRECT, 0);
	hsmpool_key *two[] = { aes, aes };
	hsmpool_key *bad[] = {
		ground_generated_key(pool, "rsa", 2048, "no-direct", 0),
		ground_generated_key(pool, "aes", 256, "no-encrypt",
				     HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP),
	};
	struct ground_source source = { 0 };
	struct ground_sink sink = { 0 };
	assert_status(hsmpool_stream_encrypt(pool, two, 2, &options, ground_read, &source,
					     ground_write, &sink, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	for (size_t i = 0; i < HP_ARRAY_LEN(bad); i++) {
		assert_status(hsmpool_stream_encrypt(pool, &bad[i], 1, &options,
						     ground_read, &source, ground_write,
						     &sink, HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_KEY);
		assert_ok(hsmpool_key_destroy(bad[i], HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&bad[i]);
	}
	assert_int_equal(sink.len, 0);
}

/* The data key was a session object for a moment: none is left. */
static int count_key(void *user, const hsmpool_key_info *info)
{
	(void)info;
	++*(unsigned *)user;
	return 0;
}

static unsigned session_objects(void)
{
	hsmpool_session *session = NULL;
	hsmpool_error err;
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, sizeof(no) } };
	CK_OBJECT_HANDLE found[16];
	CK_ULONG count = 0;
	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_ANY, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	CK_SESSION_HANDLE handle = hsmpool_session_handle(session);
	assert_int_equal(module->C_FindObjectsInit(handle, template, 1), CKR_OK);
	assert_int_equal(module->C_FindObjects(handle, found, 16, &count), CKR_OK);
	assert_int_equal(module->C_FindObjectsFinal(handle), CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	return (unsigned)count;
}

static void a_wrap_only_key_leaves_no_object_behind(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *key = ground_generated_key(
		pool, "aes", 256, "kek", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	uint8_t *plain = ground_pattern(10);
	struct ground_sink container;
	unsigned before = 0, after = 0;
	assert_ok(hsmpool_key_list(pool, NULL, count_key, &before, HSMPOOL_DEFAULT, &err),
		  &err);
	ground_encrypt(pool, &key, 1, NULL, plain, 10, &container);
	ground_expect(pool, NULL, NULL, &container, plain, 10);
	assert_ok(hsmpool_key_list(pool, NULL, count_key, &after, HSMPOOL_DEFAULT, &err),
		  &err);
	assert_int_equal(before, after);
	assert_int_equal(session_objects(), 0);
	assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
	ground_sink_clear(&container);
	free(plain);
}

/* ---- the caller's functions ---- */

static void context_is_needed_and_must_be_the_same(void **state)
{
	(void)state;
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options with =
			ground_options((hsmpool_stream_mode)mode, 0);
		hsmpool_stream_options other = with, none = with, empty = with;
		uint8_t *plain = ground_pattern(10);
		struct ground_sink container, out;
		hsmpool_error err;
		with.context = "payroll 2026";
		other.context = "payroll 2025";
		empty.context = "";
		ground_encrypt(pool, &aes, 1, &with, plain, 10, &container);
		ground_expect(pool, aes, &with, &container, plain, 10);
		const hsmpool_stream_options *wrong[] = { &other, &none, &empty, NULL };
		for (size_t i = 0; i < HP_ARRAY_LEN(wrong); i++) {
			assert_status(ground_decrypt(pool, aes, wrong[i], container.data,
						     container.len, &out, &err),
				      HSMPOOL_ERR_DATA);
			assert_non_null(strstr(err.text, "context"));
			assert_int_equal(out.len, 0);
		}
		ground_sink_clear(&container);
		ground_encrypt(pool, &aes, 1, &none, plain, 10, &container);
		assert_status(ground_decrypt(pool, aes, &with, container.data,
					     container.len, &out, &err),
			      HSMPOOL_ERR_DATA);
		ground_sink_clear(&container);
		free(plain);
	}
}

static void errors_of_the_reader_reach_the_caller(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	uint8_t *plain = ground_pattern(5000);
	struct ground_source source = {
		.data = plain, .len = 5000, .fail_at = 3000, .piece = 100
	};
	struct ground_sink container = { 0 }, out = { 0 };
	hsmpool_error err;
	assert_status(hsmpool_stream_encrypt(pool, &aes, 1, &options, ground_read,
					     &source, ground_write, &container,
					     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_string_equal(err.text, "the disk is on fire");
	ground_sink_clear(&container);
	ground_encrypt(pool, &aes, 1, &options, plain, 5000, &container);
	source = (struct ground_source){ .data = container.data,
					 .len = container.len,
					 .fail_at = 1500,
					 .piece = 100 };
	assert_status(hsmpool_stream_decrypt(pool, aes, NULL, ground_read, &source,
					     ground_write, &out, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_string_equal(err.text, "the disk is on fire");
	assert_int_equal(out.len, 1024);
	ground_sink_clear(&container);
	ground_sink_clear(&out);
	free(plain);
}

static void errors_of_the_writer_reach_the_caller(void **state)
{
	(void)state;
	const hsmpool_stream_options options =
		ground_options(HSMPOOL_STREAM_DIRECT, 1024);
	uint8_t *plain = ground_pattern(5000);
	struct ground_source source = { .data = plain, .len = 5000 };
	struct ground_sink container = { .fail_after = 3 }, out = { .fail_after = 2 };
	hsmpool_error err;
	assert_status(hsmpool_stream_encrypt(pool, &aes, 1, &options, ground_read,
					     &source, ground_write, &container,
					     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_non_null(strstr(err.text, "write function"));
	ground_sink_clear(&container);
	ground_encrypt(pool, &aes, 1, &options, plain, 5000, &container);
	source = (struct ground_source){ .data = container.data, .len = container.len };
	assert_status(hsmpool_stream_decrypt(pool, aes, NULL, ground_read, &source,
					     ground_write, &out, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_int_equal(out.len, 1024);
	ground_sink_clear(&container);
	ground_sink_clear(&out);
	free(plain);
}

static hsmpool_status lying_read(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	(void)user;
	(void)data;
	(void)err;
	*len = cap + 1;
	return HSMPOOL_OK;
}

static void a_reader_that_claims_too_much_is_refused(void **state)
{
	(void)state;
	struct ground_sink sink = { 0 };
	hsmpool_error err;
	assert_status(hsmpool_stream_encrypt(pool, &aes, 1, NULL, lying_read, NULL,
					     ground_write, &sink, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_stream_decrypt(pool, aes, NULL, lying_read, NULL,
					     ground_write, &sink, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	ground_sink_clear(&sink);
}

struct told {
	uint64_t bytes[8];
	size_t count;
	size_t stop_at;
};

static int note_progress(void *user, uint64_t bytes)
{
	struct told *told = user;
	told->bytes[told->count++] = bytes;
	return told->count == told->stop_at;
}

static void progress_is_told_after_each_chunk_and_can_stop_the_stream(void **state)
{
	(void)state;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	struct told told = { 0 };
	uint8_t *plain = ground_pattern(2500);
	struct ground_sink container, out;
	hsmpool_error err;
	options.progress = note_progress;
	options.progress_user = &told;
	ground_encrypt(pool, &aes, 1, &options, plain, 2500, &container);
	assert_int_equal(told.count, 3);
	assert_int_equal(told.bytes[0], 1024);
	assert_int_equal(told.bytes[2], 2500);
	told = (struct told){ .stop_at = 2 };
	assert_status(ground_decrypt(pool, aes, &options, container.data, container.len,
				     &out, &err),
		      HSMPOOL_ERR_CLOSED);
	assert_int_equal(out.len, 2048);
	ground_sink_clear(&container);
	ground_sink_clear(&out);
	free(plain);
}

static void wrong_arguments_are_refused(void **state)
{
	(void)state;
	struct ground_source source = { 0 };
	struct ground_sink sink = { 0 };
	hsmpool_key *missing = NULL;
	hsmpool_stream_options unsized = { .mode = HSMPOOL_STREAM_DIRECT };
	hsmpool_error err;
	assert_status(hsmpool_stream_encrypt(pool, &aes, 0, NULL, ground_read, &source,
					     ground_write, &sink, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_stream_encrypt(pool, &missing, 1, NULL, ground_read,
					     &source, ground_write, &sink,
					     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_stream_encrypt(pool, &aes, 1, &unsized, ground_read,
					     &source, ground_write, &sink,
					     HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_stream_decrypt(pool, aes, NULL, NULL, NULL, ground_write,
					     &sink, HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_USAGE);
	assert_status(hsmpool_stream_encrypt(pool, &aes, 1, NULL, ground_read, &source,
					     NULL, NULL, HSMPOOL_DEFAULT, NULL),
		      HSMPOOL_ERR_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_around_the_chunk_size_come_back_in_envelope_mode),
		cmocka_unit_test(sizes_around_the_chunk_size_come_back_in_direct_mode),
		cmocka_unit_test(the_default_chunk_sizes_come_back),
		cmocka_unit_test(the_largest_and_odd_chunk_sizes_come_back),
		cmocka_unit_test(chunk_sizes_out_of_bounds_are_refused),
		cmocka_unit_test(a_reader_that_gives_a_byte_at_a_time_is_enough),
		cmocka_unit_test(two_containers_of_one_input_have_nothing_in_common),
		cmocka_unit_test(any_of_several_recipients_opens_the_container),
		cmocka_unit_test(
			with_offload_public_the_token_still_opens_what_rsa_was_given),
		cmocka_unit_test(the_key_is_found_though_other_recipients_are_gone),
		cmocka_unit_test(without_a_key_of_the_header_it_says_which_are_asked_for),
		cmocka_unit_test(the_same_key_under_another_name_opens_when_given),
		cmocka_unit_test(a_key_found_by_label_alone_opens_it),
		cmocka_unit_test(a_recipient_that_may_not_decrypt_is_told_so),
		cmocka_unit_test(unfit_keys_are_refused_before_anything_is_read),
		cmocka_unit_test(direct_mode_takes_one_aes_key_that_may_encrypt),
		cmocka_unit_test(a_wrap_only_key_leaves_no_object_behind),
		cmocka_unit_test(context_is_needed_and_must_be_the_same),
		cmocka_unit_test(errors_of_the_reader_reach_the_caller),
		cmocka_unit_test(errors_of_the_writer_reach_the_caller),
		cmocka_unit_test(a_reader_that_claims_too_much_is_refused),
		cmocka_unit_test(
			progress_is_told_after_each_chunk_and_can_stop_the_stream),
		cmocka_unit_test(wrong_arguments_are_refused),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
