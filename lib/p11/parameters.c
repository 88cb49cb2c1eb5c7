/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of parameters: which of their words are pointers, lengths, handles.
 *
 * PKCS#11's parameter structures are rows of machine words (a CK_BBOOL is padded to one),
 * so a layout is a list of word numbers. Must not: read what a length of the wrong size
 * stands for, or more than the application can have meant.
 */
#include "p11/parameters.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/secret.h"

#define WORD sizeof(CK_ULONG)
_Static_assert(sizeof(CK_ULONG) == sizeof(void *), "parameters are rows of words");

/* What is copied at most, all pointers together. */
#define MOST_COPIED (64u << 10)
/* Parameters without a structure of words: IVs, counters, lengths. */
#define MOST_FLAT 64

static const struct hp_layout flat = { 0 };

/* --- the table --------------------------------------------------------------------- */

static const struct hp_layout gcm = {
	6, true, { { HP_FIELD_BYTES, 0, 1 }, { HP_FIELD_BYTES, 3, 4 } }
};
static const struct hp_layout ccm = {
	6, true, { { HP_FIELD_BYTES, 1, 2 }, { HP_FIELD_BYTES, 3, 4 } }
};
static const struct hp_layout oaep = { 5, false, { { HP_FIELD_BYTES, 3, 4 } } };
static const struct hp_layout rc5_cbc = { 4, false, { { HP_FIELD_BYTES, 2, 3 } } };
static const struct hp_layout eddsa = { 3, false, { { HP_FIELD_BYTES, 2, 1 } } };
static const struct hp_layout poly1305 = {
	4, true, { { HP_FIELD_BYTES, 0, 1 }, { HP_FIELD_BYTES, 2, 3 } }
};
static const struct hp_layout chacha20 = {
	4, false, { { HP_FIELD_BITS, 0, 1 }, { HP_FIELD_BITS, 2, 3 } }
};
static const struct hp_layout kip = {
	4,
	false,
	{ { HP_FIELD_HANDLE, 1, 0 }, { HP_FIELD_INNER, 0, 0 }, { HP_FIELD_BYTES, 2, 3 } }
};
static const struct hp_layout cms = { 8,
				      false,
				      { { HP_FIELD_HANDLE, 0, 0 },
					{ HP_FIELD_INNER, 1, 0 },
					{ HP_FIELD_INNER, 2, 0 },
					{ HP_FIELD_TEXT, 3, 0 },
					{ HP_FIELD_BYTES, 4, 5 },
					{ HP_FIELD_BYTES, 6, 7 } } };
static const struct hp_layout other_key = { 1, false, { { HP_FIELD_HANDLE, 0, 0 } } };
static const struct hp_layout hybrid = {
	9, false, { { HP_FIELD_HANDLE, 6, 0 }, { HP_FIELD_OPAQUE, 0, 0 } }
};
static const struct hp_layout mqv = { 10,
				      false,
				      { { HP_FIELD_HANDLE, 6, 0 },
					{ HP_FIELD_HANDLE, 9, 0 },
					{ HP_FIELD_OPAQUE, 0, 0 } } };
static const struct hp_layout gost_wrap = {
	5, false, { { HP_FIELD_HANDLE, 4, 0 }, { HP_FIELD_OPAQUE, 0, 0 } }
};
static const struct hp_layout hkdf = {
	8, false, { { HP_FIELD_HANDLE, 5, 0 }, { HP_FIELD_OPAQUE, 0, 0 } }
};
static const struct hp_layout x3dh_initialize = { 7,
						  false,
						  { { HP_FIELD_HANDLE, 1, 0 },
						    { HP_FIELD_HANDLE, 2, 0 },
						    { HP_FIELD_HANDLE, 5, 0 },
						    { HP_FIELD_HANDLE, 6, 0 },
						    { HP_FIELD_OPAQUE, 0, 0 } } };
static const struct hp_layout x3dh_respond = {
	6, false, { { HP_FIELD_HANDLE, 4, 0 }, { HP_FIELD_OPAQUE, 0, 0 } }
};
static const struct hp_layout x2ratchet = { 8,
					    false,
					    { { HP_FIELD_HANDLE, 1, 0 },
					      { HP_FIELD_HANDLE, 2, 0 },
					      { HP_FIELD_HANDLE, 3, 0 },
					      { HP_FIELD_OPAQUE, 0, 0 } } };
