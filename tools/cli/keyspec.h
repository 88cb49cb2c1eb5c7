/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that describe a new key, and how a key is printed: shared by keygen,
 * key import, unwrap, keys and key show.
 */
#ifndef CLI_KEYSPEC_H
#define CLI_KEYSPEC_H

#include "cli.h"

struct json_object;

struct keyspec {
	hsmpool_key_spec spec; /* points into this structure and argv */
	uint8_t id[64];
};

enum {
	KEYSPEC_TYPE = CLI_OWN + 200,
	KEYSPEC_FOR,
	KEYSPEC_BITS,
	KEYSPEC_CURVE,
	KEYSPEC_LABEL,
	KEYSPEC_ID,
	KEYSPEC_USAGE,
	KEYSPEC_EXTRACTABLE,
	KEYSPEC_ALWAYS_AUTHENTICATE,
};

/* What every verb that makes a key takes. */
#define KEYSPEC_OPTIONS_NAME                                                      \
	{ "label", KEYSPEC_LABEL, "LABEL", "the key's name; must not be taken" }, \
	{                                                                         \
		"id", KEYSPEC_ID, "HEX", "CKA_ID (16 random bytes)"               \
	}
#define KEYSPEC_OPTIONS_USE                                                              \
	{ "usage", KEYSPEC_USAGE, "LIST",                                                \
	  "encrypt,decrypt,sign,verify,wrap,unwrap,derive (the least for the type)" },   \
		{ "extractable", KEYSPEC_EXTRACTABLE, NULL,                              \
		  "may leave the token wrapped under another key" },                     \
	{                                                                                \
		"for", KEYSPEC_FOR, "SCHEME",                                            \
			"type, size and usage for hmac-sha256, aes-kwp, ... instead of " \
			"--type"                                                         \
	}

#define KEYSPEC_NONE                                  \
	{                                             \
		.spec.size = sizeof(hsmpool_key_spec) \
	}
/* Deal with an option of the above; any other id is USAGE. */
hsmpool_status keyspec_option(struct keyspec *keyspec, int id, const char *argument,
			      hsmpool_error *err);
/* type and label are there. */
hsmpool_status keyspec_check(const struct keyspec *keyspec, hsmpool_error *err);

/* "encrypt,decrypt" of the HSMPOOL_KEY_CAN_* bits, "-" if none. */
void keyspec_format_usage(uint32_t flags, char *text, size_t cap);
struct json_object *keyspec_json(const hsmpool_key_info *info);
/* The facts of a key: a line each, or with --json an object. */
hsmpool_status keyspec_print(const struct cli *cli, hsmpool_key *key, hsmpool_error *err);

#endif
