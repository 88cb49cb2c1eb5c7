/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli decrypt: a container (docs/format.md) back into its data.
 *
 * To a pipe go verified chunks only, but the end may still turn out to be missing: the
 * exit code is the verdict. A file appears only if everything verified.
 */
#include "base/error.h"
#include "cli.h"
#include "transfer.h"

static const struct cli_option options[] = {
	{ "key", CLI_KEY, "KEY",
	  "pkcs11: URI or configured name (else found from the header)" },
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	TRANSFER_OPTION_THREADS,
	TRANSFER_OPTIONS_CONTEXT,
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--in FILE] [--out FILE] [OPTION]...",
	.about = "Decrypt and verify what encrypt wrote. On a pipe the exit code is the "
		 "verdict:\nwhat came before an error must be thrown away.",
	.options = options,
};

static hsmpool_status decrypt(struct cli *cli, struct transfer *transfer,
			      const char *which, hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;

	HP_TRY(transfer_open(transfer, cli, err));
	HP_TRY(cli_open_pool(cli, err));
	if (which)
		HP_TRY(cli_open_key(cli, which, &key, err));
	return transfer_decrypt(transfer, key, err);
}

int verb_decrypt(struct cli *cli, int argc, char **argv)
{
	TRANSFER_AUTO *transfer = transfer_new();
	const char *which = NULL;
	hsmpool_error err = { 0 };
	hsmpool_status status;
	int id;

	if (!transfer)
		return cli_finish(cli, hp_fail(&err, HSMPOOL_ERR_SYSTEM, "no memory"),
				  &err);
	while ((id = cli_next_option(cli, &usage, argc, argv)) != -1)
		if (!transfer_option(transfer, id, optarg))
			which = optarg;
	if (cli->is_finished)
		return cli->exit_code;
	status = cli_operands(argc, 0, argv, &err);
	if (status == HSMPOOL_OK)
		status = decrypt(cli, transfer, which, &err);
	progress_end(&transfer->progress);
	return cli_finish(cli, status, &err);
}
