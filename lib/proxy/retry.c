/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule of repeating: what the row says, and what a failure proves.
 */
#include "proxy/retry.h"

static const struct {
	const char *name;
	enum hp_retry retry;
} rows[HP_FUNCTION_COUNT] = {
#define HP_FUNCTION_ROW(name, retry) [HP_FN_##name] = { #name, HP_RETRY_##retry },
	HP_FUNCTIONS(HP_FUNCTION_ROW)
#undef HP_FUNCTION_ROW
};

const char *hp_function_name(enum hp_function function)
{
	return rows[function].name;
}

enum hp_retry hp_function_retry(enum hp_function function)
{
	return rows[function].retry;
}

bool hp_function_is_answered_first(enum hp_function function)
{
	return function == HP_FN_C_Decrypt || function == HP_FN_C_DecryptFinal ||
	       function == HP_FN_C_UnwrapKey;
}

bool hp_class_is_plain_loss(enum hp_rv_class class)
{
	return hp_rv_is_loss(class) && class != HP_RV_LOGIN_LOST &&
	       class != HP_RV_AMBIGUOUS;
}

/* OP_LOST is one where the caller knows what should have been active. */
bool hp_failure_is_loss(const struct hp_failure *failure)
{
	if (failure->class == HP_RV_STALE_HANDLE)
		return failure->is_outdated;
	return failure->class == HP_RV_OP_LOST || hp_rv_is_loss(failure->class);
}

/* These answers of C_Sign say that it looked for login, key or operation and did not find
 * it. They are the only ones which prove that no signature was made. */
static bool proves_nothing_ran(CK_RV rv)
{
	return rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_KEY_HANDLE_INVALID ||
	       rv == CKR_OPERATION_NOT_INITIALIZED;
}

static bool may_sign_again(const struct hp_failure *failure)
{
	return proves_nothing_ran(failure->rv) ||
	       failure->sign_retry == HP_SIGN_RETRY_YES ||
	       (failure->sign_retry == HP_SIGN_RETRY_DETERMINISTIC &&
		failure->is_deterministic);
}

bool hp_retry_is_allowed(const struct hp_failure *failure)
{
	/* A call that hangs is answered in time, not made once more. */
	if (!hp_failure_is_loss(failure) || failure->class == HP_RV_GIVEN_UP)
		return false;
	if (!failure->is_submitted)
		return true;
	switch (rows[failure->function].retry) {
	case HP_RETRY_AGAIN:
		return true;
	case HP_RETRY_SIGNATURE:
		return may_sign_again(failure);
	default:
		return false;
	}
}
