/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New keys from options, and keys as text: see keyspec.h.
 *
 * Owns: the names of usages and purposes. What fits together is the library's to judge.
 */
#include "keyspec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"

#define ENCRYPTION (HSMPOOL_KEY_CAN_ENCRYPT | HSMPOOL_KEY_CAN_DECRYPT)
#define SIGNATURE  (HSMPOOL_KEY_CAN_SIGN | HSMPOOL_KEY_CAN_VERIFY)
#define WRAPPING   (HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP)

static const struct {
	const char *name;
	uint32_t flag;
} usages[] = {
	{ "encrypt", HSMPOOL_KEY_CAN_ENCRYPT }, { "decrypt", HSMPOOL_KEY_CAN_DECRYPT },
	{ "sign", HSMPOOL_KEY_CAN_SIGN },       { "verify", HSMPOOL_KEY_CAN_VERIFY },
	{ "wrap", HSMPOOL_KEY_CAN_WRAP },       { "unwrap", HSMPOOL_KEY_CAN_UNWRAP },
	{ "derive", HSMPOOL_KEY_CAN_DERIVE },
};

static const struct {
	const char *name;
	uint32_t flag;
} attributes[] = {
	{ "token", HSMPOOL_KEY_TOKEN },
	{ "private", HSMPOOL_KEY_PRIVATE },
	{ "sensitive", HSMPOOL_KEY_SENSITIVE },
	{ "extractable", HSMPOOL_KEY_EXTRACTABLE },
	{ "never-extractable", HSMPOOL_KEY_NEVER_EXTRACTABLE },
	{ "local", HSMPOOL_KEY_LOCAL },
	{ "always-authenticate", HSMPOOL_KEY_ALWAYS_AUTHENTICATE },
	{ "modifiable", HSMPOOL_KEY_MODIFIABLE },
};

/* What --for asks. A MAC key is as long as the digest: shorter ones some tokens refuse,
 * longer ones gain nothing. */
static const struct purpose {
	const char *name;
	const char *type;
	uint32_t bits; /* 0: the type's default */
	uint32_t usage;
} purposes[] = {
	{ "hmac-sha1", "generic", 160, SIGNATURE },
	{ "hmac-sha224", "generic", 224, SIGNATURE },
	{ "hmac-sha256", "generic", 256, SIGNATURE },
	{ "hmac-sha384", "generic", 384, SIGNATURE },
	{ "hmac-sha512", "generic", 512, SIGNATURE },
	{ "aes-cmac", "aes", 0, SIGNATURE },
	{ "aes-gcm", "aes", 0, ENCRYPTION },
	{ "aes-kw", "aes", 0, WRAPPING },
	{ "aes-kwp", "aes", 0, WRAPPING },
	{ "rsa-oaep", "rsa", 0, ENCRYPTION },
	{ "ecdh", "ec", 0, HSMPOOL_KEY_CAN_DERIVE },
};

static hsmpool_status set_purpose(hsmpool_key_spec *spec, const char *name,
				  hsmpool_error *err)
{
	char known[300] = "";

	for (size_t i = 0; i < HP_ARRAY_LEN(purposes); i++) {
		size_t at = strlen(known);

		if (strcmp(purposes[i].name, name) == 0) {
			spec->type = purposes[i].type;
			spec->bits = purposes[i].bits;
			spec->usage = purposes[i].usage;
			return HSMPOOL_OK;
		}
		snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "",
			 purposes[i].name);
	}
	return hp_fail(err, HSMPOOL_ERR_USAGE, "--for is one of %s, not '%s'", known,
		       name);
}

static hsmpool_status set_bits(hsmpool_key_spec *spec, const char *text,
			       hsmpool_error *err)
{
	char *end;
	unsigned long bits = strtoul(text, &end, 10);

	HP_CHECK(*text >= '1' && *text <= '9' && *end == '\0' && bits <= 65536, err,
		 HSMPOOL_ERR_USAGE, "--bits is a number like 256 or 3072, not '%s'",
		 text);
	spec->bits = (uint32_t)bits;
	return HSMPOOL_OK;
}

static hsmpool_status set_id(struct keyspec *keyspec, const char *text,
			     hsmpool_error *err)
{
	size_t len;

	HP_CHECK(hp_hex_decode(text, keyspec->id, sizeof(keyspec->id), &len) && len > 0,
		 err, HSMPOOL_ERR_USAGE, "--id is 1 to %zu bytes in hex, not '%s'",
		 sizeof(keyspec->id), text);
	keyspec->spec.id = keyspec->id;
	keyspec->spec.id_len = len;
	return HSMPOOL_OK;
}

static uint32_t usage_of(const char *name, size_t len)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++)
		if (strlen(usages[i].name) == len &&
		    strncmp(usages[i].name, name, len) == 0)
			return usages[i].flag;
	return 0;
}

static hsmpool_status set_usage(hsmpool_key_spec *spec, const char *list,
				hsmpool_error *err)
{
	spec->usage = 0;
	for (;;) {
		size_t len = strcspn(list, ",");
		uint32_t flag = usage_of(list, len);

		HP_CHECK(flag, err, HSMPOOL_ERR_USAGE,
			 "--usage is a list of encrypt, decrypt, sign, verify, wrap, "
			 "unwrap, derive; '%.*s' is none of them",
			 (int)len, list);
		spec->usage |= flag;
		if (list[len] == '\0')
			return HSMPOOL_OK;
		list += len + 1;
	}
}

