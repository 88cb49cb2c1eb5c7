/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli inspect: what a container is and needs, without any key, pool or
 * configuration.
 *
 * Everything that is printed was written by a stranger: names come escaped from the
 * library, and the reader is told that nothing is verified.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "inspection.h"

static const struct cli_option options[] = {
	{ "in", CLI_IN, "FILE", "the same as the operand FILE" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[FILE]",
	.about =
		"Show what a container is and who can open it, and whether it is whole. "
		"No key and\nno HSM is needed, and nothing is verified: that takes decrypt.",
	.options = options,
	.operands = 1,
};

static const char *const state_names[] = {
	[HSMPOOL_CONTAINER_UNREAD] = "unread",
	[HSMPOOL_CONTAINER_WHOLE] = "whole",
	[HSMPOOL_CONTAINER_TRUNCATED] = "truncated",
	[HSMPOOL_CONTAINER_TRAILING] = "trailing bytes",
	[HSMPOOL_CONTAINER_DAMAGED] = "damaged",
	[HSMPOOL_CONTAINER_NONE] = "no container",
};

static const struct {
	const char *kind;
	const char *words;
} kinds[] = {
	{ "aes-gcm", "AES key, AES-GCM" },
	{ "aes-kw", "AES key, AES-KW" },
	{ "aes-kwp", "AES key, AES-KWP" },
	{ "rsa-oaep-sha1", "RSA key, OAEP with SHA-1" },
	{ "rsa-oaep-sha256", "RSA key, OAEP with SHA-256" },
	{ "rsa-oaep-sha384", "RSA key, OAEP with SHA-384" },
	{ "rsa-oaep-sha512", "RSA key, OAEP with SHA-512" },
	{ "direct", "AES key, which encrypts the chunks" },
};

static const char *kind_in_words(const char *kind)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].words;
	return "of a type not known here";
}

static const char *compression_name(hsmpool_compression compression)
{
	return compression == HSMPOOL_COMPRESSION_ZSTD ? "zstd" : "none";
}

static const char *mode_name(hsmpool_stream_mode mode)
{
	return mode == HSMPOOL_STREAM_DIRECT ? "direct" : "envelope";
}

/* --- as text -------------------------------------------------------------------------
 */

static void print_bytes(const char *name, uint64_t bytes, const char *what)
{
	char text[24];

	progress_format_size((double)bytes, text, sizeof(text));
	printf("%-12s %" PRIu64 " bytes%s%s%s%s\n", name, bytes, bytes < 1024 ? "" : " (",
	       bytes < 1024 ? "" : text, bytes < 1024 ? "" : ")", what);
}

static void print_fixed_part(const hsmpool_container_info *info)
{
	char id[2 * sizeof(info->id) + 1];

	hp_hex_encode(info->id, sizeof(info->id), id);
	printf("%-12s hsmpool container, version %u\n", "format", info->version);
	printf("%-12s %s\n", "id", id);
	printf("%-12s %s\n", "mode",
	       info->mode == HSMPOOL_STREAM_DIRECT
		       ? "direct: every chunk encrypted by the HSM's key"
		       : "envelope: a data key, wrapped for each recipient");
	printf("%-12s %u: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256\n", "suite",
	       info->suite);
	printf("%-12s %s\n", "compression", compression_name(info->compression));
	print_bytes("chunk-size", info->chunk_size, "");
	printf("%-12s %s\n", "context",
	       info->needs_context ? "needed: the one that was given to encrypt"
				   : "none");
}

static void print_field(const char *name, const char *value)
{
	if (*value)
		printf("  %s=%s", name, value);
}

static void print_recipients(const hsmpool_container_info *info)
{
	for (uint32_t i = 0; i < info->recipient_count; i++) {
		const hsmpool_container_recipient *one = &info->recipients[i];
		char number[16];

		snprintf(number, sizeof(number), "key #%u", i + 1);
		printf("%-12s %s", number, kind_in_words(one->kind));
		if (*one->label)
			printf("  label='%s'", one->label);
		print_field("id", one->id);
		print_field("check", one->check);
		printf("\n");
	}
}

