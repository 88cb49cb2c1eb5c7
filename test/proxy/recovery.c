/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application that keeps its handles over a restart of the HSM, call by call: what
 * goes on unnoticed, what is done once at most, and what gives one exact error (rows S23,
 * L17, L20, L21).
 */
#include "objects_ground.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/time.h"

#define p11 module_load()

static CK_BYTE text[16] = "sixteen letters";

/* Who the application is, and what it holds: made before the restart. */
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE rsa, rsa_public, aes, wrapper, data;
static CK_SLOT_ID slot;

/* Each restart takes sessions, login, handles and the slot's number. */
static void restart(void)
{
	fixture_mock_control()->reboot(&(struct mock_reboot){
		.handles = MOCK_HANDLES_ALIASED, .move_slot = true });
}

/* --- one call of each kind ------------------------------------------------------------
 */

static CK_RV sign_with(CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_BYTE signature[512];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = p11->C_SignInit(session, mechanism, key);
	return rv ? rv : p11->C_Sign(session, text, sizeof(text), signature, &len);
}

static CK_RV sign(void)
{
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	return sign_with(&mechanism, rsa);
}

static CK_RV encrypt(void)
{
	CK_BYTE out[16];
	return objects_use_aes(session, aes, out);
}

static CK_RV digest(void)
{
	return module_digest(session);
}

static CK_RV search(void)
{
	return objects_find(session, "rsa", NULL) > 0 ? CKR_OK : CKR_GENERAL_ERROR;
}

static CK_RV read_attribute(void)
{
	char label[16];
	CK_RV rv = objects_label(session, data, label, sizeof(label));
	return rv == CKR_OK && strcmp(label, "data") != 0 ? CKR_GENERAL_ERROR : rv;
}

static CK_RV read_size(void)
{
	CK_ULONG size;
	return p11->C_GetObjectSize(session, data, &size);
}

static CK_RV change_attribute(void)
{
	CK_ATTRIBUTE change = { CKA_LABEL, (void *)(uintptr_t) "data", 4 };
	return p11->C_SetAttributeValue(session, data, &change, 1);
}

static CK_RV create(void)
{
	CK_OBJECT_HANDLE object;
	CK_RV rv = objects_data(session, "more", false, false, &object);
	return rv ? rv : p11->C_DestroyObject(session, object);
}

static CK_RV generate(void)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG len = 16;
	CK_ATTRIBUTE template = { CKA_VALUE_LEN, &len, sizeof(len) };
	CK_OBJECT_HANDLE key;
	return p11->C_GenerateKey(session, &mechanism, &template, 1, &key);
}

static CK_RV wrap(void)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP, NULL, 0 };
	CK_BYTE wrapped[64];
	CK_ULONG len = sizeof(wrapped);
	return p11->C_WrapKey(session, &mechanism, wrapper, wrapper, wrapped, &len);
}

static CK_RV random_bytes(void)
{
	CK_BYTE bytes[8];
	return p11->C_GenerateRandom(session, bytes, sizeof(bytes));
}

static CK_RV seed(void)
{
	return p11->C_SeedRandom(session, text, sizeof(text));
}

static CK_RV open_another(void)
{
	CK_SESSION_HANDLE other;
	CK_RV rv = p11->C_OpenSession(slot, RW, NULL, NULL, &other);
	return rv ? rv : p11->C_CloseSession(other);
}

static CK_RV session_info(void)
{
	CK_SESSION_INFO info;
	CK_RV rv = p11->C_GetSessionInfo(session, &info);
	bool is_same = info.state == CKS_RW_USER_FUNCTIONS && info.slotID == slot;
	return rv == CKR_OK && !is_same ? CKR_GENERAL_ERROR : rv;
}

static CK_RV slot_list(void)
{
	CK_SLOT_ID list[4];
	CK_ULONG count = 4;
	CK_RV rv = p11->C_GetSlotList(CK_TRUE, list, &count);
	return rv == CKR_OK && (count != 1 || list[0] != slot) ? CKR_GENERAL_ERROR : rv;
}

static CK_RV slot_info(void)
{
	CK_SLOT_INFO info;
	CK_RV rv = p11->C_GetSlotInfo(slot, &info);
	return rv == CKR_OK && !(info.flags & CKF_TOKEN_PRESENT) ? CKR_GENERAL_ERROR : rv;
}

