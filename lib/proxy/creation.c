/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that make objects.
 *
 * In read-only sessions a token object is refused with CKR_SESSION_READ_ONLY, at the
 * place that this has among the module's other reasons to refuse: where one may come
 * first the module is asked, with a template that says CKA_TOKEN = false; what that makes
 * is destroyed at once. So nothing an RO session does reaches the token.
 */
#include "proxy/creation.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "proxy/hiding.h"
#include "proxy/operation.h"
#include "proxy/template.h"

static const CK_BBOOL no = CK_FALSE;

/* --- what is asked for ---------------------------------------------------------- */

/* On the session: the real handles and parameters. */
static CK_RV translate(struct hp_session *s, struct hp_creation *c)
{
	CK_RV rv = CKR_OK;
	c->real_base = CK_INVALID_HANDLE;
	c->real_mechanism = c->mechanism;
	if (c->has_base)
		rv = hp_object_real(c->vs, s, c->base, &c->real_base);
	if (rv == CKR_OK && c->mechanism)
		rv = hp_mechanism_real(c->vs, s, c->mechanism, &c->call,
				       &c->real_mechanism);
	return rv;
}

/* Whether a template asks for a token object; *is_clear: it says so, or nothing. */
static CK_RV asks_for_token(struct hp_session *s, struct hp_creation *c,
			    const struct hp_derived_key *want, bool *is_token,
			    bool *is_clear)
{
	struct hp_object_facts facts = { 0 };
	CK_OBJECT_HANDLE real;
	unsigned times = 0;
	for (CK_ULONG i = 0; want->template && i < want->count; i++)
		times += want->template[i].type == CKA_TOKEN;
	bool is_said =
		hp_attribute_bool(want->template, want->count, CKA_TOKEN, is_token);
	*is_clear = times == (is_said ? 1 : 0);
	if (is_said)
		return CKR_OK;
	*is_token = false;
	if (!c->inherits_token)
		return CKR_OK;
	CK_RV rv = hp_object_facts(c->vs, s, c->base, &real, &facts);
	*is_token = facts.is_token;
	return rv;
}

static bool is_complete(const struct hp_creation *c)
{
	for (unsigned i = 0; i < c->objects; i++)
		if (!c->want[i].handle || (!c->want[i].template && c->want[i].count > 0))
			return false;
	return true;
}

static bool is_well_formed(const struct hp_creation *c)
{
	for (unsigned i = 0; i < c->objects; i++)
		if (!hp_attributes_are_there(c->want[i].template, c->want[i].count))
			return false;
	return true;
}

/* --- what was made -------------------------------------------------------------- */

static bool reads_true(struct hp_session *s, CK_OBJECT_HANDLE real,
		       CK_ATTRIBUTE_TYPE type)
{
	CK_BBOOL value = CK_FALSE;
	CK_ATTRIBUTE attribute = { type, &value, sizeof(value) };
	return hp_get_attributes(s, real, &attribute, 1) == CKR_OK && value != CK_FALSE;
}

static void destroy_made(struct hp_session *s, const struct hp_creation *c,
			 const CK_OBJECT_HANDLE *made)
{
	for (unsigned i = 0; i < c->objects; i++)
		if (made[i] != CK_INVALID_HANDLE)
			hp_destroy_object(s, made[i]);
}

/* A mistake of the module's, or a template that can be read in two ways: what may not
 * be is undone. */
static CK_RV check_made(struct hp_session *s, struct hp_creation *c,
			const CK_OBJECT_HANDLE *made, const bool *is_clear)
{
	for (unsigned i = 0; i < c->objects; i++) {
		if (made[i] == CK_INVALID_HANDLE)
			continue;
		if (!c->vs->is_read_write && !is_clear[i] &&
		    reads_true(s, made[i], CKA_TOKEN))
			return CKR_SESSION_READ_ONLY;
		if (hp_vsession_hides_private(c->vs) &&
		    reads_true(s, made[i], CKA_PRIVATE))
			return CKR_USER_NOT_LOGGED_IN;
	}
	return CKR_OK;
}

