/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault matrix of the module: every function that it calls of the vendor's module x
 * every class of return value x moments, before and after execution. Whatever an
 * application was answered: afterwards everything works for it again, no real session is
 * left, no PIN was wasted, and nothing was made twice that may be made once. (L20)
 *
 * Every operation runs in every case, in a session of its own. By default a fixed sample
 * of the cases runs; with HSMPOOL_MATRIX_EVERY=1 all of them, and then with every code
 * instead of one per class.
 *
 * Left out: C_CloseSession that fails undone (that session stays open whoever asks),
 * C_OpenSession that succeeds untold (that session is nobody's), C_WaitForSlotEvent, and
 * functions of PKCS#11 3.0, which the mock does not have.
 */
#include "objects_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/time.h"
#include "p11/rv.h"
#include "pool/latch.h"

#define p11 module_load()

static struct fixture fixture;
static const struct mock_control *mock;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE anchor; /* keeps the login */
static CK_BYTE text[16] = "sixteen letters";

/* --- the operations, each in a session of its own ---------------------------- */

#define TRY(call)                 \
	do {                      \
		CK_RV e = call;   \
		if (e)            \
			return e; \
	} while (0)

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE s, CK_OBJECT_CLASS class,
				 const char *label)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_CLASS, &class, sizeof(class) },
	};
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	CK_ULONG count = 0;

	if (p11->C_FindObjectsInit(s, template, 2) != CKR_OK)
		return CK_INVALID_HANDLE;
	if (p11->C_FindObjects(s, &key, 1, &count) != CKR_OK || count == 0)
		key = CK_INVALID_HANDLE;
	p11->C_FindObjectsFinal(s);
	return key;
}

static CK_MECHANISM with_rsa = { CKM_SHA256_RSA_PKCS, NULL, 0 };
static CK_MECHANISM with_sha = { CKM_SHA256, NULL, 0 };
static CK_MECHANISM with_aes = { CKM_AES_ECB, NULL, 0 };
static CK_MECHANISM with_block = { CKM_RSA_PKCS, NULL, 0 };

static CK_RV sign(CK_SESSION_HANDLE s)
{
	CK_BYTE out[512];
	CK_ULONG len = sizeof(out);

	TRY(p11->C_SignInit(s, &with_rsa, find_key(s, CKO_PRIVATE_KEY, "rsa")));
	return p11->C_Sign(s, text, 16, out, &len);
}

static CK_RV sign_in_parts(CK_SESSION_HANDLE s)
{
	CK_BYTE out[512];
	CK_ULONG len = sizeof(out);

	TRY(p11->C_SignInit(s, &with_rsa, find_key(s, CKO_PRIVATE_KEY, "rsa")));
	TRY(p11->C_SignUpdate(s, text, 16));
	return p11->C_SignFinal(s, out, &len);
}

/* Its real session is replaced. */
static CK_RV abandon_a_signature(CK_SESSION_HANDLE s)
{
	TRY(p11->C_SignInit(s, &with_rsa, find_key(s, CKO_PRIVATE_KEY, "rsa")));
	return p11->C_SignUpdate(s, text, 16);
}

/* The signature is a wrong one, and to say so is the answer. */
static CK_RV verify(CK_SESSION_HANDLE s)
{
	CK_BYTE wrong[256] = { 1 };

	TRY(p11->C_VerifyInit(s, &with_rsa, find_key(s, CKO_PUBLIC_KEY, "rsa")));
	CK_RV rv = p11->C_Verify(s, text, 16, wrong, sizeof(wrong));
	return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
}

static CK_RV verify_in_parts(CK_SESSION_HANDLE s)
{
	CK_BYTE wrong[256] = { 1 };

	TRY(p11->C_VerifyInit(s, &with_rsa, find_key(s, CKO_PUBLIC_KEY, "rsa")));
	TRY(p11->C_VerifyUpdate(s, text, 16));
	CK_RV rv = p11->C_VerifyFinal(s, wrong, sizeof(wrong));
	return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
}

static CK_RV encrypt_and_decrypt(CK_SESSION_HANDLE s)
{
	CK_BYTE out[16], back[16];
	CK_ULONG len = 16, back_len = 16;
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_EncryptInit(s, &with_aes, key));
	TRY(p11->C_Encrypt(s, text, 16, out, &len));
	TRY(p11->C_DecryptInit(s, &with_aes, key));
	return p11->C_Decrypt(s, out, len, back, &back_len);
}

