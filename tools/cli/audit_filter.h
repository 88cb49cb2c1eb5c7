/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which records of an audit trail are wanted, and their times as people write them.
 */
#ifndef CLI_AUDIT_FILTER_H
#define CLI_AUDIT_FILTER_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>

struct json_object;

#define AUDIT_TIME_SIZE 28 /* "2026-11-21T08:00:00.123456Z" and the end */

struct audit_filter {
	const char *key;      /* label, id or fingerprint; or the label of a key that is
			       * wrapped or made; NULL: all, as below */
	const char *result;   /* "CKR_OK"; "failed": all but that */
	const char *function; /* "C_Sign" */
	bool has_user;
	uint32_t user;
	char since[AUDIT_TIME_SIZE]; /* "": from the beginning */
	char until[AUDIT_TIME_SIZE]; /* "": to the end; itself included */
};

hsmpool_status audit_filter_set_user(struct audit_filter *filter, const char *text,
				     hsmpool_error *err);

/* text: a date, a date and a time of day (UTC unless it says otherwise), or a span of
 * time like 15m, before now. A date as the end means the whole day. */
hsmpool_status audit_filter_set_since(struct audit_filter *filter, const char *text,
				      hsmpool_error *err);
hsmpool_status audit_filter_set_until(struct audit_filter *filter, const char *text,
				      hsmpool_error *err);

/* The time first: it can be told without parsing the record. */
bool audit_filter_wants_time(const struct audit_filter *filter, const char *time);
bool audit_filter_wants(const struct audit_filter *filter, struct json_object *record);

#endif
