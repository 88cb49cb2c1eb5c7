/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding control sockets, and one request with its reply.
 *
 * Owns: which folders are looked into, and that a stale socket is removed. Must not:
 * print anything, or know what a reply means.
 */
#include "peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "control/place.h"

#define LONGEST_REPLY (64u * 1024 * 1024)
#define FIRST_ROOM    16384u

/* --- finding ------------------------------------------------------------------------ */

static hsmpool_status add_peer(struct peers *peers, const char *dir, uid_t uid,
			       const char *name, hsmpool_error *err)
{
	struct peer found = { .uid = uid };
	if (!hp_control_parse_name(name, &found.pid, &found.copy))
		return HSMPOOL_OK;
	struct peer *list =
		reallocarray(peers->list, peers->count + 1, sizeof(*peers->list));
	HP_CHECK(list, err, HSMPOOL_ERR_SYSTEM, "no memory for the list of processes");
	peers->list = list;
	snprintf(found.name, sizeof(found.name), "%.*s", (int)strcspn(name, "."), name);
	snprintf(found.dir, sizeof(found.dir), "%s", dir);
	for (size_t i = 0; i < peers->count; i++) /* the same folder by another path */
		if (list[i].pid == found.pid && list[i].copy == found.copy &&
		    strcmp(list[i].dir, found.dir) == 0)
			return HSMPOOL_OK;
	list[peers->count++] = found;
	return HSMPOOL_OK;
}

/* A folder that is not there, or not as it must be, has none. */
static hsmpool_status look_into(struct peers *peers, const char *path, uid_t owner,
				hsmpool_error *err)
{
	int dir = hp_control_open_dir(path, owner, false);
	DIR *entries = dir >= 0 ? fdopendir(dir) : NULL;
	if (!entries) {
		hp_close_fd(&dir);
		return HSMPOOL_OK;
	}
	hsmpool_status status = HSMPOOL_OK;
	for (const struct dirent *at; status == HSMPOOL_OK && (at = readdir(entries));)
		status = add_peer(peers, path, owner, at->d_name, err);
	closedir(entries);
	return status;
}

/* prefix: what the names of folders begin with, the owner's number following it. */
static hsmpool_status look_into_users(struct peers *peers, const char *parent,
				      const char *prefix, const char *suffix,
				      hsmpool_error *err)
{
	DIR *entries = opendir(parent);
	hsmpool_status status = HSMPOOL_OK;
	if (!entries)
		return HSMPOOL_OK;
	for (const struct dirent *at; status == HSMPOOL_OK && (at = readdir(entries));) {
		const char *number = at->d_name + strlen(prefix);
		char path[PATH_MAX], *end;
		if (strncmp(at->d_name, prefix, strlen(prefix)) != 0)
			continue;
		unsigned long owner = strtoul(number, &end, 10);
		if (end == number || *end != '\0' || owner >= (uid_t)-1)
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", parent, at->d_name, suffix);
		status = look_into(peers, path, (uid_t)owner, err);
	}
	closedir(entries);
	return status;
}

static int compare(const void *a, const void *b)
{
	const struct peer *one = a, *other = b;
	if (one->pid != other->pid)
		return one->pid < other->pid ? -1 : 1;
	return one->copy < other->copy ? -1 : one->copy > other->copy;
}

/* The user's own, and what root may see besides. */
static hsmpool_status look_everywhere(struct peers *peers, hsmpool_error *err)
{
	char own[PATH_MAX];
	if (hp_control_dir(own, sizeof(own)))
		HP_TRY(look_into(peers, own, geteuid(), err));
	snprintf(own, sizeof(own), "/tmp/hsmpool-%lu", (unsigned long)geteuid());
	HP_TRY(look_into(peers, own, geteuid(), err));
	if (geteuid() != 0) {
		snprintf(own, sizeof(own), "/run/user/%lu/hsmpool",
			 (unsigned long)geteuid());
		return look_into(peers, own, geteuid(), err);
	}
	HP_TRY(look_into(peers, "/run/hsmpool", 0, err));
	HP_TRY(look_into_users(peers, "/run/user", "", "/hsmpool", err));
	return look_into_users(peers, "/tmp", "hsmpool-", "", err);
}

hsmpool_status peers_find(struct peers *peers, hsmpool_error *err)
{
	*peers = (struct peers){ 0 };
	hsmpool_status status = look_everywhere(peers, err);
	if (status != HSMPOOL_OK)
		peers_free(peers);
	if (peers->count > 1)
		qsort(peers->list, peers->count, sizeof(*peers->list), compare);
	return status;
}

void peers_free(struct peers *peers)
{
	free(peers->list);
	*peers = (struct peers){ 0 };
}

/* --- asking ------------------------------------------------------------------------- */

static hsmpool_status wait_for(const struct peer *peer, int fd, short what,
			       int64_t deadline_ns, hsmpool_error *err)
{
	struct pollfd poller = { .fd = fd, .events = what };
	for (;;) {
		int64_t left_ms = (deadline_ns - hp_now_ns()) / HP_MS;
		HP_CHECK(left_ms > 0, err, HSMPOOL_ERR_TIMEOUT,
			 "process %s did not answer in time", peer->name);
		int ready = poll(&poller, 1, left_ms < 1000 ? (int)left_ms : 1000);
		if (ready > 0)
			return HSMPOOL_OK;
		if (ready < 0 && errno != EINTR)
			return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
					     "process %s: cannot wait for its answer",
					     peer->name);
	}
}

