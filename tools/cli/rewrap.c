/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli rewrap: other recipients for a container, its data untouched.
 *
 * Owns: the replacement of a file by its successor, whole or not at all: a new file in
 * the same folder, with the same mode and owner, synced and renamed over the old one. The
 * library makes the header; what follows it is copied as it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "cli.h"
#include "copy.h"
#include "inspection.h"
#include "recipients.h"
#include "stop.h"

enum { OPTION_ADD = CLI_OWN, OPTION_REMOVE };

static const struct cli_option options[] = {
	{ "add", OPTION_ADD, "KEY",
	  "a new recipient: pkcs11: URI or configured name; repeat it for several" },
	{ "remove", OPTION_REMOVE, "KEY|#N",
	  "a recipient to take out, by its key's URI or configured name, or by the number "
	  "that inspect shows; repeat it for several" },
	{ "key", CLI_KEY, "KEY",
	  "open the container with this key (else found from the header)" },
	{ "in", CLI_IN, "FILE", "read FILE instead of standard input" },
	CLI_OPTION_OUT,
	{ "force", CLI_FORCE, NULL, "replace an existing FILE, or one with hard links" },
	CLI_OPTION_LIMIT_RATE,
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "FILE | --in FILE --out FILE  [--add KEY]... [--remove KEY|#N]...",
	.about =
		"Change who can open a container in envelope mode, without touching its "
		"data: the\noperand FILE is replaced, or a copy is written to --out. Who "
		"is taken out can have\nkept the data key: to shut somebody out, encrypt "
		"anew.",
	.options = options,
	.operands = 1,
};

struct rewrapping {
	const char *path; /* to be replaced; NULL: from in_path to out_path */
	const char *in_path;
	const char *out_path;
	const char *open_with;
	bool is_forced;
	struct rate_limit limit;
	struct recipients add;
	const char *remove[CLI_MAX_KEYS];
	size_t remove_count;

	struct input in;
	struct output out;
	struct stat before;    /* of the file to be replaced */
	char target[PATH_MAX]; /* its name, links resolved */
	struct progress progress;
	uint8_t *header; /* as it was written; of an input that is not a file */
	size_t header_len;
	hsmpool_container_changed changed;
	struct copied copied;
};

/* --- the command line ----------------------------------------------------------------
 */

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct rewrapping *w = user;

	switch (id) {
	case OPTION_ADD:
		return recipients_add(&w->add, argument, err);
	case OPTION_REMOVE:
		HP_CHECK(w->remove_count < CLI_MAX_KEYS, err, HSMPOOL_ERR_USAGE,
			 "a container has at most %d recipients to remove", CLI_MAX_KEYS);
		w->remove[w->remove_count++] = argument;
		return HSMPOOL_OK;
	case CLI_KEY:
		w->open_with = argument;
		return HSMPOOL_OK;
	case CLI_IN:
		w->in_path = argument;
		return HSMPOOL_OK;
	case CLI_OUT:
		w->out_path = argument;
		return HSMPOOL_OK;
	case CLI_LIMIT_RATE:
		return rate_limit_parse(&w->limit, argument, err);
	default:
		w->is_forced = true;
		return HSMPOOL_OK;
	}
}

static hsmpool_status check_request(const struct rewrapping *w, hsmpool_error *err)
{
	HP_CHECK(w->add.count + w->remove_count > 0, err, HSMPOOL_ERR_USAGE,
		 "what shall change? say --add KEY, --remove KEY, or both");
	HP_CHECK(!w->path || (!w->in_path && !w->out_path), err, HSMPOOL_ERR_USAGE,
		 "say FILE to replace it, or --in and --out, not both");
	return HSMPOOL_OK;
}

/* --- a file that is replaced ---------------------------------------------------------
 */

