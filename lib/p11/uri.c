/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7512 URIs on top of p11-kit's parser.
 *
 * Owns: what is refused in a URI. Must not: print what stands behind a '?' or "pin-",
 * where a PIN may be. A parsed URI does not change and may be read by many threads.
 */
#include "p11/uri.h"

#include <stdlib.h>
#include <string.h>
#include <p11-kit/uri.h>
#include "base/error.h"
#include "base/memory.h"

struct hp_uri {
	P11KitUri *kit;
};

#define HP_AUTO_URI __attribute__((cleanup(hp_uri_free)))

void hp_uri_free(struct hp_uri **uri)
{
	if (!*uri)
		return;
	p11_kit_uri_free((*uri)->kit);
	free(*uri);
	*uri = NULL;
}

static struct hp_uri *make_uri(void)
{
	struct hp_uri *uri = calloc(1, sizeof(*uri));
	if (!uri)
		return NULL;
	uri->kit = p11_kit_uri_new();
	if (!uri->kit)
		hp_uri_free(&uri);
	return uri;
}

/* How much of the text may be shown: nothing from where a PIN may stand, be it in the
 * wrong place. */
static int shown_len(const char *text)
{
	const char *pin = strcasestr(text, "pin-");
	size_t len = strcspn(text, "?");
	if (pin && (size_t)(pin - text) < len)
		len = (size_t)(pin - text);
	return len < 200 ? (int)len : 200;
}

static hsmpool_status refuse_foreign_parts(const struct hp_uri *uri, const char *text,
					   hsmpool_error *err)
{
	const struct {
		const char *name;
		const char *value;
	} parts[] = {
		{ "pin-value", p11_kit_uri_get_pin_value(uri->kit) },
		{ "pin-source", p11_kit_uri_get_pin_source(uri->kit) },
		{ "module-name", p11_kit_uri_get_module_name(uri->kit) },
		{ "module-path", p11_kit_uri_get_module_path(uri->kit) },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(parts); i++)
		HP_CHECK(!parts[i].value, err, HSMPOOL_ERR_USAGE,
			 "URI %.*s: %s is not accepted in a URI; it belongs into the "
			 "configuration (options pin-source and module)",
			 shown_len(text), text, parts[i].name);
	HP_CHECK(!p11_kit_uri_any_unrecognized(uri->kit), err, HSMPOOL_ERR_USAGE,
		 "URI %.*s: has an attribute that RFC 7512 does not know; look for a "
		 "typing error",
		 shown_len(text), text);
	return HSMPOOL_OK;
}

/* Such as ";;": p11-kit ends the path there and drops what follows, so that a URI with a
 * typing error would match more than it says. One ';' at the end loses nothing. */
static bool has_empty_attribute(const char *text)
{
	bool is_empty = true;
	for (const char *at = strchr(text, ':') + 1; *at && *at != '?'; at++) {
		if (*at == ';' && is_empty)
			return true;
		if (!strchr(" \t\r\n\v\f", *at)) /* p11-kit takes no notice of them */
			is_empty = *at == ';';
	}
	return false;
}

hsmpool_status hp_uri_parse(const char *text, struct hp_uri **out, hsmpool_error *err)
{
	*out = NULL;
	HP_CHECK(text, err, HSMPOOL_ERR_USAGE, "URI: none was given");
	HP_AUTO_URI struct hp_uri *uri = make_uri();
	HP_CHECK(uri, err, HSMPOOL_ERR_SYSTEM, "URI: out of memory");
	int result = p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri->kit);
	HP_CHECK(result == P11_KIT_URI_OK, err, HSMPOOL_ERR_USAGE,
		 "URI \"%.*s\": %s; write it like pkcs11:token=LABEL;object=NAME",
		 shown_len(text), text, p11_kit_uri_message(result));
	HP_CHECK(!has_empty_attribute(text), err, HSMPOOL_ERR_USAGE,
		 "URI %.*s: has an empty attribute; write one ';' between two",
		 shown_len(text), text);
	HP_TRY(refuse_foreign_parts(uri, text, err));
	*out = hp_take(&uri);
	return HSMPOOL_OK;
}

bool hp_uri_matches_token(const struct hp_uri *uri, CK_SLOT_ID slot,
			  const CK_TOKEN_INFO *token)
{
	CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri->kit);
	return (wanted == (CK_SLOT_ID)-1 || wanted == slot) &&
	       p11_kit_uri_match_token_info(uri->kit, token);
}

bool hp_uri_matches_module(const struct hp_uri *uri, const CK_INFO *module)
{
	return p11_kit_uri_match_module_info(uri->kit, module);
}

bool hp_uri_matches_slot(const struct hp_uri *uri, const CK_SLOT_INFO *slot)
{
	return p11_kit_uri_match_slot_info(uri->kit, slot);
}

void hp_uri_object(const struct hp_uri *uri, struct hp_uri_object *out)
{
	memset(out, 0, sizeof(*out));
	const CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri->kit, CKA_CLASS);
	if (class && class->ulValueLen == sizeof(out->class)) {
		memcpy(&out->class, class->pValue, sizeof(out->class));
		out->has_class = true;
	}
	const CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(uri->kit, CKA_LABEL);
	if (label) {
		out->label = label->pValue;
		out->label_len = label->ulValueLen;
		out->has_label = true;
	}
	const CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(uri->kit, CKA_ID);
	if (id) {
		out->id = id->pValue;
		out->id_len = id->ulValueLen;
		out->has_id = true;
	}
}

/* p11-kit copies the value. */
static bool set_attribute(struct hp_uri *uri, CK_ATTRIBUTE_TYPE type, const void *value,
			  size_t len)
{
	CK_ATTRIBUTE attribute = { type, (void *)(uintptr_t)value, len };
	return p11_kit_uri_set_attribute(uri->kit, &attribute) == P11_KIT_URI_OK;
}

static void set_token(struct hp_uri *uri, const CK_TOKEN_INFO *token)
{
	CK_TOKEN_INFO *to = p11_kit_uri_get_token_info(uri->kit);
	memcpy(to->label, token->label, sizeof(to->label));
	memcpy(to->serialNumber, token->serialNumber, sizeof(to->serialNumber));
}

bool hp_uri_format(char *buf, size_t cap, const CK_TOKEN_INFO *token, bool has_class,
		   CK_OBJECT_CLASS class, const void *label, size_t label_len,
		   const void *id, size_t id_len)
{
	HP_AUTO_URI struct hp_uri *uri = make_uri();
	if (!uri)
		return false;
	if (token)
		set_token(uri, token);
	bool is_set =
		(!has_class || set_attribute(uri, CKA_CLASS, &class, sizeof(class))) &&
		(label_len == 0 || set_attribute(uri, CKA_LABEL, label, label_len)) &&
		(id_len == 0 || set_attribute(uri, CKA_ID, id, id_len));
	HP_AUTO_FREE char *text = NULL;
	if (!is_set || p11_kit_uri_format(uri->kit, P11_KIT_URI_FOR_OBJECT_ON_TOKEN,
					  &text) != P11_KIT_URI_OK)
		return false;
	size_t len = strlen(text);
	if (len >= cap)
		return false;
	memcpy(buf, text, len + 1);
	return true;
}
