/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the application's templates: what kind of object it asks for.
 *
 * Templates are input of any quality: NULL where there should be bytes, lengths that do
 * not fit. Of an attribute that is given twice modules take the last.
 */
#ifndef HP_PROXY_TEMPLATE_H
#define HP_PROXY_TEMPLATE_H

#include <stdbool.h>
#include <p11-kit/pkcs11.h>

/* The last of that type, or NULL; template may be NULL. */
const CK_ATTRIBUTE *hp_attribute_find(const CK_ATTRIBUTE *template, CK_ULONG count,
				      CK_ATTRIBUTE_TYPE type);

/* False: it is not there, or not of this type. */
bool hp_attribute_bool(const CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_ATTRIBUTE_TYPE type, bool *value);
bool hp_attribute_number(const CK_ATTRIBUTE *template, CK_ULONG count,
			 CK_ATTRIBUTE_TYPE type, CK_ULONG *value);

/* False: an attribute promises bytes at NULL. Modules crash on it. */
bool hp_attributes_are_there(const CK_ATTRIBUTE *template, CK_ULONG count);

/* A copy, malloc()ed, in which an attribute has that value; shallow. NULL: no memory. */
CK_ATTRIBUTE *hp_attributes_with(const CK_ATTRIBUTE *template, CK_ULONG count,
				 CK_ATTRIBUTE_TYPE type, const CK_BBOOL *value,
				 CK_ULONG *new_count);

/*
 * The lengths of a template that a module may have written to, those of templates in it
 * too: saved before a call, put back before it is made again.
 */
#define HP_LENGTHS_MOST 64
struct hp_lengths {
	bool is_saved;
	CK_ULONG of[HP_LENGTHS_MOST];
};
/* Not if there are too many. */
void hp_lengths_save(struct hp_lengths *lengths, const CK_ATTRIBUTE *template,
		     CK_ULONG count);
/* False: they were not saved. */
bool hp_lengths_restore(const struct hp_lengths *lengths, CK_ATTRIBUTE *template,
			CK_ULONG count);

#endif
