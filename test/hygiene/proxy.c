/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hsmpool-pkcs11.so leaves in the memory of the program that loaded it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "hygiene/canary.h"
#include "hygiene/child.h"
#include "hygiene/parent.h"
#include "support/fixture.h"

#define RW (CKF_SERIAL_SESSION | CKF_RW_SESSION)

/* --- the ground of scenarios ---------------------------------------------------- */

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE aes, hmac, rsa, rsa_public;

static void expect(CK_RV rv, CK_RV expected, const char *what)
{
	char text[40];
	if (rv == expected)
		return;
	snprintf(text, sizeof(text), "0x%lx, not 0x%lx", rv, expected);
	child_die(what, text);
}
#define OK(call)        expect((call), CKR_OK, #call)
#define GIVES(rv, call) expect((call), (rv), #call)

static void load(void)
{
	char path[512];
	CK_C_GetFunctionList get = NULL;
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!dl)
		child_die("the module", dlerror());
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	OK(get(&p11));
}

static CK_SESSION_HANDLE open_session(void)
{
	CK_SESSION_HANDLE made = 0;
	OK(p11->C_OpenSession(slot, RW, NULL, NULL, &made));
	return made;
}

static void begin(void)
{
	CK_ULONG count = 1;
	load();
	OK(p11->C_Initialize(NULL));
	OK(p11->C_GetSlotList(CK_TRUE, &slot, &count));
	session = open_session();
}

static CK_OBJECT_HANDLE find(CK_OBJECT_CLASS class, const char *label)
{
	CK_OBJECT_HANDLE found = 0;
	CK_ULONG count = 0;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	OK(p11->C_FindObjectsInit(session, template, 2));
	OK(p11->C_FindObjects(session, &found, 1, &count));
	OK(p11->C_FindObjectsFinal(session));
	return found;
}

static void log_in(void)
{
	OK(p11->C_Login(session, CKU_USER, child_canary("pin", CANARY_LEN), CANARY_LEN));
}

static void begin_with_keys(void)
{
	begin();
	log_in();
	aes = find(CKO_SECRET_KEY, "aes");
	hmac = find(CKO_SECRET_KEY, "hmac");
	rsa = find(CKO_PRIVATE_KEY, "rsa");
	rsa_public = find(CKO_PUBLIC_KEY, "rsa");
}

static void end(void)
{
	OK(p11->C_Finalize(NULL));
	child_stop("after C_Finalize", false);
}

/* --- mechanisms ----------------------------------------------------------------- */

static CK_BYTE iv[16] = { 1, 2, 3 }; /* all zero: the token would make one */
static CK_GCM_PARAMS gcm_params = {
	.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128
};
static CK_MECHANISM gcm = { CKM_AES_GCM, &gcm_params, sizeof(gcm_params) };
static CK_MECHANISM cbc = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
static CK_MECHANISM pkcs1 = { CKM_RSA_PKCS, NULL, 0 };
static CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
static CK_MECHANISM hmac_sha256 = { CKM_SHA256_HMAC, NULL, 0 };
static CK_MECHANISM rsa_sha256 = { CKM_SHA256_RSA_PKCS, NULL, 0 };
static CK_MECHANISM wrap = { CKM_AES_KEY_WRAP, NULL, 0 };

/* --- PINs ----------------------------------------------------------------------- */

static void logs_in_and_out(void)
{
	begin();
	log_in();
	child_stop("logged in", true);
	OK(p11->C_Logout(session));
	child_stop("after C_Logout", false);
	GIVES(CKR_PIN_INCORRECT,
	      p11->C_Login(session, CKU_USER, child_canary("pin-wrong", 16), 16));
	child_stop("after a wrong PIN", false);
	log_in();
	OK(p11->C_CloseAllSessions(slot));
	child_stop("after the last session", false);
	session = open_session();
	log_in();
	end();
}

