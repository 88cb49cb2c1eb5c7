/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folders and files of `dev init`: see dev_place.h.
 *
 * Owns: their names and modes (folders 0700, files 0600). Removes nothing that was there
 * before: dev_place_remove() acts only after dev_place_make() created the store.
 */
#include "dev_place.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/rand.h>
#include "base/error.h"
#include "base/memory.h"
#include "output.h"

#define PIN_BYTES 12

/* --- names ---------------------------------------------------------------------------
 */

static const char *home_folder(void)
{
	const char *home = secure_getenv("HOME");
	const struct passwd *entry;

	if (home && home[0] == '/')
		return home;
	entry = getpwuid(geteuid());
	return entry ? entry->pw_dir : NULL;
}

/* $XDG_..._HOME/hsmpool, or ~/fallback/hsmpool. */
static hsmpool_status user_folder(const char *variable, const char *fallback, char *path,
				  hsmpool_error *err)
{
	const char *base = secure_getenv(variable);
	const char *home = home_folder();
	int len;

	if (base && base[0] == '/')
		len = snprintf(path, DEV_PATH, "%s/hsmpool", base);
	else if (home)
		len = snprintf(path, DEV_PATH, "%s/%s/hsmpool", home, fallback);
	else
		return hp_fail(err, HSMPOOL_ERR_SYSTEM,
			       "no home folder: set HOME, or say --dir DIR");
	HP_CHECK(len < DEV_PATH, err, HSMPOOL_ERR_SYSTEM,
		 "the path of the user's folder "
		 "is too long");
	return HSMPOOL_OK;
}

/* The paths go into two configuration files, where these mean something else. */
static hsmpool_status check_characters(const char *path, hsmpool_error *err)
{
	for (const char *at = path; *at; at++)
		HP_CHECK(
			(unsigned char)*at >= ' ' && !strchr("#;", *at), err,
			HSMPOOL_ERR_USAGE,
			"%s holds a character that a configuration cannot (# ; or a line "
			"break); say another --dir",
			path);
	return HSMPOOL_OK;
}

static hsmpool_status name_files(struct dev_place *place, hsmpool_error *err)
{
	HP_TRY(check_characters(place->data_dir, err));
	HP_TRY(check_characters(place->config_dir, err));
	snprintf(place->config, PATH_MAX, "%s/hsmpool.conf", place->config_dir);
	snprintf(place->tokens, PATH_MAX, "%s/tokens", place->data_dir);
	snprintf(place->softhsm_conf, PATH_MAX, "%s/softhsm2.conf", place->data_dir);
	snprintf(place->pin, PATH_MAX, "%s/pin", place->data_dir);
	snprintf(place->so_pin, PATH_MAX, "%s/so-pin", place->data_dir);
	snprintf(place->state, PATH_MAX, "%s/state", place->data_dir);
	return HSMPOOL_OK;
}

/* --- making --------------------------------------------------------------------------
 */

static hsmpool_status make_folder(const char *path, hsmpool_error *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot make the folder %s", path);
	return HSMPOOL_OK;
}

static hsmpool_status make_folders(const char *path, hsmpool_error *err)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		HP_TRY(make_folder(part, err));
		*slash = '/';
	}
	return make_folder(part, err);
}

static hsmpool_status use_folder(struct dev_place *place, const char *dir,
				 hsmpool_error *err)
{
	char whole[PATH_MAX];

	HP_CHECK(*dir && strlen(dir) < DEV_PATH, err, HSMPOOL_ERR_USAGE,
		 "--dir is not the name of a folder");
	HP_TRY(make_folders(dir, err));
	if (!realpath(dir, whole))
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot use %s",
				     dir);
	HP_CHECK(strlen(whole) < DEV_PATH, err, HSMPOOL_ERR_USAGE,
		 "%s is too long a path", whole);
	memcpy(place->data_dir, whole, strlen(whole) + 1);
	memcpy(place->config_dir, whole, strlen(whole) + 1);
	return HSMPOOL_OK;
}

static hsmpool_status refuse_existing(const char *path, hsmpool_error *err)
{
	struct stat st;

	HP_CHECK(lstat(path, &st) < 0, err, HSMPOOL_ERR_EXISTS,
		 "%s exists already; nothing was changed (say --dir DIR for another "
		 "place)",
		 path);
	return HSMPOOL_OK;
}

static hsmpool_status refuse_all_existing(const struct dev_place *place,
					  hsmpool_error *err)
{
	HP_TRY(refuse_existing(place->config, err));
	HP_TRY(refuse_existing(place->tokens, err));
	HP_TRY(refuse_existing(place->softhsm_conf, err));
	HP_TRY(refuse_existing(place->pin, err));
	return refuse_existing(place->so_pin, err);
}

/* mkdir succeeds for one only: the others see that it exists. */
static hsmpool_status take_place(struct dev_place *place, hsmpool_error *err)
{
	if (mkdir(place->tokens, 0700) < 0) {
		HP_TRY(refuse_existing(place->tokens, err));
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot make the folder %s", place->tokens);
	}
	place->is_made = true;
	return make_folder(place->state, err);
}

hsmpool_status dev_place_make(struct dev_place *place, const char *dir,
			      hsmpool_error *err)
{
	memset(place, 0, sizeof(*place));
	if (dir) {
		HP_TRY(use_folder(place, dir, err));
	} else {
		HP_TRY(user_folder("XDG_DATA_HOME", ".local/share", place->data_dir,
				   err));
		HP_TRY(user_folder("XDG_CONFIG_HOME", ".config", place->config_dir, err));
	}
	HP_TRY(name_files(place, err));
	HP_TRY(refuse_all_existing(place, err));
	HP_TRY(make_folders(place->data_dir, err));
	HP_TRY(make_folders(place->config_dir, err));
	return take_place(place, err);
}

hsmpool_status dev_place_new_pin(const char *path, struct hp_secret **out,
				 hsmpool_error *err)
{
	HP_AUTO_SECRET *pin = hp_secret_new(2 * PIN_BYTES + 1);
	uint8_t bytes[PIN_BYTES];

	*out = NULL;
	HP_CHECK(pin, err, HSMPOOL_ERR_SYSTEM, "no memory for a PIN");
	HP_CHECK(RAND_priv_bytes(bytes, sizeof(bytes)) == 1, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL has no random numbers for a PIN");
	hp_hex_encode(bytes, sizeof(bytes), (char *)pin->data);
	hp_wipe(bytes, sizeof(bytes));
	pin->len = 2 * PIN_BYTES;
	HP_TRY(output_write_file(path, false, pin->data, pin->len, err));
	*out = hp_take(&pin);
	return HSMPOOL_OK;
}

/* --- taking away ---------------------------------------------------------------------
 */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	remove(path);
	return 0;
}

void dev_place_remove(const struct dev_place *place)
{
	if (!place->is_made)
		return;
	unlink(place->config);
	unlink(place->pin);
	unlink(place->so_pin);
	unlink(place->softhsm_conf);
	nftw(place->tokens, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	nftw(place->state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
