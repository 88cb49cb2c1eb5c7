/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where `dev init` puts things, and how they are taken away again if it fails.
 */
#ifndef CLI_DEV_PLACE_H
#define CLI_DEV_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <hsmpool/status.h>
#include "base/secret.h"

#define DEV_PATH (PATH_MAX - 64)

struct dev_place {
	char data_dir[DEV_PATH];   /* ~/.local/share/hsmpool, or --dir */
	char config_dir[DEV_PATH]; /* ~/.config/hsmpool, or --dir */
	char config[PATH_MAX];     /* hsmpool.conf */
	char tokens[PATH_MAX];     /* SoftHSM2's store */
	char softhsm_conf[PATH_MAX];
	char pin[PATH_MAX];
	char so_pin[PATH_MAX];
	char state[PATH_MAX];
	bool is_made; /* the store is ours: it was not there before */
};

/* dir NULL: the user's folders. Makes the folders, refuses (EXISTS) if there is a
 * token store or a configuration already, and makes the store's folder: whoever makes
 * it has the place to himself. */
hsmpool_status dev_place_make(struct dev_place *place, const char *dir,
			      hsmpool_error *err);

/* 24 hex digits into locked memory, and a line in path. */
hsmpool_status dev_place_new_pin(const char *path, struct hp_secret **pin,
				 hsmpool_error *err);

/* Remove what was made: the store and the files, not the folders around them. */
void dev_place_remove(const struct dev_place *place);

#endif
