/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See parent.h.
 *
 * Owns: the child's life, and the two pipes to it.
 */
#include "hygiene/parent.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/fixture.h"

extern char **environ;

struct child {
	struct subject subject;
	pid_t pid;
	FILE *said;
	int go;
};

/* --- what the child says -------------------------------------------------------- */

/* "a5a5... NAME", the bytes in disguise. */
static void learn_secret(struct subject *s, const char *hex)
{
	uint8_t secret[HYGIENE_LONGEST];
	size_t len = 0;
	for (; *hex != ' '; hex += 2) {
		unsigned byte = 0;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_true(len < sizeof(secret));
		secret[len++] = (uint8_t)(byte ^ HYGIENE_DISGUISE);
	}
	subject_add_secret(s, hex + 1, secret, len);
}

/* True: it stopped. False: it has ended. */
static bool listen(struct child *c, char *line, size_t cap)
{
	while (fgets(line, (int)cap, c->said)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "canary ", 7) == 0)
			subject_add_canary(&c->subject, line + 7);
		else if (strncmp(line, "secret ", 7) == 0)
			learn_secret(&c->subject, line + 7);
		else if (strncmp(line, "died ", 5) == 0)
			fail_msg("%s", line + 5);
		else if (strncmp(line, "stop ", 5) == 0)
			return true;
	}
	return false;
}

/* --- its life ---------------------------------------------------------------------- */

static void start(struct child *c, const char *scenario)
{
	char exe[400];
	const char *const argv[] = { exe, scenario, NULL };
	posix_spawn_file_actions_t files;
	int said[2], go[2];
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&files);
	/* through high numbers: one of the ends may be 3 or 4 itself */
	posix_spawn_file_actions_adddup2(&files, said[1], 100);
	posix_spawn_file_actions_adddup2(&files, go[0], 101);
	posix_spawn_file_actions_adddup2(&files, 100, HYGIENE_FD_SAY);
	posix_spawn_file_actions_adddup2(&files, 101, HYGIENE_FD_GO);
	posix_spawn_file_actions_addchdir_np(&files, c->subject.folder);
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	assert_true(len > 0);
	exe[len] = '\0';
	assert_int_equal(posix_spawn(&c->pid, exe, &files, NULL,
				     (char *const *)(uintptr_t)argv, environ),
			 0);
	posix_spawn_file_actions_destroy(&files);
	close(said[1]);
	close(go[0]);
	c->said = fdopen(said[0], "r");
	c->go = go[1];
}

/* Where the system writes the child's core file, if it does: in its working directory. */
static bool find_core(const struct child *c, char *path, size_t cap)
{
	snprintf(path, cap, "%s/core", c->subject.folder);
	if (access(path, R_OK) == 0)
		return true;
	snprintf(path, cap, "%s/core.%d", c->subject.folder, c->pid);
	return access(path, R_OK) == 0;
}

static void dump_core(struct child *c)
{
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	char path[400];
	prlimit(c->pid, RLIMIT_CORE, &any, NULL);
	kill(c->pid, SIGABRT);
	waitpid(c->pid, NULL, 0);
	if (find_core(c, path, sizeof(path)))
		subject_search_core(&c->subject, path);
	c->pid = 0;
}

static void end(struct child *c)
{
	int status = 0;
	close(c->go);
	fclose(c->said);
	if (c->pid > 0) {
		waitpid(c->pid, &status, 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

/* "HOW WHERE" */
static enum subject_state state_of(const char *how)
{
	return strncmp(how, "busy ", 5) == 0   ? SUBJECT_IS_BUSY
	       : strncmp(how, "held ", 5) == 0 ? SUBJECT_HOLDS_PIN
					       : SUBJECT_CLEAN;
}

static void run_child(struct child *c, const char *scenario)
{
	char line[600];
	start(c, scenario);
	while (listen(c, line, sizeof(line))) {
		const char *how = line + strlen("stop ");
		if (strncmp(how, "core ", 5) == 0) {
			dump_core(c);
			break;
		}
		subject_search(&c->subject, c->pid, strchr(how, ' ') + 1, state_of(how));
		assert_int_equal(write(c->go, "g", 1), 1);
	}
	end(c);
}

struct findings hygiene_run_and_read(const char *scenario,
				     const struct hygiene_ground *ground,
				     const char *part)
{
	static struct child c;
	c = (struct child){ 0 };
	subject_begin(&c.subject, ground);
	run_child(&c, scenario);
	if (part)
		assert_true(subject_search_files(&c.subject, part) > 0);
	subject_end(&c.subject);
	return c.subject.findings;
}

struct findings hygiene_run(const char *scenario, const struct hygiene_ground *ground)
{
	return hygiene_run_and_read(scenario, ground, NULL);
}

void hygiene_check(const char *scenario, const struct hygiene_ground *ground)
{
	struct findings found = hygiene_run(scenario, ground);
	assert_true(found.stops > 0);
	assert_int_equal(found.leaked, 0);
}
