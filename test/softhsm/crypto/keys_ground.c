/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keys_ground.h.
 */
#include "softhsm/crypto/keys_ground.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* SoftHSM2 2.6.1 leaks the point of an Ed25519 key at each C_SignInit. Leaks of the
 * module are forgiven; to see whose they are the whole stack must be unwound. */
HSMPOOL_API const char *__asan_default_options(void);
HSMPOOL_API const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_suppressions(void)
{
	return "leak:libsofthsm2.so\n";
}

struct fixture ground;
hsmpool *pool;
hsmpool_error err;
hsmpool_key_info last;

int keys_ground_up(void **state)
{
	(void)state;
	fixture_softhsm(&ground);
	pool = fixture_open(&ground);
	return 0;
}

int keys_ground_down(void **state)
{
	(void)state;
	hsmpool_close(&pool);
	fixture_remove(&ground);
	return 0;
}

void keys_ground_reopen(void)
{
	hsmpool_close(&pool);
	pool = fixture_open(&ground);
}

hsmpool_bytes bytes_of(const void *data, size_t len)
{
	return (hsmpool_bytes){ data, len };
}

hsmpool_bytes bytes_of_text(const char *text)
{
	return bytes_of(text, strlen(text));
}

hsmpool_key *generate(const char *type, const char *label, uint32_t usage)
{
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = type,
		.label = label,
		.usage = usage,
		.bits = strcmp(type, "rsa") == 0 ? 2048 : 0,
	};

	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	assert_non_null(key);
	return key;
}

hsmpool_key *import_secret(const char *type, const char *label, hsmpool_bytes secret,
			   uint32_t usage, bool extractable)
{
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = type,
		.label = label,
		.usage = usage,
		.extractable = extractable,
	};

	assert_ok(hsmpool_key_import_secret(&key, pool, &spec, secret, HSMPOOL_DEFAULT,
					    &err),
		  &err);
	assert_non_null(key);
	return key;
}

hsmpool_key *open_label(const char *label)
{
	hsmpool_key *key = NULL;
	char uri[200];

	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, &err), &err);
	assert_non_null(key);
	return key;
}

static int count_one(void *user, const hsmpool_key_info *info)
{
	unsigned *count = user;

	(*count)++;
	last = *info;
	return 0;
}

unsigned count_label(const char *label)
{
	unsigned count = 0;
	char uri[200];

	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_list(pool, uri, count_one, &count, HSMPOOL_DEFAULT, &err),
		  &err);
	return count;
}

EVP_PKEY *public_of(hsmpool_key *key)
{
	uint8_t text[4096];
	hsmpool_buf pem = { .data = text, .cap = sizeof(text) };

	assert_ok(hsmpool_key_export_public(key, &pem, HSMPOOL_DEFAULT, &err), &err);
	BIO *bio = BIO_new_mem_buf(text, (int)pem.len);
	EVP_PKEY *public_key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(public_key);
	return public_key;
}

/* --- past the key functions ----------------------------------------------------------
 */

static hsmpool_session *session;
static CK_FUNCTION_LIST *module;
static CK_SESSION_HANDLE handle;

static void borrow_raw(void)
{
	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_READ_WRITE, "test",
				 HSMPOOL_DEFAULT, &err),
		  &err);
	module = hsmpool_session_functions(session);
	handle = hsmpool_session_handle(session);
}

static CK_ULONG find(CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *found,
		     CK_ULONG cap)
{
	CK_ULONG len = 0;

	assert_int_equal(module->C_FindObjectsInit(handle, template, count), CKR_OK);
	assert_int_equal(module->C_FindObjects(handle, found, cap, &len), CKR_OK);
	assert_int_equal(module->C_FindObjectsFinal(handle), CKR_OK);
	return len;
}

CK_ULONG raw_count(CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_OBJECT_HANDLE found[100];

	borrow_raw();
	CK_ULONG len = find(template, count, found, 100);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	return len;
}

void raw_destroy_label(const char *label)
{
	CK_OBJECT_HANDLE found[10];
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
	};

	borrow_raw();
	CK_ULONG len = find(template, 2, found, 10);
	assert_true(len > 0);
	for (CK_ULONG i = 0; i < len; i++)
		assert_int_equal(module->C_DestroyObject(handle, found[i]), CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
}

void raw_generate_aes(const char *label, CK_BYTE id)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ULONG len = 32;
	CK_OBJECT_HANDLE object;
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_ID, &id, 1 },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &yes, sizeof(yes) },
		{ CKA_VALUE_LEN, &len, sizeof(len) },
	};

	borrow_raw();
	assert_int_equal(module->C_GenerateKey(handle, &mechanism, template, 7, &object),
			 CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
}
