/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: where it is looked for, whose it may be, and its lines.
 *
 * Owns: the search order and the rule that a file which decides what is loaded and run
 * belongs to root or the effective user and is not writable by others; both are checked
 * on the opened file, so that a link or a rename does not get around them. inih splits
 * the lines; the reader under it counts them and sees what inih would quietly cut.
 */
#include "config/section.h"

#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_FILE         "/etc/hsmpool/hsmpool.conf"
#define LONGEST_LINE        4095
#define LONGEST_INI_SECTION 49 /* inih cuts a longer one without a word */
#define BLANKS              " \t\r\n"

/* --- lines ------------------------------------------------------------------------- */

struct reader {
	FILE *file;
	hsmpool_config *config;
	hsmpool_error *err;
	hsmpool_status status; /* of the first thing that is wrong */
	unsigned line_number;
	unsigned failed_line;
	bool is_cut; /* inih's buffer was too small for the line */
	struct hp_section *section;
	char line[LONGEST_LINE + 2];
};

/* Remember the status; the text is in reader->err. The reading stops. */
static void stop(struct reader *reader, hsmpool_status status)
{
	reader->status = status;
	reader->failed_line = reader->line_number;
}

static void refuse_line(struct reader *reader, const char *complaint)
{
	stop(reader, hp_fail(reader->err, HSMPOOL_ERR_CONFIG, "%s", complaint));
}

/* One line into reader->line, its end removed. False at the end or at an error. */
static bool take_line(struct reader *reader)
{
	size_t len = 0;
	int c;
	while ((c = getc(reader->file)) != EOF && c != '\n') {
		bool is_text = c >= 0x20 || c == '\t' || c == '\r';
		if (len == LONGEST_LINE || !is_text || c == 0x7f) {
			reader->line_number++;
			refuse_line(reader,
				    len == LONGEST_LINE
					    ? "the line is longer than 4095 bytes"
					    : "the line holds a control character;"
					      " is this a text file?");
			return false;
		}
		reader->line[len++] = (char)c;
	}
	reader->line[len] = '\0';
	if (c == EOF && ferror(reader->file)) {
		stop(reader, hp_fail_errno(reader->err, HSMPOOL_ERR_CONFIG, errno,
					   "cannot read on"));
		return false;
	}
	if (c == EOF && len == 0)
		return false;
	reader->line_number++;
	return true;
}

/* Cut a comment, which is at the start or after a blank, and blanks at the end. */
static void cut_end(char *line)
{
	char *end = line;
	for (; *end; end++)
		if (*end == ';' && (end == line || end[-1] == ' ' || end[-1] == '\t'))
			break;
	while (end > line && strchr(BLANKS, end[-1]))
		end--;
	*end = '\0';
}

/* What of the line counts. An indented line is no continuation of the one before. */
static char *clean_line(struct reader *reader)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	char *start = reader->line;
	if (reader->line_number == 1 &&
	    strncmp(start, byte_order_mark, strlen(byte_order_mark)) == 0)
		start += strlen(byte_order_mark);
	start += strspn(start, BLANKS);
	if (*start == '#')
		*start = '\0';
	cut_end(start);
	return start;
}

/* Sections are opened here: inih does not tell of one without keys. */
static void open_section(struct reader *reader, const char *line)
{
	char header[LONGEST_INI_SECTION + 1];
	size_t len = strcspn(line + 1, "]");
	if (line[1 + len] != ']') {
		refuse_line(reader, "the section's ']' is missing");
	} else if (line[2 + len] != '\0') {
		refuse_line(reader, "there is more on the line after the section's ']'");
	} else if (len > LONGEST_INI_SECTION) {
		refuse_line(reader, "the section's name is too long");
	} else {
		snprintf(header, sizeof(header), "%.*s", (int)len, line + 1);
		hsmpool_status status = hp_section_open(reader->config, header,
							&reader->section, reader->err);
		if (status != HSMPOOL_OK)
			stop(reader, status);
	}
}

/* inih's reader: the next line, or as much as there is room for; NULL ends it. */
static char *give_line(char *to, int room, void *stream)
{
	struct reader *reader = stream;
	if (reader->status != HSMPOOL_OK || !take_line(reader))
		return NULL;
	char *line = clean_line(reader);
	memmove(reader->line, line, strlen(line) + 1);
	if (reader->line[0] == '[') {
		open_section(reader, reader->line);
		if (reader->status != HSMPOOL_OK)
			return NULL;
	}
	/* A buffer that is not full keeps inih from asking for the rest. */
	size_t fits = (size_t)room - 2;
	size_t len = strnlen(reader->line, fits);
	memcpy(to, reader->line, len);
	to[len] = '\0';
	reader->is_cut = reader->line[len] != '\0';
	return to;
}

static const char *whole_value(const struct reader *reader)
{
	const char *at = reader->line + strcspn(reader->line, "=:");
	return *at ? at + 1 + strspn(at + 1, BLANKS) : at;
}