static CK_RV encrypt_and_decrypt_in_parts(CK_SESSION_HANDLE s)
{
	CK_BYTE out[32], rest[32];
	CK_ULONG len = 32, rest_len = 32;
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_EncryptInit(s, &with_aes, key));
	TRY(p11->C_EncryptUpdate(s, text, 16, out, &len));
	TRY(p11->C_EncryptFinal(s, rest, &rest_len));
	TRY(p11->C_DecryptInit(s, &with_aes, key));
	rest_len = len = 32;
	TRY(p11->C_DecryptUpdate(s, out, 16, rest, &rest_len));
	return p11->C_DecryptFinal(s, rest, &len);
}

static CK_RV digest(CK_SESSION_HANDLE s)
{
	return module_digest(s);
}

static CK_RV digest_in_parts(CK_SESSION_HANDLE s)
{
	CK_BYTE out[32];
	CK_ULONG len = sizeof(out);

	TRY(p11->C_DigestInit(s, &with_sha));
	TRY(p11->C_DigestUpdate(s, text, 16));
	return p11->C_DigestFinal(s, out, &len);
}

static CK_RV digest_a_key(CK_SESSION_HANDLE s)
{
	CK_BYTE out[32];
	CK_ULONG len = sizeof(out);
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_DigestInit(s, &with_sha));
	TRY(p11->C_DigestKey(s, key));
	return p11->C_DigestFinal(s, out, &len);
}

static CK_RV sign_and_recover(CK_SESSION_HANDLE s)
{
	CK_BYTE out[512], back[512];
	CK_ULONG len = sizeof(out), back_len = sizeof(back);
	CK_OBJECT_HANDLE key = find_key(s, CKO_PRIVATE_KEY, "rsa");
	CK_OBJECT_HANDLE public = find_key(s, CKO_PUBLIC_KEY, "rsa");

	TRY(p11->C_SignRecoverInit(s, &with_block, key));
	TRY(p11->C_SignRecover(s, text, 16, out, &len));
	TRY(p11->C_VerifyRecoverInit(s, &with_block, public));
	return p11->C_VerifyRecover(s, out, len, back, &back_len);
}

static CK_RV digest_and_cipher(CK_SESSION_HANDLE s)
{
	CK_BYTE out[32], rest[32], hash[32];
	CK_ULONG len = 32, rest_len = 32, hash_len = 32;
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_EncryptInit(s, &with_aes, key));
	TRY(p11->C_DigestInit(s, &with_sha));
	TRY(p11->C_DigestEncryptUpdate(s, text, 16, out, &len));
	TRY(p11->C_EncryptFinal(s, rest, &rest_len));
	TRY(p11->C_DigestFinal(s, hash, &hash_len));
	rest_len = len = hash_len = 32;
	TRY(p11->C_DecryptInit(s, &with_aes, key));
	TRY(p11->C_DigestInit(s, &with_sha));
	TRY(p11->C_DecryptDigestUpdate(s, out, 16, rest, &rest_len));
	TRY(p11->C_DecryptFinal(s, rest, &len));
	return p11->C_DigestFinal(s, hash, &hash_len);
}

static CK_RV sign_and_encrypt(CK_SESSION_HANDLE s)
{
	CK_BYTE out[32], rest[32], signature[512];
	CK_ULONG len = 32, rest_len = 32, signature_len = sizeof(signature);
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_SignInit(s, &with_rsa, find_key(s, CKO_PRIVATE_KEY, "rsa")));
	TRY(p11->C_EncryptInit(s, &with_aes, key));
	TRY(p11->C_SignEncryptUpdate(s, text, 16, out, &len));
	TRY(p11->C_EncryptFinal(s, rest, &rest_len));
	return p11->C_SignFinal(s, signature, &signature_len);
}

