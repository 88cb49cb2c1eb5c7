/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of one operation take: a key, a scheme, an input, an output, a format.
 */
#ifndef CLI_WORK_H
#define CLI_WORK_H

#include <stdbool.h>
#include "encoding.h"

struct work {
	const char *which;    /* --key, NULL: the default */
	const char *scheme;   /* NULL: the key's */
	const char *in_path;  /* NULL: standard input */
	const char *out_path; /* NULL: standard output */
	enum encoding encoding;
	bool is_forced;
};

/* Deal with --key, --scheme, --in, --out, --force or --format. */
hsmpool_status work_option(struct work *work, int id, const char *argument,
			   hsmpool_error *err);

#endif
