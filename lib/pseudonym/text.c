/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "pseudonym/text.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

#define CAP_MIN ((size_t)64)
/* From here on it is left out of core dumps: the rows that are worked on. */
#define BULK_MIN ((size_t)16 << 10)

static bool is_bulk(size_t cap)
{
	return cap >= BULK_MIN;
}

/* Not realloc(): it would leave the old bytes behind. */
static hsmpool_status move_to(struct hp_text *text, size_t cap, hsmpool_error *err)
{
	uint8_t *data = is_bulk(cap) ? hp_bulk_new(cap) : malloc(cap);
	HP_CHECK(data, err, HSMPOOL_ERR_SYSTEM, "no memory for a text of %zu bytes", cap);
	if (text->len > 0)
		memcpy(data, text->data, text->len);
	struct hp_text old = *text;
	*text = (struct hp_text){ data, old.len, cap };
	hp_text_clear(&old);
	return HSMPOOL_OK;
}

hsmpool_status hp_text_reserve(struct hp_text *text, size_t more, hsmpool_error *err)
{
	size_t need, cap;
	HP_CHECK(hp_size_add(text->len, more, &need), err, HSMPOOL_ERR_SYSTEM,
		 "no memory for a text of that length");
	if (need <= text->cap)
		return HSMPOOL_OK;
	if (!hp_size_mul(text->cap, 2, &cap) || cap < need)
		cap = need;
	return move_to(text, cap < CAP_MIN ? CAP_MIN : cap, err);
}

hsmpool_status hp_text_append(struct hp_text *text, const void *data, size_t len,
			      hsmpool_error *err)
{
	if (len == 0)
		return HSMPOOL_OK;
	HP_TRY(hp_text_reserve(text, len, err));
	memcpy(text->data + text->len, data, len);
	text->len += len;
	return HSMPOOL_OK;
}

void hp_text_clear(struct hp_text *text)
{
	if (is_bulk(text->cap))
		hp_bulk_free(text->data, text->cap, text->cap);
	else
		hp_wipe_and_free(text->data);
	*text = (struct hp_text){ 0 };
}
