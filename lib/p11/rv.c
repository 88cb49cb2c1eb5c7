/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of PKCS#11 return values, and what is looked up in it.
 *
 * Owns: names, classes, statuses and texts of all CK_RV; the parser of rv-class. Must
 * not: call a module, lock or allocate. The table is sorted by value.
 */
#include "p11/rv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

/*
 * By number, not by the header's names: p11-kit's header is 2.40, lacks 0xf0, and has
 * its own numbers (0x1c0-0x1c4) for five values that the standard has at 0x1b5-0x1b9.
 * Both are listed, for modules were compiled with either.
 */
#define ROW(value, name, class, status, text)                              \
	{                                                                  \
		value, "CKR_" #name, HP_RV_##class, HSMPOOL_##status, text \
	}
static const struct hp_rv_info table[] = {
	/* clang-format off */
ROW(0x000, OK, OK, OK, "success"),
ROW(0x001, CANCEL, FLOW, ERR_DOWN, "cancelled by the application"),
ROW(0x002, HOST_MEMORY, CAPACITY, ERR_SYSTEM, "the module is out of memory"),
ROW(0x003, SLOT_ID_INVALID, TOKEN_GONE, ERR_DOWN, "the slot is gone"),
ROW(0x005, GENERAL_ERROR, AMBIGUOUS, ERR_DOWN, "unspecified failure; see the HSM's log"),
ROW(0x006, FUNCTION_FAILED, AMBIGUOUS, ERR_DOWN, "the function failed; see the HSM's log"),
ROW(0x007, ARGUMENTS_BAD, CALLER, ERR_USAGE, "the module refuses the arguments"),
ROW(0x008, NO_EVENT, FLOW, ERR_BUSY, "no slot event"),
ROW(0x009, NEED_TO_CREATE_THREADS, MODULE_DEAD, ERR_DOWN,
    "the module wants to create threads"),
ROW(0x00a, CANT_LOCK, MODULE_DEAD, ERR_DOWN, "the module cannot lock"),
ROW(0x010, ATTRIBUTE_READ_ONLY, CALLER, ERR_USAGE, "the attribute cannot be changed"),
ROW(0x011, ATTRIBUTE_SENSITIVE, FLOW, ERR_KEY, "the attribute may not be read"),
ROW(0x012, ATTRIBUTE_TYPE_INVALID, FLOW, ERR_USAGE, "the object has no such attribute"),
ROW(0x013, ATTRIBUTE_VALUE_INVALID, CALLER, ERR_USAGE, "an attribute's value is wrong"),
ROW(0x01b, ACTION_PROHIBITED, CALLER, ERR_KEY, "the object forbids this"),
ROW(0x020, DATA_INVALID, CALLER, ERR_USAGE, "the input is not fit for the mechanism"),
ROW(0x021, DATA_LEN_RANGE, CALLER, ERR_USAGE,
    "the input's length is not fit for the mechanism or key"),
ROW(0x030, DEVICE_ERROR, DEVICE, ERR_DOWN, "the HSM has a problem"),
ROW(0x031, DEVICE_MEMORY, CAPACITY, ERR_BUSY, "the HSM is out of memory"),
ROW(0x032, DEVICE_REMOVED, TOKEN_GONE, ERR_DOWN, "the HSM is disconnected"),
ROW(0x040, ENCRYPTED_DATA_INVALID, CALLER, ERR_DATA, "the ciphertext is not valid"),
ROW(0x041, ENCRYPTED_DATA_LEN_RANGE, CALLER, ERR_DATA,
    "the ciphertext's length is not valid"),
ROW(0x042, AEAD_DECRYPT_FAILED, CALLER, ERR_DATA, "the ciphertext is not authentic"),
/* Also what a call is answered with that did not return within call-timeout. */
ROW(0x050, FUNCTION_CANCELED, GIVEN_UP, ERR_TIMEOUT, "the call was given up; it may still run"),
ROW(0x051, FUNCTION_NOT_PARALLEL, CALLER, ERR_USAGE, "no function runs in parallel"),
ROW(0x054, FUNCTION_NOT_SUPPORTED, CALLER, ERR_UNSUPPORTED,
    "the module does not have the function"),
ROW(0x060, KEY_HANDLE_INVALID, STALE_HANDLE, ERR_KEY, "the key is gone"),
ROW(0x062, KEY_SIZE_RANGE, CALLER, ERR_KEY, "the key's size is not fit for the mechanism"),
ROW(0x063, KEY_TYPE_INCONSISTENT, CALLER, ERR_KEY,
    "the key's type is not fit for the mechanism"),
ROW(0x064, KEY_NOT_NEEDED, CALLER, ERR_KEY, "a key too many"),
ROW(0x065, KEY_CHANGED, CALLER, ERR_KEY, "not the key that was used before"),
ROW(0x066, KEY_NEEDED, CALLER, ERR_KEY, "a key is missing"),
ROW(0x067, KEY_INDIGESTIBLE, CALLER, ERR_KEY, "the key's value cannot be digested"),
ROW(0x068, KEY_FUNCTION_NOT_PERMITTED, CALLER, ERR_KEY,
    "the key's attributes do not permit this use"),
ROW(0x069, KEY_NOT_WRAPPABLE, CALLER, ERR_KEY, "the key cannot be wrapped with this key"),
ROW(0x06a, KEY_UNEXTRACTABLE, CALLER, ERR_KEY, "the key is not extractable"),
ROW(0x070, MECHANISM_INVALID, CALLER, ERR_UNSUPPORTED,
    "the token does not have the mechanism for this use"),
ROW(0x071, MECHANISM_PARAM_INVALID, CALLER, ERR_UNSUPPORTED,
    "the token does not take the mechanism's parameters"),
ROW(0x082, OBJECT_HANDLE_INVALID, STALE_HANDLE, ERR_KEY, "the object is gone"),
ROW(0x090, OPERATION_ACTIVE, OP_LOST, ERR_DOWN, "the session is inside another operation"),
ROW(0x091, OPERATION_NOT_INITIALIZED, OP_LOST, ERR_DOWN,
    "the session has no such operation active"),
ROW(0x0a0, PIN_INCORRECT, PIN, ERR_AUTH, "the PIN is wrong"),
ROW(0x0a1, PIN_INVALID, PIN, ERR_AUTH, "the PIN has characters that the token refuses"),
ROW(0x0a2, PIN_LEN_RANGE, PIN, ERR_AUTH, "the PIN is too short or too long"),
ROW(0x0a3, PIN_EXPIRED, PIN, ERR_AUTH, "the PIN has expired; set a new one"),
ROW(0x0a4, PIN_LOCKED, PIN, ERR_AUTH,
    "the PIN is locked; the security officer must unlock it"),
ROW(0x0b0, SESSION_CLOSED, SESSION_DEAD, ERR_DOWN, "the session was closed"),
ROW(0x0b1, SESSION_COUNT, CAPACITY, ERR_BUSY, "the token gives no more sessions"),
ROW(0x0b3, SESSION_HANDLE_INVALID, SESSION_DEAD, ERR_DOWN, "the session is gone"),
ROW(0x0b4, SESSION_PARALLEL_NOT_SUPPORTED, CALLER, ERR_USAGE,
    "parallel sessions do not exist"),
ROW(0x0b5, SESSION_READ_ONLY, CALLER, ERR_USAGE, "the session is read-only"),
ROW(0x0b6, SESSION_EXISTS, CALLER, ERR_BUSY, "a session is open on the token"),
ROW(0x0b7, SESSION_READ_ONLY_EXISTS, CALLER, ERR_BUSY,
    "a read-only session is open, so the security officer cannot log in"),
ROW(0x0b8, SESSION_READ_WRITE_SO_EXISTS, CALLER, ERR_BUSY,
    "the security officer is logged in, so no read-only session can be opened"),
ROW(0x0c0, SIGNATURE_INVALID, CALLER, ERR_DATA, "the signature is not valid"),
ROW(0x0c1, SIGNATURE_LEN_RANGE, CALLER, ERR_DATA, "the signature's length is not valid"),
ROW(0x0d0, TEMPLATE_INCOMPLETE, CALLER, ERR_USAGE, "an attribute is missing"),
ROW(0x0d1, TEMPLATE_INCONSISTENT, CALLER, ERR_USAGE,
    "the attributes contradict each other or the token's policy"),
ROW(0x0e0, TOKEN_NOT_PRESENT, TOKEN_GONE, ERR_DOWN, "the token is not there"),
ROW(0x0e1, TOKEN_NOT_RECOGNIZED, TOKEN_GONE, ERR_DOWN, "the token is not recognised"),
ROW(0x0e2, TOKEN_WRITE_PROTECTED, CALLER, ERR_UNSUPPORTED, "the token is write-protected"),
ROW(0x0f0, UNWRAPPING_KEY_HANDLE_INVALID, STALE_HANDLE, ERR_KEY,
    "the unwrapping key is gone"),
ROW(0x0f1, UNWRAPPING_KEY_SIZE_RANGE, CALLER, ERR_KEY,
    "the unwrapping key's size is not fit for the mechanism"),
ROW(0x0f2, UNWRAPPING_KEY_TYPE_INCONSISTENT, CALLER, ERR_KEY,
    "the unwrapping key's type is not fit for the mechanism"),
ROW(0x100, USER_ALREADY_LOGGED_IN, LOGIN_RACE, ERR_AUTH, "the user is logged in already"),
ROW(0x101, USER_NOT_LOGGED_IN, LOGIN_LOST, ERR_AUTH, "the user is not logged in"),
/* No PIN was tried, so nothing is latched: SoftHSM2 says this, too, while another
 * process rewrites the token. */
ROW(0x102, USER_PIN_NOT_INITIALIZED, CALLER, ERR_AUTH,
    "the token has no user PIN yet; the security officer must set it"),
ROW(0x103, USER_TYPE_INVALID, CALLER, ERR_USAGE, "no such type of user"),
ROW(0x104, USER_ANOTHER_ALREADY_LOGGED_IN, LOGIN_RACE, ERR_AUTH,
    "another user is logged in"),
ROW(0x105, USER_TOO_MANY_TYPES, LOGIN_RACE, ERR_AUTH, "too many users are logged in"),
ROW(0x110, WRAPPED_KEY_INVALID, CALLER, ERR_DATA, "the wrapped key is not valid"),
ROW(0x112, WRAPPED_KEY_LEN_RANGE, CALLER, ERR_DATA,
    "the wrapped key's length is not valid"),
ROW(0x113, WRAPPING_KEY_HANDLE_INVALID, STALE_HANDLE, ERR_KEY, "the wrapping key is gone"),
ROW(0x114, WRAPPING_KEY_SIZE_RANGE, CALLER, ERR_KEY,
    "the wrapping key's size is not fit for the mechanism"),
ROW(0x115, WRAPPING_KEY_TYPE_INCONSISTENT, CALLER, ERR_KEY,
    "the wrapping key's type is not fit for the mechanism"),
ROW(0x120, RANDOM_SEED_NOT_SUPPORTED, CALLER, ERR_UNSUPPORTED,
    "the token's random generator takes no seed"),
ROW(0x121, RANDOM_NO_RNG, CALLER, ERR_UNSUPPORTED, "the token has no random generator"),
ROW(0x130, DOMAIN_PARAMS_INVALID, CALLER, ERR_USAGE, "the domain parameters are wrong"),
ROW(0x140, CURVE_NOT_SUPPORTED, CALLER, ERR_UNSUPPORTED,
    "the token does not have the curve"),
ROW(0x150, BUFFER_TOO_SMALL, FLOW, ERR_SPACE, "the output buffer is too small"),
ROW(0x160, SAVED_STATE_INVALID, OP_LOST, ERR_USAGE, "the saved state is not valid"),
ROW(0x170, INFORMATION_SENSITIVE, CALLER, ERR_KEY, "the information may not be read"),
ROW(0x180, STATE_UNSAVEABLE, CALLER, ERR_UNSUPPORTED,
    "the operation's state cannot be saved"),
ROW(0x190, CRYPTOKI_NOT_INITIALIZED, MODULE_DEAD, ERR_DOWN,
    "the module is not initialised in this process"),
ROW(0x191, CRYPTOKI_ALREADY_INITIALIZED, CALLER, ERR_USAGE,
    "the module is initialised already"),
ROW(0x1a0, MUTEX_BAD, MODULE_DEAD, ERR_DOWN, "the module's locks are broken"),
ROW(0x1a1, MUTEX_NOT_LOCKED, MODULE_DEAD, ERR_DOWN, "the module's locks are broken"),
ROW(0x1b0, NEW_PIN_MODE, PIN, ERR_AUTH, "a new one-time PIN must be set"),
ROW(0x1b1, NEXT_OTP, PIN, ERR_AUTH, "the next one-time password is needed"),
ROW(0x1b5, EXCEEDED_MAX_ITERATIONS, CALLER, ERR_USAGE, "no result after too many tries"),
ROW(0x1b6, FIPS_SELF_TEST_FAILED, DEVICE, ERR_DOWN, "the module's self-test failed"),
ROW(0x1b7, LIBRARY_LOAD_FAILED, MODULE_DEAD, ERR_DOWN,
    "the module could not load a library that it needs"),
ROW(0x1b8, PIN_TOO_WEAK, CALLER, ERR_AUTH, "the new PIN is too weak"),
ROW(0x1b9, PUBLIC_KEY_INVALID, CALLER, ERR_KEY, "the public key is not valid"),
ROW(0x1c0, EXCEEDED_MAX_ITERATIONS, CALLER, ERR_USAGE, "no result after too many tries"),
ROW(0x1c1, FIPS_SELF_TEST_FAILED, DEVICE, ERR_DOWN, "the module's self-test failed"),
ROW(0x1c2, LIBRARY_LOAD_FAILED, MODULE_DEAD, ERR_DOWN,
    "the module could not load a library that it needs"),
ROW(0x1c3, PIN_TOO_WEAK, CALLER, ERR_AUTH, "the new PIN is too weak"),
ROW(0x1c4, PUBLIC_KEY_INVALID, CALLER, ERR_KEY, "the public key is not valid"),
ROW(0x200, FUNCTION_REJECTED, CALLER, ERR_KEY, "the request was rejected by a person"),
ROW(0x201, TOKEN_RESOURCE_EXCEEDED, CAPACITY, ERR_BUSY, "the token is short of resources"),
ROW(0x202, OPERATION_CANCEL_FAILED, OP_LOST, ERR_DOWN, "the operation cannot be cancelled"),
ROW(0x203, KEY_EXHAUSTED, CALLER, ERR_KEY, "the key has no uses left"),
ROW(0x204, PENDING, FLOW, ERR_BUSY, "the operation is still running"),
ROW(0x205, SESSION_ASYNC_NOT_SUPPORTED, CALLER, ERR_UNSUPPORTED,
    "the session has no asynchronous operations"),
ROW(0x206, SEED_RANDOM_REQUIRED, CALLER, ERR_DOWN,
    "the token's random generator must be seeded first"),
ROW(0x207, OPERATION_NOT_VALIDATED, CALLER, ERR_UNSUPPORTED,
    "the token's validation policy forbids the operation"),
ROW(0x208, TOKEN_NOT_INITIALIZED, TOKEN_GONE, ERR_DOWN, "the token is not initialised"),
ROW(0x209, PARAMETER_SET_NOT_SUPPORTED, CALLER, ERR_UNSUPPORTED,
    "the token does not have the parameter set"),
ROW(0x80000000, VENDOR_DEFINED, AMBIGUOUS, ERR_DOWN, "a vendor's own code"),
	/* clang-format on */
};

