/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: who is heard, what is answered, and that neither a peer nor the
 * program that it lives in can disturb it.
 */
#include "mock/pool_ground.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "control/place.h"
#include "control/server.h"
#include "support/sanitizers.h"

#define PATIENCE (300 * HP_MS)
#define MOST_FDS 64

static char place[512]; /* where the sockets are */

/* --- asking --------------------------------------------------------------------- */

static void open_pool(struct ground *g)
{
	ground_open(g, "idle-timeout", "40ms", NULL); /* a tick of 10 ms */
}

static int connect_to(pid_t pid)
{
	char name[64];
	HP_AUTO_FD int dir = hp_control_open_dir(place, geteuid(), false);

	hp_control_make_name(name, sizeof(name), pid, 1);
	int fd = dir < 0 ? -1 : hp_control_connect(dir, name, geteuid());
	if (fd >= 0)
		fcntl(fd, F_SETFL, 0); /* these peers may wait */
	return fd;
}

static bool has_socket(pid_t pid)
{
	HP_AUTO_FD int fd = connect_to(pid);

	return fd >= 0;
}

static int peer(void)
{
	int fd;

	eventually((fd = connect_to(getpid())) >= 0);
	return fd;
}

/* Everything that comes; what was there before an error too. */
static const char *hear(int fd)
{
	static char reply[1 << 16];
	size_t len = 0;
	ssize_t now;

	while ((now = recv(fd, reply + len, sizeof(reply) - 1 - len, 0)) > 0)
		len += (size_t)now;
	reply[len] = '\0';
	return reply;
}

static const char *ask_bytes(const char *bytes, size_t len)
{
	HP_AUTO_FD int fd = peer();

	send(fd, bytes, len, MSG_NOSIGNAL); /* where it fails nothing is heard either */
	return hear(fd);
}

static const char *ask(const char *line)
{
	return ask_bytes(line, strlen(line));
}

