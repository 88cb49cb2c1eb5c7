/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's attachment of lib/crypto: made, counted and freed here.
 */
#include "crypto/registry.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"

static void release_attachment(void *attachment)
{
	struct hp_registry *registry = attachment;

	atomic_store(&registry->is_closed, true);
	hp_registry_drop(&registry);
}

hsmpool_status hp_registry_attach(hsmpool *pool, struct hp_key_options *names,
				  size_t name_count, hsmpool_error *err)
{
	struct hp_registry *registry = calloc(1, sizeof(*registry));

	if (!registry) {
		hp_key_options_free(names, name_count);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "open a pool: no memory");
	}
	atomic_init(&registry->references, 1);
	atomic_init(&registry->is_closed, false);
	registry->names = names;
	registry->name_count = name_count;
	pthread_mutex_init(&registry->creation, NULL);
	pthread_mutex_init(&registry->lock, NULL);
	hp_pool_set_attachment(pool, registry, release_attachment);
	return HSMPOOL_OK;
}

struct hp_registry *hp_registry_of(const hsmpool *pool)
{
	return hp_pool_attachment(pool);
}

struct hp_registry *hp_registry_hold(struct hp_registry *registry)
{
	if (registry)
		atomic_fetch_add_explicit(&registry->references, 1, memory_order_relaxed);
	return registry;
}

void hp_registry_drop(struct hp_registry **address)
{
	struct hp_registry *registry = *address;

	*address = NULL;
	if (!registry || atomic_fetch_sub(&registry->references, 1) != 1)
		return;
	hp_key_options_free(registry->names, registry->name_count);
	pthread_mutex_destroy(&registry->creation);
	pthread_mutex_destroy(&registry->lock);
	free(registry);
}

const struct hp_key_options *hp_registry_key(const struct hp_registry *registry,
					     const char *name)
{
	for (size_t i = 0; registry && i < registry->name_count; i++)
		if (strcmp(registry->names[i].name, name) == 0)
			return &registry->names[i];
	return NULL;
}
