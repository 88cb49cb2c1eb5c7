/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same operations through the library, and the pool and keys that they need.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/time.h"
#include "p11/session.h"

#define DATA_LEN 64

static const struct {
	const char *name, *label, *type;
	uint32_t bits;
} ops[BENCH_OP_COUNT] = {
	[BENCH_RSA] = { "RSA-2048 sign", "hsmpool-bench-rsa", "rsa", 2048 },
	[BENCH_GCM] = { "AES-GCM 64 B", "hsmpool-bench-aes", "aes", 256 },
	[BENCH_HMAC] = { "HMAC-SHA-256 64 B", "hsmpool-bench-hmac", "generic", 256 },
};

const char *bench_op_name(enum bench_op op)
{
	return ops[op].name;
}

const char *bench_key_label(enum bench_op op)
{
	return ops[op].label;
}

bool bench_pool_step(struct bench_worker *worker)
{
	static const uint8_t data[DATA_LEN] = { 1 };
	struct bench *bench = worker->bench;
	hsmpool_key *key = bench->keys[worker->op];
	hsmpool_bytes in = { data, sizeof data };
	uint8_t space[512];
	hsmpool_buf out = { space, sizeof space, 0 };
	hsmpool_status status;
	switch (worker->op) {
	case BENCH_RSA:
		status = hsmpool_sign(bench->pool, key, "rsa-pkcs1-sha256", in, &out,
				      HSMPOOL_DEFAULT, &worker->err);
		break;
	case BENCH_HMAC:
		status = hsmpool_mac(bench->pool, key, "hmac-sha256", in, &out,
				     HSMPOOL_DEFAULT, &worker->err);
		break;
	default:
		status = hsmpool_encrypt(bench->pool, key, "aes-gcm", NULL, in, &out,
					 HSMPOOL_DEFAULT, &worker->err);
		break;
	}
	return status == HSMPOOL_OK;
}

bool bench_borrow_step(struct bench_worker *worker)
{
	struct hp_session *session;
	if (hp_pool_borrow(worker->bench->pool, HP_WANT_ANY, "bench", HSMPOOL_DEFAULT,
			   &session, &worker->err) != HSMPOOL_OK)
		return false;
	hp_pool_return(session, CKR_OK);
	return true;
}

/* An operation on a borrowed session, with the time that the borrow took. */
bool bench_wait_step(struct bench_worker *worker)
{
	struct bench *bench = worker->bench;
	struct hp_session *session;
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_BYTE data[DATA_LEN] = { 1 }, signature[512];
	CK_ULONG len = sizeof signature;
	int64_t from = hp_now_ns();
	if (hp_pool_borrow(bench->pool, HP_WANT_ANY, "bench", HSMPOOL_DEFAULT, &session,
			   &worker->err) != HSMPOOL_OK)
		return false;
	int64_t wait = hp_now_ns() - from;
	if (worker->waits_us && worker->wait_count < worker->wait_cap)
		worker->waits_us[worker->wait_count++] = (uint32_t)(wait / HP_US);
	CK_OBJECT_HANDLE handle;
	const struct hp_key_facts *facts;
	hsmpool_status status =
		hp_key_handle(bench->keys[worker->op], session, HP_KEY_FOR_PRIVATE_USE,
			      HP_FOREVER, &handle, &facts, &worker->rv, &worker->err);
	if (status == HSMPOOL_OK)
		worker->rv = hp_sign_init(session, &mechanism, handle);
	if (worker->rv == CKR_OK)
		worker->rv = hp_sign(session, data, sizeof data, signature, &len);
	hp_pool_return(session, worker->rv);
	return worker->rv == CKR_OK && status == HSMPOOL_OK;
}

static hsmpool_status open_key(struct bench *bench, enum bench_op op, hsmpool_error *err)
{
	char uri[96];
	snprintf(uri, sizeof uri, "pkcs11:object=%s", ops[op].label);
	return hsmpool_key_open(&bench->keys[op], bench->pool, uri, HSMPOOL_DEFAULT, err);
}

hsmpool_status bench_make_keys(struct bench *bench, hsmpool_error *err)
{
	for (int op = 0; op < BENCH_OP_COUNT; op++) {
		hsmpool_key_spec spec = { .size = sizeof spec,
					  .type = ops[op].type,
					  .bits = ops[op].bits,
					  .label = ops[op].label };
		hsmpool_key *key = NULL;
		hsmpool_status status = hsmpool_key_generate(&key, bench->pool, &spec,
							     HSMPOOL_DEFAULT, err);
		hsmpool_key_close(&key);
		if (status != HSMPOOL_ERR_EXISTS)
			HP_TRY(status);
	}
	hp_error_clear(err);
	return HSMPOOL_OK;
}

void bench_destroy_keys(struct bench *bench)
{
	for (int op = 0; op < BENCH_OP_COUNT; op++) {
		hsmpool_error err;
		if (open_key(bench, op, &err) != HSMPOOL_OK ||
		    hsmpool_key_destroy(bench->keys[op], HSMPOOL_DEFAULT, &err) !=
			    HSMPOOL_OK)
			cli_message(bench->cli, "the key %s remains on the token: %s",
				    ops[op].label, err.text);
		hsmpool_key_close(&bench->keys[op]);
	}
}

static hsmpool_status set_options(struct bench *bench, unsigned sessions,
				  const char *option, const char *value,
				  hsmpool_error *err)
{
	char section[128], number[16];
	cli_pool_section(bench->cli, section, sizeof section);
	snprintf(number, sizeof number, "%u", sessions);
	hsmpool_config *config = bench->cli->config;
	HP_TRY(hsmpool_config_set(config, section, "min-sessions", "0", err));
	HP_TRY(hsmpool_config_set(config, section, "max-sessions", number, err));
	HP_TRY(hsmpool_config_set(config, section, "min-sessions", number, err));
	HP_TRY(hsmpool_config_set(config, section, "key-copies", "none", err));
	HP_TRY(hsmpool_config_set(config, section, "fair", "no", err));
	return option ? hsmpool_config_set(config, section, option, value, err)
		      : HSMPOOL_OK;
}

hsmpool_status bench_open_pool(struct bench *bench, unsigned sessions, const char *option,
			       const char *value, hsmpool_error *err)
{
	bench_close_pool(bench);
	HP_TRY(set_options(bench, sessions, option, value, err));
	HP_TRY(hsmpool_open(&bench->pool, bench->cli->config, bench->cli->pool_name,
			    HSMPOOL_DEFAULT, err));
	HP_TRY(bench_make_keys(bench, err));
	for (int op = 0; op < BENCH_OP_COUNT; op++)
		HP_TRY(open_key(bench, op, err));
	return HSMPOOL_OK;
}

void bench_close_pool(struct bench *bench)
{
	for (int op = 0; op < BENCH_OP_COUNT; op++)
		hsmpool_key_close(&bench->keys[op]);
	hsmpool_close(&bench->pool);
}