static const char *const class_names[HP_RV_CLASS_COUNT] = {
	[HP_RV_OK] = "ok",
	[HP_RV_FLOW] = "flow",
	[HP_RV_CALLER] = "caller",
	[HP_RV_OP_LOST] = "op-lost",
	[HP_RV_STALE_HANDLE] = "stale-handle",
	[HP_RV_SESSION_DEAD] = "session-dead",
	[HP_RV_LOGIN_LOST] = "login-lost",
	[HP_RV_LOGIN_RACE] = "login-race",
	[HP_RV_PIN] = "pin",
	[HP_RV_CAPACITY] = "capacity",
	[HP_RV_TOKEN_GONE] = "token-gone",
	[HP_RV_DEVICE] = "device",
	[HP_RV_AMBIGUOUS] = "ambiguous",
	[HP_RV_MODULE_DEAD] = "module-dead",
	[HP_RV_GIVEN_UP] = "given-up",
};

static int compare_value(const void *key, const void *row)
{
	CK_RV rv = *(const CK_RV *)key;
	CK_RV other = ((const struct hp_rv_info *)row)->rv;
	return (rv > other) - (rv < other);
}

const struct hp_rv_info *hp_rv_find(CK_RV rv)
{
	if (rv == CKR_OK)
		return &table[0];
	return bsearch(&rv, table, HP_ARRAY_LEN(table), sizeof(table[0]), compare_value);
}

