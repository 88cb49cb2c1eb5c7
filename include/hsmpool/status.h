/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status codes, the error report, and the two byte-string types.
 *
 * Every function that can fail returns an hsmpool_status and fills, when the
 * caller passes one, an hsmpool_error. There is no thread-local error state.
 * The numbers never change; new ones are added at the end.
 */
#ifndef HSMPOOL_STATUS_H
#define HSMPOOL_STATUS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define HSMPOOL_API   __attribute__((visibility("default")))
#define HSMPOOL_CHECK __attribute__((warn_unused_result))
#else
#define HSMPOOL_API
#define HSMPOOL_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * name, value, exit code of hsmpool-cli, text. What the caller can do:
 *
 * USAGE        correct the call: an argument is wrong
 * CONFIG       correct the configuration: the text names file, line and key
 * BUSY         come back later: too many wait for a session, or the token has no room
 * TIMEOUT      the deadline passed while waiting for a session
 * DOWN         the HSM or its module does not answer, or answers with a failure
 * AUTH         the PIN was refused or cannot be read; it is not tried again
 * KEY          no such key, two of them, or it may not do this
 * DATA         the input did not verify, decrypt or parse (deliberately uniform)
 * SPACE        the output buffer is too small; its len says what is needed
 * UNSUPPORTED  the token or this library does not have the mechanism or feature
 * FORKED       the pool was opened by the parent process: open a new one
 * CLOSED       the pool is being closed
 * SYSTEM       the operating system refused: memory, files, threads
 * EXISTS       an object or file of that name is there already
 * DENIED       a [policy] of the configuration is against it; nothing was done
 */
#define HSMPOOL_STATUS_MAP(X)                       \
	X(OK, 0, 0, "success")                      \
	X(ERR_USAGE, 1, 64, "wrong argument")       \
	X(ERR_CONFIG, 2, 78, "wrong configuration") \
	X(ERR_BUSY, 3, 75, "too busy")              \
	X(ERR_TIMEOUT, 4, 72, "timed out")          \
	X(ERR_DOWN, 5, 69, "HSM not available")     \
	X(ERR_AUTH, 6, 77, "login refused")         \
	X(ERR_KEY, 7, 67, "key not usable")         \
	X(ERR_DATA, 8, 65, "data not valid")        \
	X(ERR_SPACE, 9, 76, "buffer too small")     \
	X(ERR_UNSUPPORTED, 10, 70, "not supported") \
	X(ERR_FORKED, 11, 79, "used across fork")   \
	X(ERR_CLOSED, 12, 80, "pool closed")        \
	X(ERR_SYSTEM, 13, 71, "system error")       \
	X(ERR_EXISTS, 14, 73, "exists already")     \
	X(ERR_DENIED, 15, 81, "denied by policy")

typedef enum hsmpool_status {
#define HSMPOOL_STATUS_ENUM(name, value, exit_code, text) HSMPOOL_##name = value,
	HSMPOOL_STATUS_MAP(HSMPOOL_STATUS_ENUM)
#undef HSMPOOL_STATUS_ENUM
} hsmpool_status;

/* Whether the HSM may have performed the operation that failed. */
typedef enum hsmpool_executed {
	HSMPOOL_EXECUTED_NO = 0,      /* certainly not */
	HSMPOOL_EXECUTED_YES = 1,     /* certainly */
	HSMPOOL_EXECUTED_UNKNOWN = 2, /* it was submitted, the outcome is not known */
} hsmpool_executed;

/*
 * What went wrong. The caller owns the structure; no field needs freeing.
 * ck_rv is the PKCS#11 return value behind the status, 0 if none was involved;
 * sys_errno the errno, 0 likewise. text is one line for people, without secrets:
 * what failed, on what, the CKR name, and what to do next.
 */
typedef struct hsmpool_error {
	hsmpool_status status;
	hsmpool_executed executed;
	unsigned long ck_rv;
	int sys_errno;
	char text[512];
} hsmpool_error;

/* A byte string of the caller's that is only read. data may be NULL if len is 0. */
typedef struct hsmpool_bytes {
	const uint8_t *data;
	size_t len;
} hsmpool_bytes;

/*
 * A buffer of the caller's for output: cap bytes at data; len is set to what was
 * written. With data NULL, or cap too small, the call fails with
 * HSMPOOL_ERR_SPACE, nothing is written and len is the size that is needed (an
 * upper bound where only the HSM knows exactly).
 */
typedef struct hsmpool_buf {
	uint8_t *data;
	size_t cap;
	size_t len;
} hsmpool_buf;

/*
 * An absolute time on CLOCK_MONOTONIC, in nanoseconds, or one of two special
 * values. A deadline bounds *waiting*: for a session, or for a login that another
 * thread performs. It does not interrupt a call that the HSM's module is inside.
 */
typedef int64_t hsmpool_deadline;
#define HSMPOOL_NO_WAIT ((hsmpool_deadline)0)  /* take what is free, never wait */
#define HSMPOOL_DEFAULT ((hsmpool_deadline)-1) /* the configured borrow-timeout */

/* The deadline that lies milliseconds ahead of now. Negative counts as 0. */
HSMPOOL_API hsmpool_deadline hsmpool_deadline_in(int64_t milliseconds);

/* A static text for the status, its name ("HSMPOOL_ERR_KEY"), and the exit code
 * that hsmpool-cli uses for it. An unknown value gives "unknown status" and 70. */
HSMPOOL_API const char *hsmpool_status_text(hsmpool_status status);
HSMPOOL_API const char *hsmpool_status_name(hsmpool_status status);
HSMPOOL_API int hsmpool_status_exit_code(hsmpool_status status);

/* The library's version, "major.minor.patch". Static. */
HSMPOOL_API const char *hsmpool_version(void);

#ifdef __cplusplus
}
#endif
#endif