static CK_RV decrypt_and_verify(CK_SESSION_HANDLE s)
{
	CK_BYTE back[32], rest[32], wrong[256] = { 1 };
	CK_ULONG len = 32, rest_len = 32;
	CK_OBJECT_HANDLE key = find_key(s, CKO_SECRET_KEY, "aes");

	TRY(p11->C_VerifyInit(s, &with_rsa, find_key(s, CKO_PUBLIC_KEY, "rsa")));
	TRY(p11->C_DecryptInit(s, &with_aes, key));
	TRY(p11->C_DecryptVerifyUpdate(s, text, 16, back, &len));
	TRY(p11->C_DecryptFinal(s, rest, &rest_len));
	CK_RV rv = p11->C_VerifyFinal(s, wrong, sizeof(wrong));
	return rv == CKR_SIGNATURE_INVALID ? CKR_OK : rv;
}

static CK_RV save_and_restore(CK_SESSION_HANDLE s)
{
	CK_BYTE state[4096], out[32];
	CK_ULONG state_len = sizeof(state), len = sizeof(out);

	TRY(p11->C_DigestInit(s, &with_sha));
	TRY(p11->C_DigestUpdate(s, text, 16));
	TRY(p11->C_GetOperationState(s, state, &state_len));
	TRY(p11->C_SetOperationState(s, state, state_len, 0, 0));
	return p11->C_DigestFinal(s, out, &len);
}

static CK_RV random_bytes(CK_SESSION_HANDLE s)
{
	CK_BYTE out[8];

	TRY(p11->C_SeedRandom(s, text, 16));
	return p11->C_GenerateRandom(s, out, sizeof(out));
}

static CK_RV create_and_change(CK_SESSION_HANDLE s)
{
	CK_ATTRIBUTE change = { CKA_LABEL, (void *)(uintptr_t) "changed", 7 };
	CK_OBJECT_HANDLE object;
	CK_ULONG size;

	TRY(objects_data(s, "made", false, false, &object));
	TRY(p11->C_SetAttributeValue(s, object, &change, 1));
	TRY(p11->C_GetObjectSize(s, object, &size));
	return p11->C_DestroyObject(s, object);
}

static CK_RV copy(CK_SESSION_HANDLE s)
{
	CK_OBJECT_HANDLE object, other;

	TRY(objects_data(s, "made", false, false, &object));
	return p11->C_CopyObject(s, object, NULL, 0, &other);
}

static CK_RV read_attributes(CK_SESSION_HANDLE s)
{
	char label[16];

	return objects_label(s, find_key(s, CKO_SECRET_KEY, "aes"), label, sizeof(label));
}

static CK_RV generate(CK_SESSION_HANDLE s)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 16;
	CK_ATTRIBUTE template = { CKA_VALUE_LEN, &len, sizeof(len) };
	CK_OBJECT_HANDLE key;

	return p11->C_GenerateKey(s, &mechanism, &template, 1, &key);
}

static CK_RV make_pair(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *private)
{
	static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
	CK_BBOOL yes = CK_TRUE;
	CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	CK_ATTRIBUTE params = { CKA_EC_PARAMS, p256, sizeof(p256) };
	CK_ATTRIBUTE derives = { CKA_DERIVE, &yes, sizeof(yes) };
	CK_OBJECT_HANDLE public;

	return p11->C_GenerateKeyPair(s, &mechanism, &params, 1, &derives, 1, &public,
				      private);
}

static CK_RV generate_pair(CK_SESSION_HANDLE s)
{
	CK_OBJECT_HANDLE private;

	return make_pair(s, &private);
}

static CK_RV derive(CK_SESSION_HANDLE s)
{
	CK_BYTE peer[65] = { 4, 1, 2, 3 };
	CK_ECDH1_DERIVE_PARAMS params = { CKD_NULL, 0, NULL, sizeof(peer), peer };
	CK_MECHANISM mechanism = { CKM_ECDH1_DERIVE, &params, sizeof(params) };
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_KEY_TYPE, &type, sizeof(type) } };
	CK_OBJECT_HANDLE base, key;

	TRY(make_pair(s, &base));
	return p11->C_DeriveKey(s, &mechanism, base, template, 2, &key);
}

static CK_RV wrap_and_unwrap(CK_SESSION_HANDLE s)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_KEY_TYPE, &type, sizeof(type) } };
	CK_OBJECT_HANDLE wrapper, key;
	CK_BYTE out[64];
	CK_ULONG len = sizeof(out);

	TRY(objects_aes(s, "wrapper", 1, false, true, &wrapper));
	TRY(p11->C_WrapKey(s, &mechanism, wrapper, wrapper, out, &len));
	return p11->C_UnwrapKey(s, &mechanism, wrapper, out, len, template, 2, &key);
}

