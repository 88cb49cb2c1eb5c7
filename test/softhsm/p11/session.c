/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One session: the book of what is active on it, and making it clean.
 */
#include "ground.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

static struct fixture fixture;
static struct ground ground;
static CK_OBJECT_HANDLE aes_key;
static CK_OBJECT_HANDLE rsa_public, rsa_private;
static CK_OBJECT_HANDLE ec_public, ec_private;

static CK_BYTE iv[16];
static CK_GCM_PARAMS gcm_params = { .pIv = iv, .ulIvLen = 12, .ulTagBits = 128 };
static CK_MECHANISM gcm = { CKM_AES_GCM, &gcm_params, sizeof(gcm_params) };
static CK_MECHANISM cbc = { CKM_AES_CBC, iv, sizeof(iv) };
static CK_MECHANISM cbc_pad = { CKM_AES_CBC_PAD, iv, sizeof(iv) };
static CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
static CK_MECHANISM rsa = { CKM_RSA_PKCS, NULL, 0 };
static CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
static const CK_BYTE message[32] = "thirty-two bytes of a message";

static struct hp_session *open_session(void)
{
	static struct hp_session s;
	ground_open_session(&ground, &s, 1, false);
	return &s;
}

/* The module agrees that nothing is active: any kind may begin (SoftHSM2 has one
 * operation of any kind per session). */
static void assert_clean_in_truth(struct hp_session *s)
{
	CK_BYTE digest[32];
	CK_ULONG len = sizeof(digest);
	assert_int_equal(s->active, 0);
	assert_false(s->is_unsure);
	assert_rv(hp_digest_init(s, &sha256), CKR_OK);
	assert_rv(hp_digest(s, message, sizeof(message), digest, &len), CKR_OK);
	assert_int_equal(s->active, 0);
}

/* S13, S14 */
static void an_operation_is_active_until_its_result_is_handed_out(void **state)
{
	struct hp_session *s = open_session();
	CK_BYTE signature[256];
	CK_ULONG len = 0;
	(void)state;
	assert_rv(hp_sign_init(s, &rsa, rsa_private), CKR_OK);
	assert_int_equal(s->active, HP_OP_SIGN);
	assert_rv(hp_sign(s, message, sizeof(message), NULL, &len), CKR_OK);
	assert_int_equal(len, sizeof(signature));
	assert_int_equal(s->active, HP_OP_SIGN);
	len = 10;
	assert_rv(hp_sign(s, message, sizeof(message), signature, &len),
		  CKR_BUFFER_TOO_SMALL);
	assert_int_equal(s->active, HP_OP_SIGN);
	len = sizeof(signature);
	assert_rv(hp_sign(s, message, sizeof(message), signature, &len), CKR_OK);
	assert_clean_in_truth(s);
	hp_session_close(s);
}

static void an_init_that_fails_begins_nothing(void **state)
{
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(hp_sign_init(s, &gcm, rsa_private), CKR_MECHANISM_INVALID);
	assert_clean_in_truth(s);
	hp_session_close(s);
}

static void a_wrong_signature_is_a_result_and_leaves_the_session_clean(void **state)
{
	struct hp_session *s = open_session();
	CK_BYTE signature[64] = { 1 };
	(void)state;
	assert_rv(hp_verify_init(s, &ecdsa, ec_public), CKR_OK);
	assert_rv(hp_verify(s, message, sizeof(message), signature, sizeof(signature)),
		  CKR_SIGNATURE_INVALID);
	assert_clean_in_truth(s);
	assert_rv(hp_verify_init(s, &ecdsa, ec_public), CKR_OK);
	assert_rv(hp_verify(s, message, sizeof(message), signature, 3),
		  CKR_SIGNATURE_LEN_RANGE);
	assert_clean_in_truth(s);
	hp_session_close(s);
}

/* SoftHSM2 keeps the operation active after this error: the book must not trust it. */
static void after_an_error_the_session_is_not_known_to_be_clean(void **state)
{
	struct hp_session *s = open_session();
	CK_BYTE out[256];
	CK_ULONG len = sizeof(out);
	(void)state;
	assert_rv(hp_encrypt_init(s, &rsa, rsa_public), CKR_OK);
	assert_rv(hp_encrypt_update(s, message, sizeof(message), out, &len),
		  CKR_FUNCTION_NOT_SUPPORTED);
	assert_int_equal(s->active, 0);
	assert_true(s->is_unsure);
	assert_false(hp_session_clean(s));
	assert_rv(hp_digest_init(s, &sha256), CKR_OPERATION_ACTIVE);
	hp_session_close(s);
	assert_false(s->is_unsure);
}

