/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32 threads with the library and 32 with the PKCS#11 module, on one token, while it
 * fails one call in a hundred, restarts every second, changes its session limit and
 * hangs now and then. Every result is held against OpenSSL's. Afterwards the weather is
 * fair again: both must serve at once and leave no session open.
 *
 * HSMPOOL_SOAK_SECONDS: how long; HSMPOOL_SOAK_OPERATIONS: how many operations instead;
 * HSMPOOL_SOAK_SEED: other weather. What came of each kind of operation is printed.
 */
#include "soak.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/memory.h"
#include "base/time.h"

#define THREADS  64 /* every second one uses the module */
#define SESSIONS 8  /* of each of the two pools */

/* --- chance --------------------------------------------------------------------------
 */

uint64_t soak_roll(struct soak_worker *worker, uint64_t sides)
{
	worker->dice += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t value = worker->dice;
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (value ^ (value >> 31)) % sides;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);
	return value && value[0] ? strtoull(value, NULL, 10) : otherwise;
}

/* --- the workers ---------------------------------------------------------------------
 */

static struct soak_job *draw_job(struct soak_worker *worker, struct soak_job *jobs)
{
	unsigned sum = 0;
	for (struct soak_job *job = jobs; job->name; job++)
		sum += job->weight;
	uint64_t drawn = soak_roll(worker, sum);
	struct soak_job *job = jobs;
	for (; drawn >= job->weight; job++)
		drawn -= job->weight;
	return job;
}

static void draw_input(struct soak_worker *worker)
{
	worker->input_len = 1 + soak_roll(worker, sizeof(worker->input));
	for (size_t i = 0; i < worker->input_len; i++)
		worker->input[i] = (uint8_t)soak_roll(worker, 256);
}

static void do_one(struct soak_worker *worker, struct soak_job *jobs)
{
	struct soak_job *job = draw_job(worker, jobs);
	draw_input(worker);
	worker->complaint[0] = '\0';
	atomic_fetch_add(&job->tried, 1);
	enum soak_outcome outcome = job->run(worker);
	if (outcome == SOAK_DONE)
		return;
	bool is_wrong = outcome == SOAK_WRONG;
	/* The first few of each kind are worth reading. */
	if (atomic_fetch_add(is_wrong ? &job->wrong : &job->refused, 1) < 3)
		print_message("# %s: %s%s\n", job->name, is_wrong ? "WRONG " : "",
			      worker->complaint);
}

static bool goes_on(struct soak *soak)
{
	if (soak->operations)
		return atomic_load(&soak->done) < soak->operations;
	return hp_now_ns() < soak->until_ns;
}

static void *work_with_library(void *argument)
{
	struct soak_worker *worker = argument;
	while (goes_on(worker->soak)) {
		do_one(worker, soak_library_jobs);
		atomic_fetch_add(&worker->soak->done, 1);
	}
	return NULL;
}

static void *work_with_module(void *argument)
{
	struct soak_worker *worker = argument;
	while (goes_on(worker->soak)) {
		do_one(worker, soak_module_jobs);
		atomic_fetch_add(&worker->soak->done, 1);
	}
	return NULL;
}

/* --- the weather ---------------------------------------------------------------------
 */

/* What one call in a hundred answers without being executed. A session that could not
 * be closed stays open whoever asks, so C_CloseSession closes. */