static CK_RV ask_about_the_token(CK_SESSION_HANDLE s)
{
	CK_SLOT_ID slots[4];
	CK_ULONG count = 4;
	CK_SLOT_INFO slot_info;
	CK_TOKEN_INFO token;
	CK_MECHANISM_INFO mechanism;
	CK_SESSION_INFO session;
	CK_INFO info;

	TRY(p11->C_GetInfo(&info));
	TRY(p11->C_GetSlotList(CK_TRUE, slots, &count));
	TRY(p11->C_GetSlotInfo(slot, &slot_info));
	TRY(p11->C_GetTokenInfo(slot, &token));
	TRY(p11->C_GetMechanismList(slot, NULL, &count));
	TRY(p11->C_GetMechanismInfo(slot, CKM_SHA256, &mechanism));
	return p11->C_GetSessionInfo(s, &session);
}

/* An application that hears that it is not logged in logs in. */
static CK_RV log_in(CK_SESSION_HANDLE s)
{
	CK_RV rv = module_login(s, CKU_USER, FIXTURE_USER_PIN);

	return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static CK_RV log_out_and_in(CK_SESSION_HANDLE s)
{
	CK_RV rv = p11->C_Logout(s);

	if (rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN)
		return rv;
	return log_in(s);
}

static CK_BYTE *bytes(const char *pin)
{
	return (CK_BYTE *)(uintptr_t)pin;
}

/* To what it was. */
static CK_RV change_pin(CK_SESSION_HANDLE s)
{
	CK_ULONG len = strlen(FIXTURE_USER_PIN);

	return p11->C_SetPIN(s, bytes(FIXTURE_USER_PIN), len, bytes(FIXTURE_USER_PIN),
			     len);
}

/* As the security officer, who goes again whatever happens. */
static CK_RV give_pin(CK_SESSION_HANDLE s)
{
	CK_RV rv = p11->C_Logout(s);

	if (rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN)
		return rv;
	TRY(module_login(s, CKU_SO, FIXTURE_SO_PIN));
	rv = p11->C_InitPIN(s, bytes(FIXTURE_USER_PIN), strlen(FIXTURE_USER_PIN));
	p11->C_Logout(s);
	CK_RV back = log_in(s);
	return rv == CKR_OK ? back : rv;
}

/* Of a slot that nobody knows: the one case in which the vendor's module is asked. */
static CK_RV close_all_sessions(CK_SESSION_HANDLE s)
{
	CK_RV rv = p11->C_CloseAllSessions(4711);

	(void)s;
	return rv == CKR_SLOT_ID_INVALID ? CKR_OK : rv;
}

/* How many signatures and objects one operation makes. */
static const struct operation {
	const char *name;
	CK_RV (*run)(CK_SESSION_HANDLE s);
	uint64_t signatures, objects;
} operations[] = {
	{ "sign", sign, 1, 0 },
	{ "sign in parts", sign_in_parts, 1, 0 },
	{ "abandon a signature", abandon_a_signature, 0, 0 },
	{ "verify", verify, 0, 0 },
	{ "verify in parts", verify_in_parts, 0, 0 },
	{ "encrypt and decrypt", encrypt_and_decrypt, 0, 0 },
	{ "encrypt and decrypt in parts", encrypt_and_decrypt_in_parts, 0, 0 },
	{ "digest", digest, 0, 0 },
	{ "digest in parts", digest_in_parts, 0, 0 },
	{ "digest a key", digest_a_key, 0, 0 },
	{ "sign and recover", sign_and_recover, 1, 0 },
	{ "digest and cipher", digest_and_cipher, 0, 0 },
	{ "sign and encrypt", sign_and_encrypt, 1, 0 },
	{ "decrypt and verify", decrypt_and_verify, 0, 0 },
	{ "save and restore", save_and_restore, 0, 0 },
	{ "random bytes", random_bytes, 0, 0 },
	{ "create and change", create_and_change, 0, 1 },
	{ "copy", copy, 0, 2 },
	{ "read attributes", read_attributes, 0, 0 },
	{ "generate", generate, 0, 1 },
	{ "generate pair", generate_pair, 0, 2 },
	{ "derive", derive, 0, 3 },
	{ "wrap and unwrap", wrap_and_unwrap, 0, 2 },
	{ "ask about the token", ask_about_the_token, 0, 0 },
	{ "log out and in", log_out_and_in, 0, 0 },
	{ "log in", log_in, 0, 0 },
	{ "change the PIN", change_pin, 0, 0 },
	{ "give a PIN", give_pin, 0, 0 },
	{ "close all sessions", close_all_sessions, 0, 0 },
};

static CK_RV run(const struct operation *op)
{
	CK_SESSION_HANDLE s;
	CK_RV rv = p11->C_OpenSession(slot, RW, NULL, NULL, &s);

	if (rv != CKR_OK)
		return rv;
	rv = op->run(s);
	p11->C_CloseSession(s);
	return rv;
}

/* --- the axes ---------------------------------------------------------------- */

enum { BEFORE = 1, AFTER = 2, BOTH = 3 };
static const struct {
	const char *name;
	unsigned when;
} functions[] = {
	{ "C_GetInfo", BOTH },
	{ "C_GetSlotList", BOTH },
	{ "C_GetSlotInfo", BOTH },
	{ "C_GetTokenInfo", BOTH },
	{ "C_GetMechanismList", BOTH },
	{ "C_GetMechanismInfo", BOTH },
	{ "C_OpenSession", BEFORE },
	{ "C_CloseSession", AFTER },
	{ "C_CloseAllSessions", BOTH },
	{ "C_InitPIN", BOTH },
	{ "C_SetPIN", BOTH },
	{ "C_GetOperationState", BOTH },
	{ "C_SetOperationState", BOTH },
	{ "C_GetSessionInfo", BOTH },
	{ "C_Login", BOTH },
	{ "C_Logout", BOTH },
	{ "C_CreateObject", BOTH },
	{ "C_CopyObject", BOTH },
	{ "C_DestroyObject", BOTH },
	{ "C_GetObjectSize", BOTH },
	{ "C_GetAttributeValue", BOTH },
	{ "C_SetAttributeValue", BOTH },
	{ "C_FindObjectsInit", BOTH },
	{ "C_FindObjects", BOTH },
	{ "C_FindObjectsFinal", BOTH },
	{ "C_EncryptInit", BOTH },
	{ "C_Encrypt", BOTH },
	{ "C_EncryptUpdate", BOTH },
	{ "C_EncryptFinal", BOTH },
	{ "C_DecryptInit", BOTH },
	{ "C_Decrypt", BOTH },
	{ "C_DecryptUpdate", BOTH },
	{ "C_DecryptFinal", BOTH },
	{ "C_DigestInit", BOTH },
	{ "C_Digest", BOTH },
	{ "C_DigestUpdate", BOTH },
	{ "C_DigestKey", BOTH },
	{ "C_DigestFinal", BOTH },
	{ "C_SignInit", BOTH },
	{ "C_Sign", BOTH },
	{ "C_SignUpdate", BOTH },
	{ "C_SignFinal", BOTH },
	{ "C_SignRecoverInit", BOTH },
	{ "C_SignRecover", BOTH },
	{ "C_VerifyInit", BOTH },
	{ "C_Verify", BOTH },
	{ "C_VerifyUpdate", BOTH },
	{ "C_VerifyFinal", BOTH },
	{ "C_VerifyRecoverInit", BOTH },
	{ "C_VerifyRecover", BOTH },
	{ "C_DigestEncryptUpdate", BOTH },
	{ "C_DecryptDigestUpdate", BOTH },
	{ "C_SignEncryptUpdate", BOTH },
	{ "C_DecryptVerifyUpdate", BOTH },
	{ "C_GenerateKey", BOTH },
	{ "C_GenerateKeyPair", BOTH },
	{ "C_WrapKey", BOTH },
	{ "C_UnwrapKey", BOTH },
	{ "C_DeriveKey", BOTH },
	{ "C_SeedRandom", BOTH },
	{ "C_GenerateRandom", BOTH },
};

/* What goes on when the failure comes. */
enum moment { FIRST, LATER, LOGIN, RECOVERY, AUTOMATIC };
static const char *const moments[] = { "first", "later", "at login", "in recovery",
				       "at an automatic login" };

/* More than one of the classes in which codes differ most. */
static const CK_RV more_codes[] = { CKR_FUNCTION_FAILED,  CKR_SESSION_CLOSED,
				    CKR_DEVICE_REMOVED,   CKR_OPERATION_NOT_INITIALIZED,
				    CKR_BUFFER_TOO_SMALL, 0x80000042 };
static CK_RV codes[256];
static size_t code_count;

static void choose_codes(bool is_full)
{
	bool has_class[HP_RV_CLASS_COUNT] = { [HP_RV_OK] = true };
	const struct hp_rv_info *info;

	code_count = 0;
	for (size_t i = 0; (info = hp_rv_at(i)) != NULL; i++) {
		if (info->rv == CKR_OK || (has_class[info->class] && !is_full))
			continue;
		has_class[info->class] = true;
		codes[code_count++] = info->rv;
	}
	for (size_t i = 0; i < HP_ARRAY_LEN(more_codes); i++)
		codes[code_count++] = more_codes[i];
}

struct fault {
	const char *function;
	CK_RV rv;
	enum moment moment;
	bool after;
	char what[160];
};

/* --- one case ---------------------------------------------------------------- */

static uint64_t nth_call(const struct fault *fault)
{
	return fault->moment == LATER ? 3 : 1;
}

static void arm(const struct fault *fault)
{
	const struct mock_failure failure = { .function = fault->function,
					      .rv = fault->rv,
					      .first = nth_call(fault),
					      .after = fault->after };

	/* Signatures are counted while anything is armed. */
	mock->latency("C_WaitForSlotEvent", 1);
	if (fault->moment == LOGIN)
		mock->log_out();
	if (fault->moment == RECOVERY)
		mock->reboot(&(struct mock_reboot){ .move_slot = true });
	(mock->fail)(&failure);
}

static bool is_signing(const struct fault *fault)
{
	return strcmp(fault->function, "C_Sign") == 0 ||
	       strcmp(fault->function, "C_SignFinal") == 0 ||
	       strcmp(fault->function, "C_SignRecover") == 0;
}

/* These answers to C_Sign prove that nothing ran; here they lie. */
static bool is_false_proof(const struct fault *fault)
{
	return fault->after && is_signing(fault) &&
	       (fault->rv == CKR_USER_NOT_LOGGED_IN ||
		fault->rv == CKR_KEY_HANDLE_INVALID ||
		fault->rv == CKR_OPERATION_NOT_INITIALIZED);
}

static struct mock_counters counters(void)
{
	struct mock_counters c;

	mock->counters(&c);
	return c;
}

static void run_once(const struct operation *op, const struct fault *fault)
{
	struct mock_counters before = counters();
	CK_RV rv = run(op);
	struct mock_counters after = counters();

	if (after.signatures - before.signatures > op->signatures &&
	    !is_false_proof(fault))
		fail_msg("%s: %s: signed twice (0x%lx)", fault->what, op->name, rv);
	/* To be busy is a refusal, for which another session is asked; here it lies. */
	if (after.objects_created - before.objects_created > op->objects &&
	    !(fault->after && fault->rv == CKR_OPERATION_ACTIVE))
		fail_msg("%s: %s: made twice (0x%lx)", fault->what, op->name, rv);
}

/* A module that somebody else has begun is not administered. */
static bool is_shared;

static bool is_refused(const struct operation *op)
{
	return is_shared && (op->run == change_pin || op->run == give_pin);
}

/* Whoever is logged in. */
static void log_in_again(CK_SESSION_HANDLE s)
{
	if (module_login(s, CKU_USER, FIXTURE_USER_PIN) !=
	    CKR_USER_ANOTHER_ALREADY_LOGGED_IN)
		return;
	p11->C_Logout(s);
	log_in(s);
}

static void check_service(const struct fault *fault)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(operations); i++) {
		int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
		CK_RV rv;

		if (is_refused(&operations[i]))
			continue;
		log_in_again(anchor);
		while ((rv = run(&operations[i])) != CKR_OK)
			if (hp_now_ns() > until)
				fail_msg("%s: %s does not work again: 0x%lx", fault->what,
					 operations[i].name, rv);
	}
}