static CK_RV token_info(void)
{
	CK_TOKEN_INFO info;
	CK_RV rv = p11->C_GetTokenInfo(slot, &info);
	bool is_same = memcmp(info.label, MOCK_TOKEN_LABEL " ", 5) == 0;
	return rv == CKR_OK && !is_same ? CKR_GENERAL_ERROR : rv;
}

static CK_RV mechanism_list(void)
{
	CK_ULONG count;
	return p11->C_GetMechanismList(slot, NULL, &count);
}

static CK_RV mechanism_info(void)
{
	CK_MECHANISM_INFO info;
	return p11->C_GetMechanismInfo(slot, CKM_SHA256, &info);
}

/* Logged in already, and it still is. */
static CK_RV log_in_again(void)
{
	CK_RV rv = module_login(session, CKU_USER, FIXTURE_USER_PIN);
	if (rv == CKR_OK)
		return CKR_GENERAL_ERROR;
	return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static CK_RV log_out_and_in(void)
{
	CK_RV rv = p11->C_Logout(session);
	if (rv == CKR_OK)
		rv = module_login(session, CKU_USER, FIXTURE_USER_PIN);
	rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	aes = objects_key(session, CKO_SECRET_KEY, "aes");
	wrapper = objects_key(session, CKO_SECRET_KEY, "wrapper");
	objects_find(session, "data", &data);
	return rv;
}

static CK_RV copy(void)
{
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template = { CKA_TOKEN, &no, 1 };
	CK_OBJECT_HANDLE object;
	return p11->C_CopyObject(session, data, &template, 1, &object);
}

static CK_RV verify(void)
{
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_BYTE signature[512];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = p11->C_SignInit(session, &mechanism, rsa);
	if (rv == CKR_OK)
		rv = p11->C_Sign(session, text, sizeof(text), signature, &len);
	if (rv == CKR_OK)
		rv = p11->C_VerifyInit(session, &mechanism, rsa_public);
	return rv ? rv : p11->C_Verify(session, text, sizeof(text), signature, len);
}

static CK_RV digest_in_parts(void)
{
	CK_MECHANISM mechanism = { CKM_SHA256, NULL, 0 };
	CK_BYTE out[32];
	CK_ULONG len = sizeof(out);
	CK_RV rv = p11->C_DigestInit(session, &mechanism);
	if (rv == CKR_OK)
		rv = p11->C_DigestUpdate(session, text, sizeof(text));
	return rv ? rv : p11->C_DigestFinal(session, out, &len);
}

static CK_RV sign_in_parts(void)
{
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_BYTE out[512];
	CK_ULONG len = sizeof(out);
	CK_RV rv = p11->C_SignInit(session, &mechanism, rsa);
	if (rv == CKR_OK)
		rv = p11->C_SignUpdate(session, text, sizeof(text));
	return rv ? rv : p11->C_SignFinal(session, out, &len);
}

static CK_RV sign_with_hmac(void)
{
	CK_MECHANISM mechanism = { CKM_SHA256_HMAC, NULL, 0 };
	return sign_with(&mechanism, objects_key(session, CKO_SECRET_KEY, "hmac"));
}

static CK_RV sign_at_random(void)
{
	CK_RSA_PKCS_PSS_PARAMS pss = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS_PSS, &pss, sizeof(pss) };
	return sign_with(&mechanism, rsa);
}

static const struct {
	const char *name;
	CK_RV (*call)(void);
} calls[] = {
	{ "sign", sign },
	{ "sign in parts", sign_in_parts },
	{ "sign at random", sign_at_random },
	{ "verify", verify },
	{ "digest in parts", digest_in_parts },
	{ "copy", copy },
	{ "encrypt", encrypt },
	{ "digest", digest },
	{ "search", search },
	{ "read attribute", read_attribute },
	{ "read size", read_size },
	{ "change attribute", change_attribute },
	{ "create", create },
	{ "generate", generate },
	{ "wrap", wrap },
	{ "random", random_bytes },
	{ "seed", seed },
	{ "open another", open_another },
	{ "session info", session_info },
	{ "slot list", slot_list },
	{ "slot info", slot_info },
	{ "token info", token_info },
	{ "mechanism list", mechanism_list },
	{ "mechanism info", mechanism_info },
	{ "log in again", log_in_again },
	{ "log out and in", log_out_and_in },
};

