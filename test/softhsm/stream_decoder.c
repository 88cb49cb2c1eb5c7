/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document's word: the committed containers open, a decoder written from
 * docs/format.md opens what we write, and we open what its encoder writes.
 */
#include "stream_ground.h"

#include "base/memory.h"
#include "stream/container.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *known;

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	known = ground_known_key(pool, "vector", "vec", 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hsmpool_key_close(&known);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

/* ---- files and the Python program ---- */

static void path_of(char path[512], const char *name)
{
	snprintf(path, 512, "%s/%s", fixture.dir, name);
}

static void save(const char *name, const uint8_t *data, size_t len)
{
	char path[512];
	path_of(path, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static uint8_t *load_path(const char *path, size_t *len)
{
	enum { CAP = 1 << 22 };
	FILE *file = fopen(path, "rb");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	uint8_t *data = malloc(CAP);
	assert_non_null(data);
	*len = fread(data, 1, CAP - 1, file);
	data[*len] = '\0';
	fclose(file);
	return data;
}

static uint8_t *load(const char *name, size_t *len)
{
	char path[512];
	path_of(path, name);
	return load_path(path, len);
}

static const char *source_path(char path[512], const char *name)
{
	snprintf(path, 512, "%s/%s", getenv("HSMPOOL_TEST_SOURCE"), name);
	return path;
}

/* decode_container.py VERB IN OUT OPTIONS...; its exit code. */
static int run_python(const char *verb, const char *in, const char *out,
		      const char *const *options)
{
	char program[512], in_path[512], out_path[512];
	path_of(in_path, in);
	path_of(out_path, out);
	source_path(program, "test/softhsm/decode_container.py");
	const char *argv[24] = { TEST_PYTHON, program, verb, in_path, out_path };
	for (size_t i = 0; options[i]; i++)
		argv[5 + i] = options[i];
	pid_t child;
	int status = 0;
	assert_int_equal(
		posix_spawn(&child, argv[0], NULL, NULL, (char *const *)argv, environ),
		0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- the committed containers ---- */

static uint8_t *load_vector(const char *name, size_t *len)
{
	char relative[256], path[512];
	size_t text_len, digits = 0;
	snprintf(relative, sizeof(relative), "test/softhsm/vectors/%s.hex", name);
	char *text = (char *)load_path(source_path(path, relative), &text_len);
	for (size_t i = 0; i < text_len; i++)
		if (text[i] != '\n')
			text[digits++] = text[i];
	text[digits] = '\0';
	uint8_t *bytes = malloc(digits / 2 + 1);
	assert_true(hp_hex_decode(text, bytes, digits / 2, len));
	free(text);
	return bytes;
}

static void expect_vector(const char *name, const char *context, const uint8_t *plain,
			  size_t plain_len)
{
	size_t len;
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_ENVELOPE, 0);
	options.context = context;
	uint8_t *bytes = load_vector(name, &len);
	const struct ground_sink container = { .data = bytes, .len = len };
	ground_expect(pool, known, &options, &container, plain, plain_len);
	ground_expect(pool, NULL, &options, &container, plain, plain_len);
	free(bytes);
}

/* 65536 zero bytes, then 65546 of the pattern. */
enum { COMPRESSIBLE_LEN = 65536 + 65546 };

static uint8_t *compressible(void)
{
	uint8_t *plain = calloc(1, COMPRESSIBLE_LEN);
	uint8_t *pattern = ground_pattern(65546);
	assert_non_null(plain);
	memcpy(plain + 65536, pattern, 65546);
	free(pattern);
	return plain;
}

static void the_documented_containers_open(void **state)
{
	(void)state;
	uint8_t *plain = ground_pattern(1500);
	expect_vector("envelope-short", "test vector",
		      (const uint8_t *)"attack at dawn\n", 15);
	expect_vector("envelope-two-chunks", NULL, plain, 1500);
	expect_vector("direct-two-chunks", "", plain, 1500);
	free(plain);
	plain = compressible();
	expect_vector("envelope-compressed", NULL, plain, COMPRESSIBLE_LEN);
	free(plain);
}

static void the_document_prints_the_short_container(void **state)
{
	(void)state;
	char path[512];
	size_t len;
	char *document = (char *)load_path(source_path(path, "docs/format.md"), &len);
	char *vector = (char *)load_path(
		source_path(path, "test/softhsm/vectors/envelope-short.hex"), &len);
	assert_non_null(strstr(document, vector));
	free(document);
	free(vector);
}

/* The known key again, as a token object that the library would not make: its label is
 * taken. */
static void create_raw_key(const char *label, const char *id)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE;
	CK_BYTE value[32];
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &yes, sizeof(yes) },
		{ CKA_LABEL, (void *)label, strlen(label) },
		{ CKA_ID, (void *)id, strlen(id) },
		{ CKA_VALUE, value, sizeof(value) },
	};
	hsmpool_session *session = NULL;
	CK_OBJECT_HANDLE object;
	hsmpool_error err;
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (CK_BYTE)i;
	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	CK_RV rv = module->C_CreateObject(hsmpool_session_handle(session), template,
					  HP_ARRAY_LEN(template), &object);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	assert_int_equal(rv, CKR_OK);
}

/* ---- the other decoder ---- */

static void expect_python_opens(const struct ground_sink *container, const char *option,
				const char *value, const char *context,
				const uint8_t *plain, size_t plain_len)
{
	const char *options[] = { option, value, "--context", context, NULL };
	size_t len;
	if (!context)
		options[2] = NULL;
	save("container", container->data, container->len);
	assert_int_equal(run_python("decode", "container", "plain", options), 0);
	uint8_t *out = load("plain", &len);
	assert_int_equal(len, plain_len);
	assert_memory_equal(out, plain, len);
	free(out);
}

static void the_other_decoder_opens_what_we_write(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 1024, 1025, 5000 };
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++) {
		for (int mode = 0; mode < 2; mode++) {
			hsmpool_stream_options options =
				ground_options((hsmpool_stream_mode)mode, 1024);
			uint8_t *plain = ground_pattern(sizes[i]);
			struct ground_sink container;
			options.context = i % 2 ? "monthly" : NULL;
			ground_encrypt(pool, &known, 1, &options, plain, sizes[i],
				       &container);
			expect_python_opens(&container, "--key", GROUND_KEY_HEX,
					    options.context, plain, sizes[i]);
			ground_sink_clear(&container);
			free(plain);
		}
	}
}

