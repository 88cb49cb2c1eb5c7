/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in pages of our own: guard page, locked and undumpable pages, guard page.
 *
 * Owns: the mapping of each secret; what wiping means. Must not: share a page between two
 * secrets (munlock and MADV act on pages) or move one. A secret has one owner; no locks
 * here.
 */
#include "base/secret.h"

#include "base/memory.h"

#include <malloc.h>
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

/* Those that a function must keep for its caller cannot hold such copies. */
#if defined(__x86_64__)
#define LOWER_REGISTERS                                                                 \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
		"xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
void hp_wipe_registers(void)
{
	if (__builtin_cpu_supports("avx512vl")) /* glibc copies with these then */
		__asm__ volatile(
			".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
			"vpxord %%xmm\\n, %%xmm\\n, %%xmm\\n\n"
			".endr" ::);
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" ::: LOWER_REGISTERS);
	else
		__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
				 "pxor %%xmm\\n, %%xmm\\n\n"
				 ".endr" ::
					 : LOWER_REGISTERS);
}
#elif defined(__aarch64__)
void hp_wipe_registers(void)
{
	__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27,28,"
			 "29,30,31\n"
			 "movi v\\n\\().16b, #0\n"
			 ".endr" ::
				 : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16",
				   "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
				   "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
#else
void hp_wipe_registers(void)
{
}
#endif

void hp_wipe(void *data, size_t len)
{
	if (len == 0)
		return;
	explicit_bzero(data, len);
	hp_wipe_registers();
}

void hp_wipe_and_free(void *memory)
{
	if (memory)
		hp_wipe(memory, malloc_usable_size(memory));
	free(memory);
}

/* Of pages of its own the address sanitizer would not see where they are overrun. */
#if defined(__SANITIZE_ADDRESS__)
#define IS_ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_ADDRESS_SANITIZED 1
#endif
#endif

#ifdef IS_ADDRESS_SANITIZED
void *hp_bulk_new(size_t len)
{
	return malloc(len);
}

static void give_back(void *bulk, size_t len)
{
	(void)len;
	free(bulk);
}
#else
void *hp_bulk_new(size_t len)
{
	void *bulk = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	if (bulk == MAP_FAILED)
		return NULL;
	madvise(bulk, len, MADV_DONTDUMP);
	return bulk;
}

static void give_back(void *bulk, size_t len)
{
	munmap(bulk, len);
}
#endif

void hp_bulk_free(void *bulk, size_t len, size_t touched)
{
	if (!bulk)
		return;
	hp_wipe(bulk, touched);
	give_back(bulk, len);
}

bool hp_equal_secret(const void *a, const void *b, size_t len)
{
	return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
