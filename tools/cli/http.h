/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server: GET and HEAD of a few pages, bounded in everything.
 *
 * Threads of its own serve; they block all signals.
 */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H

#include <stddef.h>
#include <hsmpool/status.h>

/* What goes back. body is freed by the server; NULL and len 0: status 500. */
struct http_answer {
	const char *type; /* of the content; static */
	char *body;
	size_t len;
};

/* Called by several threads at once. accept: what the client asks for, NULL: not said. */
struct http_page {
	const char *path;
	void (*answer)(void *user, const char *accept, struct http_answer *answer);
};

struct http_server;

/* pages ends with a NULL path, and lives as long as the server. listen_fd stays the
 * caller's. */
hsmpool_status http_start(struct http_server **server, int listen_fd,
			  const struct http_page *pages, void *user, hsmpool_error *err);
/* Answers that are being made are waited for. */
void http_stop(struct http_server **server);

#endif