static void changes_its_pin(void)
{
	begin();
	log_in();
	OK(p11->C_SetPIN(session, child_canary("pin", 16), 16,
			 child_canary("pin-new", 16), 16));
	child_stop("after C_SetPIN", true);
	GIVES(CKR_PIN_INCORRECT, p11->C_SetPIN(session, child_canary("pin", 16), 16,
					       child_canary("pin-newer", 16), 16));
	OK(p11->C_Logout(session));
	child_stop("after C_Logout", false);
	end();
}

/* The login is lost, and made again from what is kept. */
static void logs_in_again(void)
{
	CK_BYTE random[8];
	begin_with_keys();
	fixture_mock_control()->reboot(NULL);
	OK(p11->C_GenerateRandom(session, random, sizeof(random)));
	OK(p11->C_SignInit(session, &rsa_sha256, rsa));
	child_stop("after a loss", true);
	end();
}

/* --- operations in one part ----------------------------------------------------- */

static void seal_and_open(CK_MECHANISM *m, CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE from,
			  const char *name, CK_ULONG len)
{
	CK_BYTE *sealed = child_room(len + 600), *plain = child_room(len + 600);
	CK_ULONG sealed_len = 0, plain_len = 1;
	CK_BYTE *text = child_canary(name, len);
	OK(p11->C_EncryptInit(session, m, to));
	OK(p11->C_Encrypt(session, text, len, NULL, &sealed_len));
	sealed_len = len + 600;
	OK(p11->C_Encrypt(session, text, len, sealed, &sealed_len));
	OK(p11->C_DecryptInit(session, m, from));
	GIVES(CKR_BUFFER_TOO_SMALL,
	      p11->C_Decrypt(session, sealed, sealed_len, plain, &plain_len));
	plain_len = len + 600;
	OK(p11->C_Decrypt(session, sealed, sealed_len, plain, &plain_len));
	if (plain_len != len)
		child_die(name, "has another length");
}

static void fail_to_open(const char *name, CK_ULONG len)
{
	CK_BYTE *sealed = child_room(len + 600), *plain = child_room(len + 600);
	CK_ULONG sealed_len = len + 600, plain_len = len + 600;
	OK(p11->C_EncryptInit(session, &gcm, aes));
	OK(p11->C_Encrypt(session, child_canary(name, len), len, sealed, &sealed_len));
	sealed[sealed_len - 1] ^= 1;
	OK(p11->C_DecryptInit(session, &gcm, aes));
	GIVES(CKR_ENCRYPTED_DATA_INVALID,
	      p11->C_Decrypt(session, sealed, sealed_len, plain, &plain_len));
}

static void sign_and_verify(CK_MECHANISM *m, CK_OBJECT_HANDLE with, CK_OBJECT_HANDLE by,
			    const char *name, CK_ULONG len)
{
	CK_BYTE *text = child_canary(name, len), *signature = child_room(600);
	CK_ULONG signature_len = 600;
	OK(p11->C_SignInit(session, m, with));
	OK(p11->C_Sign(session, text, len, signature, &signature_len));
	OK(p11->C_VerifyInit(session, m, by));
	OK(p11->C_Verify(session, text, len, signature, signature_len));
}

static void recover(const char *name, CK_ULONG len)
{
	CK_BYTE *signature = child_room(600), *plain = child_room(600);
	CK_ULONG signature_len = 600, plain_len = 600;
	OK(p11->C_SignRecoverInit(session, &pkcs1, rsa));
	OK(p11->C_SignRecover(session, child_canary(name, len), len, signature,
			      &signature_len));
	OK(p11->C_VerifyRecoverInit(session, &pkcs1, rsa_public));
	OK(p11->C_VerifyRecover(session, signature, signature_len, plain, &plain_len));
}

static void digest(const char *name, CK_ULONG len)
{
	CK_BYTE *made = child_room(64);
	CK_ULONG made_len = 64;
	OK(p11->C_DigestInit(session, &sha256));
	OK(p11->C_Digest(session, child_canary(name, len), len, made, &made_len));
}

