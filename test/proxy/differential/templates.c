/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates of objects: to create, generate, search, read and change.
 *
 * Values are fixed by the number of the call, labels are few, so objects are told apart
 * by some searches and confused by others.
 */
#include "differential.h"

#include <string.h>

static const CK_BYTE p256[] = {
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07
};
static const CK_BYTE ec_point[67] = {
	0x04, 0x41, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8,
	0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d,
	0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
	0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c,
	0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb,
	0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};
static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

/* Values that templates point to; made anew for every template. */
static CK_BYTE value_bytes[128];
static char label[8];
static CK_ULONG numbers[4];

static void add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value,
		CK_ULONG len)
{
	if (t->count < ATTRIBUTES)
		t->attributes[t->count++] = (CK_ATTRIBUTE){ type, (void *)value, len };
}

static void add_bool(struct template *t, CK_ATTRIBUTE_TYPE type, bool value)
{
	add(t, type, value ? &yes : &no, sizeof(yes));
}

static void add_number(struct template *t, unsigned which, CK_ATTRIBUTE_TYPE type,
		       CK_ULONG value)
{
	numbers[which] = value;
	add(t, type, &numbers[which], sizeof(numbers[which]));
}

static void add_class(struct template *t, CK_OBJECT_CLASS class, CK_KEY_TYPE type)
{
	add_number(t, 0, CKA_CLASS, class);
	add_number(t, 1, CKA_KEY_TYPE, type);
}

static void add_uses(struct template *t, bool is_pair_half, bool is_private)
{
	if (!is_pair_half || !is_private) {
		add_bool(t, CKA_ENCRYPT, true);
		add_bool(t, CKA_VERIFY, true);
		add_bool(t, CKA_WRAP, true);
	}
	if (!is_pair_half || is_private) {
		add_bool(t, CKA_DECRYPT, true);
		add_bool(t, CKA_SIGN, true);
		add_bool(t, CKA_UNWRAP, true);
		add_bool(t, CKA_DERIVE, true);
	}
}

static void add_general(struct template *t, uint8_t choice, uint32_t number)
{
	snprintf(label, sizeof(label), "o%u", number >> 8 & 7);
	add(t, CKA_LABEL, label, strlen(label));
	add_bool(t, CKA_TOKEN, choice & TEMPLATE_IS_TOKEN);
	add_bool(t, CKA_PRIVATE, choice & TEMPLATE_IS_PRIVATE);
	if (choice & TEMPLATE_IS_FIXED)
		add_bool(t, CKA_MODIFIABLE, false);
}

static void add_secrecy(struct template *t, uint8_t choice)
{
	add_bool(t, CKA_SENSITIVE, choice & TEMPLATE_IS_SENSITIVE);
	add_bool(t, CKA_EXTRACTABLE, true);
}

static void make_ec_private(struct template *t, uint8_t choice)
{
	add_class(t, CKO_PRIVATE_KEY, CKK_EC);
	add(t, CKA_EC_PARAMS, p256, sizeof(p256));
	add(t, CKA_VALUE, value_bytes, 32);
	add_uses(t, true, true);
	add_secrecy(t, choice);
}