/* Virtual handles for all of it; the session objects are the virtual session's. */
static CK_RV adopt(struct hp_session *s, struct hp_creation *c,
		   const CK_OBJECT_HANDLE *made, const bool *is_token)
{
	CK_OBJECT_HANDLE handles[HP_OBJECTS_MOST] = { 0 };
	CK_RV rv = CKR_OK;
	for (unsigned i = 0; rv == CKR_OK && i < c->objects; i++)
		if (made[i] != CK_INVALID_HANDLE)
			rv = hp_object_virtual(c->vs, s, made[i],
					       is_token[i] ? NULL : c->vs, &handles[i]);
	if (rv == CKR_OK && c->mechanism)
		rv = hp_mechanism_adopt(c->vs, s, is_token[0] ? NULL : c->vs,
					c->mechanism);
	for (unsigned i = 0; i < c->objects; i++) {
		if (rv == CKR_OK && c->want[i].handle)
			*c->want[i].handle = handles[i];
		else if (handles[i] != CK_INVALID_HANDLE)
			hp_object_forget(c->vs, handles[i]);
	}
	return rv;
}

/* --- the call ------------------------------------------------------------------- */

/* A handle that the module does not write to. */
#define UNTOUCHED CK_UNAVAILABLE_INFORMATION

/* The module is not given the application's own places for handles. What it left there
 * at a failure (some write CK_INVALID_HANDLE) is handed on. */
static CK_RV submit(struct hp_session *s, struct hp_creation *c,
		    const struct hp_derived_key *templates, CK_OBJECT_HANDLE *made)
{
	struct hp_derived_key want[HP_OBJECTS_MOST];
	for (unsigned i = 0; i < c->objects; i++) {
		want[i] = templates[i];
		made[i] = UNTOUCHED;
		want[i].handle = want[i].handle ? &made[i] : NULL;
	}
	c->is_submitted = true;
	CK_RV rv = c->submit(s, c, want);
	for (unsigned i = 0; i < c->objects; i++) {
		if (rv != CKR_OK && made[i] != UNTOUCHED)
			*c->want[i].handle = CK_INVALID_HANDLE;
		if (made[i] == UNTOUCHED)
			made[i] = CK_INVALID_HANDLE;
	}
	return rv;
}

static CK_RV create(struct hp_session *s, struct hp_creation *c, const bool *is_token,
		    const bool *is_clear)
{
	CK_OBJECT_HANDLE made[HP_OBJECTS_MOST];
	bool is_token_now[HP_OBJECTS_MOST];
	memcpy(is_token_now, is_token, sizeof(is_token_now));
	CK_RV rv = submit(s, c, c->want, made);
	if (rv != CKR_OK)
		return rv;
	c->rv = check_made(s, c, made, is_clear);
	for (unsigned i = 0; c->rv == CKR_OK && i < c->objects; i++)
		if (!is_clear[i] && made[i] != CK_INVALID_HANDLE)
			is_token_now[i] = reads_true(s, made[i], CKA_TOKEN);
	if (c->rv == CKR_OK)
		c->rv = adopt(s, c, made, is_token_now);
	if (c->rv != CKR_OK)
		destroy_made(s, c, made);
	return CKR_OK;
}

/* The templates with CKA_TOKEN = false; they are freed by who asked, all that are not
 * NULL. */
static bool copy_as_session_objects(const struct hp_creation *c,
				    struct hp_derived_key *want)
{
	bool is_copied = true;
	for (unsigned i = 0; i < c->objects; i++) {
		want[i] = c->want[i];
		want[i].template = hp_attributes_with(want[i].template, want[i].count,
						      CKA_TOKEN, &no, &want[i].count);
		is_copied = is_copied && want[i].template;
	}
	return is_copied;
}

