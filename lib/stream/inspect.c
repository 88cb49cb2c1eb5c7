/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_container_inspect: header and chunk heads, without any key.
 *
 * Owns: the walk from head to head, and telling apart the ways in which a container is
 * not whole. It reads through a window; over the bodies of large chunks it skips, if the
 * caller can. Must not: believe a length before the head's rules were checked.
 */
#include <hsmpool/container.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/container.h"

enum { WINDOW_LEN = 64 << 10 };

struct walk {
	struct hp_source source;
	hsmpool_skip_fn skip;
	struct hp_container container;
	hsmpool_container_info *info;
	uint8_t window[WINDOW_LEN];
	size_t have; /* bytes in window, from where the walk stands */
};

/* ---- what the header says ---- */

static void describe_fixed_part(const struct hp_fixed_part *fixed,
				hsmpool_container_info *info)
{
	static const uint8_t none[HP_HASH_LEN];
	info->version = HP_CONTAINER_VERSION;
	info->mode = fixed->mode == HP_MODE_DIRECT ? HSMPOOL_STREAM_DIRECT
						   : HSMPOOL_STREAM_ENVELOPE;
	info->suite = fixed->suite;
	info->compression = fixed->compression == HP_COMPRESSION_ZSTD
				    ? HSMPOOL_COMPRESSION_ZSTD
				    : HSMPOOL_COMPRESSION_NONE;
	info->chunk_size = fixed->chunk_size;
	info->needs_context = memcmp(fixed->context_hash, none, sizeof(none)) != 0;
	memcpy(info->id, fixed->id, sizeof(info->id));
}

static void describe_recipient(const struct hp_recipient *recipient,
			       hsmpool_container_recipient *out)
{
	hp_recipient_kind(recipient, out->kind, sizeof(out->kind));
	hp_recipient_label(recipient, out->label, sizeof(out->label));
	hp_hex_encode(recipient->id.data, recipient->id.len, out->id);
	hp_hex_encode(recipient->check.data, recipient->check.len, out->check);
}

static void describe_recipients(const struct hp_container *c,
				hsmpool_container_info *info)
{
	_Static_assert((int)HSMPOOL_CONTAINER_RECIPIENTS == (int)HP_RECIPIENTS_MAX,
		       "room for every recipient");
	for (size_t i = 0; i < c->recipients.count; i++)
		describe_recipient(&c->recipients.at[i], &info->recipients[i]);
	info->recipient_count = (uint32_t)c->recipients.count;
	info->header_bytes = hp_header_len(c);
	info->container_bytes = info->header_bytes;
}

/* Why the header could not be read. It is read in exact pieces, so at the end of the
 * input means: in the middle of one. */
static hsmpool_container_state state_of_header(const struct walk *w)
{
	if (!hp_container_begins(w->container.raw, w->container.raw_len))
		return HSMPOOL_CONTAINER_NONE;
	return w->source.is_at_end ? HSMPOOL_CONTAINER_TRUNCATED
				   : HSMPOOL_CONTAINER_DAMAGED;
}

static hsmpool_status read_header(struct walk *w, hsmpool_error *err)
{
	hsmpool_status status = hp_container_read(&w->source, &w->container, err);
	if (w->container.fixed.mode != 0)
		describe_fixed_part(&w->container.fixed, w->info);
	if (status == HSMPOOL_OK)
		describe_recipients(&w->container, w->info);
	else if (status == HSMPOOL_ERR_DATA)
		w->info->state = state_of_header(w);
	return status;
}

/* ---- from head to head ---- */

static hsmpool_status truncated(struct walk *w, const char *where, hsmpool_error *err)
{
	w->info->state = HSMPOOL_CONTAINER_TRUNCATED;
	return hp_fail(err, HSMPOOL_ERR_DATA,
		       "the container is cut %s chunk %" PRIu64 ": its end is missing",
		       where, w->info->chunks);
}

/* More than a head is read only where the next ones are likely to be in it. */
static size_t read_ahead(const struct walk *w)
{
	const struct hp_fixed_part *fixed = &w->container.fixed;
	bool is_worth_skipping =
		hp_chunk_frame_len(fixed->mode, fixed->chunk_size) >= WINDOW_LEN;
	return w->skip && is_worth_skipping ? HP_CHUNK_HEAD_LEN : WINDOW_LEN;
}

static hsmpool_status read_head(struct walk *w, struct hp_chunk_head *head,
				hsmpool_error *err)
{
	HP_TRY(hp_source_fill(&w->source, w->window, read_ahead(w), HP_CHUNK_HEAD_LEN,
			      &w->have, err));
	if (w->have < HP_CHUNK_HEAD_LEN)
		return truncated(w, w->have == 0 ? "before" : "inside", err);
	hsmpool_status status = hp_chunk_head_decode(w->window, &w->container.fixed,
						     w->info->chunks, head, err);
	if (status == HSMPOOL_ERR_DATA)
		w->info->state = HSMPOOL_CONTAINER_DAMAGED;
	return status;
}

