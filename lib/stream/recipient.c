/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See recipient.h. The part, in bytes:
 *
 *   u32 length of what follows | u16 count | count times: u16 length of what follows |
 *   u8 type | u8 parameter | u8 n, key id | u8 n, label | u8 n, check | u16 n, wrapped
 */
#include "stream/recipient.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"

enum {
	OAEP_WRAPPED_MIN = 2048 / 8,
	OAEP_WRAPPED_MAX = 16384 / 8,
	FINGERPRINT_LEN = 32,
};

/* ---- writing ---- */

struct writer {
	uint8_t *out;
	size_t cap;
	size_t len;
	bool is_full;
};

static void put_bytes(struct writer *w, const void *data, size_t len)
{
	if (w->is_full || len > w->cap - w->len) {
		w->is_full = true;
		return;
	}
	if (len > 0)
		memcpy(w->out + w->len, data, len);
	w->len += len;
}

static void put_u8(struct writer *w, size_t value)
{
	uint8_t byte = (uint8_t)value;
	put_bytes(w, &byte, 1);
}

static void put_u16(struct writer *w, size_t value)
{
	uint8_t bytes[2];
	hp_put_be16(bytes, (uint16_t)value);
	put_bytes(w, bytes, sizeof(bytes));
}

static bool fields_fit(const struct hp_recipient *r)
{
	return r->id.len <= HP_RECIPIENT_ID_MAX &&
	       r->label.len <= HP_RECIPIENT_LABEL_MAX &&
	       r->check.len <= HP_RECIPIENT_CHECK_MAX &&
	       r->wrapped.len <= HP_RECIPIENT_WRAPPED_MAX;
}

static void put_recipient(struct writer *w, const struct hp_recipient *r)
{
	put_u16(w, 7 + r->id.len + r->label.len + r->check.len + r->wrapped.len);
	put_u8(w, r->type);
	put_u8(w, r->parameter);
	put_u8(w, r->id.len);
	put_bytes(w, r->id.data, r->id.len);
	put_u8(w, r->label.len);
	put_bytes(w, r->label.data, r->label.len);
	put_u8(w, r->check.len);
	put_bytes(w, r->check.data, r->check.len);
	put_u16(w, r->wrapped.len);
	put_bytes(w, r->wrapped.data, r->wrapped.len);
}

hsmpool_status hp_recipients_encode(const struct hp_recipient *recipients, size_t count,
				    uint8_t *out, size_t cap, size_t *len,
				    hsmpool_error *err)
{
	HP_CHECK(count >= 1 && count <= HP_RECIPIENTS_MAX, err, HSMPOOL_ERR_USAGE,
		 "a container has 1 to %d recipients, not %zu", HP_RECIPIENTS_MAX, count);
	struct writer w = { .out = out, .cap = cap };
	put_u16(&w, 0); /* the length, known at the end */
	put_u16(&w, 0);
	put_u16(&w, count);
	for (size_t i = 0; i < count; i++) {
		HP_CHECK(fields_fit(&recipients[i]), err, HSMPOOL_ERR_USAGE,
			 "recipient %zu: a field is too long for a container's header",
			 i + 1);
		put_recipient(&w, &recipients[i]);
	}
	HP_CHECK(!w.is_full, err, HSMPOOL_ERR_USAGE,
		 "the recipients do not fit a container's header: use fewer");
	hp_put_be32(out, (uint32_t)(w.len - 4));
	*len = w.len;
	return HSMPOOL_OK;
}

/* ---- reading ---- */

struct reader {
	const uint8_t *at;
	size_t left;
};

static bool get_bytes(struct reader *r, size_t len, hsmpool_bytes *out)
{
	if (len > r->left)
		return false;
	*out = (hsmpool_bytes){ r->at, len };
	r->at += len;
	r->left -= len;
	return true;
}

static bool get_u8(struct reader *r, uint8_t *value)
{
	hsmpool_bytes bytes;
	if (!get_bytes(r, 1, &bytes))
		return false;
	*value = bytes.data[0];
	return true;
}

static bool get_u16(struct reader *r, size_t *value)
{
	hsmpool_bytes bytes;
	if (!get_bytes(r, 2, &bytes))
		return false;
	*value = hp_get_be16(bytes.data);
	return true;
}

/* A field with its length in front, of at most max bytes. */
static bool get_short(struct reader *r, size_t max, hsmpool_bytes *out)
{
	uint8_t len;
	return get_u8(r, &len) && len <= max && get_bytes(r, len, out);
}

