/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes that are published anyway, such as IVs: unique, not secret.
 *
 * Drawn from OpenSSL's generator in batches per thread, because one call costs as much
 * as a whole borrow, whatever its length. No byte is handed out twice: what was used is
 * wiped, and a forked child begins with a batch of its own.
 */
#ifndef HP_BASE_NONCE_H
#define HP_BASE_NONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False if the generator failed. Never for keys: use RAND_priv_bytes() for those. */
bool hp_nonce_draw(uint8_t *out, size_t len);

#endif
