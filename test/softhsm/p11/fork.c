/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forking while other threads are inside the module (decision 10). Without the gate
 * about a quarter of such children hang in a lock that nobody holds any more.
 */
#include "ground.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "p11/gate.h"

#define THREADS  4
#define CHILDREN 200

static struct fixture fixture;
static struct ground ground;
static CK_OBJECT_HANDLE ec_private;
static CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };

static CK_RV sign_once(struct hp_session *s, CK_OBJECT_HANDLE key)
{
	static const CK_BYTE digest[32] = { 1, 2, 3 };
	CK_BYTE signature[64];
	CK_ULONG len = sizeof(signature);
	CK_RV rv = hp_sign_init(s, &ecdsa, key);
	return rv != CKR_OK ? rv : hp_sign(s, digest, sizeof(digest), signature, &len);
}

/* --- the parent's busy threads ------------------------------------------------------ */

struct signer {
	pthread_t thread;
	struct hp_session session;
	uint64_t signatures;
	CK_RV failure;
};

static _Atomic bool stop_signing;

static void *keep_signing(void *argument)
{
	struct signer *signer = argument;
	while (!atomic_load(&stop_signing) && signer->failure == CKR_OK) {
		signer->failure = sign_once(&signer->session, ec_private);
		signer->signatures++;
	}
	return NULL;
}

static void start_signers(struct signer *signers)
{
	atomic_store(&stop_signing, false);
	for (unsigned i = 0; i < THREADS; i++) {
		memset(&signers[i], 0, sizeof(signers[i]));
		ground_open_session(&ground, &signers[i].session, i + 1, false);
		assert_int_equal(pthread_create(&signers[i].thread, NULL, keep_signing,
						&signers[i]),
				 0);
	}
}

static void stop_signers(struct signer *signers)
{
	atomic_store(&stop_signing, true);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(signers[i].thread, NULL);
		assert_rv(signers[i].failure, CKR_OK);
		assert_true(signers[i].signatures > 0);
		hp_session_close(&signers[i].session);
	}
}

/* --- what a child does --------------------------------------------------------------
 *
 * Its exit status tells how far it came; no cmocka here, which would report into the
 * parent's output.
 */
enum {
	CHILD_OK,
	NO_MODULE,
	NO_TOKEN,
	NO_SESSION,
	NO_LOGIN,
	NO_KEY,
	NO_SIGNATURE,
	NO_RANDOM,
	USABLE
};

static int open_in_child(struct ground *own)
{
	hsmpool_error err;
	struct hp_uri *uri = NULL;
	memset(own, 0, sizeof(*own));
	if (hp_module_open(&own->module, fixture.module, NULL, NULL, &err) != HSMPOOL_OK)
		return NO_MODULE;
	if (hp_uri_parse("pkcs11:token=" FIXTURE_TOKEN, &uri, &err) != HSMPOOL_OK ||
	    hp_token_find(own->module, uri, &own->token, &err) != HSMPOOL_OK)
		return NO_TOKEN;
	hp_uri_free(&uri);
	CK_SLOT_ID slot = own->token.slot;
	return hp_session_open(&own->session, own->module, slot, false) == CKR_OK
		       ? CHILD_OK
		       : NO_SESSION;
}

static int close_in_child(struct ground *own)
{
	hp_session_close(&own->session);
	hp_module_close(&own->module);
	return CHILD_OK;
}

static int sign_in_child(void)
{
	struct ground own;
	struct hp_secret pin = { .data = (uint8_t *)(uintptr_t)FIXTURE_USER_PIN,
				 .len = strlen(FIXTURE_USER_PIN) };
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) } };
	CK_OBJECT_HANDLE key;
	CK_ULONG count = 0;
	int opened = open_in_child(&own);
	if (opened != CHILD_OK)
		return opened;
	if (hp_session_login(&own.session, CKU_USER, &pin) != CKR_OK)
		return NO_LOGIN;
	if (hp_find_objects(&own.session, template, 1, &key, 1, &count) != CKR_OK ||
	    count != 1)
		return NO_KEY;
	if (sign_once(&own.session, key) != CKR_OK)
		return NO_SIGNATURE;
	return close_in_child(&own);
}

