/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's attachment of lib/crypto: made, counted and freed here.
 */
#include "crypto/attachment.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "crypto/copies.h"

static void release_attachment(void *user)
{
	struct hp_attachment *attachment = user;

	atomic_store(&attachment->is_closed, true);
	hp_attachment_drop(&attachment);
}

hsmpool_status hp_attachment_make(hsmpool *pool, struct hp_key_options *names,
				  size_t name_count, hsmpool_error *err)
{
	struct hp_attachment *attachment = calloc(1, sizeof(*attachment));

	if (!attachment) {
		hp_key_options_free(names, name_count);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "open a pool: no memory");
	}
	atomic_init(&attachment->references, 1);
	atomic_init(&attachment->is_closed, false);
	attachment->names = names;
	attachment->name_count = name_count;
	pthread_mutex_init(&attachment->creation, NULL);
	pthread_mutex_init(&attachment->lock, NULL);
	hp_pool_set_attachment(pool, attachment, release_attachment);
	return HSMPOOL_OK;
}

struct hp_attachment *hp_attachment_of(const hsmpool *pool)
{
	return hp_pool_attachment(pool);
}

struct hp_attachment *hp_attachment_hold(struct hp_attachment *attachment)
{
	if (attachment)
		atomic_fetch_add_explicit(&attachment->references, 1,
					  memory_order_relaxed);
	return attachment;
}

void hp_attachment_drop(struct hp_attachment **address)
{
	struct hp_attachment *attachment = *address;

	*address = NULL;
	if (!attachment || atomic_fetch_sub(&attachment->references, 1) != 1)
		return;
	hp_key_options_free(attachment->names, attachment->name_count);
	hp_copies_free(attachment);
	pthread_mutex_destroy(&attachment->creation);
	pthread_mutex_destroy(&attachment->lock);
	free(attachment);
}

const struct hp_key_options *hp_attachment_key(const struct hp_attachment *attachment,
					       const char *name)
{
	for (size_t i = 0; attachment && i < attachment->name_count; i++)
		if (strcmp(attachment->names[i].name, name) == 0)
			return &attachment->names[i];
	return NULL;
}
