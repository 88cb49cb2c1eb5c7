/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of an audit trail, one after the other in the order of their times.
 *
 * Reads every chain of the folder, oldest file first, and merges them. Nothing is
 * checked: that is what `audit verify` is for. What is no record is skipped and counted.
 */
#ifndef CLI_AUDIT_READER_H
#define CLI_AUDIT_READER_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "cli.h"

struct audit_reader;

/* One record; everything is valid until the next one is asked for. */
struct audit_line {
	const char *file; /* its name in the folder */
	uint64_t number;  /* of the line, from 1 */
	unsigned chain;
	const char *text; /* the line, without its end */
	size_t len;
	const char *time; /* the record's: RFC 3339, UTC, microseconds */
};

/* The folder that operand names, or where it is NULL the configuration's `audit`. */
hsmpool_status audit_folder(struct cli *cli, const char *operand, const char **folder,
			    hsmpool_error *err);

hsmpool_status audit_reader_open(struct audit_reader **out, const char *folder,
				 hsmpool_error *err);
/* False: there are no more. */
bool audit_reader_next(struct audit_reader *reader, struct audit_line *line);
/* A failure: a file could not be read, so records are left out. */
hsmpool_status audit_reader_check(const struct audit_reader *reader, hsmpool_error *err);
/* Lines that were no records. */
uint64_t audit_reader_skipped(const struct audit_reader *reader);
void audit_reader_close(struct audit_reader **reader);

#endif
