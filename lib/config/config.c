/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as programs and faces see it.
 *
 * Owns: which value is in force (the section's, [pool]'s, the default), and what must
 * be true of several values together. Must not: act on any of them. Not thread-safe.
 */
#include "config/section.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first folder of the service's StateDirectory=, or one of our own in it. */
static char *find_service_dir(const char *folders)
{
	size_t len = strcspn(folders, ":");
	const char *own = "/hsmpool";
	char *path = NULL;
	while (len > 1 && folders[len - 1] == '/')
		len--;
	bool is_own = len >= strlen(own) &&
		      memcmp(folders + len - strlen(own), own, strlen(own)) == 0;
	return asprintf(&path, "%.*s%s", (int)len, folders, is_own ? "" : own) < 0 ? NULL
										   : path;
}

/* /var/lib/hsmpool for root, else in the service's or the user's folder for state; NULL:
 * no memory or no such folder. */
static char *find_state_dir(void)
{
	const char *service = secure_getenv("STATE_DIRECTORY");
	const char *state_home = secure_getenv("XDG_STATE_HOME");
	const char *home = secure_getenv("HOME");
	char *path = NULL;
	int len = -1;
	if (geteuid() == 0)
		return strdup("/var/lib/hsmpool");
	if (service && service[0] == '/')
		return find_service_dir(service);
	if (state_home && state_home[0] == '/')
		len = asprintf(&path, "%s/hsmpool", state_home);
	else if (home && home[0] == '/')
		len = asprintf(&path, "%s/.local/state/hsmpool", home);
	return len < 0 ? NULL : path;
}

hsmpool_status hsmpool_config_new(hsmpool_config **out, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no place for the configuration was given");
	*out = calloc(1, sizeof(**out));
	HP_CHECK(*out, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	(*out)->state_dir = find_state_dir();
	return HSMPOOL_OK;
}

void hsmpool_config_close(hsmpool_config **config)
{
	if (!config || !*config)
		return;
	hsmpool_config *old = *config;
	*config = NULL;
	while (old->first) {
		struct hp_section *section = old->first;
		old->first = section->next;
		hp_section_free(section);
	}
	free(old->state_dir);
	free(old->path);
	free(old);
}

const char *hsmpool_config_path(const hsmpool_config *config)
{
	return config ? config->path : NULL;
}

/* The same with the file's name in front, for what no single line is to blame for. */
__attribute__((format(printf, 3, 4))) static hsmpool_status
refuse(const hsmpool_config *config, hsmpool_error *err, const char *format, ...)
{
	char text[300];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!config->path)
		return hp_fail(err, HSMPOOL_ERR_CONFIG, "%s", text);
	return hp_fail(err, HSMPOOL_ERR_CONFIG, "%s: %s", hp_path_tail(config->path),
		       text);
}

/* --- the value in force ------------------------------------------------------------ */

/* The text set here, or inherited by [pool NAME] from [pool]. section may be NULL. */
static const char *set_value(const hsmpool_config *config,
			     const struct hp_section *section, const char *kind,
			     size_t index)
{
	if (section && section->values[index])
		return section->values[index];
	if (!section || strcmp(kind, "pool") != 0 || !section->name[0])
		return NULL;
	const struct hp_section *pool = hp_section_find(config, "pool", "");
	return pool ? pool->values[index] : NULL;
}

static const char *default_value(const hsmpool_config *config, size_t index)
{
	const struct hp_option_info *info = hp_option_at(index);
	if (strcmp(info->key, "state-dir") == 0)
		return config->state_dir;
	return info->default_text;
}

static const char *value_in_force(const hsmpool_config *config,
				  const struct hp_section *section, const char *kind,
				  size_t index)
{
	const char *value = set_value(config, section, kind, index);
	return value ? value : default_value(config, index);
}