static hsmpool_status check_replaceable(const struct rewrapping *w, hsmpool_error *err)
{
	HP_CHECK(S_ISREG(w->before.st_mode), err, HSMPOOL_ERR_USAGE,
		 "%s is no regular file: use --in and --out", w->path);
	HP_CHECK(w->before.st_nlink == 1 || w->is_forced, err, HSMPOOL_ERR_USAGE,
		 "%s has %" PRIuMAX " names (hard links), and the others would keep the "
		 "old recipients: use --out, or --force",
		 w->path, (uintmax_t)w->before.st_nlink);
	HP_CHECK(flock(w->in.fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, err,
		 HSMPOOL_ERR_BUSY,
		 "another program works on %s: try again when it is done", w->path);
	return HSMPOOL_OK;
}

/* A symbolic link stays one: the file that it leads to is replaced. */
static hsmpool_status open_to_replace(struct rewrapping *w, hsmpool_error *err)
{
	HP_CHECK(strcmp(w->path, "-") != 0, err, HSMPOOL_ERR_USAGE,
		 "standard input cannot be replaced: leave FILE away");
	HP_TRY(input_open(&w->in, w->path, err));
	if (!realpath(w->path, w->target) || fstat(w->in.fd, &w->before) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot open %s",
				     w->path);
	HP_TRY(check_replaceable(w, err));
	return output_open(&w->out, w->target, true, err);
}

/* Mode and owner as they were. An owner that cannot be given back stays ours; then the
 * group's rights go, for it is another group. */
static hsmpool_status keep_owner_and_mode(const struct rewrapping *w, hsmpool_error *err)
{
	mode_t mode = w->before.st_mode & 0777;

	if (fchown(w->out.fd, w->before.st_uid, w->before.st_gid) < 0 &&
	    fchown(w->out.fd, (uid_t)-1, w->before.st_gid) < 0)
		mode &= (mode_t)~S_IRWXG;
	if (fchmod(w->out.fd, mode) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot set the mode of %s", w->out.name);
	return HSMPOOL_OK;
}

static hsmpool_status check_unchanged(const struct rewrapping *w, hsmpool_error *err)
{
	struct stat now, there;
	bool is_same = fstat(w->in.fd, &now) == 0 && stat(w->target, &there) == 0 &&
		       now.st_dev == there.st_dev && now.st_ino == there.st_ino &&
		       now.st_size == w->before.st_size &&
		       now.st_mtim.tv_sec == w->before.st_mtim.tv_sec &&
		       now.st_mtim.tv_nsec == w->before.st_mtim.tv_nsec;

	HP_CHECK(is_same, err, HSMPOOL_ERR_SYSTEM,
		 "%s was changed by another program meanwhile: it is left as it is",
		 w->path);
	return HSMPOOL_OK;
}

/* --- the work ------------------------------------------------------------------------
 */

static hsmpool_status open_files(struct rewrapping *w, hsmpool_error *err)
{
	if (w->path)
		return open_to_replace(w, err);
	HP_TRY(input_open(&w->in, w->in_path, err));
	HP_TRY(output_open(&w->out, w->out_path, w->is_forced, err));
	HP_TRY(output_refuse_input(&w->out, w->in.fd, err));
	return output_refuse_terminal(&w->out, err);
}

/* A container that is not whole is refused before anything is copied, where looking at
 * its structure is cheap. */
static hsmpool_status check_structure(struct rewrapping *w, hsmpool_error *err)
{
	hsmpool_container_info info;
	off_t start;

	if (!inspection_can_seek(&w->in))
		return HSMPOOL_OK;
	start = lseek(w->in.fd, 0, SEEK_CUR);
	HP_TRY(inspection_run(&w->in, &w->progress, &info, err));
	if (start < 0 || lseek(w->in.fd, start, SEEK_SET) < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "cannot read %s",
				     w->in.name);
	return HSMPOOL_OK;
}

static hsmpool_status read_header(void *user, uint8_t *data, size_t cap, size_t *len,
				  hsmpool_error *err)
{
	struct rewrapping *w = user;

	return input_read(&w->in, data, cap, len, err);
}

static hsmpool_status keep_header(struct rewrapping *w, const uint8_t *data, size_t len,
				  hsmpool_error *err)
{
	uint8_t *longer = realloc(w->header, w->header_len + len);

	HP_CHECK(longer, err, HSMPOOL_ERR_SYSTEM, "no memory for a container's header");
	memcpy(longer + w->header_len, data, len);
	w->header = longer;
	w->header_len += len;
	return HSMPOOL_OK;
}

static hsmpool_status write_header(void *user, const uint8_t *data, size_t len,
				   hsmpool_error *err)
{
	struct rewrapping *w = user;

	if (!inspection_can_seek(&w->in))
		HP_TRY(keep_header(w, data, len, err));
	return output_write(&w->out, data, len, err);
}

static hsmpool_status change_header(struct cli *cli, struct rewrapping *w,
				    hsmpool_error *err)
{
	CLI_AUTO_KEY *key = NULL;
	hsmpool_container_changes changes = { .size = sizeof(changes) };

	HP_TRY(cli_open_pool(cli, err));
	HP_TRY(recipients_open(cli, &w->add, err));
	if (w->open_with)
		HP_TRY(cli_open_key(cli, w->open_with, &key, err));
	changes.add = w->add.keys;
	changes.add_count = w->add.count;
	changes.remove = w->remove;
	changes.remove_count = w->remove_count;
	w->changed.size = sizeof(w->changed);
	return hsmpool_container_rewrap(cli->pool, key, &changes, read_header, w,
					write_header, w, &w->changed, HSMPOOL_DEFAULT,
					err);
}

/* Of a file the structure is known to be whole; of a pipe it is seen in passing. */
static hsmpool_status copy_data(struct rewrapping *w, hsmpool_error *err)
{
	const hsmpool_bytes header = { w->header, w->header_len };

	if (inspection_can_seek(&w->in))
		return copy_rest(&w->in, &w->out, &w->progress, &w->copied, err);
	return copy_chunks(header, &w->in, &w->out, &w->progress, &w->copied, err);
}

static hsmpool_status rewrap(struct cli *cli, struct rewrapping *w, hsmpool_error *err)
{
	HP_TRY(check_request(w, err));
	HP_TRY(open_files(w, err));
	w->in.limit = w->limit;
	progress_start(&w->progress, cli, w->in.has_size ? w->in.size : 0);
	HP_TRY(check_structure(w, err));
	HP_TRY(change_header(cli, w, err));
	HP_TRY(copy_data(w, err));
	if (w->path) {
		HP_TRY(check_unchanged(w, err));
		HP_TRY(keep_owner_and_mode(w, err));
	}
	return output_commit(&w->out, err);
}

/* --- what is said --------------------------------------------------------------------
 */

static void print_summary(const struct rewrapping *w)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "out",
			       json_object_new_string(w->path ? w->path : w->out.name));
	json_object_object_add(object, "recipients",
			       json_object_new_int64(w->changed.recipients));
	json_object_object_add(object, "added", json_object_new_int64(w->changed.added));
	json_object_object_add(object, "removed",
			       json_object_new_int64(w->changed.removed));
	json_object_object_add(object, "written-bytes",
			       json_object_new_uint64(w->out.written));
	json_object_object_add(object, "copied-by-kernel",
			       json_object_new_uint64(w->copied.by_kernel));
	json_object_object_add(object, "verified", json_object_new_string("header"));
	cli_print_summary(object, !w->path && !w->out.path);
}

static void say_what_was_done(const struct cli *cli, const struct rewrapping *w)
{
	if (cli->is_json)
		print_summary(w);
	if (w->changed.removed > 0)
		cli_message(cli,
			    "note: who was taken out can have kept the data key, the "
			    "data or the old header, and so can copies of the old "
			    "file; to shut somebody out, encrypt anew");
}

static void close_all(struct rewrapping *w)
{
	progress_end(&w->progress);
	recipients_close(&w->add);
	free(w->header);
	output_close(&w->out);
	input_close(&w->in);
}

int verb_rewrap(struct cli *cli, int argc, char **argv)
{
	struct rewrapping w = { .in.fd = -1, .out.fd = -1 };
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_parse(cli, &usage, take_option, &w, argc, argv, &err);

	w.path = argv[optind];
	if (status == HSMPOOL_OK)
		status = rewrap(cli, &w, &err);
	progress_end(&w.progress);
	if (status == HSMPOOL_OK)
		say_what_was_done(cli, &w);
	close_all(&w);
	return cli_finish(cli, status, &err);
}