static void check_books(const struct fault *fault)
{
	char why[128] = "";

	module_end();
	if (counters().logins_failed != 0)
		fail_msg("%s: %u PIN tries wasted", fault->what,
			 (unsigned)counters().logins_failed);
	if (counters().sessions_peak > 3)
		fail_msg("%s: more sessions than max-sessions", fault->what);
	if (!mock->check_balance(why, sizeof(why)))
		fail_msg("%s: %s", fault->what, why);
}

/* The PIN of a pin-source that was refused is not tried again until somebody says so. */
static void release_latch(void)
{
	char state_dir[300];
	struct hp_latch_file *files = NULL;
	size_t count = 0;
	hsmpool_error err;

	snprintf(state_dir, sizeof(state_dir), "%s/state", fixture.dir);
	assert_ok(hp_latch_list(state_dir, &files, &count, &err), &err);
	for (size_t i = 0; i < count; i++)
		assert_ok(hp_latch_release(state_dir, files[i].name, &err), &err);
	free(files);
}

/* True: the fault was met. */
static bool run_case(struct fault *fault)
{
	char name[32];

	snprintf(fault->what, sizeof(fault->what), "%s answers %s %s, %s",
		 fault->function, hp_rv_name(fault->rv, name),
		 fault->after ? "having done it" : "undone", moments[fault->moment]);
	if (getenv("HSMPOOL_MATRIX_TELL"))
		print_message("%s\n", fault->what);
	mock->reset();
	mock->pin(FIXTURE_USER_PIN);
	mock->pin_tries(3);
	module_begin();
	slot = module_slot();
	anchor = objects_user();
	uint64_t before = mock->calls(fault->function);
	arm(fault);
	for (int round = 0; round < (fault->moment == LATER ? 3 : 1); round++)
		for (size_t i = 0; i < HP_ARRAY_LEN(operations); i++)
			run_once(&operations[i], fault);
	bool was_met = mock->calls(fault->function) - before >= nth_call(fault);
	mock->clear_failures();
	if (fault->moment == AUTOMATIC)
		release_latch();
	check_service(fault);
	check_books(fault);
	return was_met;
}

