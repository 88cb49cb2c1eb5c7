/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli version.
 */
#include <stdio.h>
#include <json.h>
#include <openssl/crypto.h>
#include "base/error.h"
#include "cli.h"

static const struct cli_usage usage = {
	.synopsis = "",
	.about = "Print the versions of hsmpool and of OpenSSL.",
};

static void print_versions(const struct cli *cli)
{
	const char *openssl = OpenSSL_version(OPENSSL_VERSION);
	struct json_object *object;

	if (!cli->is_json) {
		printf("hsmpool-cli %s (%s)\n", hsmpool_version(), openssl);
		return;
	}
	object = json_object_new_object();
	cli_add_text(object, "version", hsmpool_version());
	cli_add_text(object, "openssl", openssl);
	cli_print_json(object);
}

int verb_version(struct cli *cli, int argc, char **argv)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, NULL, NULL, argc, argv, &err);

	if (status == HSMPOOL_OK)
		print_versions(cli);
	return cli_finish(cli, status, &err);
}