/* Whatever an application calls first after a restart, it does not notice. */
static void any_call_may_be_the_first_after_a_restart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		CK_RV rv = calls[i].call();
		if (rv == CKR_OK) {
			restart();
			rv = calls[i].call();
		}
		if (rv != CKR_OK)
			fail_msg("%s: 0x%lx", calls[i].name, rv);
		assert_rv(sign(), CKR_OK);
	}
}

/* A module that answers C_GetSessionInfo from memory (L7) hides the loss from a look. */
static void modules_that_hide_the_loss_cost_at_most_one_error(void **state)
{
	(void)state;
	fixture_mock_control()->local_session_info(true);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		assert_rv(sign(), CKR_OK);
		restart();
		CK_RV rv = calls[i].call();
		if (rv != CKR_OK && rv != CKR_DEVICE_ERROR)
			fail_msg("%s: 0x%lx", calls[i].name, rv);
		if (calls[i].call() != CKR_OK)
			fail_msg("%s does not work again", calls[i].name);
	}
}

/* --- what is made again, function by function ----------------------------------------
 */

/* The call is executed, and its answer lost on the way. */
static void lose_answer(const char *function, CK_RV rv)
{
	const struct mock_failure failure = { .function = function,
					      .rv = rv,
					      .after = true };
	fixture_mock_control()->clear_failures();
	(fixture_mock_control()->fail)(&failure);
}

static void expect_runs(const char *function, CK_RV (*call)(void), CK_RV answer,
			unsigned runs)
{
	lose_answer(function, CKR_SESSION_HANDLE_INVALID);
	uint64_t before = fixture_mock_control()->executed(function);
	CK_RV rv = call();
	uint64_t after = fixture_mock_control()->executed(function);
	if (rv != answer || after - before != runs)
		fail_msg("%s: 0x%lx after %u runs", function, rv,
			 (unsigned)(after - before));
	assert_rv(call(), CKR_OK);
}

/* L20 */
static void what_only_reads_or_computes_is_made_again(void **state)
{
	(void)state;
	lose_answer("C_GetAttributeValue", CKR_SESSION_HANDLE_INVALID);
	assert_rv(read_attribute(), CKR_OK); /* and what the object is was read again */
	expect_runs("C_GetObjectSize", read_size, CKR_OK, 2);
	expect_runs("C_GenerateRandom", random_bytes, CKR_OK, 2);
	expect_runs("C_SeedRandom", seed, CKR_OK, 2);
	expect_runs("C_WrapKey", wrap, CKR_OK, 2);
	lose_answer("C_FindObjectsInit", CKR_SESSION_HANDLE_INVALID);
	assert_rv(search(), CKR_OK); /* and handles were found again */
	expect_runs("C_Encrypt", encrypt, CKR_OK, 2);
	expect_runs("C_Digest", digest, CKR_OK, 2);
	expect_runs("C_DigestFinal", digest_in_parts, CKR_OK, 2);
	expect_runs("C_Verify", verify, CKR_OK, 2);
	expect_runs("C_SignInit", sign, CKR_OK, 2);
	expect_runs("C_SignUpdate", sign_in_parts, CKR_OK, 2);
}

/* L20 */
static void what_creates_or_changes_is_made_once(void **state)
{
	(void)state;
	expect_runs("C_CreateObject", create, CKR_DEVICE_ERROR, 1);
	expect_runs("C_CopyObject", copy, CKR_DEVICE_ERROR, 1);
	expect_runs("C_GenerateKey", generate, CKR_DEVICE_ERROR, 1);
	expect_runs("C_SetAttributeValue", change_attribute, CKR_DEVICE_ERROR, 1);
	expect_runs("C_DestroyObject", create, CKR_DEVICE_ERROR, 1);
}

static void without_sign_retry_a_signature_is_made_once(void **state)
{
	(void)state;
	expect_runs("C_Sign", sign, CKR_DEVICE_ERROR, 1);
	expect_runs("C_SignFinal", sign_in_parts, CKR_DEVICE_ERROR, 1);
}