static void print_chunks(const hsmpool_container_info *info)
{
	char ratio[40] = "";

	printf("%-12s %" PRIu64, "chunks", info->chunks);
	if (info->compression != HSMPOOL_COMPRESSION_NONE)
		printf(", %" PRIu64 " of them compressed", info->compressed_chunks);
	printf("\n");
	print_bytes("plaintext", info->plain_bytes, "");
	if (info->compression != HSMPOOL_COMPRESSION_NONE && info->body_bytes > 0)
		snprintf(ratio, sizeof(ratio), ", %.2f to 1",
			 (double)info->plain_bytes / (double)info->body_bytes);
	print_bytes("encrypted", info->body_bytes, ratio);
	print_bytes("container", info->container_bytes, "");
}

static void print_text(const hsmpool_container_info *info)
{
	if (info->version > 0)
		print_fixed_part(info);
	if (info->header_bytes > 0) {
		print_recipients(info);
		print_chunks(info);
	}
	printf("%-12s %s\n", "structure", state_names[info->state]);
	if (info->version > 0)
		printf("%-12s nothing of this: anybody can have written it; decrypt "
		       "verifies\n",
		       "verified");
}

/* --- as JSON -------------------------------------------------------------------------
 */

static void add_fixed_part(struct json_object *object, const hsmpool_container_info *info)
{
	char id[2 * sizeof(info->id) + 1];

	hp_hex_encode(info->id, sizeof(info->id), id);
	cli_add_number(object, "version", info->version);
	cli_add_text(object, "id", id);
	cli_add_text(object, "mode", mode_name(info->mode));
	cli_add_number(object, "suite", info->suite);
	cli_add_text(object, "compression", compression_name(info->compression));
	cli_add_number(object, "chunk-size", info->chunk_size);
	json_object_object_add(object, "needs-context",
			       json_object_new_boolean(info->needs_context != 0));
}

static void add_recipients(struct json_object *object, const hsmpool_container_info *info)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < info->recipient_count; i++) {
		const hsmpool_container_recipient *one = &info->recipients[i];
		struct json_object *entry = json_object_new_object();

		cli_add_number(entry, "number", i + 1);
		cli_add_text(entry, "kind", one->kind);
		cli_add_text(entry, "label", one->label);
		cli_add_text(entry, "key-id", one->id);
		cli_add_text(entry, "check", one->check);
		json_object_array_add(list, entry);
	}
	json_object_object_add(object, "recipients", list);
}

static void add_chunks(struct json_object *object, const hsmpool_container_info *info)
{
	cli_add_number(object, "header-bytes", info->header_bytes);
	cli_add_number(object, "chunks", info->chunks);
	cli_add_number(object, "compressed-chunks", info->compressed_chunks);
	cli_add_number(object, "plaintext-bytes", info->plain_bytes);
	cli_add_number(object, "encrypted-bytes", info->body_bytes);
	cli_add_number(object, "container-bytes", info->container_bytes);
}

static void print_json(const hsmpool_container_info *info)
{
	struct json_object *object = json_object_new_object();

	cli_add_text(object, "structure", state_names[info->state]);
	json_object_object_add(object, "verified", json_object_new_boolean(0));
	if (info->version > 0)
		add_fixed_part(object, info);
	if (info->header_bytes > 0) {
		add_recipients(object, info);
		add_chunks(object, info);
	}
	cli_print_json(object);
}

/* --- the verb ------------------------------------------------------------------------
 */

static hsmpool_status inspect(const struct cli *cli, const char *path, hsmpool_error *err)
{
	hsmpool_container_info info;
	struct progress progress;
	struct input in;
	hsmpool_status status;

	HP_TRY(input_open(&in, path, err));
	progress_start(&progress, cli, in.has_size ? in.size : 0);
	status = inspection_run(&in, &progress, &info, err);
	progress_end(&progress);
	input_close(&in);
	if (status != HSMPOOL_OK && status != HSMPOOL_ERR_DATA)
		return status;
	if (cli->is_json)
		print_json(&info);
	else
		print_text(&info);
	return status;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	const char **path = user;

	(void)err;
	if (id == CLI_IN)
		*path = argument;
	return HSMPOOL_OK;
}

int verb_inspect(struct cli *cli, int argc, char **argv)
{
	const char *path = NULL;
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &path, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = cli_operands(argc, path ? 0 : 1, argv, &err);
	if (status == HSMPOOL_OK)
		status = inspect(cli, path ? path : argv[optind], &err);
	return cli_finish(cli, status, &err);
}
