/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd journal as a target of the log: structured entries instead of lines.
 *
 * Owns: finding libsystemd, and the names of the fields. Must not: be a reason to load
 * libsystemd, and what that brings along, into programs whose log goes elsewhere.
 */
#ifndef HP_OBSERVE_JOURNAL_H
#define HP_OBSERVE_JOURNAL_H

#include <hsmpool/status.h>

/* Load libsystemd. CONFIG: it is not there, or this machine has no journal. */
hsmpool_status hp_journal_open(hsmpool_error *err);

/*
 * One entry: MESSAGE=event: text, PRIORITY, SYSLOG_IDENTIFIER=hsmpool, HSMPOOL_EVENT and,
 * unless it is empty or NULL, HSMPOOL_REQUEST. After a successful hp_journal_open() only.
 * No lock, and no wait: what a journal that is gone or busy does not take is lost.
 */
void hp_journal_write(int priority, const char *event, const char *request,
		      const char *text);

#endif
