/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_key_get_info() and hsmpool_key_list(): key objects as people see them.
 *
 * The original object on the token is read, never a session copy. A list is collected
 * on the session, the session given back, then the caller called.
 */
#include "crypto/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "crypto/curve.h"
#include "crypto/operation.h"

/* A list is read in one go; the first try has room for this many. */
#define LIST_FIRST_CAP 256
#define LIST_LAST_CAP  (1u << 20)

static const struct {
	CK_ATTRIBUTE_TYPE attribute;
	uint32_t flag;
} flag_table[] = {
	{ CKA_TOKEN, HSMPOOL_KEY_TOKEN },
	{ CKA_PRIVATE, HSMPOOL_KEY_PRIVATE },
	{ CKA_MODIFIABLE, HSMPOOL_KEY_MODIFIABLE },
	{ CKA_LOCAL, HSMPOOL_KEY_LOCAL },
	{ CKA_DERIVE, HSMPOOL_KEY_CAN_DERIVE },
	{ CKA_SENSITIVE, HSMPOOL_KEY_SENSITIVE },
	{ CKA_EXTRACTABLE, HSMPOOL_KEY_EXTRACTABLE },
	{ CKA_NEVER_EXTRACTABLE, HSMPOOL_KEY_NEVER_EXTRACTABLE },
	{ CKA_ALWAYS_AUTHENTICATE, HSMPOOL_KEY_ALWAYS_AUTHENTICATE },
	{ CKA_ENCRYPT, HSMPOOL_KEY_CAN_ENCRYPT },
	{ CKA_DECRYPT, HSMPOOL_KEY_CAN_DECRYPT },
	{ CKA_SIGN, HSMPOOL_KEY_CAN_SIGN },
	{ CKA_VERIFY, HSMPOOL_KEY_CAN_VERIFY },
	{ CKA_WRAP, HSMPOOL_KEY_CAN_WRAP },
	{ CKA_UNWRAP, HSMPOOL_KEY_CAN_UNWRAP },
};

/* --- one object --------------------------------------------------------------------- */

static CK_RV read_flags(struct hp_session *s, CK_OBJECT_HANDLE object, uint32_t *flags)
{
	CK_BBOOL values[HP_ARRAY_LEN(flag_table)] = { 0 };
	CK_ATTRIBUTE template[HP_ARRAY_LEN(flag_table)];

	for (size_t i = 0; i < HP_ARRAY_LEN(flag_table); i++)
		template[i] = (CK_ATTRIBUTE){ flag_table[i].attribute, &values[i],
					      sizeof(values[i]) };
	CK_RV rv = hp_read_attributes(s, object, template, HP_ARRAY_LEN(flag_table));
	*flags = 0;
	for (size_t i = 0; rv == CKR_OK && i < HP_ARRAY_LEN(flag_table); i++)
		if (template[i].ulValueLen == sizeof(CK_BBOOL) && values[i] == CK_TRUE)
			*flags |= flag_table[i].flag;
	return rv;
}

/* Length of the printable UTF-8 character at text, 0 if there is none. */
static size_t printable_len(const uint8_t *text, size_t len)
{
	size_t need = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
	uint32_t code = need == 1 ? text[0] : text[0] & (0x7fu >> need);
	static const uint32_t smallest[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };

	if (text[0] >= 0xf8 || (text[0] >= 0x80 && text[0] < 0xc0) || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3fu);
	}
	if (code < smallest[need] || code == 0x7f || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	return need;
}

static void copy_printable(char *to, size_t cap, const uint8_t *from, size_t len)
{
	size_t at = 0;

	for (size_t i = 0; i < len;) {
		size_t step = printable_len(from + i, len - i);
		if (at + (step ? step : 1) >= cap)
			break;
		if (step)
			memcpy(to + at, from + i, step);
		else
			to[at] = '?';
		at += step ? step : 1;
		i += step ? step : 1;
	}
	to[at] = '\0';
}

