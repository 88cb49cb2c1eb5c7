/* SPDX-License-Identifier: Apache-2.0 */
/* Handles under threads: nobody ever uses another's object. */
#include "objects_ground.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/time.h"

#define p11 module_load()

enum { THREADS = 8 };

static _Atomic bool is_over;
static _Atomic unsigned used, refused, wrong;

struct worker {
	pthread_t thread;
	unsigned number;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key; /* on the token, with bytes of its own */
	CK_BYTE block[16];    /* what it makes of zeros */
};

static void count(CK_RV rv, const CK_BYTE *out, const CK_BYTE *expected)
{
	if (rv != CKR_OK)
		atomic_fetch_add(&refused, 1);
	else if (memcmp(out, expected, 16) == 0)
		atomic_fetch_add(&used, 1);
	else
		atomic_fetch_add(&wrong, 1);
}

/* A session object, used, sometimes destroyed; what is left over goes with its session.
 */
static void use_session_object(struct worker *w, CK_SESSION_HANDLE session, bool destroys)
{
	CK_OBJECT_HANDLE key;
	CK_BYTE out[16];
	if (objects_aes(session, "passing", (CK_BYTE)(w->number + 1), false, true,
			&key) != CKR_OK)
		return;
	count(objects_use_aes(session, key, out), out, w->block);
	if (destroys)
		p11->C_DestroyObject(session, key);
}

static void *work(void *user)
{
	struct worker *w = user;
	for (unsigned round = 0; !atomic_load(&is_over); round++) {
		CK_BYTE out[16];
		CK_SESSION_HANDLE session;
		CK_ULONG len;
		CK_OBJECT_HANDLE found[64];
		count(objects_use_aes(w->session, w->key, out), out, w->block);
		if (p11->C_OpenSession(module_slot(), RW, NULL, NULL, &session) != CKR_OK)
			continue;
		use_session_object(w, session, round % 2);
		use_session_object(w, session, round % 3);
		if (p11->C_FindObjectsInit(session, NULL, 0) == CKR_OK) {
			p11->C_FindObjects(session, found, 64, &len);
			p11->C_FindObjectsFinal(session);
		}
		p11->C_CloseSession(session);
	}
	return NULL;
}

static void begin_workers(struct worker *workers)
{
	atomic_store(&is_over, false);
	atomic_store(&used, 0);
	atomic_store(&refused, 0);
	atomic_store(&wrong, 0);
	CK_SESSION_HANDLE session = objects_user();
	for (unsigned i = 0; i < THREADS; i++) {
		char label[16];
		struct worker *w = &workers[i];
		snprintf(label, sizeof(label), "worker-%u", i);
		w->number = i;
		w->session = i ? module_session(RW) : session;
		assert_rv(objects_aes(w->session, label, (CK_BYTE)(i + 1), true, true,
				      &w->key),
			  CKR_OK);
		assert_rv(objects_use_aes(w->session, w->key, w->block), CKR_OK);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
}

static void end_workers(struct worker *workers)
{
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		assert_rv(p11->C_DestroyObject(workers[i].session, workers[i].key),
			  CKR_OK);
}

static void await_uses(unsigned more)
{
	unsigned goal = atomic_load(&used) + more;
	int64_t deadline = hp_now_ns() + TEST_PATIENCE_NS;
	while (atomic_load(&used) < goal && hp_now_ns() < deadline)
		sched_yield();
	assert_true(atomic_load(&used) >= goal);
}

static void threads_make_use_and_destroy_at_once(void **state)
{
	struct worker workers[THREADS];
	struct mock_counters counters;
	(void)state;
	begin_workers(workers);
	await_uses(5000);
	end_workers(workers);
	assert_int_equal(atomic_load(&wrong), 0);
	assert_int_equal(atomic_load(&refused), 0);
	fixture_mock_control()->counters(&counters);
	assert_int_equal(counters.objects_created, counters.objects_destroyed);
	assert_true(counters.sessions_peak <= 3);
}

/* Old handles name other objects after each restart. */
static void no_thread_uses_anothers_object_while_the_hsm_restarts(void **state)
{
	struct worker workers[THREADS];
	struct mock_reboot aliased = { .handles = MOCK_HANDLES_ALIASED };
	(void)state;
	begin_workers(workers);
	for (int i = 0; i < 10; i++) {
		await_uses(200);
		fixture_mock_control()->reboot(&aliased);
	}
	await_uses(200);
	end_workers(workers);
	assert_int_equal(atomic_load(&wrong), 0);
}

#define on_mock(name) \
	cmocka_unit_test_setup_teardown(name, objects_begin_mock, objects_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_mock(threads_make_use_and_destroy_at_once),
		on_mock(no_thread_uses_anothers_object_while_the_hsm_restarts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
