/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching key objects on a borrowed session.
 *
 * Owns: the search template, which hits are one key, and the refusal of ambiguous
 * ones. Searches ask for token objects only, so session-object copies (copies.c) and
 * whatever a raw borrower made stay out of sight. Nothing is cached here.
 */
#include "crypto/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "pool/pool.h"

/* More hits than this are not read to tell keys apart: the selector is too weak. */
#define HITS_CAP 64

static CK_BBOOL yes = CK_TRUE;

const char *hp_class_name(CK_OBJECT_CLASS class)
{
	switch (class) {
	case CKO_PRIVATE_KEY:
		return "private";
	case CKO_PUBLIC_KEY:
		return "public";
	case CKO_SECRET_KEY:
		return "secret-key";
	default:
		return "";
	}
}

CK_ULONG hp_find_template(const struct hp_uri_object *select, CK_ATTRIBUTE *template)
{
	CK_ULONG count = 0;

	template[count++] = (CK_ATTRIBUTE){ CKA_TOKEN, &yes, sizeof(yes) };
	if (select && select->has_class)
		template[count++] = (CK_ATTRIBUTE){ CKA_CLASS, (void *)&select->class,
						    sizeof(select->class) };
	if (select && select->has_label)
		template[count++] = (CK_ATTRIBUTE){ CKA_LABEL, (void *)select->label,
						    select->label_len };
	if (select && select->has_id)
		template[count++] =
			(CK_ATTRIBUTE){ CKA_ID, (void *)select->id, select->id_len };
	return count;
}

/* The handles of the hits, at most cap. */
static CK_RV find_handles(struct hp_session *s, const struct hp_uri_object *select,
			  CK_OBJECT_HANDLE *handles, CK_ULONG cap, CK_ULONG *len,
			  bool *more)
{
	CK_ATTRIBUTE template[4];
	CK_ULONG count = hp_find_template(select, template);
	CK_RV rv = hp_find_objects(s, template, count, handles, cap, len);

	*more = rv == CKR_OK && *len > cap;
	if (*more)
		*len = cap;
	return rv;
}

/* Read each hit's identity, keeping keys; *count comes out. An object that vanished
 * since the search is skipped. */
static CK_RV read_keys(struct hp_session *s, const CK_OBJECT_HANDLE *handles,
		       CK_ULONG len, struct hp_object *out, size_t *count)
{
	*count = 0;
	for (CK_ULONG i = 0; i < len; i++) {
		struct hp_object *object = &out[*count];
		CK_RV rv = hp_read_identity(s, handles[i], object);
		if (rv == CKR_OBJECT_HANDLE_INVALID)
			continue;
		if (rv != CKR_OK)
			return rv;
		if (*hp_class_name(object->class))
			(*count)++;
	}
	return CKR_OK;
}

CK_RV hp_find_keys(struct hp_session *s, const struct hp_uri_object *select, CK_ULONG cap,
		   struct hp_object **out, size_t *count, bool *more)
{
	CK_ULONG len = 0;

	*out = NULL;
	*count = 0;
	*more = false;
	HP_AUTO_FREE CK_OBJECT_HANDLE *handles = calloc(cap, sizeof(*handles));
	if (!handles)
		return CKR_HOST_MEMORY;
	CK_RV rv = find_handles(s, select, handles, cap, &len, more);
	if (rv == CKR_OK && len == 0)
		return hp_pool_look(s); /* without a login keys are hidden */
	if (rv != CKR_OK)
		return rv;
	HP_AUTO_FREE struct hp_object *objects = calloc(len, sizeof(*objects));
	if (!objects)
		return CKR_HOST_MEMORY;
	rv = read_keys(s, handles, len, objects, count);
	if (rv == CKR_OK)
		*out = hp_take(&objects);
	return rv;
}

static bool has_same_id(const struct hp_object *a, const struct hp_object *b)
{
	return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0;
}

/* Sort the hits into the halves of one key. False: they are several keys. */
static bool join_halves(const struct hp_object *hits, size_t count,
			struct hp_key_objects *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < count; i++) {
		struct hp_object *half =
			hits[i].class == CKO_PUBLIC_KEY ? &out->public_half : &out->own;
		if (half->handle != CK_INVALID_HANDLE)
			return false;
		*half = hits[i];
	}
	if (out->own.handle == CK_INVALID_HANDLE ||
	    out->public_half.handle == CK_INVALID_HANDLE)
		return true;
	return out->own.class == CKO_PRIVATE_KEY &&
	       out->own.type == out->public_half.type &&
	       has_same_id(&out->own, &out->public_half);
}

/* Append "private 'label' (id 0a0b)" to a text that may be cut. */
static void describe(char *text, size_t cap, const struct hp_object *object)
{
	char id[2 * 20 + 1];
	size_t used = strlen(text);
	size_t id_len = object->id_len < 20 ? object->id_len : 20;
	size_t label_len = object->label_len < 40 ? object->label_len : 40;

	hp_hex_encode(object->id, id_len, id);
	snprintf(text + used, cap - used, "%s%s '", used ? ", " : "",
		 hp_class_name(object->class));
	for (size_t i = 0; i < label_len && (used = strlen(text)) + 2 < cap; i++) {
		uint8_t c = object->label[i];
		text[used] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
		text[used + 1] = '\0';
	}
	used = strlen(text);
	snprintf(text + used, cap - used, "' (id %s%s)", id_len ? id : "none",
		 object->id_len > id_len ? "..." : "");
}

static hsmpool_status refuse_several(const hsmpool_key *key, const struct hp_object *hits,
				     size_t count, bool more, hsmpool_error *err)
{
	char list[300] = "";

	for (size_t i = 0; i < count && i < 4; i++)
		describe(list, sizeof(list), &hits[i]);
	return hp_fail(err, HSMPOOL_ERR_KEY,
		       "key '%s': several keys match: %s%s; add id= or type= to the URI",
		       hp_key_name(key), list, more || count > 4 ? ", ..." : "");
}

hsmpool_status hp_find_key(const hsmpool_key *key, struct hp_session *s,
			   struct hp_key_objects *out, CK_RV *rv, hsmpool_error *err)
{
	HP_AUTO_FREE struct hp_object *hits = NULL;
	size_t count;
	bool more;

	*rv = hp_find_keys(s, &key->select, HITS_CAP, &hits, &count, &more);
	if (*rv != CKR_OK)
		return HSMPOOL_ERR_DOWN; /* the caller makes status and text of *rv */
	if (more || !join_halves(hits, count, out))
		return refuse_several(key, hits, count, more, err);
	HP_CHECK(
		count > 0, err, HSMPOOL_ERR_KEY, "key '%s': the token has no such key%s",
		hp_key_name(key),
		hp_pool_options(key->pool)->pin_source
			? "; list them with hsmpool-cli keys"
			: " that can be seen without a login; set the option pin-source");
	return HSMPOOL_OK;
}