static void start_failures(const struct mock_control *mock)
{
	static const char *const functions[] = {
		"C_OpenSession",       "C_Login",
		"C_GetSessionInfo",    "C_GetTokenInfo",
		"C_SignInit",          "C_Sign",
		"C_EncryptInit",       "C_Encrypt",
		"C_DecryptInit",       "C_Decrypt",
		"C_DigestInit",        "C_Digest",
		"C_DigestUpdate",      "C_DigestFinal",
		"C_VerifyInit",        "C_Verify",
		"C_FindObjectsInit",   "C_FindObjects",
		"C_GetAttributeValue", "C_GenerateRandom",
		"C_GenerateKey",       "C_CreateObject",
		"C_DestroyObject",
	};
	static const struct {
		CK_RV rv;
		double probability;
	} answers[] = {
		{ CKR_DEVICE_ERROR, 0.004 },       { CKR_SESSION_HANDLE_INVALID, 0.003 },
		{ CKR_SESSION_CLOSED, 0.002 },     { CKR_DEVICE_REMOVED, 0.0005 },
		{ CKR_TOKEN_NOT_PRESENT, 0.0005 },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(functions); i++)
		for (size_t k = 0; k < HP_ARRAY_LEN(answers); k++) {
			struct mock_failure failure = {
				.function = functions[i],
				.rv = answers[k].rv,
				.probability = answers[k].probability,
			};
			(mock->fail)(&failure);
		}
	/* And now and then it was executed, and only the answer is lost. */
	struct mock_failure lost_answer = { .function = "C_Sign",
					    .rv = CKR_DEVICE_ERROR,
					    .probability = 0.002,
					    .after = true };
	(mock->fail)(&lost_answer);
}

static void wait_ms(long ms)
{
	struct timespec moment = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	nanosleep(&moment, NULL);
}

static void reboot(const struct mock_control *mock, struct soak_worker *dice)
{
	bool keeps_login = soak_roll(dice, 4) == 0;
	struct mock_reboot how = {
		.keep_login = keeps_login,
		/* Not aliased: the two pools share the login, so one of them can meet a
		 * token that was restarted and looks as if it was not. */
		.handles = keeps_login ? MOCK_HANDLES_KEPT : MOCK_HANDLES_NEW,
		.session_rv = soak_roll(dice, 2) ? CKR_DEVICE_ERROR
						 : CKR_SESSION_HANDLE_INVALID,
	};
	mock->reboot(&how);
}

static void *make_weather(void *argument)
{
	struct soak_worker *dice = argument;
	struct soak *soak = dice->soak;
	const struct mock_control *mock = soak->mock;
	start_failures(mock);
	while (goes_on(soak)) {
		wait_ms(500);
		mock->session_limit(6 + (CK_ULONG)soak_roll(dice, 11));
		if (soak_roll(dice, 3) == 0)
			mock->hang("C_Sign", 1 + soak_roll(dice, 50));
		wait_ms(500);
		mock->release();
		reboot(mock, dice);
	}
	mock->release();
	mock->clear_failures();
	mock->session_limit(0);
	return NULL;
}

/* --- the verdict ---------------------------------------------------------------------
 */

struct sum {
	uint64_t tried, refused, wrong, signatures;
};

static void add_up(const struct soak_job *jobs, struct sum sums[SOAK_KINDS])
{
	for (const struct soak_job *job = jobs; job->name; job++) {
		uint64_t tried = atomic_load(&job->tried);
		struct sum *sum = &sums[job->kind];
		sum->tried += tried;
		sum->refused += atomic_load(&job->refused);
		sum->wrong += atomic_load(&job->wrong);
		sum->signatures += job->signatures * tried;
		print_message("# %-28s %8llu tried %6llu refused %4llu wrong\n",
			      job->name, (unsigned long long)tried,
			      (unsigned long long)atomic_load(&job->refused),
			      (unsigned long long)atomic_load(&job->wrong));
	}
}

static void judge(const struct soak *soak, bool signs_again)
{
	struct sum sums[SOAK_KINDS] = { 0 };
	add_up(soak_library_jobs, sums);
	add_up(soak_module_jobs, sums);
	uint64_t tried = 0, wrong = 0;
	for (int kind = 0; kind < SOAK_KINDS; kind++) {
		tried += sums[kind].tried;
		wrong += sums[kind].wrong;
	}
	struct mock_counters counters;
	soak->mock->counters(&counters);
	uint64_t executed = counters.signatures;
	print_message("# %llu operations, %llu calls, %llu signatures of %llu asked for, "
		      "%llu logins, %llu sessions opened\n",
		      (unsigned long long)tried, (unsigned long long)counters.calls,
		      (unsigned long long)executed,
		      (unsigned long long)sums[SOAK_SIGNATURE].signatures,
		      (unsigned long long)counters.logins_tried,
		      (unsigned long long)counters.sessions_opened);
	assert_int_equal(wrong, 0);
	if (!signs_again)
		assert_true(executed <= sums[SOAK_SIGNATURE].signatures);
	assert_true(sums[SOAK_IDEMPOTENT].refused * 1000 <= sums[SOAK_IDEMPOTENT].tried);
	if (signs_again)
		assert_true(sums[SOAK_SIGNATURE].refused * 1000 <=
			    sums[SOAK_SIGNATURE].tried);
	assert_int_equal(counters.logins_failed, 0);
	assert_int_equal(counters.session_overlaps, 0);
}