/* IKE2_PRF_PLUS, IKE1_EXTENDED */
static const struct hp_layout ike_expand = {
	5, false, { { HP_FIELD_HANDLE, 2, 0 }, { HP_FIELD_BYTES, 3, 4 } }
};
static const struct hp_layout ike_prf = {
	7,
	false,
	{ { HP_FIELD_HANDLE, 6, 0 }, { HP_FIELD_BYTES, 2, 3 }, { HP_FIELD_BYTES, 4, 5 } }
};
static const struct hp_layout ike1_prf = { 9,
					   false,
					   { { HP_FIELD_HANDLE, 2, 0 },
					     { HP_FIELD_HANDLE, 3, 0 },
					     { HP_FIELD_BYTES, 4, 5 },
					     { HP_FIELD_BYTES, 6, 7 } } };
static const struct hp_layout kdf = {
	5, false, { { HP_FIELD_PRF_DATA, 2, 1 }, { HP_FIELD_DERIVED, 4, 3 } }
};
static const struct hp_layout feedback_kdf = { 7,
					       false,
					       { { HP_FIELD_PRF_DATA, 2, 1 },
						 { HP_FIELD_DERIVED, 6, 5 },
						 { HP_FIELD_BYTES, 4, 3 } } };
static const struct hp_layout tls_keys = { 9, false, { { HP_FIELD_RETURNED, 8, 4 } } };
static const struct hp_layout tls12_keys = { 10, false, { { HP_FIELD_RETURNED, 8, 4 } } };
static const struct hp_layout wtls_keys = { 11, false, { { HP_FIELD_RETURNED, 10, 2 } } };

/* Of 3.x, which the 2.40 header does not have. */
#define CKM_CHACHA20_3_0          0x1226UL
#define CKM_CHACHA20_POLY1305_3_0 0x4021UL
#define CKM_HKDF_DERIVE_3_0       0x402aUL
#define CKM_HKDF_DATA_3_0         0x402bUL
#define CKM_SP800_108_COUNTER_3_0 0x3acUL
#define CKM_SP800_108_FEEDBACK    0x3adUL
#define CKM_SP800_108_PIPELINE    0x3aeUL
#define CKM_X3DH_INITIALIZE_3_0   0x4023UL
#define CKM_X3DH_RESPOND_3_0      0x4024UL
#define CKM_X2RATCHET_INIT_3_0    0x4025UL
#define CKM_X2RATCHET_RESPOND_3_0 0x4026UL
#define CKM_IKE2_PRF_PLUS_3_1     0x402eUL
#define CKM_IKE_PRF_3_1           0x402fUL
#define CKM_IKE1_PRF_3_1          0x4030UL
#define CKM_IKE1_EXTENDED_3_1     0x4031UL

static const struct hp_layout *find_structure(CK_MECHANISM_TYPE type)
{
	switch (type) {
	case CKM_AES_GCM:
		return &gcm;
	case CKM_AES_CCM:
		return &ccm;
	case CKM_RSA_PKCS_OAEP:
		return &oaep;
	case CKM_RC5_CBC:
	case CKM_RC5_CBC_PAD:
		return &rc5_cbc;
	case CKM_EDDSA:
		return &eddsa;
	case CKM_CHACHA20_POLY1305_3_0:
		return &poly1305;
	case CKM_CHACHA20_3_0:
		return &chacha20;
	case CKM_KIP_MAC:
	case CKM_KIP_DERIVE:
	case CKM_KIP_WRAP:
		return &kip;
	case CKM_CMS_SIG:
		return &cms;
	case CKM_CONCATENATE_BASE_AND_KEY:
		return &other_key;
	case CKM_X9_42_DH_HYBRID_DERIVE:
		return &hybrid;
	case CKM_X9_42_MQV_DERIVE:
	case CKM_ECMQV_DERIVE:
		return &mqv;
	case CKM_GOSTR3410_KEY_WRAP:
		return &gost_wrap;
	case CKM_HKDF_DERIVE_3_0:
	case CKM_HKDF_DATA_3_0:
		return &hkdf;
	case CKM_X3DH_INITIALIZE_3_0:
		return &x3dh_initialize;
	case CKM_X3DH_RESPOND_3_0:
		return &x3dh_respond;
	case CKM_X2RATCHET_INIT_3_0:
	case CKM_X2RATCHET_RESPOND_3_0:
		return &x2ratchet;
	case CKM_IKE2_PRF_PLUS_3_1:
	case CKM_IKE1_EXTENDED_3_1:
		return &ike_expand;
	case CKM_IKE_PRF_3_1:
		return &ike_prf;
	case CKM_IKE1_PRF_3_1:
		return &ike1_prf;
	case CKM_SP800_108_COUNTER_3_0:
	case CKM_SP800_108_PIPELINE:
		return &kdf;
	case CKM_SP800_108_FEEDBACK:
		return &feedback_kdf;
	case CKM_SSL3_KEY_AND_MAC_DERIVE:
	case CKM_TLS_KEY_AND_MAC_DERIVE:
		return &tls_keys;
	case CKM_TLS12_KEY_AND_MAC_DERIVE:
	case CKM_TLS12_KEY_SAFE_DERIVE:
		return &tls12_keys;
	case CKM_WTLS_SERVER_KEY_AND_MAC_DERIVE:
	case CKM_WTLS_CLIENT_KEY_AND_MAC_DERIVE:
		return &wtls_keys;
	default:
		return NULL;
	}
}

