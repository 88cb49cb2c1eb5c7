/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of schemes and the parser of their names.
 *
 * Owns: which schemes exist, their mechanisms, and the texts for a wrong name. Must
 * not: allocate, lock, or know parameters (mechanism.c does). The table is sorted by
 * kind; a lookup compares lengths first and so touches one or two names.
 */
#include "crypto/scheme.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/value.h"

#define ENTRY(name, options, kind, family, hash, mechanism, bare)                      \
	{                                                                              \
		name, sizeof(name) - 1, options, HP_SCHEME_##kind, HP_FAMILY_##family, \
			HP_HASH_##hash, mechanism, bare                                \
	}
#define CIPHER(name, options, family, hash, mechanism) \
	ENTRY(name, options, CIPHER, family, hash, mechanism, 0)
#define RSA_PKCS1(name, hash, mechanism)                                          \
	ENTRY("rsa-pkcs1-" name, HP_SCHEME_DIGEST_IN, SIGNATURE, RSA_PKCS1, hash, \
	      mechanism, CKM_RSA_PKCS)
#define RSA_PSS(name, hash, mechanism)                                                   \
	ENTRY("rsa-pss-" name, HP_SCHEME_DIGEST_IN | HP_SCHEME_SALT, SIGNATURE, RSA_PSS, \
	      hash, mechanism, CKM_RSA_PKCS_PSS)
#define ECDSA(name, hash)                                                           \
	ENTRY("ecdsa-" name, HP_SCHEME_DIGEST_IN | HP_SCHEME_RAW, SIGNATURE, ECDSA, \
	      hash, CKM_ECDSA, CKM_ECDSA)
#define MAC(name, family, hash, mechanism) ENTRY(name, 0, MAC, family, hash, mechanism, 0)
#define DIGEST(name, hash, mechanism)      ENTRY(name, 0, DIGEST, DIGEST, hash, mechanism, 0)

static const struct hp_scheme_entry schemes[] = {
	CIPHER("aes-gcm", HP_SCHEME_TAG, AES_GCM, NONE, CKM_AES_GCM),
	CIPHER("aes-cbc-pad", 0, AES_CBC_PAD, NONE, CKM_AES_CBC_PAD),
	CIPHER("aes-cbc", 0, AES_CBC, NONE, CKM_AES_CBC),
	CIPHER("aes-ctr", 0, AES_CTR, NONE, CKM_AES_CTR),
	CIPHER("rsa-oaep-sha1", 0, RSA_OAEP, SHA1, CKM_RSA_PKCS_OAEP),
	CIPHER("rsa-oaep-sha256", 0, RSA_OAEP, SHA256, CKM_RSA_PKCS_OAEP),
	CIPHER("rsa-oaep-sha384", 0, RSA_OAEP, SHA384, CKM_RSA_PKCS_OAEP),
	CIPHER("rsa-oaep-sha512", 0, RSA_OAEP, SHA512, CKM_RSA_PKCS_OAEP),
	CIPHER("rsa-pkcs1", 0, RSA_PKCS1, NONE, CKM_RSA_PKCS),

	RSA_PKCS1("sha1", SHA1, CKM_SHA1_RSA_PKCS),
	RSA_PKCS1("sha224", SHA224, CKM_SHA224_RSA_PKCS),
	RSA_PKCS1("sha256", SHA256, CKM_SHA256_RSA_PKCS),
	RSA_PKCS1("sha384", SHA384, CKM_SHA384_RSA_PKCS),
	RSA_PKCS1("sha512", SHA512, CKM_SHA512_RSA_PKCS),
	RSA_PSS("sha1", SHA1, CKM_SHA1_RSA_PKCS_PSS),
	RSA_PSS("sha224", SHA224, CKM_SHA224_RSA_PKCS_PSS),
	RSA_PSS("sha256", SHA256, CKM_SHA256_RSA_PKCS_PSS),
	RSA_PSS("sha384", SHA384, CKM_SHA384_RSA_PKCS_PSS),
	RSA_PSS("sha512", SHA512, CKM_SHA512_RSA_PKCS_PSS),
	/* Hashed here always: few tokens have CKM_ECDSA_SHAxxx, all have CKM_ECDSA. */
	ECDSA("sha1", SHA1),
	ECDSA("sha224", SHA224),
	ECDSA("sha256", SHA256),
	ECDSA("sha384", SHA384),
	ECDSA("sha512", SHA512),
	ENTRY("ed25519", 0, SIGNATURE, EDDSA, NONE, CKM_EDDSA, 0),

	MAC("hmac-sha1", HMAC, SHA1, CKM_SHA_1_HMAC),
	MAC("hmac-sha224", HMAC, SHA224, CKM_SHA224_HMAC),
	MAC("hmac-sha256", HMAC, SHA256, CKM_SHA256_HMAC),
	MAC("hmac-sha384", HMAC, SHA384, CKM_SHA384_HMAC),
	MAC("hmac-sha512", HMAC, SHA512, CKM_SHA512_HMAC),
	MAC("aes-cmac", CMAC, NONE, CKM_AES_CMAC),

	DIGEST("sha1", SHA1, CKM_SHA_1),
	DIGEST("sha224", SHA224, CKM_SHA224),
	DIGEST("sha256", SHA256, CKM_SHA256),
	DIGEST("sha384", SHA384, CKM_SHA384),
	DIGEST("sha512", SHA512, CKM_SHA512),
};
_Static_assert(HP_ARRAY_LEN(schemes) == HP_SCHEME_COUNT, "facts are kept per scheme");

