/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of `hsmpool-cli doctor`: checks, what each found, what to do about it.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include "cli.h"
#include "config/options.h"
#include "p11/module.h"
#include "p11/token.h"

enum finding { FINDING_OK, FINDING_WARNING, FINDING_FAILURE, FINDING_SKIPPED };

struct check {
	const char *name;
	enum finding finding;
	char text[512];
	const char *advice; /* NULL: nothing to do */
	double seconds;     /* of a latency check, else 0 */
};

/* Where nothing more precise can be said. */
#define DOCTOR_LOOK_AT_LOGS \
	"look at the library's log (hsmpool-cli -vv doctor) and at the HSM's own"

#define DOCTOR_MAX_CHECKS 24

struct doctor {
	struct cli *cli;
	const char *which;  /* --key */
	uint32_t processes; /* --processes */
	struct hp_pool_options options;
	bool has_options;
	struct hp_module *module;
	struct hp_token token;
	struct check checks[DOCTOR_MAX_CHECKS];
	size_t count;
	hsmpool_status first_failure; /* OK: none */
};

/* Add a line to the report. */
struct check *doctor_note(struct doctor *doctor, const char *name, enum finding finding,
			  const char *advice, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* A failure with the library's text; remembers status for the exit code. */
hsmpool_status doctor_fail(struct doctor *doctor, const char *name, const char *advice,
			   hsmpool_status status, const hsmpool_error *err);

/* doctor_sessions.c: how many sessions the token gives, and whether they suffice. */
void doctor_check_sessions(struct doctor *doctor);
/* doctor_speed.c: latency per operation. */
void doctor_check_speed(struct doctor *doctor);

#endif
