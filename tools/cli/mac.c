/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli mac: make or verify a message authentication code (HMAC, CMAC).
 *
 * A short message is one call. A longer one is a multi-part operation, which holds one
 * session and bounds memory; to verify it, the MAC is made again and compared here.
 */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "cli.h"
#include "encoding.h"
#include "input.h"
#include "output.h"
#include "work.h"

#define MAX_MAC   64
#define PART_SIZE (256 * 1024)

enum { OPTION_VERIFY = CLI_OWN };

static const struct cli_option options[] = {
	CLI_OPTION_KEY,
	CLI_OPTION_IN,
	CLI_OPTION_OUT,
	CLI_OPTION_FORCE,
	{ "scheme", CLI_SCHEME, "SCHEME",
	  "hmac-sha256, hmac-sha512, aes-cmac, ... (by the key)" },
	{ "verify", OPTION_VERIFY, "HEX|FILE",
	  "compare with this MAC: in hex, or FILE that holds it in --format" },
	{ "format", CLI_FORMAT, "FORMAT", "hex (default), raw or base64" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--key KEY] [--in FILE] [--verify HEX|FILE] [OPTION]...",
	.about = "Make a MAC and print it in hex; or verify one: prints OK and ends with "
		 "0, "
		 "or ends\nwith 65.",
	.options = options,
};

struct request {
	struct work work;
	const char *expected; /* --verify */
};

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct request *request = user;

	if (id != OPTION_VERIFY)
		return work_option(&request->work, id, argument, err);
	request->expected = argument;
	return HSMPOOL_OK;
}

/* The longest digest that the key is long enough for. Short ones are only meant if the
 * key has exactly their length, as keygen makes it. */
static const char *default_scheme(const hsmpool_key_info *info)
{
	if (strcmp(info->type, "aes") == 0)
		return "aes-cmac";
	if (strcmp(info->type, "generic") != 0)
		return NULL;
	if (info->bits >= 512)
		return "hmac-sha512";
	if (info->bits >= 384)
		return "hmac-sha384";
	if (info->bits == 224)
		return "hmac-sha224";
	return info->bits == 160 ? "hmac-sha1" : "hmac-sha256";
}

static hsmpool_status choose_scheme(hsmpool_key *key, const char **scheme,
				    hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	if (*scheme)
		return HSMPOOL_OK;
	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	*scheme = default_scheme(&info);
	HP_CHECK(*scheme, err, HSMPOOL_ERR_KEY,
		 "key '%s' is of type %s, which makes no MACs; generic and aes keys do",
		 info.label, info.type);
	return HSMPOOL_OK;
}

/* --verify is hex, or else the name of a file. */
static hsmpool_status read_expected(const struct request *request, uint8_t *mac,
				    size_t cap, size_t *len, hsmpool_error *err)
{
	uint8_t text[4 * MAX_MAC];
	enum encoding encoding = request->work.encoding;

	if (hp_hex_decode(request->expected, mac, cap, len) && *len > 0)
		return HSMPOOL_OK;
	HP_TRY(input_read_file(request->expected, text, sizeof(text), len, err));
	if (encoding == ENCODING_DEFAULT)
		encoding = ENCODING_HEX;
	HP_TRY(encoding_decode(encoding, text, len, request->expected, err));
	HP_CHECK(*len <= cap, err, HSMPOOL_ERR_DATA, "%s is longer than any MAC",
		 request->expected);
	memcpy(mac, text, *len);
	return HSMPOOL_OK;
}

/* The first part is in data; read and give the rest. */
static hsmpool_status feed(hsmpool_multipart *operation, struct input *in, uint8_t *data,
			   size_t len, hsmpool_error *err)
{
	while (len > 0) {
		HP_TRY(hsmpool_multipart_update(operation, (hsmpool_bytes){ data, len },
						NULL, err));
		HP_TRY(input_read(in, data, PART_SIZE, &len, err));
	}
	return HSMPOOL_OK;
}