/* Ciphers whose parameter is an IV, a counter block, or rounds and an IV in a row. */
static bool is_flat_cipher(CK_MECHANISM_TYPE type)
{
	switch (type) {
	case CKM_AES_CBC:
	case CKM_AES_CBC_PAD:
	case CKM_AES_CTR:
	case CKM_AES_CTS:
	case CKM_AES_OFB:
	case CKM_AES_CFB1:
	case CKM_AES_CFB8:
	case CKM_AES_CFB64:
	case CKM_AES_CFB128:
	case CKM_DES_CBC:
	case CKM_DES_CBC_PAD:
	case CKM_DES_OFB64:
	case CKM_DES_OFB8:
	case CKM_DES_CFB64:
	case CKM_DES_CFB8:
	case CKM_DES3_CBC:
	case CKM_DES3_CBC_PAD:
	case CKM_CAMELLIA_CBC:
	case CKM_CAMELLIA_CBC_PAD:
	case CKM_CAMELLIA_CTR:
	case CKM_ARIA_CBC:
	case CKM_ARIA_CBC_PAD:
	case CKM_SEED_CBC:
	case CKM_SEED_CBC_PAD:
	case CKM_CAST_CBC:
	case CKM_CAST_CBC_PAD:
	case CKM_CAST3_CBC:
	case CKM_CAST3_CBC_PAD:
	case CKM_CAST128_CBC:
	case CKM_CAST128_CBC_PAD:
	case CKM_CDMF_CBC:
	case CKM_CDMF_CBC_PAD:
	case CKM_IDEA_CBC_PAD:
	case CKM_RC2_ECB:
	case CKM_RC2_CBC_PAD:
	case CKM_RC5_ECB:
	case CKM_BLOWFISH_CBC:
	case CKM_BLOWFISH_CBC_PAD:
	case CKM_TWOFISH_CBC:
	case CKM_TWOFISH_CBC_PAD:
	case CKM_GOST28147:
		return true;
	default:
		return false;
	}
}

/* Signatures and MACs whose parameter is plain numbers. */
static bool is_flat_signature(CK_MECHANISM_TYPE type)
{
	switch (type) {
	case CKM_RSA_PKCS_PSS:
	case CKM_SHA1_RSA_PKCS_PSS:
	case CKM_SHA224_RSA_PKCS_PSS:
	case CKM_SHA256_RSA_PKCS_PSS:
	case CKM_SHA384_RSA_PKCS_PSS:
	case CKM_SHA512_RSA_PKCS_PSS:
	case CKM_MD5_HMAC_GENERAL:
	case CKM_SHA_1_HMAC_GENERAL:
	case CKM_SHA224_HMAC_GENERAL:
	case CKM_SHA256_HMAC_GENERAL:
	case CKM_SHA384_HMAC_GENERAL:
	case CKM_SHA512_HMAC_GENERAL:
	case CKM_SHA512_224_HMAC_GENERAL:
	case CKM_SHA512_256_HMAC_GENERAL:
	case CKM_SHA512_T:
	case CKM_SHA512_T_HMAC:
	case CKM_SHA512_T_HMAC_GENERAL:
	case CKM_RIPEMD128_HMAC_GENERAL:
	case CKM_RIPEMD160_HMAC_GENERAL:
	case CKM_AES_MAC_GENERAL:
	case CKM_AES_CMAC_GENERAL:
	case CKM_DES_MAC_GENERAL:
	case CKM_DES3_MAC_GENERAL:
	case CKM_DES3_CMAC_GENERAL:
	case CKM_CAMELLIA_MAC_GENERAL:
	case CKM_ARIA_MAC_GENERAL:
	case CKM_SEED_MAC_GENERAL:
	case CKM_CAST_MAC_GENERAL:
	case CKM_CAST3_MAC_GENERAL:
	case CKM_CAST128_MAC_GENERAL:
	case CKM_CDMF_MAC_GENERAL:
	case CKM_IDEA_MAC_GENERAL:
	case CKM_RC2_MAC_GENERAL:
	case CKM_RC5_MAC:
	case CKM_RC5_MAC_GENERAL:
	case CKM_SSL3_MD5_MAC:
	case CKM_SSL3_SHA1_MAC:
	case CKM_TLS_MAC:
	case CKM_GOST28147_MAC:
	case CKM_GOSTR3411:
	case CKM_GOSTR3411_HMAC:
		return true;
	default:
		return false;
	}
}

