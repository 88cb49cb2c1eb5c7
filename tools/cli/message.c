/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to sign or verify: see message.h.
 *
 * Owns: the default scheme of each key type, and hashing what is too long to be sent to
 * the HSM. The digest is made here, by OpenSSL: tokens hash slowly and one part at a
 * time. The whole message goes to the HSM when it is short, so that a key which is
 * allowed the hashing mechanism only can be used.
 */
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "input.h"

/* --- the scheme ----------------------------------------------------------------------
 */

static const char *default_scheme(const hsmpool_key_info *info)
{
	if (strcmp(info->type, "rsa") == 0)
		return "rsa-pkcs1-sha256";
	if (strcmp(info->type, "ed25519") == 0)
		return "ed25519";
	if (strcmp(info->type, "ec") != 0)
		return NULL;
	if (strcmp(info->curve, "P-384") == 0)
		return "ecdsa-sha384";
	if (strcmp(info->curve, "P-521") == 0)
		return "ecdsa-sha512";
	return "ecdsa-sha256";
}

static hsmpool_status scheme_of_key(hsmpool_key *key, const char **scheme,
				    hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	*scheme = default_scheme(&info);
	HP_CHECK(*scheme, err, HSMPOOL_ERR_KEY,
		 "key '%s' is of type %s, which makes no signatures; rsa, ec and ed25519 "
		 "keys do (for a MAC see hsmpool-cli mac)",
		 info.label, info.type);
	return HSMPOOL_OK;
}

static bool has_option(const char *scheme, const char *option)
{
	const char *at = strchr(scheme, ':');
	size_t len = strlen(option);

	while (at) {
		at++;
		if (strncmp(at, option, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
		at = strchr(at, ',');
	}
	return false;
}

static hsmpool_status add_option(struct message *message, const char *option,
				 hsmpool_error *err)
{
	size_t len = strlen(message->scheme);
	int added;

	if (has_option(message->scheme, option))
		return HSMPOOL_OK;
	added = snprintf(message->scheme + len, sizeof(message->scheme) - len, "%c%s",
			 strchr(message->scheme, ':') ? ',' : ':', option);
	HP_CHECK(added > 0 && (size_t)added < sizeof(message->scheme) - len, err,
		 HSMPOOL_ERR_USAGE, "the scheme's name is too long");
	return HSMPOOL_OK;
}

hsmpool_status message_choose_scheme(struct message *message, const char *scheme,
				     hsmpool_key *key, bool is_digest, bool is_raw,
				     hsmpool_error *err)
{
	if (!scheme)
		HP_TRY(scheme_of_key(key, &scheme, err));
	HP_CHECK(strlen(scheme) < sizeof(message->scheme), err, HSMPOOL_ERR_USAGE,
		 "'%.40s...' is no scheme", scheme);
	snprintf(message->scheme, sizeof(message->scheme), "%s", scheme);
	if (is_raw)
		HP_TRY(add_option(message, "raw", err));
	if (is_digest)
		HP_TRY(add_option(message, "digest", err));
	return HSMPOOL_OK;
}

/* The hash in the scheme's name: "sha256" of "rsa-pss-sha256:salt=20". NULL: none, the
 * scheme needs the whole message. */
static const EVP_MD *hash_of_scheme(const char *scheme)
{
	char name[MESSAGE_MAX_SCHEME];
	const char *hash;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(scheme, ":"), scheme);
	hash = strrchr(name, '-');
	return hash && strncmp(hash, "-sha", 4) == 0 ? EVP_get_digestbyname(hash + 1)
						     : NULL;
}

/* --- the message ---------------------------------------------------------------------
 */

static hsmpool_status hash_rest(EVP_MD_CTX *context, struct message *message, size_t cap,
				struct input *in, hsmpool_error *err)
{
	unsigned digest_len = 0;

	do {
		HP_CHECK(EVP_DigestUpdate(context, message->data, message->len), err,
			 HSMPOOL_ERR_SYSTEM, "OpenSSL cannot hash");
		HP_TRY(input_read(in, message->data, cap, &message->len, err));
	} while (message->len > 0);
	HP_CHECK(EVP_DigestFinal_ex(context, message->data, &digest_len), err,
		 HSMPOOL_ERR_SYSTEM, "OpenSSL cannot hash");
	message->len = digest_len;
	return HSMPOOL_OK;
}

/* message->data holds the beginning; replace it by the digest of all. */
static hsmpool_status hash_stream(const EVP_MD *hash, struct message *message, size_t cap,
				  struct input *in, hsmpool_error *err)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	hsmpool_status status;

	if (context && EVP_DigestInit_ex(context, hash, NULL))
		status = hash_rest(context, message, cap, in, err);
	else
		status = hp_fail(err, HSMPOOL_ERR_SYSTEM, "OpenSSL cannot hash");
	EVP_MD_CTX_free(context);
	HP_TRY(status);
	return add_option(message, "digest", err);
}

static hsmpool_status read_message(struct message *message, struct input *in,
				   hsmpool_error *err)
{
	const EVP_MD *hash = has_option(message->scheme, "digest")
				     ? NULL
				     : hash_of_scheme(message->scheme);
	size_t cap = hash ? MESSAGE_WHOLE_MAX : MESSAGE_LIMIT;
	bool is_end;

	message->data = malloc(cap);
	HP_CHECK(message->data, err, HSMPOOL_ERR_SYSTEM, "no memory for the message");
	hsmpool_status status =
		input_read_up_to(in, message->data, cap, &message->len, &is_end, err);
	message->touched = message->len;
	HP_TRY(status);
	if (is_end)
		return HSMPOOL_OK;
	HP_CHECK(hash, err, HSMPOOL_ERR_USAGE,
		 "%s is %d MiB or longer, and %s takes no more at once: sign its digest",
		 in->name, MESSAGE_LIMIT / (1024 * 1024), message->scheme);
	return hash_stream(hash, message, cap, in, err);
}

hsmpool_status message_read(struct message *message, const char *path, hsmpool_error *err)
{
	struct input in;
	hsmpool_status status;

	HP_TRY(input_open(&in, path, err));
	status = read_message(message, &in, err);
	input_close(&in);
	return status;
}

void message_clear(struct message *message)
{
	if (message->data)
		hp_wipe(message->data, message->touched);
	free(message->data);
	message->data = NULL;
}
