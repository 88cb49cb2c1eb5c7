/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New keys: the table of types, the rules for a spec, the templates.
 *
 * Defaults are the safe ones: private, sensitive, not extractable, the least usage that
 * the type is for. Every usage attribute is set, also to false: tokens differ in what
 * they take an absent one for, and SoftHSM2 takes it for true.
 */
#include "crypto/template.h"

#include <string.h>
#include <openssl/rand.h>
#include "base/error.h"
#include "base/memory.h"

#define ID_DEFAULT_LEN 16
#define LABEL_MAX      127
#define RSA_MIN        2048
#define RSA_MAX        16384
#define GENERIC_MIN    128
#define GENERIC_MAX    32768

/* --- lists of attributes -------------------------------------------------------- */

static void add(struct hp_template *t, CK_ATTRIBUTE_TYPE type, const void *data,
		size_t len)
{
	t->attributes[t->count++] =
		(CK_ATTRIBUTE){ type, (void *)(uintptr_t)data, (CK_ULONG)len };
}

void hp_template_bool(struct hp_template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
	static const CK_BBOOL bools[] = { CK_FALSE, CK_TRUE };

	add(t, type, &bools[value], sizeof(CK_BBOOL));
}

void hp_template_number(struct hp_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
	CK_ULONG *place = &t->numbers[t->numbers_used++];

	*place = value;
	add(t, type, place, sizeof(*place));
}

void hp_template_bytes(struct hp_template *t, CK_ATTRIBUTE_TYPE type, const void *data,
		       size_t len)
{
	add(t, type, data, len);
}

/* --- the types ------------------------------------------------------------------ */

#define CAN_SIGN  (HSMPOOL_KEY_CAN_SIGN | HSMPOOL_KEY_CAN_VERIFY)
#define CAN_CRYPT (HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT)
#define CAN_WRAP  (HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP)
#define CAN_ALL   (CAN_SIGN | CAN_CRYPT | CAN_WRAP | HSMPOOL_KEY_CAN_DERIVE)

struct key_type {
	const char *name;
	CK_KEY_TYPE type;
	bool is_pair;
	uint32_t default_bits;
	uint32_t default_usage;
	uint32_t possible_usage;
};

static const struct key_type key_types[] = {
	{ "aes", CKK_AES, false, 256, CAN_CRYPT, CAN_ALL },
	{ "generic", CKK_GENERIC_SECRET, false, 256, CAN_SIGN,
	  CAN_SIGN | HSMPOOL_KEY_CAN_DERIVE },
	{ "rsa", CKK_RSA, true, 3072, CAN_SIGN, CAN_SIGN | CAN_CRYPT | CAN_WRAP },
	{ "ec", CKK_EC, true, 0, CAN_SIGN, CAN_SIGN | HSMPOOL_KEY_CAN_DERIVE },
	{ "ed25519", CKK_EC_EDWARDS, true, 0, CAN_SIGN, CAN_SIGN },
};

/* Which half of a pair has which usage. A secret key has all. */
static const struct {
	uint32_t usage;
	CK_ATTRIBUTE_TYPE attribute;
	bool is_private_half;
	uint32_t counterpart; /* what the public half can do whenever this half can */
} usages[] = {
	{ HSMPOOL_KEY_CAN_ENCRYPT, CKA_ENCRYPT, false, 0 },
	{ HSMPOOL_KEY_CAN_VERIFY, CKA_VERIFY, false, 0 },
	{ HSMPOOL_KEY_CAN_WRAP, CKA_WRAP, false, 0 },
	{ HSMPOOL_KEY_CAN_DECRYPT, CKA_DECRYPT, true, HSMPOOL_KEY_CAN_ENCRYPT },
	{ HSMPOOL_KEY_CAN_SIGN, CKA_SIGN, true, HSMPOOL_KEY_CAN_VERIFY },
	{ HSMPOOL_KEY_CAN_UNWRAP, CKA_UNWRAP, true, HSMPOOL_KEY_CAN_WRAP },
	{ HSMPOOL_KEY_CAN_DERIVE, CKA_DERIVE, true, 0 },
};

static const struct key_type *type_by_name(const char *name)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(key_types); i++)
		if (strcmp(key_types[i].name, name) == 0)
			return &key_types[i];
	return NULL;
}

/* --- checking a spec ------------------------------------------------------------ */