static void with_sign_retry_deterministic_only_such_ones_are_made_again(void **state)
{
	(void)state;
	expect_runs("C_Sign", sign, CKR_OK, 2);
	expect_runs("C_SignFinal", sign_in_parts, CKR_OK, 2);
	expect_runs("C_Sign", sign_at_random, CKR_DEVICE_ERROR, 1);
}

static void with_sign_retry_yes_all_signatures_are_made_again(void **state)
{
	(void)state;
	expect_runs("C_Sign", sign, CKR_OK, 2);
	expect_runs("C_Sign", sign_at_random, CKR_OK, 2);
}

/* However often it is tried: the error is the end of it, and the next one may begin. */
static void an_operation_that_was_tried_in_vain_is_over(void **state)
{
	const struct mock_failure failure = { .function = "C_Sign",
					      .rv = CKR_DEVICE_ERROR,
					      .count = MOCK_FOREVER };
	(void)state;
	(fixture_mock_control()->fail)(&failure);
	assert_rv(sign(), CKR_DEVICE_ERROR);
	assert_rv(encrypt(), CKR_OK);
	assert_rv(sign(), CKR_DEVICE_ERROR);
	fixture_mock_control()->clear_failures();
	assert_rv(sign(), CKR_OK);
}

static void a_keys_own_sign_retry_counts_for_that_key_alone(void **state)
{
	(void)state;
	expect_runs("C_Sign", sign, CKR_OK, 2);
	expect_runs("C_SignFinal", sign_in_parts, CKR_OK, 2);
	expect_runs("C_Sign", sign_with_hmac, CKR_DEVICE_ERROR, 1);
}

static void of_two_that_name_a_key_the_most_careful_counts(void **state)
{
	(void)state;
	expect_runs("C_Sign", sign, CKR_DEVICE_ERROR, 1);
	expect_runs("C_Sign", sign_with_hmac, CKR_OK, 2);
}

/* These answers say that no signature was made, so it may be, whatever sign-retry says.
 */
static void a_signature_of_which_nothing_ran_is_made_after_all(void **state)
{
	static const CK_RV proofs[] = { CKR_KEY_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN };
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
		CK_BYTE signature[512];
		CK_ULONG len = sizeof(signature);
		fixture_mock_control()->logged_out_rv(proofs[i % 2]);
		assert_rv(p11->C_SignInit(session, &mechanism, rsa), CKR_OK);
		if (i >= 2)
			assert_rv(p11->C_SignUpdate(session, text, sizeof(text)), CKR_OK);
		fixture_mock_control()->log_out();
		assert_rv(
			i < 2 ? p11->C_Sign(session, text, sizeof(text), signature, &len)
			      : p11->C_SignFinal(session, signature, &len),
			CKR_OK);
	}
	fixture_mock_control()->log_out();
	assert_rv(encrypt(), CKR_OK);
}

/* L21: the first try has written over its own input. */
static void input_that_was_overwritten_is_put_back(void **state)
{
	CK_MECHANISM mechanism = { CKM_AES_ECB, NULL, 0 };
	CK_BYTE expected[16], in_place[16];
	CK_ULONG len = sizeof(expected);
	(void)state;
	assert_rv(p11->C_EncryptInit(session, &mechanism, aes), CKR_OK);
	assert_rv(p11->C_Encrypt(session, text, 16, expected, &len), CKR_OK);
	for (unsigned i = 0; i < 2; i++) {
		memcpy(in_place, text, 16);
		len = 16;
		lose_answer(i == 0 ? "C_Encrypt" : "C_EncryptUpdate", CKR_DEVICE_ERROR);
		assert_rv(p11->C_EncryptInit(session, &mechanism, aes), CKR_OK);
		assert_rv(i == 0 ? p11->C_Encrypt(session, in_place, 16, in_place, &len)
				 : p11->C_EncryptUpdate(session, in_place, 16, in_place,
							&len),
			  CKR_OK);
		assert_memory_equal(in_place, expected, 16);
	}
	len = 16;
	assert_rv(p11->C_EncryptFinal(session, in_place, &len), CKR_OK);
}

