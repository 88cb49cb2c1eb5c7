/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the library's log lines go.
 *
 * The log is one per process. It starts as text on stderr at level "warning";
 * hsmpool_open() applies the options log, log-level and log-format of the first
 * pool that names them. A callback, once set, receives every line instead.
 * The environment variable HSMPOOL_DEBUG, if set and not empty, raises the level
 * to "debug". No line ever holds a PIN, a key or data.
 */
#ifndef HSMPOOL_LOG_H
#define HSMPOOL_LOG_H

#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hsmpool_log_level {
	HSMPOOL_LOG_ERROR = 0,
	HSMPOOL_LOG_WARNING = 1,
	HSMPOOL_LOG_NOTICE = 2, /* rare and normal: opened, closed, logged in */
	HSMPOOL_LOG_INFO = 3,
	HSMPOOL_LOG_DEBUG = 4,
} hsmpool_log_level;

/*
 * Receives one line: the event's stable name ("session-opened"), and its text,
 * both valid only during the call. It may be called from any thread, several at
 * once, never with a lock of the library held. It must not call the library.
 */
typedef void (*hsmpool_log_fn)(void *user, hsmpool_log_level level, const char *event,
			       const char *text);

/* Send every line to fn(user, ...); NULL goes back to the configured target.
 * Thread-safe. A call already on its way to the old fn may still arrive. */
HSMPOOL_API void hsmpool_log_set_callback(hsmpool_log_fn fn, void *user);

/* The most detailed level that is written. Thread-safe. */
HSMPOOL_API void hsmpool_log_set_level(hsmpool_log_level level);

#ifdef __cplusplus
}
#endif
#endif
