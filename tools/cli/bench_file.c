/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 64 MiB file through envelope encryption, against a plain loop that reads the same
 * file, encrypts the same chunks with AES-256-GCM and writes them.
 *
 * Both write to a file of their own in $TMPDIR and fsync it at the end.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "stop.h"

#define CHUNK (1u << 20)
#define COUNT 64

struct files {
	char in[256], out[256];
	uint8_t *chunk;      /* CHUNK + 16 bytes */
	uint8_t *ciphertext; /* likewise */
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool make_input(struct files *files)
{
	HP_AUTO_FD int fd =
		open(files->in, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool is_well = fd >= 0;
	for (unsigned i = 0; is_well && i < COUNT; i++) {
		memset(files->chunk, (int)i, CHUNK);
		is_well = write_all(fd, files->chunk, CHUNK);
	}
	return is_well;
}

/* --- the plain loop ------------------------------------------------------------------
 */

static bool encrypt_chunk(EVP_CIPHER_CTX *ctx, struct files *files, uint64_t index,
			  int *len)
{
	static const uint8_t key[32] = { 7 };
	uint8_t iv[12] = { 0 };
	int more = 0;
	memcpy(iv, &index, sizeof index);
	return EVP_EncryptInit_ex(ctx, NULL, NULL, index ? NULL : key, iv) == 1 &&
	       EVP_EncryptUpdate(ctx, files->ciphertext, len, files->chunk, CHUNK) == 1 &&
	       EVP_EncryptFinal_ex(ctx, files->ciphertext + *len, &more) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16,
				   files->ciphertext + *len) == 1;
}

static bool run_plain(struct bench *bench, struct files *files)
{
	(void)bench;
	HP_AUTO_FD int in = open(files->in, O_RDONLY | O_CLOEXEC);
	HP_AUTO_FD int out =
		open(files->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool is_well = in >= 0 && out >= 0 && ctx &&
		       EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, NULL, NULL) == 1;
	for (uint64_t i = 0; is_well && i < COUNT; i++) {
		int len = 0;
		is_well = read(in, files->chunk, CHUNK) == CHUNK &&
			  encrypt_chunk(ctx, files, i, &len) &&
			  write_all(out, files->ciphertext, (size_t)len + 16);
	}
	EVP_CIPHER_CTX_free(ctx);
	return is_well && fsync(out) == 0;
}

/* --- the container -------------------------------------------------------------------
 */

static bool run_container(struct bench *bench, struct files *files)
{
	hsmpool_error err;
	HP_AUTO_FD int in = open(files->in, O_RDONLY | O_CLOEXEC);
	HP_AUTO_FD int out =
		open(files->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	hsmpool_key *keys[] = { bench->keys[BENCH_GCM] };
	return in >= 0 && out >= 0 &&
	       hsmpool_stream_encrypt_fd(bench->pool, keys, 1, NULL, in, out,
					 HSMPOOL_DEFAULT, &err) == HSMPOOL_OK &&
	       fsync(out) == 0;
}

static double time_of(bool (*run)(struct bench *, struct files *), struct bench *bench,
		      struct files *files)
{
	int64_t from = hp_now_ns();
	bool is_well = run(bench, files);
	unlink(files->out);
	return is_well ? (double)(hp_now_ns() - from) : 0;
}

static hsmpool_status compare(struct bench *bench, struct files *files,
			      hsmpool_error *err)
{
	struct bench_ratios ratios = { .count = 0 }, speed = { .count = 0 };
	HP_CHECK(make_input(files), err, HSMPOOL_ERR_SYSTEM, "cannot write %s",
		 files->in);
	HP_CHECK(time_of(run_plain, bench, files) > 0, err, HSMPOOL_ERR_SYSTEM,
		 "cannot write %s", files->out);
	for (unsigned i = 0; i < bench->pairs; i++) {
		double plain = time_of(run_plain, bench, files);
		double container = time_of(run_container, bench, files);
		HP_TRY(stop_check(err));
		HP_CHECK(plain > 0 && container > 0, err, HSMPOOL_ERR_SYSTEM,
			 "encrypting a file failed");
		bench_add_ratio(&ratios, plain / container);
		bench_add_ratio(&speed, (double)COUNT / (container / 1e9));
	}
	bench_report(bench, "file", "64 MiB, envelope / plain GCM loop", &ratios, "x",
		     ">= 0.8");
	bench_report(bench, "file", "64 MiB, envelope", &speed, "MiB/s", "");
	return HSMPOOL_OK;
}

hsmpool_status bench_file(struct bench *bench, hsmpool_error *err)
{
	HP_TRY(bench_open_pool(bench, 2, NULL, NULL, err));
	const char *dir = getenv("TMPDIR");
	char folder[200];
	snprintf(folder, sizeof folder, "%s/hsmpool-bench-XXXXXX",
		 dir && *dir ? dir : "/tmp");
	HP_CHECK(mkdtemp(folder), err, HSMPOOL_ERR_SYSTEM, "cannot make a folder in %s",
		 dir && *dir ? dir : "/tmp");
	HP_AUTO_FREE uint8_t *chunk = malloc(CHUNK + 16);
	HP_AUTO_FREE uint8_t *ciphertext = malloc(CHUNK + 16);
	struct files files = { .chunk = chunk, .ciphertext = ciphertext };
	snprintf(files.in, sizeof files.in, "%s/in", folder);
	snprintf(files.out, sizeof files.out, "%s/out", folder);
	hsmpool_status status = chunk && ciphertext
					? compare(bench, &files, err)
					: hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory");
	unlink(files.in);
	unlink(files.out);
	rmdir(folder);
	return status;
}