/* --- in the middle of something ------------------------------------------------------
 */

static void a_search_goes_on_over_a_restart(void **state)
{
	CK_OBJECT_HANDLE first[2], rest[64];
	CK_ULONG count, more;
	(void)state;
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_FindObjects(session, first, 2, &count), CKR_OK);
	assert_int_equal(count, 2);
	restart();
	assert_rv(p11->C_FindObjects(session, rest, 64, &more), CKR_OK);
	assert_true(more > 0);
	assert_rv(p11->C_FindObjectsFinal(session), CKR_OK);
}

/* A restart now and then, and the result is as if there had been none. */
static void operations_in_parts_go_on_over_restarts(void **state)
{
	CK_MECHANISM mechanism = { CKM_SHA256, NULL, 0 };
	CK_BYTE digest[32], same[32];
	CK_ULONG len = sizeof(digest);
	(void)state;
	assert_rv(p11->C_DigestInit(session, &mechanism), CKR_OK);
	assert_rv(p11->C_Digest(session, text, sizeof(text), digest, &len), CKR_OK);
	assert_rv(p11->C_DigestInit(session, &mechanism), CKR_OK);
	for (unsigned i = 0; i < sizeof(text); i++) {
		if (i % 4 == 0)
			restart();
		assert_rv(p11->C_DigestUpdate(session, &text[i], 1), CKR_OK);
	}
	restart();
	len = sizeof(same);
	assert_rv(p11->C_DigestFinal(session, same, &len), CKR_OK);
	assert_memory_equal(digest, same, sizeof(same));
}