static void operates_at_once(void)
{
	begin_with_keys();
	seal_and_open(&gcm, aes, aes, "gcm", 5000);
	seal_and_open(&gcm, aes, aes, "gcm-short", 40);
	seal_and_open(&cbc, aes, aes, "cbc", 5001);
	seal_and_open(&pkcs1, rsa_public, rsa, "rsa", 100);
	fail_to_open("tampered", 5000);
	sign_and_verify(&rsa_sha256, rsa, rsa_public, "signed", 5000);
	sign_and_verify(&hmac_sha256, hmac, hmac, "authenticated", 5000);
	recover("recovered", 90);
	digest("digested", 5000);
	child_stop("after operations", true);
	end();
}

/* --- operations in parts, on one real session ----------------------------------- */

#define PARTS 8
#define PART  ((CK_ULONG)700)

/* Somebody else uses the session: what was begun is detached. */
static void take_it_away(void)
{
	CK_SESSION_HANDLE other = open_session();
	CK_BYTE made[32];
	CK_ULONG len = sizeof(made);
	OK(p11->C_DigestInit(other, &sha256));
	OK(p11->C_DigestUpdate(other, iv, sizeof(iv)));
	OK(p11->C_DigestFinal(other, made, &len));
	OK(p11->C_CloseSession(other));
}

struct parts {
	CK_BYTE *in, *out;
	CK_ULONG in_len, out_len, cap;
};

typedef CK_RV (*update_fn)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);
typedef CK_RV (*take_fn)(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG);

static void update(struct parts *p, update_fn give, bool is_disturbed)
{
	for (CK_ULONG at = 0; at < p->in_len; at += PART) {
		CK_ULONG len = p->in_len - at < PART ? p->in_len - at : PART;
		CK_ULONG got = p->cap - p->out_len;
		OK(give(session, p->in + at, len, p->out + p->out_len, &got));
		p->out_len += got;
		if (is_disturbed)
			take_it_away();
	}
}

static struct parts parts_of(CK_BYTE *in, CK_ULONG len)
{
	return (struct parts){ in, child_room(len + 2000), len, 0, len + 2000 };
}

static void cipher_in_parts(const char *name, CK_MECHANISM *m, bool is_disturbed)
{
	struct parts p = parts_of(child_canary(name, PARTS * PART), PARTS * PART);
	CK_ULONG last = p.cap;
	OK(p11->C_EncryptInit(session, m, aes));
	update(&p, p11->C_EncryptUpdate, is_disturbed);
	last = p.cap - p.out_len;
	OK(p11->C_EncryptFinal(session, p.out + p.out_len, &last));
	struct parts back = parts_of(p.out, p.out_len + last);
	OK(p11->C_DecryptInit(session, m, aes));
	update(&back, p11->C_DecryptUpdate, is_disturbed);
	last = back.cap - back.out_len;
	OK(p11->C_DecryptFinal(session, back.out + back.out_len, &last));
	if (back.out_len + last != PARTS * PART)
		child_die(name, "has another length");
}

static void give_parts(const char *name, take_fn give, bool is_disturbed)
{
	CK_BYTE *text = child_canary(name, PARTS * PART);
	for (CK_ULONG at = 0; at < PARTS * PART; at += PART) {
		OK(give(session, text + at, PART));
		if (is_disturbed)
			take_it_away();
	}
}

static void sign_in_parts(const char *name, bool is_disturbed)
{
	CK_BYTE *signature = child_room(600);
	CK_ULONG len = 600;
	OK(p11->C_SignInit(session, &rsa_sha256, rsa));
	give_parts(name, p11->C_SignUpdate, is_disturbed);
	OK(p11->C_SignFinal(session, signature, &len));
	OK(p11->C_VerifyInit(session, &rsa_sha256, rsa_public));
	give_parts(name, p11->C_VerifyUpdate, is_disturbed);
	OK(p11->C_VerifyFinal(session, signature, len));
}

