/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli random: bytes of the HSM's random number generator.
 */
#include <stdlib.h>
#include "base/error.h"
#include "base/secret.h"
#include "config/options.h"
#include "cli.h"
#include "encoding.h"
#include "output.h"
#include "stop.h"
#include "work.h"

#define PART_SIZE 4096
#define TEXT_MAX  PART_SIZE /* hex and base64 are made at once */

static const struct cli_option options[] = {
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	CLI_OPTION_FORMAT,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "SIZE [--format FORMAT] [--out FILE]",
	.about = "Print SIZE (32, 4KiB, 1MiB) random bytes of the HSM as they are, in "
		 "hex on "
		 "a\nterminal. As hex or base64 at most 4096 bytes.",
	.options = options,
	.operands = 1,
};

struct request {
	struct work work;
	uint64_t size;
};

static hsmpool_status parse_size(const char *text, uint64_t *size, hsmpool_error *err)
{
	HP_CHECK(text, err, HSMPOOL_ERR_USAGE, "how many bytes? say a size: 32");
	HP_CHECK(hp_parse_size(text, size) && *size > 0, err, HSMPOOL_ERR_USAGE,
		 "'%s' is not a size like 32 or 4KiB", text);
	return HSMPOOL_OK;
}

static hsmpool_status write_parts(struct cli *cli, uint64_t size, struct output *out,
				  hsmpool_error *err)
{
	uint8_t data[PART_SIZE];

	while (size > 0) {
		size_t part = size < sizeof(data) ? (size_t)size : sizeof(data);
		hsmpool_status status;

		HP_TRY(stop_check(err));
		HP_TRY(hsmpool_random(cli->pool, data, part, HSMPOOL_DEFAULT, err));
		status = output_write(out, data, part, err);
		hp_wipe(data, part);
		HP_TRY(status);
		size -= part;
	}
	return output_commit(out, err);
}

static hsmpool_status write_text(struct cli *cli, const struct request *request,
				 struct output *out, hsmpool_error *err)
{
	uint8_t data[TEXT_MAX];
	hsmpool_status status;

	HP_CHECK(request->size <= sizeof(data), err, HSMPOOL_ERR_USAGE,
		 "as text at most %zu bytes; use --format raw for more", sizeof(data));
	HP_TRY(cli_open_pool(cli, err));
	HP_TRY(hsmpool_random(cli->pool, data, (size_t)request->size, HSMPOOL_DEFAULT,
			      err));
	status = encoding_write_result(cli, out, request->work.encoding, "random", NULL,
				       data, (size_t)request->size, err);
	hp_wipe(data, sizeof(data));
	return status;
}

static hsmpool_status write_random(struct cli *cli, const struct request *request,
				   hsmpool_error *err)
{
	const struct work *work = &request->work;
	OUTPUT_AUTO out = OUTPUT_NONE;

	HP_TRY(output_open(&out, work->out_path, work->is_forced, err));
	bool is_raw = work->encoding == ENCODING_RAW ||
		      (work->encoding == ENCODING_DEFAULT && !output_is_terminal(&out));

	if (!is_raw || (cli->is_json && !out.path))
		return write_text(cli, request, &out, err);
	HP_TRY(cli_open_pool(cli, err));
	return write_parts(cli, request->size, &out, err);
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	return work_option(&request->work, id, argument, err);
}

int verb_random(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = parse_size(argv[optind], &request.size, &err);
	if (status == HSMPOOL_OK)
		status = write_random(cli, &request, &err);
	return cli_finish(cli, status, &err);
}
