/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slot has the token, and what the token says of itself.
 *
 * Owns: the rule of which token a URI means. Must not: open sessions or log in.
 * Structures are zeroed before the module fills them: SoftHSM2 ORs into flags.
 */
#include "p11/token.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "p11/gate.h"
#include "p11/siblings.h"

/* One slot with a token in it. */
struct candidate {
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
};

static CK_RV read_token_info(struct hp_module *module, CK_SLOT_ID slot,
			     CK_TOKEN_INFO *info)
{
	memset(info, 0, sizeof(*info));
	bool is_our_turn = hp_siblings_begin(module);
	CK_RV rv = HP_MODULE_CALL(module, C_GetTokenInfo, slot, info);
	hp_siblings_end(is_our_turn);
	return rv;
}

/* The list may grow between the two calls, or while another thread plugs tokens. */
static CK_RV list_slots(struct hp_module *module, CK_SLOT_ID **slots, CK_ULONG *count)
{
	CK_RV rv = CKR_GENERAL_ERROR;
	*slots = NULL;
	for (int attempt = 0; attempt < 5; attempt++) {
		*count = 0;
		rv = HP_MODULE_CALL(module, C_GetSlotList, CK_TRUE, NULL, count);
		if (rv != CKR_OK)
			return rv;
		CK_ULONG cap = *count;
		free(*slots);
		*slots = calloc(cap + 1, sizeof(CK_SLOT_ID));
		if (!*slots)
			return CKR_HOST_MEMORY;
		rv = HP_MODULE_CALL(module, C_GetSlotList, CK_TRUE, *slots, count);
		if (rv == CKR_OK && *count > cap)
			rv = CKR_GENERAL_ERROR;
		if (rv != CKR_BUFFER_TOO_SMALL)
			return rv;
	}
	return rv;
}

static hsmpool_status list_candidates(struct hp_module *module, struct candidate **out,
				      size_t *count, hsmpool_error *err)
{
	HP_AUTO_FREE CK_SLOT_ID *slots = NULL;
	CK_ULONG slot_count = 0;
	CK_RV rv = list_slots(module, &slots, &slot_count);
	if (rv != CKR_OK)
		return hp_rv_fail(err, rv, "module %s: cannot list its slots",
				  module->path);
	*out = calloc(slot_count + 1, sizeof(**out));
	HP_CHECK(*out, err, HSMPOOL_ERR_SYSTEM, "module %s: out of memory", module->path);
	*count = 0;
	for (CK_ULONG i = 0; i < slot_count; i++) {
		struct candidate *next = &(*out)[*count];
		next->slot = slots[i];
		/* One slot whose token was just pulled out does not spoil the rest. */
		if (read_token_info(module, slots[i], &next->info) == CKR_OK)
			++*count;
	}
	return HSMPOOL_OK;
}

/* --- saying what there is ---------------------------------------------------------- */

void hp_token_text(const CK_UTF8CHAR *field, size_t len, char *out)
{
	len = strnlen((const char *)field, len);
	while (len > 0 && field[len - 1] == ' ')
		len--;
	memcpy(out, field, len);
	out[len] = '\0';
}

static void describe(const struct candidate *candidate, char *out, size_t cap)
{
	char label[sizeof(candidate->info.label) + 1];
	char serial[sizeof(candidate->info.serialNumber) + 1];
	hp_token_text(candidate->info.label, sizeof(candidate->info.label), label);
	hp_token_text(candidate->info.serialNumber, sizeof(candidate->info.serialNumber),
		      serial);
	snprintf(out, cap, "token=%s serial=%s slot-id=%lu", label, serial,
		 candidate->slot);
}

/* "token=a serial=1 slot-id=7, token=b ... and 3 more" of those that are marked. */
static void describe_all(const struct candidate *all, const bool *marked, size_t count,
			 char *out, size_t cap)
{
	size_t used = 0;
	size_t left_out = 0;
	out[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		char one[128];
		if (!marked[i])
			continue;
		describe(&all[i], one, sizeof(one));
		if (used + strlen(one) + 20 > cap)
			left_out++;
		else
			used += (size_t)snprintf(out + used, cap - used, "%s%s",
						 used ? ", " : "", one);
	}
	if (left_out)
		snprintf(out + used, cap - used, " and %zu more", left_out);
	else if (used == 0)
		snprintf(out, cap, "no token");
}

/* --- choosing ---------------------------------------------------------------------- */

static bool is_initialised(const struct candidate *candidate)
{
	return (candidate->info.flags & CKF_TOKEN_INITIALIZED) != 0;
}

