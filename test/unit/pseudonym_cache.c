/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of HMACs: what it finds, forgets, and never confuses. */
#include "support/fixture.h"

#include "base/memory.h"
#include "pseudonym/cache.h"

#include <pthread.h>
#include <string.h>

enum { SET = 8, SMALL = SET * 64 /* bytes: one set */ };

/* Names that fall evenly over the sets, as hashes do; the MAC follows from the number. */
static void make(uint64_t number, uint8_t name[HP_CACHE_NAME_LEN],
		 uint8_t mac[HP_CACHE_MAC_LEN])
{
	memset(name, 0xa5, HP_CACHE_NAME_LEN);
	hp_put_be64(name, number * UINT64_C(0x9e3779b97f4a7c15));
	hp_put_be64(name + 8, number);
	memset(mac, 0x5a, HP_CACHE_MAC_LEN);
	hp_put_be64(mac + 24, number);
}

static void put(struct hp_cache *cache, uint64_t number)
{
	uint8_t name[HP_CACHE_NAME_LEN], mac[HP_CACHE_MAC_LEN];
	make(number, name, mac);
	hp_cache_put(cache, name, mac);
}

/* Whether it is there; if it is, it must be right. */
static bool find(struct hp_cache *cache, uint64_t number)
{
	uint8_t name[HP_CACHE_NAME_LEN], mac[HP_CACHE_MAC_LEN], found[HP_CACHE_MAC_LEN];
	make(number, name, mac);
	if (!hp_cache_find(cache, name, found))
		return false;
	assert_memory_equal(found, mac, sizeof(mac));
	return true;
}

static struct hp_cache *new_cache(size_t bytes)
{
	struct hp_cache *cache = hp_cache_new(bytes);
	assert_non_null(cache);
	return cache;
}

static void what_was_put_is_found(void **state)
{
	(void)state;
	struct hp_cache *cache = new_cache(HP_CACHE_BYTES);
	assert_false(find(cache, 1));
	put(cache, 1);
	assert_true(find(cache, 1));
	assert_false(find(cache, 2));
	hp_cache_free(&cache);
	assert_null(cache);
}

static void a_full_set_forgets_what_was_not_used_for_longest(void **state)
{
	(void)state;
	struct hp_cache *cache = new_cache(SMALL);
	for (uint64_t i = 0; i < SET; i++)
		put(cache, i);
	assert_true(find(cache, 0)); /* used again: 1 is the oldest now */
	put(cache, SET);
	assert_true(find(cache, 0));
	assert_false(find(cache, 1));
	for (uint64_t i = 2; i <= SET; i++)
		assert_true(find(cache, i));
	hp_cache_free(&cache);
}

static void putting_twice_takes_one_place(void **state)
{
	(void)state;
	struct hp_cache *cache = new_cache(SMALL);
	for (uint64_t i = 0; i < SET; i++)
		put(cache, i);
	for (int i = 0; i < 100; i++)
		put(cache, 3);
	for (uint64_t i = 0; i < SET; i++)
		assert_true(find(cache, i));
	hp_cache_free(&cache);
}

static void most_of_what_fits_is_kept(void **state)
{
	(void)state;
	enum { FIT = HP_CACHE_BYTES / 64, PUT = FIT / 2 };
	struct hp_cache *cache = new_cache(HP_CACHE_BYTES);
	unsigned kept = 0;
	for (uint64_t i = 0; i < PUT; i++)
		put(cache, i);
	for (uint64_t i = 0; i < PUT; i++)
		kept += find(cache, i);
	assert_true(kept > PUT * 9 / 10);
	hp_cache_free(&cache);
}

struct visitor {
	struct hp_cache *cache;
	uint64_t first;
	bool is_wrong;
};

/* cmocka's assertions belong to its own thread. */
static void *visit(void *user)
{
	struct visitor *v = user;
	uint8_t name[HP_CACHE_NAME_LEN], mac[HP_CACHE_MAC_LEN], found[HP_CACHE_MAC_LEN];
	for (uint64_t i = 0; i < 20000; i++) {
		make(v->first + i % 50, name, mac);
		if (!hp_cache_find(v->cache, name, found))
			hp_cache_put(v->cache, name, mac);
		else if (memcmp(found, mac, sizeof(mac)) != 0)
			v->is_wrong = true;
	}
	return NULL;
}

static void threads_find_each_others_and_nothing_wrong(void **state)
{
	(void)state;
	enum { THREADS = 4 };
	struct hp_cache *cache = new_cache(4 * SMALL);
	struct visitor visitors[THREADS];
	pthread_t threads[THREADS];
	for (size_t i = 0; i < THREADS; i++) {
		visitors[i] = (struct visitor){ cache, i * 25, false };
		assert_int_equal(pthread_create(&threads[i], NULL, visit, &visitors[i]),
				 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_false(visitors[i].is_wrong);
	}
	hp_cache_free(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found),
		cmocka_unit_test(a_full_set_forgets_what_was_not_used_for_longest),
		cmocka_unit_test(putting_twice_takes_one_place),
		cmocka_unit_test(most_of_what_fits_is_kept),
		cmocka_unit_test(threads_find_each_others_and_nothing_wrong),
	};
	return cmocka_run_group_tests_name("pseudonym_cache", tests, NULL, NULL);
}
