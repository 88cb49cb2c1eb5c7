/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the configuration declares counting.
 *
 * Owns: their URIs, constant while the module is initialised, so no lock. Must not: make
 * module calls; what a key is was read at its first use.
 */
#include "proxy/counting.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "p11/uri.h"
#include "proxy/object_table.h"

static struct hp_uri **uris;
static size_t uri_count;

void hp_counting_clear(void)
{
	for (size_t i = 0; i < uri_count; i++)
		hp_uri_free(&uris[i]);
	free(uris);
	uris = NULL;
	uri_count = 0;
}

void hp_counting_forget(void)
{
	uris = NULL;
	uri_count = 0;
}

static hsmpool_status add_counting(const struct hp_key_options *keys, size_t count,
				   hsmpool_error *err)
{
	uris = calloc(count + 1, sizeof(*uris));
	HP_CHECK(uris, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	for (size_t i = 0; i < count; i++) {
		if (!keys[i].counting)
			continue;
		HP_TRY(hp_uri_parse(keys[i].uri, &uris[uri_count], err));
		uri_count++;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_counting_load(const hsmpool_config *config, hsmpool_error *err)
{
	struct hp_key_options *keys;
	size_t count;
	hp_counting_clear();
	HP_TRY(hp_config_keys(config, &keys, &count, err));
	hsmpool_status status = add_counting(keys, count, err);
	hp_key_options_free(keys, count);
	return status;
}

static bool is_named(const struct hp_uri *uri, const struct hp_object *key)
{
	struct hp_uri_object wanted;
	hp_uri_object(uri, &wanted);
	return (!wanted.has_class || wanted.class == key->class) &&
	       (!wanted.has_label ||
		(wanted.label_len == key->label_len &&
		 memcmp(wanted.label, key->label, key->label_len) == 0)) &&
	       (!wanted.has_id || (wanted.id_len == key->id_len &&
				   memcmp(wanted.id, key->id, key->id_len) == 0));
}

bool hp_key_is_declared_counting(const struct hp_vsession *vs, CK_OBJECT_HANDLE key)
{
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	struct hp_token token;
	if (uri_count == 0)
		return false;
	if (!hp_table_view(key, &view, &names) || !view.has_names)
		return true;
	hp_pool_token(vs->pool, &token);
	for (size_t i = 0; i < uri_count; i++)
		if (hp_uri_matches_token(uris[i], token.slot, &token.info) &&
		    is_named(uris[i], &names.object))
			return true;
	return false;
}