const struct hp_rv_info *hp_rv_at(size_t index)
{
	return index < HP_ARRAY_LEN(table) ? &table[index] : NULL;
}

const char *hp_rv_class_name(enum hp_rv_class class)
{
	return (unsigned)class < HP_RV_CLASS_COUNT ? class_names[class] : "unknown";
}

enum hp_rv_class hp_rv_class(const struct hp_rv_overrides *overrides, CK_RV rv)
{
	if (rv == CKR_OK)
		return HP_RV_OK;
	for (size_t i = 0; overrides && i < overrides->count; i++)
		if (overrides->entry[i].rv == rv)
			return overrides->entry[i].class;
	const struct hp_rv_info *info = hp_rv_find(rv);
	return info ? info->class : HP_RV_AMBIGUOUS;
}

const char *hp_rv_name(CK_RV rv, char buf[static 32])
{
	const struct hp_rv_info *info = hp_rv_find(rv);
	if (info)
		return info->name;
	snprintf(buf, 32, "CKR 0x%08lx", rv);
	return buf;
}

hsmpool_status hp_rv_fail(hsmpool_error *err, CK_RV rv, const char *format, ...)
{
	const struct hp_rv_info *info = hp_rv_find(rv);
	hsmpool_status status = info ? info->status : HSMPOOL_ERR_DOWN;
	if (!err)
		return status;
	char what[sizeof(err->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);

	char name[32];
	hp_fail(err, status, "%s: %s: %s", what, hp_rv_name(rv, name),
		info ? info->text : "a code that only the HSM's vendor can explain");
	err->ck_rv = rv;
	return status;
}

/* --- rv-class ---------------------------------------------------------------------- */

static bool class_by_name(const char *name, size_t len, enum hp_rv_class *class)
{
	for (int i = HP_RV_OK + 1; i < HP_RV_CLASS_COUNT; i++) {
		if (strlen(class_names[i]) != len ||
		    strncmp(class_names[i], name, len) != 0)
			continue;
		*class = (enum hp_rv_class)i;
		return true;
	}
	return false;
}

static bool add_override(struct hp_rv_overrides *out, CK_RV rv, enum hp_rv_class class)
{
	if (out->count == HP_ARRAY_LEN(out->entry))
		return false;
	out->entry[out->count].rv = rv;
	out->entry[out->count].class = class;
	out->count++;
	return true;
}

/* A value, or a name: five names stand for two values each. How many were added, 0 if
 * the text is neither, -1 if there is no room. */
static int add_by_text(struct hp_rv_overrides *out, const char *text,
		       enum hp_rv_class class)
{
	char *end = NULL;
	errno = 0;
	unsigned long value = strtoul(text, &end, 0);
	if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value != CKR_OK)
		return add_override(out, value, class) ? 1 : -1;
	int added = 0;
	for (size_t i = 1; i < HP_ARRAY_LEN(table); i++) {
		if (strcmp(table[i].name, text) != 0)
			continue;
		if (!add_override(out, table[i].rv, class))
			return -1;
		added++;
	}
	return added;
}

