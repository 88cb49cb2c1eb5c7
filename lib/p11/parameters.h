/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of mechanisms: where they hold pointers and handles, and deep copies.
 *
 * One table knows. What it does not know counts as not faithfully copied: an operation
 * with such parameters is not begun a second time, and not by another thread.
 */
#ifndef HP_P11_PARAMETERS_H
#define HP_P11_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <p11-kit/pkcs11.h>

/* The longest structure that is of words only. */
#define HP_MECHANISM_WORDS 11

enum hp_field_kind {
	HP_FIELD_NONE,
	HP_FIELD_BYTES,    /* pointer at .at, its length in bytes at .len */
	HP_FIELD_BITS,     /* the same in bits */
	HP_FIELD_TEXT,     /* pointer to text that ends with a zero byte */
	HP_FIELD_INNER,    /* pointer to another mechanism */
	HP_FIELD_HANDLE,   /* an object, at .at */
	HP_FIELD_RETURNED, /* pointer to a row of .len new handles */
	HP_FIELD_PRF_DATA, /* pointer to a row of .len hp_prf_data */
	HP_FIELD_DERIVED,  /* pointer to a row of .len hp_derived_key */
	HP_FIELD_OPAQUE,   /* something with pointers of its own: not copied */
};

/* CK_PRF_DATA_PARAM and CK_DERIVED_KEY of SP 800-108, which the 2.40 header does not
 * have. The value of a key handle points to one. */
#define HP_PRF_DATA_KEY_HANDLE 5
struct hp_prf_data {
	CK_ULONG type;
	void *value;
	CK_ULONG value_len;
};
struct hp_derived_key {
	CK_ATTRIBUTE *template;
	CK_ULONG count;
	CK_OBJECT_HANDLE *handle;
};

#define HP_FIELDS_MOST 6

struct hp_layout {
	unsigned words; /* 0: no structure, bytes of any length */
	bool has_nonce; /* the first field */
	struct {
		enum hp_field_kind kind;
		unsigned at, len;
	} fields[HP_FIELDS_MOST]; /* up to the first HP_FIELD_NONE */
};

#define hp_for_each_field(i, layout) \
	for (unsigned i = 0;         \
	     i < HP_FIELDS_MOST && (layout)->fields[i].kind != HP_FIELD_NONE; i++)

/* The structure that m's parameter is, or NULL if there is none that we know. */
const struct hp_layout *hp_layout_of(const CK_MECHANISM *m);
bool hp_layout_has(const struct hp_layout *layout, enum hp_field_kind kind);
/* A NULL with a length, where bytes or a row should be. */
bool hp_layout_promises_bytes_at_null(const struct hp_layout *layout, const void *words);
CK_ULONG hp_word_at(const void *base, unsigned at);
const void *hp_word_pointer(const void *base, unsigned at);

/* A copy that lasts; its handles stay the application's. */
struct hp_mechanism_copy {
	CK_MECHANISM ck;
	bool is_faithful; /* all of it could be copied */
	CK_ULONG *heap;   /* what words has no room for */
	size_t heap_len;
	CK_ULONG words[14];
};

void hp_mechanism_copy(struct hp_mechanism_copy *copy, const CK_MECHANISM *given);
/* To the original what a module has written into the copy: nonces of its making. */
void hp_mechanism_give_back(const struct hp_mechanism_copy *copy, CK_MECHANISM *to);
void hp_mechanism_copy_wipe(struct hp_mechanism_copy *copy);

/*
 * What a module may write to, at an Init or when it wraps: the IV, and where it says how
 * long that is. Saved before the first try, and put back before the next.
 */
#define HP_NONCE_MOST 64
struct hp_mechanism_before {
	CK_ULONG words_len; /* of words: the parameter itself */
	CK_ULONG words[HP_MECHANISM_WORDS];
	size_t nonce_len;
	CK_BYTE nonce[HP_NONCE_MOST];
};
void hp_mechanism_save(struct hp_mechanism_before *before, const CK_MECHANISM *given);
void hp_mechanism_restore(const struct hp_mechanism_before *before, CK_MECHANISM *given);

/* Is the same signed alike each time? (RSA without random padding, MACs.) */
bool hp_mechanism_is_deterministic(CK_MECHANISM_TYPE type);

/* Whether the module is asked to make up the nonce (none, or nothing but zeros): what
 * it makes up differs each time. */
bool hp_mechanism_leaves_nonce(const CK_MECHANISM *given);

#endif
