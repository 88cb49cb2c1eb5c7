/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything at once: threads borrow, use and return sessions of all kinds with all
 * deadlines and verdicts, others pause, resume and validate, while the token fails,
 * restarts, logs out and changes its session limit. A checker holds the pool's figures
 * against each other all the time. Then the weather clears, and the pool must serve
 * again at once, with its books in balance.
 *
 * HSMPOOL_STORM_SEED repeats the threads' decisions, HSMPOOL_STORM_SECONDS sets how
 * long each storm lasts.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/memory.h"

#define WORKERS      24
#define MAX_SESSIONS 8

static struct storm {
	struct ground *ground;
	uint64_t seed;
	int64_t until_ns;
	atomic_uint members;
	atomic_ullong served, refused;
	atomic_bool is_broken;
	char complaint[256]; /* of the first to find is_broken false */
	bool has_reboots;
} storm;

/* --- chance ------------------------------------------------------------------ */

struct dice {
	uint64_t state;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
	dice->state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t value = dice->state;
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (value ^ (value >> 31)) % sides;
}

static struct dice take_dice(void)
{
	uint64_t member = atomic_fetch_add(&storm.members, 1);
	return (struct dice){ storm.seed * 1000003 + member * 7919 };
}

static bool is_stormy(void)
{
	return hp_now_ns() < storm.until_ns && !atomic_load(&storm.is_broken);
}

static void nap_us(uint64_t us)
{
	struct timespec moment = { .tv_nsec = (long)(us * 1000) };
	nanosleep(&moment, NULL);
}

static void complain(const char *what, const hsmpool_stats *s)
{
	if (atomic_exchange(&storm.is_broken, true))
		return;
	snprintf(storm.complaint, sizeof(storm.complaint),
		 "%s: open %u idle %u used %u testing %u stuck %u closing %u opening %u "
		 "limit %u direct %llu waited %llu returned %llu",
		 what, s->open, s->idle, s->used, s->testing, s->stuck, s->closing,
		 s->opening, s->limit, (unsigned long long)s->borrowed_direct,
		 (unsigned long long)s->borrowed_waited, (unsigned long long)s->returned);
}

/* --- those who work ---------------------------------------------------------- */

/* One of what operations do; the rv is the pool's to judge. */
static CK_RV use(struct hp_session *s, struct dice *dice)
{
	CK_MECHANISM sha256 = { CKM_SHA256, NULL, 0 };
	CK_BYTE data[32] = { 0 };
	CK_SESSION_INFO info;
	CK_RV rv;

	switch (roll(dice, 6)) {
	case 0:
		return hp_session_info(s, &info);
	case 1:
		return hp_digest_init(s, &sha256); /* left active */
	case 2:
		rv = hp_digest_init(s, &sha256);
		return rv == CKR_OK ? hp_digest_update(s, data, sizeof(data)) : rv;
	case 3:
		nap_us(roll(dice, 2000));
		return CKR_OK;
	default:
		return hp_generate_random(s, data, sizeof(data));
	}
}

/* Return values that no call gave: as if it had. */
static const CK_RV inventions[] = {
	CKR_DATA_INVALID,       CKR_KEY_HANDLE_INVALID,     CKR_GENERAL_ERROR,
	CKR_USER_NOT_LOGGED_IN, CKR_BUFFER_TOO_SMALL,       CKR_DEVICE_ERROR,
	CKR_DEVICE_MEMORY,      CKR_SIGNATURE_INVALID,      CKR_OPERATION_ACTIVE,
	CKR_TOKEN_NOT_PRESENT,  CKR_SESSION_HANDLE_INVALID,
};

