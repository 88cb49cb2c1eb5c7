/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that write audit trails in one folder with all their threads, and are killed
 * at random. Whatever a thread saw the end of is recorded exactly once, and every chain
 * is whole but for the line that was being written.
 */
#include "support/fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/time.h"
#include "observe/audit.h"
#include "observe/audit_folder.h"
#include "observe/audit_verify.h"

#define PROCESSES 8
#define THREADS   8
#define USES      400 /* of a thread, if it lives that long */
#define ROUNDS    512 /* at most */

/* Shared by all processes: how many uses each thread saw the end of. */
static _Atomic uint32_t (*ended)[PROCESSES][THREADS];
static uint8_t (*seen)[PROCESSES][THREADS][USES + 1];
static char folder[256];

static struct hp_audit *open_trail(void)
{
	const struct hp_audit_options options = {
		.folder = folder,
		.failure = HP_AUDIT_FAILURE_REFUSE,
		.rotate_size = 1 << 20,
		.has_thread = true,
	};
	struct hp_audit *audit = NULL;
	hsmpool_error err;
	if (hp_audit_open(&audit, &options, &err) != HSMPOOL_OK) {
		fprintf(stderr, "%s\n", err.text);
		_exit(1);
	}
	return audit;
}

/* --- a process ---------------------------------------------------------------------- */

struct worker {
	struct hp_audit *audit;
	unsigned round, process, thread;
	pthread_t id;
};

/* The number of a use tells whose it is. */
static uint64_t number_of(const struct worker *worker, uint32_t use)
{
	return (uint64_t)worker->round << 40 | (uint64_t)worker->process << 36 |
	       (uint64_t)worker->thread << 32 | use;
}

static void *run_worker(void *argument)
{
	struct worker *worker = argument;
	for (uint32_t use = 1; use <= USES; use++) {
		struct hp_audit_entry entry;
		const struct hp_audit_facts facts = {
			.request = number_of(worker, use),
			.function = "C_Sign",
			.key_label = "storm",
		};
		const struct hp_audit_result result = { .result = "CKR_OK" };
		while (!hp_audit_begin(worker->audit, &facts, &entry))
			hp_pause(HP_MS);
		hp_audit_end(&entry, &result);
		atomic_store(&ended[worker->round][worker->process][worker->thread], use);
	}
	return NULL;
}

static void run_process(unsigned round, unsigned process)
{
	struct worker workers[THREADS];
	struct hp_audit *audit = open_trail();
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ audit, round, process, i, 0 };
		if (pthread_create(&workers[i].id, NULL, run_worker, &workers[i]) != 0)
			_exit(1);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].id, NULL);
	hp_audit_close(&audit);
	_exit(0);
}

/* --- the storm ---------------------------------------------------------------------- */

static uint64_t count_ended(unsigned rounds)
{
	uint64_t sum = 0;
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned process = 0; process < PROCESSES; process++)
			for (unsigned i = 0; i < THREADS; i++)
				sum += atomic_load(&ended[round][process][i]);
	return sum;
}

static pid_t start(void (*run)(unsigned, unsigned), unsigned round, unsigned process)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		run(round, process);
	return child;
}

/* Half of them die somewhere on their way. */
static void run_round(unsigned round)
{
	pid_t children[PROCESSES];
	for (unsigned i = 0; i < PROCESSES; i++)
		children[i] = start(run_process, round, i);
	for (unsigned i = 0; i < PROCESSES; i += 2) {
		uint32_t point = (uint32_t)((uint64_t)hp_jitter(USES / 2, 99));
		while (atomic_load(&ended[round][i][i % THREADS]) < point &&
		       waitpid(children[i], NULL, WNOHANG) == 0)
			hp_pause(HP_MS / 4);
		kill(children[i], SIGKILL);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status = 0;
		waitpid(children[i], &status, 0); /* or it was seen to end above */
		assert_true(status == 0 || WIFSIGNALED(status));
	}
}

/* As many processes at once as there are chains take them all. */
static int barrier[2];

static void take_one(unsigned round, unsigned process)
{
	(void)round;
	(void)process;
	char byte;
	close(barrier[1]);
	struct hp_audit *audit = open_trail();
	if (!hp_audit_sync(audit))
		_exit(1);
	atomic_fetch_add(&ended[ROUNDS - 1][0][0], 1);
	while (read(barrier[0], &byte, 1) < 0)
		;
	hp_audit_close(&audit);
	_exit(0);
}

