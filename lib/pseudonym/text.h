/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that grow, and may be secret: rows, values, inputs of an HMAC.
 *
 * What is given up, when growing too, is wiped. One owner; no locks.
 */
#ifndef HP_PSEUDONYM_TEXT_H
#define HP_PSEUDONYM_TEXT_H

#include <hsmpool/status.h>

/* Zeroed: empty. */
struct hp_text {
	uint8_t *data; /* NULL while cap is 0 */
	size_t len;    /* the owner may lower it */
	size_t cap;
};

/* Room for more bytes behind len. SYSTEM: no memory; the text is as before. */
hsmpool_status hp_text_reserve(struct hp_text *text, size_t more, hsmpool_error *err);
hsmpool_status hp_text_append(struct hp_text *text, const void *data, size_t len,
			      hsmpool_error *err);
/* Wipe and free; it is empty then. */
void hp_text_clear(struct hp_text *text);

#endif