static bool get_recipient(struct reader *r, struct hp_recipient *out)
{
	size_t len;
	hsmpool_bytes entry;
	if (!get_u16(r, &len) || !get_bytes(r, len, &entry))
		return false;
	struct reader in = { entry.data, entry.len };
	return get_u8(&in, &out->type) && get_u8(&in, &out->parameter) &&
	       get_short(&in, HP_RECIPIENT_ID_MAX, &out->id) &&
	       get_short(&in, HP_RECIPIENT_LABEL_MAX, &out->label) &&
	       get_short(&in, HP_RECIPIENT_CHECK_MAX, &out->check) &&
	       get_u16(&in, &len) && len <= HP_RECIPIENT_WRAPPED_MAX &&
	       get_bytes(&in, len, &out->wrapped) && in.left == 0;
}

/* What a known type's fields must be; an unknown type may be anything. */
static bool is_consistent(const struct hp_recipient *r)
{
	size_t wrapped = r->wrapped.len;
	bool is_plain = r->parameter == 0 && r->check.len <= HP_CHECK_VALUE_MAX;
	switch (r->type) {
	case HP_RECIPIENT_AES_GCM:
		return is_plain && wrapped == HP_GCM_WRAPPED_LEN;
	case HP_RECIPIENT_AES_KW:
	case HP_RECIPIENT_AES_KWP:
		return is_plain && wrapped == HP_KW_WRAPPED_LEN;
	case HP_RECIPIENT_RSA_OAEP:
		return r->parameter >= HP_OAEP_SHA1 && r->parameter <= HP_OAEP_SHA512 &&
		       (r->check.len == 0 || r->check.len == FINGERPRINT_LEN) &&
		       wrapped >= OAEP_WRAPPED_MIN && wrapped <= OAEP_WRAPPED_MAX;
	case HP_RECIPIENT_DIRECT:
		return is_plain && wrapped == 0;
	default:
		return true;
	}
}

hsmpool_status hp_recipients_length(const uint8_t head[4], size_t *len,
				    hsmpool_error *err)
{
	uint32_t rest = hp_get_be32(head);
	HP_CHECK(rest >= HP_RECIPIENT_PART_HEAD - 4 && rest <= HP_RECIPIENT_PART_MAX - 4,
		 err, HSMPOOL_ERR_DATA,
		 "the container's header is damaged: its recipient part cannot be %u "
		 "bytes",
		 rest);
	*len = rest + 4;
	return HSMPOOL_OK;
}

hsmpool_status hp_recipients_decode(const uint8_t *part, size_t len, bool is_direct,
				    struct hp_recipient_list *out, hsmpool_error *err)
{
	struct reader r = { part + 4, len - 4 };
	size_t count = 0;
	out->count = 0;
	bool has_count = get_u16(&r, &count) && count >= 1 && count <= HP_RECIPIENTS_MAX;
	HP_CHECK(has_count && (!is_direct || count == 1), err, HSMPOOL_ERR_DATA,
		 "the container's header is damaged: it cannot have %zu recipients",
		 count);
	for (size_t i = 0; i < count; i++) {
		struct hp_recipient *at = &out->at[i];
		bool is_ok = get_recipient(&r, at) && is_consistent(at) &&
			     is_direct == (at->type == HP_RECIPIENT_DIRECT);
		HP_CHECK(is_ok, err, HSMPOOL_ERR_DATA,
			 "the container's header is damaged: recipient %zu", i + 1);
	}
	HP_CHECK(r.left == 0, err, HSMPOOL_ERR_DATA,
		 "the container's header is damaged: bytes after its recipients");
	out->count = count;
	return HSMPOOL_OK;
}

bool hp_recipient_is_known(const struct hp_recipient *recipient)
{
	return recipient->type >= HP_RECIPIENT_AES_GCM &&
	       recipient->type <= HP_RECIPIENT_DIRECT;
}

bool hp_recipient_is_rsa(const struct hp_recipient *recipient)
{
	return recipient->type == HP_RECIPIENT_RSA_OAEP;
}

bool hp_checks_differ(hsmpool_bytes a, hsmpool_bytes b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	return len > 0 && memcmp(a.data, b.data, len) != 0;
}

