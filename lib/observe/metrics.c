/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metrics.h.
 */
#include "observe/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/time.h"

/* One per room or topic that measures, and some to spare. */
static _Atomic(hp_metrics_source) sources[16];

void hp_metrics_add_source(hp_metrics_source source)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(sources); i++) {
		hp_metrics_source owner = atomic_load(&sources[i]);
		if (!owner && atomic_compare_exchange_strong(&sources[i], &owner, source))
			return;
		if (owner == source)
			return;
	}
	assert(!"more sources of metrics than places");
}

/* --- the process itself ----------------------------------------------------------- */

/* In ticks since the machine began to run: field 22 of /proc/self/stat, the twentieth
 * after the name, which may hold anything. 0: not known. */
static uint64_t read_start_ticks(void)
{
	char line[1024];
	FILE *file = fopen("/proc/self/stat", "re");
	size_t len = file ? fread(line, 1, sizeof(line) - 1, file) : 0;
	if (file)
		fclose(file);
	line[len] = '\0';
	char *at = strrchr(line, ')');
	for (int i = 0; at && i < 20; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* The wall clock's time; 0: not known. */
static uint64_t compute_start_ns(void)
{
	uint64_t ticks = read_start_ticks();
	int64_t per_second = sysconf(_SC_CLK_TCK);
	if (ticks == 0 || per_second <= 0)
		return 0;
	int64_t began_ns = hp_clock_ns(CLOCK_REALTIME) - hp_clock_ns(CLOCK_BOOTTIME);
	return (uint64_t)(began_ns + (int64_t)ticks * (HP_SECOND / per_second));
}

/* Once per process: computed anew it would waver with the clocks. */
static uint64_t start_ns(void)
{
	static _Atomic uint64_t epoch;
	static _Atomic uint64_t known;
	if (atomic_load(&epoch) != hp_process_epoch()) {
		atomic_store(&known, compute_start_ns());
		atomic_store(&epoch, hp_process_epoch());
	}
	return atomic_load(&known);
}

static const struct hp_family build = { "hsmpool_build", HP_FAMILY_INFO, NULL,
					"The release of hsmpool, as a label." };
static const struct hp_family start = {
	"hsmpool_process_start_time_seconds", HP_FAMILY_GAUGE, "seconds",
	"When the process began, in seconds since 1970."
};

static void write_process(struct hp_exposition *x)
{
	const struct hp_label version[] = { { "version", hsmpool_version() }, { 0 } };
	uint64_t began_ns = start_ns();
	hp_exposition_begin_family(x, &build);
	hp_exposition_add(x, version, 1);
	if (began_ns == 0)
		return;
	hp_exposition_begin_family(x, &start);
	hp_exposition_add_seconds(x, NULL, began_ns);
}

/* --- all of it -------------------------------------------------------------------- */

hsmpool_status hp_metrics_render(hsmpool_metrics_format format, const char *common,
				 char **text, size_t *len, hsmpool_error *err)
{
	struct hp_exposition x = { .format = format, .common = common };
	write_process(&x);
	for (size_t i = 0; i < HP_ARRAY_LEN(sources); i++) {
		hp_metrics_source source = atomic_load(&sources[i]);
		if (source)
			source(&x);
	}
	hp_exposition_end(&x);
	if (x.has_failed) {
		free(x.text);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for the metrics");
	}
	*text = x.text;
	*len = x.len;
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_metrics_text_as(hsmpool_metrics_format format, char **text,
				       size_t *len, hsmpool_error *err)
{
	size_t scratch;
	hp_error_clear(err);
	HP_CHECK(text, err, HSMPOOL_ERR_USAGE,
		 "no place for the metrics' text was given");
	*text = NULL;
	HP_CHECK(format == HSMPOOL_METRICS_OPENMETRICS ||
			 format == HSMPOOL_METRICS_PROMETHEUS,
		 err, HSMPOOL_ERR_USAGE, "there is no metrics format %d", (int)format);
	return hp_metrics_render(format, "", text, len ? len : &scratch, err);
}

hsmpool_status hsmpool_metrics_text(char **text, size_t *len, hsmpool_error *err)
{
	return hsmpool_metrics_text_as(HSMPOOL_METRICS_OPENMETRICS, text, len, err);
}