/* Without a login: what SoftHSM2 does to the token's file at each one can make that of
 * another process fail. */
static int draw_in_child(void)
{
	struct ground own;
	CK_BYTE random[16];
	int opened = open_in_child(&own);
	if (opened != CHILD_OK)
		return opened;
	if (hp_generate_random(&own.session, random, sizeof(random)) != CKR_OK)
		return NO_RANDOM;
	return close_in_child(&own);
}

/* A call on the parent's session must be refused without reaching the module. */
static int use_the_parents_session(void)
{
	CK_SESSION_INFO info;
	if (hp_session_info(&ground.session, &info) != CKR_CRYPTOKI_NOT_INITIALIZED)
		return USABLE;
	hp_module_close(&ground.module);
	return CHILD_OK;
}

static int fork_and_sign_in_grandchild(void)
{
	int status = 0;
	pid_t grandchild = fork();
	if (grandchild == 0)
		_exit(sign_in_child());
	waitpid(grandchild, &status, 0);
	int first = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
	return first != CHILD_OK ? first : sign_in_child();
}

/* The alarm ends a child that hangs. */
static pid_t fork_child(int (*act)(void))
{
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		_exit(act());
	}
	assert_true(child > 0);
	return child;
}

static void expect_child_ok(pid_t child)
{
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("a child was ended by signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

/* --- tests ------------------------------------------------------------------------- */

static void every_child_of_a_busy_process_can_use_the_module(void **state)
{
	static struct signer signers[THREADS];
	(void)state;
	start_signers(signers);
	for (int i = 0; i < CHILDREN; i++)
		expect_child_ok(fork_child(sign_in_child));
	stop_signers(signers);
	assert_rv(sign_once(&ground.session, ec_private), CKR_OK);
}

static void a_childs_child_can_use_the_module_and_so_can_the_child(void **state)
{
	(void)state;
	expect_child_ok(fork_child(fork_and_sign_in_grandchild));
}

static void the_parents_session_is_refused_in_a_child(void **state)
{
	(void)state;
	expect_child_ok(fork_child(use_the_parents_session));
	assert_rv(sign_once(&ground.session, ec_private), CKR_OK);
}

/* No atfork handler runs for it; the epoch alone tells. */
static void a_child_made_by_a_raw_clone_is_told_apart(void **state)
{
	(void)state;
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(use_the_parents_session());
	assert_true(child > 0);
	expect_child_ok(child);
}

struct forker {
	pthread_t thread;
	pid_t child;
};

static void *fork_in_thread(void *argument)
{
	struct forker *forker = argument;
	forker->child = fork_child(draw_in_child);
	return NULL;
}

static void several_threads_may_fork_at_once(void **state)
{
	static struct signer signers[THREADS];
	static struct forker forkers[8];
	(void)state;
	start_signers(signers);
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&forkers[i].thread, NULL, fork_in_thread,
						&forkers[i]),
				 0);
	for (int i = 0; i < 8; i++) {
		pthread_join(forkers[i].thread, NULL);
		expect_child_ok(forkers[i].child);
	}
	stop_signers(signers);
}

static int make_ground(void **state)
{
	CK_OBJECT_HANDLE ec_public;
	(void)state;
	fixture_softhsm(&fixture);
	ground_log_in(&ground);
	ground_make_ec(&ground, "ec", &ec_public, &ec_private);
	return 0;
}

static int remove_ground(void **state)
{
	(void)state;
	ground_close(&ground);
	fixture_remove(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_child_of_a_busy_process_can_use_the_module),
		cmocka_unit_test(a_childs_child_can_use_the_module_and_so_can_the_child),
		cmocka_unit_test(the_parents_session_is_refused_in_a_child),
		cmocka_unit_test(a_child_made_by_a_raw_clone_is_told_apart),
		cmocka_unit_test(several_threads_may_fork_at_once),
	};
	return cmocka_run_group_tests(tests, make_ground, remove_ground);
}