static void assert_begins(const char *text, const char *beginning)
{
	if (strncmp(text, beginning, strlen(beginning)) != 0)
		fail_msg("'%s' does not begin with '%s'", text, beginning);
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

/* --- processor time --------------------------------------------------------------- */

static int64_t processor_ns(void)
{
	return hp_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Nobody asks for anything meanwhile. A thread that spins takes all of it, unless others
 * have the processors. */
static void assert_rests(void)
{
	int64_t passed = hp_now_ns(), worked = processor_ns();

	for (int i = 0; i < 200; i++)
		ground_nap();
	worked = processor_ns() - worked;
	passed = hp_now_ns() - passed;
	if (2 * worked > passed)
		fail_msg("%ld of %ld ms at work", (long)(worked / HP_MS),
			 (long)(passed / HP_MS));
}

/* The places for peers are empty; something to read on descriptor 0 is none of theirs. */
static void a_socket_that_nobody_uses_takes_no_time(void **state)
{
	int saved = dup(STDIN_FILENO);
	HP_AUTO_FD int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(nothing >= 0 && dup2(nothing, STDIN_FILENO) == STDIN_FILENO);
	open_pool(*state);
	eventually(has_socket(getpid()));
	assert_rests();
	if (saved >= 0)
		dup2(saved, STDIN_FILENO);
	else
		close(STDIN_FILENO);
	close(saved);
}

static void a_peer_waits_at_rest_while_no_descriptor_is_left(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	enum { FULL = 32 }; /* poll() wants a limit above the number of what it polls */
	struct rlimit before, full;
	int fillers[FULL], count = 0;
	HP_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	HP_AUTO_FD int home = open(".", O_DIRECTORY | O_PATH | O_CLOEXEC);

	open_pool(*state);
	assert_begins(ask("status\n"), "ok\n"); /* whose descriptor is closed by now */
	snprintf(address.sun_path, sizeof(address.sun_path), "%ld.sock", (long)getpid());
	assert_int_equal(chdir(place), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	while (count < FULL && (fillers[count] = dup(home)) < FULL)
		count++;
	assert_in_range(count, 1, FULL - 1);
	close(fillers[count]);
	full = before;
	full.rlim_cur = FULL;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
	int was_heard = connect(fd, (struct sockaddr *)&address, sizeof(address));
	send(fd, "status\n", 7, MSG_NOSIGNAL);
	assert_rests();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (count > 0)
		close(fillers[--count]);
	assert_int_equal(fchdir(home), 0);
	assert_int_equal(was_heard, 0);
	assert_begins(hear(fd), "ok\n{");
}

/* --- the socket ------------------------------------------------------------------ */

static void the_socket_is_its_users_only(void **state)
{
	struct stat folder, file;
	char path[600];

	open_pool(*state);
	eventually(has_socket(getpid()));
	snprintf(path, sizeof(path), "%s/%ld.sock", place, (long)getpid());
	assert_int_equal(stat(place, &folder), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(folder.st_mode & 07777, 0700);
	assert_int_equal(file.st_mode & 07777, 0600);
}

static void the_socket_goes_with_the_last_pool(void **state)
{
	struct ground *g = *state;
	hsmpool *first, *second;
	char path[600];

	open_pool(g);
	first = g->pool;
	second = fixture_open(&g->fixture);
	eventually(has_socket(getpid()));
	hsmpool_close(&second);
	g->pool = first;
	assert_true(has_socket(getpid()));
	hsmpool_close(&g->pool);
	snprintf(path, sizeof(path), "%s/%ld.sock", place, (long)getpid());
	assert_int_equal(access(path, F_OK), -1);
}

static void a_pool_that_wants_none_has_none(void **state)
{
	struct ground *g = *state;

	ground_open(g, "control", "no", "revalidate-interval", "20ms", NULL);
	eventually(ground_stats(g).validated >= 5); /* the keeper looked often enough */
	assert_false(has_socket(getpid()));
}

static void a_folder_that_others_may_use_is_not_used(void **state)
{
	assert_int_equal(chmod(place, 0755), 0);
	open_pool(*state);
	eventually(ground_logged("control-failed", NULL, 0) > 0);
	assert_int_equal(chmod(place, 0700), 0);
}

static void what_dead_processes_left_is_removed(void **state)
{
	char path[600];
	HP_AUTO_FD int dir = hp_control_open_dir(place, geteuid(), true);
	int dead = hp_control_listen(dir, "1.sock");

	assert_true(dead >= 0);
	close(dead);
	snprintf(path, sizeof(path), "%s/1.sock", place);
	assert_int_equal(access(path, F_OK), 0);
	open_pool(*state);
	eventually(has_socket(getpid()));
	assert_int_equal(access(path, F_OK), -1);
}

static void a_second_copy_in_a_process_gets_a_name_of_its_own(void **state)
{
	char name[64];
	HP_AUTO_FD int dir = hp_control_open_dir(place, geteuid(), true);

	hp_control_make_name(name, sizeof(name), getpid(), 1);
	HP_AUTO_FD int first = hp_control_listen(dir, name);
	assert_true(first >= 0);
	open_pool(*state);
	hp_control_make_name(name, sizeof(name), getpid(), 2);
	eventually(faccessat(dir, name, F_OK, 0) == 0);
	hp_control_make_name(name, sizeof(name), getpid(), 1);
	assert_int_equal(unlinkat(dir, name, 0), 0);
}

/* --- who is heard ----------------------------------------------------------------- */

/* As a user whom the folder lets in: what does the process answer? In a child. */
static int ask_as_nobody(int dir, const char *name)
{
	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 2;
	int fd = hp_control_connect(dir, name, 0);
	if (fd < 0)
		return 3;
	fcntl(fd, F_SETFL, 0);
	send(fd, "status\n", 7, MSG_NOSIGNAL);
	return *hear(fd) ? 1 : 0;
}

static void another_user_is_not_heard(void **state)
{
	char name[64];
	int status;

	if (geteuid() != 0) /* only root can become somebody else */
		return;
	open_pool(*state);
	eventually(has_socket(getpid()));
	HP_AUTO_FD int dir = hp_control_open_dir(place, 0, false);
	hp_control_make_name(name, sizeof(name), getpid(), 1);
	assert_int_equal(fchmodat(dir, name, 0666, 0), 0);
	assert_int_equal(fchmod(dir, 0755), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(ask_as_nobody(dir, name));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(fchmod(dir, 0700), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void silent_peers_delay_nobody(void **state)
{
	int silent[5];

	open_pool(*state);
	for (size_t i = 0; i < HP_ARRAY_LEN(silent); i++)
		silent[i] = peer();
	send(silent[0], "sta", 3, MSG_NOSIGNAL);
	assert_begins(ask("status\n"), "ok\n{");
	for (size_t i = 0; i < HP_ARRAY_LEN(silent); i++)
		close(silent[i]);
}

static void silent_peers_are_left_and_those_behind_them_served(void **state)
{
	int silent[12];

	open_pool(*state);
	for (size_t i = 0; i < HP_ARRAY_LEN(silent); i++)
		silent[i] = peer();
	assert_begins(ask("status\n"), "ok\n{");
	assert_string_equal(hear(silent[0]), ""); /* and no wait for ever */
	for (size_t i = 0; i < HP_ARRAY_LEN(silent); i++)
		close(silent[i]);
}

static void a_peer_may_speak_slowly_or_leave(void **state)
{
	open_pool(*state);
	HP_AUTO_FD int slow = peer();
	close(peer());
	for (const char *at = "status\n"; *at; at++)
		assert_int_equal(send(slow, at, 1, MSG_NOSIGNAL), 1);
	assert_begins(hear(slow), "ok\n{");
}

/* --- what is answered -------------------------------------------------------------- */

static void the_state_of_process_and_pools_is_told(void **state)
{
	char pid[40];
	const char *reply;

	open_pool(*state);
	reply = ask("status\n");
	snprintf(pid, sizeof(pid), "\"pid\":%ld,", (long)getpid());
	assert_begins(reply, "ok\n{\"process\":{");
	assert_contains(reply, pid);
	assert_contains(reply, "\"face\":\"library\"");
	assert_contains(reply, "\"pools\":[{\"name\":\"default\"");
	assert_contains(reply,
			"\"login\":\"in\",\"breaker\":\"closed\",\"paused\":false");
	assert_contains(reply, "\"limit\":16");
}

static void the_figures_are_told_as_openmetrics_or_prometheus_text(void **state)
{
	const char *reply;

	open_pool(*state);
	reply = ask("metrics\n");
	assert_begins(reply, "ok\n# ");
	assert_contains(reply, "\nhsmpool_sessions_limit{");
	assert_contains(reply, "\nhsmpool_config_reload_total{result=\"failed\"} 0\n");
	assert_string_equal(reply + strlen(reply) - 6, "# EOF\n");
	assert_contains(ask("metrics openmetrics\n"), "# TYPE hsmpool_build info\n");
	assert_contains(ask("metrics prometheus\n"), "# TYPE hsmpool_build_info gauge\n");
	assert_begins(ask("metrics csv\n"), "error 64 metrics: 'csv' is none of");
}

static void what_is_no_request_is_refused(void **state)
{
	char long_line[2000];

	open_pool(*state);
	assert_begins(ask("\n"), "error 64 there is no command ''");
	assert_begins(ask("nonsense\n"), "error 64 there is no command 'nonsense'");
	assert_begins(ask("status now\n"), "error 64 status takes no argument");
	assert_begins(ask("log-level\n"), "error 64 log-level needs an argument");
	assert_begins(ask("log-level loud\n"), "error 64 log-level: 'loud' is none of");
	assert_begins(ask("pause nobody\n"), "error 64 there is no pool 'nobody'");
	assert_begins(ask("\x1b[2J\xff\n"), "error 64 there is no command '?[2J");
	assert_begins(ask_bytes("sta\0tus\n", 8), "error 64 a request is one line");
	memset(long_line, 'a', sizeof(long_line));
	assert_begins(ask_bytes(long_line, 511), "error 64 a request is one line");
	assert_begins(ask_bytes(long_line, sizeof(long_line)),
		      "error 64 a request is one line");
}

static void a_pool_is_paused_and_resumed(void **state)
{
	struct ground *g = *state;
	hsmpool_session *session;
	hsmpool_error err;

	ground_open(g, "min-sessions", "3", "revalidate-interval", "1h", NULL);
	assert_string_equal(ask("pause\n"), "ok\n");
	assert_int_equal(ground_stats(g).paused, 1);
	assert_status(ground_try_borrow(g, 20, &session, &err), HSMPOOL_ERR_TIMEOUT);
	eventually(ground_stats(g).open == 1); /* the idle ones go, but for one */
	assert_string_equal(ask("resume default\n"), "ok\n");
	session = ground_borrow(g);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
}

static void a_pause_does_not_wait_for_sessions_that_are_lent(void **state)
{
	struct ground *g = *state;
	hsmpool_session *session;

	open_pool(g);
	session = ground_borrow(g);
	assert_string_equal(ask("pause default\n"), "ok\n");
	assert_contains(ask("status\n"), "\"paused\":true");
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	assert_string_equal(ask("resume\n"), "ok\n");
}

static void idle_sessions_are_validated_on_demand(void **state)
{
	struct ground *g = *state;

	open_pool(g);
	assert_int_equal(ground_stats(g).validated, 0);
	assert_string_equal(ask("validate\n"), "ok\n");
	eventually(ground_stats(g).validated > 0);
}

static void the_level_of_the_log_is_changed(void **state)
{
	struct ground *g = *state;

	open_pool(g);
	hsmpool_log_set_level(HSMPOOL_LOG_ERROR);
	assert_string_equal(ask("log-level notice\n"), "ok\n");
	assert_contains(ask("status\n"), "\"log-level\":\"notice\"");
	assert_string_equal(ask("pause\n"), "ok\n");
	assert_true(ground_logged("pool-paused", NULL, 0) > 0);
	hsmpool_resume(g->pool);
}

/* --- a program that does as it likes ------------------------------------------------ */

/* ThreadSanitizer watches descriptors too, and refuses threads in a forked child. */
#if !HAS_THREAD_SANITIZER

struct open_files {
	int fd[MOST_FDS];
	ino_t inode[MOST_FDS];
	size_t count;
};

/* Those descriptors that are sockets. */
static struct open_files list_sockets(void)
{
	struct open_files found = { 0 };
	struct stat file;

	for (int fd = 0; fd < 1024 && found.count < MOST_FDS; fd++)
		if (fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode)) {
			found.fd[found.count] = fd;
			found.inode[found.count++] = file.st_ino;
		}
	return found;
}

static bool has_inode(const struct open_files *files, ino_t inode)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->inode[i] == inode)
			return true;
	return false;
}

static int live_as_a_child(struct ground *g, const struct open_files *parents)
{
	struct open_files mine = list_sockets();
	hsmpool *pool;
	hsmpool_error err;
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;

	for (size_t i = 0; i < parents->count; i++)
		if (has_inode(&mine, parents->inode[i]))
			return 1;
	hsmpool_close(&g->pool);
	if (hsmpool_open(&pool, g->fixture.config, NULL, HSMPOOL_DEFAULT, &err) != 0)
		return 2;
	while (!has_socket(getpid()) && hp_now_ns() < until)
		ground_nap();
	if (strncmp(ask("status\n"), "ok\n", 3) != 0)
		return 3;
	hsmpool_close(&pool);
	return has_socket(getpid()) ? 4 : 0;
}

static void a_forked_child_has_a_socket_of_its_own(void **state)
{
	struct ground *g = *state;
	int status;

	open_pool(g);
	eventually(has_socket(getpid()));
	struct open_files sockets = list_sockets();
	pid_t child = fork();
	if (child == 0)
		_exit(live_as_a_child(g, &sockets));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_begins(ask("status\n"), "ok\n{"); /* the parent noticed nothing */
}

/* As daemons do: everything is closed, and the numbers are used for other files. */
static void a_program_may_close_all_descriptors_and_use_their_numbers(void **state)
{
	struct ground *g = *state;
	struct open_files sockets;
	struct stat file;
	char path[600];

	open_pool(g);
	assert_begins(ask("status\n"), "ok\n"); /* whose descriptor is closed by now */
	sockets = list_sockets();
	assert_true(sockets.count >= 3); /* the listener and the two ends of the alarm */
	snprintf(path, sizeof(path), "%s/theirs", g->fixture.dir);
	int theirs = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(theirs >= 0);
	for (size_t i = 0; i < sockets.count; i++)
		eventually(dup3(theirs, sockets.fd[i], O_CLOEXEC) == sockets.fd[i]);
	for (int i = 0; i < 20; i++)
		hsmpool_validate(g->pool); /* wakes the keeper */
	eventually(strncmp(ask("status\n"), "ok\n{", 4) == 0);
	for (size_t i = 0; i < sockets.count; i++) {
		assert_int_equal(fstat(sockets.fd[i], &file), 0);
		assert_true(S_ISREG(file.st_mode)); /* still theirs, */
		assert_int_equal(file.st_size, 0);  /* and untouched */
		close(sockets.fd[i]);
	}
	close(theirs);
}

#endif

/* -------------------------------------------------------------------------------------
 */

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(a_socket_that_nobody_uses_takes_no_time),
		GROUND_TEST(a_peer_waits_at_rest_while_no_descriptor_is_left),
		GROUND_TEST(the_socket_is_its_users_only),
		GROUND_TEST(the_socket_goes_with_the_last_pool),
		GROUND_TEST(a_pool_that_wants_none_has_none),
		GROUND_TEST(a_folder_that_others_may_use_is_not_used),
		GROUND_TEST(what_dead_processes_left_is_removed),
		GROUND_TEST(a_second_copy_in_a_process_gets_a_name_of_its_own),
		GROUND_TEST(another_user_is_not_heard),
		GROUND_TEST(silent_peers_delay_nobody),
		GROUND_TEST(silent_peers_are_left_and_those_behind_them_served),
		GROUND_TEST(a_peer_may_speak_slowly_or_leave),
		GROUND_TEST(the_state_of_process_and_pools_is_told),
		GROUND_TEST(the_figures_are_told_as_openmetrics_or_prometheus_text),
		GROUND_TEST(what_is_no_request_is_refused),
		GROUND_TEST(a_pool_is_paused_and_resumed),
		GROUND_TEST(a_pause_does_not_wait_for_sessions_that_are_lent),
		GROUND_TEST(idle_sessions_are_validated_on_demand),
		GROUND_TEST(the_level_of_the_log_is_changed),
#if !HAS_THREAD_SANITIZER
		GROUND_TEST(a_forked_child_has_a_socket_of_its_own),
		GROUND_TEST(a_program_may_close_all_descriptors_and_use_their_numbers),
#endif
	};
	char folder[] = "/tmp/hsmpool-control-XXXXXX";
	int failures;

	if (!mkdtemp(folder) || setenv("XDG_RUNTIME_DIR", folder, 1) != 0)
		return 1;
	snprintf(place, sizeof(place), "%s/hsmpool", folder);
	hp_control_hurry(0, PATIENCE);
	hsmpool_log_set_level(HSMPOOL_LOG_INFO);
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(place);
	rmdir(folder);
	return failures;
}
