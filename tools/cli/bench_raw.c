/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs do without a pool, call for call: the bench's base line.
 *
 * The only file outside lib/p11 that calls the vendor module's functions: it must not
 * pay for anything of ours. The module is initialised, and kept so, by bench.c; the
 * login of the pool that is open beside it counts for the whole process.
 */
#include "bench.h"

#include <string.h>
#include "p11/session.h"

#define DATA_LEN    64
#define GCM_TAG_LEN 16

static CK_FUNCTION_LIST *functions(const struct bench_worker *worker)
{
	return worker->bench->module->fl;
}

static CK_RV find_key(struct bench_worker *worker)
{
	CK_FUNCTION_LIST *fl = functions(worker);
	const char *label = bench_key_label(worker->op);
	CK_OBJECT_CLASS class =
		worker->op == BENCH_RSA ? CKO_PRIVATE_KEY : CKO_SECRET_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof class },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	CK_ULONG found = 0;
	CK_RV rv = fl->C_FindObjectsInit(worker->session, template, 2);
	if (rv == CKR_OK)
		rv = fl->C_FindObjects(worker->session, &worker->object, 1, &found);
	if (rv == CKR_OK)
		rv = fl->C_FindObjectsFinal(worker->session);
	return rv == CKR_OK && found == 0 ? CKR_KEY_HANDLE_INVALID : rv;
}

static CK_RV open_session(struct bench_worker *worker)
{
	return functions(worker)->C_OpenSession(worker->bench->token.slot,
						CKF_SERIAL_SESSION, NULL, NULL,
						&worker->session);
}

static CK_RV sign(struct bench_worker *worker, CK_MECHANISM_TYPE type, CK_ULONG data_len)
{
	CK_FUNCTION_LIST *fl = functions(worker);
	CK_MECHANISM mechanism = { type, NULL, 0 };
	CK_BYTE data[DATA_LEN] = { 1 }, signature[512];
	CK_ULONG len = sizeof signature;
	CK_RV rv = fl->C_SignInit(worker->session, &mechanism, worker->object);
	return rv != CKR_OK
		       ? rv
		       : fl->C_Sign(worker->session, data, data_len, signature, &len);
}

/* An IV of its own for each message, as anybody must; a counter costs nothing. */
static CK_RV encrypt_gcm(struct bench_worker *worker, CK_BYTE *data, CK_ULONG data_len,
			 CK_BYTE *out)
{
	CK_FUNCTION_LIST *fl = functions(worker);
	CK_BYTE iv[12] = { 0 };
	CK_ULONG len = data_len + GCM_TAG_LEN;
	memcpy(iv, &worker->done, sizeof worker->done);
	CK_GCM_PARAMS params = {
		.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128
	};
	CK_MECHANISM mechanism = { CKM_AES_GCM, &params, sizeof params };
	CK_RV rv = fl->C_EncryptInit(worker->session, &mechanism, worker->object);
	return rv != CKR_OK ? rv
			    : fl->C_Encrypt(worker->session, data, data_len, out, &len);
}

static CK_RV encrypt_little(struct bench_worker *worker)
{
	CK_BYTE data[DATA_LEN] = { 1 }, out[DATA_LEN + GCM_TAG_LEN];
	return encrypt_gcm(worker, data, sizeof data, out);
}

static CK_RV operate(struct bench_worker *worker)
{
	switch (worker->op) {
	case BENCH_RSA:
		return sign(worker, CKM_SHA256_RSA_PKCS, DATA_LEN);
	case BENCH_HMAC:
		return sign(worker, CKM_SHA256_HMAC, DATA_LEN);
	default:
		return encrypt_little(worker);
	}
}

bool bench_raw_begin(struct bench_worker *worker)
{
	worker->rv = open_session(worker);
	if (worker->rv == CKR_OK)
		worker->rv = find_key(worker);
	return worker->rv == CKR_OK;
}

/* The copy goes with the session. */
bool bench_copy_begin(struct bench_worker *worker)
{
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, sizeof no } };
	if (!bench_raw_begin(worker))
		return false;
	worker->rv = functions(worker)->C_CopyObject(worker->session, worker->object,
						     template, 1, &worker->object);
	return worker->rv == CKR_OK;
}

bool bench_raw_step(struct bench_worker *worker)
{
	worker->rv = operate(worker);
	return worker->rv == CKR_OK;
}

bool bench_raw_chunk_step(struct bench_worker *worker)
{
	CK_BYTE data[BENCH_CHUNK], out[BENCH_CHUNK + GCM_TAG_LEN];
	memset(data, 1, sizeof data);
	worker->rv = encrypt_gcm(worker, data, sizeof data, out);
	return worker->rv == CKR_OK;
}

void bench_raw_end(struct bench_worker *worker)
{
	functions(worker)->C_CloseSession(worker->session);
}

bool bench_reopen_step(struct bench_worker *worker)
{
	worker->rv = open_session(worker);
	if (worker->rv != CKR_OK)
		return false;
	worker->rv = find_key(worker);
	if (worker->rv == CKR_OK)
		worker->rv = operate(worker);
	functions(worker)->C_CloseSession(worker->session);
	return worker->rv == CKR_OK;
}

bool bench_naive_step(struct bench_worker *worker)
{
	CK_FUNCTION_LIST *fl = functions(worker);
	struct hp_secret *pin = worker->bench->pin;
	worker->rv = open_session(worker);
	if (worker->rv != CKR_OK)
		return false;
	worker->rv = fl->C_Login(worker->session, CKU_USER, pin->data, pin->len);
	if (worker->rv == CKR_OK || worker->rv == CKR_USER_ALREADY_LOGGED_IN)
		worker->rv = find_key(worker);
	if (worker->rv == CKR_OK)
		worker->rv = operate(worker);
	fl->C_Logout(worker->session);
	fl->C_CloseSession(worker->session);
	return worker->rv == CKR_OK;
}
