/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's metrics: who contributes families, and all of them as one text.
 *
 * A room keeps its figures itself and hands in a function that writes its families; each
 * family is one room's. Must not: know what is measured, except of the process itself.
 */
#ifndef HP_OBSERVE_METRICS_H
#define HP_OBSERVE_METRICS_H

#include <hsmpool/metrics.h>
#include "observe/exposition.h"

/* Writes its families, all of the process. Called by any thread, with no lock held. */
typedef void (*hp_metrics_source)(struct hp_exposition *x);

/* From now on, also in a forked child; once is enough, more does no harm. */
void hp_metrics_add_source(hp_metrics_source source);

/* As hsmpool_metrics_text_as(), with labels that every sample gets (hp_label_format());
 * "": none. */
hsmpool_status hp_metrics_render(hsmpool_metrics_format format, const char *common,
				 char **text, size_t *len, hsmpool_error *err);

#endif
