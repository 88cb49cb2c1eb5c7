/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMACs that were made before: a table of bounded size, shared by all threads of a run.
 *
 * An entry is the SHA-256 of an HMAC's input and that HMAC, so values are not in it, and
 * what is found is right whatever was looked for. Sets of eight entries, of which the
 * one not used for longest gives way. Wiped at the end, not in core dumps.
 */
#ifndef HP_PSEUDONYM_CACHE_H
#define HP_PSEUDONYM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HP_CACHE_NAME_LEN = 32, /* SHA-256 of the input */
	HP_CACHE_MAC_LEN = 32,
	HP_CACHE_BYTES = 8 << 20 /* what is usual: 131 072 entries */
};

struct hp_cache;

/* At most bytes, and at least one set; pages are taken when used. NULL: no memory. */
struct hp_cache *hp_cache_new(size_t bytes);
void hp_cache_free(struct hp_cache **cache);

/* False: not there. Thread-safe, as is the next; the lock is held for a few dozen
 * instructions. */
bool hp_cache_find(struct hp_cache *cache, const uint8_t name[HP_CACHE_NAME_LEN],
		   uint8_t mac[HP_CACHE_MAC_LEN]);
void hp_cache_put(struct hp_cache *cache, const uint8_t name[HP_CACHE_NAME_LEN],
		  const uint8_t mac[HP_CACHE_MAC_LEN]);

/* How often something was found, and put in. Thread-safe. */
void hp_cache_get_counts(struct hp_cache *cache, uint64_t *found, uint64_t *put);

#endif