/* Written for one key, rewrapped for another. */
static void the_other_decoder_opens_what_was_rewrapped(void **state)
{
	(void)state;
	enum { LEN = 5000 };
	static const char *const gone[] = { "#1" };
	const hsmpool_container_changes changes = {
		.size = sizeof(changes),
		.add = &known,
		.add_count = 1,
		.remove = gone,
		.remove_count = 1,
	};
	hsmpool_stream_options options = ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	hsmpool_key *first = ground_generated_key(pool, "aes", 256, "first", 0);
	uint8_t *plain = ground_pattern(LEN);
	struct ground_sink container, changed = { 0 };
	hsmpool_error err;
	options.context = "monthly";
	ground_encrypt(pool, &first, 1, &options, plain, LEN, &container);
	struct ground_source source = { .data = container.data, .len = container.len };
	assert_ok(hsmpool_container_rewrap(pool, NULL, &changes, ground_read, &source,
					   ground_write, &changed, NULL, HSMPOOL_DEFAULT,
					   &err),
		  &err);
	assert_ok(ground_write(&changed, source.data + source.used,
			       source.len - source.used, &err),
		  &err);
	expect_python_opens(&changed, "--key", GROUND_KEY_HEX, options.context, plain,
			    LEN);
	ground_sink_clear(&container);
	ground_sink_clear(&changed);
	free(plain);
	hsmpool_key_close(&first);
}

