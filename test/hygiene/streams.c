/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What streams leave in memory: no plaintext, and none of a container's keys.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <hsmpool/container.h>
#include "hygiene/library_ground.h"
#include "stream/caller.h"
#include "stream/container.h"
#include "stream/schedule.h"
#include "stream/unlock.h"

/* --- from function to function ----------------------------------------------------- */

static void tell_key(const char *name, const char *which, const uint8_t key[32])
{
	char label[48];
	snprintf(label, sizeof(label), "%s:%s", name, which);
	child_tell(label, key, 32);
}

/* The keys of a container, found as decryption finds them. That of the chunks is in
 * OpenSSL's context while they are worked on. */
static void tell_keys(const char *name, hsmpool_key *key, hsmpool_bytes sealed,
		      bool is_in_work)
{
	struct ends ends = { .in = sealed };
	struct hp_source source = { .read = give, .user = &ends };
	struct hp_container *container = calloc(1, sizeof(*container));
	struct hp_secret *secret = hp_keys_new();
	struct hp_keys *keys = hp_keys_in(secret);
	CHILD_OK(hp_container_read(&source, container, err));
	CHILD_OK(hp_unlock(subject.pool, key, container, keys, HSMPOOL_DEFAULT, err));
	tell_key(name, "data-key", keys->data);
	tell_key(name, "header-key", keys->header);
	if (!is_in_work)
		tell_key(name, "payload-key", keys->payload);
	hp_secret_free(&secret);
	free(container);
}

static hsmpool_stream_options options_of(hsmpool_stream_mode mode, bool is_compressed)
{
	return (hsmpool_stream_options){
		.size = sizeof(hsmpool_stream_options),
		.mode = mode,
		.chunk_size = 16384,
		.threads = 2,
		.compression = is_compressed ? HSMPOOL_COMPRESSION_ZSTD
					     : HSMPOOL_COMPRESSION_NONE,
	};
}

#define STREAM ((size_t)150000)

static hsmpool_buf seal_stream(const char *name, hsmpool_key *key,
			       const hsmpool_stream_options *options)
{
	struct ends ends = { .in = BYTES(child_canary(name, STREAM), STREAM),
			     .out = room(STREAM + 8000) };
	CHILD_OK(hsmpool_stream_encrypt(subject.pool, &key, 1, options, give, &ends, take,
					&ends, HSMPOOL_DEFAULT, err));
	if (options->mode == HSMPOOL_STREAM_ENVELOPE)
		tell_keys(name, key, BYTES(ends.out.data, ends.out.len),
			  strcmp(name, "in-work") == 0);
	return ends.out;
}

static void open_stream(hsmpool_buf sealed, const hsmpool_stream_options *options)
{
	struct ends ends = { .in = BYTES(sealed.data, sealed.len),
			     .out = room(STREAM + 8000) };
	CHILD_OK(hsmpool_stream_decrypt(subject.pool, NULL, options, give, &ends, take,
					&ends, HSMPOOL_DEFAULT, err));
	if (ends.out.len != STREAM)
		child_die("a stream", "has another length");
}

static void fail_streams(hsmpool_buf sealed, hsmpool_key *key, const char *name,
			 const hsmpool_stream_options *options)
{
	struct ends ends = { .in = BYTES(sealed.data, sealed.len),
			     .out = room(STREAM + 8000),
			     .fails_at = 40000 };
	CHILD_FAILS(HSMPOOL_ERR_SYSTEM,
		    hsmpool_stream_decrypt(subject.pool, NULL, options, give, &ends, take,
					   &ends, HSMPOOL_DEFAULT, err));
	ends.used = ends.out.len = ends.fails_at = 0;
	sealed.data[sealed.len / 2] ^= 1;
	CHILD_FAILS(HSMPOOL_ERR_DATA,
		    hsmpool_stream_decrypt(subject.pool, NULL, options, give, &ends, take,
					   &ends, HSMPOOL_DEFAULT, err));
	ends = (struct ends){ .in = BYTES(child_canary(name, STREAM), STREAM),
			      .out = room(STREAM + 8000),
			      .fails_at = sealed.len - 100 };
	CHILD_FAILS(HSMPOOL_ERR_SYSTEM,
		    hsmpool_stream_encrypt(subject.pool, &key, 1, options, give, &ends,
					   take, &ends, HSMPOOL_DEFAULT, err));
}

