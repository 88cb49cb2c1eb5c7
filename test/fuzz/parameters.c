/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an application hands to the PKCS#11 module: parameters of mechanisms, and
 * templates. The script makes them, with every buffer of the length that is told, so that
 * a sanitizer sees the first byte too many; lengths beyond what is ever copied are lies.
 * A faithful copy is equal and shares no memory, and what was saved is put back.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "p11/parameters.h"
#include "proxy/template.h"

enum { WORD = sizeof(CK_ULONG), WORDS_MAX = 14, PLACES_MAX = 1024, LIE = 100000 };

/* Every kind of layout, flat ones, and one that nobody knows. */
static const CK_MECHANISM_TYPE types[] = {
	CKM_AES_GCM,
	CKM_AES_CCM,
	CKM_RSA_PKCS_OAEP,
	CKM_RC5_CBC,
	CKM_EDDSA,
	0x4021, /* ChaCha20-Poly1305 */
	0x1226, /* ChaCha20 */
	CKM_KIP_MAC,
	CKM_CMS_SIG,
	CKM_CONCATENATE_BASE_AND_KEY,
	CKM_X9_42_DH_HYBRID_DERIVE,
	0x3ac,  /* SP 800-108 */
	0x402f, /* IKE */
	CKM_TLS_KEY_AND_MAC_DERIVE,
	CKM_AES_CBC,
	CKM_RSA_PKCS_PSS,
	CKM_SHA256_HMAC,
	CKM_VENDOR_DEFINED | 5,
};

/* What the script made: given back at the end. */
struct places {
	void *at[PLACES_MAX];
	size_t count;
};

static void *place(struct places *places, struct fuzz_script *script, size_t len)
{
	size_t taken;
	const uint8_t *from = fuzz_take(script, len, &taken);
	uint8_t *at = calloc(1, len > 0 ? len : 1);
	MUST(at && places->count < PLACES_MAX);
	places->at[places->count++] = at;
	if (taken > 0)
		memcpy(at, from, taken);
	return at;
}

static void set_word(void *words, unsigned at, CK_ULONG value)
{
	memcpy((uint8_t *)words + at * WORD, &value, WORD);
}

static void set_pointer(void *words, unsigned at, const void *pointer)
{
	memcpy((uint8_t *)words + at * WORD, &pointer, WORD);
}

/* --- making a mechanism ----------------------------------------------------------------
 */

static void make_mechanism(struct places *places, struct fuzz_script *script,
			   unsigned depth, CK_MECHANISM *out);

/* A length with a buffer, without one, or without truth. */
static void make_bytes(struct places *places, struct fuzz_script *script,
		       const struct hp_layout *layout, unsigned i, void *words)
{
	uint8_t len = fuzz_take8(script);
	CK_ULONG unit = layout->fields[i].kind == HP_FIELD_BITS ? 8 : 1;
	set_word(words, layout->fields[i].len, len == 255 ? LIE * unit : len * unit);
	set_pointer(words, layout->fields[i].at,
		    len == 254 ? NULL : place(places, script, len == 255 ? 1 : len));
}

static void make_field(struct places *places, struct fuzz_script *script,
		       const struct hp_layout *layout, unsigned i, unsigned depth,
		       void *words)
{
	unsigned at = layout->fields[i].at;
	uint8_t len;
	CK_MECHANISM *inner;
	switch (layout->fields[i].kind) {
	case HP_FIELD_BYTES:
	case HP_FIELD_BITS:
		make_bytes(places, script, layout, i, words);
		break;
	case HP_FIELD_TEXT:
		len = fuzz_take8(script) % 32;
		inner = NULL;
		set_pointer(words, at, len ? place(places, script, len) : NULL);
		if (len) /* it ends */
			((char *)(uintptr_t)hp_word_pointer(words, at))[len - 1] = '\0';
		break;
	case HP_FIELD_INNER:
		inner = depth < 3 ? place(places, script, sizeof(*inner)) : NULL;
		if (inner)
			make_mechanism(places, script, depth + 1, inner);
		set_pointer(words, at, inner);
		break;
	case HP_FIELD_HANDLE:
		set_word(words, at, fuzz_take8(script));
		break;
	default: /* rows that are not looked into here */
		set_pointer(words, at, NULL);
	}
}