static bool is_size_possible(const struct key_type *type, uint32_t bits)
{
	switch (type->type) {
	case CKK_AES:
		return bits == 128 || bits == 192 || bits == 256;
	case CKK_GENERIC_SECRET:
		return bits >= GENERIC_MIN && bits <= GENERIC_MAX && bits % 8 == 0;
	case CKK_RSA:
		return bits >= RSA_MIN && bits <= RSA_MAX && bits % 256 == 0;
	default:
		return false;
	}
}

static hsmpool_status plan_curve(const hsmpool_key_spec *spec,
				 const struct key_type *type, struct hp_new_key *out,
				 hsmpool_error *err)
{
	bool is_ed25519 = type->type == CKK_EC_EDWARDS;
	const char *name = spec->curve ? spec->curve : is_ed25519 ? "ed25519" : "P-256";

	out->curve = hp_curve_by_name(name);
	HP_CHECK(out->curve && (out->curve->bits == 255) == is_ed25519, err,
		 HSMPOOL_ERR_USAGE,
		 "new key: type '%s' has no curve '%.40s'; ec has P-256, P-384 and P-521",
		 type->name, name);
	HP_CHECK(spec->bits == 0 || spec->bits == out->curve->bits, err,
		 HSMPOOL_ERR_USAGE,
		 "new key: curve %s has %u bits, not %u; leave bits out",
		 out->curve->name, out->curve->bits, spec->bits);
	return HSMPOOL_OK;
}

static hsmpool_status plan_size(const hsmpool_key_spec *spec, const struct key_type *type,
				enum hp_origin origin, struct hp_new_key *out,
				hsmpool_error *err)
{
	if (type->type == CKK_EC || type->type == CKK_EC_EDWARDS)
		return plan_curve(spec, type, out, err);
	HP_CHECK(!spec->curve, err, HSMPOOL_ERR_USAGE, "new key: type '%s' has no curve",
		 type->name);
	out->bits = spec->bits;
	if (out->bits == 0 &&
	    (origin == HP_ORIGIN_GENERATE || origin == HP_ORIGIN_DERIVE))
		out->bits = type->default_bits;
	HP_CHECK(
		out->bits == 0 || is_size_possible(type, out->bits), err,
		HSMPOOL_ERR_USAGE,
		"new key: type '%s' cannot have %u bits (aes: 128, 192, 256; generic: %u "
		"to %u; rsa: %u to %u)",
		type->name, out->bits, GENERIC_MIN, GENERIC_MAX, RSA_MIN, RSA_MAX);
	return HSMPOOL_OK;
}

static hsmpool_status plan_usage(const hsmpool_key_spec *spec,
				 const struct key_type *type, enum hp_origin origin,
				 struct hp_new_key *out, hsmpool_error *err)
{
	uint32_t possible = type->possible_usage;

	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++)
		if (type->is_pair && origin != HP_ORIGIN_GENERATE &&
		    usages[i].is_private_half != (origin == HP_ORIGIN_UNWRAP))
			possible &= ~usages[i].usage;
	out->usage = spec->usage ? spec->usage : type->default_usage & possible;
	HP_CHECK(
		(out->usage & ~possible) == 0, err, HSMPOOL_ERR_USAGE,
		"new key: type '%s' cannot be used like that (usage 0x%x, possible 0x%x)",
		type->name, out->usage, possible);
	/* What the private half can do, its public half must be able to undo or check. */
	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++)
		if (type->is_pair && (out->usage & usages[i].usage))
			out->usage |= usages[i].counterpart;
	return HSMPOOL_OK;
}

static hsmpool_status plan_name(const hsmpool_key_spec *spec, struct hp_new_key *out,
				hsmpool_error *err)
{
	out->label = spec->label ? spec->label : "";
	out->label_len = strlen(out->label);
	HP_CHECK(out->label_len <= LABEL_MAX, err, HSMPOOL_ERR_USAGE,
		 "new key: the label is longer than %d bytes", LABEL_MAX);
	out->is_id_given = spec->id != NULL;
	out->id_len = spec->id ? spec->id_len : ID_DEFAULT_LEN;
	HP_CHECK(out->id_len > 0 && out->id_len <= sizeof(out->id), err,
		 HSMPOOL_ERR_USAGE, "new key: an id has 1 to %zu bytes, not %zu",
		 sizeof(out->id), out->id_len);
	if (spec->id)
		memcpy(out->id, spec->id, out->id_len);
	else
		HP_CHECK(RAND_bytes(out->id, (int)out->id_len) == 1, err,
			 HSMPOOL_ERR_SYSTEM, "new key: no random id to be had");
	return HSMPOOL_OK;
}

