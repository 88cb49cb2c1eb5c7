/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See place.h.
 *
 * Owns: the checks of folder and socket, and the form of their names. Shared by those who
 * serve and those who ask. No state, no locks.
 */
#include "control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/memory.h"

#define SUFFIX  ".sock"
#define BACKLOG 16

/* --- the folder --------------------------------------------------------------------- */

/* su keeps the variable of the user before, whose folder is none of ours. */
static bool is_ours(const char *path)
{
	struct stat found;
	return path && path[0] == '/' && stat(path, &found) == 0 &&
	       S_ISDIR(found.st_mode) && found.st_uid == geteuid() &&
	       (found.st_mode & 022) == 0;
}

bool hp_control_dir(char *path, size_t cap)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	int len;
	if (is_ours(runtime))
		len = snprintf(path, cap, "%s/hsmpool", runtime);
	else if (geteuid() == 0)
		len = snprintf(path, cap, "/run/hsmpool");
	else
		len = snprintf(path, cap, "/tmp/hsmpool-%lu", (unsigned long)geteuid());
	return len > 0 && (size_t)len < cap;
}

int hp_control_open_dir(const char *path, uid_t owner, bool can_make)
{
	if (can_make && mkdir(path, 0700) != 0 && errno != EEXIST)
		return -1;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat found;
	if (dir < 0)
		return -1;
	if (fstat(dir, &found) == 0 && found.st_uid == owner &&
	    (found.st_mode & 077) == 0)
		return dir;
	close(dir);
	errno = EPERM;
	return -1;
}

/* --- names -------------------------------------------------------------------------- */

static const char *parse_number(const char *text, unsigned long most,
				unsigned long *number)
{
	char *end;
	if (*text < '1' || *text > '9')
		return NULL;
	errno = 0;
	*number = strtoul(text, &end, 10);
	return errno == 0 && *number <= most ? end : NULL;
}

bool hp_control_parse_name(const char *name, pid_t *pid, unsigned *copy)
{
	unsigned long process = 0, number = 1;
	const char *end = parse_number(name, INT32_MAX, &process);
	if (end && *end == '-')
		end = parse_number(end + 1, HP_CONTROL_COPIES, &number);
	if (!end || strcmp(end, SUFFIX) != 0)
		return false;
	*pid = (pid_t)process;
	*copy = (unsigned)number;
	return true;
}

void hp_control_make_name(char *name, size_t cap, pid_t pid, unsigned copy)
{
	if (copy > 1)
		snprintf(name, cap, "%ld-%u" SUFFIX, (long)pid, copy);
	else
		snprintf(name, cap, "%ld" SUFFIX, (long)pid);
}

/* --- sockets ------------------------------------------------------------------------ */

static bool make_address(int dir, const char *name, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int len = snprintf(address->sun_path, sizeof(address->sun_path),
			   "/proc/self/fd/%d/%s", dir, name);
	return len > 0 && (size_t)len < sizeof(address->sun_path);
}

static int make_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int fail(int fd, int reason)
{
	if (fd >= 0)
		close(fd);
	errno = reason;
	return -1;
}

int hp_control_listen(int dir, const char *name)
{
	struct sockaddr_un address;
	int fd = make_socket();
	if (fd < 0)
		return -1;
	if (!make_address(dir, name, &address))
		return fail(fd, ENAMETOOLONG);
	/* The mode of the socket is that of its file, less the umask: which is the host
	 * program's, and not to be changed. */
	if (fchmod(fd, 0600) != 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return fail(fd, errno);
	if (listen(fd, BACKLOG) == 0)
		return fd;
	int reason = errno;
	unlinkat(dir, name, 0);
	return fail(fd, reason);
}

static bool is_socket(int dir, const char *name)
{
	struct stat found;
	return fstatat(dir, name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISSOCK(found.st_mode);
}

/* A link to somebody else's socket would have us speak to him in another's name. */
static bool is_served_by(int fd, uid_t owner)
{
	struct ucred server;
	socklen_t len = sizeof(server);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &server, &len) == 0 &&
	       server.uid == owner;
}

int hp_control_connect(int dir, const char *name, uid_t owner)
{
	struct sockaddr_un address;
	if (!is_socket(dir, name))
		return fail(-1, ENOENT);
	int fd = make_socket();
	if (fd < 0)
		return -1;
	if (!make_address(dir, name, &address))
		return fail(fd, ENAMETOOLONG);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return fail(fd, errno);
	if (!is_served_by(fd, owner))
		return fail(fd, EPERM);
	return fd;
}

void hp_control_remove_stale(int dir, const char *name)
{
	struct stat folder;
	if (fstat(dir, &folder) != 0)
		return;
	HP_AUTO_FD int fd = hp_control_connect(dir, name, folder.st_uid);
	if (fd < 0 && errno == ECONNREFUSED && is_socket(dir, name))
		unlinkat(dir, name, 0);
}
