/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that shall open a container, named by options that may be repeated.
 */
#ifndef CLI_RECIPIENTS_H
#define CLI_RECIPIENTS_H

#include "cli.h"

struct recipients {
	const char *which[CLI_MAX_KEYS];
	hsmpool_key *keys[CLI_MAX_KEYS];
	size_t count;
};

/* One more; USAGE beyond what a container can have. */
hsmpool_status recipients_add(struct recipients *recipients, const char *which,
			      hsmpool_error *err);

/* Open all of them, the pool first. KEY for one that could take data and never give it
 * back. A name that is NULL stands for [key default]. */
hsmpool_status recipients_open(struct cli *cli, struct recipients *recipients,
			       hsmpool_error *err);
void recipients_close(struct recipients *recipients);

#endif