static hsmpool_status parse_override(const char *word, size_t len,
				     struct hp_rv_overrides *out, hsmpool_error *err)
{
	const char *equals = memchr(word, '=', len);
	char left[64] = "";
	size_t left_len = equals ? (size_t)(equals - word) : 0;
	HP_CHECK(equals && left_len > 0 && left_len < sizeof(left), err,
		 HSMPOOL_ERR_CONFIG, "rv-class: \"%.*s\" is not CODE=CLASS", (int)len,
		 word);
	memcpy(left, word, left_len);

	enum hp_rv_class class = HP_RV_AMBIGUOUS;
	HP_CHECK(class_by_name(equals + 1, len - left_len - 1, &class), err,
		 HSMPOOL_ERR_CONFIG,
		 "rv-class: \"%.*s\" names no class; use caller, op-lost, stale-handle, "
		 "session-dead, login-lost, pin, capacity, token-gone, device, ambiguous "
		 "or module-dead",
		 (int)len, word);
	int added = add_by_text(out, left, class);
	HP_CHECK(added != 0, err, HSMPOOL_ERR_CONFIG,
		 "rv-class: \"%s\" is neither a number other than 0 nor a CKR_ name",
		 left);
	HP_CHECK(added > 0, err, HSMPOOL_ERR_CONFIG, "rv-class: more than %zu codes",
		 HP_ARRAY_LEN(out->entry));
	return HSMPOOL_OK;
}

hsmpool_status hp_rv_overrides_parse(const char *text, struct hp_rv_overrides *out,
				     hsmpool_error *err)
{
	static const char blanks[] = " \t,";
	memset(out, 0, sizeof(*out));
	const char *word = text ? text : "";
	for (word += strspn(word, blanks); *word; word += strspn(word, blanks)) {
		size_t len = strcspn(word, blanks);
		HP_TRY(parse_override(word, len, out, err));
		word += len;
	}
	return HSMPOOL_OK;
}

bool hp_rv_is_loss(enum hp_rv_class class)
{
	switch (class) {
	case HP_RV_SESSION_DEAD:
	case HP_RV_LOGIN_LOST:
	case HP_RV_TOKEN_GONE:
	case HP_RV_DEVICE:
	case HP_RV_AMBIGUOUS:
	case HP_RV_MODULE_DEAD:
		return true;
	default:
		return false;
	}
}