/* --- all of them ------------------------------------------------------------- */

static unsigned met[HP_ARRAY_LEN(functions)]; /* cases in which it was called */

static unsigned long sample_every(void)
{
	const char *every = getenv("HSMPOOL_MATRIX_EVERY");

	return every && *every ? strtoul(every, NULL, 10) : 29;
}

static void every_fault_at_a(enum moment moment)
{
	unsigned long every = sample_every(), number = 0;

	choose_codes(every == 1);
	for (size_t f = 0; f < HP_ARRAY_LEN(functions); f++)
		for (size_t c = 0; c < code_count; c++)
			for (unsigned when = BEFORE; when <= AFTER; when++) {
				struct fault fault = { functions[f].name, codes[c],
						       moment, when == AFTER, "" };
				if (!(functions[f].when & when))
					continue;
				if (number++ % every == moment % every)
					met[f] += run_case(&fault);
			}
}

static void a_first_call_that_fails_leaves_everything_whole(void **state)
{
	(void)state;
	every_fault_at_a(FIRST);
}

static void a_later_call_that_fails_leaves_everything_whole(void **state)
{
	(void)state;
	every_fault_at_a(LATER);
}

static void a_call_that_fails_around_a_login_leaves_everything_whole(void **state)
{
	(void)state;
	every_fault_at_a(LOGIN);
}

