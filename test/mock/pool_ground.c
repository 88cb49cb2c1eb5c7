/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pool_ground.h.
 */
#include "mock/pool_ground.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct ground ground;

/* --- the pool ---------------------------------------------------------------- */

int ground_set_up(void **state)
{
	memset(&ground, 0, sizeof(ground));
	fixture_mock(&ground.fixture);
	ground.mock = fixture_mock_control();
	ground_set(&ground, "revalidate-interval", "0", "validate-after", "1h",
		   "idle-timeout", "0", "max-lifetime", "0", "leak-warn", "0",
		   "min-sessions", "1", "borrow-timeout", "60s", "close-grace", "60s",
		   NULL);
	ground_catch_log(&ground);
	*state = &ground;
	return 0;
}

int ground_tear_down(void **state)
{
	struct ground *g = *state;
	char why[128] = "";
	int failures = 0;

	g->mock->release();
	g->mock->clear_failures();
	hsmpool_close(&g->pool);
	hsmpool_log_set_callback(NULL, NULL);
	struct mock_counters c = ground_counters(g);
	if (!g->is_uneven && !g->mock->check_balance(why, sizeof(why))) {
		print_error("out of balance: %s\n", why);
		failures++;
	}
	if (c.session_overlaps != 0) {
		print_error("%llu calls on a session in use by another thread\n",
			    (unsigned long long)c.session_overlaps);
		failures++;
	}
	g->mock->reset();
	fixture_remove(&g->fixture);
	return failures == 0 ? 0 : -1;
}

static void set_all(struct ground *g, va_list options)
{
	const char *key;

	while ((key = va_arg(options, const char *)) != NULL)
		fixture_set(&g->fixture, key, va_arg(options, const char *));
}

void ground_set(struct ground *g, ...)
{
	va_list options;

	va_start(options, g);
	set_all(g, options);
	va_end(options);
}

hsmpool *ground_open(struct ground *g, ...)
{
	va_list options;

	va_start(options, g);
	set_all(g, options);
	va_end(options);
	g->pool = fixture_open(&g->fixture);
	return g->pool;
}

void ground_script(struct ground *g, const char *script)
{
	char error[200] = "";

	if (!g->mock->script(script, error, sizeof(error)))
		fail_msg("%s", error);
}

hsmpool_stats ground_stats(const struct ground *g)
{
	hsmpool_stats stats = { .size = sizeof(stats) };

	hsmpool_get_stats(g->pool, &stats);
	return stats;
}

struct mock_counters ground_counters(const struct ground *g)
{
	struct mock_counters counters;

	g->mock->counters(&counters);
	return counters;
}

void ground_nap(void)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };

	nanosleep(&moment, NULL);
}

/* --- using it ---------------------------------------------------------------- */

hsmpool_status ground_try_borrow(struct ground *g, int64_t milliseconds,
				 hsmpool_session **out, hsmpool_error *err)
{
	return hsmpool_borrow(g->pool, out, HSMPOOL_BORROW_ANY, "test",
			      hsmpool_deadline_in(milliseconds), err);
}

hsmpool_session *ground_borrow(struct ground *g)
{
	hsmpool_session *session = NULL;
	hsmpool_error err;

	assert_ok(ground_try_borrow(g, TEST_PATIENCE_MS, &session, &err), &err);
	assert_non_null(session);
	return session;
}

CK_RV ground_use(hsmpool_session *session)
{
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	CK_BYTE random[8];

	return module->C_GenerateRandom(hsmpool_session_handle(session), random,
					sizeof(random));
}

hsmpool_status ground_operate(hsmpool *pool, int64_t milliseconds, CK_RV *rv,
			      hsmpool_error *err)
{
	struct hp_session *session;
	CK_BYTE random[8];

	*rv = CKR_OK;
	hsmpool_status status =
		hp_pool_borrow(pool, HP_WANT_ANY, "operate",
			       hsmpool_deadline_in(milliseconds), &session, err);
	if (status != HSMPOOL_OK)
		return status;
	*rv = hp_generate_random(session, random, sizeof(random));
	hp_pool_return(session, *rv);
	return HSMPOOL_OK;
}