static void set_type(hsmpool_key_info *info, CK_KEY_TYPE type,
		     const struct hp_curve *curve)
{
	const char *name = type == CKK_AES                   ? "aes"
			   : type == CKK_RSA                 ? "rsa"
			   : type == CKK_EC                  ? "ec"
			   : type == CKK_GENERIC_SECRET      ? "generic"
			   : type == CKK_EC_EDWARDS && curve ? curve->name
							     : NULL;
	if (name)
		snprintf(info->type, sizeof(info->type), "%s", name);
	else
		snprintf(info->type, sizeof(info->type), "0x%lx", type);
	if (curve && type == CKK_EC)
		snprintf(info->curve, sizeof(info->curve), "%s", curve->name);
}

/* The URI that selects just this object; without the label where both do not fit. */
static void set_uri(hsmpool_key_info *info, const struct hp_object *object,
		    const CK_TOKEN_INFO *token)
{
	if (!hp_uri_format(info->uri, sizeof(info->uri), token, true, object->class,
			   object->label, object->label_len, object->id,
			   object->id_len) &&
	    !hp_uri_format(info->uri, sizeof(info->uri), token, true, object->class, NULL,
			   0, object->id, object->id_len))
		info->uri[0] = '\0';
}

static CK_RV read_details(struct hp_session *s, const struct hp_object *object,
			  hsmpool_key_info *info)
{
	uint8_t params[256] = { 0 };
	uint8_t check_value[sizeof(info->check_value)] = { 0 };
	struct hp_key_facts facts;
	CK_ATTRIBUTE by_class = { CKA_CHECK_VALUE, check_value, sizeof(check_value) };

	CK_RV rv = read_flags(s, object->handle, &info->flags);
	if (rv == CKR_OK)
		rv = hp_read_facts(s, object, NULL, &facts);
	if (rv != CKR_OK)
		return rv;
	info->bits = facts.bits;
	if (object->class != CKO_SECRET_KEY)
		by_class = (CK_ATTRIBUTE){ CKA_EC_PARAMS, params, sizeof(params) };
	if (object->class == CKO_SECRET_KEY || object->type == CKK_EC ||
	    object->type == CKK_EC_EDWARDS)
		rv = hp_read_attributes(s, object->handle, &by_class, 1);
	else
		by_class.ulValueLen = 0;
	if (rv != CKR_OK)
		return rv;
	if (object->class == CKO_SECRET_KEY) {
		info->check_value_len = by_class.ulValueLen;
		memcpy(info->check_value, check_value, sizeof(check_value));
	}
	set_type(info, object->type, hp_curve_by_params(params, by_class.ulValueLen));
	return CKR_OK;
}

static CK_RV read_info(struct hp_session *s, const struct hp_object *object,
		       const CK_TOKEN_INFO *token, hsmpool_key_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	snprintf(info->class_name, sizeof(info->class_name), "%s",
		 hp_class_name(object->class));
	copy_printable(info->label, sizeof(info->label), object->label,
		       object->label_len);
	info->id_len =
		object->id_len < sizeof(info->id) ? object->id_len : sizeof(info->id);
	memcpy(info->id, object->id, info->id_len);
	set_uri(info, object, token);
	return read_details(s, object, info);
}

/* --- hsmpool_key_get_info ----------------------------------------------------------- */

struct info_request {
	hsmpool_key *key;
	hsmpool_key_info info;
};

static CK_RV run_get_info(struct hp_operation *op, struct hp_session *s,
			  CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
			  enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct info_request *request = op->user;
	struct hp_key_objects objects;
	struct hp_token token;
	CK_RV rv;

	(void)handle;
	(void)facts;
	(void)stage;
	*own = hp_find_key(request->key, s, &objects, &rv, err);
	if (*own != HSMPOOL_OK)
		return rv;
	hp_pool_token(op->pool, &token);
	return read_info(s,
			 objects.own.handle != CK_INVALID_HANDLE ? &objects.own
								 : &objects.public_half,
			 &token.info, &request->info);
}

hsmpool_status hsmpool_key_get_info(hsmpool_key *key, hsmpool_key_info *info,
				    hsmpool_deadline deadline, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_CHECK(key && info, err, HSMPOOL_ERR_USAGE,
		 "read a key's facts: no key or no place for the result");
	HP_CHECK(info->size >= sizeof(*info), err, HSMPOOL_ERR_USAGE,
		 "read a key's facts: set info->size to sizeof(hsmpool_key_info)");
	struct info_request request = { .key = key };
	struct hp_operation op = {
		.verb = "read key facts",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = key->pool,
		.about = key,
		.run = run_get_info,
		.user = &request,
	};
	HP_TRY(hp_operation_run(&op, deadline, err));
	size_t size = info->size;
	*info = request.info;
	info->size = size;
	return HSMPOOL_OK;
}

