/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speaking with control sockets, with many at once: see peers.h.
 *
 * Owns: the conversations, all of them in one loop around poll(), and that a stale socket
 * is removed. Must not: print anything, or know what a reply means.
 */
#include "peers.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "control/place.h"

#define MOST_AT_ONCE    256u /* conversations: each has a descriptor */
#define LONGEST_REQUEST 600u
#define LONGEST_REPLY   (64u * 1024 * 1024)
#define FIRST_ROOM      16384u
#define RETRY_NS        (10 * HP_MS) /* where too many were asking */

enum talk_state {
	TALK_CONNECTING, /* its turn has not come, or too many were asking */
	TALK_ASKING,     /* the request has not gone whole yet */
	TALK_LISTENING,  /* the reply has not come whole yet */
	TALK_OVER,       /* answer says what came of it */
};

struct talk {
	enum talk_state state;
	const struct peer *peer;
	struct peer_answer *answer;
	int fd;
	size_t sent;
	size_t room; /* of the reply's text */
};

/* One peers_ask(). */
struct round {
	char request[LONGEST_REQUEST];
	size_t request_len;
	struct talk *talks;
	struct pollfd *polls; /* of each talk; fd -1 where there is nothing to wait for */
	size_t count;
};

/* --- how a conversation ends ---------------------------------------------------------
 */

/* err of the answer says why, unless the status is OK. */
static void end(struct talk *talk, hsmpool_status status)
{
	hp_close_fd(&talk->fd);
	talk->fd = -1;
	talk->state = TALK_OVER;
	talk->answer->status = status;
	if (status == HSMPOOL_OK)
		return;
	free(talk->answer->reply.text);
	talk->answer->reply = (struct peer_reply){ 0 };
}

static void end_gone(struct talk *talk)
{
	talk->answer->is_gone = true;
	end(talk, hp_fail(&talk->answer->err, HSMPOOL_ERR_DOWN, "process %s is gone",
			  talk->peer->name));
}

static void end_in_error(struct talk *talk, int reason, const char *what)
{
	end(talk, hp_fail_errno(&talk->answer->err, HSMPOOL_ERR_DOWN, reason,
				"process %s %s", talk->peer->name, what));
}

static void end_in_nonsense(struct talk *talk, const char *what)
{
	end(talk, hp_fail(&talk->answer->err, HSMPOOL_ERR_DATA, "process %s %s",
			  talk->peer->name, what));
}

/* It broke off. One that ended meanwhile, or is about to, has taken its socket away. */
static void end_broken_off(struct talk *talk, int reason)
{
	if (!peer_is_there(talk->peer))
		end_gone(talk);
	else if (reason)
		end_in_error(talk, reason, "broke off");
	else
		end_in_nonsense(talk, "broke off its answer");
}