static void give_up(const char *name, bool is_disturbed)
{
	CK_SESSION_HANDLE first = session;
	session = open_session();
	struct parts p = parts_of(child_canary(name, PARTS * PART), PARTS * PART);
	OK(p11->C_EncryptInit(session, &gcm, aes));
	update(&p, p11->C_EncryptUpdate, is_disturbed);
	OK(p11->C_CloseSession(session));
	session = first;
}

static void two_at_once(const char *name)
{
	struct parts p = parts_of(child_canary(name, PARTS * PART), PARTS * PART);
	CK_BYTE *made = child_room(64);
	CK_ULONG last, made_len = 64;
	OK(p11->C_DigestInit(session, &sha256));
	OK(p11->C_EncryptInit(session, &cbc, aes));
	update(&p, p11->C_DigestEncryptUpdate, false);
	last = p.cap - p.out_len;
	OK(p11->C_EncryptFinal(session, p.out + p.out_len, &last));
	OK(p11->C_DigestFinal(session, made, &made_len));
}

static void operates_in_parts(void)
{
	begin_with_keys();
	cipher_in_parts("in-parts", &gcm, false);
	cipher_in_parts("in-parts-cbc", &cbc, false);
	sign_in_parts("signed-in-parts", false);
	give_up("given-up", false);
	two_at_once("two-at-once");
	child_stop("after parts", true);
	end();
}

static void replays(void)
{
	begin_with_keys();
	cipher_in_parts("replayed", &gcm, true);
	cipher_in_parts("replayed-cbc", &cbc, true);
	sign_in_parts("signed-replayed", true);
	give_up("given-up-detached", true);
	child_stop("after replays", true);
	end();
}

static void is_carried_over_a_loss(void)
{
	begin_with_keys();
	struct parts p = parts_of(child_canary("lost", PARTS * PART), PARTS * PART);
	CK_ULONG last;
	OK(p11->C_EncryptInit(session, &gcm, aes));
	update(&p, p11->C_EncryptUpdate, false);
	fixture_mock_control()->reboot(NULL);
	p.out_len = 0;
	update(&p, p11->C_EncryptUpdate, false);
	last = p.cap - p.out_len;
	OK(p11->C_EncryptFinal(session, p.out + p.out_len, &last));
	child_stop("after a loss", true);
	end();
}

/* With a journal that is needed, and the PIN. */
static void dies_in_the_middle(void)
{
	begin_with_keys();
	struct parts p =
		parts_of(child_canary("in-a-journal", PARTS * PART), PARTS * PART);
	OK(p11->C_EncryptInit(session, &gcm, aes));
	update(&p, p11->C_EncryptUpdate, true);
	child_crash("in the middle");
}

/* --- objects -------------------------------------------------------------------- */

static CK_OBJECT_HANDLE create(const char *name, CK_BBOOL is_token)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_OBJECT_HANDLE made = 0;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &is_token, 1 },
		{ CKA_SENSITIVE, &no, 1 },
		{ CKA_EXTRACTABLE, &yes, 1 },
		{ CKA_LABEL, (void *)(uintptr_t)name, strlen(name) },
		{ CKA_VALUE, child_canary(name, 32), 32 },
	};
	OK(p11->C_CreateObject(session, template, HP_ARRAY_LEN(template), &made));
	return made;
}

static void look_at(CK_OBJECT_HANDLE object)
{
	CK_ATTRIBUTE value = { CKA_VALUE, child_room(64), 64 };
	OK(p11->C_GetAttributeValue(session, object, &value, 1));
	if (value.ulValueLen != 32)
		child_die("a key's value", "is not there");
}

