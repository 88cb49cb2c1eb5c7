/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often policies refused, and would have: metrics of the process.
 *
 * Kept from the first pool with a section of that name to the end of the process, so that
 * no count falls when a pool is closed or the configuration is read again.
 */
#ifndef HP_POOL_POLICY_COUNTS_H
#define HP_POOL_POLICY_COUNTS_H

#include "config/policy.h"

struct hp_policy_counts;

/* Those of the section policy of a pool ("" is [pool]). NULL: no memory. */
struct hp_policy_counts *hp_policy_counts_of(const char *pool, const char *policy);

/* No lock. mode: whether it refused, or would have. */
void hp_policy_count(struct hp_policy_counts *counts, enum hp_action action,
		     enum hp_policy_mode mode);
uint64_t hp_policy_counted(const struct hp_policy_counts *counts, enum hp_action action,
			   enum hp_policy_mode mode);

#endif
