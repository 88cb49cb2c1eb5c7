/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the PIN: which source, and what is accepted as a PIN.
 *
 * Owns: the syntax of pin-source, the sources that are a file, a variable or a
 * descriptor, and the last check of what came. Must not: hold a lock, or keep a PIN
 * anywhere but in an hp_secret. A command and the terminal: pin_command.c,
 * pin_prompt.c.
 */
#include "p11/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "p11/pin_source.h"

#define DESCRIPTOR_LIMIT 1024

enum kind { SOURCE_FILE, ENV, DESCRIPTOR, CREDENTIAL, COMMAND, PROMPT };

static const struct {
	enum kind kind;
	const char *prefix;
	bool is_rereadable;
} kinds[] = {
	{ SOURCE_FILE, "file:", true }, { ENV, "env:", true },
	{ DESCRIPTOR, "fd:", false },   { CREDENTIAL, "credential:", true },
	{ COMMAND, "command:", true },  { PROMPT, "prompt", false },
};

/* --- the syntax -------------------------------------------------------------------- */

/* The index in kinds, or -1; *rest is what follows the prefix. */
static int find_kind(const char *source, const char **rest)
{
	for (size_t i = 0; source && i < HP_ARRAY_LEN(kinds); i++) {
		size_t len = strlen(kinds[i].prefix);
		if (strncmp(source, kinds[i].prefix, len) != 0)
			continue;
		*rest = source + len;
		return (int)i;
	}
	return -1;
}

static int descriptor_of(const char *text)
{
	char *end = NULL;
	if (*text < '0' || *text > '9')
		return -1;
	long fd = strtol(text, &end, 10);
	return *end == '\0' && fd < DESCRIPTOR_LIMIT ? (int)fd : -1;
}

static bool is_rest_valid(enum kind kind, const char *rest)
{
	switch (kind) {
	case DESCRIPTOR:
		return descriptor_of(rest) >= 0;
	case CREDENTIAL:
		return *rest && !strchr(rest, '/') && strcmp(rest, "..") != 0 &&
		       strcmp(rest, ".") != 0;
	case COMMAND:
		return hp_pin_command_is_valid(rest);
	case PROMPT:
		return *rest == '\0';
	default:
		return *rest != '\0';
	}
}

hsmpool_status hp_pin_source_check(const char *source, hsmpool_error *err)
{
	/* Not shown in the text: who forgets the prefix has written the PIN itself. */
	const char *rest = NULL;
	int kind = find_kind(source, &rest);
	HP_CHECK(kind >= 0, err, HSMPOOL_ERR_CONFIG,
		 "pin-source: write file:PATH, env:NAME, fd:NUMBER, credential:NAME, "
		 "command:PROGRAM ARGUMENTS or prompt; never the PIN itself");
	HP_CHECK(is_rest_valid(kinds[kind].kind, rest), err, HSMPOOL_ERR_CONFIG,
		 "pin-source: what follows %s is missing or not valid",
		 kinds[kind].prefix);
	return HSMPOOL_OK;
}

bool hp_pin_source_is_rereadable(const char *source)
{
	const char *rest = NULL;
	int kind = find_kind(source, &rest);
	return kind >= 0 && kinds[kind].is_rereadable;
}

/* --- files and descriptors --------------------------------------------------------- */

/* False at the deadline. */
static bool wait_readable(int fd, int64_t deadline_ns)
{
	for (;;) {
		int64_t left_ns = deadline_ns - hp_now_ns();
		if (left_ns <= 0)
			return false;
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		int64_t wait_ms = left_ns / HP_MS < 60000 ? left_ns / HP_MS + 1 : 60000;
		int ready = poll(&poll_fd, 1, (int)wait_ms);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return true; /* read() tells what is wrong */
	}
}

hsmpool_status hp_pin_read_fd(int fd, const char *what, int64_t deadline_ns,
			      struct hp_secret *pin, hsmpool_error *err)
{
	pin->len = 0;
	for (;;) {
		HP_CHECK(wait_readable(fd, deadline_ns), err, HSMPOOL_ERR_AUTH,
			 "pin-source %s: no end of the PIN within 60 seconds", what);
		HP_CHECK(pin->len < pin->cap, err, HSMPOOL_ERR_AUTH,
			 "pin-source %s: longer than any PIN", what);
		ssize_t got = read(fd, pin->data + pin->len, pin->cap - pin->len);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			return hp_fail_errno(err, HSMPOOL_ERR_AUTH, errno,
					     "pin-source %s: cannot be read", what);
		if (got == 0)
			return HSMPOOL_OK;
		pin->len += (size_t)got;
	}
}

/*
 * A server that begins as root and works as another user has both read the PIN: root may
 * leave it to a group by mode 0640. Root's own group is the one that files have which
 * nobody thought about, so that one does not count.
 */
static bool is_left_to_group(const struct stat *file)
{
	return file->st_uid == 0 && file->st_gid != 0 && (file->st_mode & 077) == 040;
}

static hsmpool_status check_owner(const struct stat *file, const char *what,
				  hsmpool_error *err)
{
	HP_CHECK(file->st_uid == 0 || file->st_uid == geteuid(), err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: belongs to user %u; it must belong to root or to the "
		 "user who runs this",
		 what, (unsigned)file->st_uid);
	HP_CHECK((file->st_mode & 077) == 0 || is_left_to_group(file), err,
		 HSMPOOL_ERR_AUTH,
		 "pin-source %s: mode %03o lets others at it; run chmod 600 on it", what,
		 (unsigned)file->st_mode & 0777);
	return HSMPOOL_OK;
}

