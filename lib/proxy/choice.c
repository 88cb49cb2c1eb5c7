/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools of the configuration, and the tokens that they are for.
 *
 * Must not: make pools, or remember which slot a token was in: it may move.
 */
#include "proxy/choice.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/section.h"
#include "crypto/checkpoint.h"
#include "observe/log.h"
#include "p11/pin.h"
#include "p11/token.h"
#include "p11/uri.h"
#include "pool/live.h"
#include "proxy/process.h"

struct choice {
	struct hp_pool_options options;
	struct hp_pool_options
		keeper;     /* of the pool that has audit-key; zeroed: its own */
	struct hp_uri *uri; /* NULL: names no token */
	_Atomic bool was_sought;
};

struct choices {
	hsmpool_config *origin; /* the configuration, as it was loaded */
	bool has_threads;       /* else none of ours may be made */
	struct choice *all;     /* [pool] first, then the named ones in their order */
	size_t count;
	size_t first; /* 1: [pool] is for no token, only the named ones are */
	bool shows_all;
};

static struct choices *current;

/* --- loading -------------------------------------------------------------------------
 */

static void free_choices(struct choices **pointer)
{
	struct choices *old = *pointer;
	*pointer = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->count; i++) {
		hp_pool_options_clear(&old->all[i].options);
		hp_pool_options_clear(&old->all[i].keeper);
		hp_uri_free(&old->all[i].uri);
	}
	free(old->all);
	hsmpool_config_close(&old->origin);
	free(old);
}

void hp_choice_clear(void)
{
	free_choices(&current);
}

void hp_choice_forget(void)
{
	current = NULL;
}

void hp_choice_forbid_threads(void)
{
	current->has_threads = false;
	for (size_t i = 0; i < current->count; i++)
		current->all[i].options.keeper = false;
}

/* Other sections are for other programs: the module is one, and a token that [pool] has
 * too is [pool]'s. */
static bool is_for_module(const struct hp_pool_options *named,
			  const struct hp_pool_options *pool)
{
	bool has_own_token =
		named->token && (!pool->token || strcmp(named->token, pool->token) != 0);
	return has_own_token && strcmp(named->module, pool->module) == 0;
}

static bool is_set(const hsmpool_config *config, const char *name, const char *key)
{
	const struct hp_section *section = hp_section_find(config, "pool", name);
	return section && section->values[hp_option_find("pool", key)];
}

/* What the module's pools differ in from a library's. */
static void adapt(struct hp_pool_options *pool, const hsmpool_config *config,
		  bool is_automatic)
{
	if (!is_automatic) /* not used: the application has the PIN */
		free(hp_take(&pool->pin_source));
	if (!is_set(config, pool->name, "min-sessions") &&
	    !is_set(config, "", "min-sessions"))
		pool->min_sessions = 1;
	/* An SO login forbids read-only sessions: RO rules are kept on virtual ones. */
	pool->session_mode = HP_SESSIONS_READ_WRITE;
}

/* A bad URI is an error now, not an empty slot list later. */
static hsmpool_status check(struct choice *choice, bool is_automatic, hsmpool_error *err)
{
	const struct hp_pool_options *pool = &choice->options;
	HP_CHECK(!is_automatic || pool->pin_source, err, HSMPOOL_ERR_CONFIG,
		 "[proxy] login = automatic needs a PIN: set pin-source in [pool%s%s]",
		 pool->name[0] ? " " : "", pool->name);
	if (is_automatic)
		HP_TRY(hp_pin_source_check(pool->pin_source, err));
	return pool->token ? hp_uri_parse(pool->token, &choice->uri, err) : HSMPOOL_OK;
}

static hsmpool_status add(struct choices *c, const hsmpool_config *config,
			  const char *name, bool is_automatic, hsmpool_error *err)
{
	struct choice *next = &c->all[c->count];
	HP_TRY(hp_config_pool(config, name, &next->options, err));
	if (c->count > 0 && !is_for_module(&next->options, &c->all[0].options)) {
		hp_pool_options_clear(&next->options);
		return HSMPOOL_OK;
	}
	adapt(&next->options, config, is_automatic);
	c->count++;
	return hp_checkpoint_options(config, &next->options, &next->keeper, err);
}

/* It has the key that authenticates what the others do: not for applications. */
static bool is_audit_pool(const hsmpool_config *config, const char *name)
{
	size_t key = hp_option_find("pool", "audit-pool");
	for (const struct hp_section *at = config->first; at; at = at->next)
		if (strcmp(at->kind, "pool") == 0 && at->values[key] &&
		    strcmp(at->values[key], name) == 0)
			return true;
	return false;
}

