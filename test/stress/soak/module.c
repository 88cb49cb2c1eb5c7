/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the threads of a program that knows PKCS#11 only do: one session each for all
 * their life, keys found once, and hsmpool-pkcs11.so in place of the vendor's module.
 */
#include "soak.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/rand.h>
#include "p11/rv.h"

#define RW (CKF_SERIAL_SESSION | CKF_RW_SESSION)

static enum soak_outcome answer(bool is_right)
{
	return is_right ? SOAK_DONE : SOAK_WRONG;
}

static enum soak_outcome refused(struct soak_worker *worker, const char *call, CK_RV rv)
{
	char name[32];
	snprintf(worker->complaint, sizeof(worker->complaint), "%s: %s", call,
		 hp_rv_name(rv, name));
	return SOAK_REFUSED;
}

#define CALL(worker, function, ...)                                            \
	do {                                                                   \
		CK_RV call_rv = (worker)->soak->module->function(__VA_ARGS__); \
		if (call_rv != CKR_OK)                                         \
			return refused((worker), #function, call_rv);          \
	} while (0)

static hsmpool_bytes input_of(const struct soak_worker *worker)
{
	return (hsmpool_bytes){ worker->input, worker->input_len };
}

static enum soak_outcome digest_in_parts(struct soak_worker *w)
{
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	uint8_t out[32];
	CK_ULONG len = sizeof(out), half = w->input_len / 2;
	CALL(w, C_DigestInit, w->session, &sha256);
	CALL(w, C_DigestUpdate, w->session, w->input, half);
	CALL(w, C_DigestUpdate, w->session, w->input + half, w->input_len - half);
	CALL(w, C_DigestFinal, w->session, out, &len);
	return answer(truth_is_digest(input_of(w), (hsmpool_bytes){ out, len }));
}

static enum soak_outcome draw_random(struct soak_worker *w)
{
	static const uint8_t nothing[16];
	uint8_t drawn[16] = { 0 };
	CALL(w, C_GenerateRandom, w->session, drawn, sizeof(drawn));
	return answer(memcmp(drawn, nothing, sizeof(drawn)) != 0);
}

static enum soak_outcome encrypt_cbc(struct soak_worker *w)
{
	uint8_t iv[SOAK_IV], out[SOAK_INPUT + 16], truth[SOAK_INPUT + 16];
	CK_ULONG len = sizeof(out);
	RAND_bytes(iv, sizeof(iv));
	CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
	CALL(w, C_EncryptInit, w->session, &cbc, w->soak->module_aes);
	CALL(w, C_Encrypt, w->session, w->input, w->input_len, out, &len);
	size_t should = truth_encrypt_cbc(w->soak->truth, iv, input_of(w), truth);
	return answer(len == should && memcmp(out, truth, len) == 0);
}

static enum soak_outcome decrypt_cbc(struct soak_worker *w)
{
	uint8_t iv[SOAK_IV], sealed[SOAK_INPUT + 16], out[SOAK_INPUT + 16];
	CK_ULONG len = sizeof(out);
	RAND_bytes(iv, sizeof(iv));
	CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
	size_t sealed_len = truth_encrypt_cbc(w->soak->truth, iv, input_of(w), sealed);
	CALL(w, C_DecryptInit, w->session, &cbc, w->soak->module_aes);
	CALL(w, C_Decrypt, w->session, sealed, sealed_len, out, &len);
	return answer(len == w->input_len && memcmp(out, w->input, len) == 0);
}

static enum soak_outcome find_key(struct soak_worker *w)
{
	static char label[] = "soak-rsa";
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_LABEL, label, sizeof(label) - 1 } };
	CK_OBJECT_HANDLE found[2] = { 0, 0 };
	CK_ULONG count = 0;
	CALL(w, C_FindObjectsInit, w->session, template, 2);
	CALL(w, C_FindObjects, w->session, found, 2, &count);
	CALL(w, C_FindObjectsFinal, w->session);
	if (count == 1 && found[0] == w->soak->module_rsa)
		return SOAK_DONE;
	/* A search in a restart that is noticed only after it may give an object a second
	 * handle; it must be that object's all the same. */
	char name[32] = "";
	CK_ATTRIBUTE names = { CKA_LABEL, name, sizeof(name) - 1 };
	if (count == 1)
		CALL(w, C_GetAttributeValue, w->session, found[0], &names, 1);
	snprintf(w->complaint, sizeof(w->complaint), "%lu found, the first '%s'", count,
		 name);
	return answer(count == 1 && strcmp(name, label) == 0);
}

