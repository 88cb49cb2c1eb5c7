/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cache.h.
 *
 * Locking: a set belongs to one of LOCKS mutexes, by its number; they are leaves.
 */
#include "pseudonym/cache.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "base/memory.h"
#include "base/secret.h"

enum { WAYS = 8, LOCKS = 64 };

/* A name of zeros is an empty entry; no SHA-256 that anybody ever saw is zero. */
struct entry {
	uint8_t name[HP_CACHE_NAME_LEN];
	uint8_t mac[HP_CACHE_MAC_LEN];
};

struct set {
	struct entry at[WAYS]; /* the one used last is the first */
};

struct hp_cache {
	pthread_mutex_t locks[LOCKS];
	size_t set_count; /* a power of two */
	struct set *sets; /* set i guarded by locks[i % LOCKS] */
	struct {
		uint64_t found, put; /* guarded by the lock of that number */
	} counts[LOCKS];
};

static size_t sets_for(size_t bytes)
{
	size_t count = 1;
	while (count <= bytes / sizeof(struct set) / 2)
		count *= 2;
	return count;
}

struct hp_cache *hp_cache_new(size_t bytes)
{
	struct hp_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return NULL;
	cache->set_count = sets_for(bytes);
	size_t len = cache->set_count * sizeof(struct set);
	cache->sets = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (cache->sets == MAP_FAILED) {
		free(cache);
		return NULL;
	}
	madvise(cache->sets, len, MADV_DONTDUMP);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&cache->locks[i], NULL);
	return cache;
}

void hp_cache_free(struct hp_cache **cache)
{
	struct hp_cache *old = *cache;
	if (!old)
		return;
	*cache = NULL;
	size_t len = old->set_count * sizeof(struct set);
	hp_wipe(old->sets, len);
	munmap(old->sets, len);
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&old->locks[i]);
	free(old);
}

static size_t set_of(const struct hp_cache *cache, const uint8_t *name)
{
	return hp_get_be64(name) & (cache->set_count - 1);
}

/* Its place in the set, or WAYS. */
static size_t place_of(const struct set *set, const uint8_t *name)
{
	size_t i = 0;
	while (i < WAYS && memcmp(set->at[i].name, name, HP_CACHE_NAME_LEN) != 0)
		i++;
	return i;
}

/* The entry becomes the first; those before it move back, over place. */
static void move_to_front(struct set *set, size_t place, const struct entry *entry)
{
	memmove(&set->at[1], &set->at[0], place * sizeof(*entry));
	set->at[0] = *entry;
}

bool hp_cache_find(struct hp_cache *cache, const uint8_t name[HP_CACHE_NAME_LEN],
		   uint8_t mac[HP_CACHE_MAC_LEN])
{
	size_t number = set_of(cache, name);
	struct set *set = &cache->sets[number];
	pthread_mutex_lock(&cache->locks[number % LOCKS]);
	size_t place = place_of(set, name);
	if (place < WAYS) {
		struct entry found = set->at[place];
		move_to_front(set, place, &found);
		memcpy(mac, found.mac, HP_CACHE_MAC_LEN);
		cache->counts[number % LOCKS].found++;
	}
	pthread_mutex_unlock(&cache->locks[number % LOCKS]);
	return place < WAYS;
}

void hp_cache_put(struct hp_cache *cache, const uint8_t name[HP_CACHE_NAME_LEN],
		  const uint8_t mac[HP_CACHE_MAC_LEN])
{
	size_t number = set_of(cache, name);
	struct set *set = &cache->sets[number];
	struct entry entry;
	memcpy(entry.name, name, sizeof(entry.name));
	memcpy(entry.mac, mac, sizeof(entry.mac));
	pthread_mutex_lock(&cache->locks[number % LOCKS]);
	size_t place = place_of(set, name);
	move_to_front(set, place < WAYS ? place : WAYS - 1, &entry);
	cache->counts[number % LOCKS].put++;
	pthread_mutex_unlock(&cache->locks[number % LOCKS]);
}

void hp_cache_get_counts(struct hp_cache *cache, uint64_t *found, uint64_t *put)
{
	*found = *put = 0;
	for (size_t i = 0; i < LOCKS; i++) {
		pthread_mutex_lock(&cache->locks[i]);
		*found += cache->counts[i].found;
		*put += cache->counts[i].put;
		pthread_mutex_unlock(&cache->locks[i]);
	}
}