static void end_late(struct talk *talk)
{
	end(talk, hp_fail(&talk->answer->err, HSMPOOL_ERR_TIMEOUT,
			  talk->state == TALK_CONNECTING
				  ? "process %s: too many others are asking it"
				  : "process %s did not answer in time",
			  talk->peer->name));
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

/* "error CODE TEXT", the end of the line gone. */
static void end_refused(struct talk *talk, const char *line)
{
	char *text;
	if (strncmp(line, "error ", 6) != 0) {
		end_in_nonsense(talk, "answered what is no reply");
		return;
	}
	hsmpool_status status = status_of_exit(strtol(line + 6, &text, 10));
	if (status == HSMPOOL_OK)
		status = HSMPOOL_ERR_DATA;
	end(talk, hp_fail(&talk->answer->err, status, "process %s: %s", talk->peer->name,
			  text + strspn(text, " ")));
}

/* The first line goes; what it says is the status. */
static void judge(struct talk *talk)
{
	struct peer_reply *reply = &talk->answer->reply;
	char *end_of_line = reply->text ? strchr(reply->text, '\n') : NULL;
	if (!end_of_line) {
		end_broken_off(talk, 0);
		return;
	}
	*end_of_line = '\0';
	if (strcmp(reply->text, "ok") != 0) {
		end_refused(talk, reply->text);
		return;
	}
	reply->len -= (size_t)(end_of_line + 1 - reply->text);
	memmove(reply->text, end_of_line + 1, reply->len + 1);
	end(talk, HSMPOOL_OK);
}

/* --- one conversation ----------------------------------------------------------------
 */

static void connect_to(struct talk *talk)
{
	const struct peer *peer = talk->peer;
	char name[64];
	HP_AUTO_FD int dir = hp_control_open_dir(peer->dir, peer->uid, false);
	hp_control_make_name(name, sizeof(name), peer->pid, peer->copy);
	if (dir >= 0)
		talk->fd = hp_control_connect(dir, name, peer->uid);
	if (talk->fd >= 0) {
		talk->state = TALK_ASKING;
	} else if (dir >= 0 && errno == ECONNREFUSED) {
		hp_control_remove_stale(dir, name);
		end_gone(talk);
	} else if (errno == ENOENT) {
		end_gone(talk);
	} else if (errno != EAGAIN) {
		end_in_error(talk, errno, "has a socket that cannot be used");
	}
}

static void ask(struct talk *talk, const struct round *round)
{
	ssize_t sent = send(talk->fd, round->request + talk->sent,
			    round->request_len - talk->sent, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		end_broken_off(talk, errno);
		return;
	}
	talk->sent += sent > 0 ? (size_t)sent : 0;
	if (talk->sent == round->request_len)
		talk->state = TALK_LISTENING;
}

/* For at least one byte more, and the NUL. */
static bool make_room(struct talk *talk)
{
	struct peer_reply *reply = &talk->answer->reply;
	if (reply->len + 1 < talk->room)
		return true;
	size_t room = talk->room ? 2 * talk->room : FIRST_ROOM;
	char *text = room <= LONGEST_REPLY ? realloc(reply->text, room) : NULL;
	if (!text)
		return false;
	reply->text = text;
	talk->room = room;
	return true;
}

static void listen_to(struct talk *talk)
{
	struct peer_reply *reply = &talk->answer->reply;
	if (!make_room(talk)) {
		end_in_nonsense(talk, "gave an answer that is too long");
		return;
	}
	ssize_t got =
		recv(talk->fd, reply->text + reply->len, talk->room - reply->len - 1, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	reply->len += got > 0 ? (size_t)got : 0;
	reply->text[reply->len] = '\0';
	if (got == 0)
		judge(talk);
	else if (got < 0)
		end_broken_off(talk, errno);
}

/* --- all of them ---------------------------------------------------------------------
 */

static bool is_connected(const struct talk *talk)
{
	return talk->state == TALK_ASKING || talk->state == TALK_LISTENING;
}

/* Begin those whose turn it is. How many have not begun. */
static size_t begin(struct round *round)
{
	size_t open = 0, waiting = 0;
	for (size_t i = 0; i < round->count; i++)
		open += is_connected(&round->talks[i]);
	for (size_t i = 0; i < round->count; i++) {
		struct talk *talk = &round->talks[i];
		if (talk->state == TALK_CONNECTING && open < MOST_AT_ONCE) {
			connect_to(talk);
			open += is_connected(talk);
		}
		waiting += talk->state == TALK_CONNECTING;
	}
	return waiting;
}

/* How many are waited for. */
static size_t prepare(struct round *round)
{
	size_t open = 0;
	for (size_t i = 0; i < round->count; i++) {
		const struct talk *talk = &round->talks[i];
		bool is_asking = talk->state == TALK_ASKING;
		round->polls[i] = (struct pollfd){
			.fd = talk->fd,
			.events = is_asking ? POLLOUT : POLLIN,
		};
		open += is_connected(talk);
	}
	return open;
}

static void go_on(struct round *round)
{
	for (size_t i = 0; i < round->count; i++) {
		struct talk *talk = &round->talks[i];
		if (round->polls[i].fd < 0 || round->polls[i].revents == 0)
			continue;
		if (talk->state == TALK_ASKING)
			ask(talk, round);
		else
			listen_to(talk);
	}
}

static void converse(struct round *round, int64_t deadline_ns)
{
	for (;;) {
		size_t waiting = begin(round);
		size_t open = prepare(round);
		int64_t left = deadline_ns - hp_now_ns();
		if (open + waiting == 0 || left <= 0)
			break;
		if (waiting > 0 && left > RETRY_NS)
			left = RETRY_NS;
		const struct timespec span = { .tv_sec = (time_t)(left / HP_SECOND),
					       .tv_nsec = (long)(left % HP_SECOND) };
		if (ppoll(round->polls, round->count, &span, NULL) > 0)
			go_on(round);
	}
	for (size_t i = 0; i < round->count; i++)
		if (round->talks[i].state != TALK_OVER)
			end_late(&round->talks[i]);
}

static hsmpool_status prepare_round(struct round *round, const struct peer *peers,
				    const char *request, struct peer_answer *answers,
				    hsmpool_error *err)
{
	int len = snprintf(round->request, sizeof(round->request), "%s\n", request);
	HP_CHECK(len > 0 && (size_t)len < sizeof(round->request), err, HSMPOOL_ERR_USAGE,
		 "the request is too long");
	round->request_len = (size_t)len;
	round->talks = calloc(round->count + 1, sizeof(*round->talks));
	round->polls = calloc(round->count + 1, sizeof(*round->polls));
	HP_CHECK(round->talks && round->polls, err, HSMPOOL_ERR_SYSTEM,
		 "no memory to ask the processes");
	for (size_t i = 0; i < round->count; i++)
		round->talks[i] = (struct talk){
			.peer = &peers[i],
			.answer = &answers[i],
			.fd = -1,
		};
	return HSMPOOL_OK;
}

static hsmpool_status ask_all(const struct peer *peers, size_t count, const char *request,
			      int64_t deadline_ns, struct peer_answer *answers,
			      hsmpool_error *err)
{
	struct round round = { .count = count };
	hsmpool_status status = prepare_round(&round, peers, request, answers, err);
	if (status == HSMPOOL_OK)
		converse(&round, deadline_ns);
	free(round.talks);
	free(round.polls);
	return status;
}

/* --- the two ways in -----------------------------------------------------------------
 */

hsmpool_status peer_ask(const struct peer *peer, const char *request, int64_t deadline_ns,
			struct peer_reply *reply, hsmpool_error *err)
{
	struct peer_answer answer = { 0 };
	*reply = (struct peer_reply){ 0 };
	HP_TRY(ask_all(peer, 1, request, deadline_ns, &answer, err));
	*reply = answer.reply;
	if (err)
		*err = answer.err;
	return answer.status;
}

hsmpool_status peers_ask(const struct peers *peers, const char *request,
			 int64_t deadline_ns, struct peer_answer **answers,
			 hsmpool_error *err)
{
	*answers = calloc(peers->count + 1, sizeof(**answers));
	HP_CHECK(*answers, err, HSMPOOL_ERR_SYSTEM, "no memory to ask the processes");
	hsmpool_status status =
		ask_all(peers->list, peers->count, request, deadline_ns, *answers, err);
	if (status != HSMPOOL_OK)
		peer_answers_free(answers, 0);
	return status;
}

void peer_answers_free(struct peer_answer **answers, size_t count)
{
	for (size_t i = 0; *answers && i < count; i++)
		free((*answers)[i].reply.text);
	free(*answers);
	*answers = NULL;
}
