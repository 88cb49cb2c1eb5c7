/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See child.h.
 *
 * Owns: the arena, and the two pipes to whoever searches: lines out, a byte in for each
 * stop. No lock: one thread of a scenario uses it.
 */
#include "hygiene/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/secret.h"
#include "hygiene/canary.h"
#include "hygiene/parent.h"

#define ARENA ((size_t)8 << 20)

static struct {
	uint8_t *pages;
	size_t used;
} arena;

static void say(const char *line)
{
	size_t len = strlen(line);
	if (write(HYGIENE_FD_SAY, line, len) != (ssize_t)len)
		_exit(3);
}

void child_die(const char *what, const char *why)
{
	char line[600];
	snprintf(line, sizeof(line), "died %s: %s\n", what, why);
	say(line);
	_exit(2);
}

hsmpool_error *child_error(void)
{
	static hsmpool_error error;
	error = (hsmpool_error){ 0 };
	return &error;
}

const char *child_folder(void)
{
	return getenv(HYGIENE_FOLDER);
}

const char *child_path(const char *name)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/%s", child_folder(), name);
	return path;
}

uint8_t *child_room(size_t len)
{
	size_t padded = (len + 63) & ~(size_t)63;
	if (!arena.pages)
		arena.pages = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena.pages == MAP_FAILED || padded > ARENA - arena.used)
		child_die("the arena", "is too small");
	uint8_t *room = arena.pages + arena.used;
	arena.used += padded;
	return room;
}

uint8_t *child_canary(const char *name, size_t len)
{
	char line[100];
	uint8_t *room = child_room(len);
	snprintf(line, sizeof(line), "canary %s\n", name);
	say(line);
	canary_fill(name, room, len);
	return room;
}

void child_tell(const char *name, const uint8_t *secret, size_t len)
{
	char line[300];
	int at = snprintf(line, sizeof(line), "secret ");
	for (size_t i = 0; i < len; i++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, "%02x",
			       secret[i] ^ HYGIENE_DISGUISE);
	snprintf(line + at, sizeof(line) - (size_t)at, " %s\n", name);
	say(line);
}

static void stop(const char *how, const char *where)
{
	char line[200];
	char go = 0;
	if (arena.pages)
		explicit_bzero(arena.pages, arena.used);
	hp_wipe_registers();
	arena.used = 0;
	snprintf(line, sizeof(line), "stop %s %s\n", how, where);
	say(line);
	if (read(HYGIENE_FD_GO, &go, 1) != 1)
		_exit(4);
}

void child_stop(const char *where, bool holds_pin)
{
	stop(holds_pin ? "held" : "clean", where);
}

void child_crash(const char *where)
{
	stop("busy", where);
	stop("core", where);
	child_die(where, "goes on after its end");
}

void child_main(const struct scenario *scenarios, size_t count, int argc, char **argv)
{
	if (argc != 2)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(scenarios[i].name, argv[1]) != 0)
			continue;
		scenarios[i].run();
		_exit(0);
	}
	child_die(argv[1], "is no scenario");
}
