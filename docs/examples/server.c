/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that signs under load: server KEY SOCKET THREADS REQUESTS
 *
 * THREADS threads answer on a unix socket: a request is a line of text, the answer its
 * ECDSA-SHA-256 signature in hex, or "error: ...". They share one pool and one key and
 * never talk to each other: with more threads than max-sessions the pool makes them
 * wait their turn. The server ends after REQUESTS answers, or when nothing has come
 * for ten seconds, and says what the pool did.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <hsmpool/hsmpool.h>

#define MAX_THREADS 256

struct server {
	hsmpool *pool;
	hsmpool_key *key;
	int listener;
	long requests; /* answer that many */
	_Atomic long answered;
};

static void answer(struct server *server, const char *line, char *out, size_t cap)
{
	uint8_t room[256];
	hsmpool_buf signature = { room, sizeof(room), 0 };
	hsmpool_bytes message = { (const uint8_t *)line, strcspn(line, "\n") };
	hsmpool_error err;

	if (hsmpool_sign(server->pool, server->key, "ecdsa-sha256", message, &signature,
			 hsmpool_deadline_in(2000), &err) != HSMPOOL_OK) {
		snprintf(out, cap, "error: %s\n", err.text);
		return;
	}
	for (size_t i = 0; i < signature.len; i++)
		snprintf(out + 2 * i, cap - 2 * i, "%02x", room[i]);
	snprintf(out + 2 * signature.len, cap - 2 * signature.len, "\n");
}

static void serve_connection(struct server *server, int connection)
{
	char line[4096], out[1024];
	FILE *in = fdopen(connection, "r");

	if (in == NULL) {
		close(connection);
		return;
	}
	while (fgets(line, sizeof(line), in) != NULL) {
		answer(server, line, out, sizeof(out));
		if (dprintf(connection, "%s", out) < 0)
			break;
		if (atomic_fetch_add(&server->answered, 1) + 1 == server->requests)
			shutdown(server->listener, SHUT_RDWR); /* ends every accept() */
	}
	fclose(in);
}

static void *serve(void *argument)
{
	struct server *server = argument;
	struct timeval patience = { .tv_sec = 10 };
	int connection;

	while ((connection = accept(server->listener, NULL, NULL)) >= 0) {
		setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience,
			   sizeof(patience));
		serve_connection(server, connection);
	}
	return NULL;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 10 };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, strlen(path));
	unlink(path);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 128) != 0) {
		close(listener);
		return -1;
	}
	return listener;
}

static void run(struct server *server, long threads)
{
	pthread_t thread[MAX_THREADS];
	long started = 0;

	while (started < threads &&
	       pthread_create(&thread[started], NULL, serve, server) == 0)
		started++;
	for (long i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
}

static void report(struct server *server)
{
	hsmpool_stats stats = { .size = sizeof(stats) };

	hsmpool_get_stats(server->pool, &stats);
	printf("answered %ld, sessions at most %u of %u, borrowed at once %llu, after a "
	       "wait %llu, timeouts %llu\n",
	       atomic_load(&server->answered), stats.peak, stats.limit,
	       (unsigned long long)stats.borrowed_direct,
	       (unsigned long long)stats.borrowed_waited,
	       (unsigned long long)stats.borrow_timeouts);
}

int main(int argc, char **argv)
{
	struct server server = { .listener = -1 };
	hsmpool_config *config = NULL;
	hsmpool_error err;
	long threads = argc == 5 ? strtol(argv[3], NULL, 10) : 0;

	if (threads < 1 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: server KEY SOCKET THREADS REQUESTS\n");
		return 64;
	}
	server.requests = strtol(argv[4], NULL, 10);
	signal(SIGPIPE, SIG_IGN); /* a client may leave before its answer */
	if (hsmpool_config_load(&config, NULL, &err) != HSMPOOL_OK ||
	    hsmpool_open(&server.pool, config, NULL, HSMPOOL_DEFAULT, &err) !=
		    HSMPOOL_OK ||
	    hsmpool_key_open(&server.key, server.pool, argv[1], HSMPOOL_DEFAULT, &err) !=
		    HSMPOOL_OK) {
		fprintf(stderr, "server: %s\n", err.text);
		hsmpool_close(&server.pool);
		hsmpool_config_close(&config);
		return hsmpool_status_exit_code(err.status);
	}
	hsmpool_config_close(&config); /* the pool has its own copy */

	server.listener = listen_on(argv[2]);
	if (server.listener < 0) {
		perror("server: socket");
	} else {
		run(&server, threads);
		close(server.listener);
		unlink(argv[2]);
		report(&server);
	}
	hsmpool_key_close(&server.key);
	hsmpool_close(&server.pool);
	return server.listener < 0 ? 71 : 0;
}