/* Where each kind begins in the table, and what it is called. */
static const struct {
	uint8_t first;
	uint8_t end;
	const char *name; /* "not a ... scheme" */
} kinds[HP_SCHEME_KIND_COUNT] = {
	[HP_SCHEME_CIPHER] = { 0, 9, "encryption" },
	[HP_SCHEME_SIGNATURE] = { 9, 25, "signature" },
	[HP_SCHEME_MAC] = { 25, 31, "mac" },
	[HP_SCHEME_DIGEST] = { 31, 36, "digest" },
};

#define GCM_TAG_MIN 12 /* shorter tags are for protocols that count their use */
#define GCM_TAG_MAX 16
#define SALT_MAX    512

const struct hp_scheme_entry *hp_scheme_at(size_t index)
{
	return index < HP_SCHEME_COUNT ? &schemes[index] : NULL;
}

/* --- a wrong name: the slow and helpful part ------------------------------------ */

/* The scheme of that kind that looks most like text; NULL if none does. */
static const char *find_nearest(enum hp_scheme_kind kind, const char *text, size_t len)
{
	char name[32];
	const char *nearest = NULL;
	size_t best = len / 2 + 1; /* more than half of it changed is no likeness */
	if (len >= sizeof(name))
		return NULL;
	memcpy(name, text, len);
	name[len] = '\0';
	for (size_t i = kinds[kind].first; i < kinds[kind].end; i++) {
		size_t distance = hp_edit_distance(name, schemes[i].name);
		if (distance < best) {
			best = distance;
			nearest = schemes[i].name;
		}
	}
	return nearest;
}

static hsmpool_status fail_unknown(enum hp_scheme_kind kind, const char *text, size_t len,
				   hsmpool_error *err)
{
	char known[320];
	size_t used = 0;
	for (size_t i = kinds[kind].first; i < kinds[kind].end; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, " %s",
					 schemes[i].name);
	assert(used < sizeof(known));

	const char *nearest = find_nearest(kind, text, len);
	return hp_fail(err, HSMPOOL_ERR_USAGE,
		       "no %s scheme \"%.*s\"%s%s%s; there are:%s", kinds[kind].name,
		       len < 40 ? (int)len : 40, text, nearest ? ", did you mean \"" : "",
		       nearest ? nearest : "", nearest ? "\"?" : "", known);
}

