/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scrape: the metrics of all processes, and how asking them went.
 *
 * Bounded in time by SCRAPE_NS, whatever the processes do. Thread-safe.
 */
#ifndef CLI_SCRAPE_H
#define CLI_SCRAPE_H

#include <stddef.h>
#include <hsmpool/metrics.h>
#include "base/time.h"

#define SCRAPE_NS (2 * HP_SECOND)

/* Text to be freed. */
hsmpool_status scrape(hsmpool_metrics_format format, char **text, size_t *len,
		      hsmpool_error *err);

/* The format that a request with this Accept header is answered in; NULL: none. */
hsmpool_metrics_format scrape_choose_format(const char *accept);

/* What a format is called in a Content-Type header. */
const char *scrape_content_type(hsmpool_metrics_format format);

#endif