static void a_call_that_fails_in_recovery_leaves_everything_whole(void **state)
{
	(void)state;
	every_fault_at_a(RECOVERY);
}

static void a_call_that_fails_with_automatic_login_leaves_everything_whole(void **state)
{
	(void)state;
	every_fault_at_a(AUTOMATIC);
}

/* --- making a token, beginning, ending ----------------------------------------- */

static void arm_plainly(struct fault *fault)
{
	char name[32];

	snprintf(fault->what, sizeof(fault->what), "%s answers %s %s", fault->function,
		 hp_rv_name(fault->rv, name), fault->after ? "having done it" : "undone");
	if (getenv("HSMPOOL_MATRIX_TELL"))
		print_message("%s\n", fault->what);
	mock->reset();
	mock->pin(FIXTURE_USER_PIN);
	(mock->fail)(&(struct mock_failure){
		.function = fault->function, .rv = fault->rv, .after = fault->after });
}

static void expect(const struct fault *fault, const char *what, CK_RV rv)
{
	if (rv != CKR_OK)
		fail_msg("%s: %s answers 0x%lx", fault->what, what, rv);
}

static void every_plain_fault(const char *function, void (*run_plain)(struct fault *))
{
	choose_codes(sample_every() == 1);
	for (size_t c = 0; c < code_count; c++)
		for (unsigned after = 0; after < 2; after++) {
			struct fault fault = { function, codes[c], FIRST, after, "" };
			run_plain(&fault);
		}
}