static void make_rsa_public(struct template *t)
{
	static const CK_BYTE exponent[] = { 1, 0, 1 };

	value_bytes[0] |= 0x80;
	value_bytes[127] |= 1;
	add_class(t, CKO_PUBLIC_KEY, CKK_RSA);
	add(t, CKA_MODULUS, value_bytes, 128);
	add(t, CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
	add_uses(t, true, false);
}

static void make_secret(struct template *t, uint8_t choice, CK_KEY_TYPE type,
			CK_ULONG len)
{
	add_class(t, CKO_SECRET_KEY, type);
	add(t, CKA_VALUE, value_bytes, len);
	add_uses(t, false, false);
	add_secrecy(t, choice);
}

static void make_object(struct template *t, uint8_t choice)
{
	switch (choice % TEMPLATE_KINDS) {
	case TEMPLATE_AES:
		make_secret(t, choice, CKK_AES, 16);
		break;
	case TEMPLATE_GENERIC:
		make_secret(t, choice, CKK_GENERIC_SECRET, 64);
		break;
	case TEMPLATE_DATA:
		add_number(t, 0, CKA_CLASS, CKO_DATA);
		add(t, CKA_APPLICATION, "differential", 12);
		add(t, CKA_VALUE, value_bytes, 40);
		break;
	case TEMPLATE_EC_PUBLIC:
		add_class(t, CKO_PUBLIC_KEY, CKK_EC);
		add(t, CKA_EC_PARAMS, p256, sizeof(p256));
		add(t, CKA_EC_POINT, ec_point, sizeof(ec_point));
		add_uses(t, true, false);
		break;
	case TEMPLATE_EC_PRIVATE:
		make_ec_private(t, choice);
		break;
	case TEMPLATE_RSA_PUBLIC:
		make_rsa_public(t);
		break;
	case TEMPLATE_CERTIFICATE:
		add_number(t, 0, CKA_CLASS, CKO_CERTIFICATE);
		add_number(t, 1, CKA_CERTIFICATE_TYPE, CKC_X_509);
		add(t, CKA_SUBJECT, value_bytes, 20);
		add(t, CKA_VALUE, value_bytes, 100);
		break;
	default:
		break;
	}
}

static void make_key(struct template *t, uint8_t choice, const struct call *call)
{
	CK_MECHANISM_TYPE type = mechanism_rows[call->mechanism % mechanism_count].type;
	bool is_aes = choice % TEMPLATE_KINDS != TEMPLATE_GENERIC;
	bool is_generated = type == CKM_AES_KEY_GEN || type == CKM_GENERIC_SECRET_KEY_GEN;
	bool is_derived = mechanism_rows[call->mechanism % mechanism_count].families &
			  FAMILY_DERIVE;

	if (!is_generated)
		add_class(t, CKO_SECRET_KEY, is_aes ? CKK_AES : CKK_GENERIC_SECRET);
	if (is_generated || is_derived)
		add_number(t, 2, CKA_VALUE_LEN, type == CKM_AES_KEY_GEN ? 16 : 32);
	add_uses(t, false, false);
	add_secrecy(t, choice);
}

static void make_public_half(struct template *t, const struct call *call)
{
	if (mechanism_rows[call->mechanism % mechanism_count].type ==
	    CKM_RSA_PKCS_KEY_PAIR_GEN)
		add_number(t, 2, CKA_MODULUS_BITS, 512);
	else
		add(t, CKA_EC_PARAMS, p256, sizeof(p256));
	add_uses(t, true, false);
}

/* One attribute is left out, too short, empty, twice there, unknown, or not a truth. */
static void make_odd(struct template *t, uint32_t number)
{
	static const CK_BYTE seven = 7;
	CK_ATTRIBUTE *victim =
		&t->attributes[t->count > 0 ? (number >> 4) % t->count : 0];

	if (t->count == 0)
		return;
	switch (number & 7) {
	case 0:
		*victim = t->attributes[--t->count];
		break;
	case 1:
		victim->ulValueLen--;
		break;
	case 2:
		victim->ulValueLen = 0;
		break;
	case 3:
		add(t, victim->type, victim->pValue, victim->ulValueLen);
		break;
	case 4:
		victim->type = 0x4321;
		break;
	case 5:
		add(t, CKA_LOCAL, &yes, sizeof(yes));
		break;
	case 6:
		victim->pValue = (void *)&seven;
		victim->ulValueLen = 1;
		break;
	default:
		victim->pValue = NULL;
		victim->ulValueLen = 0;
		break;
	}
}

void template_make(struct template *t, enum purpose purpose, uint8_t choice,
		   const struct call *call)
{
	t->count = 0;
	for (size_t i = 0; i < sizeof(value_bytes); i++)
		value_bytes[i] = (CK_BYTE)(i * 11 + (call->number >> 8) * 3 + 1);
	if (purpose == FOR_CREATE)
		make_object(t, choice);
	else if (purpose == FOR_KEY)
		make_key(t, choice, call);
	else if (purpose == FOR_PUBLIC_HALF)
		make_public_half(t, call);
	else if (purpose == FOR_PRIVATE_HALF)
		add_uses(t, true, true);
	if (purpose == FOR_PRIVATE_HALF)
		add_secrecy(t, choice);
	if (choice % TEMPLATE_KINDS != TEMPLATE_EMPTY)
		add_general(t, choice, call->number);
	if (choice & TEMPLATE_IS_ODD)
		make_odd(t, call->number);
}

void template_for_search(struct template *t, const struct call *call)
{
	static const char *const labels[BASE_OBJECTS] = {
		"rsa", "rsa", "ec", "ec", "aes", "hmac", "public-aes", "data",
	};
	static const CK_OBJECT_CLASS classes[BASE_OBJECTS] = {
		CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY,
		CKO_SECRET_KEY, CKO_SECRET_KEY,  CKO_SECRET_KEY, CKO_DATA,
	};
	unsigned choice = call->template % SEARCH_CHOICES;

	t->count = 0;
	if (choice < BASE_OBJECTS) {
		add_number(t, 0, CKA_CLASS, classes[choice]);
		add(t, CKA_LABEL, labels[choice], strlen(labels[choice]));
	} else if (choice < SEARCH_ALL + 4) {
		snprintf(label, sizeof(label), "o%u", call->number & 7);
		add(t, CKA_LABEL, label, choice == SEARCH_ALL ? 0 : strlen(label));
		if (choice == SEARCH_ALL)
			t->count = 0;
	} else if (choice < SEARCH_ALL + 6) {
		add_bool(t, CKA_PRIVATE, call->number & 1);
		add_bool(t, CKA_TOKEN, call->number & 2);
	} else if (choice == SEARCH_ALL + 6) {
		add_number(t, 0, CKA_CLASS, CKO_SECRET_KEY);
	} else {
		add(t, 0x4321, &yes, sizeof(yes));
	}
}

void template_to_read(struct template *t, const struct call *call)
{
	enum { LISTS = 8, END = 0x7fffffff };
	static const CK_ATTRIBUTE_TYPE lists[LISTS][6] = {
		{ CKA_LABEL, CKA_CLASS, CKA_ID, END },
		{ CKA_VALUE, CKA_KEY_TYPE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_LABEL,
		  END },
		{ CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_MODULUS_BITS, END },
		{ CKA_EC_POINT, CKA_EC_PARAMS, CKA_LABEL, END },
		{ CKA_CHECK_VALUE, CKA_VALUE_LEN, CKA_TOKEN, CKA_PRIVATE, END },
		{ CKA_LABEL, 0x4321, CKA_CLASS, CKA_PRIVATE_EXPONENT, END },
		{ CKA_ALWAYS_SENSITIVE, CKA_LOCAL, CKA_WRAP_TEMPLATE, CKA_MODIFIABLE,
		  END },
		{ END },
	};
	const CK_ATTRIBUTE_TYPE *list = lists[call->template % LISTS];

	t->count = 0;
	for (unsigned i = 0; list[i] != END; i++)
		add(t, list[i], NULL, 0);
}

void template_to_change(struct template *t, const struct call *call)
{
	t->count = 0;
	snprintf(label, sizeof(label), "o%u", call->number & 7);
	switch (call->template % 8) {
	case 0:
	case 1:
		add(t, CKA_LABEL, label, strlen(label));
		break;
	case 2:
		add(t, CKA_ID, label, strlen(label));
		add(t, CKA_LABEL, label, strlen(label));
		break;
	case 3:
		add_bool(t, CKA_SENSITIVE, call->number & 1);
		break;
	case 4:
		add_bool(t, CKA_TOKEN, call->number & 1);
		break;
	case 5:
		add_bool(t, call->number & 1 ? CKA_ENCRYPT : CKA_SIGN, call->number & 2);
		break;
	case 6:
		add(t, CKA_LABEL, label, strlen(label));
		add(t, 0x4321, &yes, sizeof(yes));
		break;
	default:
		add_bool(t, call->number & 1 ? CKA_EXTRACTABLE : CKA_MODIFIABLE, false);
		break;
	}
}
