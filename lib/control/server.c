/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See server.h.
 *
 * Owns: the sockets and their deadlines. Must not: know what a request means, nor touch a
 * descriptor that is not ours any more. Where the program closed ours, new ones are made.
 */
#include "control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "control/descriptor.h"
#include "control/place.h"
#include "observe/log.h"
#include "pool/keeper.h"

#define MOST_PEERS    8
#define MOST_STALE    256 /* files looked at in the hope of removing some */
#define LONGEST_LINE  512 /* of a request, its end included */
#define PEER_PATIENCE (3 * HP_SECOND)
#define RETRY_PAUSE   (30 * HP_SECOND)
#define DEAF_PAUSE    (100 * HP_MS)
#define DEFAULT_DELAY HP_SECOND
#define TEMPORARY     ".new" /* the end of its name before it listens */
#define LONG_ENOUGH   60     /* seconds, for that */

/* What a peer is about. */
enum peer_state {
	PEER_NONE,   /* the place is free */
	PEER_ASKING, /* its line has not come whole yet */
	PEER_TAKING, /* its reply has not gone whole yet */
};

struct peer {
	enum peer_state state;
	struct hp_descriptor socket;
	int64_t deadline_ns;
	char line[LONGEST_LINE];
	size_t line_len;
	struct hp_reply reply;
	size_t sent;
};

/* The keeper's thread's, but for dir and answer, which are set before it serves; in
 * is_ready(), wake() and leave() it has the keeper's lock too. */
static struct {
	char dir[PATH_MAX];
	_Atomic(hp_control_answer) answer; /* NULL: not begun; set after dir */
	struct hp_descriptor alarm[2];     /* a pair: what is written to [1] wakes [0] */
	struct hp_descriptor listener;
	char name[32]; /* of the socket in dir, once it is made */
	dev_t device;  /* of that file: it may be another's by now */
	ino_t inode;
	int64_t due_ns;  /* when to make it; 0: nobody asked for it yet */
	int64_t deaf_ns; /* until when nobody is let in */
	bool is_failure_told;
	struct peer peers[MOST_PEERS];
} server = { .alarm = { { .fd = -1 }, { .fd = -1 } }, .listener = { .fd = -1 } };

static _Atomic bool is_claimed;
static _Atomic int64_t delay_ns = DEFAULT_DELAY;
static _Atomic int64_t patience_ns = PEER_PATIENCE;

/* --- peers -------------------------------------------------------------------------- */

static void drop(struct peer *peer)
{
	hp_descriptor_close(&peer->socket);
	free(peer->reply.text);
	*peer = (struct peer){ .state = PEER_NONE, .socket = HP_NO_DESCRIPTOR };
}

static bool may_ask(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
	       (who.uid == 0 || who.uid == geteuid());
}

static struct peer *find_place(void)
{
	for (size_t i = 0; i < MOST_PEERS; i++)
		if (server.peers[i].state == PEER_NONE)
			return &server.peers[i];
	return NULL;
}

static void admit(int64_t now)
{
	struct peer *peer;
	while ((peer = find_place())) {
		struct hp_descriptor socket;
		int fd = accept4(server.listener.fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* Who knocked stays there if the program has no number left. */
			server.deaf_ns = errno == EAGAIN ? 0 : now + DEAF_PAUSE;
			return;
		}
		if (!hp_descriptor_take(&socket, fd))
			continue;
		if (!may_ask(socket.fd)) {
			hp_descriptor_close(&socket);
			continue;
		}
		*peer = (struct peer){
			.state = PEER_ASKING,
			.socket = socket,
			.deadline_ns = now + atomic_load(&patience_ns),
		};
	}
}