/* NULL: not known. */
static const struct hp_layout *find_layout(CK_MECHANISM_TYPE type)
{
	if (is_flat_cipher(type) || is_flat_signature(type))
		return &flat;
	return find_structure(type);
}

/* --- reading and writing words ------------------------------------------------------ */

CK_ULONG hp_word_at(const void *base, unsigned at)
{
	CK_ULONG word;
	memcpy(&word, (const CK_BYTE *)base + at * WORD, WORD);
	return word;
}

const void *hp_word_pointer(const void *base, unsigned at)
{
	const void *pointer;
	memcpy(&pointer, (const CK_BYTE *)base + at * WORD, WORD);
	return pointer;
}

/* The structure that m's parameter is, or NULL if there is none that we know. */
const struct hp_layout *hp_layout_of(const CK_MECHANISM *m)
{
	if (!m || !m->pParameter || m->ulParameterLen == 0)
		return NULL;
	const struct hp_layout *layout = find_structure(m->mechanism);
	return layout && m->ulParameterLen == layout->words * WORD ? layout : NULL;
}

static size_t bytes_of(const struct hp_layout *layout, unsigned i, const void *words)
{
	CK_ULONG len = hp_word_at(words, layout->fields[i].len);
	return layout->fields[i].kind == HP_FIELD_BITS ? len / 8 + (len % 8 != 0) : len;
}

static bool is_bytes(const struct hp_layout *layout, unsigned i)
{
	return layout->fields[i].kind == HP_FIELD_BYTES ||
	       layout->fields[i].kind == HP_FIELD_BITS;
}

static bool has_length(const struct hp_layout *layout, unsigned i)
{
	return is_bytes(layout, i) || layout->fields[i].kind == HP_FIELD_PRF_DATA ||
	       layout->fields[i].kind == HP_FIELD_DERIVED;
}

bool hp_layout_has(const struct hp_layout *layout, enum hp_field_kind kind)
{
	hp_for_each_field (i, layout)
		if (layout->fields[i].kind == kind)
			return true;
	return false;
}

bool hp_layout_promises_bytes_at_null(const struct hp_layout *layout, const void *words)
{
	hp_for_each_field (i, layout)
		if (has_length(layout, i) &&
		    hp_word_at(words, layout->fields[i].len) > 0 &&
		    !hp_word_pointer(words, layout->fields[i].at))
			return true;
	return false;
}

bool hp_mechanism_leaves_nonce(const CK_MECHANISM *given)
{
	const struct hp_layout *layout = hp_layout_of(given);
	if (!layout || !layout->has_nonce)
		return false;
	const CK_BYTE *nonce = hp_word_pointer(given->pParameter, layout->fields[0].at);
	size_t len = bytes_of(layout, 0, given->pParameter);
	if (!nonce || len > MOST_FLAT)
		return true;
	return hp_bytes_are_zero(nonce, len);
}

/* --- copies ------------------------------------------------------------------------ */

static size_t padded(size_t len)
{
	return (len + WORD - 1) / WORD * WORD;
}

/* A mechanism in a mechanism; those have no others in them. */
#define DEEPEST 1

static bool measure(const CK_MECHANISM *given, unsigned depth, size_t *total);