bool hp_fields_match(hsmpool_bytes a, hsmpool_bytes b)
{
	return a.len > 0 && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

bool hp_recipients_are_one_key(const struct hp_recipient *a, const struct hp_recipient *b)
{
	if (!hp_recipient_is_known(a) || !hp_recipient_is_known(b) ||
	    hp_recipient_is_rsa(a) != hp_recipient_is_rsa(b) ||
	    hp_checks_differ(a->check, b->check))
		return false;
	if (hp_recipient_is_rsa(a) && hp_fields_match(a->check, b->check))
		return true;
	bool have_ids = a->id.len > 0 && b->id.len > 0;
	return have_ids ? hp_fields_match(a->id, b->id)
			: hp_fields_match(a->label, b->label);
}

/* ---- for people ---- */

/* snprintf that goes on where the last one ended and never past cap. */
__attribute__((format(printf, 4, 5))) static void
append(char *out, size_t cap, size_t *len, const char *format, ...)
{
	va_list args;
	if (*len + 1 >= cap)
		return;
	va_start(args, format);
	int written = vsnprintf(out + *len, cap - *len, format, args);
	va_end(args);
	if (written > 0)
		*len += (size_t)written < cap - *len ? (size_t)written : cap - *len - 1;
}

static void append_hex(char *out, size_t cap, size_t *len, const char *name,
		       hsmpool_bytes bytes)
{
	if (bytes.len == 0)
		return;
	append(out, cap, len, " %s=", name);
	for (size_t i = 0; i < bytes.len; i++)
		append(out, cap, len, "%02x", bytes.data[i]);
}

/* Nothing that moves a cursor, ends a line or ends a quote comes through. */
static void append_printable(char *out, size_t cap, size_t *len, hsmpool_bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		bool is_plain = c >= 0x20 && c < 0x7f && c != '\'' && c != '\\';
		append(out, cap, len, is_plain ? "%c" : "\\x%02x", c);
	}
}

static void append_label(char *out, size_t cap, size_t *len, hsmpool_bytes label)
{
	if (label.len == 0)
		return;
	append(out, cap, len, " label='");
	append_printable(out, cap, len, label);
	append(out, cap, len, "'");
}

void hp_recipient_label(const struct hp_recipient *recipient, char *out, size_t cap)
{
	size_t len = 0;
	out[0] = '\0';
	append_printable(out, cap, &len, recipient->label);
}

void hp_recipient_kind(const struct hp_recipient *recipient, char *out, size_t cap)
{
	static const char *const kinds[] = {
		[HP_RECIPIENT_AES_GCM] = "aes-gcm", [HP_RECIPIENT_AES_KW] = "aes-kw",
		[HP_RECIPIENT_AES_KWP] = "aes-kwp", [HP_RECIPIENT_RSA_OAEP] = "rsa-oaep",
		[HP_RECIPIENT_DIRECT] = "direct",
	};
	static const char *const hashes[] = {
		[HP_OAEP_SHA1] = "sha1",
		[HP_OAEP_SHA256] = "sha256",
		[HP_OAEP_SHA384] = "sha384",
		[HP_OAEP_SHA512] = "sha512",
	};
	if (!hp_recipient_is_known(recipient))
		snprintf(out, cap, "type-%u", recipient->type);
	else if (hp_recipient_is_rsa(recipient))
		snprintf(out, cap, "%s-%s", kinds[recipient->type],
			 hashes[recipient->parameter]);
	else
		snprintf(out, cap, "%s", kinds[recipient->type]);
}

void hp_recipient_describe(const struct hp_recipient *recipient, char *out, size_t cap)
{
	size_t len = 0;
	hsmpool_bytes check = recipient->check;
	if (check.len > 8)
		check.len = 8; /* enough of a fingerprint to recognise it */
	out[0] = '\0';
	if (hp_recipient_is_known(recipient))
		append(out, cap, &len,
		       hp_recipient_is_rsa(recipient) ? "rsa key" : "aes key");
	else
		append(out, cap, &len, "recipient of unknown type %u", recipient->type);
	append_label(out, cap, &len, recipient->label);
	append_hex(out, cap, &len, "id", recipient->id);
	append_hex(out, cap, &len, "check", check);
}

void hp_recipients_describe(const struct hp_recipient_list *list, char *out, size_t cap)
{
	size_t len = 0;
	out[0] = '\0';
	for (size_t i = 0; i < list->count; i++) {
		append(out, cap, &len, i == 0 ? "%s" : "; %s", "");
		if (len < cap)
			hp_recipient_describe(&list->at[i], out + len, cap - len);
		len += strlen(out + len);
	}
}