/* The layout of a type: found by the length that fits. */
static const struct hp_layout *layout_of(CK_MECHANISM_TYPE type)
{
	static CK_ULONG words[WORDS_MAX];
	const struct hp_layout *layout = NULL;
	for (CK_ULONG count = 1; count <= WORDS_MAX && !layout; count++) {
		CK_MECHANISM m = { type, words, count * WORD };
		layout = hp_layout_of(&m);
	}
	return layout;
}

static void make_mechanism(struct places *places, struct fuzz_script *script,
			   unsigned depth, CK_MECHANISM *out)
{
	CK_MECHANISM_TYPE type = types[fuzz_take8(script) % HP_ARRAY_LEN(types)];
	uint8_t shape = fuzz_take8(script);
	const struct hp_layout *layout = layout_of(type);
	size_t len = layout && shape != 255 ? layout->words * WORD : shape;
	void *words = place(places, script, len);
	*out = (CK_MECHANISM){ type, len > 0 ? words : NULL, len };
	layout = hp_layout_of(out);
	if (!layout)
		return;
	hp_for_each_field (i, layout)
		make_field(places, script, layout, i, depth, words);
}

/* --- copies ----------------------------------------------------------------------------
 */

static void must_be_equal(const CK_MECHANISM *a, const CK_MECHANISM *b);

static size_t field_len(const struct hp_layout *layout, unsigned i, const void *words)
{
	CK_ULONG len = hp_word_at(words, layout->fields[i].len);
	switch (layout->fields[i].kind) {
	case HP_FIELD_BYTES:
		return len;
	case HP_FIELD_BITS:
		return (len + 7) / 8;
	case HP_FIELD_TEXT:
		return strlen(hp_word_pointer(words, layout->fields[i].at)) + 1;
	default:
		return 0;
	}
}

static void must_be_equal_field(const struct hp_layout *layout, unsigned i, const void *a,
				const void *b)
{
	const void *from = hp_word_pointer(a, layout->fields[i].at);
	const void *to = hp_word_pointer(b, layout->fields[i].at);
	if (layout->fields[i].kind == HP_FIELD_HANDLE || !from) {
		MUST(from == to);
		return;
	}
	if (layout->fields[i].kind == HP_FIELD_INNER) {
		MUST(from != to);
		must_be_equal(from, to);
		return;
	}
	size_t len = field_len(layout, i, a);
	MUST(len == field_len(layout, i, b));
	MUST(len == 0 || (from != to && memcmp(from, to, len) == 0));
}

static void must_be_equal(const CK_MECHANISM *a, const CK_MECHANISM *b)
{
	const struct hp_layout *layout = hp_layout_of(a);
	MUST(a->mechanism == b->mechanism && a->ulParameterLen == b->ulParameterLen);
	if (a->ulParameterLen == 0)
		return;
	MUST(a->pParameter != b->pParameter);
	if (!layout) {
		MUST(memcmp(a->pParameter, b->pParameter, a->ulParameterLen) == 0);
		return;
	}
	hp_for_each_field (i, layout)
		must_be_equal_field(layout, i, a->pParameter, b->pParameter);
}

/* A module that makes up a nonce writes it into the copy: the application gets it. */
static void must_give_back(struct hp_mechanism_copy *copy, CK_MECHANISM *given)
{
	const struct hp_layout *layout = hp_layout_of(given);
	if (layout && layout->has_nonce && field_len(layout, 0, given->pParameter) > 0) {
		CK_BYTE *nonce = (CK_BYTE *)(uintptr_t)hp_word_pointer(
			copy->ck.pParameter, layout->fields[0].at);
		if (nonce)
			nonce[0] ^= 0xff;
	}
	hp_mechanism_give_back(copy, given);
	must_be_equal(given, &copy->ck);
}

static void must_put_back(CK_MECHANISM *given, const struct hp_mechanism_copy *copy)
{
	struct hp_mechanism_before before;
	hp_mechanism_save(&before, given);
	if (before.words_len > 0)
		memset(given->pParameter, 0xee, given->ulParameterLen);
	hp_mechanism_restore(&before, given);
	if (copy->is_faithful)
		must_be_equal(given, &copy->ck);
}