static hsmpool_status plan_class(const hsmpool_key_spec *spec,
				 const struct key_type *type, enum hp_origin origin,
				 struct hp_new_key *out, hsmpool_error *err)
{
	bool wants_secret =
		origin == HP_ORIGIN_IMPORT_SECRET || origin == HP_ORIGIN_DERIVE;

	HP_CHECK(!(type->is_pair && wants_secret) &&
			 !(!type->is_pair && origin == HP_ORIGIN_IMPORT_PUBLIC),
		 err, HSMPOOL_ERR_USAGE, "new key: type '%s' does not fit here; %s",
		 type->name,
		 wants_secret ? "aes and generic do" : "rsa, ec and ed25519 do");
	out->type = type->type;
	out->class = !type->is_pair                      ? CKO_SECRET_KEY
		     : origin == HP_ORIGIN_IMPORT_PUBLIC ? CKO_PUBLIC_KEY
							 : CKO_PRIVATE_KEY;
	HP_CHECK(!spec->always_authenticate || out->class == CKO_PRIVATE_KEY, err,
		 HSMPOOL_ERR_USAGE,
		 "new key: only private keys can ask for the PIN at each use");
	out->is_always_authenticate = spec->always_authenticate != 0;
	out->is_extractable = spec->extractable != 0;
	return HSMPOOL_OK;
}

hsmpool_status hp_new_key_plan(const hsmpool_key_spec *spec, enum hp_origin origin,
			       struct hp_new_key *out, hsmpool_error *err)
{
	memset(out, 0, sizeof(*out));
	HP_CHECK(spec && spec->size >= sizeof(*spec), err, HSMPOOL_ERR_USAGE,
		 "new key: no spec, or its size is not sizeof(hsmpool_key_spec)");
	HP_CHECK(spec->type, err, HSMPOOL_ERR_USAGE,
		 "new key: no type; there are aes, generic, rsa, ec and ed25519");
	const struct key_type *type = type_by_name(spec->type);
	HP_CHECK(type, err, HSMPOOL_ERR_USAGE,
		 "new key: no type '%.40s'; there are aes, generic, rsa, ec and ed25519",
		 spec->type);
	HP_TRY(plan_class(spec, type, origin, out, err));
	HP_TRY(plan_size(spec, type, origin, out, err));
	HP_TRY(plan_usage(spec, type, origin, out, err));
	return plan_name(spec, out, err);
}

/* --- the templates -------------------------------------------------------------- */

enum half { SECRET, PRIVATE_HALF, PUBLIC_HALF };

static void add_usage(struct hp_template *t, const struct hp_new_key *key, enum half half)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++)
		if (half == SECRET || usages[i].is_private_half == (half == PRIVATE_HALF))
			hp_template_bool(t, usages[i].attribute,
					 key->usage & usages[i].usage);
}

static void add_common(struct hp_template *t, const struct hp_new_key *key,
		       CK_OBJECT_CLASS class, bool is_private)
{
	memset(t, 0, sizeof(*t));
	hp_template_number(t, CKA_CLASS, class);
	hp_template_number(t, CKA_KEY_TYPE, key->type);
	hp_template_bool(t, CKA_TOKEN, true);
	hp_template_bool(t, CKA_PRIVATE, is_private);
	if (key->label_len)
		hp_template_bytes(t, CKA_LABEL, key->label, key->label_len);
	hp_template_bytes(t, CKA_ID, key->id, key->id_len);
}

void hp_template_secret(struct hp_template *t, const struct hp_new_key *key)
{
	add_common(t, key, CKO_SECRET_KEY, true);
	hp_template_bool(t, CKA_SENSITIVE, true);
	hp_template_bool(t, CKA_EXTRACTABLE, key->is_extractable);
	add_usage(t, key, SECRET);
}

void hp_template_private(struct hp_template *t, const struct hp_new_key *key)
{
	add_common(t, key, CKO_PRIVATE_KEY, true);
	hp_template_bool(t, CKA_SENSITIVE, true);
	hp_template_bool(t, CKA_EXTRACTABLE, key->is_extractable);
	if (key->is_always_authenticate)
		hp_template_bool(t, CKA_ALWAYS_AUTHENTICATE, true);
	add_usage(t, key, PRIVATE_HALF);
}

/* Public keys are public: anyone may check a signature without the PIN. */
void hp_template_public(struct hp_template *t, const struct hp_new_key *key)
{
	add_common(t, key, CKO_PUBLIC_KEY, false);
	add_usage(t, key, PUBLIC_HALF);
}