/* S23: it hears of it from its own next call, whoever noticed the restart first. */
static void a_pinned_operation_that_is_lost_gives_one_error_of_its_own(void **state)
{
	CK_MECHANISM mechanism = { CKM_SHA256_RSA_PKCS, NULL, 0 };
	CK_BYTE much[128] = { 0 }, signature[512];
	CK_ULONG len = sizeof(signature);
	CK_SESSION_HANDLE other = module_session(RW);
	(void)state;
	assert_rv(p11->C_SignInit(session, &mechanism, rsa), CKR_OK);
	assert_rv(p11->C_SignUpdate(session, much, sizeof(much)), CKR_OK);
	restart();
	for (unsigned i = 0; i < 8; i++)
		assert_rv(module_digest(other), CKR_OK);
	assert_rv(p11->C_SignFinal(session, signature, &len), CKR_DEVICE_ERROR);
	assert_rv(p11->C_SignFinal(session, signature, &len),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(sign(), CKR_OK);
	assert_rv(p11->C_CloseSession(other), CKR_OK);
}

static void session_objects_are_gone_as_if_destroyed(void **state)
{
	CK_OBJECT_HANDLE key;
	CK_BYTE out[16];
	char label[16];
	(void)state;
	assert_rv(objects_aes(session, "mine", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_OK);
	restart();
	assert_rv(objects_use_aes(session, key, out), CKR_KEY_HANDLE_INVALID);
	assert_rv(objects_label(session, key, label, sizeof(label)),
		  CKR_OBJECT_HANDLE_INVALID);
	assert_rv(objects_aes(session, "mine", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_OK);
}

/* --- login and token ------------------------------------------------------------------
 */

/* The PIN was changed meanwhile: the remembered one is tried once, the application's own
 * as often as it gives it. */
static void an_own_login_reaches_the_token_whatever_was_refused(void **state)
{
	struct mock_counters before, after;
	(void)state;
	fixture_mock_control()->pin("another-pin");
	restart();
	fixture_mock_control()->counters(&before);
	assert_rv(module_login(session, CKU_USER, "another-pin"), CKR_OK);
	fixture_mock_control()->counters(&after);
	assert_int_equal(after.logins_tried - before.logins_tried, 2);
	rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	assert_rv(sign(), CKR_OK);
}

static void the_security_officer_is_logged_in_again_too(void **state)
{
	(void)state;
	assert_rv(p11->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_SO, MOCK_SO_PIN), CKR_OK);
	restart();
	assert_int_equal(module_state(session), CKS_RW_SO_FUNCTIONS);
	assert_rv(
		p11->C_InitPIN(session, (CK_BYTE *)MOCK_USER_PIN, strlen(MOCK_USER_PIN)),
		CKR_OK);
	assert_rv(p11->C_Logout(session), CKR_OK);
	assert_rv(module_login(session, CKU_USER, MOCK_USER_PIN), CKR_OK);
}

static void an_absence_shorter_than_the_deadline_is_waited_out(void **state)
{
	(void)state;
	fixture_mock_control()->token_absent(100 * 1000 * 1000);
	assert_rv(sign(), CKR_OK);
	assert_rv(read_attribute(), CKR_OK);
}

static void an_absence_longer_than_the_deadline_has_its_code(void **state)
{
	(void)state;
	fixture_mock_control()->token_absent(MOCK_FOREVER);
	assert_rv(sign(), CKR_TOKEN_NOT_PRESENT);
	assert_rv(create(), CKR_TOKEN_NOT_PRESENT);
	assert_rv(session_info(), CKR_OK);
	fixture_mock_control()->token_present();
	/* The pool looks for it again after a pause that it chooses; each call waits. */
	for (unsigned tries = 0; tries < 100 && sign() != CKR_OK; tries++)
		;
	assert_rv(sign(), CKR_OK);
	assert_rv(create(), CKR_OK);
}

/* It answers nothing any more until it is initialised again. */
static void a_module_that_died_is_started_again_unnoticed(void **state)
{
	(void)state;
	fixture_mock_control()->kill_module(CKR_CRYPTOKI_NOT_INITIALIZED);
	assert_rv(sign(), CKR_OK);
	assert_rv(read_attribute(), CKR_OK);
	assert_rv(create(), CKR_OK);
}

/* --- many at once --------------------------------------------------------------------
 */

#define THREADS 4
#define ROUNDS  12

static _Atomic unsigned done; /* calls, of all threads */
static _Atomic bool is_over;

/* What may be made again, over and over; the first error. */
static void *compute(void *argument)
{
	CK_SESSION_HANDLE own = *(CK_SESSION_HANDLE *)argument;
	CK_RV rv = CKR_OK;
	CK_BYTE first[16], out[16];
	rv = objects_use_aes(own, aes, first);
	while (rv == CKR_OK && !is_over) {
		rv = objects_use_aes(own, aes, out);
		if (rv == CKR_OK && memcmp(first, out, sizeof(out)) != 0)
			rv = CKR_GENERAL_ERROR;
		if (rv == CKR_OK)
			rv = module_digest(own);
		done++;
	}
	return (void *)rv;
}

static void threads_that_compute_see_no_error_over_many_restarts(void **state)
{
	pthread_t threads[THREADS];
	CK_SESSION_HANDLE sessions[THREADS];
	(void)state;
	is_over = false;
	for (unsigned i = 0; i < THREADS; i++) {
		sessions[i] = module_session(RW);
		pthread_create(&threads[i], NULL, compute, &sessions[i]);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned before = done;
		fixture_mock_control()->reboot(NULL);
		int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
		while (done < before + 20 * THREADS && hp_now_ns() < until)
			sched_yield();
	}
	is_over = true;
	for (unsigned i = 0; i < THREADS; i++) {
		void *rv;
		pthread_join(threads[i], &rv);
		assert_rv((CK_RV)rv, CKR_OK);
		assert_rv(p11->C_CloseSession(sessions[i]), CKR_OK);
	}
	assert_true(done >= ROUNDS * 20 * THREADS);
}

/* -------------------------------------------------------------------------------------
 */

static struct fixture fixture;

static int begin_with(void **state, const char *pool_lines, const char *proxy_lines)
{
	char lines[600];
	fixture_mock(&fixture);
	/* Not used unless login = automatic. */
	snprintf(lines, sizeof(lines),
		 "max-sessions = 3\nkeeper = no\npin-source = file:%s\n%s",
		 fixture.pin_file, pool_lines);
	module_configure(&fixture, lines, proxy_lines);
	module_begin();
	*state = &fixture;
	session = objects_user();
	slot = module_slot();
	rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	rsa_public = objects_key(session, CKO_PUBLIC_KEY, "rsa");
	aes = objects_key(session, CKO_SECRET_KEY, "aes");
	assert_rv(objects_data(session, "data", true, true, &data), CKR_OK);
	assert_rv(objects_aes(session, "wrapper", 1, true, true, &wrapper), CKR_OK);
	assert_rv(verify(), CKR_OK);
	assert_rv(encrypt(), CKR_OK);
	assert_rv(read_attribute(), CKR_OK);
	assert_rv(wrap(), CKR_OK);
	return 0;
}

static int begin(void **state)
{
	return begin_with(state, "", "admin = yes");
}

static int begin_automatic(void **state)
{
	return begin_with(state, "", "login = automatic");
}

static int begin_deterministic(void **state)
{
	return begin_with(state, "sign-retry = deterministic", NULL);
}

static int begin_yes(void **state)
{
	return begin_with(state, "sign-retry = yes", NULL);
}

static int begin_named(void **state)
{
	return begin_with(state, "sign-retry = no",
			  "[key ours]\nuri = pkcs11:object=rsa;type=private\n"
			  "sign-retry = yes\n"
			  "[key another]\nuri = pkcs11:object=else\nsign-retry = no");
}

static int begin_named_twice(void **state)
{
	return begin_with(state, "sign-retry = yes",
			  "[key ours]\nuri = pkcs11:object=rsa;type=private\n"
			  "sign-retry = no\n"
			  "[key again]\nuri = pkcs11:object=rsa\nsign-retry = yes");
}

static int begin_small(void **state)
{
	return begin_with(state, "", "journal-limit = 64B");
}

static int begin_impatient(void **state)
{
	return begin_with(state, "borrow-timeout = 100ms", NULL);
}

static void take_down(void)
{
	fixture_mock_control()->clear_failures();
	objects_find(session, "data", &data);
	p11->C_DestroyObject(session, data);
	objects_find(session, "wrapper", &wrapper);
	p11->C_DestroyObject(session, wrapper);
	module_end();
}

static int end(void **state)
{
	char why[200];
	(void)state;
	take_down();
	bool is_balanced = fixture_mock_control()->check_balance(why, sizeof(why));
	if (!is_balanced)
		print_error("%s\n", why);
	fixture_remove(&fixture);
	return is_balanced ? 0 : -1;
}

/* The restart ended the sessions of the dead module. */
static int end_restarted(void **state)
{
	(void)state;
	take_down();
	fixture_remove(&fixture);
	return 0;
}

#define on_mock(name)   cmocka_unit_test_setup_teardown(name, begin, end)
#define with(how, name) cmocka_unit_test_setup_teardown(name, begin_##how, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_mock(any_call_may_be_the_first_after_a_restart),
		with(automatic, any_call_may_be_the_first_after_a_restart),
		on_mock(modules_that_hide_the_loss_cost_at_most_one_error),
		on_mock(what_only_reads_or_computes_is_made_again),
		on_mock(what_creates_or_changes_is_made_once),
		on_mock(without_sign_retry_a_signature_is_made_once),
		with(deterministic,
		     with_sign_retry_deterministic_only_such_ones_are_made_again),
		with(yes, with_sign_retry_yes_all_signatures_are_made_again),
		with(yes, an_operation_that_was_tried_in_vain_is_over),
		with(named, a_keys_own_sign_retry_counts_for_that_key_alone),
		with(named_twice, of_two_that_name_a_key_the_most_careful_counts),
		on_mock(a_signature_of_which_nothing_ran_is_made_after_all),
		on_mock(input_that_was_overwritten_is_put_back),
		on_mock(a_search_goes_on_over_a_restart),
		on_mock(operations_in_parts_go_on_over_restarts),
		with(small, a_pinned_operation_that_is_lost_gives_one_error_of_its_own),
		on_mock(session_objects_are_gone_as_if_destroyed),
		on_mock(an_own_login_reaches_the_token_whatever_was_refused),
		on_mock(the_security_officer_is_logged_in_again_too),
		on_mock(an_absence_shorter_than_the_deadline_is_waited_out),
		with(impatient, an_absence_longer_than_the_deadline_has_its_code),
		cmocka_unit_test_setup_teardown(
			a_module_that_died_is_started_again_unnoticed, begin,
			end_restarted),
		on_mock(threads_that_compute_see_no_error_over_many_restarts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