static void stream_with(const char *name, hsmpool_key *key, hsmpool_stream_mode mode,
			bool is_compressed)
{
	hsmpool_stream_options options = options_of(mode, is_compressed);
	hsmpool_buf sealed = seal_stream(name, key, &options);
	open_stream(sealed, &options);
	fail_streams(sealed, key, name, &options);
}

/* --- from descriptor to descriptor ------------------------------------------------- */

static int new_file(const char *name, int flags)
{
	int fd = open(child_path(name), flags | O_CLOEXEC, 0600);
	if (fd < 0)
		child_die(name, "cannot be opened");
	return fd;
}

static void write_whole(int fd, const uint8_t *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		child_die("a file", "cannot be written");
}

/* Threads read and write the files themselves. */
static void stream_of_files(void)
{
	hsmpool_stream_options options = options_of(HSMPOOL_STREAM_ENVELOPE, false);
	int plain_fd = new_file("plain", O_CREAT | O_RDWR);
	int sealed_fd = new_file("sealed", O_CREAT | O_RDWR);
	write_whole(plain_fd, child_canary("file", STREAM), STREAM);
	lseek(plain_fd, 0, SEEK_SET);
	CHILD_OK(hsmpool_stream_encrypt_fd(subject.pool, &subject.aes, 1, &options,
					   plain_fd, sealed_fd, HSMPOOL_DEFAULT, err));
	lseek(plain_fd, 0, SEEK_SET);
	lseek(sealed_fd, 0, SEEK_SET);
	CHILD_OK(hsmpool_stream_decrypt_fd(subject.pool, subject.aes, &options, sealed_fd,
					   plain_fd, HSMPOOL_DEFAULT, err));
	close(plain_fd);
	close(sealed_fd);
}

/* --- other recipients -------------------------------------------------------------- */

/* A key that only wraps: the data key becomes an object of the session. */
static hsmpool_key *wrapping_key(void)
{
	const hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = "aes",
		.label = "wraps",
		.usage = HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP,
	};
	hsmpool_key *key = NULL;
	CHILD_OK(hsmpool_key_generate(&key, subject.pool, &spec, HSMPOOL_DEFAULT, err));
	return key;
}

static void rewrap(void)
{
	hsmpool_stream_options options = options_of(HSMPOOL_STREAM_ENVELOPE, false);
	hsmpool_buf sealed = seal_stream("rewrapped", subject.aes, &options);
	const char *const gone[] = { "#1" };
	const hsmpool_container_changes changes = {
		.size = sizeof(changes),
		.add = &subject.rsa,
		.add_count = 1,
		.remove = gone,
		.remove_count = 1,
	};
	struct ends ends = { .in = BYTES(sealed.data, sealed.len), .out = room(4096) };
	CHILD_OK(hsmpool_container_rewrap(subject.pool, NULL, &changes, give, &ends, take,
					  &ends, NULL, HSMPOOL_DEFAULT, err));
}

/* --- a crash in the middle ------------------------------------------------------ */

static hsmpool_status crash(void *user, const uint8_t *data, size_t len,
			    hsmpool_error *err)
{
	struct ends *ends = user;
	if (ends->out.len > STREAM / 3)
		child_crash("in the middle of a stream");
	return take(user, data, len, err);
}

