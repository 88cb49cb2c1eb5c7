/* SPDX-License-Identifier: Apache-2.0 */
/* Several instances in one process, and the process's end (rows L39, S24). */
#include "module_ground.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture softhsm, mock;

/* A process that ends in the middle of things leaves things. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}

/* --- two copies of the module
 * ---------------------------------------------------------------- */

/* Another file, so the loader takes it for another library. */
static CK_FUNCTION_LIST *load_copy(void)
{
	static CK_FUNCTION_LIST *loaded;
	char path[400];
	if (loaded)
		return loaded;
	snprintf(path, sizeof(path), "%s/copy.so", softhsm.dir);
	FILE *from = fopen(module_path(), "rb"), *to = fopen(path, "wb");
	assert_true(from && to);
	char block[65536];
	for (size_t len; (len = fread(block, 1, sizeof(block), from)) > 0;)
		assert_int_equal(fwrite(block, 1, len, to), len);
	fclose(from);
	assert_int_equal(fclose(to), 0);
	loaded = module_load_other(path);
	return loaded;
}

static CK_RV digest_by(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session)
{
	CK_MECHANISM mechanism = { CKM_SHA256, NULL, 0 };
	CK_BYTE input[] = { 1 }, digest[32];
	CK_ULONG len = sizeof(digest);
	CK_RV rv = p11->C_DigestInit(session, &mechanism);
	return rv != CKR_OK ? rv
			    : p11->C_Digest(session, input, sizeof(input), digest, &len);
}

static bool vendor_is_initialised(void)
{
	CK_INFO info;
	return module_load_other(softhsm.module)->C_GetInfo(&info) == CKR_OK;
}

static void two_instances_share_the_vendors_module(void **state)
{
	(void)state;
	module_configure(&softhsm, "borrow-timeout = 300ms", NULL);
	CK_FUNCTION_LIST *copy = load_copy();
	CK_SESSION_HANDLE theirs;
	assert_ptr_not_equal(copy, module_load());
	module_begin();
	assert_rv(copy->C_Initialize(NULL), CKR_OK);
	CK_SLOT_ID slot = module_slot();
	CK_SESSION_HANDLE ours = module_session(RW);
	assert_rv(copy->C_OpenSession(slot, RW, NULL, NULL, &theirs), CKR_OK);
	assert_rv(module_login(ours, CKU_USER, FIXTURE_USER_PIN), CKR_OK);
	assert_rv(digest_by(copy, theirs), CKR_OK);
	assert_rv(digest_by(module_load(), ours), CKR_OK);
	/* The one that came second takes nothing from the first. */
	assert_rv(copy->C_CloseAllSessions(slot), CKR_OK);
	assert_rv(copy->C_Finalize(NULL), CKR_OK);
	assert_rv(digest_by(module_load(), ours), CKR_OK);
	assert_int_equal(module_state(ours), CKS_RW_USER_FUNCTIONS);
	/* Nor does the one that came first: the last one takes the vendor's module along.
	 */
	assert_rv(copy->C_Initialize(NULL), CKR_OK);
	assert_rv(copy->C_OpenSession(slot, RW, NULL, NULL, &theirs), CKR_OK);
	module_end();
	assert_rv(digest_by(copy, theirs), CKR_OK);
	module_begin();
	assert_rv(digest_by(module_load(), module_session(RW)), CKR_OK);
	module_end();
	assert_true(vendor_is_initialised());
	assert_rv(copy->C_Finalize(NULL), CKR_OK);
	assert_false(vendor_is_initialised());
}

/* --- an application's threads inside --------------------------------------------------
 */

struct worker {
	pthread_t thread;
	CK_FUNCTION_LIST *copy;
	CK_SESSION_HANDLE session;
	_Atomic unsigned done;
	_Atomic bool stop;
	CK_RV rv;
};

static void *digest_until_told(void *argument)
{
	struct worker *w = argument;
	while (!atomic_load(&w->stop) && w->rv == CKR_OK) {
		w->rv = digest_by(w->copy, w->session);
		atomic_fetch_add(&w->done, 1);
	}
	atomic_fetch_add(&w->done, 1000000); /* nobody waits for one that has ended */
	return NULL;
}

static void await_progress(struct worker *w)
{
	unsigned before = atomic_load(&w->done);
	while (atomic_load(&w->done) < before + 20)
		sched_yield();
}

static void threads_in_one_instance_outlast_the_other(void **state)
{
	struct worker workers[3] = { 0 };
	(void)state;
	module_configure(&softhsm, NULL, NULL);
	CK_FUNCTION_LIST *copy = load_copy();
	module_begin();
	assert_rv(copy->C_Initialize(NULL), CKR_OK);
	CK_SLOT_ID slot = module_slot();
	for (int i = 0; i < 3; i++) {
		struct worker *w = &workers[i];
		w->copy = copy;
		assert_rv(copy->C_OpenSession(slot, RW, NULL, NULL, &w->session), CKR_OK);
		pthread_create(&w->thread, NULL, digest_until_told, w);
	}
	for (int round = 0; round < 10; round++) {
		assert_rv(module_digest(module_session(RW)), CKR_OK);
		await_progress(&workers[round % 3]);
		module_end();
		await_progress(&workers[round % 3]);
		module_begin();
	}
	for (int i = 0; i < 3; i++) {
		atomic_store(&workers[i].stop, true);
		pthread_join(workers[i].thread, NULL);
		assert_rv(workers[i].rv, CKR_OK);
	}
	module_end();
	assert_rv(copy->C_Finalize(NULL), CKR_OK);
	assert_false(vendor_is_initialised());
}

