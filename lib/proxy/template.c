/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the application's templates.
 */
#include "proxy/template.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

const CK_ATTRIBUTE *hp_attribute_find(const CK_ATTRIBUTE *template, CK_ULONG count,
				      CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = template ? count : 0; i > 0; i--)
		if (template[i - 1].type == type)
			return &template[i - 1];
	return NULL;
}

static bool read_value(const CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_ATTRIBUTE_TYPE type, void *value, size_t len)
{
	const CK_ATTRIBUTE *attribute = hp_attribute_find(template, count, type);
	if (!attribute || !attribute->pValue || attribute->ulValueLen != len)
		return false;
	memcpy(value, attribute->pValue, len);
	return true;
}

bool hp_attribute_bool(const CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_ATTRIBUTE_TYPE type, bool *value)
{
	CK_BBOOL byte;
	if (!read_value(template, count, type, &byte, sizeof(byte)))
		return false;
	*value = byte != CK_FALSE;
	return true;
}

bool hp_attribute_number(const CK_ATTRIBUTE *template, CK_ULONG count,
			 CK_ATTRIBUTE_TYPE type, CK_ULONG *value)
{
	return read_value(template, count, type, value, sizeof(*value));
}

bool hp_attributes_are_there(const CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; template && i < count; i++) {
		const CK_ATTRIBUTE *attribute = &template[i];
		if (!attribute->pValue && attribute->ulValueLen > 0)
			return false;
		bool is_nested = (attribute->type & CKF_ARRAY_ATTRIBUTE) &&
				 attribute->type != CKA_ALLOWED_MECHANISMS &&
				 attribute->ulValueLen % sizeof(CK_ATTRIBUTE) == 0;
		if (is_nested && !hp_attributes_are_there(attribute->pValue,
							  attribute->ulValueLen /
								  sizeof(CK_ATTRIBUTE)))
			return false;
	}
	return true;
}

CK_ATTRIBUTE *hp_attributes_with(const CK_ATTRIBUTE *template, CK_ULONG count,
				 CK_ATTRIBUTE_TYPE type, const CK_BBOOL *value,
				 CK_ULONG *new_count)
{
	size_t size;
	if (!hp_size_mul(count + 1, sizeof(*template), &size))
		return NULL;
	CK_ATTRIBUTE *copy = malloc(size);
	if (!copy)
		return NULL;
	*new_count = 0;
	for (CK_ULONG i = 0; template && i < count; i++)
		if (template[i].type != type)
			copy[(*new_count)++] = template[i];
	copy[(*new_count)++] = (CK_ATTRIBUTE){ type, (void *)value, sizeof(*value) };
	return copy;
}

/* --- lengths ------------------------------------------------------------------------ */

/* A template in a template, as long as its length says; 0: it is none. */
static CK_ULONG inner_count(const CK_ATTRIBUTE *attribute)
{
	bool is_template = attribute->type == CKA_WRAP_TEMPLATE ||
			   attribute->type == CKA_UNWRAP_TEMPLATE ||
			   attribute->type == CKA_DERIVE_TEMPLATE;
	if (!is_template || !attribute->pValue ||
	    attribute->ulValueLen % sizeof(CK_ATTRIBUTE) != 0)
		return 0;
	return attribute->ulValueLen / sizeof(CK_ATTRIBUTE);
}

/* False: there are too many. */
static bool save_some(struct hp_lengths *lengths, const CK_ATTRIBUTE *template,
		      CK_ULONG count, size_t *at)
{
	if (count > HP_LENGTHS_MOST - *at)
		return false;
	for (CK_ULONG i = 0; i < count; i++)
		lengths->of[(*at)++] = template[i].ulValueLen;
	return true;
}

void hp_lengths_save(struct hp_lengths *lengths, const CK_ATTRIBUTE *template,
		     CK_ULONG count)
{
	size_t at = 0;
	lengths->is_saved = template && save_some(lengths, template, count, &at);
	for (CK_ULONG i = 0; lengths->is_saved && i < count; i++)
		lengths->is_saved = save_some(lengths, template[i].pValue,
					      inner_count(&template[i]), &at);
}

static void restore_some(const struct hp_lengths *lengths, CK_ATTRIBUTE *template,
			 CK_ULONG count, size_t *at)
{
	for (CK_ULONG i = 0; i < count; i++)
		template[i].ulValueLen = lengths->of[(*at)++];
}

/* The outer ones first: they say how many inner ones there are. */
bool hp_lengths_restore(const struct hp_lengths *lengths, CK_ATTRIBUTE *template,
			CK_ULONG count)
{
	size_t at = 0;
	if (!lengths->is_saved)
		return false;
	restore_some(lengths, template, count, &at);
	for (CK_ULONG i = 0; i < count; i++)
		restore_some(lengths, template[i].pValue, inner_count(&template[i]), &at);
	return true;
}
