/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_container_rewrap: other recipients for the same data key.
 *
 * Owns: which recipients stay, which go and which come, and that nothing is decided by a
 * header that did not verify. The fixed part is carried over byte by byte: every key and
 * every chunk is bound to it. Must not: see a chunk.
 */
#include <hsmpool/container.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/key.h"
#include "observe/log.h"
#include "observe/request.h"
#include "p11/uri.h"
#include "pool/pool.h"
#include "stream/container.h"
#include "stream/schedule.h"
#include "stream/unlock.h"
#include "stream/wrap.h"

struct rewrapping {
	hsmpool *pool;
	hsmpool_key *key; /* the caller's, or NULL */
	const hsmpool_container_changes *changes;
	hsmpool_deadline deadline;
	struct hp_source source;
	struct hp_sink sink;

	struct hp_container before;
	struct hp_container after;
	struct hp_secret *secret; /* struct hp_keys */
	bool is_removed[HP_RECIPIENTS_MAX];
	size_t removed;
	/* Those that stay, then those that come: into before.raw and added. */
	struct hp_recipient list[HP_RECIPIENTS_MAX];
	size_t count;
	struct hp_named_key added[HP_RECIPIENTS_MAX];
};

static hsmpool_status unlock(struct rewrapping *w, hsmpool_error *err)
{
	HP_TRY(hp_container_read(&w->source, &w->before, err));
	HP_CHECK(w->before.fixed.mode == HP_MODE_ENVELOPE, err, HSMPOOL_ERR_UNSUPPORTED,
		 "the container is in direct mode: the HSM's key encrypts its chunks and "
		 "cannot be exchanged; decrypt it and encrypt it anew");
	w->secret = hp_keys_new();
	HP_CHECK(w->secret, err, HSMPOOL_ERR_SYSTEM, "no memory for a data key");
	return hp_unlock(w->pool, w->key, &w->before, hp_keys_in(w->secret), w->deadline,
			 err);
}

/* ---- who goes ---- */

static bool bytes_are(hsmpool_bytes bytes, const void *data, size_t len)
{
	return bytes.len == len && (len == 0 || memcmp(bytes.data, data, len) == 0);
}

static bool is_of_class(const struct hp_recipient *recipient, CK_OBJECT_CLASS class)
{
	if (!hp_recipient_is_known(recipient))
		return false;
	return hp_recipient_is_rsa(recipient) == (class != CKO_SECRET_KEY);
}

/* All that the URI says of an object, the recipient says too. */
static bool is_selected(const struct hp_recipient *recipient,
			const struct hp_uri_object *object)
{
	return (!object->has_class || is_of_class(recipient, object->class)) &&
	       (!object->has_label ||
		bytes_are(recipient->label, object->label, object->label_len)) &&
	       (!object->has_id || bytes_are(recipient->id, object->id, object->id_len));
}

static hsmpool_status remove_selected(struct rewrapping *w, const char *which,
				      const struct hp_uri_object *object,
				      hsmpool_error *err)
{
	const struct hp_recipient_list *list = &w->before.recipients;
	char all[300];
	size_t found = 0, at = 0;
	for (size_t i = 0; i < list->count; i++) {
		if (!is_selected(&list->at[i], object))
			continue;
		found++;
		at = i;
	}
	hp_recipients_describe(list, all, sizeof(all));
	HP_CHECK(found > 0, err, HSMPOOL_ERR_KEY,
		 "'%.100s' is no recipient of the container, which is for: %s", which,
		 all);
	HP_CHECK(found == 1, err, HSMPOOL_ERR_USAGE,
		 "'%.100s' fits %zu recipients: name one by its number, #1 to #%zu; the "
		 "container is for: %s",
		 which, found, list->count, all);
	w->is_removed[at] = true;
	return HSMPOOL_OK;
}

