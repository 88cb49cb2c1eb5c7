/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the option module to a file: paths, and names of p11-kit's NAME.module files.
 *
 * Owns: the search order. Must not: load anything. p11_kit_modules_load() is not used:
 * it would load every registered module, ourselves included.
 */
#include "p11/module.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"

#define HP_AUTO_FILE __attribute__((cleanup(close_file)))
static void close_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

static hsmpool_status out_of_memory(hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "module: out of memory");
}

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* The value of a "module: value" line, else NULL. */
static char *module_value(char *line)
{
	char *text = trim(line);
	char *colon = strchr(text, ':');
	if (*text == '#' || !colon)
		return NULL;
	*colon = '\0';
	return strcmp(trim(text), "module") == 0 ? trim(colon + 1) : NULL;
}

/* The module that a .module file names, malloc()ed; NULL if there is no such file or
 * it names none (which is how p11-kit lets a user's file take a module away). */
static char *read_module_file(const char *folder, const char *name, bool *exists)
{
	HP_AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s/%s.module", folder, name) < 0)
		return NULL;
	HP_AUTO_FILE FILE *file = fopen(path, "re");
	*exists = file != NULL;
	HP_AUTO_FREE char *line = NULL;
	size_t cap = 0;
	while (file && getline(&line, &cap, file) >= 0) {
		const char *value = module_value(line);
		if (value)
			return *value ? strdup(value) : NULL;
	}
	return NULL;
}

/* p11-kit's user folder. Not for root or set-user-id programs: what HOME says is not
 * to decide which code they run. */
static char *user_folder(void)
{
	const char *config = secure_getenv("XDG_CONFIG_HOME");
	const char *home = secure_getenv("HOME");
	char *folder = NULL;
	int len = -1;
	if (geteuid() == 0)
		return NULL;
	if (config && *config == '/')
		len = asprintf(&folder, "%s/pkcs11/modules", config);
	else if (home && *home == '/')
		len = asprintf(&folder, "%s/.config/pkcs11/modules", home);
	return len < 0 ? NULL : folder;
}

static hsmpool_status in_module_folder(const char *name, char **path, hsmpool_error *err)
{
	if (asprintf(path, "%s/%s", HP_P11_MODULE_PATH, name) >= 0)
		return HSMPOOL_OK;
	*path = NULL;
	return out_of_memory(err);
}

static hsmpool_status resolve_name(const char *name, char **path, hsmpool_error *err)
{
	HP_AUTO_FREE char *user = user_folder();
	const char *folders[] = { user, HP_P11_SYSTEM_MODULES, HP_P11_MODULE_CONFIGS };
	HP_AUTO_FREE char *value = NULL;
	bool exists = false;
	for (size_t i = 0; i < HP_ARRAY_LEN(folders) && !exists; i++)
		if (folders[i])
			value = read_module_file(folders[i], name, &exists);
	HP_CHECK(exists, err, HSMPOOL_ERR_CONFIG,
		 "module %s: no path, and p11-kit knows no such module (no %s.module in "
		 "%s or %s); give the module's path",
		 name, name, HP_P11_SYSTEM_MODULES, HP_P11_MODULE_CONFIGS);
	HP_CHECK(value, err, HSMPOOL_ERR_CONFIG,
		 "module %s: p11-kit's %s.module has no \"module:\" line; give the "
		 "module's path",
		 name, name);
	if (*value != '/')
		return in_module_folder(value, path, err);
	*path = hp_take(&value);
	return HSMPOOL_OK;
}

static bool is_shared_object(const char *name)
{
	size_t len = strlen(name);
	return (len > 3 && strcmp(name + len - 3, ".so") == 0) || strstr(name, ".so.");
}

static hsmpool_status resolve_shared_object(const char *name, char **path,
					    hsmpool_error *err)
{
	HP_TRY(in_module_folder(name, path, err));
	if (access(*path, R_OK) == 0)
		return HSMPOOL_OK;
	free(*path);
	*path = strdup(name);
	return *path ? HSMPOOL_OK : out_of_memory(err);
}

static hsmpool_status resolve_path(const char *given, char **path, hsmpool_error *err)
{
	if (access(given, R_OK) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_CONFIG, errno,
				     "module %s: cannot be read; install the HSM's "
				     "software or correct the option module",
				     given);
	*path = strdup(given);
	return *path ? HSMPOOL_OK : out_of_memory(err);
}

hsmpool_status hp_module_resolve(const char *name_or_path, char **path,
				 hsmpool_error *err)
{
	*path = NULL;
	HP_CHECK(name_or_path && *name_or_path, err, HSMPOOL_ERR_CONFIG,
		 "module: none is configured; set the option module to the path of the "
		 "HSM's PKCS#11 library");
	if (strchr(name_or_path, '/'))
		return resolve_path(name_or_path, path, err);
	if (is_shared_object(name_or_path))
		return resolve_shared_object(name_or_path, path, err);
	return resolve_name(name_or_path, path, err);
}
