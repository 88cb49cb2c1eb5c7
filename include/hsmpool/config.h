/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: one INI file, hsmpool.conf(5), or values set by the program.
 *
 * An hsmpool_config is not thread-safe; hsmpool_open() copies what it needs, so
 * it may be closed right after.
 */
#ifndef HSMPOOL_CONFIG_H
#define HSMPOOL_CONFIG_H

#include <hsmpool/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hsmpool_config hsmpool_config;

/* A configuration with nothing set. HSMPOOL_ERR_SYSTEM: no memory. */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_config_new(hsmpool_config **out,
							    hsmpool_error *err);

/*
 * hsmpool_config_load - read a configuration file.
 *
 * path NULL searches, in this order: $HSMPOOL_CONF (ignored in set-user-id
 * programs; if set it must be readable), $XDG_CONFIG_HOME/hsmpool/hsmpool.conf
 * (default ~/.config), /etc/hsmpool/hsmpool.conf.
 *
 * HSMPOOL_ERR_CONFIG  no file found, unreadable, owned by someone other than root
 *                     or the effective user, writable by group or others, or a
 *                     line is wrong; the text names file, line, key and, for an
 *                     unknown key, the nearest known one
 * HSMPOOL_ERR_SYSTEM  no memory
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_config_load(hsmpool_config **out,
							     const char *path,
							     hsmpool_error *err);

/*
 * hsmpool_config_set - set one value, as if it stood in the file.
 *
 * section is "pool", "pool NAME", "key NAME", "policy NAME" or "proxy"; value NULL
 * takes the value back. Errors as in hsmpool_config_load().
 */
HSMPOOL_API HSMPOOL_CHECK hsmpool_status hsmpool_config_set(hsmpool_config *config,
							    const char *section,
							    const char *key,
							    const char *value,
							    hsmpool_error *err);

/* The value in force: set, inherited by [pool NAME] from [pool], or the default.
 * NULL if there is none. Valid until the next call on config. */
HSMPOOL_API const char *hsmpool_config_get(const hsmpool_config *config,
					   const char *section, const char *key);

/* The file that was read, or NULL. */
HSMPOOL_API const char *hsmpool_config_path(const hsmpool_config *config);

/* Frees and clears *config. Accepts NULL and a cleared pointer. */
HSMPOOL_API void hsmpool_config_close(hsmpool_config **config);

#ifdef __cplusplus
}
#endif
#endif