hsmpool_status keyspec_option(struct keyspec *keyspec, int id, const char *argument,
			      hsmpool_error *err)
{
	hsmpool_key_spec *spec = &keyspec->spec;

	switch (id) {
	case KEYSPEC_TYPE:
		spec->type = argument;
		return HSMPOOL_OK;
	case KEYSPEC_FOR:
		return set_purpose(spec, argument, err);
	case KEYSPEC_BITS:
		return set_bits(spec, argument, err);
	case KEYSPEC_CURVE:
		spec->curve = argument;
		return HSMPOOL_OK;
	case KEYSPEC_LABEL:
		spec->label = argument;
		return HSMPOOL_OK;
	case KEYSPEC_ID:
		return set_id(keyspec, argument, err);
	case KEYSPEC_USAGE:
		return set_usage(spec, argument, err);
	case KEYSPEC_EXTRACTABLE:
		spec->extractable = 1;
		return HSMPOOL_OK;
	case KEYSPEC_ALWAYS_AUTHENTICATE:
		spec->always_authenticate = 1;
		return HSMPOOL_OK;
	default:
		return hp_fail(err, HSMPOOL_ERR_USAGE,
			       "this option is not for a new key");
	}
}

hsmpool_status keyspec_check(const struct keyspec *keyspec, hsmpool_error *err)
{
	HP_CHECK(keyspec->spec.type, err, HSMPOOL_ERR_USAGE,
		 "what kind of key? say --type TYPE or --for SCHEME");
	HP_CHECK(keyspec->spec.label && *keyspec->spec.label, err, HSMPOOL_ERR_USAGE,
		 "the key needs a name: say --label LABEL");
	return HSMPOOL_OK;
}

void keyspec_format_usage(uint32_t flags, char *text, size_t cap)
{
	size_t at = 0;

	snprintf(text, cap, "-");
	for (size_t i = 0; i < HP_ARRAY_LEN(usages) && at < cap; i++)
		if (flags & usages[i].flag)
			at += (size_t)snprintf(text + at, cap - at, "%s%s", at ? "," : "",
					       usages[i].name);
}

static struct json_object *usage_json(uint32_t flags)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < HP_ARRAY_LEN(usages); i++)
		if (flags & usages[i].flag)
			json_object_array_add(list,
					      json_object_new_string(usages[i].name));
	return list;
}

static void add_hex(struct json_object *object, const char *name, const uint8_t *data,
		    size_t len)
{
	char text[2 * 64 + 1];

	hp_hex_encode(data, len < 64 ? len : 64, text);
	json_object_object_add(object, name, json_object_new_string(text));
}

struct json_object *keyspec_json(const hsmpool_key_info *info)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "uri", json_object_new_string(info->uri));
	json_object_object_add(object, "label", json_object_new_string(info->label));
	add_hex(object, "id", info->id, info->id_len);
	json_object_object_add(object, "class", json_object_new_string(info->class_name));
	json_object_object_add(object, "type", json_object_new_string(info->type));
	json_object_object_add(object, "bits", json_object_new_int64(info->bits));
	if (*info->curve)
		json_object_object_add(object, "curve",
				       json_object_new_string(info->curve));
	add_hex(object, "check-value", info->check_value, info->check_value_len);
	json_object_object_add(object, "usage", usage_json(info->flags));
	for (size_t i = 0; i < HP_ARRAY_LEN(attributes); i++)
		json_object_object_add(
			object, attributes[i].name,
			json_object_new_boolean((info->flags & attributes[i].flag) != 0));
	return object;
}

static void print_attributes(uint32_t flags)
{
	printf("attributes   ");
	for (size_t i = 0; i < HP_ARRAY_LEN(attributes); i++)
		if (flags & attributes[i].flag)
			printf("%s ", attributes[i].name);
	printf("\n");
}

static void print_facts(const hsmpool_key_info *info)
{
	char hex[2 * 64 + 1];
	char usage[120];

	keyspec_format_usage(info->flags, usage, sizeof(usage));
	printf("label        %s\n", info->label);
	printf("class        %s\n", info->class_name);
	printf("type         %s%s%s\n", info->type, *info->curve ? " " : "", info->curve);
	if (info->bits)
		printf("bits         %u\n", info->bits);
	printf("usage        %s\n", usage);
	print_attributes(info->flags);
	hp_hex_encode(info->id, info->id_len < 64 ? info->id_len : 64, hex);
	printf("id           %s\n", hex);
	if (info->check_value_len) {
		hp_hex_encode(info->check_value, info->check_value_len, hex);
		printf("check-value  %s\n", hex);
	}
	printf("uri          %s\n", info->uri);
}

hsmpool_status keyspec_print(const struct cli *cli, hsmpool_key *key, hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	if (cli->is_json)
		cli_print_json(keyspec_json(&info));
	else
		print_facts(&info);
	return HSMPOOL_OK;
}
