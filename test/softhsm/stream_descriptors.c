/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between file descriptors: files that change meanwhile, pipes and sockets that
 * are slow, blocking or not, and the descriptor that says stop.
 */
#include "stream_ground.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 4096, PLAIN_LEN = 300 * CHUNK + 11 };

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *key;
static uint8_t *plain;

static int set_up(void **state)
{
	(void)state;
	fixture_softhsm(&fixture);
	pool = fixture_open(&fixture);
	key = ground_generated_key(pool, "aes", 256, "descriptors", 0);
	plain = ground_pattern(PLAIN_LEN);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(plain);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
	return 0;
}

static hsmpool_stream_options options_for(int mode)
{
	hsmpool_stream_options options = ground_options((hsmpool_stream_mode)mode, CHUNK);
	options.threads = 4;
	return options;
}

/* --- files ---------------------------------------------------------------------------
 */

/* A nameless file that holds data, open at its start. */
static int file_with(const void *data, size_t len)
{
	char path[sizeof(fixture.dir) + 16];
	snprintf(path, sizeof(path), "%s/file-XXXXXX", fixture.dir);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pwrite(fd, data, len, 0), len);
	return fd;
}

static void expect_content(int fd, off_t from, const uint8_t *data, size_t len)
{
	struct stat st;
	uint8_t *found = malloc(len + 1);
	assert_non_null(found);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size - from, len);
	assert_int_equal(pread(fd, found, len + 1, from), len);
	assert_memory_equal(found, data, len);
	free(found);
}

static void files_come_back_from_where_they_stand(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, CHUNK, CHUNK + 1, 2 * CHUNK, PLAIN_LEN };
	enum { BEFORE = 5 };
	for (size_t i = 0; i < 2 * HP_ARRAY_LEN(sizes); i++) {
		const hsmpool_stream_options options = options_for((int)i % 2);
		size_t len = sizes[i / 2];
		int in = file_with(plain, len);
		int sealed = file_with("12345", BEFORE);
		int out = file_with("", 0);
		hsmpool_error err;
		lseek(sealed, BEFORE, SEEK_SET);
		assert_ok(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in, sealed,
						    HSMPOOL_DEFAULT, &err),
			  &err);
		assert_int_equal(lseek(in, 0, SEEK_CUR), len);
		assert_int_equal(lseek(sealed, BEFORE, SEEK_SET), BEFORE);
		assert_ok(hsmpool_stream_decrypt_fd(pool, NULL, &options, sealed, out,
						    HSMPOOL_DEFAULT, &err),
			  &err);
		assert_int_equal(lseek(sealed, 0, SEEK_CUR), lseek(sealed, 0, SEEK_END));
		expect_content(out, 0, plain, len);
		close(in);
		close(sealed);
		close(out);
	}
}

/* Something that is done to the input while it is read. */
struct change {
	int fd;
	off_t new_size;
	uint64_t when;
};

static int change_size(void *user, uint64_t bytes)
{
	struct change *change = user;
	if (bytes < change->when)
		return 0;
	change->when = UINT64_MAX;
	assert_int_equal(ftruncate(change->fd, change->new_size), 0);
	return 0;
}

static void what_is_appended_meanwhile_is_encrypted_too(void **state)
{
	(void)state;
	int in = file_with(plain, PLAIN_LEN / 2);
	int sealed = file_with("", 0);
	int out = file_with("", 0);
	struct change change = { .fd = in, .new_size = PLAIN_LEN, .when = CHUNK };
	hsmpool_stream_options options = options_for(0);
	hsmpool_error err;
	uint8_t *expected = calloc(1, PLAIN_LEN);
	assert_non_null(expected);
	memcpy(expected, plain, PLAIN_LEN / 2);
	options.progress = change_size;
	options.progress_user = &change;
	assert_ok(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in, sealed,
					    HSMPOOL_DEFAULT, &err),
		  &err);
	lseek(sealed, 0, SEEK_SET);
	assert_ok(hsmpool_stream_decrypt_fd(pool, key, NULL, sealed, out, HSMPOOL_DEFAULT,
					    &err),
		  &err);
	expect_content(out, 0, expected, PLAIN_LEN);
	free(expected);
	close(in);
	close(sealed);
	close(out);
}

