/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See parent.h.
 *
 * Owns: the folder of a scenario, with the PIN, the mock's file of it, and the
 * configuration; the child's life; the verdict on what is found.
 */
#include "hygiene/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "hygiene/canary.h"
#include "hygiene/search.h"
#include "support/fixture.h"

#define PIN_NAME      "pin"
#define MOST_REPORTED 12

extern char **environ;

struct subject {
	char folder[256];
	pid_t pid;
	FILE *said;
	int go;
	struct needles needles;
	bool holds_pin; /* at this stop */
	bool is_quiet;
	const char *where;
	struct findings findings;
};

/* --- the ground -------------------------------------------------------------------- */

static void write_file(const char *folder, const char *name, const void *data, size_t len)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void write_pins(const char *folder)
{
	struct mock_pin pin = { .tries = 10, .left = 10 };
	canary_fill(PIN_NAME, (uint8_t *)pin.text, CANARY_LEN);
	write_file(folder, "pin", pin.text, CANARY_LEN);
	write_file(folder, "mock-pin", &pin, sizeof(pin));
}

static void write_configuration(const char *folder, const struct hygiene_ground *ground)
{
	char text[2000];
	int len = snprintf(text, sizeof(text),
			   "[pool]\nmodule = %s/test/mock/hsmpool-mock.so\n"
			   "token = pkcs11:token=mock\nstate-dir = %s/state\n%s%s\n%s\n",
			   getenv("HSMPOOL_TEST_BUILD"), folder,
			   ground->pin_source ? "pin-source = " : "",
			   ground->pin_source ? ground->pin_source : "",
			   ground->lines ? ground->lines : "");
	write_file(folder, "hsmpool.conf", text, (size_t)len);
}

static void set(const char *name, const char *before, const char *folder,
		const char *behind)
{
	char value[400];
	snprintf(value, sizeof(value), "%s%s%s", before, folder, behind);
	setenv(name, value, 1);
}

/* The child inherits it. */
static void set_environment(const char *folder)
{
	char seed[32];
	snprintf(seed, sizeof(seed), "%lld%d", (long long)time(NULL), getpid());
	setenv(CANARY_SEED, seed, 1);
	set(HYGIENE_FOLDER, "", folder, "");
	set("HSMPOOL_CONF", "", folder, "/hsmpool.conf");
	set("HSMPOOL_MOCK", "pin-file=", folder, "/mock-pin");
	unsetenv("MALLOC_PERTURB_"); /* it would wipe what is freed */
}

static void make_folder(struct subject *s, const struct hygiene_ground *ground)
{
	char state[300];
	snprintf(s->folder, sizeof(s->folder), "/tmp/hsmpool-hygiene-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(state, sizeof(state), "%s/state", s->folder);
	assert_int_equal(mkdir(state, 0700), 0);
	set_environment(s->folder);
	write_pins(s->folder);
	write_configuration(s->folder, ground);
}

static void remove_folder(const struct subject *s)
{
	const char *const argv[] = { "rm", "-rf", "--", s->folder, NULL };
	pid_t pid;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv,
			 environ) == 0)
		waitpid(pid, NULL, 0);
}

/* --- what is found ----------------------------------------------------------------- */

/* The token's own memory of its PIN: a file that the mock maps. */
static bool is_the_tokens(const struct mapping *mapping)
{
	return mapping->is_shared && strstr(mapping->name, "/mock-pin") != NULL;
}

static void print_around(const struct hit *hit)
{
	for (size_t i = 0; i < hit->around_len; i += 32) {
		char text[33], hex[65];
		size_t n = 0;
		for (; n < 32 && i + n < hit->around_len; n++) {
			uint8_t byte = hit->around[i + n];
			text[n] = byte > 32 && byte < 127 ? (char)byte : '.';
			snprintf(hex + 2 * n, 3, "%02x", byte);
		}
		text[n] = '\0';
		print_error("#   %012llx %-64s %s\n",
			    (unsigned long long)(hit->around_at + i), hex, text);
	}
}

static void on_hit(void *user, const struct hit *hit)
{
	struct subject *s = user;
	const struct mapping *m = hit->mapping;
	if (is_the_tokens(m))
		return;
	if (hit->needle->is_pin && s->holds_pin && m->is_locked && m->is_undumped) {
		s->findings.allowed++;
		return;
	}
	if (s->is_quiet || s->findings.leaked++ >= MOST_REPORTED) {
		s->findings.leaked += s->is_quiet;
		return;
	}
	print_error("# %s: %zu bytes of '%s' at %012llx, in %012llx-%012llx %s%s%s\n",
		    s->where, hit->len, hit->needle->name,
		    (unsigned long long)hit->address, (unsigned long long)m->from,
		    (unsigned long long)m->to, *m->name ? m->name : "(anonymous)",
		    m->is_locked ? ", locked" : "", m->is_undumped ? ", not dumped" : "");
	print_around(hit);
}

