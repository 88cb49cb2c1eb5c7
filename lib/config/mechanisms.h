/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mechanisms are called: in policies, in audit records, in error texts.
 *
 * Holds every CKM_ name of PKCS#11 2.40 and those of 3.0-3.2. Numbers are those of
 * CK_MECHANISM_TYPE; this floor knows no PKCS#11. No state, no locks, no allocation.
 */
#ifndef HP_CONFIG_MECHANISMS_H
#define HP_CONFIG_MECHANISMS_H

#include <stdbool.h>
#include <stddef.h>

#define HP_MECHANISM_TEXT 32

/* "CKM_AES_GCM", or "0x80000042" written into buf. */
const char *hp_mechanism_name(unsigned long type, char buf[static HP_MECHANISM_TEXT]);

#define HP_MECHANISM_MEANINGS 2

/*
 * What a word of a configuration means: a CKM_ name, a number ("0x80000042"), or the
 * name of a scheme, which stands for the mechanisms that it is done with. How many were
 * written to types; 0: it is no such word.
 */
size_t hp_mechanism_parse(const char *word, unsigned long types[HP_MECHANISM_MEANINGS]);

/* The word that looks most like this one; NULL: none does. */
const char *hp_mechanism_nearest(const char *word);

/* The table of names, for tests: sorted by number, the name to be written first where a
 * mechanism has several. NULL past the end. */
struct hp_mechanism_row {
	unsigned long type;
	const char *name;
};
const struct hp_mechanism_row *hp_mechanism_at(size_t index);

#endif