/* Fair weather: nothing is left to notice, or it is made good before the caller hears. */
static void check_service(struct soak *soak, struct soak_worker workers[THREADS])
{
	for (unsigned i = 0; i < THREADS; i++) {
		struct soak_job *jobs = i % 2 ? soak_module_jobs : soak_library_jobs;
		for (struct soak_job *job = jobs; job->name; job++) {
			draw_input(&workers[i]);
			if (job->kind == SOAK_IDEMPOTENT &&
			    job->run(&workers[i]) != SOAK_DONE)
				fail_msg("in fair weather, %s: %s", job->name,
					 workers[i].complaint);
		}
	}
	(void)soak;
}

/* --- tests ---------------------------------------------------------------------------
 */

static const char *sign_retry;
static struct fixture fixture;
static struct soak soak;

static void begin(void)
{
	char lines[200];
	memset(&soak, 0, sizeof(soak));
	fixture_mock_over_softhsm(&fixture);
	soak.mock = fixture_mock_control();
	soak.truth = truth_new();
	fixture_set(&fixture, "max-sessions", "8");
	fixture_set(&fixture, "sign-retry", sign_retry);
	fixture_set(&fixture, "borrow-timeout", "20s");
	fixture_set(&fixture, "stuck-after", "100ms");
	fixture_set(&fixture, "log-level", "error");
	snprintf(lines, sizeof(lines),
		 "max-sessions = %d\nsign-retry = %s\nborrow-timeout = 20s\n"
		 "stuck-after = 100ms\nlog-level = error\n",
		 SESSIONS, sign_retry);
	soak_module_begin(&soak, &fixture, lines);
	soak_library_begin(&soak, &fixture);
	soak_module_find_keys(&soak);
}

static void end(void)
{
	char why[200] = "";
	soak_library_end(&soak);
	soak_module_end(&soak);
	if (!soak.mock->check_balance(why, sizeof(why)))
		fail_msg("%s", why);
	truth_free(soak.truth);
	fixture_remove(&fixture);
}

static void run(void)
{
	static struct soak_worker workers[THREADS + 1];
	pthread_t threads[THREADS + 1];
	uint64_t seed = setting("HSMPOOL_SOAK_SEED", 1);
	begin();
	soak.operations = setting("HSMPOOL_SOAK_OPERATIONS", 0);
	soak.mock->seed(seed);
	for (unsigned i = 0; i <= THREADS; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		workers[i].soak = &soak;
		workers[i].dice = seed * 1000003 + i * 7919;
		if (i < THREADS && i % 2)
			assert_true(soak_module_join(&workers[i]));
	}
	soak.until_ns =
		hp_now_ns() + (int64_t)setting("HSMPOOL_SOAK_SECONDS", 30) * HP_SECOND;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL,
			       i % 2 ? work_with_module : work_with_library, &workers[i]);
	pthread_create(&threads[THREADS], NULL, make_weather, &workers[THREADS]);
	for (unsigned i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	judge(&soak, strcmp(sign_retry, "yes") == 0);
	check_service(&soak, workers);
	end();
}

static void a_storm_leaves_no_trace(void **state)
{
	(void)state;
	run();
}

/* The argument: what sign-retry is set to. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_storm_leaves_no_trace),
	};
	sign_retry = argc > 1 ? argv[1] : "no";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
