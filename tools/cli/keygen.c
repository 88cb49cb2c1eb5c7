/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli keygen: a new key in the HSM; sensitive, private, not extractable and with
 * the least usage unless the options say otherwise.
 */
#include <string.h>
#include "base/error.h"
#include "keyspec.h"

static const struct cli_option options[] = {
	{ "type", KEYSPEC_TYPE, "TYPE", "aes, generic, rsa, ec or ed25519" },
	KEYSPEC_OPTIONS_NAME,
	{ "bits", KEYSPEC_BITS, "BITS",
	  "aes 128, 192, 256 (256); generic (256); rsa (3072)" },
	{ "curve", KEYSPEC_CURVE, "CURVE", "ec: P-256 (default), P-384, P-521" },
	KEYSPEC_OPTIONS_USE,
	{ "always-authenticate", KEYSPEC_ALWAYS_AUTHENTICATE, NULL,
	  "private keys: the PIN before each use" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "--type TYPE --label LABEL [OPTION]...",
	.about = "Generate a key in the HSM: sensitive, private, not extractable, with "
		 "the least\nusage of its type. A label or id that exists is refused.",
	.options = options,
};

static hsmpool_status generate(struct cli *cli, const struct keyspec *keyspec,
			       hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;

	HP_TRY(keyspec_check(keyspec, err));
	HP_TRY(cli_open_pool(cli, err));
	HP_TRY(hsmpool_key_generate(&key, cli->pool, &keyspec->spec, HSMPOOL_DEFAULT,
				    err));
	return keyspec_print(cli, key, err);
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct keyspec *keyspec = user;

	return keyspec_option(keyspec, id, argument, err);
}

int verb_keygen(struct cli *cli, int argc, char **argv)
{
	struct keyspec keyspec = KEYSPEC_NONE;
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &keyspec, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = generate(cli, &keyspec, &err);
	return cli_finish(cli, status, &err);
}