const char *hsmpool_config_get(const hsmpool_config *config, const char *section,
			       const char *key)
{
	const char *kind;
	char name[HP_SECTION_NAME_MAX + 1];
	if (!config || !section || !key ||
	    hp_section_parse(section, &kind, name, NULL) != HSMPOOL_OK)
		return NULL;
	size_t index = hp_option_find(kind, key);
	const struct hp_section *found = hp_section_find(config, kind, name);
	if (index == HP_OPTION_COUNT || (name[0] && !found))
		return NULL;
	return value_in_force(config, found, kind, index);
}

hsmpool_status hsmpool_config_set(hsmpool_config *config, const char *section,
				  const char *key, const char *value, hsmpool_error *err)
{
	hp_error_clear(err);
	HP_CHECK(config && section && key, err, HSMPOOL_ERR_USAGE,
		 "configuration, section and key must not be NULL");
	struct hp_section scratch = { 0 };
	HP_TRY(hp_section_parse(section, &scratch.kind, scratch.name, err));
	struct hp_section *found = hp_section_find(config, scratch.kind, scratch.name);
	if (!found) { /* a refused value must not leave an empty section behind */
		hsmpool_status status = hp_section_assign(&scratch, key, value, err);
		for (size_t i = 0; i < HP_OPTION_COUNT; i++)
			free(scratch.values[i]);
		if (status != HSMPOOL_OK || !value)
			return status;
		HP_TRY(hp_section_open(config, section, &found, err));
	}
	HP_TRY(hp_section_assign(found, key, value, err));
	found->is_own[hp_option_find(found->kind, key)] = true;
	return HSMPOOL_OK;
}

/* Fill the structure of one section. On failure it may be half filled. */
static hsmpool_status apply_section(const hsmpool_config *config,
				    const struct hp_section *section, const char *kind,
				    void *options, hsmpool_error *err)
{
	for (size_t i = 0; i < HP_OPTION_COUNT; i++) {
		if (strcmp(hp_option_at(i)->section, kind) != 0)
			continue;
		const char *value = value_in_force(config, section, kind, i);
		if (value)
			HP_TRY(hp_option_apply(i, value, options, err));
	}
	return HSMPOOL_OK;
}

/* --- pools ------------------------------------------------------------------------- */

static bool is_set(const hsmpool_config *config, const struct hp_section *section,
		   const char *key)
{
	return set_value(config, section, "pool", hp_option_find("pool", key)) != NULL;
}

/* Defaults give way: what was not said must not contradict what was. */
static void adapt_defaults(const hsmpool_config *config, const struct hp_section *section,
			   struct hp_pool_options *pool)
{
	if (!is_set(config, section, "min-sessions") &&
	    pool->min_sessions > pool->max_sessions)
		pool->min_sessions = pool->max_sessions;
	if (!is_set(config, section, "log") && !is_set(config, section, "log-level") &&
	    !is_set(config, section, "log-format")) {
		free(pool->log);
		pool->log = NULL;
	}
}

/* --- policies ---------------------------------------------------------------------- */

static size_t count_sections(const hsmpool_config *config, const char *kind)
{
	size_t count = 0;
	for (const struct hp_section *at = config->first; at; at = at->next)
		count += strcmp(at->kind, kind) == 0;
	return count;
}

