/* SPDX-License-Identifier: Apache-2.0 */
/* libmicrohttpd, held short: see http.h. */
#include "http.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <microhttpd.h>
#include "base/error.h"
#include "stop.h"

#define THREADS         4
#define MOST_CLIENTS    64
#define IDLE_SECONDS    30
#define CLIENT_MEMORY   ((size_t)16 << 10) /* of the request, mostly */
#define TYPE_TEXT_PLAIN "text/plain; charset=utf-8"

struct http_server {
	struct MHD_Daemon *daemon;
	const struct http_page *pages;
	void *user;
};

/* The same with every answer. It is never a page that a browser may build upon. */
static const char *const headers[][2] = {
	{ MHD_HTTP_HEADER_CACHE_CONTROL, "no-store" },
	{ MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT },
	{ "X-Content-Type-Options", "nosniff" },
	{ "Content-Security-Policy", "default-src 'none'" },
};

static enum MHD_Result send_answer(struct MHD_Connection *connection, unsigned status,
				   const struct http_answer *answer)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		answer->len, answer->body, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!response) {
		free(answer->body);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		MHD_add_response_header(response, headers[i][0], headers[i][1]);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_status(struct MHD_Connection *connection, unsigned status,
				   const char *text)
{
	struct http_answer answer = { .type = TYPE_TEXT_PLAIN, .body = strdup(text) };

	answer.len = answer.body ? strlen(answer.body) : 0;
	return send_answer(connection, status, &answer);
}

static enum MHD_Result send_page(struct MHD_Connection *connection,
				 const struct http_server *server,
				 const struct http_page *page)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_ACCEPT);
	struct http_answer answer = { .type = TYPE_TEXT_PLAIN };

	page->answer(server->user, accept, &answer);
	if (!answer.body)
		return send_status(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				   "internal error\n");
	return send_answer(connection, MHD_HTTP_OK, &answer);
}

/* Called at the head of a request, for each piece of its body, and at its end. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection,
				  const char *path, const char *method,
				  const char *version, const char *data, size_t *data_len,
				  void **state)
{
	const struct http_server *server = user;
	static char is_begun;

	(void)version;
	(void)data;
	if (!*state) {
		*state = &is_begun;
		return MHD_YES;
	}
	if (*data_len > 0) {
		*data_len = 0; /* nobody wants it */
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_status(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				   "GET and HEAD only\n");
	for (const struct http_page *page = server->pages; page->path; page++)
		if (strcmp(path, page->path) == 0)
			return send_page(connection, server, page);
	return send_status(connection, MHD_HTTP_NOT_FOUND, "there is no such page\n");
}

/* fd is the server's, and closed when it stops. The threads inherit the mask: signals
 * are the main thread's. */
static struct MHD_Daemon *start_daemon(struct http_server *server, int fd)
{
	struct MHD_Daemon *daemon;

	stop_hold();
	daemon = MHD_start_daemon(
		MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, on_request, server,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
		(unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CLIENTS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, CLIENT_MEMORY, MHD_OPTION_END);
	stop_release();
	return daemon;
}

hsmpool_status http_start(struct http_server **server, int listen_fd,
			  const struct http_page *pages, void *user, hsmpool_error *err)
{
	struct http_server *made = calloc(1, sizeof(*made));
	int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);

	*server = NULL;
	if (made && fd >= 0) {
		*made = (struct http_server){ .pages = pages, .user = user };
		made->daemon = start_daemon(made, fd);
	}
	if (!made || !made->daemon) {
		free(made);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM, "cannot start the HTTP server");
	}
	*server = made;
	return HSMPOOL_OK;
}

void http_stop(struct http_server **server)
{
	if (!*server)
		return;
	MHD_stop_daemon((*server)->daemon);
	free(*server);
	*server = NULL;
}