/* One begin and one end under the fault, then all again without. */
static void begin_and_end(struct fault *fault)
{
	CK_FUNCTION_LIST *vendor = module_load_other(fixture.module);

	arm_plainly(fault);
	if (p11->C_Initialize(NULL) == CKR_OK)
		p11->C_Finalize(NULL);
	mock->clear_failures();
	expect(fault, "C_Initialize", p11->C_Initialize(NULL));
	slot = module_slot();
	anchor = objects_user();
	is_shared = true; /* the fault may have left it begun */
	check_service(fault);
	is_shared = false;
	check_books(fault);
	vendor->C_Finalize(NULL);
}

static void a_module_that_fails_to_begin_can_be_begun_again(void **state)
{
	(void)state;
	every_plain_fault("C_Initialize", begin_and_end);
}

static void a_module_that_fails_to_end_can_be_begun_again(void **state)
{
	(void)state;
	every_plain_fault("C_Finalize", begin_and_end);
}

static CK_RV make_token(void)
{
	CK_UTF8CHAR label[] = "mock                            ";

	return p11->C_InitToken(slot, bytes(FIXTURE_SO_PIN), strlen(FIXTURE_SO_PIN),
				label);
}

static void make_token_twice(struct fault *fault)
{
	arm_plainly(fault);
	module_begin();
	slot = module_slot();
	make_token();
	mock->clear_failures();
	expect(fault, "C_InitToken", make_token());
	expect(fault, "digest", run(&(struct operation){ "digest", digest, 0, 0 }));
	check_books(fault);
}

/* The last: it unmakes the keys. */
static void a_token_that_failed_to_be_made_can_be_made_again(void **state)
{
	(void)state;
	every_plain_fault("C_InitToken", make_token_twice);
}

static void the_functions_of_the_table_were_met(void **state)
{
	/* Some are called only now and then: a sample may miss those. */
	unsigned allowed = sample_every() > 1 ? HP_ARRAY_LEN(functions) / 4 : 0;
	unsigned missed = 0;

	(void)state;
	for (size_t f = 0; f < HP_ARRAY_LEN(functions); f++)
		if (met[f] == 0 && ++missed > allowed)
			fail_msg("%s was never called, nor %u others", functions[f].name,
				 missed - 1);
}

static void configure(bool is_automatic)
{
	char lines[400];

	snprintf(lines, sizeof(lines), "max-sessions = 3\nborrow-timeout = 200ms\n%s%s",
		 is_automatic ? "pin-source = file:" : "",
		 is_automatic ? fixture.pin_file : "");
	module_configure(&fixture, lines,
			 is_automatic ? "login = automatic\nadmin = yes" : "admin = yes");
}

static int set_up_automatic(void **state)
{
	(void)state;
	fixture_mock(&fixture);
	mock = fixture_mock_control();
	configure(true);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	fixture_mock(&fixture);
	mock = fixture_mock_control();
	configure(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mock->reset();
	p11->C_Finalize(NULL); /* a test that failed has not */
	fixture_remove(&fixture);
	return 0;
}

#define MATRIX_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MATRIX_TEST(a_first_call_that_fails_leaves_everything_whole),
		MATRIX_TEST(a_later_call_that_fails_leaves_everything_whole),
		MATRIX_TEST(a_call_that_fails_around_a_login_leaves_everything_whole),
		MATRIX_TEST(a_call_that_fails_in_recovery_leaves_everything_whole),
		cmocka_unit_test_setup_teardown(
			a_call_that_fails_with_automatic_login_leaves_everything_whole,
			set_up_automatic, tear_down),
		cmocka_unit_test(the_functions_of_the_table_were_met),
		MATRIX_TEST(a_module_that_fails_to_begin_can_be_begun_again),
		MATRIX_TEST(a_module_that_fails_to_end_can_be_begun_again),
		MATRIX_TEST(a_token_that_failed_to_be_made_can_be_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
