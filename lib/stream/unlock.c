/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See unlock.h. A wrong key, a wrapped key that was altered and a commitment that does
 * not fit end in the same text: whoever feeds us containers learns no more than that.
 */
#include "stream/unlock.h"
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/key.h"
#include "p11/uri.h"
#include "stream/wrap.h"

/* ---- does a key of ours fit a recipient? ---- */

static bool may_be(const struct hp_recipient *recipient, const struct hp_recipient *key)
{
	return hp_recipient_is_known(recipient) &&
	       hp_recipient_is_rsa(recipient) == hp_recipient_is_rsa(key) &&
	       !hp_checks_differ(recipient->check, key->check);
}

/* Its name says so: a failure to unwrap is then the container's fault. */
static bool is_meant(const struct hp_recipient *recipient, const struct hp_recipient *key)
{
	return hp_fields_match(recipient->id, key->id) ||
	       hp_fields_match(recipient->check, key->check);
}

hsmpool_status hp_unlock_not_found(const struct hp_container *container,
				   const hsmpool_key *key, hsmpool_error *err)
{
	char asked[300];
	hp_recipients_describe(&container->recipients, asked, sizeof(asked));
	if (key)
		return hp_fail(err, HSMPOOL_ERR_KEY,
			       "key '%s' does not open the container, which is for: %s",
			       hp_key_name(key), asked);
	return hp_fail(err, HSMPOOL_ERR_KEY,
		       "no key of this token opens the container, which is for: %s",
		       asked);
}

/* ---- keys of the token, by what the header says ---- */

struct search {
	const struct hp_recipient *recipient;
	size_t count;
	char uri[HP_CANDIDATES_MAX][sizeof(((hsmpool_key_info *)0)->uri)];
};

static int note_candidate(void *user, const hsmpool_key_info *info)
{
	struct search *search = user;
	bool is_rsa = hp_recipient_is_rsa(search->recipient);
	const hsmpool_bytes check = { info->check_value, info->check_value_len };
	if (strcmp(info->type, is_rsa ? "rsa" : "aes") != 0)
		return 0;
	if (!is_rsa && hp_checks_differ(search->recipient->check, check))
		return 0;
	memcpy(search->uri[search->count], info->uri, sizeof(info->uri));
	return ++search->count == HP_CANDIDATES_MAX;
}

/* One selector; what cannot be written as a URI finds nothing. */
static hsmpool_status search_by(hsmpool *pool, struct search *search, hsmpool_bytes id,
				hsmpool_bytes label, hsmpool_deadline deadline,
				hsmpool_error *err)
{
	char uri[1024];
	CK_OBJECT_CLASS class =
		hp_recipient_is_rsa(search->recipient) ? CKO_PRIVATE_KEY : CKO_SECRET_KEY;
	if (search->count > 0 || (id.len == 0 && label.len == 0) ||
	    !hp_uri_format(uri, sizeof(uri), NULL, true, class, label.data, label.len,
			   id.data, id.len))
		return HSMPOOL_OK;
	return hsmpool_key_list(pool, uri, note_candidate, search, deadline, err);
}