static hsmpool_status remove_by_uri(struct rewrapping *w, const char *which,
				    hsmpool_error *err)
{
	const struct hp_key_options *named;
	struct hp_uri_object object;
	struct hp_uri *uri = NULL;
	const char *text = NULL;
	HP_TRY(hp_key_which(w->pool, which, &text, &named, err));
	HP_TRY(hp_uri_parse(text, &uri, err));
	hp_uri_object(uri, &object);
	hsmpool_status status =
		object.has_label || object.has_id
			? remove_selected(w, which, &object, err)
			: hp_fail(err, HSMPOOL_ERR_USAGE,
				  "'%.100s' names no recipient: give object= or id=",
				  which);
	hp_uri_free(&uri);
	return status;
}

static hsmpool_status remove_by_number(struct rewrapping *w, const char *which,
				       hsmpool_error *err)
{
	size_t count = w->before.recipients.count;
	char *end = NULL;
	unsigned long number =
		which[1] >= '1' && which[1] <= '9' ? strtoul(which + 1, &end, 10) : 0;
	HP_CHECK(number >= 1 && *end == '\0', err, HSMPOOL_ERR_USAGE,
		 "'%.100s' is not the number of a recipient, like #1", which);
	HP_CHECK(number <= count, err, HSMPOOL_ERR_KEY,
		 "the container has no recipient %.20s: it has %zu", which, count);
	w->is_removed[number - 1] = true;
	return HSMPOOL_OK;
}

static hsmpool_status choose_who_stays(struct rewrapping *w, hsmpool_error *err)
{
	const struct hp_recipient_list *list = &w->before.recipients;
	for (size_t i = 0; i < w->changes->remove_count; i++) {
		const char *which = w->changes->remove[i];
		HP_CHECK(which, err, HSMPOOL_ERR_USAGE,
			 "a recipient to be removed has no name");
		HP_TRY(which[0] == '#' ? remove_by_number(w, which, err)
				       : remove_by_uri(w, which, err));
	}
	for (size_t i = 0; i < list->count; i++) {
		if (w->is_removed[i])
			w->removed++;
		else
			w->list[w->count++] = list->at[i];
	}
	return HSMPOOL_OK;
}

/* ---- who comes ---- */

static hsmpool_status check_new(const struct rewrapping *w, hsmpool_key *key,
				const struct hp_recipient *named, hsmpool_error *err)
{
	for (size_t i = 0; i < w->count; i++)
		HP_CHECK(!hp_recipients_are_one_key(&w->list[i], named), err,
			 HSMPOOL_ERR_EXISTS,
			 "key '%s' is a recipient already, or is to be added twice",
			 hp_key_name(key));
	return HSMPOOL_OK;
}

static hsmpool_status add_recipient(struct rewrapping *w, hsmpool_key *key,
				    struct hp_named_key *named, hsmpool_error *err)
{
	HP_CHECK(key && hp_key_pool(key) == w->pool, err, HSMPOOL_ERR_USAGE,
		 "a key to be added is no key of this pool");
	HP_CHECK(w->count < HP_RECIPIENTS_MAX, err, HSMPOOL_ERR_USAGE,
		 "a container has at most %d recipients: remove some", HP_RECIPIENTS_MAX);
	HP_TRY(hp_named_key_read(key, w->deadline, named, err));
	HP_TRY(check_new(w, key, &named->view, err));
	HP_TRY(hp_data_key_wrap(w->pool, key, &w->before, hp_keys_in(w->secret)->data,
				named, w->deadline, err));
	w->list[w->count++] = named->view;
	return HSMPOOL_OK;
}

/* ---- the new header ---- */

static hsmpool_status write_header(struct rewrapping *w, hsmpool_error *err)
{
	struct hp_container *after = &w->after;
	HP_CHECK(w->count > 0, err, HSMPOOL_ERR_USAGE,
		 "nobody would be left to open the container: add a recipient, or delete "
		 "the file");
	after->fixed = w->before.fixed;
	HP_TRY(hp_container_encode(after, w->list, w->count, err));
	HP_CHECK(memcmp(after->raw, w->before.raw, HP_FIXED_LEN) == 0, err,
		 HSMPOOL_ERR_DATA, "the container's fixed part cannot be carried over");
	HP_TRY(hp_header_mac(hp_keys_in(w->secret), after, after->raw + after->raw_len,
			     err));
	return hp_sink_write(&w->sink, after->raw, hp_header_len(after), err);
}

