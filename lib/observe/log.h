/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's log: levels, target (stderr, file, syslog, journal, callback), text or
 * JSON.
 *
 * Owns: formatting, one write() per line, the rate limit per event. Must not: be
 * called with a pool's lock held, or be given secrets. It has no lock of its own.
 */
#ifndef HP_OBSERVE_LOG_H
#define HP_OBSERVE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <hsmpool/log.h>
#include <hsmpool/status.h>

enum hp_log_format { HP_LOG_TEXT, HP_LOG_JSON };

/* Apply log, log-level, log-format: target is "stderr", "file:PATH", "syslog" or
 * "journald". Only the first call of a process with a target that is not NULL changes
 * anything. */
hsmpool_status hp_log_configure(const char *target, hsmpool_log_level level,
				enum hp_log_format format, hsmpool_error *err);

extern _Atomic int hp_log_level; /* the most detailed that is written */

static inline bool hp_log_enabled(hsmpool_log_level level)
{
	return (int)level <= atomic_load_explicit(&hp_log_level, memory_order_relaxed);
}

/*
 * One line. event is its stable name, "noun-verb", a string literal. At most 20 lines
 * of one event in 10 seconds are written, level ERROR too; how many were dropped is
 * written before the first line, of whatever event, that comes after the 10 seconds.
 */
void hp_log_write(hsmpool_log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What must be noted outside this process, whatever log and log-level say: a NOTICE to
 * the journal if that is the log, else to syslog; and to the log too as far as it wants
 * notices. Not for anything that happens often: there is no limit.
 */
void hp_log_announce(const char *event, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define HP_LOG(level, event, ...)                                                \
	do {                                                                     \
		if (hp_log_enabled(HSMPOOL_LOG_##level))                         \
			hp_log_write(HSMPOOL_LOG_##level, (event), __VA_ARGS__); \
	} while (0)

#endif