static hsmpool_status explain_name(enum hp_scheme_kind kind, const char *text, size_t len,
				   hsmpool_error *err)
{
	for (size_t i = 0; i < HP_SCHEME_COUNT; i++)
		if (schemes[i].name_len == len && memcmp(schemes[i].name, text, len) == 0)
			return hp_fail(err, HSMPOOL_ERR_USAGE,
				       "\"%s\" is a scheme for %s, not for %s",
				       schemes[i].name, kinds[schemes[i].kind].name,
				       kinds[kind].name);
	return fail_unknown(kind, text, len, err);
}

/* --- options --------------------------------------------------------------------- */

/* The decimal number that text[0..len) is, up to max; -1 if it is none. */
static int parse_number(const char *text, size_t len, int max)
{
	int value = 0;
	if (len == 0 || len > 4)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value <= max ? value : -1;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

static bool is_setting(const char *text, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	return len > name_len && memcmp(text, name, name_len) == 0;
}

/* Takes one option into out. 0: it is not an option at all, or has a wrong value. */
static uint8_t take_option(const char *text, size_t len, struct hp_scheme *out)
{
	if (is_word(text, len, "raw"))
		return HP_SCHEME_RAW;
	if (is_word(text, len, "digest"))
		return HP_SCHEME_DIGEST_IN;
	if (is_setting(text, len, "salt=")) {
		int salt = parse_number(text + 5, len - 5, SALT_MAX);
		out->salt_len = (uint32_t)salt;
		return salt >= 0 ? HP_SCHEME_SALT : 0;
	}
	if (is_setting(text, len, "tag=")) {
		int tag = parse_number(text + 4, len - 4, GCM_TAG_MAX);
		out->tag_len = (uint32_t)tag;
		return tag >= GCM_TAG_MIN ? HP_SCHEME_TAG : 0;
	}
	return 0;
}

static hsmpool_status fail_option(const struct hp_scheme_entry *entry, const char *text,
				  size_t len, hsmpool_error *err)
{
	return hp_fail(
		err, HSMPOOL_ERR_USAGE,
		"scheme %s: wrong option \"%.*s\"; it takes%s%s%s%s%s", entry->name,
		len < 40 ? (int)len : 40, text, entry->options ? "" : " none",
		entry->options & HP_SCHEME_RAW ? " raw" : "",
		entry->options & HP_SCHEME_DIGEST_IN ? " digest" : "",
		entry->options & HP_SCHEME_SALT ? " salt=N (bytes, up to 512)" : "",
		entry->options & HP_SCHEME_TAG ? " tag=N (bytes, 12 to 16)" : "");
}

static hsmpool_status parse_options(const char *text, struct hp_scheme *out,
				    hsmpool_error *err)
{
	for (;;) {
		size_t len = strcspn(text, ",");
		uint8_t option = take_option(text, len, out);
		if (!(option & out->entry->options) || (option & out->options))
			return fail_option(out->entry, text, len, err);
		out->options |= option;
		if (text[len] == '\0')
			return HSMPOOL_OK;
		text += len + 1;
	}
}

hsmpool_status hp_scheme_parse(enum hp_scheme_kind kind, const char *text,
			       struct hp_scheme *out, hsmpool_error *err)
{
	HP_CHECK(text, err, HSMPOOL_ERR_USAGE, "no %s scheme was given",
		 kinds[kind].name);
	size_t len = 0;
	while (text[len] != '\0' && text[len] != ':')
		len++;
	for (unsigned i = kinds[kind].first; i < kinds[kind].end; i++) {
		if (schemes[i].name_len != len || memcmp(schemes[i].name, text, len) != 0)
			continue;
		const struct hp_scheme_entry *entry = &schemes[i];
		*out = (struct hp_scheme){ .entry = entry, .index = i };
		if (entry->family == HP_FAMILY_RSA_PSS)
			out->salt_len = (uint32_t)hp_hash_info(entry->hash)->size;
		else if (entry->family == HP_FAMILY_AES_GCM)
			out->tag_len = GCM_TAG_MAX;
		return text[len] == ':' ? parse_options(text + len + 1, out, err)
					: HSMPOOL_OK;
	}
	return explain_name(kind, text, len, err);
}