/* One thread: the others' registers have what they work on. */
static void crash_in(hsmpool_stream_mode mode, bool is_compressed)
{
	hsmpool_stream_options options = options_of(mode, is_compressed);
	options.threads = 1;
	open_pool();
	hsmpool_buf sealed = seal_stream("in-work", subject.aes, &options);
	struct ends ends = { .in = BYTES(sealed.data, sealed.len),
			     .out = room(STREAM + 8000) };
	CHILD_OK(hsmpool_stream_decrypt(subject.pool, subject.aes, &options, give, &ends,
					crash, &ends, HSMPOOL_DEFAULT, err));
}

static void crashes_in_a_stream(void)
{
	crash_in(HSMPOOL_STREAM_ENVELOPE, false);
}

static void crashes_in_direct_mode(void)
{
	crash_in(HSMPOOL_STREAM_DIRECT, false);
}

static void crashes_in_decompression(void)
{
	crash_in(HSMPOOL_STREAM_ENVELOPE, true);
}

static void crashes_in_compression(void)
{
	hsmpool_stream_options options = options_of(HSMPOOL_STREAM_ENVELOPE, true);
	options.threads = 1;
	open_pool();
	struct ends ends = { .in = BYTES(child_canary("in-work", STREAM), STREAM),
			     .out = { child_room(STREAM), STREAM, STREAM / 3 } };
	CHILD_OK(hsmpool_stream_encrypt(subject.pool, &subject.aes, 1, &options, give,
					&ends, crash, &ends, HSMPOOL_DEFAULT, err));
}

/* --- scenarios --------------------------------------------------------------------- */

static void streams(void)
{
	open_pool();
	stream_with("envelope", subject.aes, HSMPOOL_STREAM_ENVELOPE, false);
	stream_with("to rsa", subject.rsa, HSMPOOL_STREAM_ENVELOPE, false);
	stream_with("direct", subject.aes, HSMPOOL_STREAM_DIRECT, false);
	stream_of_files();
	child_stop("after streams", true);
	close_pool();
}

static void recipients(void)
{
	open_pool();
	hsmpool_key *wraps = wrapping_key();
	stream_with("wrapped", wraps, HSMPOOL_STREAM_ENVELOPE, false);
	rewrap();
	hsmpool_key_close(&wraps);
	child_stop("after wrapping", true);
	close_pool();
}

static void compresses(void)
{
	open_pool();
	stream_with("compressed", subject.aes, HSMPOOL_STREAM_ENVELOPE, true);
	child_stop("after compression", true);
	stream_with("compressed direct", subject.aes, HSMPOOL_STREAM_DIRECT, true);
	child_stop("after direct compression", true);
	close_pool();
}

/* --- tests ------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "streams", streams },
	{ "recipients", recipients },
	{ "compresses", compresses },
	{ "crashes_in_a_stream", crashes_in_a_stream },
	{ "crashes_in_direct_mode", crashes_in_direct_mode },
	{ "crashes_in_decompression", crashes_in_decompression },
	{ "crashes_in_compression", crashes_in_compression },
};

static void nothing_is_left_of_a_stream(void **state)
{
	(void)state;
	hygiene_check("streams", &on_mock);
	hygiene_check("streams", &on_workers);
}

static void nothing_is_left_of_a_data_key(void **state)
{
	(void)state;
	hygiene_check("recipients", &on_mock);
	hygiene_check("recipients", &on_workers);
}

static void nothing_is_left_of_compression(void **state)
{
	(void)state;
	hygiene_check("compresses", &on_mock);
}

static void a_core_dump_in_the_middle_has_no_chunks(void **state)
{
	static const char *const crashes[] = { "crashes_in_a_stream",
					       "crashes_in_direct_mode",
					       "crashes_in_decompression",
					       "crashes_in_compression" };
	(void)state;
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++) {
		struct findings found = hygiene_run(crashes[i], &on_mock);
		assert_int_equal(found.leaked, 0);
		assert_true(found.allowed > 1);
		if (!found.has_core)
			skip();
	}
}

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_of_a_stream),
		cmocka_unit_test(nothing_is_left_of_a_data_key),
		cmocka_unit_test(nothing_is_left_of_compression),
		cmocka_unit_test(a_core_dump_in_the_middle_has_no_chunks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
