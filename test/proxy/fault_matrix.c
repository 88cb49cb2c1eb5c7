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
 * Left out: C_CloseSession that fails undone (that session stays open whoever asks), and
 * C_OpenSession that succeeds untold (that session is nobody's).
 */
#include "objects_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/time.h"
#include "p11/rv.h"

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

static CK_RV generate_pair(CK_SESSION_HANDLE s)
{
	static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
	CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	CK_ATTRIBUTE template = { CKA_EC_PARAMS, p256, sizeof(p256) };
	CK_OBJECT_HANDLE public, private;

	return p11->C_GenerateKeyPair(s, &mechanism, &template, 1, NULL, 0, &public,
				      &private);
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
	{ "random bytes", random_bytes, 0, 0 },
	{ "create and change", create_and_change, 0, 1 },
	{ "copy", copy, 0, 2 },
	{ "read attributes", read_attributes, 0, 0 },
	{ "generate", generate, 0, 1 },
	{ "generate pair", generate_pair, 0, 2 },
	{ "wrap and unwrap", wrap_and_unwrap, 0, 2 },
	{ "ask about the token", ask_about_the_token, 0, 0 },
	{ "log out and in", log_out_and_in, 0, 0 },
	{ "log in", log_in, 0, 0 },
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
	{ "C_GetSlotList", BOTH },
	{ "C_GetSlotInfo", BOTH },
	{ "C_GetTokenInfo", BOTH },
	{ "C_GetMechanismList", BOTH },
	{ "C_GetMechanismInfo", BOTH },
	{ "C_OpenSession", BEFORE },
	{ "C_CloseSession", AFTER },
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
	{ "C_DigestFinal", BOTH },
	{ "C_SignInit", BOTH },
	{ "C_Sign", BOTH },
	{ "C_SignUpdate", BOTH },
	{ "C_SignFinal", BOTH },
	{ "C_VerifyInit", BOTH },
	{ "C_Verify", BOTH },
	{ "C_VerifyUpdate", BOTH },
	{ "C_VerifyFinal", BOTH },
	{ "C_GenerateKey", BOTH },
	{ "C_GenerateKeyPair", BOTH },
	{ "C_WrapKey", BOTH },
	{ "C_UnwrapKey", BOTH },
	{ "C_SeedRandom", BOTH },
	{ "C_GenerateRandom", BOTH },
};

/* What goes on when the failure comes. */
enum moment { FIRST, LATER, LOGIN, RECOVERY };
static const char *const moments[] = { "first", "later", "at login", "in recovery" };

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

/* These answers to C_Sign prove that nothing ran; here they lie. */
static bool is_false_proof(const struct fault *fault)
{
	enum hp_rv_class class = hp_rv_class(NULL, fault->rv);

	return fault->after &&
	       (class == HP_RV_STALE_HANDLE || class == HP_RV_LOGIN_LOST ||
		fault->rv == CKR_OPERATION_NOT_INITIALIZED);
}

static struct mock_counters count(void)
{
	struct mock_counters c;

	mock->counters(&c);
	return c;
}

static void run_once(const struct operation *op, const struct fault *fault)
{
	struct mock_counters before = count();
	CK_RV rv = run(op);
	struct mock_counters after = count();

	if (after.signatures - before.signatures > op->signatures &&
	    !is_false_proof(fault))
		fail_msg("%s: %s: signed twice (0x%lx)", fault->what, op->name, rv);
	/* To be busy is a refusal, for which another session is asked; here it lies. */
	if (after.objects_created - before.objects_created > op->objects &&
	    !(fault->after && fault->rv == CKR_OPERATION_ACTIVE))
		fail_msg("%s: %s: made twice (0x%lx)", fault->what, op->name, rv);
}

static void check_service(const struct fault *fault)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(operations); i++) {
		int64_t until = hp_now_ns() + 10 * HP_SECOND;
		CK_RV rv;

		log_in(anchor);
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
	if (count().logins_failed != 0)
		fail_msg("%s: %u PIN tries wasted", fault->what,
			 (unsigned)count().logins_failed);
	if (count().sessions_peak > 3)
		fail_msg("%s: more sessions than max-sessions", fault->what);
	if (!mock->check_balance(why, sizeof(why)))
		fail_msg("%s: %s", fault->what, why);
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

static int set_up(void **state)
{
	(void)state;
	fixture_mock(&fixture);
	mock = fixture_mock_control();
	module_configure(&fixture, "max-sessions = 3\nborrow-timeout = 200ms", NULL);
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
		cmocka_unit_test(the_functions_of_the_table_were_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
