/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_metrics.h. One process has one trail, mostly: the sum of all is told, without
 * labels.
 */
#include "observe/audit_metrics.h"

#include <stddef.h>
#include <string.h>
#include "base/memory.h"
#include "base/time.h"
#include "observe/audit.h"

static const struct {
	struct hp_family family;
	size_t offset;
} counters[] = {
#define COUNTER(name, member, help)                                       \
	{                                                                 \
		{ "hsmpool_audit_" name, HP_FAMILY_COUNTER, NULL, help }, \
			offsetof(struct hp_audit_figures, member)         \
	}
	COUNTER("records", records, "Records written to the audit trail."),
	COUNTER("lost", lost, "Uses of the HSM without a record of them."),
	COUNTER("refused", refused, "Uses refused for want of a record."),
	COUNTER("failures", failures, "Failures to write the audit trail."),
	COUNTER("rotations", rotations, "Files of the audit trail that were ended."),
	COUNTER("files_deleted", deleted, "Files that retention deleted."),
};

static const struct hp_family failing = { "hsmpool_audit_failing", HP_FAMILY_GAUGE, NULL,
					  "1 while records cannot be written." };
static const struct hp_family slots = { "hsmpool_audit_slots_used", HP_FAMILY_GAUGE, NULL,
					"Records begun, or not written yet." };
static const struct hp_family without = {
	"hsmpool_audit_unauthenticated_records", HP_FAMILY_GAUGE, NULL,
	"Records that no checkpoint covers yet, where there are to be checkpoints."
};
static const struct hp_family oldest = { "hsmpool_audit_unauthenticated_seconds",
					 HP_FAMILY_GAUGE, "seconds",
					 "Age of the oldest of them." };

static void write_gauge(struct hp_exposition *x, const struct hp_family *family,
			uint64_t value)
{
	hp_exposition_begin_family(x, family);
	hp_exposition_add(x, NULL, value);
}

void hp_audit_write_metrics(struct hp_exposition *x)
{
	struct hp_audit_figures sum;
	hp_audit_sum_figures(&sum);
	for (size_t i = 0; i < HP_ARRAY_LEN(counters); i++) {
		uint64_t value;
		memcpy(&value, (const char *)&sum + counters[i].offset, sizeof(value));
		hp_exposition_begin_family(x, &counters[i].family);
		hp_exposition_add(x, NULL, value);
	}
	write_gauge(x, &failing, sum.is_failing);
	write_gauge(x, &slots, sum.slots_used);
	write_gauge(x, &without, sum.unauthenticated);
	hp_exposition_begin_family(x, &oldest);
	int64_t age = sum.unauthenticated_since_ns > 0
			      ? hp_now_ns() - sum.unauthenticated_since_ns
			      : 0;
	hp_exposition_add_seconds(x, NULL, age > 0 ? (uint64_t)age : 0);
}