/* inih's handler: one key and its value. */
static int take_pair(void *user, const char *section_name, const char *key,
		     const char *value)
{
	struct reader *reader = user;
	struct hp_section *section = reader->section;
	(void)section_name;
	if (reader->status != HSMPOOL_OK)
		return 0;
	if (reader->is_cut)
		value = whole_value(reader);
	hsmpool_status status = HSMPOOL_OK;
	size_t index = section ? hp_option_find(section->kind, key) : HP_OPTION_COUNT;
	if (!section)
		status = hp_fail(reader->err, HSMPOOL_ERR_CONFIG,
				 "the key '%.60s' stands before any section; begin with "
				 "[pool]",
				 key);
	else if (index < HP_OPTION_COUNT && section->values[index])
		status = hp_fail(reader->err, HSMPOOL_ERR_CONFIG,
				 "the key '%.60s' is set a second time in this section",
				 key);
	else
		status = hp_section_assign(section, key, value, reader->err);
	if (status != HSMPOOL_OK)
		stop(reader, status);
	return status == HSMPOOL_OK;
}

static hsmpool_status read_lines(hsmpool_config *config, FILE *file, const char *path,
				 hsmpool_error *err)
{
	struct reader reader = { .file = file, .config = config, .err = err };
	int bad_line = ini_parse_stream(give_line, &reader, take_pair, &reader);
	if (bad_line < 0 && reader.status == HSMPOOL_OK)
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory to read '%s'",
			       hp_path_tail(path));
	/* inih reports what it could not split, or the line that we refused. */
	if (bad_line > 0 &&
	    (reader.status == HSMPOOL_OK || (unsigned)bad_line < reader.failed_line)) {
		reader.line_number = (unsigned)bad_line;
		refuse_line(&reader, "neither 'key = value' nor '[section]'");
	}
	if (reader.status != HSMPOOL_OK)
		hp_error_prefix(err, "%s:%u", hp_path_tail(path), reader.failed_line);
	return reader.status;
}

/* --- files ------------------------------------------------------------------------- */

static hsmpool_status check_owner(int fd, const char *path, hsmpool_error *err)
{
	const char *shown = hp_path_tail(path);
	struct stat file;
	if (fstat(fd, &file) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_CONFIG, errno,
				     "cannot look at the configuration '%s'", shown);
	HP_CHECK(S_ISREG(file.st_mode), err, HSMPOOL_ERR_CONFIG,
		 "the configuration '%s' is not a regular file", shown);
	HP_CHECK(file.st_uid == 0 || file.st_uid == geteuid(), err, HSMPOOL_ERR_CONFIG,
		 "the configuration '%s' belongs to user %lu; it must belong to root or "
		 "to user %lu, who runs this",
		 shown, (unsigned long)file.st_uid, (unsigned long)geteuid());
	HP_CHECK((file.st_mode & (S_IWGRP | S_IWOTH)) == 0, err, HSMPOOL_ERR_CONFIG,
		 "the configuration '%s' can be written by group or others (mode %04o); "
		 "chmod go-w it",
		 shown, (unsigned)file.st_mode & 07777);
	return HSMPOOL_OK;
}

/* is_missing: there is no such file, and err says so. */
static hsmpool_status read_file(hsmpool_config *config, const char *path,
				bool *is_missing, hsmpool_error *err)
{
	/* O_NONBLOCK: a FIFO must not hang us before it is refused. */
	HP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	*is_missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
	if (fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_CONFIG, errno,
				     "cannot open the configuration '%s'",
				     hp_path_tail(path));
	HP_TRY(check_owner(fd, path, err));
	config->path = strdup(path);
	FILE *file = config->path ? fdopen(fd, "r") : NULL;
	HP_CHECK(file, err, HSMPOOL_ERR_SYSTEM, "no memory to read '%s'",
		 hp_path_tail(path));
	fd = -1; /* file owns it now */
	hsmpool_status status = read_lines(config, file, path, err);
	fclose(file);
	return status;
}

/* $XDG_CONFIG_HOME/hsmpool/hsmpool.conf or ~/.config/...; NULL: neither is set. */
static char *user_file(void)
{
	const char *config_home = secure_getenv("XDG_CONFIG_HOME");
	const char *home = secure_getenv("HOME");
	char *path = NULL;
	int len = -1;
	if (config_home && config_home[0] == '/')
		len = asprintf(&path, "%s/hsmpool/hsmpool.conf", config_home);
	else if (home && home[0] == '/')
		len = asprintf(&path, "%s/.config/hsmpool/hsmpool.conf", home);
	return len < 0 ? NULL : path;
}

static hsmpool_status search(hsmpool_config *config, hsmpool_error *err)
{
	bool is_missing;
	const char *named = secure_getenv("HSMPOOL_CONF");
	if (named && *named) {
		hsmpool_status status = read_file(config, named, &is_missing, err);
		if (status != HSMPOOL_OK)
			hp_error_prefix(err, "HSMPOOL_CONF");
		return status;
	}
	HP_AUTO_FREE char *user = user_file();
	if (user) {
		hsmpool_status status = read_file(config, user, &is_missing, err);
		if (!is_missing)
			return status;
	}
	hsmpool_status status = read_file(config, SYSTEM_FILE, &is_missing, err);
	if (!is_missing)
		return status;
	hp_fail(err, HSMPOOL_ERR_CONFIG,
		"no configuration: neither %s%s%s exists; write one, see "
		"hsmpool.conf(5), "
		"or name one in HSMPOOL_CONF",
		user ? hp_path_tail(user) : "", user ? " nor " : "", SYSTEM_FILE);
	if (err)
		err->sys_errno = ENOENT; /* told apart from a file that is wrong */
	return HSMPOOL_ERR_CONFIG;
}

hsmpool_status hp_config_read(hsmpool_config *config, const char *path,
			      hsmpool_error *err)
{
	bool is_missing;
	return path ? read_file(config, path, &is_missing, err) : search(config, err);
}
