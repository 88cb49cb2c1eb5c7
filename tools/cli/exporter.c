/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli exporter: the metrics of all processes over HTTP, for Prometheus.
 *
 * It runs beside the programs, so that no library opens a port inside its host. It opens
 * no pool, reads no configuration and touches no HSM: what it says comes out of the
 * processes' control sockets at each request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "cli.h"
#include "http.h"
#include "listener.h"
#include "notify.h"
#include "scrape.h"
#include "stop.h"

#define DEFAULT_LISTEN "127.0.0.1:9812"

enum { LISTEN = CLI_OWN };

static const struct cli_option options[] = {
	{ "listen", LISTEN, "WHERE",
	  "ADDRESS:PORT or unix:PATH (" DEFAULT_LISTEN ", this machine only)" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--listen ADDRESS:PORT | --listen unix:PATH]",
	.about = "Serve the metrics of all processes of this user that use hsmpool (for "
		 "root, of\nall users) at /metrics, until a signal comes.",
	.options = options,
};

/* --- pages ---------------------------------------------------------------------------
 */

static void set_body(struct http_answer *answer, const char *type, const char *text)
{
	answer->type = type;
	answer->body = strdup(text);
	answer->len = answer->body ? strlen(text) : 0;
}

static void answer_root(void *user, const char *accept, struct http_answer *answer)
{
	(void)user;
	(void)accept;
	set_body(answer, "text/html; charset=utf-8",
		 "<!DOCTYPE html>\n<html lang=\"en\"><title>hsmpool exporter</title>\n"
		 "<h1>hsmpool exporter</h1>\n"
		 "<p><a href=\"metrics\">Metrics</a></p>\n</html>\n");
}

static void answer_healthy(void *user, const char *accept, struct http_answer *answer)
{
	(void)user;
	(void)accept;
	set_body(answer, "text/plain; charset=utf-8", "healthy\n");
}

static void answer_metrics(void *user, const char *accept, struct http_answer *answer)
{
	hsmpool_metrics_format format = scrape_choose_format(accept);
	hsmpool_error err = { 0 };

	answer->type = scrape_content_type(format);
	if (scrape(format, &answer->body, &answer->len, &err) != HSMPOOL_OK)
		cli_message(user, "%s", err.text);
}

static const struct http_page pages[] = {
	{ "/", answer_root },
	{ "/metrics", answer_metrics },
	{ "/-/healthy", answer_healthy },
	{ NULL, NULL },
};

/* --- the verb ------------------------------------------------------------------------
 */

/* Whoever started us reads where we are, once we are there. */
static hsmpool_status announce(struct cli *cli, const struct listener *listener,
			       hsmpool_error *err)
{
	if (!listener->is_local)
		cli_message(cli,
			    "warning: %s is reached from other machines, and anyone who "
			    "reaches it reads the metrics",
			    listener->where);
	printf("%s%s\n", listener->where, *listener->path ? "" : "/metrics");
	HP_CHECK(fflush(stdout) == 0, err, HSMPOOL_ERR_SYSTEM,
		 "cannot write standard output");
	notify_service_manager("READY=1");
	return HSMPOOL_OK;
}

/* A signal is how it ends: not an error. */
static void wait_for_signal(void)
{
	hsmpool_error err;

	while (stop_sleep(HP_SECOND * 3600, &err) == HSMPOOL_OK)
		continue;
	notify_service_manager("STOPPING=1");
}

static hsmpool_status serve(struct cli *cli, const char *where, hsmpool_error *err)
{
	struct listener listener;
	struct http_server *server = NULL;
	hsmpool_status status;

	HP_TRY(listener_open(&listener, where, err));
	status = http_start(&server, listener.fd, pages, cli, err);
	if (status == HSMPOOL_OK)
		status = announce(cli, &listener, err);
	if (status == HSMPOOL_OK)
		wait_for_signal();
	http_stop(&server);
	listener_close(&listener);
	return status;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	const char **where = user;

	(void)err;
	if (id == LISTEN)
		*where = argument;
	return HSMPOOL_OK;
}

int verb_exporter(struct cli *cli, int argc, char **argv)
{
	const char *where = DEFAULT_LISTEN;
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &where, argc, argv, &err);

	if (status == HSMPOOL_OK)
		status = serve(cli, where, &err);
	return cli_finish(cli, status, &err);
}
