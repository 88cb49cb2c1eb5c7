/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli keys: a table of the token's keys, each with the URI that selects it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "keyspec.h"

static const struct cli_usage usage = {
	.synopsis = "[URI]",
	.about = "List the keys of the token, or those that match the pkcs11: URI.",
	.operands = 1,
};

/* All rows first: the columns are as wide as their widest text. */
struct rows {
	hsmpool_key_info *info;
	size_t count;
	size_t cap;
};

static int add_row(void *user, const hsmpool_key_info *info)
{
	struct rows *rows = user;

	if (rows->count == rows->cap) {
		size_t cap = rows->cap ? rows->cap * 2 : 16;
		hsmpool_key_info *grown = reallocarray(rows->info, cap, sizeof(*grown));

		if (!grown)
			return 1;
		rows->info = grown;
		rows->cap = cap;
	}
	rows->info[rows->count++] = *info;
	return 0;
}

static void format_type(const hsmpool_key_info *info, char *text, size_t cap)
{
	if (*info->curve)
		snprintf(text, cap, "%s %s", info->type, info->curve);
	else if (info->bits && strcmp(info->type, "ed25519") != 0)
		snprintf(text, cap, "%s-%u", info->type, info->bits);
	else
		snprintf(text, cap, "%s", info->type);
}

static int widest(int width, const char *text)
{
	int len = (int)strlen(text);

	return len > width ? len : width;
}

static void print_table(const struct rows *rows)
{
	int label_width = 5, type_width = 4, usage_width = 5;
	char type[64], allowed[120];

	for (size_t i = 0; i < rows->count; i++) {
		format_type(&rows->info[i], type, sizeof(type));
		keyspec_format_usage(rows->info[i].flags, allowed, sizeof(allowed));
		label_width = widest(label_width, rows->info[i].label);
		type_width = widest(type_width, type);
		usage_width = widest(usage_width, allowed);
	}
	printf("%-*s  %-10s  %-*s  %-*s  %s\n", label_width, "LABEL", "CLASS", type_width,
	       "TYPE", usage_width, "USAGE", "URI");
	for (size_t i = 0; i < rows->count; i++) {
		format_type(&rows->info[i], type, sizeof(type));
		keyspec_format_usage(rows->info[i].flags, allowed, sizeof(allowed));
		printf("%-*s  %-10s  %-*s  %-*s  %s\n", label_width, rows->info[i].label,
		       rows->info[i].class_name, type_width, type, usage_width, allowed,
		       rows->info[i].uri);
	}
}

/* By name, a private key before its public half: the token's order means nothing. */
static int compare_rows(const void *a, const void *b)
{
	const hsmpool_key_info *left = a;
	const hsmpool_key_info *right = b;
	int order = strcmp(left->label, right->label);

	return order ? order : strcmp(left->class_name, right->class_name);
}

static void print_json(const struct rows *rows)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < rows->count; i++)
		json_object_array_add(list, keyspec_json(&rows->info[i]));
	cli_print_json(list);
}

static hsmpool_status list_keys(struct cli *cli, const char *uri, hsmpool_error *err)
{
	struct rows rows = { 0 };
	hsmpool_status status;

	HP_TRY(cli_open_pool(cli, err));
	status = hsmpool_key_list(cli->pool, uri, add_row, &rows, HSMPOOL_DEFAULT, err);
	if (rows.count > 0)
		qsort(rows.info, rows.count, sizeof(*rows.info), compare_rows);
	if (status == HSMPOOL_OK && cli->is_json)
		print_json(&rows);
	else if (status == HSMPOOL_OK)
		print_table(&rows);
	free(rows.info);
	return status;
}

int verb_keys(struct cli *cli, int argc, char **argv)
{
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, NULL, NULL, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = list_keys(cli, argv[optind], &err);
	return cli_finish(cli, status, &err);
}