/* An RO session asks for a token object: the refusal, ours or the module's. */
static CK_RV rehearse(struct hp_session *s, struct hp_creation *c)
{
	struct hp_derived_key want[HP_OBJECTS_MOST];
	CK_OBJECT_HANDLE made[HP_OBJECTS_MOST];
	bool is_copied = copy_as_session_objects(c, want);
	CK_RV rv = is_copied ? submit(s, c, want, made) : CKR_HOST_MEMORY;
	for (unsigned i = 0; i < c->objects; i++)
		free(want[i].template);
	if (!is_copied)
		return rv;
	if (rv == CKR_OK)
		destroy_made(s, c, made);
	else if (c->fails_first(c, rv))
		return rv;
	c->rv = CKR_SESSION_READ_ONLY;
	return CKR_OK;
}

static CK_RV refuse_read_only(struct hp_session *s, struct hp_creation *c)
{
	if (c->may_fail_first && c->may_fail_first(s, c))
		return rehearse(s, c);
	c->rv = CKR_SESSION_READ_ONLY;
	return CKR_OK;
}

static bool asks_for_hidden(struct hp_creation *c)
{
	bool is_private = false;
	for (unsigned i = 0; i < c->objects && !is_private; i++)
		hp_attribute_bool(c->want[i].template, c->want[i].count, CKA_PRIVATE,
				  &is_private);
	return is_private && hp_vsession_hides_private(c->vs);
}

static CK_RV run_creation(struct hp_session *s, void *user)
{
	struct hp_creation *c = user;
	bool is_token[HP_OBJECTS_MOST] = { false };
	bool is_clear[HP_OBJECTS_MOST];
	bool any_token = false;
	c->rv = CKR_OK;
	c->is_submitted = false;
	CK_RV rv = translate(s, c);
	for (unsigned i = 0; rv == CKR_OK && i < c->objects; i++) {
		rv = asks_for_token(s, c, &c->want[i], &is_token[i], &is_clear[i]);
		any_token = any_token || is_token[i];
	}
	if (rv != CKR_OK)
		return rv;
	/* The module's own checks of its arguments come first, and make nothing. */
	if (!is_complete(c))
		return create(s, c, is_token, is_clear);
	if (!is_well_formed(c)) {
		c->rv = CKR_ATTRIBUTE_VALUE_INVALID;
		return CKR_OK;
	}
	bool is_refused = !c->vs->is_read_write && any_token && c->want[0].template;
	if (is_refused)
		return refuse_read_only(s, c);
	if (asks_for_hidden(c)) {
		c->rv = CKR_USER_NOT_LOGGED_IN;
		return CKR_OK;
	}
	/* A copy of a token object may be one without the template saying so. */
	is_clear[0] = is_clear[0] && (c->vs->is_read_write || c->want[0].template);
	return create(s, c, is_token, is_clear);
}

static struct hp_made describe_made(const struct hp_creation *c, unsigned i)
{
	CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
	if (c->is_pair)
		class = i == 0 ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY;
	else if (c->function == HP_FN_C_GenerateKey)
		class = CKO_SECRET_KEY;
	return (struct hp_made){ c->want[i].template, c->want[i].count, class };
}

CK_RV hp_creation_run(struct hp_creation *c)
{
	/* Of a pair it is the private key that counts most. */
	struct hp_aside_use use = {
		.kind = HP_USE_MANAGEMENT,
		.mechanism = c->mechanism,
		.key = c->has_base ? c->base : CK_INVALID_HANDLE,
		.needs_key = c->has_base,
		.made = describe_made(c, c->is_pair ? 1 : 0),
		.public_half = c->is_pair ? describe_made(c, 0) : (struct hp_made){ 0 },
		.is_copy = c->inherits_token,
		.input_len = c->wrapped_len,
	};
	return hp_operation_aside(c->vs,
				  &(struct hp_aside){ .function = c->function,
						      .want = HP_WANT_BESIDE,
						      .run = run_creation,
						      .user = c,
						      .is_submitted = &c->is_submitted,
						      .use = &use,
						      .own = &c->rv });
}