static hsmpool_status read_policy(const hsmpool_config *config,
				  const struct hp_section *section,
				  struct hp_policy_options *policy, hsmpool_error *err)
{
	policy->name = strdup(section->name);
	HP_CHECK(policy->name, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the configuration");
	return apply_section(config, section, "policy", policy, err);
}

/* pool NULL: of all pools. The array is the caller's, also after a failure. */
static hsmpool_status read_policies(const hsmpool_config *config, const char *pool,
				    struct hp_policy_options **out, size_t *count,
				    hsmpool_error *err)
{
	size_t capacity = count_sections(config, "policy");
	if (capacity == 0)
		return HSMPOOL_OK;
	*out = calloc(capacity, sizeof(**out));
	HP_CHECK(*out, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	for (const struct hp_section *at = config->first; at; at = at->next) {
		if (strcmp(at->kind, "policy") != 0)
			continue;
		struct hp_policy_options *next = &(*out)[(*count)++];
		HP_TRY(read_policy(config, at, next, err));
		if (!pool || hp_policy_is_for(next, pool))
			continue;
		hp_policy_options_clear(next);
		(*count)--;
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_config_policies(const hsmpool_config *config,
				  struct hp_policy_options **out, size_t *count,
				  hsmpool_error *err)
{
	*out = NULL;
	*count = 0;
	hsmpool_status status = read_policies(config, NULL, out, count, err);
	if (status != HSMPOOL_OK) {
		hp_policy_options_free(*out, *count);
		*out = NULL;
	}
	return status;
}

/* --- one pool as a whole ----------------------------------------------------------- */

static hsmpool_status read_pool(const hsmpool_config *config,
				const struct hp_section *section,
				struct hp_pool_options *pool, hsmpool_error *err)
{
	const char *name = section ? section->name : "";
	pool->name = strdup(name);
	HP_CHECK(pool->name, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	HP_TRY(apply_section(config, section, "pool", pool, err));
	adapt_defaults(config, section, pool);
	if (pool->min_sessions > pool->max_sessions)
		return refuse(config, err,
			      "[pool%s%s] min-sessions (%u) is larger than max-sessions "
			      "(%u)",
			      name[0] ? " " : "", name, pool->min_sessions,
			      pool->max_sessions);
	return read_policies(config, name, &pool->policies, &pool->policy_count, err);
}

/* "; there are [pool], [pool two]", as far as it fits. */
static void list_pools(const hsmpool_config *config, char *list, size_t size)
{
	size_t used = 0;
	list[0] = '\0';
	for (const struct hp_section *at = config->first; at; at = at->next) {
		char title[HP_SECTION_NAME_MAX + 16];
		hp_section_title(at, title, sizeof(title));
		if (strcmp(at->kind, "pool") != 0 || used + strlen(title) + 16 > size)
			continue;
		used += (size_t)snprintf(list + used, size - used, "%s%s",
					 used ? ", " : "; there are ", title);
	}
}

hsmpool_status hp_config_pool(const hsmpool_config *config, const char *name,
			      struct hp_pool_options *out, hsmpool_error *err)
{
	*out = (struct hp_pool_options){ 0 };
	name = name ? name : "";
	const struct hp_section *section = hp_section_find(config, "pool", name);
	if (!section && name[0]) {
		char list[160];
		list_pools(config, list, sizeof(list));
		return refuse(config, err, "no section [pool %.40s]%s", name, list);
	}
	hsmpool_status status = read_pool(config, section, out, err);
	if (status == HSMPOOL_OK && !out->module)
		status = refuse(config, err,
				"[pool%s%s] sets no module; name the PKCS#11 module's "
				"path, see hsmpool.conf(5)",
				name[0] ? " " : "", name);
	if (status != HSMPOOL_OK)
		hp_pool_options_clear(out);
	return status;
}

/* --- keys and proxy ---------------------------------------------------------------- */

static hsmpool_status read_key(const hsmpool_config *config,
			       const struct hp_section *section,
			       struct hp_key_options *key, hsmpool_error *err)
{
	key->name = strdup(section->name);
	HP_CHECK(key->name, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	HP_TRY(apply_section(config, section, "key", key, err));
	key->has_sign_retry =
		section->values[hp_option_find("key", "sign-retry")] != NULL;
	if (!key->uri)
		return refuse(config, err, "[key %s] sets no uri; write uri = pkcs11:...",
			      section->name);
	return HSMPOOL_OK;
}

hsmpool_status hp_config_keys(const hsmpool_config *config, struct hp_key_options **out,
			      size_t *count, hsmpool_error *err)
{
	*out = NULL;
	*count = 0;
	size_t capacity = count_sections(config, "key");
	struct hp_key_options *keys = calloc(capacity + 1, sizeof(*keys));
	HP_CHECK(keys, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	size_t filled = 0;
	for (const struct hp_section *at = config->first; at; at = at->next) {
		if (strcmp(at->kind, "key") != 0)
			continue;
		hsmpool_status status = read_key(config, at, &keys[filled++], err);
		if (status != HSMPOOL_OK) {
			hp_key_options_free(keys, filled);
			return status;
		}
	}
	*out = keys;
	*count = filled;
	return HSMPOOL_OK;
}

hsmpool_status hp_config_proxy(const hsmpool_config *config, struct hp_proxy_options *out,
			       hsmpool_error *err)
{
	*out = (struct hp_proxy_options){ 0 };
	const struct hp_section *section = hp_section_find(config, "proxy", "");
	HP_TRY(apply_section(config, section, "proxy", out, err));
	if (out->journal_limit > out->journal_total)
		return refuse(config, err,
			      "[proxy] journal-limit is larger than journal-total");
	return HSMPOOL_OK;
}

/* --- loading ----------------------------------------------------------------------- */

static hsmpool_status check_pool_names(const hsmpool_config *config,
				       const struct hp_policy_options *policy,
				       hsmpool_error *err)
{
	HP_AUTO_FREE char *copy = strdup(policy->pools ? policy->pools : "");
	HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	bool is_excepted;
	char *rest = copy;
	for (char *name; (name = hp_word_take(&rest, &is_excepted));) {
		char list[160];
		if (hp_section_find(config, "pool", name))
			continue;
		list_pools(config, list, sizeof(list));
		return refuse(config, err, "[policy %s] pool: no section [pool %.40s]%s",
			      policy->name, name, list);
	}
	return HSMPOOL_OK;
}

static hsmpool_status check_policies(const hsmpool_config *config, hsmpool_error *err)
{
	struct hp_policy_options *policies;
	size_t count;
	HP_TRY(hp_config_policies(config, &policies, &count, err));
	hsmpool_status status = HSMPOOL_OK;
	for (size_t i = 0; status == HSMPOOL_OK && i < count; i++)
		status = check_pool_names(config, &policies[i], err);
	hp_policy_options_free(policies, count);
	return status;
}

/* What only shows when the whole file is known. */
static hsmpool_status check_whole(const hsmpool_config *config, hsmpool_error *err)
{
	for (const struct hp_section *at = config->first; at; at = at->next) {
		if (strcmp(at->kind, "pool") != 0)
			continue;
		struct hp_pool_options pool = { 0 };
		hsmpool_status status = read_pool(config, at, &pool, err);
		hp_pool_options_clear(&pool);
		HP_TRY(status);
	}
	HP_TRY(check_policies(config, err));
	struct hp_key_options *keys;
	size_t count;
	struct hp_proxy_options proxy;
	HP_TRY(hp_config_keys(config, &keys, &count, err));
	hp_key_options_free(keys, count);
	return hp_config_proxy(config, &proxy, err);
}

/* --- once more --------------------------------------------------------------------- */

static hsmpool_status copy_text(char **to, const char *from, hsmpool_error *err)
{
	*to = hp_strdup(from);
	HP_CHECK(*to || !from, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the configuration");
	return HSMPOOL_OK;
}

/* The program may change its folder. */
static hsmpool_status copy_path(char **to, const char *from, hsmpool_error *err)
{
	HP_AUTO_FREE char *folder = from && from[0] != '/' ? getcwd(NULL, 0) : NULL;
	if (!folder)
		return copy_text(to, from, err);
	HP_CHECK(asprintf(to, "%s/%s", folder, from) >= 0, err, HSMPOOL_ERR_SYSTEM,
		 "no memory for the configuration");
	return HSMPOOL_OK;
}

/* The values of from, or only those that the program set, set in to. */
static hsmpool_status copy_values(hsmpool_config *to, const hsmpool_config *from,
				  bool only_own, hsmpool_error *err)
{
	for (const struct hp_section *at = from->first; at; at = at->next) {
		char title[HP_SECTION_NAME_MAX + 16];
		snprintf(title, sizeof(title), "%s%s%s", at->kind, at->name[0] ? " " : "",
			 at->name);
		for (size_t i = 0; i < HP_OPTION_COUNT; i++)
			if (at->is_own[i] || (!only_own && at->values[i]))
				HP_TRY(hsmpool_config_set(to, title, hp_option_at(i)->key,
							  at->values[i], err));
		struct hp_section *copy = hp_section_find(to, at->kind, at->name);
		if (copy)
			memcpy(copy->is_own, at->is_own, sizeof(copy->is_own));
	}
	return HSMPOOL_OK;
}

static hsmpool_status fill_origin(hsmpool_config *origin, const hsmpool_config *config,
				  hsmpool_error *err)
{
	HP_TRY(copy_path(&origin->path, config->path, err));
	HP_TRY(copy_text(&origin->state_dir, config->state_dir, err));
	return copy_values(origin, config, false, err);
}

hsmpool_status hp_config_origin(const hsmpool_config *config, hsmpool_config **origin,
				hsmpool_error *err)
{
	hsmpool_config *made = calloc(1, sizeof(*made));
	HP_CHECK(made, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	hsmpool_status status = fill_origin(made, config, err);
	if (status != HSMPOOL_OK)
		hsmpool_config_close(&made);
	*origin = made;
	return status;
}

static bool has_same_values(const struct hp_section *a, const struct hp_section *b)
{
	for (size_t i = 0; i < HP_OPTION_COUNT; i++) {
		const char *one = a->values[i], *other = b->values[i];
		if (!one != !other || (one && strcmp(one, other) != 0))
			return false;
	}
	return true;
}

static bool has_sections_of(const hsmpool_config *config, const hsmpool_config *other,
			    const char *kind)
{
	for (const struct hp_section *at = other->first; at; at = at->next) {
		if (strcmp(at->kind, kind) != 0)
			continue;
		const struct hp_section *mine = hp_section_find(config, kind, at->name);
		if (!mine || !has_same_values(mine, at))
			return false;
	}
	return true;
}

bool hp_config_has_same(const hsmpool_config *a, const hsmpool_config *b,
			const char *kind)
{
	return has_sections_of(a, b, kind) && has_sections_of(b, a, kind);
}

static hsmpool_status renew(hsmpool_config *config, const hsmpool_config *origin,
			    hsmpool_error *err)
{
	HP_TRY(copy_text(&config->state_dir, origin->state_dir, err));
	HP_TRY(hp_config_read(config, origin->path, err));
	HP_TRY(copy_values(config, origin, true, err));
	return check_whole(config, err);
}

hsmpool_status hp_config_renew(const hsmpool_config *origin, hsmpool_config **out,
			       hsmpool_error *err)
{
	*out = NULL;
	HP_CHECK(origin->path, err, HSMPOOL_ERR_USAGE,
		 "the configuration was made by the program: there is no file to read "
		 "again");
	hsmpool_config *made = calloc(1, sizeof(*made));
	HP_CHECK(made, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	hsmpool_status status = renew(made, origin, err);
	if (status != HSMPOOL_OK)
		hsmpool_config_close(&made);
	*out = made;
	return status;
}

hsmpool_status hsmpool_config_load(hsmpool_config **out, const char *path,
				   hsmpool_error *err)
{
	hsmpool_config *config = NULL;
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no place for the configuration was given");
	*out = NULL;
	HP_TRY(hsmpool_config_new(&config, err));
	hsmpool_status status = hp_config_read(config, path, err);
	if (status == HSMPOOL_OK)
		status = check_whole(config, err);
	if (status != HSMPOOL_OK)
		hsmpool_config_close(&config);
	*out = config;
	return status;
}