static void an_operation_that_the_book_does_not_have_makes_it_unsure(void **state)
{
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(s->module->fl->C_SignInit(s->handle, &rsa, rsa_private), CKR_OK);
	assert_rv(hp_encrypt_init(s, &gcm, aes_key), CKR_OPERATION_ACTIVE);
	assert_int_equal(s->active, 0);
	assert_false(hp_session_clean(s));
	hp_session_close(s);
}

static void cleaning_finishes_a_digest_an_encryption_and_a_search(void **state)
{
	struct hp_session *s = open_session();
	CK_BYTE out[64];
	CK_ULONG len = sizeof(out);
	(void)state;
	assert_true(hp_session_clean(s));

	assert_rv(hp_digest_init(s, &sha256), CKR_OK);
	assert_rv(hp_digest_update(s, message, sizeof(message)), CKR_OK);
	assert_int_equal(s->active, HP_OP_DIGEST);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);

	assert_rv(hp_encrypt_init(s, &gcm, aes_key), CKR_OK);
	assert_rv(hp_encrypt_update(s, message, sizeof(message), out, &len), CKR_OK);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);

	assert_rv(s->module->fl->C_FindObjectsInit(s->handle, NULL, 0), CKR_OK);
	s->active = HP_OP_FIND;
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);
	hp_session_close(s);
}

/* Its end is an error: there is no good tag, no whole block. */
static void cleaning_finishes_a_decryption_that_has_no_good_end(void **state)
{
	CK_MECHANISM *mechanisms[] = { &gcm, &cbc, &cbc_pad };
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(mechanisms); i++) {
		for (CK_ULONG input = 8; input <= sizeof(message); input += 8) {
			struct hp_session *s = open_session();
			CK_BYTE out[64];
			CK_ULONG len = sizeof(out);
			assert_rv(hp_decrypt_init(s, mechanisms[i], aes_key), CKR_OK);
			assert_rv(hp_decrypt_update(s, message, input, out, &len),
				  CKR_OK);
			assert_int_equal(s->active, HP_OP_DECRYPT);
			assert_true(hp_session_clean(s));
			assert_clean_in_truth(s);
			hp_session_close(s);
		}
	}
}

/* SoftHSM2's Final wants an impossible buffer here and does not end it. */
static void what_its_final_does_not_end_is_ended_in_one_part(void **state)
{
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(hp_decrypt_init(s, &cbc_pad, aes_key), CKR_OK);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);
	hp_session_close(s);
}

/* More held back than the buffer on the stack has room for. */
static void cleaning_finishes_an_operation_with_much_output(void **state)
{
	struct hp_session *s = open_session();
	const CK_ULONG size = 100000;
	HP_AUTO_FREE CK_BYTE *input = calloc(1, size);
	CK_ULONG len = size;
	(void)state;
	assert_non_null(input);
	assert_rv(hp_decrypt_init(s, &gcm, aes_key), CKR_OK);
	assert_rv(hp_decrypt_update(s, input, size, input, &len), CKR_OK);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);
	hp_session_close(s);
}

static void cleaning_ends_a_verification_with_a_signature_that_cannot_be(void **state)
{
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(hp_verify_init(s, &rsa, rsa_public), CKR_OK);
	assert_int_equal(s->active, HP_OP_VERIFY);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);
	assert_rv(hp_verify_init(s, &ecdsa, ec_public), CKR_OK);
	assert_true(hp_session_clean(s));
	assert_clean_in_truth(s);
	hp_session_close(s);
}

/* Finishing it would use the key once more: counters. */
static void a_signature_is_never_finished_to_clean_a_session(void **state)
{
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(hp_sign_init(s, &ecdsa, ec_private), CKR_OK);
	assert_false(hp_session_clean(s));
	assert_int_equal(s->active, HP_OP_SIGN);
	hp_session_close(s);
}