static hsmpool_status fail_connecting(const struct peer *peer, int dir, const char *name,
				      int reason, hsmpool_error *err)
{
	if (reason == ECONNREFUSED)
		hp_control_remove_stale(dir, name);
	if (reason == ECONNREFUSED || reason == ENOENT)
		return hp_fail(err, HSMPOOL_ERR_DOWN, "process %s is gone", peer->name);
	return hp_fail_errno(err, HSMPOOL_ERR_DOWN, reason,
			     "process %s: its socket in %s cannot be used", peer->name,
			     peer->dir);
}

static hsmpool_status connect_to(const struct peer *peer, int64_t deadline_ns, int *fd,
				 hsmpool_error *err)
{
	char name[64];
	HP_AUTO_FD int dir = hp_control_open_dir(peer->dir, peer->uid, false);
	if (dir < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_DOWN, errno,
				     "process %s: %s cannot be used", peer->name,
				     peer->dir);
	hp_control_make_name(name, sizeof(name), peer->pid, peer->copy);
	while ((*fd = hp_control_connect(dir, name, peer->uid)) < 0 && errno == EAGAIN) {
		HP_CHECK(hp_now_ns() < deadline_ns, err, HSMPOOL_ERR_TIMEOUT,
			 "process %s: too many others are asking it", peer->name);
		hp_pause(10 * HP_MS);
	}
	return *fd >= 0 ? HSMPOOL_OK : fail_connecting(peer, dir, name, errno, err);
}

static hsmpool_status send_request(const struct peer *peer, int fd, const char *request,
				   int64_t deadline_ns, hsmpool_error *err)
{
	char line[600];
	int len = snprintf(line, sizeof(line), "%s\n", request);
	HP_CHECK(len > 0 && (size_t)len < sizeof(line), err, HSMPOOL_ERR_USAGE,
		 "the request is too long");
	for (int sent = 0; sent < len;) {
		HP_TRY(wait_for(peer, fd, POLLOUT, deadline_ns, err));
		ssize_t now = send(fd, line + sent, (size_t)(len - sent), MSG_NOSIGNAL);
		if (now < 0 && errno != EAGAIN && errno != EINTR)
			return hp_fail_errno(err, HSMPOOL_ERR_DOWN, errno,
					     "process %s does not listen", peer->name);
		sent += now > 0 ? (int)now : 0;
	}
	return HSMPOOL_OK;
}

/* Everything until the other side closes. */
static hsmpool_status receive(const struct peer *peer, int fd, int64_t deadline_ns,
			      struct peer_reply *reply, hsmpool_error *err)
{
	size_t room = 0;
	for (;;) {
		if (reply->len + 1 >= room) {
			room = room ? 2 * room : FIRST_ROOM;
			HP_CHECK(room <= LONGEST_REPLY, err, HSMPOOL_ERR_DATA,
				 "process %s: the answer is too long", peer->name);
			char *text = realloc(reply->text, room);
			HP_CHECK(text, err, HSMPOOL_ERR_SYSTEM, "no memory for a reply");
			reply->text = text;
		}
		HP_TRY(wait_for(peer, fd, POLLIN, deadline_ns, err));
		ssize_t now =
			recv(fd, reply->text + reply->len, room - reply->len - 1, 0);
		if (now < 0 && errno != EAGAIN && errno != EINTR)
			return hp_fail_errno(err, HSMPOOL_ERR_DOWN, errno,
					     "process %s broke off", peer->name);
		reply->len += now > 0 ? (size_t)now : 0;
		reply->text[reply->len] = '\0';
		if (now == 0)
			return HSMPOOL_OK;
	}
}

/* The status of an exit code, as a reply carries it. */
static hsmpool_status status_of_exit(long exit_code)
{
#define FIND(name, value, code, text) \
	if (exit_code == (code))      \
		return HSMPOOL_##name;
	HSMPOOL_STATUS_MAP(FIND)
#undef FIND
	return HSMPOOL_ERR_DATA;
}

/* The first line, "ok" or "error CODE TEXT", goes; what it says is the status. */
static hsmpool_status judge(const struct peer *peer, struct peer_reply *reply,
			    hsmpool_error *err)
{
	char *end = strchr(reply->text, '\n');
	HP_CHECK(end, err, HSMPOOL_ERR_DATA, "process %s broke off its answer",
		 peer->name);
	*end = '\0';
	if (strcmp(reply->text, "ok") == 0) {
		reply->len -= (size_t)(end + 1 - reply->text);
		memmove(reply->text, end + 1, reply->len + 1);
		return HSMPOOL_OK;
	}
	char *text;
	HP_CHECK(strncmp(reply->text, "error ", 6) == 0, err, HSMPOOL_ERR_DATA,
		 "process %s answered what is no reply", peer->name);
	hsmpool_status status = status_of_exit(strtol(reply->text + 6, &text, 10));
	if (status == HSMPOOL_OK)
		status = HSMPOOL_ERR_DATA;
	return hp_fail(err, status, "process %s: %s", peer->name,
		       text + strspn(text, " "));
}

hsmpool_status peer_ask(const struct peer *peer, const char *request, int64_t deadline_ns,
			struct peer_reply *reply, hsmpool_error *err)
{
	*reply = (struct peer_reply){ 0 };
	HP_AUTO_FD int fd = -1;
	HP_TRY(connect_to(peer, deadline_ns, &fd, err));
	hsmpool_status status = send_request(peer, fd, request, deadline_ns, err);
	if (status == HSMPOOL_OK)
		status = receive(peer, fd, deadline_ns, reply, err);
	if (status == HSMPOOL_OK)
		status = judge(peer, reply, err);
	if (status != HSMPOOL_OK) {
		free(reply->text);
		*reply = (struct peer_reply){ 0 };
	}
	return status;
}