static void the_other_decoder_opens_what_we_compress(void **state)
{
	(void)state;
	uint8_t *plain = compressible();
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options =
			ground_options((hsmpool_stream_mode)mode, 65536);
		struct ground_sink container;
		options.compression = HSMPOOL_COMPRESSION_ZSTD;
		ground_encrypt(pool, &known, 1, &options, plain, COMPRESSIBLE_LEN,
			       &container);
		assert_true(container.len < 1000);
		expect_python_opens(&container, "--key", GROUND_KEY_HEX, NULL, plain,
				    COMPRESSIBLE_LEN);
		ground_sink_clear(&container);
	}
	free(plain);
}

static void the_other_decoder_opens_a_wrapped_key(void **state)
{
	(void)state;
	hsmpool_error err;
	hsmpool_key *kek = ground_known_key(
		pool, "kek", "kek", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	uint8_t *plain = ground_pattern(3000);
	struct ground_sink container;
	ground_encrypt(pool, &kek, 1, NULL, plain, 3000, &container);
	expect_python_opens(&container, "--key", GROUND_KEY_HEX, NULL, plain, 3000);
	assert_ok(hsmpool_key_destroy(kek, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&kek);
	ground_sink_clear(&container);
	free(plain);
}

/* A key pair that was never on a token: its private half as a PEM file, its public one
 * returned, free()d by the caller. */
static char *make_rsa_pair(const char *private_name)
{
	char path[512];
	char *text = NULL;
	EVP_PKEY *pair = EVP_RSA_gen(2048);
	BIO *memory = BIO_new(BIO_s_mem());
	path_of(path, private_name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PrivateKey(file, pair, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(PEM_write_bio_PUBKEY(memory, pair), 1);
	size_t len = (size_t)BIO_get_mem_data(memory, &text);
	char *copy = strndup(text, len);
	BIO_free(memory);
	EVP_PKEY_free(pair);
	return copy;
}

/* The public half only is on the token, as at the site that makes the backups. */
static void the_other_decoder_opens_what_an_rsa_public_key_was_given(void **state)
{
	(void)state;
	static const uint32_t usages[] = { 0, HSMPOOL_KEY_CAN_ENCRYPT };
	char path[512];
	char *pem = make_rsa_pair("rsa.pem");
	path_of(path, "rsa.pem");
	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++) {
		const hsmpool_key_spec spec = { .size = sizeof(spec),
						.label = "recovery",
						.usage = usages[i] };
		const hsmpool_bytes public_key = { (const uint8_t *)pem, strlen(pem) };
		hsmpool_key *key = NULL;
		hsmpool_error err;
		assert_ok(hsmpool_key_import_public(&key, pool, &spec, public_key,
						    HSMPOOL_DEFAULT, &err),
			  &err);
		uint8_t *plain = ground_pattern(3000);
		struct ground_sink container;
		ground_encrypt(pool, &key, 1, NULL, plain, 3000, &container);
		expect_python_opens(&container, "--rsa", path, NULL, plain, 3000);
		assert_ok(hsmpool_key_destroy(key, HSMPOOL_DEFAULT, &err), &err);
		hsmpool_key_close(&key);
		ground_sink_clear(&container);
		free(plain);
	}
	free(pem);
}

static void the_other_decoder_refuses_what_we_refuse(void **state)
{
	(void)state;
	const char *const options[] = { "--key", GROUND_KEY_HEX, NULL };
	const hsmpool_stream_options small =
		ground_options(HSMPOOL_STREAM_ENVELOPE, 1024);
	uint8_t *plain = ground_pattern(2000);
	struct ground_sink container;
	ground_encrypt(pool, &known, 1, &small, plain, 2000, &container);
	save("container", container.data, container.len - 1);
	assert_int_equal(run_python("decode", "container", "plain", options), 1);
	container.data[container.len - 20] ^= 1;
	save("container", container.data, container.len);
	assert_int_equal(run_python("decode", "container", "plain", options), 1);
	ground_sink_clear(&container);
	free(plain);
}

/* ---- the other encoder ---- */

static void we_open_what_the_other_encoder_writes(void **state)
{
	(void)state;
	static const char *const types[] = { "gcm", "direct" };
	uint8_t *plain = ground_pattern(5000);
	save("plain", plain, 5000);
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		const char *const arguments[] = { "--key",   GROUND_KEY_HEX, "--type",
						  types[i],  "--label",      "vector",
						  "--id",    "766563",       "--context",
						  "monthly", "--chunk-size", "1500",
						  NULL };
		hsmpool_stream_options options =
			ground_options(HSMPOOL_STREAM_ENVELOPE, 0);
		struct ground_sink container = { 0 };
		options.context = "monthly";
		assert_int_equal(run_python("encode", "plain", "container", arguments),
				 0);
		container.data = load("container", &container.len);
		ground_expect(pool, known, &options, &container, plain, 5000);
		ground_expect(pool, NULL, &options, &container, plain, 5000);
		ground_sink_clear(&container);
	}
	free(plain);
}

static void we_open_what_the_other_encoder_compresses(void **state)
{
	(void)state;
	static const char *const types[] = { "gcm", "direct" };
	uint8_t *plain = compressible();
	save("plain", plain, COMPRESSIBLE_LEN);
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		const char *const arguments[] = { "--key",  GROUND_KEY_HEX, "--type",
						  types[i], "--label",      "vector",
						  "--id",   "766563",       "--compress",
						  NULL };
		struct ground_sink container = { 0 };
		assert_int_equal(run_python("encode", "plain", "container", arguments),
				 0);
		container.data = load("container", &container.len);
		assert_true(container.len < COMPRESSIBLE_LEN / 2);
		ground_expect(pool, known, NULL, &container, plain, COMPRESSIBLE_LEN);
		ground_sink_clear(&container);
	}
	free(plain);
}

/* ---- authentic, and made to harm ---- */

/* A container of one chunk with that body, which claims so much plaintext, is refused
 * by both, and we say what for. */
static void expect_body_refused(const char *type, const uint8_t *body, size_t len,
				const char *claimed)
{
	const char *const arguments[] = {
		"--key",       GROUND_KEY_HEX, "--type", type,           "--label",
		"vector",      "--id",         "766563", "--chunk-size", "65536",
		"--packed-of", claimed,        NULL,
	};
	struct ground_sink container = { 0 }, out;
	hsmpool_error err = { 0 };
	save("body", body, len);
	assert_int_equal(run_python("encode", "body", "container", arguments), 0);
	container.data = load("container", &container.len);
	assert_status(ground_decrypt(pool, known, NULL, container.data, container.len,
				     &out, &err),
		      HSMPOOL_ERR_DATA);
	assert_non_null(strstr(err.text, "does not decompress"));
	assert_int_equal(out.len, 0);
	ground_sink_clear(&out);
	ground_sink_clear(&container);
	const char *const options[] = { "--key", GROUND_KEY_HEX, NULL };
	assert_int_equal(run_python("decode", "container", "plain", options), 1);
}

static void authentic_chunks_that_do_not_decompress_are_refused(void **state)
{
	(void)state;
	static const char *const types[] = { "gcm", "direct" };
	/* a frame of 1000 times 'A', padded */
	static const uint8_t frame[64] = { 0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xe8,
					   0x02, 0x43, 0x1f, 0x00, 'A' };
	/* the head says 65536, the frame too, its blocks 1 GiB */
	size_t bomb_len = 9 + 8192 * 4;
	uint8_t *bomb = calloc(1, bomb_len);
	assert_non_null(bomb);
	memcpy(bomb, (uint8_t[]){ 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 1, 0 }, 9);
	for (size_t i = 0; i < 8192; i++)
		memcpy(bomb + 9 + 4 * i,
		       (uint8_t[]){ (uint8_t)(2 + (i == 8191)), 0, 16, 'A' }, 4);
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		expect_body_refused(types[i], frame, sizeof(frame), "999");
		expect_body_refused(types[i], frame, sizeof(frame), "1001");
		expect_body_refused(types[i], bomb, bomb_len, "65536");
	}
	free(bomb);
}

