/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs of keys and tokens: any text. What a URI says of an object, written as a URI,
 * says the same; a PIN in one is refused and not repeated.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "p11/uri.h"

static bool is_same(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* Long ones may not fit, and that is said. */
static void must_be_written_alike(const struct hp_uri_object *object)
{
	char text[1024];
	struct hp_uri *uri = NULL;
	struct hp_uri_object again;
	if (!hp_uri_format(text, sizeof(text), NULL, object->has_class, object->class,
			   object->label, object->label_len, object->id, object->id_len))
		return;
	MUST(strlen(text) < sizeof(text));
	MUST(hp_uri_parse(text, &uri, NULL) == HSMPOOL_OK);
	hp_uri_object(uri, &again);
	MUST(again.has_class == object->has_class && again.class == object->class);
	MUST(is_same(again.label, again.label_len, object->label, object->label_len));
	MUST(is_same(again.id, again.id_len, object->id, object->id_len));
	hp_uri_free(&uri);
}

static void match(const struct hp_uri *uri)
{
	CK_TOKEN_INFO token;
	CK_SLOT_INFO slot;
	CK_INFO module;
	memset(&token, ' ', sizeof(token));
	memset(&slot, ' ', sizeof(slot));
	memset(&module, ' ', sizeof(module));
	memcpy(token.label, "a", 1);
	(void)hp_uri_matches_token(uri, 0, &token);
	(void)hp_uri_matches_slot(uri, &slot);
	(void)hp_uri_matches_module(uri, &module);
}

/* An attribute more counts, or the URI is refused: it is never dropped. */
static void must_heed_what_follows(const char *text)
{
	char *whole = NULL;
	struct hp_uri *uri = NULL;
	struct hp_uri_object object;
	int path_len = (int)strcspn(text, "?");
	MUST(asprintf(&whole, "%.*s;type=private%s", path_len, text, text + path_len) >
	     0);
	if (hp_uri_parse(whole, &uri, NULL) == HSMPOOL_OK) {
		hp_uri_object(uri, &object);
		MUST(object.has_class && object.class == CKO_PRIVATE_KEY);
	}
	hp_uri_free(&uri);
	free(whole);
}

static void must_keep_the_pin(const char *text)
{
	static const char secret[] = "Zq7Zq7Zq";
	hsmpool_error err = { 0 };
	struct hp_uri *uri = NULL;
	char *whole = NULL;
	const char *join = strchr(text, '?') ? "&" : "?";
	MUST(asprintf(&whole, "%s%spin-value=%s", text, join, secret) > 0);
	hsmpool_status status = hp_uri_parse(whole, &uri, &err);
	MUST(status == HSMPOOL_ERR_USAGE && !uri);
	fuzz_must_explain(status, &err);
	MUST(strstr(text, secret) || !strstr(err.text, secret));
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);
	struct hp_uri *uri = NULL;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_uri_parse(text, &uri, &err);
	fuzz_must_explain(status, &err);
	MUST((status == HSMPOOL_OK) == (uri != NULL));
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_USAGE);
	if (uri) {
		struct hp_uri_object object;
		hp_uri_object(uri, &object);
		must_be_written_alike(&object);
		match(uri);
	}
	hp_uri_free(&uri);
	must_heed_what_follows(text);
	must_keep_the_pin(text);
	free(text);
	return 0;
}
