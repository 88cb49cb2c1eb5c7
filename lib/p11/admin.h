/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Administration of tokens: what an operator does once, and the pool never.
 *
 * Used by `hsmpool-cli dev init` alone. It must not be used beside a pool on the same
 * module that is not ours (is_ours is checked): the token's other users would notice.
 */
#ifndef HP_P11_ADMIN_H
#define HP_P11_ADMIN_H

#include <hsmpool/status.h>
#include "base/secret.h"
#include "p11/module.h"

/*
 * hp_admin_create_token - initialise a token in a free slot and set its user PIN.
 *
 * Only a slot whose token is not initialised yet is taken: no token is ever erased.
 * label is at most 32 bytes. DOWN: no free slot, or the module refused.
 */
hsmpool_status hp_admin_create_token(struct hp_module *module, const char *label,
				     const struct hp_secret *so_pin,
				     const struct hp_secret *user_pin,
				     hsmpool_error *err);

#endif
