/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of this user (of all users, for root) that have hsmpool in them, as
 * their control sockets show them, and how one is asked.
 *
 * What comes back was written by another process, perhaps another user's: it is bounded
 * in size and time, but otherwise to be taken as text of a stranger.
 */
#ifndef CLI_PEERS_H
#define CLI_PEERS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <hsmpool/status.h>

struct peer {
	pid_t pid;
	unsigned copy; /* 1, or more where a process has several copies of the library */
	uid_t uid;
	char name[32];      /* "123", "123-2" */
	char dir[PATH_MAX]; /* where its socket is */
	dev_t device;       /* of that folder: it may be found by several paths */
	ino_t inode;
};

struct peers {
	struct peer *list; /* by pid and copy */
	size_t count;
};

/* Those that have a socket; whether they answer shows when they are asked. */
hsmpool_status peers_find(struct peers *peers, hsmpool_error *err);
void peers_free(struct peers *peers);

/* Does somebody listen there? If not, its socket is removed. */
bool peer_is_there(const struct peer *peer);

/* A reply; text is NUL-terminated too, and freed by the caller. */
struct peer_reply {
	char *text;
	size_t len;
};

/*
 * Send one request line (without its end) and take the whole reply, until deadline_ns.
 * "status" answers one JSON object, "metrics" OpenMetrics text.
 *
 * HSMPOOL_ERR_DOWN     it is gone (its socket is removed), or not ours to ask
 * HSMPOOL_ERR_TIMEOUT  it did not answer in time
 * HSMPOOL_ERR_DATA     what it answered is no reply, or too long
 * anything else        its own refusal: err has its text
 */
hsmpool_status peer_ask(const struct peer *peer, const char *request, int64_t deadline_ns,
			struct peer_reply *reply, hsmpool_error *err);

/* What came of asking one of several. */
struct peer_answer {
	hsmpool_status status; /* as peer_ask() says it */
	hsmpool_error err;
	struct peer_reply reply;
	bool is_gone; /* it ended: not worth a word, where nobody asked for just this one
		       */
};

/* Ask them all at once; one that hangs costs the others nothing but the wait. answers:
 * as many as there are peers, to be freed by peer_answers_free(). Not OK: nobody could
 * be asked. */
hsmpool_status peers_ask(const struct peers *peers, const char *request,
			 int64_t deadline_ns, struct peer_answer **answers,
			 hsmpool_error *err);
void peer_answers_free(struct peer_answer **answers, size_t count);

#endif