static bool measure_field(const struct hp_layout *layout, unsigned i, const void *words,
			  unsigned depth, size_t *total)
{
	const void *from = hp_word_pointer(words, layout->fields[i].at);
	size_t len = 0;
	switch (layout->fields[i].kind) {
	case HP_FIELD_BYTES:
	case HP_FIELD_BITS:
		len = bytes_of(layout, i, words);
		break;
	case HP_FIELD_TEXT:
		len = from ? strnlen(from, MOST_COPIED) + 1 : 0;
		break;
	case HP_FIELD_INNER:
		len = from ? sizeof(CK_MECHANISM) : 0;
		break;
	case HP_FIELD_HANDLE: /* those of inner mechanisms would not be made real */
		return depth == 0;
	default:
		return false;
	}
	if (len > MOST_COPIED || *total > MOST_COPIED)
		return false;
	*total += padded(len);
	return layout->fields[i].kind != HP_FIELD_INNER || len == 0 ||
	       measure(from, depth + 1, total);
}

/* What a copy of the parameter takes, with all that it points to. False: none can be
 * made. */
static bool measure(const CK_MECHANISM *given, unsigned depth, size_t *total)
{
	const struct hp_layout *layout = find_layout(given->mechanism);
	if (given->ulParameterLen == 0)
		return true;
	if (!layout || !given->pParameter || depth > DEEPEST)
		return false;
	if (layout->words == 0 && given->ulParameterLen > MOST_FLAT)
		return false;
	if (layout->words > 0 && !hp_layout_of(given))
		return false;
	*total += padded(given->ulParameterLen);
	hp_for_each_field (i, layout)
		if (!measure_field(layout, i, given->pParameter, depth, total))
			return false;
	return true;
}

/* *room is where copies go, one behind the other. */
static void *copy_bytes(const void *from, size_t len, CK_BYTE **room)
{
	void *to = *room;
	memcpy(to, from, len);
	*room += padded(len);
	return to;
}

static void copy_parameter(CK_MECHANISM *mechanism, CK_BYTE **room);

static void copy_field(const struct hp_layout *layout, unsigned i, CK_BYTE *words,
		       CK_BYTE **room)
{
	enum hp_field_kind kind = layout->fields[i].kind;
	const void *from = hp_word_pointer(words, layout->fields[i].at);
	size_t len = is_bytes(layout, i) ? bytes_of(layout, i, words) : 0;
	void *to;
	if (!from || kind == HP_FIELD_HANDLE || (is_bytes(layout, i) && len == 0))
		return;
	if (kind == HP_FIELD_TEXT)
		len = strnlen(from, MOST_COPIED) + 1;
	to = copy_bytes(from, kind == HP_FIELD_INNER ? sizeof(CK_MECHANISM) : len, room);
	if (kind == HP_FIELD_INNER)
		copy_parameter(to, room);
	memcpy(words + layout->fields[i].at * WORD, &to, sizeof(to));
}

/* A shallow copy becomes a deep one. */
static void copy_parameter(CK_MECHANISM *mechanism, CK_BYTE **room)
{
	if (mechanism->ulParameterLen == 0) {
		mechanism->pParameter = NULL;
		return;
	}
	const struct hp_layout *layout = find_layout(mechanism->mechanism);
	mechanism->pParameter =
		copy_bytes(mechanism->pParameter, mechanism->ulParameterLen, room);
	hp_for_each_field (i, layout)
		copy_field(layout, i, mechanism->pParameter, room);
}

void hp_mechanism_copy(struct hp_mechanism_copy *copy, const CK_MECHANISM *given)
{
	size_t len = 0;
	copy->heap = NULL;
	copy->ck = (CK_MECHANISM){ .mechanism = given->mechanism };
	copy->is_faithful = given->ulParameterLen == 0;
	if (copy->is_faithful || !measure(given, 0, &len))
		return;
	CK_BYTE *room = (CK_BYTE *)copy->words;
	if (len > sizeof(copy->words)) {
		copy->heap = malloc(len);
		copy->heap_len = len;
		room = (CK_BYTE *)copy->heap;
		if (!room)
			return;
	}
	copy->ck = *given;
	copy_parameter(&copy->ck, &room);
	copy->is_faithful = true;
}

/* What is as it should be is not written: it may be in memory that cannot be. */
static void give_bytes(void *to, const void *from, size_t len)
{
	if (len > 0 && memcmp(to, from, len) != 0)
		memcpy(to, from, len);
}

/* Into the copy's own memory: the original's stays. */
static bool is_pointer(const struct hp_layout *layout, unsigned word)
{
	hp_for_each_field (i, layout)
		if (layout->fields[i].kind != HP_FIELD_HANDLE &&
		    layout->fields[i].at == word)
			return true;
	return false;
}