static void wrap_and_unwrap(CK_OBJECT_HANDLE key)
{
	CK_BYTE *wrapped = child_room(100);
	CK_ULONG len = 100;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
	CK_OBJECT_HANDLE again = 0;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_SENSITIVE, &no, 1 },
		{ CKA_EXTRACTABLE, &yes, 1 },
	};
	OK(p11->C_WrapKey(session, &wrap, aes, key, wrapped, &len));
	OK(p11->C_UnwrapKey(session, &wrap, aes, wrapped, len, template, 4, &again));
	look_at(again);
	OK(p11->C_DestroyObject(session, again));
}

static void makes_objects(void)
{
	begin_with_keys();
	CK_OBJECT_HANDLE on_token = create("token-key", CK_TRUE);
	CK_OBJECT_HANDLE of_session = create("session-key", CK_FALSE);
	look_at(on_token);
	look_at(of_session);
	wrap_and_unwrap(on_token);
	seal_and_open(&gcm, of_session, of_session, "by-session-key", 100);
	OK(p11->C_DestroyObject(session, on_token));
	OK(p11->C_DestroyObject(session, of_session));
	create("left-to-its-session", CK_FALSE);
	OK(p11->C_CloseAllSessions(slot));
	child_stop("after objects", false);
	session = open_session();
	end();
}

/* --- tests ---------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "logs_in_and_out", logs_in_and_out },
	{ "changes_its_pin", changes_its_pin },
	{ "logs_in_again", logs_in_again },
	{ "operates_at_once", operates_at_once },
	{ "operates_in_parts", operates_in_parts },
	{ "replays", replays },
	{ "is_carried_over_a_loss", is_carried_over_a_loss },
	{ "dies_in_the_middle", dies_in_the_middle },
	{ "makes_objects", makes_objects },
};

static const struct hygiene_ground on_mock = { .lines = "[proxy]\nadmin = yes" };
static const struct hygiene_ground on_one_session = { .lines = "max-sessions = 1" };
static const struct hygiene_ground on_workers = {
	.lines = "max-sessions = 1\ncall-timeout = 20s\n[proxy]\nadmin = yes"
};

static void a_pin_is_forgotten_at_logout(void **state)
{
	(void)state;
	hygiene_check("logs_in_and_out", &on_mock);
	hygiene_check("logs_in_and_out", &on_workers);
	hygiene_check("changes_its_pin", &on_mock);
	hygiene_check("changes_its_pin", &on_workers);
	hygiene_check("logs_in_again", &on_mock);
}

static void nothing_is_left_of_an_operation(void **state)
{
	(void)state;
	hygiene_check("operates_at_once", &on_mock);
	hygiene_check("operates_at_once", &on_workers);
}

static void nothing_is_left_of_an_operation_in_parts(void **state)
{
	(void)state;
	hygiene_check("operates_in_parts", &on_mock);
	hygiene_check("operates_in_parts", &on_workers);
}

static void nothing_is_left_of_a_journal(void **state)
{
	(void)state;
	hygiene_check("replays", &on_one_session);
	hygiene_check("replays", &on_workers);
	hygiene_check("is_carried_over_a_loss", &on_mock);
}

static void nothing_is_left_of_an_object(void **state)
{
	(void)state;
	hygiene_check("makes_objects", &on_mock);
	hygiene_check("makes_objects", &on_workers);
}

static void a_core_dump_in_the_middle_has_no_secrets(void **state)
{
	(void)state;
	struct findings found = hygiene_run("dies_in_the_middle", &on_one_session);
	assert_int_equal(found.leaked, 0);
	assert_true(found.allowed > 1); /* the PIN and the journal */
	if (!found.has_core)
		skip();
}

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pin_is_forgotten_at_logout),
		cmocka_unit_test(nothing_is_left_of_an_operation),
		cmocka_unit_test(nothing_is_left_of_an_operation_in_parts),
		cmocka_unit_test(nothing_is_left_of_a_journal),
		cmocka_unit_test(nothing_is_left_of_an_object),
		cmocka_unit_test(a_core_dump_in_the_middle_has_no_secrets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
