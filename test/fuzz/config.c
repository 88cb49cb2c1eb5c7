/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: any bytes. The answer is a configuration in which every value is
 * within its bounds, or one line of refusal. The file is in memory.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <hsmpool/config.h>
#include "config/options.h"

static void must_have_a_sound_pool(const hsmpool_config *config, const char *name)
{
	struct hp_pool_options pool;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_config_pool(config, name, &pool, &err);
	fuzz_must_explain(status, &err);
	if (status != HSMPOOL_OK)
		return;
	MUST(pool.module && pool.module[0]);
	MUST(pool.min_sessions <= pool.max_sessions && pool.max_sessions > 0);
	MUST(pool.borrow_timeout >= 0);
	hp_pool_options_clear(&pool);
}

static void must_have_sound_keys(const hsmpool_config *config)
{
	struct hp_key_options *keys = NULL;
	size_t count = 0;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_config_keys(config, &keys, &count, &err);
	fuzz_must_explain(status, &err);
	if (status != HSMPOOL_OK)
		return;
	for (size_t i = 0; i < count; i++)
		MUST(keys[i].name && keys[i].uri);
	hp_key_options_free(keys, count);
}

static void must_have_sound_policies(const hsmpool_config *config)
{
	struct hp_policy_options *policies = NULL;
	size_t count = 0;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_config_policies(config, &policies, &count, &err);
	fuzz_must_explain(status, &err);
	for (size_t i = 0; i < count; i++) {
		MUST(policies[i].name[0] && policies[i].mechanisms);
		MUST((policies[i].actions & ~HP_ACTIONS_ALL) == 0);
		hp_policy_is_for(&policies[i], "two");
	}
	hp_policy_options_free(policies, count);
}

static void must_have_a_sound_proxy(const hsmpool_config *config)
{
	struct hp_proxy_options proxy;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_config_proxy(config, &proxy, &err);
	fuzz_must_explain(status, &err);
	MUST(status != HSMPOOL_OK || proxy.pin_timeout >= 0);
}

/* Each value in force, set once more, is accepted and stays. */
static void must_take_its_own_values(hsmpool_config *config)
{
	const struct hp_option_info *info;
	for (size_t i = 0; (info = hp_option_at(i)); i++) {
		if (strcmp(info->section, "key") == 0 ||
		    strcmp(info->section, "policy") == 0)
			continue;
		const char *value = hsmpool_config_get(config, info->section, info->key);
		char *copy = value ? strdup(value) : NULL;
		hsmpool_error err = { 0 };
		if (!copy)
			continue;
		MUST(hsmpool_config_set(config, info->section, info->key, copy, &err) ==
		     HSMPOOL_OK);
		value = hsmpool_config_get(config, info->section, info->key);
		MUST(value && strcmp(value, copy) == 0);
		free(copy);
	}
}

/* A file of that content, as a path; *fd is to be closed. */
static void make_file(const uint8_t *data, size_t len, int *fd, char path[32])
{
	*fd = memfd_create("fuzz", MFD_CLOEXEC);
	MUST(*fd >= 0 && fchmod(*fd, 0600) == 0);
	MUST(write(*fd, data, len) == (ssize_t)len);
	snprintf(path, 32, "/proc/self/fd/%d", *fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd;
	char path[32];
	hsmpool_config *config = NULL;
	hsmpool_error err = { 0 };
	make_file(data, len, &fd, path);
	hsmpool_status status = hsmpool_config_load(&config, path, &err);
	fuzz_must_explain(status, &err);
	MUST((status == HSMPOOL_OK) == (config != NULL));
	MUST(status == HSMPOOL_OK || status == HSMPOOL_ERR_CONFIG);
	if (config) {
		must_have_a_sound_pool(config, NULL);
		must_have_a_sound_pool(config, "two");
		must_have_sound_keys(config);
		must_have_sound_policies(config);
		must_have_a_sound_proxy(config);
		must_take_its_own_values(config);
	}
	hsmpool_config_close(&config);
	close(fd);
	return 0;
}
