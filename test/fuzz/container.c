/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of containers: any bytes. What is accepted is well-formed, is written back
 * byte for byte, is read alike in pieces of any length, and is described in printable
 * characters. The walk from chunk to chunk ends, and says the same by reading and by
 * skipping. The chunks themselves: decrypt.c.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <hsmpool/container.h>
#include "stream/chunk.h"
#include "stream/container.h"

/* Gives one byte, then two, then three, and so on. */
struct pieces {
	const uint8_t *data;
	size_t left;
	size_t next;
};

static hsmpool_status read_piece(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	(void)err;
	struct pieces *pieces = user;
	*len = ++pieces->next;
	if (*len > cap)
		*len = cap;
	if (*len > pieces->left)
		*len = pieces->left;
	if (*len > 0)
		memcpy(data, pieces->data, *len);
	pieces->data += *len;
	pieces->left -= *len;
	return HSMPOOL_OK;
}

static void must_be_printable(const struct hp_recipient_list *list)
{
	char text[200], one[17];
	hp_recipients_describe(list, text, sizeof(text));
	MUST(strlen(text) < sizeof(text));
	for (const char *at = text; *at; at++)
		MUST(*at >= 0x20 && *at < 0x7f);
	for (size_t i = 0; i < list->count; i++) {
		hp_recipient_describe(&list->at[i], one, sizeof(one));
		MUST(strlen(one) < sizeof(one));
	}
}

static void must_be_written_alike(const struct hp_container *container)
{
	struct hp_container *again = calloc(1, sizeof(*again));
	hsmpool_error err = { 0 };
	MUST(again);
	again->fixed = container->fixed;
	MUST(hp_container_encode(again, container->recipients.at,
				 container->recipients.count, &err) == HSMPOOL_OK);
	MUST(again->raw_len == container->raw_len);
	MUST(memcmp(again->raw, container->raw, again->raw_len) == 0);
	free(again);
}

static void must_be_read_alike(const uint8_t *data, size_t len, hsmpool_status expected,
			       const struct hp_container *container)
{
	struct pieces pieces = { data, len, 0 };
	struct hp_source source = { .read = read_piece, .user = &pieces };
	struct hp_container *again = malloc(sizeof(*again));
	hsmpool_error err = { 0 };
	MUST(again);
	MUST(hp_container_read(&source, again, &err) == expected);
	if (expected == HSMPOOL_OK) {
		size_t header_len = hp_header_len(container);
		MUST(hp_header_len(again) == header_len);
		MUST(memcmp(again->raw, container->raw, header_len) == 0);
	}
	free(again);
}

static hsmpool_status skip_piece(void *user, uint64_t len, uint64_t *skipped,
				 hsmpool_error *err)
{
	(void)err;
	struct pieces *pieces = user;
	*skipped = len < pieces->left ? len : pieces->left;
	pieces->data += *skipped;
	pieces->left -= (size_t)*skipped;
	return HSMPOOL_OK;
}

static void must_be_inspected_alike(const uint8_t *data, size_t len,
				    hsmpool_status header)
{
	hsmpool_container_info info[2];
	for (int way = 0; way < 2; way++) {
		struct pieces pieces = { data, len, 0 };
		hsmpool_error err = { 0 };
		info[way].size = sizeof(info[way]);
		hsmpool_status status = hsmpool_container_inspect(
			read_piece, way ? skip_piece : NULL, &pieces, &info[way], &err);
		fuzz_must_explain(status, &err);
		MUST((status == HSMPOOL_OK) ==
		     (info[way].state == HSMPOOL_CONTAINER_WHOLE));
		MUST(info[way].state != HSMPOOL_CONTAINER_UNREAD);
		MUST((info[way].header_bytes > 0) == (header == HSMPOOL_OK));
		MUST(info[way].container_bytes <= len);
		MUST(info[way].body_bytes <= info[way].plain_bytes);
	}
	MUST(info[0].state == info[1].state && info[0].chunks == info[1].chunks);
	MUST(info[0].container_bytes == info[1].container_bytes);
}

/* Whatever stands behind the header as the first chunk's head. */
static void read_head(const struct hp_container *container, const uint8_t *data,
		      size_t len)
{
	struct hp_chunk_head head;
	uint8_t again[HP_CHUNK_HEAD_LEN];
	hsmpool_error err = { 0 };
	if (len < HP_CHUNK_HEAD_LEN)
		return;
	for (uint64_t index = 0; index < 2; index++) {
		hsmpool_status status =
			hp_chunk_head_decode(data, &container->fixed, index, &head, &err);
		fuzz_must_explain(status, &err);
		if (status != HSMPOOL_OK)
			continue;
		MUST(head.plain_len <= container->fixed.chunk_size);
		MUST(head.body_len <= head.plain_len);
		hp_chunk_head_encode(&head, again);
		MUST(memcmp(again, data, sizeof(again)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct hp_container *container = malloc(sizeof(*container));
	uint8_t *copy = fuzz_copy(data, len);
	size_t used = 0;
	hsmpool_error err = { 0 };
	MUST(container);
	hsmpool_status status = hp_container_parse(copy, len, container, &used, &err);
	fuzz_must_explain(status, &err);
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_DATA);
	must_be_read_alike(copy, len, status, container);
	must_be_inspected_alike(copy, len, status);
	if (status == HSMPOOL_OK) {
		MUST(used <= len);
		must_be_printable(&container->recipients);
		must_be_written_alike(container);
		read_head(container, copy + used, len - used);
	}
	free(copy);
	free(container);
	return 0;
}
