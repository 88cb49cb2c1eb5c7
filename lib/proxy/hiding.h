/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private objects of an application that has logged out with automatic login, where
 * another part of the process uses the module too: the real sessions stay logged in for
 * that, so hiding them is ours. (Else the logout was real, and the module does it.)
 */
#ifndef HP_PROXY_HIDING_H
#define HP_PROXY_HIDING_H

#include "proxy/process.h"
#include "proxy/vsession.h"

static inline bool hp_vsession_hides_private(struct hp_vsession *vs)
{
	return hp_proxy_logs_in_automatically() && !hp_proxy_module()->is_ours &&
	       hp_vslot_login(vs->slot) == HP_VLOGIN_PUBLIC;
}

#endif