/* --- what the child says ----------------------------------------------------------- */

static void add_canary(struct subject *s, const char *name)
{
	struct needle needle = { .len = CANARY_LEN, .is_repeated = true };
	snprintf(needle.name, sizeof(needle.name), "%s", name);
	needle.is_pin = strcmp(name, PIN_NAME) == 0;
	canary_fill(name, needle.bytes, CANARY_LEN);
	needles_add(&s->needles, &needle);
}

static void add_secret(struct subject *s, const char *line)
{
	struct needle needle = { 0 };
	const char *hex = line;
	for (; *hex != ' '; hex += 2) {
		unsigned byte = 0;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_true(needle.len < sizeof(needle.bytes));
		needle.bytes[needle.len++] = (uint8_t)(byte ^ HYGIENE_DISGUISE);
	}
	snprintf(needle.name, sizeof(needle.name), "%s", hex + 1);
	needles_add(&s->needles, &needle);
}

static void search_stopped(struct subject *s, const char *line)
{
	s->holds_pin = strncmp(line, "held ", 5) == 0;
	s->where = strchr(line, ' ') + 1;
	s->findings.stops++;
	if (!search_process(s->pid, &s->needles, on_hit, s))
		fail_msg("the memory of a child cannot be read: %s", strerror(errno));
}

/* True: it stopped. False: it has ended. */
static bool listen(struct subject *s, char *line, size_t cap)
{
	while (fgets(line, (int)cap, s->said)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "canary ", 7) == 0)
			add_canary(s, line + 7);
		else if (strncmp(line, "secret ", 7) == 0)
			add_secret(s, line + 7);
		else if (strncmp(line, "died ", 5) == 0)
			fail_msg("%s", line + 5);
		else if (strncmp(line, "stop ", 5) == 0)
			return true;
	}
	return false;
}

/* --- its life ---------------------------------------------------------------------- */

static void start(struct subject *s, const char *scenario)
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
	posix_spawn_file_actions_addchdir_np(&files, s->folder);
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	assert_true(len > 0);
	exe[len] = '\0';
	assert_int_equal(posix_spawn(&s->pid, exe, &files, NULL,
				     (char *const *)(uintptr_t)argv, environ),
			 0);
	posix_spawn_file_actions_destroy(&files);
	close(said[1]);
	close(go[0]);
	s->said = fdopen(said[0], "r");
	s->go = go[1];
}

/* Where the system writes a core file of ours, beside the configuration. */
static bool finds_core(const struct subject *s, char *path, size_t cap)
{
	snprintf(path, cap, "%s/core", s->folder);
	if (access(path, R_OK) == 0)
		return true;
	snprintf(path, cap, "%s/core.%d", s->folder, s->pid);
	return access(path, R_OK) == 0;
}

static void dump_core(struct subject *s)
{
	const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
	char path[400];
	prlimit(s->pid, RLIMIT_CORE, &any, NULL);
	kill(s->pid, SIGABRT);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
	s->where = "core dump";
	s->holds_pin = false;
	if (!finds_core(s, path, sizeof(path)))
		return;
	s->findings.has_core = true;
	assert_true(search_file(path, &s->needles, on_hit, s));
}

static void end(struct subject *s)
{
	int status = 0;
	close(s->go);
	fclose(s->said);
	if (s->pid > 0) {
		waitpid(s->pid, &status, 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	remove_folder(s);
}

struct findings hygiene_run(const char *scenario, const struct hygiene_ground *ground)
{
	static struct subject s;
	char line[600];
	s = (struct subject){ .is_quiet = ground->is_quiet };
	make_folder(&s, ground);
	start(&s, scenario);
	add_canary(&s, PIN_NAME);
	while (listen(&s, line, sizeof(line))) {
		search_stopped(&s, line + 5);
		if (strcmp(s.where, "core") == 0) {
			dump_core(&s);
			break;
		}
		assert_int_equal(write(s.go, "g", 1), 1);
	}
	end(&s);
	return s.findings;
}

void hygiene_check(const char *scenario, const struct hygiene_ground *ground)
{
	struct findings found = hygiene_run(scenario, ground);
	assert_true(found.stops > 0);
	assert_int_equal(found.leaked, 0);
}
