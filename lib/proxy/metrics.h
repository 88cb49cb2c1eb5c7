/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the proxy adds to the process's metrics: what applications hold of it. Real
 * sessions, those attached to operations too, are among the pools' figures.
 */
#ifndef HP_PROXY_METRICS_H
#define HP_PROXY_METRICS_H

/* At each C_Initialize. */
void hp_proxy_metrics_contribute(void);

#endif