/* --- hsmpool_key_list --------------------------------------------------------------- */

struct list_request {
	struct hp_uri_object select;
	hsmpool_key_info *infos;
	size_t count;
};

/* Every key that matches, however many there are. */
static CK_RV find_all(struct hp_session *s, const struct hp_uri_object *select,
		      struct hp_object **out, size_t *count)
{
	bool more = true;
	CK_RV rv = CKR_OK;

	*out = NULL;
	for (CK_ULONG cap = LIST_FIRST_CAP; more && cap <= LIST_LAST_CAP; cap *= 16) {
		free(*out);
		rv = hp_find_keys(s, select, cap, out, count, &more);
		if (rv != CKR_OK)
			break;
	}
	return rv;
}

static CK_RV run_list(struct hp_operation *op, struct hp_session *s,
		      CK_OBJECT_HANDLE handle, const struct hp_key_facts *facts,
		      enum hp_stage *stage, hsmpool_status *own, hsmpool_error *err)
{
	struct list_request *request = op->user;
	HP_AUTO_FREE struct hp_object *objects = NULL;
	struct hp_token token;
	size_t count = 0;

	(void)handle;
	(void)facts;
	(void)stage;
	(void)own;
	(void)err;
	free(hp_take(&request->infos));
	request->count = 0;
	CK_RV rv = find_all(s, &request->select, &objects, &count);
	if (rv != CKR_OK || count == 0)
		return rv;
	rv = hp_pool_look(s); /* without a login only some are seen */
	if (rv != CKR_OK)
		return rv;
	request->infos = calloc(count, sizeof(*request->infos));
	if (!request->infos)
		return CKR_HOST_MEMORY;
	hp_pool_token(op->pool, &token);
	for (size_t i = 0; i < count; i++) {
		rv = read_info(s, &objects[i], &token.info,
			       &request->infos[request->count]);
		if (rv == CKR_OK)
			request->count++;
		else if (rv != CKR_OBJECT_HANDLE_INVALID) /* deleted meanwhile */
			return rv;
	}
	return CKR_OK;
}

static hsmpool_status collect(hsmpool *pool, struct list_request *request,
			      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_operation op = {
		.verb = "list keys",
		.retry = HP_RETRY_IDEMPOTENT,
		.pool = pool,
		.run = run_list,
		.user = request,
	};
	return hp_operation_run(&op, deadline, err);
}

static hsmpool_status list_selected(hsmpool *pool, const char *text,
				    struct list_request *request,
				    hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_token token;
	struct hp_uri *uri;

	HP_TRY(hp_pool_check_usable(pool, err));
	if (!text)
		return collect(pool, request, deadline, err);
	HP_TRY(hp_uri_parse(text, &uri, err));
	hp_pool_token(pool, &token);
	hsmpool_status status = HSMPOOL_OK;
	if (!hp_uri_matches_token(uri, token.slot, &token.info))
		status = hp_fail(err, HSMPOOL_ERR_KEY,
				 "list keys: '%s' names another token than the pool's",
				 text);
	hp_uri_object(uri, &request->select);
	if (status == HSMPOOL_OK)
		status = collect(pool, request, deadline, err);
	hp_uri_free(&uri);
	return status;
}

hsmpool_status hsmpool_key_list(hsmpool *pool, const char *uri, hsmpool_key_fn fn,
				void *user, hsmpool_deadline deadline, hsmpool_error *err)
{
	struct list_request request = { 0 };

	hp_error_clear(err);
	HP_CHECK(pool && fn, err, HSMPOOL_ERR_USAGE, "list keys: no pool or no function");
	hsmpool_status status = list_selected(pool, uri, &request, deadline, err);
	for (size_t i = 0; status == HSMPOOL_OK && i < request.count; i++)
		if (fn(user, &request.infos[i]) != 0)
			break;
	free(request.infos);
	return status;
}