static hsmpool_status skip_bytes(struct walk *w, uint64_t len, uint64_t *skipped,
				 hsmpool_error *err)
{
	*skipped = 0;
	hp_error_clear(err);
	hsmpool_status status = w->skip(w->source.user, len, skipped, err);
	if (status != HSMPOOL_OK && (err->status != status || !err->text[0]))
		return hp_fail(err, status, "the container's skip function failed");
	HP_TRY(status);
	HP_CHECK(*skipped <= len, err, HSMPOOL_ERR_USAGE,
		 "the skip function claims to have passed over more than was asked");
	w->source.is_at_end = *skipped < len;
	return HSMPOOL_OK;
}

static hsmpool_status read_bytes(struct walk *w, uint64_t len, uint64_t *passed,
				 hsmpool_error *err)
{
	*passed = 0;
	while (*passed < len && !w->source.is_at_end) {
		uint64_t left = len - *passed;
		size_t got = 0;
		size_t want = left < WINDOW_LEN ? (size_t)left : WINDOW_LEN;
		HP_TRY(hp_source_fill(&w->source, w->window, want, want, &got, err));
		*passed += got;
	}
	return HSMPOOL_OK;
}

/* Stand behind the frame whose beginning is in the window. */
static hsmpool_status pass_over(struct walk *w, uint64_t frame_len, hsmpool_error *err)
{
	if (frame_len <= w->have) {
		w->have -= (size_t)frame_len;
		memmove(w->window, w->window + frame_len, w->have);
		return HSMPOOL_OK;
	}
	uint64_t rest = frame_len - w->have, passed = 0;
	w->have = 0;
	HP_TRY(w->skip && !w->source.is_at_end ? skip_bytes(w, rest, &passed, err)
					       : read_bytes(w, rest, &passed, err));
	return passed == rest ? HSMPOOL_OK : truncated(w, "inside", err);
}

static hsmpool_status walk_chunk(struct walk *w, bool *is_last, hsmpool_error *err)
{
	struct hp_chunk_head head;
	hsmpool_container_info *info = w->info;
	HP_TRY(read_head(w, &head, err));
	uint64_t frame_len = hp_chunk_frame_len(w->container.fixed.mode, head.body_len);
	HP_TRY(pass_over(w, frame_len, err));
	info->chunks++;
	info->compressed_chunks += head.is_compressed;
	info->plain_bytes += head.plain_len;
	info->body_bytes += head.body_len;
	info->container_bytes += frame_len;
	*is_last = head.is_last;
	return HSMPOOL_OK;
}

static hsmpool_status check_end(struct walk *w, hsmpool_error *err)
{
	HP_TRY(hp_source_fill(&w->source, w->window, 1, 1, &w->have, err));
	w->info->state =
		w->have == 0 ? HSMPOOL_CONTAINER_WHOLE : HSMPOOL_CONTAINER_TRAILING;
	HP_CHECK(w->have == 0, err, HSMPOOL_ERR_DATA,
		 "the container has bytes after its last chunk, %" PRIu64
		 ": it ends at byte %" PRIu64,
		 w->info->chunks - 1, w->info->container_bytes);
	return HSMPOOL_OK;
}

static hsmpool_status walk(struct walk *w, hsmpool_error *err)
{
	bool is_last = false;
	HP_TRY(read_header(w, err));
	while (!is_last)
		HP_TRY(walk_chunk(w, &is_last, err));
	return check_end(w, err);
}

hsmpool_status hsmpool_container_inspect(hsmpool_read_fn read, hsmpool_skip_fn skip,
					 void *user, hsmpool_container_info *info,
					 hsmpool_error *err)
{
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(read && info, err, HSMPOOL_ERR_USAGE,
		 "inspecting needs a read function and room for the answer");
	HP_CHECK(info->size >= sizeof(*info), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_container_info.size is %zu, set it to sizeof: %zu", info->size,
		 sizeof(*info));
	*info = (hsmpool_container_info){ .size = sizeof(*info) };
	struct walk *w = calloc(1, sizeof(*w));
	HP_CHECK(w, err, HSMPOOL_ERR_SYSTEM, "no memory to inspect a container");
	w->source = (struct hp_source){ .read = read, .user = user };
	w->skip = skip;
	w->info = info;
	hsmpool_status status = walk(w, err);
	free(w);
	return status;
}
