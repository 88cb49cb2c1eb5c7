/* SPDX-License-Identifier: Apache-2.0 */
/* Where the exporter listens: see listener.h. */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"

#define BACKLOG 32

/* --- Unix sockets --------------------------------------------------------------------
 */

/* Remove the socket at address if its listener is gone; anything else stays. */
static hsmpool_status remove_stale(const struct sockaddr_un *address, hsmpool_error *err)
{
	HP_AUTO_FD int fd = -1;
	struct stat found;

	if (lstat(address->sun_path, &found) != 0)
		return HSMPOOL_OK; /* bind() will say what is wrong, if anything */
	HP_CHECK(S_ISSOCK(found.st_mode), err, HSMPOOL_ERR_EXISTS,
		 "--listen: %s exists, and is no socket", address->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	HP_CHECK(fd >= 0 &&
			 connect(fd, (const struct sockaddr *)address,
				 sizeof(*address)) != 0 &&
			 errno == ECONNREFUSED,
		 err, HSMPOOL_ERR_EXISTS, "--listen: somebody listens at %s already",
		 address->sun_path);
	unlink(address->sun_path);
	return HSMPOOL_OK;
}

static hsmpool_status bind_unix(struct listener *listener,
				const struct sockaddr_un *address, hsmpool_error *err)
{
	mode_t mask = umask(0117);
	int result =
		bind(listener->fd, (const struct sockaddr *)address, sizeof(*address));
	int saved_errno = errno;
	struct stat made;

	umask(mask);
	if (result != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, saved_errno,
				     "--listen: cannot make %s", address->sun_path);
	if (lstat(address->sun_path, &made) == 0) {
		listener->device = made.st_dev;
		listener->inode = made.st_ino;
	}
	snprintf(listener->path, sizeof(listener->path), "%s", address->sun_path);
	return HSMPOOL_OK;
}

static hsmpool_status open_unix(struct listener *listener, const char *path,
				hsmpool_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	HP_CHECK(*path && strlen(path) < sizeof(address.sun_path), err, HSMPOOL_ERR_USAGE,
		 "--listen: unix: wants a path of 1 to %zu bytes",
		 sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	HP_TRY(remove_stale(&address, err));
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno, "--listen");
	listener->is_local = true;
	HP_TRY(bind_unix(listener, &address, err));
	snprintf(listener->where, sizeof(listener->where), "unix:%s", path);
	return HSMPOOL_OK;
}

/* --- addresses -----------------------------------------------------------------------
 */

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *four = (const void *)address;

		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	}
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* "[::1]:9812" into "::1" and "9812". */
static bool split(const char *text, char *host, size_t cap, const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool is_bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';

	if (!colon || len >= cap)
		return false;
	if (is_bracketed) {
		text++;
		len -= 2;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	*port = colon + 1;
	/* An address of IPv6 without brackets is a port's. */
	return is_bracketed || !strchr(host, ':');
}

static bool is_port(const char *port)
{
	size_t len = strlen(port);

	if (len == 0 || len > 5 || strspn(port, "0123456789") != len)
		return false;
	return len < 5 || strcmp(port, "65535") <= 0;
}

/* The port may have been 0: say the one that it became. */
static void describe(struct listener *listener)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	char host[64] = "", port[8] = "";
	bool is_six;

	getsockname(listener->fd, (struct sockaddr *)&address, &len);
	getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port,
		    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	is_six = address.ss_family == AF_INET6;
	listener->is_local = is_loopback((struct sockaddr *)&address);
	snprintf(listener->where, sizeof(listener->where), "http://%s%s%s:%s",
		 is_six ? "[" : "", host, is_six ? "]" : "", port);
}

static int bind_address(const struct addrinfo *address)
{
	int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0)
		return fd;
	on = errno;
	close(fd);
	errno = on;
	return -1;
}

/* Numbers only: a name could be anybody's tomorrow. */
static hsmpool_status open_address(struct listener *listener, const char *text,
				   hsmpool_error *err)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	const char *port;
	char host[64];

	HP_CHECK(split(text, host, sizeof(host), &port) && is_port(port) &&
			 getaddrinfo(*host ? host : "127.0.0.1", port, &hints, &found) ==
				 0,
		 err, HSMPOOL_ERR_USAGE,
		 "--listen: '%s' is not ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH; an "
		 "address is a number, such as 127.0.0.1",
		 text);
	listener->fd = bind_address(found);
	freeaddrinfo(found);
	if (listener->fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "--listen: cannot listen on %s", text);
	describe(listener);
	return HSMPOOL_OK;
}

/* --- both ----------------------------------------------------------------------------
 */

hsmpool_status listener_open(struct listener *listener, const char *text,
			     hsmpool_error *err)
{
	static const char scheme[] = "unix:";
	hsmpool_status status;

	*listener = (struct listener){ .fd = -1 };
	if (strncmp(text, scheme, sizeof(scheme) - 1) == 0)
		status = open_unix(listener, text + sizeof(scheme) - 1, err);
	else
		status = open_address(listener, text, err);
	if (status == HSMPOOL_OK && listen(listener->fd, BACKLOG) != 0)
		status = hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				       "--listen: cannot listen on %s", text);
	if (status != HSMPOOL_OK)
		listener_close(listener);
	return status;
}

void listener_close(struct listener *listener)
{
	struct stat found;

	if (*listener->path && lstat(listener->path, &found) == 0 &&
	    found.st_dev == listener->device && found.st_ino == listener->inode)
		unlink(listener->path);
	if (listener->fd >= 0)
		close(listener->fd);
	*listener = (struct listener){ .fd = -1 };
}