static void copy_mechanism(struct places *places, struct fuzz_script *script)
{
	CK_MECHANISM given;
	struct hp_mechanism_copy copy;
	make_mechanism(places, script, 0, &given);
	const struct hp_layout *layout = hp_layout_of(&given);
	if (layout)
		(void)hp_layout_promises_bytes_at_null(layout, given.pParameter);
	(void)hp_mechanism_leaves_nonce(&given);
	(void)hp_mechanism_is_deterministic(given.mechanism);
	hp_mechanism_copy(&copy, &given);
	if (copy.is_faithful) {
		must_be_equal(&given, &copy.ck);
		must_give_back(&copy, &given);
	}
	must_put_back(&given, &copy);
	hp_mechanism_copy_wipe(&copy);
}

/* --- templates -------------------------------------------------------------------------
 */

static CK_ATTRIBUTE *make_template(struct places *places, struct fuzz_script *script,
				   unsigned depth, CK_ULONG *count);

static void make_attribute(struct places *places, struct fuzz_script *script,
			   unsigned depth, CK_ATTRIBUTE *out)
{
	static const CK_ATTRIBUTE_TYPE attributes[] = {
		CKA_CLASS,         CKA_TOKEN,           CKA_LABEL,
		CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS,
		CKA_VALUE,         CKA_DERIVE_TEMPLATE,
	};
	CK_ULONG count = 0;
	uint8_t len = fuzz_take8(script);
	out->type = attributes[fuzz_take8(script) % HP_ARRAY_LEN(attributes)];
	bool is_nested =
		(out->type & CKF_ARRAY_ATTRIBUTE) && out->type != CKA_ALLOWED_MECHANISMS;
	if (is_nested && depth < 2) {
		out->pValue = make_template(places, script, depth + 1, &count);
		out->ulValueLen = count * sizeof(*out) + (len == 255);
		return;
	}
	/* what is not a whole number of attributes is not looked into */
	out->ulValueLen = is_nested ? len | 1U : len;
	out->pValue = len == 254 ? NULL : place(places, script, out->ulValueLen);
}

static CK_ATTRIBUTE *make_template(struct places *places, struct fuzz_script *script,
				   unsigned depth, CK_ULONG *count)
{
	*count = fuzz_take8(script) % 5;
	CK_ATTRIBUTE *template = calloc(*count + 1, sizeof(*template));
	MUST(template && places->count < PLACES_MAX);
	places->at[places->count++] = template;
	for (CK_ULONG i = 0; i < *count; i++)
		make_attribute(places, script, depth, &template[i]);
	return template;
}

/* A module that fails has set lengths to -1. */
static void must_put_lengths_back(CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct hp_lengths lengths;
	CK_ULONG before[5];
	for (CK_ULONG i = 0; i < count; i++)
		before[i] = template[i].ulValueLen;
	hp_lengths_save(&lengths, template, count);
	for (CK_ULONG i = 0; lengths.is_saved && i < count; i++)
		template[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
	MUST(hp_lengths_restore(&lengths, template, count) == lengths.is_saved);
	for (CK_ULONG i = 0; i < count; i++)
		MUST(template[i].ulValueLen == before[i]);
}

static void read_template(struct places *places, struct fuzz_script *script)
{
	static const CK_BBOOL yes = CK_TRUE;
	CK_ULONG count = 0, new_count = 0, number;
	bool value;
	CK_ATTRIBUTE *template = make_template(places, script, 0, &count);
	(void)hp_attribute_bool(template, count, CKA_TOKEN, &value);
	(void)hp_attribute_number(template, count, CKA_CLASS, &number);
	CK_ATTRIBUTE *with =
		hp_attributes_with(template, count, CKA_TOKEN, &yes, &new_count);
	MUST(with && new_count <= count + 1);
	MUST(hp_attribute_bool(with, new_count, CKA_TOKEN, &value) && value);
	free(with);
	if (hp_attributes_are_there(template, count))
		must_put_lengths_back(template, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_script script = { data, len };
	struct places places = { 0 };
	if (fuzz_take8(&script) % 2 == 0)
		copy_mechanism(&places, &script);
	else
		read_template(&places, &script);
	for (size_t i = 0; i < places.count; i++)
		free(places.at[i]);
	return 0;
}