static hsmpool_status mac_long(struct cli *cli, hsmpool_key *key, const char *scheme,
			       struct input *in, uint8_t *data, hsmpool_buf *mac,
			       hsmpool_error *err)
{
	hsmpool_multipart *operation = NULL;
	hsmpool_status status;

	HP_TRY(hsmpool_multipart_begin(&operation, cli->pool, key, HSMPOOL_MULTIPART_SIGN,
				       scheme, NULL, HSMPOOL_DEFAULT, err));
	status = feed(operation, in, data, PART_SIZE, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_multipart_final(&operation, mac, err);
	hsmpool_multipart_abort(&operation);
	return status;
}

static hsmpool_status compare(const hsmpool_buf *mac, hsmpool_bytes expected,
			      hsmpool_error *err)
{
	HP_CHECK(mac->len == expected.len &&
			 hp_equal_secret(mac->data, expected.data, mac->len),
		 err, HSMPOOL_ERR_DATA, "the MAC does not verify");
	return HSMPOOL_OK;
}

/* Make mac, or compare with expected if that has a length. */
static hsmpool_status make_or_verify(struct cli *cli, hsmpool_key *key,
				     const char *scheme, struct input *in, uint8_t *data,
				     hsmpool_bytes expected, hsmpool_buf *mac,
				     hsmpool_error *err)
{
	bool is_end;
	size_t len;

	HP_TRY(input_read_up_to(in, data, PART_SIZE, &len, &is_end, err));
	if (!is_end) {
		HP_TRY(mac_long(cli, key, scheme, in, data, mac, err));
		return expected.len ? compare(mac, expected, err) : HSMPOOL_OK;
	}
	if (expected.len)
		return hsmpool_mac_verify(cli->pool, key, scheme,
					  (hsmpool_bytes){ data, len }, expected,
					  HSMPOOL_DEFAULT, err);
	return hsmpool_mac(cli->pool, key, scheme, (hsmpool_bytes){ data, len }, mac,
			   HSMPOOL_DEFAULT, err);
}

static hsmpool_status process_input(struct cli *cli, hsmpool_key *key, const char *scheme,
				    const char *path, hsmpool_bytes expected,
				    hsmpool_buf *mac, hsmpool_error *err)
{
	struct input in;
	uint8_t *data = malloc(PART_SIZE);
	hsmpool_status status;

	HP_CHECK(data, err, HSMPOOL_ERR_SYSTEM, "no memory");
	status = input_open(&in, path, err);
	if (status == HSMPOOL_OK)
		status = make_or_verify(cli, key, scheme, &in, data, expected, mac, err);
	input_close(&in);
	hp_wipe(data, PART_SIZE);
	free(data);
	return status;
}

static hsmpool_status run_mac(struct cli *cli, const struct request *request,
			      hsmpool_error *err)
{
	const struct work *work = &request->work;
	OUTPUT_AUTO out = OUTPUT_NONE;
	CLI_AUTO_KEY *key = NULL;
	const char *scheme = work->scheme;
	uint8_t made[MAX_MAC], wanted[MAX_MAC];
	hsmpool_buf mac = { .data = made, .cap = sizeof(made) };
	hsmpool_bytes expected = { wanted, 0 };

	HP_TRY(output_open(&out, work->out_path, work->is_forced, err));
	if (request->expected)
		HP_TRY(read_expected(request, wanted, sizeof(wanted), &expected.len,
				     err));
	HP_CHECK(!request->expected || expected.len, err, HSMPOOL_ERR_DATA,
		 "%s holds no MAC", request->expected);
	HP_TRY(cli_open_key(cli, work->which, &key, err));
	HP_TRY(choose_scheme(key, &scheme, err));
	HP_TRY(process_input(cli, key, scheme, work->in_path, expected, &mac, err));
	if (request->expected)
		return HSMPOOL_OK;
	enum encoding encoding =
		work->encoding == ENCODING_DEFAULT ? ENCODING_HEX : work->encoding;
	return encoding_write_result(cli, &out, encoding, "mac", scheme, made, mac.len,
				     err);
}

int verb_mac(struct cli *cli, int argc, char **argv)
{
	struct request request = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &request, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = run_mac(cli, &request, &err);
	return request.expected ? cli_finish_verdict(cli, status, &err)
				: cli_finish(cli, status, &err);
}