static enum soak_outcome read_attribute(struct soak_worker *w)
{
	char label[32];
	CK_ATTRIBUTE template = { CKA_LABEL, label, sizeof(label) };
	CALL(w, C_GetAttributeValue, w->session, w->soak->module_aes, &template, 1);
	return answer(template.ulValueLen == 8 && memcmp(label, "soak-aes", 8) == 0);
}

static enum soak_outcome mac(struct soak_worker *w)
{
	CK_MECHANISM hmac = { CKM_SHA256_HMAC, NULL, 0 };
	uint8_t out[32];
	CK_ULONG len = sizeof(out);
	CALL(w, C_SignInit, w->session, &hmac, w->soak->module_hmac);
	CALL(w, C_Sign, w->session, w->input, w->input_len, out, &len);
	return answer(
		truth_is_hmac(w->soak->truth, input_of(w), (hsmpool_bytes){ out, len }));
}

static enum soak_outcome sign_rsa(struct soak_worker *w)
{
	CK_MECHANISM rsa = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	uint8_t out[256];
	CK_ULONG len = sizeof(out);
	CALL(w, C_SignInit, w->session, &rsa, w->soak->module_rsa);
	CALL(w, C_Sign, w->session, w->input, w->input_len, out, &len);
	return answer(truth_verifies(w->soak->truth->rsa, input_of(w),
				     (hsmpool_bytes){ out, len }));
}

static enum soak_outcome sign_ecdsa(struct soak_worker *w)
{
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	uint8_t digest[32], out[64];
	CK_ULONG len = sizeof(out);
	EVP_Digest(w->input, w->input_len, digest, NULL, EVP_sha256(), NULL);
	CALL(w, C_SignInit, w->session, &ecdsa, w->soak->module_ec);
	CALL(w, C_Sign, w->session, digest, sizeof(digest), out, &len);
	return answer(truth_verifies_raw(w->soak->truth->ec, input_of(w),
					 (hsmpool_bytes){ out, len }));
}

/* A session object is gone with its real session: one error then, and not a wrong
 * value ever. */
static enum soak_outcome make_session_object(struct soak_worker *w)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	uint8_t value[SOAK_INPUT];
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_VALUE, w->input, w->input_len } };
	CK_ATTRIBUTE read = { CKA_VALUE, value, sizeof(value) };
	CALL(w, C_CreateObject, w->session, template, 2, &object);
	CK_RV rv = w->soak->module->C_GetAttributeValue(w->session, object, &read, 1);
	CK_RV destroyed = w->soak->module->C_DestroyObject(w->session, object);
	if (rv != CKR_OK)
		return refused(w, "C_GetAttributeValue", rv);
	if (destroyed != CKR_OK)
		return refused(w, "C_DestroyObject", destroyed);
	return answer(read.ulValueLen == w->input_len &&
		      memcmp(value, w->input, w->input_len) == 0);
}

struct soak_job soak_module_jobs[] = {
	{ "module: digest in parts", SOAK_IDEMPOTENT, 20, digest_in_parts, 0, 0, 0, 0 },
	{ "module: random", SOAK_IDEMPOTENT, 20, draw_random, 0, 0, 0, 0 },
	{ "module: encrypt", SOAK_IDEMPOTENT, 20, encrypt_cbc, 0, 0, 0, 0 },
	{ "module: decrypt", SOAK_IDEMPOTENT, 20, decrypt_cbc, 0, 0, 0, 0 },
	{ "module: find a key", SOAK_IDEMPOTENT, 10, find_key, 0, 0, 0, 0 },
	{ "module: read an attribute", SOAK_IDEMPOTENT, 10, read_attribute, 0, 0, 0, 0 },
	{ "module: mac", SOAK_SIGNATURE, 20, mac, 1, 0, 0, 0 },
	{ "module: sign with RSA", SOAK_SIGNATURE, 3, sign_rsa, 1, 0, 0, 0 },
	{ "module: sign with ECDSA", SOAK_SIGNATURE, 10, sign_ecdsa, 1, 0, 0, 0 },
	{ "module: session object", SOAK_ONCE, 2, make_session_object, 0, 0, 0, 0 },
	{ NULL, SOAK_ONCE, 0, NULL, 0, 0, 0, 0 },
};