static void give_back(struct hp_session *s, CK_RV rv, struct dice *dice)
{
	switch (roll(dice, 40)) {
	case 0:
		hp_pool_return_verdict(s, HSMPOOL_VERDICT_RESET);
		break;
	case 1:
		hp_pool_return_verdict(s, HSMPOOL_VERDICT_DEAD);
		break;
	case 2:
		hp_pool_return_verdict(s, HSMPOOL_VERDICT_CLEAN);
		break;
	case 3:
		hp_pool_return(s, inventions[roll(dice, HP_ARRAY_LEN(inventions))]);
		break;
	default:
		hp_pool_return(s, rv);
	}
}

static hsmpool_deadline draw_deadline(struct dice *dice)
{
	switch (roll(dice, 6)) {
	case 0:
		return HSMPOOL_NO_WAIT;
	case 1:
		return HSMPOOL_DEFAULT;
	default:
		return hsmpool_deadline_in((int64_t)roll(dice, 40));
	}
}

static void work_once(struct dice *dice)
{
	static const enum hp_want wants[] = {
		HP_WANT_ANY,    HP_WANT_ANY,
		HP_WANT_ANY,    HP_WANT_ANY,
		HP_WANT_CLEAN,  HP_WANT_READ_WRITE,
		HP_WANT_ANCHOR, HP_WANT_CLEAN_READ_WRITE,
	};
	enum hp_want want = wants[roll(dice, HP_ARRAY_LEN(wants))];
	struct hp_session *s = NULL;
	hsmpool_error err;
	hsmpool_status status = hp_pool_borrow(storm.ground->pool, want, "storm",
					       draw_deadline(dice), &s, &err);
	if (status != HSMPOOL_OK) {
		atomic_fetch_add(&storm.refused, 1);
		if (s || err.status != status || err.text[0] == '\0')
			atomic_store(&storm.is_broken, true);
		nap_us(50);
		return;
	}
	atomic_fetch_add(&storm.served, 1);
	if ((want == HP_WANT_READ_WRITE || want == HP_WANT_CLEAN_READ_WRITE) &&
	    !s->is_read_write)
		atomic_store(&storm.is_broken, true);
	give_back(s, use(s, dice), dice);
}

static void *work(void *unused)
{
	struct dice dice = take_dice();

	(void)unused;
	while (is_stormy())
		work_once(&dice);
	return NULL;
}

/* --- those who command ------------------------------------------------------- */

static void *command(void *unused)
{
	struct dice dice = take_dice();
	hsmpool *pool = storm.ground->pool;
	hsmpool_error err;

	(void)unused;
	while (is_stormy()) {
		hsmpool_validate(pool);
		if (roll(&dice, 4) == 0) {
			hsmpool_status status = hsmpool_pause(
				pool, hsmpool_deadline_in((int64_t)roll(&dice, 20)),
				&err);
			hsmpool_stats now = ground_stats(storm.ground);
			if (status == HSMPOOL_OK && now.used + now.stuck > 0)
				complain("lent while paused", &now);
			nap_us(roll(&dice, 3000));
			hsmpool_resume(pool);
		}
		nap_us(1000 + roll(&dice, 20000));
	}
	hsmpool_resume(pool);
	return NULL;
}

/* --- the weather ------------------------------------------------------------- */

static const char *const bad_weather[] = {
	"fail=C_OpenSession:p0.05:CKR_DEVICE_ERROR",
	"fail=C_OpenSession:p0.1:CKR_SESSION_COUNT",
	"fail=C_OpenSession:p0.03:CKR_TOKEN_NOT_PRESENT",
	"fail=C_GetSessionInfo:p0.03:CKR_SESSION_HANDLE_INVALID",
	"fail=C_GetSessionInfo:p0.03:CKR_GENERAL_ERROR",
	"fail=C_Login:p0.1:CKR_DEVICE_ERROR",
	"fail=C_GenerateRandom:p0.1:CKR_GENERAL_ERROR",
	"fail=C_GetTokenInfo:p0.02:CKR_DEVICE_ERROR",
	"latency=C_GenerateRandom:200us",
	"sessions=3",
	"sessions=6",
	"sessions=0",
};

