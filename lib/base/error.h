/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling an hsmpool_error, and passing a status upwards.
 *
 * Owns: the one way in which an error text is made. Must not: format secrets, know
 * PKCS#11 (CK_RV texts are made by p11/rv.h on top of this), lock or allocate.
 */
#ifndef HP_BASE_ERROR_H
#define HP_BASE_ERROR_H

#include <hsmpool/status.h>

/* Return early with the same status. */
#define HP_TRY(expression)                                   \
	do {                                                 \
		hsmpool_status hp_try_status = (expression); \
		if (hp_try_status != HSMPOOL_OK)             \
			return hp_try_status;                \
	} while (0)

/* Refuse early: fill err and return status unless the condition holds. */
#define HP_CHECK(condition, err, status, ...)                         \
	do {                                                          \
		if (!(condition))                                     \
			return hp_fail((err), (status), __VA_ARGS__); \
	} while (0)

/* Fill err (if not NULL; ck_rv and sys_errno become 0, executed NO) and return
 * status. */
hsmpool_status hp_fail(hsmpool_error *err, hsmpool_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with errno's number and text appended: "...: No such file or directory". */
hsmpool_status hp_fail_errno(hsmpool_error *err, hsmpool_status status, int sys_errno,
			     const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Put "what: " in front of the text that err holds. err may be NULL. */
void hp_error_prefix(hsmpool_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Put text behind the text that err holds. err may be NULL. */
void hp_error_append(hsmpool_error *err, const char *text);

/* Make err say "success": done by every public function at its start. */
void hp_error_clear(hsmpool_error *err);

#endif
