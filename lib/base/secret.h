/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets: PINs and data keys, in pages of our own.
 *
 * The pages are mlock()ed, excluded from core dumps (MADV_DONTDUMP), fenced by guard
 * pages and wiped when freed. OpenSSL's secure heap is not used: it is process-wide
 * and belongs to the host program. Locks are not inherited by fork: a child that goes
 * on using a secret calls hp_secret_relock(). Where mlock is refused (RLIMIT_MEMLOCK)
 * the secret works unlocked and a warning is logged once.
 */
#ifndef HP_BASE_SECRET_H
#define HP_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hp_secret {
	uint8_t *data; /* cap bytes, never moved */
	size_t len;    /* bytes in use: the owner's to set */
	size_t cap;
	size_t map_len; /* private */
	bool locked;    /* private */
};

/* NULL: no memory. data is zeroed, len 0. */
struct hp_secret *hp_secret_new(size_t cap);
/* Wipes, unmaps, clears *secret. Accepts NULL in it. */
void hp_secret_free(struct hp_secret **secret);
void hp_secret_relock(struct hp_secret *secret);
/* Whether some secret of this process could not be locked (log once by the caller). */
bool hp_secret_some_unlocked(void);

/* Wipe memory in a way the compiler keeps, and this thread's vector registers. */
void hp_wipe(void *data, size_t len);
/* memcpy() and memcmp() leave the last of what they touched in vector registers, which
 * are in a core dump: clear those of this thread. A few nanoseconds. */
void hp_wipe_registers(void);
/* Wipe all of what malloc() gave, then free() it. Accepts NULL. */
void hp_wipe_and_free(void *memory);

/* Memory for plaintext in bulk: pages that are not locked, but left out of core dumps.
 * NULL: none. */
void *hp_bulk_new(size_t len);
/* len as it was asked for; touched: how much of it was written to, at most; that is
 * wiped. Accepts NULL. */
void hp_bulk_free(void *bulk, size_t len, size_t touched);
/* Equality in time that depends on len only. */
bool hp_equal_secret(const void *a, const void *b, size_t len);

#define HP_AUTO_SECRET struct hp_secret __attribute__((cleanup(hp_secret_free)))

#endif