static hsmpool_status rewrap(struct rewrapping *w, hsmpool_error *err)
{
	HP_AUTO_REQUEST outer = hp_request_enter();
	HP_TRY(unlock(w, err));
	HP_TRY(choose_who_stays(w, err));
	for (size_t i = 0; i < w->changes->add_count; i++)
		HP_TRY(add_recipient(w, w->changes->add[i], &w->added[i], err));
	HP_TRY(write_header(w, err));
	char id[2 * HP_CONTAINER_ID_LEN + 1];
	hp_hex_encode(w->before.fixed.id, HP_CONTAINER_ID_LEN, id);
	HP_LOG(INFO, "container-rewrapped",
	       "container %s: %zu recipients added, %zu removed, %zu now", id,
	       w->changes->add_count, w->removed, w->count);
	return HSMPOOL_OK;
}

static void report(const struct rewrapping *w, hsmpool_container_changed *changed)
{
	*changed = (hsmpool_container_changed){
		.size = sizeof(*changed),
		.old_header_bytes = hp_header_len(&w->before),
		.new_header_bytes = hp_header_len(&w->after),
		.recipients = (uint32_t)w->count,
		.added = (uint32_t)w->changes->add_count,
		.removed = (uint32_t)w->removed,
	};
}

static hsmpool_status check_changes(const hsmpool_container_changes *changes,
				    const hsmpool_container_changed *changed,
				    hsmpool_error *err)
{
	HP_CHECK(changes && changes->size >= sizeof(*changes), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_container_changes.size is not set to sizeof: %zu",
		 sizeof(*changes));
	HP_CHECK(!changed || changed->size >= sizeof(*changed), err, HSMPOOL_ERR_USAGE,
		 "hsmpool_container_changed.size is not set to sizeof: %zu",
		 sizeof(*changed));
	HP_CHECK(changes->add_count <= HP_RECIPIENTS_MAX, err, HSMPOOL_ERR_USAGE,
		 "a container has at most %d recipients", HP_RECIPIENTS_MAX);
	HP_CHECK(changes->add_count + changes->remove_count > 0, err, HSMPOOL_ERR_USAGE,
		 "no recipient is to be added, and none removed");
	return HSMPOOL_OK;
}

hsmpool_status hsmpool_container_rewrap(hsmpool *pool, hsmpool_key *key,
					const hsmpool_container_changes *changes,
					hsmpool_read_fn read, void *read_user,
					hsmpool_write_fn write, void *write_user,
					hsmpool_container_changed *changed,
					hsmpool_deadline deadline, hsmpool_error *err)
{
	hsmpool_error unseen;
	if (!err)
		err = &unseen;
	hp_error_clear(err);
	HP_CHECK(pool && read && write, err, HSMPOOL_ERR_USAGE,
		 "rewrapping needs a pool, a read and a write function");
	HP_CHECK(!key || hp_key_pool(key) == pool, err, HSMPOOL_ERR_USAGE,
		 "the key is no key of this pool");
	HP_TRY(check_changes(changes, changed, err));
	HP_TRY(hp_pool_check_usable(pool, err));
	struct rewrapping *w = calloc(1, sizeof(*w));
	HP_CHECK(w, err, HSMPOOL_ERR_SYSTEM, "no memory for a container's header");
	w->pool = pool;
	w->key = key;
	w->changes = changes;
	w->deadline = deadline;
	w->source = (struct hp_source){ .read = read, .user = read_user };
	w->sink = (struct hp_sink){ .write = write, .user = write_user };
	hsmpool_status status = rewrap(w, err);
	if (status == HSMPOOL_OK) {
		hp_error_clear(err); /* of keys and hashes that were tried */
		if (changed)
			report(w, changed);
	}
	hp_secret_free(&w->secret);
	free(w);
	return status;
}