static size_t count_sections(const hsmpool_config *config)
{
	size_t count = 0;
	for (const struct hp_section *at = config->first; at; at = at->next)
		count++;
	return count;
}

static hsmpool_status fill(struct choices *c, const hsmpool_config *config,
			   bool is_automatic, hsmpool_error *err)
{
	c->all = calloc(1 + count_sections(config), sizeof(*c->all));
	HP_CHECK(c->all, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	HP_TRY(add(c, config, "", is_automatic, err));
	for (const struct hp_section *at = config->first; at; at = at->next)
		if (strcmp(at->kind, "pool") == 0 && at->name[0] &&
		    !is_audit_pool(config, at->name))
			HP_TRY(add(c, config, at->name, is_automatic, err));
	const char *token = c->all[0].options.token;
	c->shows_all = !token && !is_automatic;
	c->first = !token && is_automatic && c->count > 1;
	for (size_t i = c->first; i < c->count; i++)
		HP_TRY(check(&c->all[i], is_automatic, err));
	return HSMPOOL_OK;
}

hsmpool_status hp_choice_load(const hsmpool_config *config, bool is_automatic,
			      hsmpool_error *err)
{
	hp_choice_clear();
	struct choices *made = calloc(1, sizeof(*made));
	HP_CHECK(made, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	made->has_threads = true;
	hsmpool_status status = hp_config_origin(config, &made->origin, err);
	if (status == HSMPOOL_OK)
		status = fill(made, config, is_automatic, err);
	if (status != HSMPOOL_OK)
		free_choices(&made);
	current = made;
	return status;
}

/* As they were adapted when they were read first. */
static void adapt_again(struct hp_pool_options *pool, const hsmpool_config *config)
{
	const struct choices *c = current; /* NULL: the pool was left behind */
	adapt(pool, config, hp_proxy_logs_in_automatically());
	pool->keeper = pool->keeper && c && c->has_threads;
}

hsmpool_status hp_choice_furnish(hsmpool *pool, hsmpool_error *err)
{
	HP_TRY(hp_pool_set_origin(pool, current->origin, adapt_again, err));
	hp_pool_catch_up(pool);
	return HSMPOOL_OK;
}

/* --- asking ------------------------------------------------------------------------- */

const struct hp_pool_options *hp_choice_default(void)
{
	return &current->all[0].options;
}

bool hp_choice_shows_all(void)
{
	return current->shows_all;
}

/* One of several tokens may well be away: after the first time it is not waited for. */
static bool find_slot(struct choice *choice, CK_SLOT_ID *real)
{
	hsmpool_error err;
	struct hp_token token;
	bool is_alone = current->count - current->first == 1;
	bool is_patient = !atomic_exchange(&choice->was_sought, true) || is_alone;
	hsmpool_status status = (is_patient ? hp_token_find : hp_token_look)(
		hp_proxy_module(), choice->uri, &token, &err);
	if (status != HSMPOOL_OK) {
		HP_LOG(WARNING, "token-not-found", "%s", err.text);
		return false;
	}
	*real = token.slot;
	return true;
}

static bool has_slot(const CK_SLOT_ID *list, CK_ULONG count, CK_SLOT_ID id)
{
	for (CK_ULONG i = 0; i < count; i++)
		if (list[i] == id)
			return true;
	return false;
}

CK_RV hp_choice_list(CK_SLOT_ID *list, CK_ULONG *count)
{
	HP_AUTO_FREE CK_SLOT_ID *found = calloc(current->count, sizeof(*found));
	CK_ULONG room = *count;
	if (!found)
		return CKR_HOST_MEMORY;
	*count = 0;
	for (size_t i = current->first; i < current->count; i++) {
		CK_SLOT_ID real;
		if (find_slot(&current->all[i], &real) && !has_slot(found, *count, real))
			found[(*count)++] = real;
	}
	if (!list || *count == 0)
		return CKR_OK;
	if (room < *count)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(list, found, *count * sizeof(*found));
	return CKR_OK;
}

const struct hp_pool_options *hp_choice_of(CK_SLOT_ID real)
{
	for (size_t i = current->first; i < current->count; i++) {
		CK_SLOT_ID found;
		bool is_catch_all = i == 0 && current->shows_all;
		if (!is_catch_all && find_slot(&current->all[i], &found) && found == real)
			return &current->all[i].options;
	}
	return current->shows_all ? hp_choice_default() : NULL;
}

const struct hp_pool_options *hp_choice_keeper(const struct hp_pool_options *options)
{
	for (size_t i = 0; i < current->count; i++)
		if (&current->all[i].options == options && current->all[i].keeper.module)
			return &current->all[i].keeper;
	return NULL;
}