/* Wherever it is cut: inside a chunk that a thread reads, between two, in the last. */
static void a_file_that_becomes_shorter_is_an_error(void **state)
{
	(void)state;
	static const off_t sizes[] = { 0, 150 * CHUNK, 150 * CHUNK + 5, PLAIN_LEN - 1 };
	for (size_t i = 0; i < HP_ARRAY_LEN(sizes); i++) {
		int in = file_with(plain, PLAIN_LEN);
		int sealed = file_with("", 0);
		struct change change = { .fd = in, .new_size = sizes[i], .when = CHUNK };
		hsmpool_stream_options options = options_for(0);
		hsmpool_error err;
		options.progress = change_size;
		options.progress_user = &change;
		options.input_name = "in.txt";
		assert_status(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in,
							sealed, HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_SYSTEM);
		assert_non_null(strstr(err.text, "in.txt became shorter"));
		close(in);
		close(sealed);
	}
}

/* A container with the plaintext, at its beginning. */
static int sealed_file(const hsmpool_stream_options *options)
{
	int in = file_with(plain, PLAIN_LEN);
	int sealed = file_with("", 0);
	hsmpool_error err;
	assert_ok(hsmpool_stream_encrypt_fd(pool, &key, 1, options, in, sealed,
					    HSMPOOL_DEFAULT, &err),
		  &err);
	lseek(sealed, 0, SEEK_SET);
	close(in);
	return sealed;
}

