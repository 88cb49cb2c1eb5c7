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

/* The keys of a container, found as decryption finds them. */
static void tell_keys(const char *name, hsmpool_key *key, hsmpool_bytes sealed)
{
	struct ends ends = { .in = sealed };
	struct hp_source source = { .read = give, .user = &ends };
	struct hp_container *container = calloc(1, sizeof(*container));
	struct hp_secret *secret = hp_keys_new();
	struct hp_keys *keys = hp_keys_in(secret);
	char label[48];
	CHILD_OK(hp_container_read(&source, container, err));
	CHILD_OK(hp_unlock(subject.pool, key, container, keys, HSMPOOL_DEFAULT, err));
	snprintf(label, sizeof(label), "%s:data-key", name);
	child_tell(label, keys->data, sizeof(keys->data));
	snprintf(label, sizeof(label), "%s:payload-key", name);
	child_tell(label, keys->payload, sizeof(keys->payload));
	snprintf(label, sizeof(label), "%s:header-key", name);
	child_tell(label, keys->header, sizeof(keys->header));
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
		tell_keys(name, key, BYTES(ends.out.data, ends.out.len));
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

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_of_a_stream),
		cmocka_unit_test(nothing_is_left_of_a_data_key),
		cmocka_unit_test(nothing_is_left_of_compression),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