static void reboot(struct dice *dice)
{
	struct mock_reboot how = {
		.session_rv =
			roll(dice, 3) ? CKR_SESSION_HANDLE_INVALID : CKR_DEVICE_REMOVED,
		.keep_login = roll(dice, 4) == 0,
		.move_slot = roll(dice, 4) == 0,
		.handles = (enum mock_handles)roll(dice, 3),
	};
	storm.ground->mock->reboot(&how);
}

static void *make_weather(void *unused)
{
	struct dice dice = take_dice();
	const struct mock_control *mock = storm.ground->mock;
	char error[200];

	(void)unused;
	while (is_stormy()) {
		const char *next = bad_weather[roll(&dice, HP_ARRAY_LEN(bad_weather))];
		if (!mock->script(next, error, sizeof(error)))
			atomic_store(&storm.is_broken, true);
		if (storm.has_reboots && roll(&dice, 6) == 0)
			reboot(&dice);
		if (roll(&dice, 6) == 0)
			mock->log_out();
		if (roll(&dice, 2) == 0)
			mock->clear_failures();
		nap_us(1000 + roll(&dice, 30000));
	}
	mock->clear_failures();
	mock->latency("C_GenerateRandom", 0);
	mock->session_limit(0);
	return NULL;
}

/* --- the checker ------------------------------------------------------------- */

static void check(const hsmpool_stats *now, const hsmpool_stats *before)
{
	uint64_t borrowed = now->borrowed_direct + now->borrowed_waited;

	if (now->open != now->idle + now->used + now->testing + now->stuck + now->closing)
		complain("open is not the sum of its parts", now);
	if (now->open + now->opening > MAX_SESSIONS)
		complain("more than max-sessions", now);
	if (now->open + now->opening > now->limit && now->limit >= before->limit &&
	    now->opening > before->opening)
		complain("opening beyond the limit", now);
	if (now->opening > 1)
		complain("two openers", now);
	if (now->returned > borrowed)
		complain("more returned than borrowed", now);
	if (borrowed - now->returned > now->used + now->stuck + now->opening)
		complain("a borrow without a session", now);
	if (now->returned < before->returned || now->opened < before->opened ||
	    now->generation < before->generation)
		complain("a counter went back", now);
}

static void *watch(void *unused)
{
	hsmpool_stats before = ground_stats(storm.ground);

	(void)unused;
	while (is_stormy()) {
		hsmpool_stats now = ground_stats(storm.ground);
		struct mock_counters real = ground_counters(storm.ground);
		check(&now, &before);
		if (real.sessions_peak > MAX_SESSIONS)
			complain("the token saw more than max-sessions", &now);
		before = now;
		nap_us(300);
	}
	return NULL;
}

/* --- after the storm --------------------------------------------------------- */

static void *serve_calmly(void *unused)
{
	CK_RV rv;
	hsmpool_error err;

	(void)unused;
	for (int i = 0; i < 50; i++)
		if (ground_operate(storm.ground->pool, TEST_PATIENCE_MS, &rv, &err) ==
			    HSMPOOL_OK &&
		    rv == CKR_OK)
			atomic_fetch_add(&storm.served, 1);
	return NULL;
}

/* The last loss is found by those who meet it; then every call is answered. */
static void pool_serves_again(struct ground *g)
{
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	hsmpool_error err;
	unsigned in_a_row = 0;
	CK_RV rv;

	while (in_a_row < 3 * MAX_SESSIONS) {
		hsmpool_status status =
			ground_operate(g->pool, TEST_PATIENCE_MS, &rv, &err);
		assert_ok(status, &err);
		in_a_row = rv == CKR_OK ? in_a_row + 1 : 0;
		if (hp_now_ns() > until)
			fail_msg("it does not calm down: %s", err.text);
	}
}

