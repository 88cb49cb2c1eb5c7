/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Initialize and C_Finalize: what there is while the module is in use, and who is in.
 *
 * Owns: the options of [proxy] as loaded, the reference to the vendor's module, the count
 * of threads inside. process.lock is held over a whole C_Initialize or C_Finalize, so
 * several at once take turns (vendors' modules crash otherwise). Everything else is
 * written there only, and read by those who entered.
 *
 * Entering is one compare and one atomic add on a cache line that few threads share.
 * C_Finalize closes the entrance, wakes those who wait, and waits a bounded time. What
 * hangs inside keeps what it uses: that is then left behind, never freed.
 */
#include "proxy/process.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/time.h"
#include "observe/log.h"
#include "p11/rv.h"
#include "p11/siblings.h"
#include "proxy/choice.h"
#include "proxy/key_rules.h"
#include "proxy/event.h"
#include "proxy/journal.h"
#include "proxy/metrics.h"
#include "proxy/object.h"
#include "proxy/slot.h"
#include "proxy/vsession.h"

#define SHARDS       32
#define END_PATIENCE (5 * HP_SECOND)

/* hp_process_epoch() of the C_Initialize in force; 0: none. */
static _Atomic uint64_t up_epoch;
static bool has_module; /* false: no configuration, no slots */

static struct {
	_Alignas(64) _Atomic uint32_t inside;
} shards[SHARDS];
static _Atomic unsigned next_shard;
static _Thread_local unsigned my_shard; /* 0: none yet, else one more than the index */

static struct {
	pthread_mutex_t lock;
	uint64_t epoch; /* guarded by lock: the process that the rest belongs to */
	struct hp_module *module;
	struct hp_proxy_options options;
	bool is_watching_forks;
	bool was_entered_again; /* by the module that is being initialised */
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local bool is_initializing;

/* Wakes C_Finalize when the last one leaves. */
static pthread_mutex_t leave_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left;
static _Atomic bool is_ending;

/* --- who is inside ----------------------------------------------------------------- */

static unsigned choose_shard(void)
{
	my_shard = 1 + atomic_fetch_add(&next_shard, 1) % SHARDS;
	return my_shard - 1;
}

static inline unsigned shard_of_thread(void)
{
	return __builtin_expect(my_shard != 0, 1) ? my_shard - 1 : choose_shard();
}

static uint32_t count_inside(void)
{
	uint32_t count = 0;
	for (unsigned i = 0; i < SHARDS; i++)
		count += atomic_load(&shards[i].inside);
	return count;
}

CK_RV hp_proxy_enter_slots(void)
{
	uint64_t epoch = hp_process_epoch();
	if (__builtin_expect(atomic_load(&up_epoch) != epoch, 0))
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	/* Announce, then look again: C_Finalize does it the other way round, and one of
	 * the two sees the other. */
	atomic_fetch_add(&shards[shard_of_thread()].inside, 1);
	if (__builtin_expect(atomic_load(&up_epoch) == epoch, 1))
		return CKR_OK;
	hp_proxy_leave();
	return CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV hp_proxy_enter(void)
{
	CK_RV rv = hp_proxy_enter_slots();
	if (__builtin_expect(rv == CKR_OK && !has_module, 0)) {
		hp_proxy_leave();
		return CKR_SESSION_HANDLE_INVALID;
	}
	return rv;
}

void hp_proxy_leave(void)
{
	atomic_fetch_sub(&shards[shard_of_thread()].inside, 1);
	if (__builtin_expect(!atomic_load(&is_ending), 1))
		return;
	pthread_mutex_lock(&leave_lock);
	pthread_cond_broadcast(&left);
	pthread_mutex_unlock(&leave_lock);
}

static bool wait_until_all_left(int64_t deadline_ns)
{
	bool in_time = true;
	pthread_mutex_lock(&leave_lock);
	while (count_inside() > 0 && in_time)
		in_time = hp_cond_wait_until(&left, &leave_lock, deadline_ns);
	pthread_mutex_unlock(&leave_lock);
	return count_inside() == 0;
}

bool hp_proxy_is_ending(void)
{
	return atomic_load(&is_ending);
}

/* --- what those inside ask ---------------------------------------------------------- */

struct hp_module *hp_proxy_module(void)
{
	return process.module;
}

const struct hp_proxy_options *hp_proxy_options(void)
{
	return &process.options;
}

bool hp_proxy_logs_in_automatically(void)
{
	return process.options.login == HP_PROXY_LOGIN_AUTOMATIC;
}

/* Why a session could not be had, in the words of PKCS#11. */
static CK_RV answer_when_down(const hsmpool_error *err)
{
	bool is_known = err && (err->ck_rv == CKR_TOKEN_NOT_PRESENT ||
				err->ck_rv == CKR_DEVICE_REMOVED);
	return is_known ? err->ck_rv : CKR_DEVICE_ERROR;
}

CK_RV hp_proxy_answer(hsmpool_status status, const hsmpool_error *err)
{
	switch (status) {
	case HSMPOOL_OK:
		return CKR_OK;
	case HSMPOOL_ERR_CLOSED:
	case HSMPOOL_ERR_FORKED:
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	case HSMPOOL_ERR_TIMEOUT:
	case HSMPOOL_ERR_BUSY:
		return CKR_FUNCTION_FAILED;
	case HSMPOOL_ERR_DOWN:
		return answer_when_down(err);
	case HSMPOOL_ERR_AUTH:
		return CKR_USER_NOT_LOGGED_IN;
	case HSMPOOL_ERR_SYSTEM:
		return CKR_HOST_MEMORY;
	default:
		return CKR_GENERAL_ERROR;
	}
}

/* --- the configuration -------------------------------------------------------------- */

static bool is_debugging(void)
{
	const char *debug = secure_getenv("HSMPOOL_DEBUG");
	return debug && *debug;
}

/* An administrator sees it in the log, and on stderr while looking for it. */
static void report(const hsmpool_error *err)
{
	HP_LOG(ERROR, "proxy-failed", "%s", err->text);
	if (is_debugging())
		fprintf(stderr, "hsmpool-pkcs11: %s\n", err->text);
}

/* No file at all, and none asked for: a registered module must break nobody. */
static bool is_merely_missing(const hsmpool_error *err)
{
	const char *named = secure_getenv("HSMPOOL_CONF");
	return err->sys_errno == ENOENT && !(named && *named);
}

static hsmpool_status read_options(const hsmpool_config *config, hsmpool_error *err)
{
	HP_TRY(hp_config_proxy(config, &process.options, err));
	HP_TRY(hp_choice_load(config, hp_proxy_logs_in_automatically(), err));
	HP_TRY(hp_key_rules_load(config, err));
	const struct hp_pool_options *pool = hp_choice_default();
	return hp_log_configure(pool->log, pool->log_level,
				pool->log_json ? HP_LOG_JSON : HP_LOG_TEXT, err);
}

/* *has_file false: there is no configuration, and that is fine. */
static hsmpool_status load_options(bool *has_file, hsmpool_error *err)
{
	hsmpool_config *config = NULL;
	hsmpool_status status = hsmpool_config_load(&config, NULL, err);
	*has_file = status == HSMPOOL_OK;
	if (status != HSMPOOL_OK)
		return is_merely_missing(err) ? HSMPOOL_OK : status;
	status = read_options(config, err);
	hsmpool_config_close(&config);
	return status;
}

static hsmpool_status open_module(const struct hp_module_start *start, hsmpool_error *err)
{
	const struct hp_pool_options *pool = hp_choice_default();
	struct hp_rv_overrides overrides;
	HP_TRY(hp_rv_overrides_parse(pool->rv_class, &overrides, err));
	hp_siblings_meet_in(pool->state_dir);
	process.was_entered_again = false;
	is_initializing = true;
	hsmpool_status status = hp_module_open_as(
		&process.module, pool->module, pool->module_env, &overrides, start, err);
	is_initializing = false;
	if (status == HSMPOOL_OK && process.was_entered_again) {
		hp_module_close(&process.module);
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "module %s: it loads hsmpool itself; name the HSM "
			       "vendor's module",
			       pool->module);
	}
	return status;
}

/* --- C_Initialize ------------------------------------------------------------------- */

static void renew_locks_in_child(void)
{
	pthread_mutex_init(&process.lock, NULL);
	pthread_mutex_init(&leave_lock, NULL);
	hp_cond_init(&left);
	hp_vslots_renew_lock();
	hp_vsessions_renew_lock();
	hp_objects_renew_lock();
	hp_events_renew_lock();
	hp_journals_renew_lock();
}

static bool watch_forks(void)
{
	if (process.is_watching_forks)
		return true;
	hp_cond_init(&left);
	process.is_watching_forks = pthread_atfork(NULL, NULL, renew_locks_in_child) == 0;
	return process.is_watching_forks;
}

/* The parent's: its memory goes, as far as no other thread of the parent can have been
 * in the middle of changing it; nothing of it reaches the vendor's module. */
static void abandon_inherited(void)
{
	process.module = NULL;
	hp_objects_abandon();
	hp_vslots_free();
	hp_vsessions_forget();
	hp_choice_clear();
	hp_key_rules_clear();
	memset(shards, 0, sizeof(shards));
	atomic_store(&is_ending, false);
}

static CK_RV check_arguments(const CK_C_INITIALIZE_ARGS *args)
{
	if (!args)
		return CKR_OK;
	unsigned callbacks = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) +
			     (args->LockMutex != NULL) + (args->UnlockMutex != NULL);
	return callbacks == 0 || callbacks == 4 ? CKR_OK : CKR_ARGUMENTS_BAD;
}

/* The module's own refusal is the answer; the rest is ours. */
static CK_RV answer_to_start(hsmpool_status status, const hsmpool_error *err)
{
	report(err);
	if (status == HSMPOOL_ERR_SYSTEM)
		return CKR_HOST_MEMORY;
	return err->ck_rv && status != HSMPOOL_ERR_CONFIG ? err->ck_rv
							  : CKR_GENERAL_ERROR;
}

static CK_RV start_up(const CK_C_INITIALIZE_ARGS *args)
{
	hsmpool_error err = { 0 };
	struct hp_module_start start = { 0 };
	if (args) {
		start.reserved = args->pReserved;
		start.can_create_no_threads =
			args->flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS;
	}
	hsmpool_status status = load_options(&has_module, &err);
	if (status == HSMPOOL_OK && has_module) {
		if (start.can_create_no_threads)
			hp_choice_forbid_threads();
		status = open_module(&start, &err);
	}
	/* Its owner, unless that is another copy of us, may finalise it at any moment; no
	 * thread that the program does not know of must be inside then. */
	if (status == HSMPOOL_OK && has_module && !process.module->is_managed)
		hp_choice_forbid_threads();
	if (status == HSMPOOL_OK)
		return CKR_OK;
	hp_choice_clear();
	hp_key_rules_clear();
	return answer_to_start(status, &err);
}

static CK_RV initialize_locked(const CK_C_INITIALIZE_ARGS *args)
{
	uint64_t epoch = hp_process_epoch();
	if (atomic_load(&up_epoch) == epoch)
		return CKR_CRYPTOKI_ALREADY_INITIALIZED;
	CK_RV rv = check_arguments(args);
	if (rv != CKR_OK)
		return rv;
	if (!watch_forks())
		return CKR_HOST_MEMORY;
	if (process.epoch && process.epoch != epoch)
		abandon_inherited();
	process.epoch = epoch;
	rv = start_up(args);
	if (rv == CKR_OK) {
		hp_proxy_metrics_contribute();
		atomic_store(&is_ending, false);
		atomic_store(&up_epoch, epoch);
	}
	return rv;
}

CK_RV hp_proxy_initialize(void *init_args)
{
	if (is_initializing) { /* the module that we are loading loads us */
		process.was_entered_again = true;
		return CKR_GENERAL_ERROR;
	}
	pthread_mutex_lock(&process.lock);
	CK_RV rv = initialize_locked(init_args);
	pthread_mutex_unlock(&process.lock);
	return rv;
}

/* --- C_Finalize --------------------------------------------------------------------- */

static void wake_all(void)
{
	hp_vslots_shut();
	hp_events_wake();
}

/* A call hangs: what it uses stays, the vendor's module too, which stays initialised
 * and ours, for the next C_Initialize. */
static void leave_behind(void)
{
	HP_LOG(WARNING, "proxy-stuck",
	       "C_Finalize: %u calls hang inside; the module stays initialised",
	       count_inside());
	hp_vslots_forget();
	hp_vsessions_forget();
	hp_objects_abandon();
	hp_choice_forget();
	hp_key_rules_forget();
	process.module = NULL;
}

static void take_down(void)
{
	hp_vsessions_free();
	hp_objects_free();
	hp_vslots_free();
	hp_module_close(&process.module);
	hp_choice_clear();
	hp_key_rules_clear();
}

static CK_RV finalize_locked(const void *reserved)
{
	if (atomic_load(&up_epoch) != hp_process_epoch())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (reserved)
		return CKR_ARGUMENTS_BAD;
	atomic_store(&is_ending, true);
	atomic_store(&up_epoch, 0);
	wake_all();
	if (wait_until_all_left(hp_time_add(hp_now_ns(), END_PATIENCE)))
		take_down();
	else
		leave_behind();
	return CKR_OK;
}

CK_RV hp_proxy_finalize(void *reserved)
{
	if (is_initializing)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	pthread_mutex_lock(&process.lock);
	CK_RV rv = finalize_locked(reserved);
	pthread_mutex_unlock(&process.lock);
	return rv;
}
