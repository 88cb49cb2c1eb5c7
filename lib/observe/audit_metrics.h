/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trails of the process among its metrics. */
#ifndef HP_OBSERVE_AUDIT_METRICS_H
#define HP_OBSERVE_AUDIT_METRICS_H

#include "observe/metrics.h"

/* An hp_metrics_source. */
void hp_audit_write_metrics(struct hp_exposition *x);

#endif
