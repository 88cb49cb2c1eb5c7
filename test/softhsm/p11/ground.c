/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and keys for the tests of lib/p11: see ground.h.
 */
#include "ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

void assert_rv(CK_RV rv, CK_RV expected)
{
	char one[32];
	char other[32];
	assert_string_equal(hp_rv_name(rv, one), hp_rv_name(expected, other));
}

void ground_open(struct ground *g)
{
	hsmpool_error err = { 0 };
	struct hp_uri *uri = NULL;
	memset(g, 0, sizeof(*g));
	assert_ok(hp_module_open(&g->module, getenv("HSMPOOL_TEST_SOFTHSM"), NULL, NULL,
				 &err),
		  &err);
	assert_ok(hp_uri_parse("pkcs11:token=" FIXTURE_TOKEN, &uri, &err), &err);
	assert_ok(hp_token_find(g->module, uri, &g->token, &err), &err);
	hp_uri_free(&uri);
}

void ground_open_session(struct ground *g, struct hp_session *s, unsigned shard,
			 bool read_write)
{
	memset(s, 0, sizeof(*s));
	s->shard = shard;
	assert_rv(hp_session_open(s, g->module, g->token.slot, read_write), CKR_OK);
}

void ground_log_in(struct ground *g)
{
	ground_open(g);
	ground_open_session(g, &g->session, 0, true);
	struct hp_secret pin = { .data = (uint8_t *)(uintptr_t)FIXTURE_USER_PIN,
				 .len = strlen(FIXTURE_USER_PIN) };
	assert_rv(hp_session_login(&g->session, CKU_USER, &pin), CKR_OK);
}

void ground_close(struct ground *g)
{
	hp_session_close(&g->session);
	hp_module_close(&g->module);
}

#define BOOLEAN(type, value)                    \
	{                                       \
		type, (value), sizeof(CK_BBOOL) \
	}
#define TEXT(type, value)                                       \
	{                                                       \
		type, (void *)(uintptr_t)(value), strlen(value) \
	}

static CK_BBOOL yes = CK_TRUE;

CK_OBJECT_HANDLE ground_make_aes(struct ground *g, const char *label)
{
	CK_ULONG bytes = 32;
	CK_ATTRIBUTE template[] = {
		BOOLEAN(CKA_TOKEN, &yes),
		TEXT(CKA_LABEL, label),
		BOOLEAN(CKA_ENCRYPT, &yes),
		BOOLEAN(CKA_DECRYPT, &yes),
		{ CKA_VALUE_LEN, &bytes, sizeof(bytes) },
	};
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	assert_rv(hp_generate_key(&g->session, &mechanism, template,
				  HP_ARRAY_LEN(template), &key),
		  CKR_OK);
	return key;
}

static void make_pair(struct ground *g, CK_MECHANISM_TYPE type, CK_ATTRIBUTE parameter,
		      const char *label, CK_OBJECT_HANDLE *public_key,
		      CK_OBJECT_HANDLE *private_key)
{
	CK_ATTRIBUTE public_template[] = {
		BOOLEAN(CKA_TOKEN, &yes),
		TEXT(CKA_LABEL, label),
		BOOLEAN(CKA_VERIFY, &yes),
		BOOLEAN(CKA_ENCRYPT, &yes),
		parameter,
	};
	CK_ATTRIBUTE private_template[] = {
		BOOLEAN(CKA_TOKEN, &yes),   TEXT(CKA_LABEL, label),
		BOOLEAN(CKA_SIGN, &yes),    BOOLEAN(CKA_DECRYPT, &yes),
		BOOLEAN(CKA_PRIVATE, &yes),
	};
	CK_MECHANISM mechanism = { type, NULL, 0 };
	assert_rv(hp_generate_key_pair(&g->session, &mechanism, public_template,
				       HP_ARRAY_LEN(public_template), private_template,
				       HP_ARRAY_LEN(private_template), public_key,
				       private_key),
		  CKR_OK);
}

void ground_make_rsa(struct ground *g, const char *label, CK_OBJECT_HANDLE *public_key,
		     CK_OBJECT_HANDLE *private_key)
{
	CK_ULONG bits = 2048;
	CK_ATTRIBUTE modulus = { CKA_MODULUS_BITS, &bits, sizeof(bits) };
	make_pair(g, CKM_RSA_PKCS_KEY_PAIR_GEN, modulus, label, public_key, private_key);
}

void ground_make_ec(struct ground *g, const char *label, CK_OBJECT_HANDLE *public_key,
		    CK_OBJECT_HANDLE *private_key)
{
	CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	CK_ATTRIBUTE curve = { CKA_EC_PARAMS, p256, sizeof(p256) };
	make_pair(g, CKM_EC_KEY_PAIR_GEN, curve, label, public_key, private_key);
}

CK_OBJECT_HANDLE ground_find(struct hp_session *s, CK_OBJECT_CLASS class,
			     const char *label)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		TEXT(CKA_LABEL, label),
	};
	CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
	CK_ULONG count = 0;
	assert_rv(hp_find_objects(s, template, HP_ARRAY_LEN(template), &found, 1, &count),
		  CKR_OK);
	assert_int_equal(count, 1);
	return found;
}
