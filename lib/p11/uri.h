/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7512 URIs, parsed by p11-kit, with what hsmpool refuses in them: pin-value,
 * pin-source, module-path and module-name (they come from the configuration alone).
 */
#ifndef HP_P11_URI_H
#define HP_P11_URI_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include <p11-kit/pkcs11.h>

struct hp_uri;

/* USAGE if it is no URI or holds something that is refused; the text never repeats
 * what stands behind a '?' or "pin-". */
hsmpool_status hp_uri_parse(const char *text, struct hp_uri **out, hsmpool_error *err);
void hp_uri_free(struct hp_uri **uri);

/* Whether the token part (serial, label, model, manufacturer, slot-id) agrees. */
bool hp_uri_matches_token(const struct hp_uri *uri, CK_SLOT_ID slot,
			  const CK_TOKEN_INFO *token);
/* The parts that few URIs have: library-* and slot-description, slot-manufacturer. */
bool hp_uri_matches_module(const struct hp_uri *uri, const CK_INFO *module);
bool hp_uri_matches_slot(const struct hp_uri *uri, const CK_SLOT_INFO *slot);

/* The object part. Pointers into the URI; NULL or length 0 where not given. */
struct hp_uri_object {
	bool has_class;
	CK_OBJECT_CLASS class;
	const char *label; /* not NUL-terminated: label_len */
	size_t label_len;
	const unsigned char *id;
	size_t id_len;
	bool has_id;
	bool has_label;
};
void hp_uri_object(const struct hp_uri *uri, struct hp_uri_object *out);

/* "pkcs11:token=...;serial=...;id=%..;object=...;type=..." into buf, truncated never:
 * false if it does not fit. token may be NULL (object part only). */
bool hp_uri_format(char *buf, size_t cap, const CK_TOKEN_INFO *token, bool has_class,
		   CK_OBJECT_CLASS class, const void *label, size_t label_len,
		   const void *id, size_t id_len);

#endif
