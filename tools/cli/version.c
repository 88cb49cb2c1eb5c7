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

int verb_version(struct cli *cli, int argc, char **argv)
{
	hsmpool_error err = { 0 };
	hsmpool_status status;
	struct json_object *object;

	while (cli_next_option(cli, &usage, argc, argv) != -1)
		continue;
	if (cli->is_finished)
		return cli->exit_code;
	status = cli_operands(argc, 0, argv, &err);
	if (status != HSMPOOL_OK)
		return cli_finish(cli, status, &err);
	if (!cli->is_json) {
		printf("hsmpool-cli %s (%s)\n", hsmpool_version(),
		       OpenSSL_version(OPENSSL_VERSION));
		return 0;
	}
	object = json_object_new_object();
	json_object_object_add(object, "version",
			       json_object_new_string(hsmpool_version()));
	json_object_object_add(object, "openssl",
			       json_object_new_string(OpenSSL_version(OPENSSL_VERSION)));
	cli_print_json(object);
	return 0;
}