static CK_RV find_and_sign(struct hp_session *session)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t) "ec", 2 },
	};
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	CK_OBJECT_HANDLE key = 0;
	CK_BYTE digest[32] = { 0 }, signature[64];
	CK_ULONG count = 0, len = sizeof(signature);
	CK_RV rv = hp_find_objects(session, template, 2, &key, 1, &count);

	if (rv == CKR_OK && count == 0)
		return CKR_KEY_HANDLE_INVALID;
	if (rv == CKR_OK)
		rv = hp_sign_init(session, &ecdsa, key);
	return rv == CKR_OK ? hp_sign(session, digest, 32, signature, &len) : rv;
}

CK_RV ground_sign(struct ground *g)
{
	struct hp_session *session;
	hsmpool_error err;

	assert_ok(hp_pool_borrow(g->pool, HP_WANT_ANY, "sign", TEST_PATIENCE, &session,
				 &err),
		  &err);
	CK_RV rv = find_and_sign(session);
	hp_pool_return(session, rv);
	return rv;
}

/* --- threads ----------------------------------------------------------------- */

struct member {
	void *(*run)(void *);
	void *argument;
	pthread_barrier_t *start;
	atomic_uint *left; /* to pass the barrier, so that it can be destroyed */
};

static void *run_member(void *argument)
{
	struct member member = *(struct member *)argument;

	free(argument);
	pthread_barrier_wait(member.start);
	atomic_fetch_sub(member.left, 1);
	return member.run(member.argument);
}

struct crew crew_start(size_t count, void *(*run)(void *), void *argument)
{
	struct crew crew = { .threads = calloc(count, sizeof(pthread_t)),
			     .count = count };
	pthread_barrier_t start;
	atomic_uint left = (unsigned)count;
	pthread_attr_t small;

	assert_non_null(crew.threads);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	pthread_barrier_init(&start, NULL, (unsigned)count + 1);
	for (size_t i = 0; i < count; i++) {
		struct member *member = malloc(sizeof(*member));
		assert_non_null(member);
		*member = (struct member){ run, argument, &start, &left };
		assert_int_equal(
			pthread_create(&crew.threads[i], &small, run_member, member), 0);
	}
	pthread_attr_destroy(&small);
	pthread_barrier_wait(&start);
	while (atomic_load(&left) != 0)
		ground_nap();
	pthread_barrier_destroy(&start);
	return crew;
}

void crew_join(struct crew *crew)
{
	for (size_t i = 0; i < crew->count; i++)
		pthread_join(crew->threads[i], NULL);
	free(crew->threads);
	crew->threads = NULL;
}

/* --- the log ----------------------------------------------------------------- */

#define MAX_LINES 512

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char event[48];
	char text[512];
} lines[MAX_LINES];
static size_t line_count; /* guarded by log_lock, as lines are */

static void catch_line(void *user, hsmpool_log_level level, const char *event,
		       const char *text)
{
	(void)user;
	(void)level;
	pthread_mutex_lock(&log_lock);
	if (line_count < MAX_LINES) {
		snprintf(lines[line_count].event, sizeof(lines[0].event), "%s", event);
		snprintf(lines[line_count].text, sizeof(lines[0].text), "%s", text);
		line_count++;
	}
	pthread_mutex_unlock(&log_lock);
}

void ground_catch_log(struct ground *g)
{
	(void)g;
	pthread_mutex_lock(&log_lock);
	line_count = 0;
	pthread_mutex_unlock(&log_lock);
	hsmpool_log_set_callback(catch_line, NULL);
	hsmpool_log_set_level(HSMPOOL_LOG_INFO);
}

unsigned ground_logged(const char *event, char *text, size_t cap)
{
	unsigned found = 0;

	pthread_mutex_lock(&log_lock);
	for (size_t i = 0; i < line_count; i++) {
		if (strcmp(lines[i].event, event) != 0)
			continue;
		found++;
		if (text != NULL)
			snprintf(text, cap, "%s", lines[i].text);
	}
	pthread_mutex_unlock(&log_lock);
	return found;
}