static void we_open_keys_wrapped_by_the_other_encoder(void **state)
{
	(void)state;
	static const char *const types[] = { "kw", "kwp" };
	hsmpool_error err;
	hsmpool_key *kek = ground_known_key(
		pool, "kek", "kek", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	uint8_t *plain = ground_pattern(500);
	save("plain", plain, 500);
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		const char *const arguments[] = { "--key",  GROUND_KEY_HEX, "--type",
						  types[i], "--id",         "6b656b",
						  NULL };
		struct ground_sink container = { 0 };
		assert_int_equal(run_python("encode", "plain", "container", arguments),
				 0);
		container.data = load("container", &container.len);
		ground_expect(pool, kek, NULL, &container, plain, 500);
		ground_expect(pool, NULL, NULL, &container, plain, 500);
		ground_sink_clear(&container);
	}
	assert_ok(hsmpool_key_destroy(kek, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&kek);
	free(plain);
}

/* By its label only, and another key has that label too: both are tried. */
static void a_key_that_only_a_trial_tells_from_its_namesake_is_found(void **state)
{
	(void)state;
	static const char *const types[] = { "gcm", "direct" };
	hsmpool_error err;
	hsmpool_key *namesake = NULL;
	const uint8_t other[32] = { 1 };
	hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = "aes",
		.label = "namesake",
		.id = (const uint8_t *)"a",
		.id_len = 1,
	};
	assert_ok(hsmpool_key_import_secret(&namesake, pool, &spec,
					    (hsmpool_bytes){ other, sizeof(other) },
					    HSMPOOL_DEFAULT, &err),
		  &err);
	create_raw_key("namesake", "b");
	uint8_t *plain = ground_pattern(500);
	save("plain", plain, 500);
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		const char *const arguments[] = { "--key",  GROUND_KEY_HEX, "--type",
						  types[i], "--label",      "namesake",
						  "--id",   "ffff",         "--no-check",
						  NULL };
		struct ground_sink container = { 0 };
		assert_int_equal(run_python("encode", "plain", "container", arguments),
				 0);
		container.data = load("container", &container.len);
		ground_expect(pool, NULL, NULL, &container, plain, 500);
		ground_sink_clear(&container);
	}
	assert_ok(hsmpool_key_destroy(namesake, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&namesake);
	free(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_documented_containers_open),
		cmocka_unit_test(the_document_prints_the_short_container),
		cmocka_unit_test(the_other_decoder_opens_what_we_write),
		cmocka_unit_test(the_other_decoder_opens_what_was_rewrapped),
		cmocka_unit_test(the_other_decoder_opens_what_we_compress),
		cmocka_unit_test(the_other_decoder_opens_a_wrapped_key),
		cmocka_unit_test(
			the_other_decoder_opens_what_an_rsa_public_key_was_given),
		cmocka_unit_test(the_other_decoder_refuses_what_we_refuse),
		cmocka_unit_test(we_open_what_the_other_encoder_writes),
		cmocka_unit_test(we_open_what_the_other_encoder_compresses),
		cmocka_unit_test(authentic_chunks_that_do_not_decompress_are_refused),
		cmocka_unit_test(we_open_keys_wrapped_by_the_other_encoder),
		cmocka_unit_test(
			a_key_that_only_a_trial_tells_from_its_namesake_is_found),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
