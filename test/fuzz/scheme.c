/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of schemes, with their options: any text. A name belongs to one kind, and what
 * was understood of it, written down again, is understood alike.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/scheme.h"

static void write_name(const struct hp_scheme *scheme, char *name, size_t cap)
{
	char salt[16] = "", tag[16] = "";
	bool has_salt = scheme->options & HP_SCHEME_SALT;
	bool has_tag = scheme->options & HP_SCHEME_TAG;
	if (has_salt)
		snprintf(salt, sizeof(salt), "salt=%u,", scheme->salt_len);
	if (has_tag)
		snprintf(tag, sizeof(tag), "tag=%u,", scheme->tag_len);
	int len = snprintf(name, cap, "%s:%s%s%s%s", scheme->entry->name, salt, tag,
			   hp_scheme_is_raw(scheme) ? "raw," : "",
			   hp_scheme_takes_digest(scheme) ? "digest," : "");
	name[len - 1] = '\0'; /* the last comma, or the colon */
}

static void must_be_sound(const struct hp_scheme *scheme, enum hp_scheme_kind kind,
			  const char *text)
{
	const struct hp_scheme_entry *entry = scheme->entry;
	MUST(entry == hp_scheme_at(scheme->index));
	MUST(entry->kind == kind);
	MUST(strncmp(text, entry->name, entry->name_len) == 0);
	MUST((scheme->options & ~entry->options) == 0);
	MUST(scheme->salt_len <= 512);
	MUST(scheme->tag_len == 0 || (scheme->tag_len >= 12 && scheme->tag_len <= 16));
}

static void must_be_understood_again(const struct hp_scheme *scheme,
				     enum hp_scheme_kind kind)
{
	char name[80];
	struct hp_scheme again;
	write_name(scheme, name, sizeof(name));
	MUST(hp_scheme_parse(kind, name, &again, NULL) == HSMPOOL_OK);
	MUST(again.entry == scheme->entry && again.options == scheme->options);
	MUST(again.salt_len == scheme->salt_len && again.tag_len == scheme->tag_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);
	unsigned accepted = 0;
	for (int kind = 0; kind < HP_SCHEME_KIND_COUNT; kind++) {
		struct hp_scheme scheme;
		hsmpool_error err = { 0 };
		hsmpool_status status =
			hp_scheme_parse((enum hp_scheme_kind)kind, text, &scheme, &err);
		fuzz_must_explain(status, &err);
		MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_USAGE);
		if (status != HSMPOOL_OK)
			continue;
		accepted++;
		must_be_sound(&scheme, (enum hp_scheme_kind)kind, text);
		must_be_understood_again(&scheme, (enum hp_scheme_kind)kind);
	}
	MUST(accepted <= 1);
	free(text);
	return 0;
}