static void books_balance(struct ground *g)
{
	eventually(ground_stats(g).used == 0 && ground_stats(g).opening == 0 &&
		   ground_stats(g).testing == 0 && ground_stats(g).closing == 0);
	hsmpool_stats s = ground_stats(g);

	assert_int_equal(s.borrowed_direct + s.borrowed_waited, s.returned);
	assert_int_equal(s.opened, s.open + s.closed_idle + s.closed_lifetime +
					   s.closed_broken + s.closed_stuck +
					   s.closed_other);
	assert_int_equal(s.waiters, 0);
	uint64_t waits = 0, holds = 0;
	for (int i = 0; i < HSMPOOL_HISTOGRAM_BUCKETS; i++) {
		waits += s.wait_ns[i];
		holds += s.held_ns[i];
	}
	assert_int_equal(waits, s.borrowed_waited);
	assert_int_equal(holds, s.returned);
}

static int64_t storm_seconds(void)
{
	const char *text = getenv("HSMPOOL_STORM_SECONDS");
	int64_t seconds = text ? strtoll(text, NULL, 10) : 0;
	return seconds > 0 ? seconds : 3;
}

static void rage(struct ground *g)
{
	const char *seed = getenv("HSMPOOL_STORM_SEED");
	struct crew crews[4];

	memset(&storm, 0, sizeof(storm));
	storm.ground = g;
	storm.seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)hp_now_ns();
	print_message("# HSMPOOL_STORM_SEED=%llu\n", (unsigned long long)storm.seed);
	storm.until_ns = hp_now_ns() + storm_seconds() * HP_SECOND;
	storm.has_reboots = true;
	crews[0] = crew_start(WORKERS, work, NULL);
	crews[1] = crew_start(1, command, NULL);
	crews[2] = crew_start(1, make_weather, NULL);
	crews[3] = crew_start(1, watch, NULL);
	for (size_t i = 0; i < HP_ARRAY_LEN(crews); i++)
		crew_join(&crews[i]);
	if (atomic_load(&storm.is_broken))
		fail_msg("seed %llu: %s", (unsigned long long)storm.seed,
			 storm.complaint);
	print_message("# %llu borrows served, %llu refused\n",
		      (unsigned long long)storm.served,
		      (unsigned long long)storm.refused);
}

static void calm(struct ground *g)
{
	struct crew crew;

	pool_serves_again(g);
	atomic_store(&storm.served, 0);
	crew = crew_start(WORKERS, serve_calmly, NULL);
	crew_join(&crew);
	assert_int_equal(storm.served, 50 * WORKERS);
	books_balance(g);
	struct mock_counters real = ground_counters(g);
	assert_true(real.sessions_peak <= MAX_SESSIONS);
	assert_int_equal(real.logins_failed, 0);
	assert_int_equal(real.sessions_now, ground_stats(g).open);
}

/* --- tests ------------------------------------------------------------------- */

static void pool_survives_a_storm(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "8", "min-sessions", "2", "borrow-timeout", "50ms",
		    "revalidate-interval", "20ms", "idle-timeout", "30ms", "max-lifetime",
		    "100ms", "validate-after", "10ms", "leak-warn", "50ms", "probe",
		    "random", NULL);
	rage(g);
	calm(g);
}

/* Without the keeper's safety nets a lost wake-up stays lost. */
static void pool_without_keeper_survives_a_storm(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "8", "min-sessions", "2", "borrow-timeout", "50ms",
		    "keeper", "no", "revalidate-interval", "50ms", "idle-timeout", "50ms",
		    "max-lifetime", "1s", "validate-after", "10ms", NULL);
	rage(g);
	calm(g);
}

static void fair_pool_survives_a_storm(void **state)
{
	struct ground *g = *state;

	ground_open(g, "max-sessions", "8", "borrow-timeout", "50ms", "fair", "yes",
		    "revalidate-interval", "20ms", "validate-after", "10ms", NULL);
	rage(g);
	calm(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GROUND_TEST(pool_survives_a_storm),
		GROUND_TEST(pool_without_keeper_survives_a_storm),
		GROUND_TEST(fair_pool_survives_a_storm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
