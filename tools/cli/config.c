/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli config check: read the configuration as the library does, and print what
 * is in force. Touches no HSM and reads no PIN.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "cli.h"
#include "base/memory.h"
#include "config/options.h"
#include "p11/pin.h"
#include "p11/rv.h"
#include "p11/uri.h"

static const struct cli_usage usage = {
	.synopsis = "",
	.about = "Check the configuration and print the options in force; defaults are "
		 "marked.",
};

/* The sections that have names. */
struct named {
	struct hp_key_options *keys;
	size_t key_count;
	struct hp_policy_options *policies;
	size_t policy_count;
};

/* --- checks that loading alone does not make -------------------------------------------
 */

static hsmpool_status check_uri(const char *section, const char *key, const char *text,
				hsmpool_error *err)
{
	struct hp_uri *uri = NULL;
	hsmpool_status status;

	if (!text)
		return HSMPOOL_OK;
	status = hp_uri_parse(text, &uri, err);
	hp_uri_free(&uri);
	if (status == HSMPOOL_OK)
		return HSMPOOL_OK;
	hp_error_prefix(err, "[%s] %s", section, key);
	return HSMPOOL_ERR_CONFIG;
}

static hsmpool_status check_values(const struct hp_pool_options *pool,
				   const char *section, hsmpool_error *err)
{
	struct hp_rv_overrides overrides;

	HP_CHECK(pool->module, err, HSMPOOL_ERR_CONFIG,
		 "[%s] module is missing: the path of a PKCS#11 module, or the name of a "
		 "p11-kit one",
		 section);
	HP_TRY(check_uri(section, "token", pool->token, err));
	HP_TRY(check_uri(section, "probe", pool->probe_key, err));
	HP_TRY(hp_rv_overrides_parse(pool->rv_class, &overrides, err));
	return pool->pin_source ? hp_pin_source_check(pool->pin_source, err) : HSMPOOL_OK;
}

static hsmpool_status check_pool(struct cli *cli, const char *section, hsmpool_error *err)
{
	struct hp_pool_options pool;
	hsmpool_status status;

	HP_TRY(hp_config_pool(cli->config, cli->pool_name, &pool, err));
	status = check_values(&pool, section, err);
	hp_pool_options_clear(&pool);
	return status;
}

static hsmpool_status check_keys(const struct named *named, hsmpool_error *err)
{
	char section[256];

	for (size_t i = 0; i < named->key_count; i++) {
		const struct hp_key_options *key = &named->keys[i];
		snprintf(section, sizeof(section), "key %s", key->name);
		HP_CHECK(key->uri, err, HSMPOOL_ERR_CONFIG, "[%s] uri is missing",
			 section);
		HP_TRY(check_uri(section, "uri", key->uri, err));
	}
	return HSMPOOL_OK;
}

/* As the pools will read them. */
static hsmpool_status check_selectors(const struct hp_policy_options *policy,
				      hsmpool_error *err)
{
	HP_AUTO_FREE char *copy = hp_strdup(policy->keys);
	char *rest = copy;
	char section[64];
	bool is_excepted;

	HP_CHECK(copy || !policy->keys, err, HSMPOOL_ERR_SYSTEM, "no memory");
	snprintf(section, sizeof(section), "policy %s", policy->name);
	for (char *uri; rest && (uri = hp_word_take(&rest, &is_excepted));)
		HP_TRY(check_uri(section, "key", uri, err));
	return HSMPOOL_OK;
}

static hsmpool_status check_policies(const struct named *named, hsmpool_error *err)
{
	for (size_t i = 0; i < named->policy_count; i++)
		HP_TRY(check_selectors(&named->policies[i], err));
	return HSMPOOL_OK;
}

/* --- printing ------------------------------------------------------------------------
 */

static bool is_default(const struct hp_option_info *option, const char *value)
{
	if (!value || !option->default_text)
		return value == option->default_text;
	return strcmp(value, option->default_text) == 0;
}

static void print_value(struct json_object *object, const struct hp_option_info *option,
			const char *value)
{
	struct json_object *entry;

	if (!object) {
		if (value)
			printf("%-20s = %s%s\n", option->key, value,
			       is_default(option, value) ? "   ; default" : "");
		return;
	}
	entry = json_object_new_object();
	json_object_object_add(entry, "value",
			       value ? json_object_new_string(value) : NULL);
	json_object_object_add(entry, "default",
			       json_object_new_boolean(is_default(option, value)));
	json_object_object_add(object, option->key, entry);
}

/* All options of a kind ("pool", "key" ...), as they are in section. object NULL: as
 * text. */
static void print_section(const struct cli *cli, struct json_object *root,
			  const char *kind, const char *section)
{
	struct json_object *object = root ? json_object_new_object() : NULL;
	const struct hp_option_info *option;

	if (!root)
		printf("\n[%s]\n", section);
	for (size_t i = 0; (option = hp_option_at(i)) != NULL; i++)
		if (strcmp(option->section, kind) == 0)
			print_value(
				object, option,
				hsmpool_config_get(cli->config, section, option->key));
	if (root)
		json_object_object_add(root, section, object);
}

static void print_config(const struct cli *cli, const char *pool_section,
			 const struct named *named)
{
	struct json_object *root = cli->is_json ? json_object_new_object() : NULL;
	char section[256];

	if (root)
		json_object_object_add(
			root, "file",
			json_object_new_string(hsmpool_config_path(cli->config)));
	else
		printf("; %s is valid\n", hsmpool_config_path(cli->config));
	print_section(cli, root, "pool", pool_section);
	for (size_t i = 0; i < named->key_count; i++) {
		snprintf(section, sizeof(section), "key %s", named->keys[i].name);
		print_section(cli, root, "key", section);
	}
	for (size_t i = 0; i < named->policy_count; i++) {
		snprintf(section, sizeof(section), "policy %s", named->policies[i].name);
		print_section(cli, root, "policy", section);
	}
	print_section(cli, root, "proxy", "proxy");
	if (root)
		cli_print_json(root);
}

static hsmpool_status read_named(struct cli *cli, struct named *named, hsmpool_error *err)
{
	HP_TRY(hp_config_keys(cli->config, &named->keys, &named->key_count, err));
	return hp_config_policies(cli->config, &named->policies, &named->policy_count,
				  err);
}

static hsmpool_status check_named(struct cli *cli, const char *pool_section,
				  struct named *named, hsmpool_error *err)
{
	HP_TRY(read_named(cli, named, err));
	HP_TRY(check_keys(named, err));
	HP_TRY(check_policies(named, err));
	print_config(cli, pool_section, named);
	return HSMPOOL_OK;
}

static hsmpool_status check(struct cli *cli, hsmpool_error *err)
{
	struct named named = { 0 };
	char section[256];

	HP_TRY(cli_open_config(cli, err));
	cli_pool_section(cli, section, sizeof(section));
	HP_TRY(check_pool(cli, section, err));
	hsmpool_status status = check_named(cli, section, &named, err);
	hp_key_options_free(named.keys, named.key_count);
	hp_policy_options_free(named.policies, named.policy_count);
	return status;
}

int verb_config_check(struct cli *cli, int argc, char **argv)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, NULL, NULL, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = check(cli, &err);
	return cli_finish(cli, status, &err);
}