static void a_damaged_file_gives_the_true_beginning(void **state)
{
	(void)state;
	const hsmpool_stream_options options = options_for(0);
	int sealed = sealed_file(&options);
	int out = file_with("", 0);
	hsmpool_error err;
	struct stat st;
	/* the last chunk has 11 bytes; one frame before it begins chunk 299 */
	assert_int_equal(fstat(sealed, &st), 0);
	off_t last = st.st_size - (9 + 11 + 16);
	assert_int_equal(pwrite(sealed, "?!", 2, last - 100), 2);
	assert_status(hsmpool_stream_decrypt_fd(pool, key, &options, sealed, out,
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_DATA);
	expect_content(out, 0, plain, 299 * CHUNK);
	close(sealed);
	close(out);
}

/* --- pipes and sockets ---------------------------------------------------------------
 */

/* The other end of a pipe or socket, in a thread. */
struct peer {
	int fd;
	const uint8_t *data; /* to write; NULL: to read */
	size_t len;
	struct ground_sink got;
	pthread_t thread;
};

static void *run_peer(void *argument)
{
	struct peer *peer = argument;
	uint8_t piece[5000];
	ssize_t n = 1;
	for (size_t at = 0; peer->data && at < peer->len && n > 0; at += (size_t)n)
		n = write(peer->fd, peer->data + at, peer->len - at);
	while (!peer->data && (n = read(peer->fd, piece, sizeof(piece))) > 0)
		(void)!ground_write(&peer->got, piece, (size_t)n, NULL);
	close(peer->fd);
	return NULL;
}

static void start_peer(struct peer *peer)
{
	assert_int_equal(pthread_create(&peer->thread, NULL, run_peer, peer), 0);
}

static void make_pair(bool is_socket, int ends[2])
{
	assert_int_equal(
		is_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
}

/* Encrypt from one pair and into another, whose far ends are peers. */
static void go_through(bool is_socket, bool is_nonblocking, int mode)
{
	int to_us[2], from_us[2];
	make_pair(is_socket, to_us);
	make_pair(is_socket, from_us);
	struct peer feeder = { .fd = to_us[1], .data = plain, .len = PLAIN_LEN };
	struct peer eater = { .fd = from_us[0] };
	const hsmpool_stream_options options = options_for(mode);
	hsmpool_error err;
	if (is_nonblocking) {
		assert_int_equal(fcntl(to_us[0], F_SETFL, O_NONBLOCK), 0);
		assert_int_equal(fcntl(from_us[1], F_SETFL, O_WRONLY | O_NONBLOCK), 0);
	}
	start_peer(&feeder);
	start_peer(&eater);
	assert_ok(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, to_us[0], from_us[1],
					    HSMPOOL_DEFAULT, &err),
		  &err);
	close(to_us[0]);
	close(from_us[1]);
	pthread_join(feeder.thread, NULL);
	pthread_join(eater.thread, NULL);
	ground_expect(pool, key, &options, &eater.got, plain, PLAIN_LEN);
	ground_sink_clear(&eater.got);
}

static void pipes_and_sockets_blocking_or_not_are_streams(void **state)
{
	(void)state;
	for (int kind = 0; kind < 8; kind++)
		go_through(kind & 1, kind & 2, kind >> 2);
}

static void a_closed_descriptor_is_told_by_name(void **state)
{
	(void)state;
	hsmpool_stream_options options = options_for(0);
	hsmpool_error err;
	int in = file_with(plain, CHUNK);
	assert_status(hsmpool_stream_encrypt_fd(pool, &key, 1, NULL, in, 9999,
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_int_equal(err.sys_errno, EBADF);
	assert_non_null(strstr(err.text, "cannot write the output"));
	options.input_name = "the tape";
	assert_status(hsmpool_stream_decrypt_fd(pool, key, &options, 9999, in,
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_SYSTEM);
	assert_non_null(strstr(err.text, "cannot read the tape"));
	close(in);
}

/* --- the descriptor that says stop ---------------------------------------------------
 */

struct stopper {
	int fd;
	int when_readable; /* stop as soon as something is to be read here; 0: at once */
	pthread_t thread;
};

static void *run_stopper(void *argument)
{
	const struct stopper *stopper = argument;
	uint8_t byte;
	if (stopper->when_readable > 0)
		assert_int_equal(recv(stopper->when_readable, &byte, 1, MSG_PEEK), 1);
	assert_int_equal(write(stopper->fd, "", 1), 1);
	return NULL;
}

static void start_stopper(struct stopper *stopper)
{
	assert_int_equal(pthread_create(&stopper->thread, NULL, run_stopper, stopper), 0);
}

static void a_read_that_waits_is_stopped(void **state)
{
	(void)state;
	int in[2], stop[2];
	make_pair(false, in);
	make_pair(false, stop);
	struct stopper stopper = { .fd = stop[1] };
	hsmpool_stream_options options = options_for(0);
	hsmpool_error err;
	int out = file_with("", 0);
	options.stop_fd = stop[0];
	start_stopper(&stopper);
	assert_status(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in[0], out,
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_CLOSED);
	pthread_join(stopper.thread, NULL);
	close(out);
	for (size_t i = 0; i < 2; i++) {
		close(in[i]);
		close(stop[i]);
	}
}

/* Nobody reads the socket: the stream comes to a halt, and then is stopped. */
static void a_write_that_waits_is_stopped(void **state)
{
	(void)state;
	int out[2], stop[2];
	make_pair(true, out);
	make_pair(false, stop);
	struct stopper stopper = { .fd = stop[1], .when_readable = out[0] };
	hsmpool_stream_options options = options_for(1);
	hsmpool_stats stats = { .size = sizeof(stats) };
	hsmpool_error err;
	int in = file_with(plain, PLAIN_LEN);
	options.stop_fd = stop[0];
	assert_int_equal(fcntl(out[1], F_SETFL, O_RDWR | O_NONBLOCK), 0);
	start_stopper(&stopper);
	assert_status(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in, out[1],
						HSMPOOL_DEFAULT, &err),
		      HSMPOOL_ERR_CLOSED);
	pthread_join(stopper.thread, NULL);
	hsmpool_get_stats(pool, &stats);
	assert_int_equal(stats.used, 0);
	close(in);
	for (size_t i = 0; i < 2; i++) {
		close(out[i]);
		close(stop[i]);
	}
}

/* From a file to a file nothing ever waits. */
static void files_are_stopped_too(void **state)
{
	(void)state;
	int stop[2];
	make_pair(false, stop);
	assert_int_equal(write(stop[1], "", 1), 1);
	for (int mode = 0; mode < 2; mode++) {
		hsmpool_stream_options options = options_for(mode);
		hsmpool_error err;
		int in = file_with(plain, PLAIN_LEN), out = file_with("", 0);
		int sealed = sealed_file(&options);
		options.stop_fd = stop[0];
		assert_status(hsmpool_stream_encrypt_fd(pool, &key, 1, &options, in, out,
							HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_CLOSED);
		assert_status(hsmpool_stream_decrypt_fd(pool, key, &options, sealed, out,
							HSMPOOL_DEFAULT, &err),
			      HSMPOOL_ERR_CLOSED);
		assert_int_equal(lseek(out, 0, SEEK_END), 0);
		close(in);
		close(out);
		close(sealed);
	}
	close(stop[0]);
	close(stop[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_come_back_from_where_they_stand),
		cmocka_unit_test(what_is_appended_meanwhile_is_encrypted_too),
		cmocka_unit_test(a_file_that_becomes_shorter_is_an_error),
		cmocka_unit_test(a_damaged_file_gives_the_true_beginning),
		cmocka_unit_test(pipes_and_sockets_blocking_or_not_are_streams),
		cmocka_unit_test(a_closed_descriptor_is_told_by_name),
		cmocka_unit_test(a_read_that_waits_is_stopped),
		cmocka_unit_test(a_write_that_waits_is_stopped),
		cmocka_unit_test(files_are_stopped_too),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
