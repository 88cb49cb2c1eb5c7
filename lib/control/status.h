/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a pool as JSON.
 */
#ifndef HP_CONTROL_STATUS_H
#define HP_CONTROL_STATUS_H

#include <hsmpool/pool.h>
#include "control/reply.h"

/* What [pool] without a name is called where a name is needed. */
#define HP_CONTROL_UNNAMED "default"
const char *hp_control_pool_name(const hsmpool *pool);

/* One value of an array. Makes no module call. */
void hp_control_add_pool(struct hp_reply *reply, hsmpool *pool);

#endif
