/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is logged in on a slot: the beginning and the end, with slot->change held.
 */
#ifndef HP_PROXY_LOGIN_H
#define HP_PROXY_LOGIN_H

#include "proxy/slot.h"

/* The application opens its first session: with automatic login it is the user now. */
CK_RV hp_login_at_first_session(struct hp_vslot *slot, hsmpool *pool);

/* It closed its last one: nobody is logged in any more. */
void hp_login_end(struct hp_vslot *slot, hsmpool *pool);

/* Whether administrative calls, an SO login among them, are for this application. */
bool hp_login_allows_admin(void);

#endif