/* The library, which this program contains, is an instance too. */
static void the_library_and_the_module_share_the_vendors_module(void **state)
{
	(void)state;
	module_configure(&softhsm, NULL, NULL);
	hsmpool *pool = fixture_open(&softhsm);
	module_begin();
	assert_rv(module_digest(module_session(RW)), CKR_OK);
	hsmpool_close(&pool);
	assert_rv(module_digest(module_session(RW)), CKR_OK);
	pool = fixture_open(&softhsm);
	module_end();
	assert_true(vendor_is_initialised());
	hsmpool_close(&pool);
	assert_false(vendor_is_initialised());
}

static bool work_in_child(CK_FUNCTION_LIST *one, CK_FUNCTION_LIST *other, CK_SLOT_ID slot)
{
	CK_SESSION_HANDLE first, second;
	return one->C_Initialize(NULL) == CKR_OK && other->C_Initialize(NULL) == CKR_OK &&
	       one->C_OpenSession(slot, RW, NULL, NULL, &first) == CKR_OK &&
	       other->C_OpenSession(slot, RW, NULL, NULL, &second) == CKR_OK &&
	       digest_by(one, first) == CKR_OK && one->C_Finalize(NULL) == CKR_OK &&
	       digest_by(other, second) == CKR_OK && other->C_Finalize(NULL) == CKR_OK &&
	       !vendor_is_initialised();
}

/* The uses of the parent are not the child's, whichever instance it asks first. */
static void both_instances_work_in_a_forked_child(void **state)
{
	(void)state;
	module_configure(&softhsm, "token = pkcs11:token=" FIXTURE_TOKEN, NULL);
	CK_FUNCTION_LIST *copy = load_copy();
	module_begin();
	assert_rv(copy->C_Initialize(NULL), CKR_OK);
	CK_SLOT_ID slot = module_slot();
	for (int i = 0; i < 2; i++) {
		int status = 0;
		pid_t child = fork();
		if (child == 0) {
			alarm(30);
			_exit(!work_in_child(i ? copy : module_load(),
					     i ? module_load() : copy, slot));
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	module_end();
	assert_rv(copy->C_Finalize(NULL), CKR_OK);
}

/* --- unloading
 * ---------------------------------------------------------------------------------- */

/* Programs unload modules without a word, their threads still running. */
static void unloading_the_module_does_not_take_it_away(void **state)
{
	(void)state;
	module_configure(&softhsm, NULL, NULL);
	void *dl = dlopen(module_path(), RTLD_NOW | RTLD_LOCAL);
	module_begin();
	CK_SESSION_HANDLE session = module_session(RW);
	for (int i = 0; i < 3; i++)
		dlclose(dl); /* one of them is module_load()'s */
	assert_rv(module_digest(session), CKR_OK);
	module_end();
}

/* --- the end of the process
 * ----------------------------------------------------------------------- */

static void *digest_for_ever(void *argument)
{
	CK_SLOT_ID slot = *(CK_SLOT_ID *)argument;
	CK_SESSION_HANDLE session;
	if (module_load()->C_OpenSession(slot, RW, NULL, NULL, &session) != CKR_OK)
		return NULL;
	while (module_digest(session) == CKR_OK)
		;
	return NULL;
}

static void exit_in_the_middle(unsigned pause_us)
{
	pthread_t thread;
	CK_SLOT_ID slots[4];
	CK_ULONG count = 4;
	alarm(30);
	if (module_load()->C_Initialize(NULL) != CKR_OK ||
	    module_load()->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
		_exit(1);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, digest_for_ever, &slots[0]);
	usleep(pause_us);
	exit(0);
}

static void the_process_may_end_at_any_moment(void **state)
{
	(void)state;
	fixture_mock(&mock);
	module_configure(&mock,
			 "max-sessions = 2\nvalidate-after = 0\n"
			 "revalidate-interval = 1ms\nidle-timeout = 2ms",
			 NULL);
	fflush(NULL);
	for (unsigned i = 0; i < 30; i++) {
		int status = 0;
		pid_t child = fork();
		if (child == 0)
			exit_in_the_middle(i * 300);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (WIFSIGNALED(status))
			fail_msg("a child was ended by signal %d", WTERMSIG(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	fixture_remove(&mock);
}

static int make_token(void **state)
{
	(void)state;
	fixture_softhsm(&softhsm);
	return 0;
}

static int remove_token(void **state)
{
	(void)state;
	fixture_remove(&softhsm);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_instances_share_the_vendors_module),
		cmocka_unit_test(threads_in_one_instance_outlast_the_other),
		cmocka_unit_test(the_library_and_the_module_share_the_vendors_module),
		cmocka_unit_test(both_instances_work_in_a_forked_child),
		cmocka_unit_test(unloading_the_module_does_not_take_it_away),
		cmocka_unit_test(the_process_may_end_at_any_moment),
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}