static bool has_label(const struct candidate *candidate)
{
	char label[sizeof(candidate->info.label) + 1];
	hp_token_text(candidate->info.label, sizeof(candidate->info.label), label);
	return label[0] != '\0';
}

static bool slot_agrees(struct hp_module *module, const struct hp_uri *uri,
			CK_SLOT_ID slot)
{
	CK_SLOT_INFO info;
	memset(&info, 0, sizeof(info));
	CK_RV rv = HP_MODULE_CALL(module, C_GetSlotInfo, slot, &info);
	/* A module without the function has no slot attributes to ask for. */
	return rv == CKR_FUNCTION_NOT_SUPPORTED ||
	       (rv == CKR_OK && hp_uri_matches_slot(uri, &info));
}

static bool agrees(struct hp_module *module, const struct hp_uri *uri,
		   const struct candidate *candidate)
{
	return !uri || (hp_uri_matches_module(uri, &module->info) &&
			hp_uri_matches_token(uri, candidate->slot, &candidate->info) &&
			slot_agrees(module, uri, candidate->slot));
}

/*
 * Mark those that the URI means, return how many. Initialised tokens come first; some
 * HSMs never set that flag, so without any of them a labelled one counts as well. A
 * fresh slot (SoftHSM2 always shows one) has neither.
 */
static size_t mark_matches(struct hp_module *module, const struct hp_uri *uri,
			   const struct candidate *all, bool *marked, size_t count)
{
	size_t found = 0;
	for (size_t i = 0; i < count; i++) {
		marked[i] = is_initialised(&all[i]) && agrees(module, uri, &all[i]);
		found += marked[i];
	}
	for (size_t i = 0; i < count && uri && found == 0; i++)
		marked[i] = has_label(&all[i]) && agrees(module, uri, &all[i]);
	for (size_t i = 0; i < count && found == 0; i++)
		found += marked[i];
	return found;
}

static hsmpool_status fail_with_none(struct hp_module *module, bool has_uri,
				     const struct candidate *all, bool *marked,
				     size_t count, hsmpool_error *err)
{
	char list[300];
	for (size_t i = 0; i < count; i++)
		marked[i] = is_initialised(&all[i]) || has_label(&all[i]);
	describe_all(all, marked, count, list, sizeof(list));
	return hp_fail(err, HSMPOOL_ERR_DOWN, "token: %s in module %s; it has: %s; %s",
		       has_uri ? "none matches the option token" : "none is initialised",
		       module->path, list,
		       has_uri ? "correct the option, or connect the HSM"
			       : "initialise one, or connect the HSM");
}

static hsmpool_status choose(struct hp_module *module, const struct hp_uri *uri,
			     const struct candidate *all, size_t count,
			     struct hp_token *out, bool *is_missing, hsmpool_error *err)
{
	HP_AUTO_FREE bool *marked = calloc(count + 1, sizeof(*marked));
	HP_CHECK(marked, err, HSMPOOL_ERR_SYSTEM, "token: out of memory");
	size_t found = mark_matches(module, uri, all, marked, count);
	bool has_uri = uri != NULL;
	*is_missing = found == 0;
	if (*is_missing)
		return fail_with_none(module, has_uri, all, marked, count, err);
	if (found > 1) {
		char list[300];
		describe_all(all, marked, count, list, sizeof(list));
		return hp_fail(err, HSMPOOL_ERR_DOWN,
			       "token: %zu match: %s; name one in the option token, by "
			       "serial if the labels are equal",
			       found, list);
	}
	size_t match = 0;
	while (!marked[match])
		match++;
	out->module = module;
	out->slot = all[match].slot;
	out->info = all[match].info;
	return HSMPOOL_OK;
}

static hsmpool_status find_once(struct hp_module *module, const struct hp_uri *uri,
				struct hp_token *out, bool *is_missing,
				hsmpool_error *err)
{
	*is_missing = false;
	memset(out, 0, sizeof(*out));
	HP_AUTO_FREE struct candidate *all = NULL;
	size_t count = 0;
	HP_TRY(list_candidates(module, &all, &count, err));
	return choose(module, uri, all, count, out, is_missing, err);
}

#define FIRST_PAUSE (5 * HP_MS)
#define PATIENCE    (300 * HP_MS)

/*
 * SoftHSM2 writes the token's file anew at each login, and unlocks it before the new
 * content is there: a process that starts in that moment overlooks the token, and goes
 * on to until it starts again. Of eight processes started at once half came to this.
 */