/* Checked on the open file, so that it is the one that is read. systemd guards its
 * credentials by the folder and by ACLs, which show as a group's rights in the mode. */
static hsmpool_status read_file(const char *path, const char *what, bool is_guarded,
				struct hp_secret *pin, hsmpool_error *err)
{
	/* Not blocking on a FIFO that nobody writes. */
	HP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_AUTH, errno,
				     "pin-source %s: cannot be opened", what);
	struct stat file;
	if (fstat(fd, &file) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_AUTH, errno,
				     "pin-source %s: cannot be examined", what);
	HP_CHECK(S_ISREG(file.st_mode), err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: not a regular file", what);
	if (!is_guarded)
		HP_TRY(check_owner(&file, what, err));
	return hp_pin_read_fd(fd, what, HP_FOREVER, pin, err);
}

static hsmpool_status read_credential(const char *name, const char *what,
				      struct hp_secret *pin, hsmpool_error *err)
{
	const char *folder = secure_getenv("CREDENTIALS_DIRECTORY");
	HP_CHECK(folder && *folder == '/', err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: $CREDENTIALS_DIRECTORY is not set; start this as a "
		 "systemd service with LoadCredential=%s:PATH",
		 what, name);
	HP_AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s/%s", folder, name) < 0) {
		path = NULL;
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "pin-source %s: out of memory",
			       what);
	}
	return read_file(path, what, true, pin, err);
}

/* Descriptors that were read: the number may by now be another file's. */
static _Atomic uint8_t is_spent[DESCRIPTOR_LIMIT];

static hsmpool_status read_descriptor(const char *rest, const char *what,
				      struct hp_secret *pin, hsmpool_error *err)
{
	int fd = descriptor_of(rest);
	HP_CHECK(!atomic_exchange(&is_spent[fd], 1), err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: was read before; a descriptor gives the PIN once", what);
	hsmpool_status status = hp_pin_read_fd(
		fd, what, hp_time_add(hp_now_ns(), HP_PIN_PATIENCE), pin, err);
	close(fd);
	return status;
}

static hsmpool_status read_variable(const char *name, const char *what,
				    struct hp_secret *pin, hsmpool_error *err)
{
	const char *value = secure_getenv(name);
	HP_CHECK(value, err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: the variable is not set (or not to be trusted: a "
		 "set-user-id program)",
		 what);
	size_t len = strlen(value);
	HP_CHECK(len <= pin->cap, err, HSMPOOL_ERR_AUTH,
		 "pin-source %s: longer than any PIN", what);
	memcpy(pin->data, value, len);
	pin->len = len;
	return HSMPOOL_OK;
}

/* --- all together ------------------------------------------------------------------ */

static hsmpool_status read_source(const char *source, const char *token_label,
				  struct hp_secret *pin, hsmpool_error *err)
{
	const char *rest = NULL;
	switch (kinds[find_kind(source, &rest)].kind) {
	case SOURCE_FILE:
		return read_file(rest, source, false, pin, err);
	case ENV:
		return read_variable(rest, source, pin, err);
	case DESCRIPTOR:
		return read_descriptor(rest, source, pin, err);
	case CREDENTIAL:
		return read_credential(rest, source, pin, err);
	case COMMAND:
		return hp_pin_from_command(rest, pin, err);
	case PROMPT:
		break;
	}
	return hp_pin_from_terminal(token_label, pin, err);
}

/* What names the source in a text: not a command's arguments. */
static int shown_len(const char *source)
{
	bool is_command = strncmp(source, "command:", 8) == 0;
	return (int)(is_command ? strcspn(source, " ") : strlen(source));
}

/* One line end goes. A wrong PIN costs one of few tries: better refuse what is surely
 * none. */
static hsmpool_status accept_pin(const char *source, struct hp_secret *pin,
				 hsmpool_error *err)
{
	if (pin->len > 0 && pin->data[pin->len - 1] == '\n')
		pin->len--;
	if (pin->len > 0 && pin->data[pin->len - 1] == '\r')
		pin->len--;
	HP_CHECK(pin->len > 0, err, HSMPOOL_ERR_AUTH,
		 "pin-source %.*s: the PIN is empty; it was not tried", shown_len(source),
		 source);
	bool has_more_lines =
		memchr(pin->data, '\n', pin->len) || memchr(pin->data, '\0', pin->len);
	HP_CHECK(!has_more_lines, err, HSMPOOL_ERR_AUTH,
		 "pin-source %.*s: more than one line, or binary data; it was not tried",
		 shown_len(source), source);
	return HSMPOOL_OK;
}

hsmpool_status hp_pin_read(const char *source, const char *token_label,
			   struct hp_secret **pin, hsmpool_error *err)
{
	*pin = NULL;
	HP_TRY(hp_pin_source_check(source, err));
	HP_AUTO_SECRET *secret = hp_secret_new(HP_PIN_CAP);
	HP_CHECK(secret, err, HSMPOOL_ERR_SYSTEM, "pin-source: out of memory");
	HP_TRY(read_source(source, token_label, secret, err));
	HP_TRY(accept_pin(source, secret, err));
	*pin = hp_take(&secret);
	return HSMPOOL_OK;
}