static hsmpool_status open_candidates(hsmpool *pool, const struct search *search,
				      hsmpool_deadline deadline, struct hp_key_set *out,
				      hsmpool_error *err)
{
	for (size_t i = 0; i < search->count; i++) {
		hsmpool_key *key = NULL;
		hsmpool_status status =
			hsmpool_key_open(&key, pool, search->uri[i], deadline, err);
		if (status == HSMPOOL_ERR_KEY)
			continue; /* gone meanwhile, or one of several twins */
		if (status != HSMPOOL_OK) {
			hp_key_set_clear(out);
			return status;
		}
		out->at[out->count++] = key;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_key_set_find(hsmpool *pool, const struct hp_recipient *recipient,
			       hsmpool_deadline deadline, struct hp_key_set *out,
			       hsmpool_error *err)
{
	const hsmpool_bytes nothing = { NULL, 0 };
	struct search search = { .recipient = recipient };
	out->count = 0;
	if (!hp_recipient_is_known(recipient))
		return HSMPOOL_OK;
	HP_TRY(search_by(pool, &search, recipient->id, nothing, deadline, err));
	HP_TRY(search_by(pool, &search, nothing, recipient->label, deadline, err));
	return open_candidates(pool, &search, deadline, out, err);
}

void hp_key_set_clear(struct hp_key_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		hsmpool_key_close(&set->at[i]);
	set->count = 0;
}

hsmpool_status hp_unlock_check_direct(hsmpool_key *key,
				      const struct hp_container *container,
				      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_named_key named;
	HP_TRY(hp_named_key_read(key, deadline, &named, err));
	if (may_be(&container->recipients.at[0], &named.view))
		return HSMPOOL_OK;
	return hp_unlock_not_found(container, key, err);
}

/* ---- trying ---- */

struct attempt {
	hsmpool *pool;
	const struct hp_container *container;
	struct hp_keys *keys;
	hsmpool_deadline deadline;
	unsigned tries;
	bool is_open;
	bool was_meant;        /* a key that the header names failed to unwrap */
	hsmpool_error refusal; /* of a key that may not unwrap at all; status OK: none */
};

/* A failure of this key with this recipient, after which the next one is tried. */
static bool is_about_key(hsmpool_status status)
{
	return status == HSMPOOL_ERR_DATA || status == HSMPOOL_ERR_KEY ||
	       status == HSMPOOL_ERR_USAGE || status == HSMPOOL_ERR_UNSUPPORTED;
}

static hsmpool_status try_key(struct attempt *a, const struct hp_recipient *recipient,
			      hsmpool_key *key, const struct hp_recipient *named,
			      hsmpool_error *err)
{
	if (a->is_open || !may_be(recipient, named) || a->tries++ >= HP_UNLOCK_TRIES_MAX)
		return HSMPOOL_OK;
	hsmpool_error local = { 0 };
	hsmpool_status status = hp_data_key_unwrap(a->pool, key, a->container, recipient,
						   a->keys->data, a->deadline, &local);
	if (status == HSMPOOL_OK) {
		HP_TRY(hp_keys_derive(a->keys, a->container, err));
		a->is_open = hp_keys_are_committed(a->keys, a->container);
		status = a->is_open ? HSMPOOL_OK : HSMPOOL_ERR_DATA;
	} else if (!is_about_key(status)) {
		if (err)
			*err = local;
		return status;
	}
	if (status == HSMPOOL_ERR_DATA)
		a->was_meant |= is_meant(recipient, named);
	else if (status != HSMPOOL_OK && is_meant(recipient, named))
		a->refusal = local;
	return HSMPOOL_OK;
}

static hsmpool_status try_given_key(struct attempt *a, hsmpool_key *key,
				    hsmpool_error *err)
{
	struct hp_named_key named;
	HP_TRY(hp_named_key_read(key, a->deadline, &named, err));
	for (size_t i = 0; i < a->container->recipients.count; i++)
		HP_TRY(try_key(a, &a->container->recipients.at[i], key, &named.view,
			       err));
	return HSMPOOL_OK;
}

static hsmpool_status try_key_set(struct attempt *a, const struct hp_recipient *recipient,
				  const struct hp_key_set *set, hsmpool_error *err)
{
	struct hp_named_key named;
	for (size_t i = 0; i < set->count && !a->is_open; i++) {
		HP_TRY(hp_named_key_read(set->at[i], a->deadline, &named, err));
		HP_TRY(try_key(a, recipient, set->at[i], &named.view, err));
	}
	return HSMPOOL_OK;
}

static hsmpool_status try_token_keys(struct attempt *a, hsmpool_error *err)
{
	const struct hp_recipient_list *list = &a->container->recipients;
	for (size_t i = 0; i < list->count && !a->is_open; i++) {
		struct hp_key_set set;
		HP_TRY(hp_key_set_find(a->pool, &list->at[i], a->deadline, &set, err));
		hsmpool_status status = try_key_set(a, &list->at[i], &set, err);
		hp_key_set_clear(&set);
		HP_TRY(status);
	}
	return HSMPOOL_OK;
}

static hsmpool_status check_mac(const struct attempt *a, hsmpool_error *err)
{
	const struct hp_container *c = a->container;
	uint8_t mac[HP_HASH_LEN];
	HP_TRY(hp_header_mac(a->keys, c, mac, err));
	HP_CHECK(hp_equal_secret(mac, c->raw + c->raw_len, sizeof(mac)), err,
		 HSMPOOL_ERR_DATA,
		 "the container's header does not verify: it was altered");
	return HSMPOOL_OK;
}

hsmpool_status hp_unlock(hsmpool *pool, hsmpool_key *key,
			 const struct hp_container *container, struct hp_keys *keys,
			 hsmpool_deadline deadline, hsmpool_error *err)
{
	struct attempt a = {
		.pool = pool,
		.container = container,
		.keys = keys,
		.deadline = deadline,
	};
	HP_TRY(key ? try_given_key(&a, key, err) : try_token_keys(&a, err));
	if (a.is_open)
		return check_mac(&a, err);
	HP_CHECK(!a.was_meant, err, HSMPOOL_ERR_DATA,
		 "the container's data key does not unwrap: its header was altered, or "
		 "the key is another one of the same name");
	if (a.refusal.status == HSMPOOL_OK)
		return hp_unlock_not_found(container, key, err);
	if (err)
		*err = a.refusal;
	return a.refusal.status;
}