hsmpool_status hp_token_find(struct hp_module *module, const struct hp_uri *uri,
			     struct hp_token *out, hsmpool_error *err)
{
	int64_t deadline_ns = hp_time_add(hp_now_ns(), PATIENCE);
	int64_t pause_ns = FIRST_PAUSE;
	for (;;) {
		bool is_missing = false;
		hsmpool_status status = find_once(module, uri, out, &is_missing, err);
		if (!is_missing || hp_now_ns() + pause_ns > deadline_ns)
			return status;
		hp_pause(hp_jitter(pause_ns, 50));
		hsmpool_status restarted = HSMPOOL_OK;
		if (!hp_module_restart(module, &restarted, err))
			return status;
		HP_TRY(restarted);
		pause_ns *= 2;
	}
}

hsmpool_status hp_token_look(struct hp_module *module, const struct hp_uri *uri,
			     struct hp_token *out, hsmpool_error *err)
{
	bool is_missing = false;
	return find_once(module, uri, out, &is_missing, err);
}

bool hp_token_is_same(const CK_TOKEN_INFO *a, const CK_TOKEN_INFO *b)
{
	return memcmp(a->serialNumber, b->serialNumber, sizeof(a->serialNumber)) == 0 &&
	       memcmp(a->label, b->label, sizeof(a->label)) == 0 &&
	       memcmp(a->model, b->model, sizeof(a->model)) == 0;
}

hsmpool_status hp_token_find_again(struct hp_token *token, hsmpool_error *err)
{
	HP_AUTO_FREE struct candidate *all = NULL;
	size_t count = 0;
	HP_TRY(list_candidates(token->module, &all, &count, err));
	struct candidate self = { .slot = token->slot, .info = token->info };
	const struct candidate *match = NULL;
	size_t found = 0;
	for (size_t i = 0; i < count; i++) {
		if (!hp_token_is_same(&all[i].info, &token->info))
			continue;
		found++;
		/* Where one token shows in two slots, stay where it was. */
		if (!match || all[i].slot == token->slot)
			match = &all[i];
	}
	char text[128];
	describe(&self, text, sizeof(text));
	if (!match) {
		hp_fail(err, HSMPOOL_ERR_DOWN, "%s: the token is gone; connect the HSM",
			text);
		if (err)
			err->ck_rv = CKR_TOKEN_NOT_PRESENT;
		return HSMPOOL_ERR_DOWN;
	}
	HP_CHECK(found == 1 || match->slot == token->slot, err, HSMPOOL_ERR_DOWN,
		 "%s: the token is now in %zu slots; remove the copies", text, found);
	token->slot = match->slot;
	token->info = match->info;
	return HSMPOOL_OK;
}

/* --- what it says ------------------------------------------------------------------ */

CK_RV hp_token_refresh(struct hp_token *token)
{
	CK_TOKEN_INFO info;
	CK_RV rv = read_token_info(token->module, token->slot, &info);
	if (rv == CKR_OK)
		token->info = info;
	return rv;
}

CK_RV hp_token_mechanism_info(struct hp_token *token, CK_MECHANISM_TYPE type,
			      CK_MECHANISM_INFO *info)
{
	memset(info, 0, sizeof(*info));
	return HP_MODULE_CALL(token->module, C_GetMechanismInfo, token->slot, type, info);
}

CK_RV hp_token_mechanisms(struct hp_token *token, CK_MECHANISM_TYPE **list,
			  CK_ULONG *count)
{
	*list = NULL;
	*count = 0;
	CK_ULONG cap = 0;
	CK_RV rv = HP_MODULE_CALL(token->module, C_GetMechanismList, token->slot, NULL,
				  &cap);
	if (rv != CKR_OK)
		return rv;
	CK_ULONG len = cap;
	HP_AUTO_FREE CK_MECHANISM_TYPE *types = calloc(cap + 1, sizeof(*types));
	if (!types)
		return CKR_HOST_MEMORY;
	rv = HP_MODULE_CALL(token->module, C_GetMechanismList, token->slot, types, &len);
	if (rv != CKR_OK)
		return rv;
	if (len > cap)
		return CKR_GENERAL_ERROR;
	*count = len;
	*list = hp_take(&types);
	return CKR_OK;
}

static CK_ULONG known_limit(CK_ULONG reported)
{
	return reported == CK_UNAVAILABLE_INFORMATION ||
			       reported == CK_EFFECTIVELY_INFINITE
		       ? 0
		       : reported;
}

CK_ULONG hp_token_session_limit(const struct hp_token *token, bool read_write)
{
	CK_ULONG all = known_limit(token->info.ulMaxSessionCount);
	CK_ULONG writing = known_limit(token->info.ulMaxRwSessionCount);
	if (!read_write || writing == 0)
		return all;
	return all == 0 || writing < all ? writing : all;
}
