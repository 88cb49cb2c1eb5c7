/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The [key NAME] sections, matched to the application's keys by their URIs.
 *
 * Owns: the sections, constant while the module is initialised, so no lock. Must not:
 * make module calls; what a key is was read at its first use.
 */
#include "proxy/key_rules.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "p11/uri.h"
#include "pool/pool.h"
#include "pool/live.h"
#include "proxy/object_table.h"

/* A [key NAME] that asks for care, or for less. */
struct section {
	struct hp_uri *uri;
	bool is_counting;
	bool has_sign_retry; /* else the pool's */
	enum hp_sign_retry sign_retry;
};

static struct section *sections;
static size_t section_count;

void hp_key_rules_clear(void)
{
	for (size_t i = 0; i < section_count; i++)
		hp_uri_free(&sections[i].uri);
	free(sections);
	hp_key_rules_forget();
}

void hp_key_rules_forget(void)
{
	sections = NULL;
	section_count = 0;
}

static hsmpool_status add_sections(const struct hp_key_options *keys, size_t count,
				   hsmpool_error *err)
{
	sections = calloc(count + 1, sizeof(*sections));
	HP_CHECK(sections, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	for (size_t i = 0; i < count; i++) {
		struct section *section = &sections[section_count];
		if (!keys[i].counting && !keys[i].has_sign_retry)
			continue;
		HP_TRY(hp_uri_parse(keys[i].uri, &section->uri, err));
		section->is_counting = keys[i].counting;
		section->has_sign_retry = keys[i].has_sign_retry;
		section->sign_retry = keys[i].sign_retry;
		section_count++;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_key_rules_load(const hsmpool_config *config, hsmpool_error *err)
{
	struct hp_key_options *keys;
	size_t count;
	hp_key_rules_clear();
	HP_TRY(hp_config_keys(config, &keys, &count, err));
	hsmpool_status status = add_sections(keys, count, err);
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

/* names: NULL for a key of which nothing is known, which any section may mean. */
static bool is_meant(const struct section *section, const struct hp_token *token,
		     const struct hp_object *names)
{
	return hp_uri_matches_token(section->uri, token->slot, &token->info) &&
	       (!names || is_named(section->uri, names));
}

/* sign-retry of the sections is taken over the pool's, and the least of theirs. */
static void apply(struct hp_key_rules *rules, const struct section *section,
		  bool *has_sign_retry)
{
	rules->is_counting = rules->is_counting || section->is_counting;
	if (!section->has_sign_retry)
		return;
	if (!*has_sign_retry || section->sign_retry < rules->sign_retry)
		rules->sign_retry = section->sign_retry;
	*has_sign_retry = true;
}

struct hp_key_rules hp_key_rules_of(const struct hp_vsession *vs, CK_OBJECT_HANDLE key)
{
	struct hp_key_rules rules = { .sign_retry = hp_pool_live(vs->pool)->sign_retry };
	struct hp_vobject_view view;
	struct hp_vobject_names names;
	struct hp_token token;
	if (section_count == 0)
		return rules;
	bool is_known = hp_table_view(key, &view, &names) && view.has_names;
	/* Of an unknown key the pool's word is one among others. */
	bool has_sign_retry = !is_known;
	hp_pool_token(vs->pool, &token);
	for (size_t i = 0; i < section_count; i++)
		if (is_meant(&sections[i], &token, is_known ? &names.object : NULL))
			apply(&rules, &sections[i], &has_sign_retry);
	if (rules.is_counting)
		rules.sign_retry = HP_SIGN_RETRY_NO;
	return rules;
}
