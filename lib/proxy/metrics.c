/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metrics.h. Two counters are read; no lock.
 */
#include "proxy/metrics.h"

#include "observe/metrics.h"
#include "proxy/journal.h"
#include "proxy/vsession.h"

static const struct hp_family sessions = {
	"hsmpool_virtual_sessions", HP_FAMILY_GAUGE, NULL,
	"Sessions that the application has open on hsmpool-pkcs11.so."
};
static const struct hp_family journal = {
	"hsmpool_journal_bytes", HP_FAMILY_GAUGE, "bytes",
	"Memory that holds input of unfinished operations, to begin them again."
};

static void write_families(struct hp_exposition *x)
{
	hp_exposition_begin_family(x, &sessions);
	hp_exposition_add(x, NULL, hp_vsessions_count());
	hp_exposition_begin_family(x, &journal);
	hp_exposition_add(x, NULL, hp_journals_total());
}

void hp_proxy_metrics_contribute(void)
{
	hp_metrics_add_source(write_families);
}
