/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in pages of our own: guard page, locked and undumpable pages, guard page.
 *
 * Owns: the mapping of each secret. Must not: share a page between two secrets (munlock
 * and MADV act on pages) or move one. A secret has one owner; no locks here.
 */
#include "base/secret.h"

#include "base/memory.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT ((size_t)16)

static _Atomic bool some_unlocked;

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The bytes between the guard pages. data lies in the first of their pages. */
static uint8_t *inner_start(const struct hp_secret *secret)
{
	return (uint8_t *)((uintptr_t)secret->data & ~(uintptr_t)(page_size() - 1));
}

static size_t inner_len(const struct hp_secret *secret)
{
	return secret->map_len - 2 * page_size();
}

static bool lock_pages(struct hp_secret *secret)
{
	secret->locked = mlock(inner_start(secret), inner_len(secret)) == 0;
	if (!secret->locked)
		atomic_store_explicit(&some_unlocked, true, memory_order_relaxed);
	return secret->locked;
}

/* The data ends at (or less than 16 bytes before) the guard page: overruns trap. */
static bool map_pages(struct hp_secret *secret, size_t cap)
{
	size_t page = page_size();
	size_t rounded;
	if (!hp_size_add(cap > 0 ? cap : 1, ALIGNMENT - 1, &rounded))
		return false;
	rounded &= ~(ALIGNMENT - 1);
	size_t inner;
	if (!hp_size_add(rounded, page - 1, &inner))
		return false;
	inner &= ~(page - 1);
	if (!hp_size_add(inner, 2 * page, &secret->map_len))
		return false;
	uint8_t *base = mmap(NULL, secret->map_len, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return false;
	if (mprotect(base + page, inner, PROT_READ | PROT_WRITE) != 0) {
		munmap(base, secret->map_len);
		return false;
	}
	madvise(base + page, inner, MADV_DONTDUMP);
	secret->data = base + page + (inner - rounded);
	secret->cap = cap;
	return true;
}

struct hp_secret *hp_secret_new(size_t cap)
{
	struct hp_secret *secret = calloc(1, sizeof(*secret));
	if (!secret)
		return NULL;
	if (!map_pages(secret, cap)) {
		free(secret);
		return NULL;
	}
	lock_pages(secret);
	return secret;
}

void hp_secret_free(struct hp_secret **secret)
{
	struct hp_secret *old = *secret;
	if (!old)
		return;
	*secret = NULL;
	hp_wipe(inner_start(old), inner_len(old));
	munmap(inner_start(old) - page_size(), old->map_len);
	free(old);
}

void hp_secret_relock(struct hp_secret *secret)
{
	if (secret)
		lock_pages(secret);
}

bool hp_secret_some_unlocked(void)
{
	return atomic_load_explicit(&some_unlocked, memory_order_relaxed);
}

void hp_wipe(void *data, size_t len)
{
	if (len > 0)
		explicit_bzero(data, len);
}

bool hp_equal_secret(const void *a, const void *b, size_t len)
{
	return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