/* --- the program's life --------------------------------------------------------------
 */

static void require_rv(CK_RV rv, const char *what)
{
	char name[32];
	if (rv != CKR_OK)
		fail_msg("%s: %s", what, hp_rv_name(rv, name));
}

static CK_FUNCTION_LIST *load(void)
{
	char path[512];
	CK_FUNCTION_LIST *functions = NULL;
	CK_C_GetFunctionList get = NULL;
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!dl)
		fail_msg("%s", dlerror());
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	require_rv(get(&functions), "C_GetFunctionList");
	return functions;
}

static void configure(struct fixture *f, const char *pool_lines)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/hsmpool.conf", f->dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file,
		"[pool]\nmodule = %s\ntoken = pkcs11:token=" FIXTURE_TOKEN
		"\nstate-dir = %s/state\n%s",
		f->module, f->dir, pool_lines);
	assert_int_equal(fclose(file), 0);
	setenv("HSMPOOL_CONF", path, 1);
}

static CK_SLOT_ID only_slot(CK_FUNCTION_LIST *module)
{
	CK_SLOT_ID slot = 0;
	CK_ULONG count = 1;
	require_rv(module->C_GetSlotList(CK_TRUE, &slot, &count), "C_GetSlotList");
	return slot;
}

static CK_OBJECT_HANDLE find(struct soak *soak, CK_SESSION_HANDLE session,
			     CK_OBJECT_CLASS class, const char *label)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%s", label);
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_LABEL, text, (CK_ULONG)len } };
	CK_OBJECT_HANDLE found = 0;
	CK_ULONG count = 0;
	require_rv(soak->module->C_FindObjectsInit(session, template, 2),
		   "C_FindObjectsInit");
	require_rv(soak->module->C_FindObjects(session, &found, 1, &count), label);
	require_rv(soak->module->C_FindObjectsFinal(session), "C_FindObjectsFinal");
	assert_int_equal(count, 1);
	return found;
}

/* First of all: it is the application's login that both share. */
void soak_module_begin(struct soak *soak, struct fixture *f, const char *pool_lines)
{
	CK_SESSION_HANDLE session = 0;
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;
	configure(f, pool_lines);
	soak->module = load();
	require_rv(soak->module->C_Initialize(NULL), "C_Initialize");
	require_rv(soak->module->C_OpenSession(only_slot(soak->module), RW, NULL, NULL,
					       &session),
		   "C_OpenSession");
	require_rv(soak->module->C_Login(session, CKU_USER, pin, sizeof(pin) - 1),
		   "C_Login");
	soak->module_session = session;
}

void soak_module_find_keys(struct soak *soak)
{
	CK_SESSION_HANDLE session = soak->module_session;
	soak->module_aes = find(soak, session, CKO_SECRET_KEY, "soak-aes");
	soak->module_hmac = find(soak, session, CKO_SECRET_KEY, "soak-hmac");
	soak->module_rsa = find(soak, session, CKO_PRIVATE_KEY, "soak-rsa");
	soak->module_ec = find(soak, session, CKO_PRIVATE_KEY, "soak-ec");
}

bool soak_module_join(struct soak_worker *worker)
{
	CK_FUNCTION_LIST *module = worker->soak->module;
	return module->C_OpenSession(only_slot(module), RW, NULL, NULL,
				     &worker->session) == CKR_OK;
}

void soak_module_end(struct soak *soak)
{
	require_rv(soak->module->C_Finalize(NULL), "C_Finalize");
}
