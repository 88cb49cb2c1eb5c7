/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An application that keeps its handles over a restart of the HSM, call by call: what
 * goes on unnoticed, what is done once at most, and what gives one exact error (rows S23,
 * L17, L20, L21).
 */
#include "objects_ground.h"

#include <stdio.h>
#include <string.h>

#define p11 module_load()

static const CK_BYTE text[16] = "sixteen letters";

/* Who the application is, and what it holds: made before the restart. */
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE rsa, aes, wrapper, data;
static CK_SLOT_ID slot;

/* Each restart takes sessions, login, handles and the slot's number. */
static void restart(void)
{
	fixture_mock_control()->reboot(&(struct mock_reboot){
		.handles = MOCK_HANDLES_ALIASED, .move_slot = true });
}

/* --- one call of each kind ------------------------------------------------------------
 */

static CK_RV sign_with(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key)
{
	CK_MECHANISM mechanism = { type, NULL, 0 };
	CK_BYTE signature[512];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = p11->C_SignInit(session, &mechanism, key);
	return rv ? rv
		  : p11->C_Sign(session, (CK_BYTE *)text, sizeof(text), signature, &len);
}

static CK_RV sign(void)
{
	return sign_with(CKM_SHA256_RSA_PKCS, rsa);
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
	return p11->C_SeedRandom(session, (CK_BYTE *)text, sizeof(text));
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

static const struct {
	const char *name;
	CK_RV (*call)(void);
} calls[] = {
	{ "sign", sign },
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

/* -------------------------------------------------------------------------------------
 */

static int begin(void **state)
{
	objects_begin_mock(state);
	session = objects_user();
	slot = module_slot();
	rsa = objects_key(session, CKO_PRIVATE_KEY, "rsa");
	aes = objects_key(session, CKO_SECRET_KEY, "aes");
	assert_rv(objects_data(session, "data", true, true, &data), CKR_OK);
	assert_rv(objects_aes(session, "wrapper", 1, true, true, &wrapper), CKR_OK);
	assert_rv(sign(), CKR_OK);
	assert_rv(encrypt(), CKR_OK);
	assert_rv(read_attribute(), CKR_OK);
	assert_rv(wrap(), CKR_OK);
	return 0;
}

static int end(void **state)
{
	char why[200];
	fixture_mock_control()->clear_failures();
	p11->C_DestroyObject(session, data);
	p11->C_DestroyObject(session, wrapper);
	module_end();
	bool is_balanced = fixture_mock_control()->check_balance(why, sizeof(why));
	if (!is_balanced)
		print_error("%s\n", why);
	fixture_remove((struct fixture *)*state);
	return is_balanced ? 0 : -1;
}

#define on_mock(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_mock(any_call_may_be_the_first_after_a_restart),
		on_mock(modules_that_hide_the_loss_cost_at_most_one_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