/* As much of the reply as goes. */
static void give(struct peer *peer)
{
	while (peer->sent < peer->reply.len) {
		ssize_t now =
			send(peer->socket.fd, peer->reply.text + peer->sent,
			     peer->reply.len - peer->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (now < 0 && errno == EAGAIN)
			return;
		if (now <= 0)
			break;
		peer->sent += (size_t)now;
	}
	drop(peer);
}

static void answer_peer(struct peer *peer)
{
	peer->line[strcspn(peer->line, "\r\n")] = '\0';
	hp_control_answer reply_to = atomic_load(&server.answer);
	reply_to(peer->line, &peer->reply);
	if (peer->reply.has_failed) {
		hp_reply_clear(&peer->reply);
		hp_reply_add(&peer->reply, "error %d no memory for the answer\n",
			     hsmpool_status_exit_code(HSMPOOL_ERR_SYSTEM));
	}
	peer->state = PEER_TAKING;
	peer->deadline_ns = hp_now_ns() + atomic_load(&patience_ns);
	give(peer);
}

static void refuse_line(struct peer *peer)
{
	hp_reply_add(&peer->reply, "error %d a request is one line of at most %d bytes\n",
		     hsmpool_status_exit_code(HSMPOOL_ERR_USAGE), LONGEST_LINE - 1);
	peer->state = PEER_TAKING;
	give(peer);
}

static void hear(struct peer *peer)
{
	size_t room = sizeof(peer->line) - 1 - peer->line_len;
	ssize_t now =
		recv(peer->socket.fd, peer->line + peer->line_len, room, MSG_DONTWAIT);
	if (now < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (now <= 0) {
		drop(peer);
		return;
	}
	const char *new = peer->line + peer->line_len;
	peer->line_len += (size_t)now;
	peer->line[peer->line_len] = '\0';
	if (memchr(new, '\0', (size_t)now))
		refuse_line(peer);
	else if (strchr(new, '\n'))
		answer_peer(peer);
	else if (peer->line_len == sizeof(peer->line) - 1)
		refuse_line(peer);
}

static void attend(struct peer *peer)
{
	if (peer->state == PEER_ASKING)
		hear(peer);
	else if (peer->state == PEER_TAKING)
		give(peer);
}

/* --- the socket's file -------------------------------------------------------------- */

/* What a process left that was killed before its socket had its name. */
static bool is_forgotten(int dir, const char *name)
{
	struct stat file;
	size_t len = strlen(name);
	return name[0] == '.' && len > 4 && strcmp(name + len - 4, TEMPORARY) == 0 &&
	       fstatat(dir, name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	       time(NULL) - file.st_mtime > LONG_ENOUGH;
}

static void remove_stale_files(int dir)
{
	int copy = dup(dir);
	DIR *entries = copy >= 0 ? fdopendir(copy) : NULL;
	if (!entries) {
		hp_close_fd(&copy);
		return;
	}
	rewinddir(entries);
	const struct dirent *at;
	for (int looked = 0; looked < MOST_STALE && (at = readdir(entries));) {
		pid_t pid;
		unsigned number;
		if (!hp_control_parse_name(at->d_name, &pid, &number) &&
		    !is_forgotten(dir, at->d_name))
			continue;
		hp_control_remove_stale(dir, at->d_name);
		looked++;
	}
	closedir(entries);
}

/* It gets its name when it listens: who finds it finds it alive. The name of another copy
 * of this library in the process, or of a process with our number elsewhere, is left. */
static bool give_name(int dir, const char *temporary)
{
	for (unsigned copy = 1; copy <= HP_CONTROL_COPIES; copy++) {
		struct stat file;
		hp_control_make_name(server.name, sizeof(server.name), getpid(), copy);
		if (renameat2(dir, temporary, dir, server.name, RENAME_NOREPLACE) != 0 &&
		    errno == EEXIST)
			continue;
		if (fstatat(dir, server.name, &file, AT_SYMLINK_NOFOLLOW) != 0)
			return false;
		server.device = file.st_dev;
		server.inode = file.st_ino;
		return true;
	}
	return false;
}

static bool make_socket_in(int dir)
{
	char temporary[64];
	snprintf(temporary, sizeof(temporary), ".%ld-%p" TEMPORARY, (long)getpid(),
		 (void *)&server);
	unlinkat(dir, temporary, 0);
	if (!hp_descriptor_take(&server.listener, hp_control_listen(dir, temporary)))
		return false;
	if (give_name(dir, temporary))
		return true;
	int reason = errno;
	server.name[0] = '\0';
	unlinkat(dir, temporary, 0);
	hp_descriptor_close(&server.listener);
	errno = reason;
	return false;
}

static void make_socket(int64_t now)
{
	struct hp_descriptor dir;
	int fd = hp_control_open_dir(server.dir, geteuid(), true);
	int reason = errno;
	if (hp_descriptor_take(&dir, fd)) {
		remove_stale_files(dir.fd);
		bool is_made = make_socket_in(dir.fd);
		reason = errno;
		hp_descriptor_close(&dir);
		if (is_made) {
			HP_LOG(INFO, "control-opened", "control socket %s/%s", server.dir,
			       server.name);
			return;
		}
	}
	server.due_ns = now + RETRY_PAUSE;
	if (server.is_failure_told)
		return;
	server.is_failure_told = true;
	hsmpool_error err;
	hp_fail_errno(&err, HSMPOOL_ERR_SYSTEM, reason, "no control socket in %s",
		      server.dir);
	HP_LOG(INFO, "control-failed", "%s", err.text);
}

static void remove_file(void)
{
	struct stat file;
	if (!server.name[0])
		return;
	HP_AUTO_FD int dir = hp_control_open_dir(server.dir, geteuid(), false);
	if (dir >= 0 && fstatat(dir, server.name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	    file.st_dev == server.device && file.st_ino == server.inode)
		unlinkat(dir, server.name, 0);
	server.name[0] = '\0';
}

/* --- the keeper's guest --------------------------------------------------------------
 */

/* What the program closed is not ours any more. */
static void mend(int64_t now)
{
	for (size_t i = 0; i < MOST_PEERS; i++) {
		struct peer *peer = &server.peers[i];
		if (peer->state != PEER_NONE &&
		    (now >= peer->deadline_ns || !hp_descriptor_is_ours(&peer->socket)))
			drop(peer);
	}
	if (server.listener.fd >= 0 && !hp_descriptor_is_ours(&server.listener)) {
		server.listener = HP_NO_DESCRIPTOR;
		remove_file();
	}
	if (server.listener.fd < 0 && now >= server.due_ns)
		make_socket(now);
}

static int64_t next_time(int64_t until_ns)
{
	int64_t next = until_ns;
	if (server.listener.fd < 0 && server.due_ns < next)
		next = server.due_ns;
	if (server.deaf_ns > 0 && server.deaf_ns < next)
		next = server.deaf_ns;
	for (size_t i = 0; i < MOST_PEERS; i++)
		if (server.peers[i].state != PEER_NONE &&
		    server.peers[i].deadline_ns < next)
			next = server.peers[i].deadline_ns;
	return next;
}

/* What is waited for: the alarm, the listener while there is a place, the peers. */
#define MOST_POLLED (2 + MOST_PEERS)

static void list_polled(struct pollfd polled[static MOST_POLLED], int64_t now)
{
	if (now >= server.deaf_ns)
		server.deaf_ns = 0;
	bool is_open = server.deaf_ns == 0 && find_place();
	polled[0] = (struct pollfd){ server.alarm[0].fd, POLLIN, 0 };
	polled[1] = (struct pollfd){ is_open ? server.listener.fd : -1, POLLIN, 0 };
	for (size_t i = 0; i < MOST_PEERS; i++) {
		const struct peer *peer = &server.peers[i];
		polled[2 + i] = (struct pollfd){
			peer->state == PEER_NONE ? -1 : peer->socket.fd,
			peer->state == PEER_TAKING ? POLLOUT : POLLIN,
			0,
		};
	}
}

static void wait_for_any(struct pollfd polled[static MOST_POLLED], int64_t until_ns)
{
	int64_t left_ns = until_ns - hp_now_ns();
	struct timespec left = { 0, 0 };
	if (left_ns > 0)
		left = (struct timespec){ left_ns / HP_SECOND, left_ns % HP_SECOND };
	if (ppoll(polled, MOST_POLLED, &left, NULL) <= 0)
		for (size_t i = 0; i < MOST_POLLED; i++)
			polled[i].revents = 0;
}

/* The host may have closed and opened what it liked meanwhile. */
static void attend_all(const struct pollfd polled[static MOST_POLLED])
{
	for (size_t i = 0; i < MOST_PEERS; i++)
		if (polled[2 + i].revents &&
		    hp_descriptor_is_ours(&server.peers[i].socket))
			attend(&server.peers[i]);
	if (polled[1].revents && hp_descriptor_is_ours(&server.listener))
		admit(hp_now_ns());
}

static bool take_alarm(void)
{
	char bytes[16];
	bool was_rung = false;
	while (hp_descriptor_is_ours(&server.alarm[0]) &&
	       recv(server.alarm[0].fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		was_rung = true;
	return was_rung;
}

static void serve(int64_t until_ns)
{
	for (int64_t now; (now = hp_now_ns()) < until_ns;) {
		struct pollfd polled[MOST_POLLED];
		mend(now);
		list_polled(polled, now);
		wait_for_any(polled, next_time(until_ns));
		attend_all(polled);
		if (!hp_descriptor_is_ours(&server.alarm[0]) ||
		    (polled[0].revents && take_alarm()))
			return;
	}
}

static bool is_ready(void)
{
	if (!atomic_load(&server.answer))
		return false;
	if (server.due_ns == 0) {
		server.due_ns = hp_now_ns() + atomic_load(&delay_ns);
		return false;
	}
	if (server.listener.fd < 0 && hp_now_ns() < server.due_ns)
		return false;
	if (hp_descriptor_is_ours(&server.alarm[0]) &&
	    hp_descriptor_is_ours(&server.alarm[1]))
		return true;
	int pair[2];
	for (int end = 0; end < 2; end++)
		hp_descriptor_close(&server.alarm[end]);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	bool is_first_taken = hp_descriptor_take(&server.alarm[0], pair[0]);
	return hp_descriptor_take(&server.alarm[1], pair[1]) && is_first_taken;
}

/* To a file of the program's that got the number nothing is sent: it is no socket, or not
 * this one. */
static void wake(void)
{
	if (hp_descriptor_is_ours(&server.alarm[1]))
		send(server.alarm[1].fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void close_all(void)
{
	for (size_t i = 0; i < MOST_PEERS; i++)
		drop(&server.peers[i]);
	hp_descriptor_close(&server.listener);
	for (int end = 0; end < 2; end++)
		hp_descriptor_close(&server.alarm[end]);
	server.due_ns = server.deaf_ns = 0;
	server.is_failure_told = false;
}

static void leave(void)
{
	remove_file();
	close_all();
	atomic_store(&server.answer, NULL);
	atomic_store(&is_claimed, false);
}

/* The file is the parent's. What a peer was to be told is not freed: another thread of
 * the parent may have been about to. */
static void abandon(void)
{
	for (size_t i = 0; i < MOST_PEERS; i++)
		server.peers[i].reply = (struct hp_reply){ 0 };
	server.name[0] = '\0';
	close_all();
	atomic_store(&server.answer, NULL);
	atomic_store(&is_claimed, false);
}

static const struct hp_keeper_guest guest = {
	.is_ready = is_ready,
	.serve = serve,
	.wake = wake,
	.leave = leave,
	.abandon = abandon,
};

bool hp_control_claim(void)
{
	return !atomic_exchange(&is_claimed, true);
}

void hp_control_begin(const char *dir, hp_control_answer answer)
{
	snprintf(server.dir, sizeof(server.dir), "%s", dir);
	atomic_store(&server.answer, answer);
	hp_keeper_invite(&guest);
}

void hp_control_hurry(int64_t delay, int64_t patience)
{
	atomic_store(&delay_ns, delay);
	atomic_store(&patience_ns, patience);
}
