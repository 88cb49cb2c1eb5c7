/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private objects of an application that has logged out with automatic login: the real
 * sessions stay logged in, so hiding them is ours. (With the application's own login the
 * module does it.)
 */
#ifndef HP_PROXY_HIDING_H
#define HP_PROXY_HIDING_H

#include "proxy/process.h"
#include "proxy/vsession.h"

static inline bool hp_vsession_hides_private(struct hp_vsession *vs)
{
	return hp_proxy_logs_in_automatically() &&
	       hp_vslot_login(vs->slot) == HP_VLOGIN_PUBLIC;
}

#endif
