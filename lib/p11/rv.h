/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of PKCS#11 return values: name, class, status, text.
 *
 * Everything that decides by a CK_RV decides by its class; nothing else switches on
 * CKR values or looks at error texts. Holds every CKR_ constant of the 2.40 header and
 * those of 3.0-3.2 by number. Vendor codes (and corrections: one HSM answers
 * ARGUMENTS_BAD when out of sessions) get their class from the option rv-class.
 */
#ifndef HP_P11_RV_H
#define HP_P11_RV_H

#include <stdbool.h>
#include <stddef.h>
#include <hsmpool/status.h>
#include <p11-kit/pkcs11.h>

enum hp_rv_class {
	HP_RV_OK,           /* OK */
	HP_RV_FLOW,         /* BUFFER_TOO_SMALL, NO_EVENT, ...: the operation goes on */
	HP_RV_CALLER,       /* the caller's fault; the session is fine */
	HP_RV_OP_LOST,      /* operation state not as believed: close and replace */
	HP_RV_STALE_HANDLE, /* find the key again */
	HP_RV_SESSION_DEAD, /* forget the session */
	HP_RV_LOGIN_LOST,   /* log in again, unless a context login is what is missing */
	HP_RV_LOGIN_RACE,   /* logged in already, or as someone else */
	HP_RV_PIN,          /* the PIN was refused: latch, never try it again */
	HP_RV_CAPACITY,     /* no room on the token: learn the limit, wait */
	HP_RV_TOKEN_GONE,   /* everything on the token is dead */
	HP_RV_DEVICE,       /* the device is sick */
	HP_RV_AMBIGUOUS,    /* GENERAL_ERROR, FUNCTION_FAILED, unknown: probe first */
	HP_RV_MODULE_DEAD,  /* the module must be initialised again */
	HP_RV_GIVEN_UP,     /* the call was given up and may still run */
	HP_RV_CLASS_COUNT
};

struct hp_rv_info {
	CK_RV rv;
	const char *name; /* "CKR_PIN_INCORRECT" */
	enum hp_rv_class class;
	hsmpool_status status; /* what a caller of the library sees */
	const char *text;      /* for people: "the PIN is wrong" */
};

/* NULL for a value the table does not have. _at: NULL past the end. */
const struct hp_rv_info *hp_rv_find(CK_RV rv);
const struct hp_rv_info *hp_rv_at(size_t index);

/* As the option rv-class and log lines write it: "session-dead". */
const char *hp_rv_class_name(enum hp_rv_class class);

/* Corrections from the configuration; owned by a module. */
struct hp_rv_overrides {
	size_t count;
	struct {
		CK_RV rv;
		enum hp_rv_class class;
	} entry[32];
};
/* "0x80000001=device CKR_ARGUMENTS_BAD=capacity"; NULL or "" is none. */
hsmpool_status hp_rv_overrides_parse(const char *text, struct hp_rv_overrides *out,
				     hsmpool_error *err);

/* Unknown values are AMBIGUOUS. overrides may be NULL. */
enum hp_rv_class hp_rv_class(const struct hp_rv_overrides *overrides, CK_RV rv);

/* "CKR_DEVICE_ERROR", or "CKR 0x80000042" written into buf (of 32 bytes). */
const char *hp_rv_name(CK_RV rv, char buf[static 32]);

/*
 * Fill err from a CK_RV and return its status: "WHAT: CKR_NAME: text".
 * executed becomes NO; the caller corrects it.
 */
hsmpool_status hp_rv_fail(hsmpool_error *err, CK_RV rv, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Classes that say that session, login or token is gone, or may be. */
bool hp_rv_is_loss(enum hp_rv_class class);

#endif