void hp_mechanism_give_back(const struct hp_mechanism_copy *copy, CK_MECHANISM *to)
{
	const struct hp_layout *layout = hp_layout_of(to);
	CK_BYTE *words = to->pParameter;
	const CK_BYTE *from = copy->ck.pParameter;
	if (!from || !words || copy->ck.ulParameterLen != to->ulParameterLen)
		return;
	if (!layout) {
		give_bytes(words, from, to->ulParameterLen);
		return;
	}
	hp_for_each_field (i, layout) {
		const void *data = is_bytes(layout, i)
					   ? hp_word_pointer(words, layout->fields[i].at)
					   : NULL;
		if (data)
			give_bytes((void *)(uintptr_t)data,
				   hp_word_pointer(from, layout->fields[i].at),
				   bytes_of(layout, i, words));
	}
	for (unsigned word = 0; word < layout->words; word++)
		if (!is_pointer(layout, word))
			give_bytes(words + word * WORD, from + word * WORD, WORD);
}

void hp_mechanism_copy_wipe(struct hp_mechanism_copy *copy)
{
	if (copy->ck.ulParameterLen > 0)
		hp_wipe(copy->words, sizeof(copy->words));
	if (copy->heap)
		hp_wipe(copy->heap, copy->heap_len);
	free(copy->heap);
	copy->heap = NULL;
	copy->ck = (CK_MECHANISM){ 0 };
}

/* --- as it was before --------------------------------------------------------------- */

/* Only what is read before the module has accepted it anyway (the nonce), or is an IV of
 * a block: of other lengths nothing is known yet. */
void hp_mechanism_save(struct hp_mechanism_before *before, const CK_MECHANISM *given)
{
	const struct hp_layout *layout = hp_layout_of(given);
	before->words_len = before->nonce_len = 0;
	bool is_iv = given && given->pParameter && is_flat_cipher(given->mechanism) &&
		     (given->ulParameterLen == 8 || given->ulParameterLen == 16);
	if (!is_iv && !(layout && layout->has_nonce))
		return;
	before->words_len = given->ulParameterLen;
	memcpy(before->words, given->pParameter, before->words_len);
	if (!layout)
		return;
	const void *nonce = hp_word_pointer(before->words, layout->fields[0].at);
	size_t len = bytes_of(layout, 0, before->words);
	if (!nonce || len > HP_NONCE_MOST)
		return;
	before->nonce_len = len;
	memcpy(before->nonce, nonce, len);
}

void hp_mechanism_restore(const struct hp_mechanism_before *before, CK_MECHANISM *given)
{
	if (before->words_len == 0)
		return;
	give_bytes(given->pParameter, before->words, before->words_len);
	const struct hp_layout *layout = hp_layout_of(given);
	if (layout && before->nonce_len > 0) {
		const void *nonce = hp_word_pointer(before->words, layout->fields[0].at);
		give_bytes((void *)(uintptr_t)nonce, before->nonce, before->nonce_len);
	}
}

/* --- signatures --------------------------------------------------------------------- */

bool hp_mechanism_is_deterministic(CK_MECHANISM_TYPE type)
{
	static const CK_MECHANISM_TYPE known[] = {
		CKM_RSA_PKCS,
		CKM_RSA_X_509,
		CKM_MD5_RSA_PKCS,
		CKM_SHA1_RSA_PKCS,
		CKM_SHA224_RSA_PKCS,
		CKM_SHA256_RSA_PKCS,
		CKM_SHA384_RSA_PKCS,
		CKM_SHA512_RSA_PKCS,
		CKM_MD5_HMAC,
		CKM_SHA_1_HMAC,
		CKM_SHA224_HMAC,
		CKM_SHA256_HMAC,
		CKM_SHA384_HMAC,
		CKM_SHA512_HMAC,
		CKM_SHA_1_HMAC_GENERAL,
		CKM_SHA224_HMAC_GENERAL,
		CKM_SHA256_HMAC_GENERAL,
		CKM_SHA384_HMAC_GENERAL,
		CKM_SHA512_HMAC_GENERAL,
		CKM_AES_MAC,
		CKM_AES_MAC_GENERAL,
		CKM_AES_CMAC,
		CKM_AES_CMAC_GENERAL,
		CKM_DES3_MAC,
		CKM_DES3_CMAC,
		CKM_EDDSA,
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(known); i++)
		if (known[i] == type)
			return true;
	return false;
}
