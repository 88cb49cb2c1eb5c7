/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "pseudonym/text.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

#define CAP_MIN ((size_t)64)

/* Not realloc(): it would leave the old bytes behind. */
static hsmpool_status move_to(struct hp_text *text, size_t cap, hsmpool_error *err)
{
	uint8_t *data = malloc(cap);
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
	hp_wipe(text->data, text->cap);
	free(text->data);
	*text = (struct hp_text){ 0 };
}