static void a_search_counts_what_does_not_fit(void **state)
{
	struct hp_session *s = &ground.session;
	CK_OBJECT_CLASS class = CKO_DATA;
	char value[8];
	CK_OBJECT_HANDLE found[200] = { 0 };
	CK_ULONG count = 0;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, value, sizeof(value) },
	};
	(void)state;
	memcpy(value, "searched", sizeof(value));
	for (int i = 0; i < 150; i++) {
		CK_OBJECT_HANDLE object;
		assert_rv(hp_create_object(s, template, HP_ARRAY_LEN(template), &object),
			  CKR_OK);
	}
	assert_rv(
		hp_find_objects(s, template, HP_ARRAY_LEN(template), found, 200, &count),
		CKR_OK);
	assert_int_equal(count, 150);
	assert_int_not_equal(found[149], 0);
	assert_int_equal(found[150], 0);
	memset(found, 0, sizeof(found));
	assert_rv(hp_find_objects(s, template, HP_ARRAY_LEN(template), found, 2, &count),
		  CKR_OK);
	assert_int_equal(count, 150);
	assert_int_not_equal(found[1], 0);
	assert_int_equal(found[2], 0);
	assert_rv(hp_find_objects(s, template, HP_ARRAY_LEN(template), NULL, 0, &count),
		  CKR_OK);
	assert_int_equal(count, 150);
	assert_int_equal(s->active, 0);
}

static void the_state_tells_who_is_logged_in(void **state)
{
	CK_SESSION_INFO info;
	struct hp_session *s = open_session();
	(void)state;
	assert_rv(hp_session_info(s, &info), CKR_OK);
	assert_true(hp_session_state_is_user(info.state));
	assert_int_equal(info.slotID, ground.token.slot);
	assert_false(hp_session_state_is_user(CKS_RO_PUBLIC_SESSION));
	assert_false(hp_session_state_is_user(CKS_RW_PUBLIC_SESSION));
	assert_false(hp_session_state_is_user(CKS_RW_SO_FUNCTIONS));
	hp_session_close(s);
}

static void calls_on_a_closed_session_are_answered_by_the_module(void **state)
{
	struct hp_session *s = open_session();
	struct hp_session stale = *s;
	CK_SESSION_INFO info;
	(void)state;
	assert_rv(hp_session_close(s), CKR_OK);
	assert_rv(hp_session_close(s), CKR_OK);
	assert_rv(hp_session_info(&stale, &info), CKR_SESSION_HANDLE_INVALID);
	assert_int_equal(atomic_load(&stale.call_since_ns), 0);
}

static void a_session_that_cannot_be_opened_has_no_handle(void **state)
{
	struct hp_session s = { .handle = 77 };
	(void)state;
	assert_rv(hp_session_open(&s, ground.module, 12345, true), CKR_SLOT_ID_INVALID);
	assert_int_equal(s.handle, CK_INVALID_HANDLE);
	assert_rv(hp_session_close(&s), CKR_OK);
}

static int make_ground(void **state)
{
	fixture_softhsm(&fixture);
	ground_log_in(&ground);
	aes_key = ground_make_aes(&ground, "aes");
	ground_make_rsa(&ground, "rsa", &rsa_public, &rsa_private);
	ground_make_ec(&ground, "ec", &ec_public, &ec_private);
	*state = NULL;
	return 0;
}

static int remove_ground(void **state)
{
	(void)state;
	ground_close(&ground);
	fixture_remove(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_operation_is_active_until_its_result_is_handed_out),
		cmocka_unit_test(an_init_that_fails_begins_nothing),
		cmocka_unit_test(
			a_wrong_signature_is_a_result_and_leaves_the_session_clean),
		cmocka_unit_test(after_an_error_the_session_is_not_known_to_be_clean),
		cmocka_unit_test(
			an_operation_that_the_book_does_not_have_makes_it_unsure),
		cmocka_unit_test(cleaning_finishes_a_digest_an_encryption_and_a_search),
		cmocka_unit_test(cleaning_finishes_a_decryption_that_has_no_good_end),
		cmocka_unit_test(what_its_final_does_not_end_is_ended_in_one_part),
		cmocka_unit_test(cleaning_finishes_an_operation_with_much_output),
		cmocka_unit_test(
			cleaning_ends_a_verification_with_a_signature_that_cannot_be),
		cmocka_unit_test(a_signature_is_never_finished_to_clean_a_session),
		cmocka_unit_test(a_search_counts_what_does_not_fit),
		cmocka_unit_test(the_state_tells_who_is_logged_in),
		cmocka_unit_test(calls_on_a_closed_session_are_answered_by_the_module),
		cmocka_unit_test(a_session_that_cannot_be_opened_has_no_handle),
	};
	return cmocka_run_group_tests(tests, make_ground, remove_ground);
}