static void take_all_over(unsigned chains)
{
	assert_int_equal(pipe(barrier), 0);
	pid_t *children = calloc(chains, sizeof *children);
	for (unsigned i = 0; i < chains; i++)
		children[i] = start(take_one, 0, i);
	while (atomic_load(&ended[ROUNDS - 1][0][0]) < chains)
		hp_pause(HP_MS);
	close(barrier[1]);
	for (unsigned i = 0; i < chains; i++) {
		int status;
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	close(barrier[0]);
	free(children);
	atomic_store(&ended[ROUNDS - 1][0][0], 0);
}

/* --- what is there ------------------------------------------------------------------ */

static void note(void *user, const struct hp_audit_finding *finding)
{
	unsigned *kinds = user;
	kinds[finding->kind]++;
	if (hp_finding_is_wrong(finding->kind) && finding->kind != HP_FINDING_TORN_END)
		fail_msg("chain %u, %s, record %" PRIu64 ": %s", finding->chain,
			 finding->file ? finding->file : "-", finding->seq,
			 hp_finding_name(finding->kind));
}

struct verdict {
	unsigned kinds[HP_FINDING_CHAIN + 1];
};

static struct verdict verify(void)
{
	struct verdict verdict = { 0 };
	struct hp_verify_request request = { folder, NULL, note, verdict.kinds };
	hsmpool_error err;
	assert_ok(hp_audit_verify(&request, &err), &err);
	return verdict;
}

static void note_line(const char *line)
{
	const char *request = strstr(line, "\"request\":\"");
	if (!request)
		return;
	uint64_t number = strtoull(request + strlen("\"request\":\""), NULL, 16);
	unsigned round = (unsigned)(number >> 40);
	uint32_t use = (uint32_t)number;
	assert_true(round < ROUNDS && use <= USES);
	uint8_t *count = &seen[round][number >> 36 & 15][number >> 32 & 15][use];
	if (strstr(line, "\"outcome\":\"unknown\"") == NULL || *count == 0)
		++*count;
}

static void read_file(int dir, const char *name)
{
	char line[8192];
	int fd = openat(dir, name, O_RDONLY);
	FILE *file = fdopen(fd, "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		note_line(line);
	fclose(file);
}

static void read_all(void)
{
	struct hp_audit_file *files;
	size_t count;
	hsmpool_error err;
	int dir = open(folder, O_RDONLY | O_DIRECTORY);
	assert_ok(hp_audit_folder_files(dir, &files, &count, &err), &err);
	for (size_t i = 0; i < count; i++) {
		char name[HP_AUDIT_NAME_SIZE];
		hp_audit_file_name(name, files[i].chain, files[i].first);
		read_file(dir, name);
	}
	free(files);
	close(dir);
}

static void check_all(unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned process = 0; process < PROCESSES; process++)
			for (unsigned i = 0; i < THREADS; i++)
				for (uint32_t use = 1; use <= USES; use++) {
					uint8_t count = seen[round][process][i][use];
					bool is_ended = use <= ended[round][process][i];
					if (count > 1 || (is_ended && count != 1))
						fail_msg("use %u.%u.%u.%u: %u records",
							 round, process, i, use, count);
				}
}

static void what_ended_is_recorded_once_whoever_is_killed(void **state)
{
	(void)state;
	const char *wanted = getenv("HSMPOOL_AUDIT_STORM_RECORDS");
	uint64_t records = wanted ? strtoull(wanted, NULL, 10) : 100000;
	unsigned rounds = 0;
	unsigned torn = 0;
	while (rounds < ROUNDS - 1 && count_ended(rounds) < records) {
		run_round(rounds++);
		torn += verify().kinds[HP_FINDING_TORN_END];
	}
	struct verdict before = verify();
	take_all_over(before.kinds[HP_FINDING_CHAIN]);
	struct verdict after = verify();
	assert_int_equal(after.kinds[HP_FINDING_TORN_END], 0);
	assert_int_equal(after.kinds[HP_FINDING_PENDING], 0);
	read_all();
	check_all(rounds);
	print_message("# %" PRIu64 " uses in %u rounds, %u chains, %u torn ends\n",
		      count_ended(rounds), rounds, after.kinds[HP_FINDING_CHAIN], torn);
}

/* --- the ground --------------------------------------------------------------------- */

static void *map_zeroes(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	return map;
}

static int prepare(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/hsmpool-storm-XXXXXX");
	assert_non_null(mkdtemp(folder));
	ended = map_zeroes(ROUNDS * sizeof *ended);
	seen = map_zeroes(ROUNDS * sizeof *seen);
	return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind,
			struct FTW *position)
{
	(void)info;
	(void)kind;
	(void)position;
	return remove(path);
}

static int clean_up(void **state)
{
	(void)state;
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_ended_is_recorded_once_whoever_is_killed),
	};
	return cmocka_run_group_tests_name("audit_storm", tests, prepare, clean_up);
}
