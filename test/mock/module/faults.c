/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong, and when: the slow path of a call.
 *
 * rules_lock guards the armed rules, hang_lock the threads that hang; both are leaves
 * and no thread sleeps with rules_lock held. mock.armed has a bit for each kind of
 * trouble that is possible, so that a call without any takes none of this.
 */
#include "module.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define MAX_RULES 256

enum rule_kind { RULE_FAILURE, RULE_HANG };

struct rule {
	enum rule_kind kind;
	unsigned function; /* MOCK_FUNCTION_COUNT: all */
	uint64_t seen;
	uint64_t first, count;
	uint64_t threshold; /* of the probability, in 2^-64; 0: by number */
	CK_RV rv;
	bool after, leave_active;
};

static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[MAX_RULES]; /* guarded by rules_lock */
static size_t rule_count;            /* guarded by rules_lock */
static uint64_t random_state = 1;    /* guarded by rules_lock */

static pthread_mutex_t hang_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hang_released = PTHREAD_COND_INITIALIZER;
static uint64_t hang_epoch;   /* guarded by hang_lock: raised by each release */
static unsigned hung_threads; /* guarded by hang_lock */

static _Atomic int64_t latency_ns[MOCK_FUNCTION_COUNT + 1]; /* the last: all */
static _Atomic CK_RV module_rv;                             /* while it is dead */
static _Atomic int64_t absent_until_ns;
static _Atomic int64_t calls_to_reboot, reboot_period; /* 0: not armed */
static _Atomic int64_t calls_to_death;
static _Atomic CK_RV death_rv;

static void arm(uint32_t bit)
{
	atomic_fetch_or(&mock.armed, bit);
}

static void disarm(uint32_t bit)
{
	atomic_fetch_and(&mock.armed, ~bit);
}

static bool is_armed(uint32_t bit)
{
	return (atomic_load_explicit(&mock.armed, memory_order_relaxed) & bit) != 0;
}

int64_t mock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- latency ----------------------------------------------------------------- */

static bool is_lifecycle(unsigned function)
{
	return function == MOCK_C_Initialize || function == MOCK_C_Finalize;
}

static int64_t latency_of(enum mock_function function)
{
	int64_t own = atomic_load_explicit(&latency_ns[function], memory_order_relaxed);

	if (own != 0 || is_lifecycle(function))
		return own;
	return atomic_load_explicit(&latency_ns[MOCK_FUNCTION_COUNT],
				    memory_order_relaxed);
}

static void sleep_until(int64_t until_ns)
{
	static _Thread_local bool is_exact;
	struct timespec until = { .tv_sec = until_ns / 1000000000,
				  .tv_nsec = until_ns % 1000000000 };

	if (!is_exact) {
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
		is_exact = true;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
		;
}

void mock_latency_set(unsigned function, int64_t ns)
{
	bool is_any = false;

	atomic_store(&latency_ns[function], ns);
	for (unsigned i = 0; i <= MOCK_FUNCTION_COUNT; i++)
		is_any = is_any || atomic_load(&latency_ns[i]) != 0;
	if (is_any)
		arm(MOCK_ARMED_LATENCY);
	else
		disarm(MOCK_ARMED_LATENCY);
}

/* --- rules: failures and hangs ----------------------------------------------- */

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

static bool rule_hits(struct rule *rule, enum mock_function function)
{
	if (rule->function != function &&
	    (rule->function != MOCK_FUNCTION_COUNT || is_lifecycle(function)))
		return false;
	if (rule->threshold != 0)
		return next_random() < rule->threshold;
	rule->seen++;
	return rule->seen >= rule->first && rule->seen - rule->first < rule->count;
}

/* The failure that hits this call, if one does; whether a hang does, in *hangs. */
static bool match_rules(enum mock_function function, struct rule *failure, bool *hangs)
{
	bool is_hit = false;

	pthread_mutex_lock(&rules_lock);
	for (size_t i = 0; i < rule_count; i++) {
		if (!rule_hits(&rules[i], function))
			continue;
		if (rules[i].kind == RULE_HANG) {
			*hangs = true;
		} else if (!is_hit) {
			*failure = rules[i];
			is_hit = true;
		}
	}
	pthread_mutex_unlock(&rules_lock);
	return is_hit;
}

static void add_rule(const struct rule *rule)
{
	pthread_mutex_lock(&rules_lock);
	if (rule_count == MAX_RULES)
		abort();
	rules[rule_count++] = *rule;
	pthread_mutex_unlock(&rules_lock);
	arm(rule->kind == RULE_HANG ? MOCK_ARMED_HANGS : MOCK_ARMED_FAILURES);
}

static void remove_rules(enum rule_kind kind)
{
	size_t kept = 0;

	pthread_mutex_lock(&rules_lock);
	for (size_t i = 0; i < rule_count; i++)
		if (rules[i].kind != kind)
			rules[kept++] = rules[i];
	rule_count = kept;
	pthread_mutex_unlock(&rules_lock);
	disarm(kind == RULE_HANG ? MOCK_ARMED_HANGS : MOCK_ARMED_FAILURES);
}

void mock_failure_add(const struct mock_failure *failure)
{
	double p = failure->probability;
	struct rule rule = {
		.kind = RULE_FAILURE,
		.function = mock_function_number(failure->function),
		.first = failure->first != 0 ? failure->first : 1,
		.count = failure->count != 0 ? failure->count : 1,
		.threshold = p >= 1  ? UINT64_MAX
			     : p > 0 ? (uint64_t)(p * 0x1p64)
				     : 0,
		.rv = failure->rv,
		.after = failure->after,
		.leave_active = failure->leave_active,
	};

	add_rule(&rule);
}

void mock_failures_clear(void)
{
	remove_rules(RULE_FAILURE);
}

void mock_seed(uint64_t seed)
{
	pthread_mutex_lock(&rules_lock);
	random_state = seed != 0 ? seed : 1;
	pthread_mutex_unlock(&rules_lock);
}

void mock_hang_add(unsigned function, uint64_t nth)
{
	struct rule rule = {
		.kind = RULE_HANG,
		.function = function,
		.first = nth != 0 ? nth : 1,
		.count = 1,
	};

	add_rule(&rule);
}

static void hang(void)
{
	pthread_mutex_lock(&hang_lock);
	uint64_t epoch = hang_epoch;
	hung_threads++;
	while (hang_epoch == epoch)
		pthread_cond_wait(&hang_released, &hang_lock);
	hung_threads--;
	pthread_mutex_unlock(&hang_lock);
}

unsigned mock_hung(void)
{
	pthread_mutex_lock(&hang_lock);
	unsigned now = hung_threads;
	pthread_mutex_unlock(&hang_lock);
	return now;
}

void mock_release(void)
{
	remove_rules(RULE_HANG);
	pthread_mutex_lock(&hang_lock);
	hang_epoch++;
	pthread_cond_broadcast(&hang_released);
	pthread_mutex_unlock(&hang_lock);
}

/* --- reboot, removal, death -------------------------------------------------- */

void mock_reboot(const struct mock_reboot *how)
{
	static const struct mock_reboot usual;

	if (how == NULL)
		how = &usual;
	mock_lock();
	mock_sessions_kill_all(how->session_rv != 0 ? how->session_rv
						    : CKR_SESSION_HANDLE_INVALID,
			       how->reuse_sessions);
	if (!atomic_load(&mock.is_wrapping)) {
		mock.is_rebooting = true;
		if (!how->keep_login)
			mock_login_change(MOCK_NOBODY);
		mock.is_rebooting = false;
		mock_objects_renumber(how->handles);
	}
	if (how->move_slot)
		atomic_fetch_add(&mock.slot, 1);
	mock_unlock();
	if (atomic_load(&mock.is_wrapping))
		mock_wrap_reboot(how);
}

void mock_reboot_after(uint64_t calls, bool again)
{
	atomic_store(&reboot_period, again ? (int64_t)calls : 0);
	atomic_store(&calls_to_reboot, (int64_t)calls);
	arm(MOCK_ARMED_TRIGGERS);
}

void mock_dead_after(uint64_t calls, CK_RV rv)
{
	atomic_store(&death_rv, rv);
	atomic_store(&calls_to_death, (int64_t)calls);
	if (calls == 0) {
		atomic_store(&module_rv, rv);
		arm(MOCK_ARMED_DEAD);
	} else {
		arm(MOCK_ARMED_TRIGGERS);
	}
}

void mock_module_revive(void)
{
	disarm(MOCK_ARMED_DEAD);
}

static void count_down(void)
{
	if (atomic_load(&calls_to_reboot) > 0 &&
	    atomic_fetch_sub(&calls_to_reboot, 1) == 1) {
		atomic_store(&calls_to_reboot, atomic_load(&reboot_period));
		mock_lock();
		struct mock_reboot how = mock.scripted_reboot;
		mock_unlock();
		mock_reboot(&how);
	}
	if (atomic_load(&calls_to_death) > 0 && atomic_fetch_sub(&calls_to_death, 1) == 1)
		mock_dead_after(0, atomic_load(&death_rv));
}

void mock_absent(uint64_t ns)
{
	if (ns == 0) {
		atomic_store(&absent_until_ns, 0);
		disarm(MOCK_ARMED_ABSENT);
		return;
	}
	atomic_store(&absent_until_ns,
		     ns > INT64_MAX / 2 ? INT64_MAX : mock_now_ns() + (int64_t)ns);
	arm(MOCK_ARMED_ABSENT);
	mock_reboot(NULL);
}

bool mock_is_absent(void)
{
	if (!is_armed(MOCK_ARMED_ABSENT))
		return false;
	if (mock_now_ns() < atomic_load(&absent_until_ns))
		return true;
	disarm(MOCK_ARMED_ABSENT);
	return false;
}

/* --- the slow path ----------------------------------------------------------- */

static bool takes_session(enum mock_function function)
{
	return function >= MOCK_C_InitPIN;
}

/* Whether the function needs a token in its slot. */
static bool takes_token(enum mock_function function)
{
	return function == MOCK_C_GetTokenInfo || function == MOCK_C_GetMechanismList ||
	       function == MOCK_C_GetMechanismInfo || function == MOCK_C_InitToken ||
	       function == MOCK_C_OpenSession;
}

static void watch_enter(void)
{
	uint64_t inside = atomic_fetch_add(&mock.inside, 1) + 1;
	uint64_t peak = atomic_load(&mock.inside_peak);

	while (inside > peak &&
	       !atomic_compare_exchange_weak(&mock.inside_peak, &peak, inside))
		;
	if (inside > 1 && atomic_load(&mock.cant_lock))
		mock_count(&mock.module_overlaps);
}

/* The state of module, token and session, as the call finds it. */
static CK_RV find_state(const struct mock_visit *visit)
{
	enum mock_function function = visit->function;

	if (is_lifecycle(function))
		return CKR_OK;
	if (!atomic_load(&mock.is_initialized))
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (is_armed(MOCK_ARMED_DEAD))
		return atomic_load(&module_rv);
	if (takes_token(function) && mock_is_absent())
		return CKR_TOKEN_NOT_PRESENT;
	if (takes_session(function) &&
	    (visit->session == NULL ||
	     atomic_load(&visit->session->handle) != visit->handle))
		return mock_dead_session_rv(visit->handle);
	return CKR_OK;
}

bool mock_fault_before(struct mock_visit *visit)
{
	struct rule failure;
	bool is_hanging = false, is_failing = false;
	int64_t latency = latency_of(visit->function);
	int64_t start = latency != 0 ? mock_now_ns() : 0;

	watch_enter();
	if (is_armed(MOCK_ARMED_TRIGGERS))
		count_down();
	if (is_armed(MOCK_ARMED_FAILURES | MOCK_ARMED_HANGS))
		is_failing = match_rules(visit->function, &failure, &is_hanging);
	if (latency != 0)
		sleep_until(start + latency);
	if (is_hanging)
		hang();
	visit->rv = find_state(visit);
	if (visit->rv == CKR_OK && is_failing) {
		visit->rv = failure.rv;
		visit->is_failing_after = failure.after;
		if (failure.after)
			return true;
		if (!failure.leave_active && !atomic_load(&mock.leave_active))
			mock_end_operation(visit->session, visit->function);
	}
	if (visit->rv != CKR_OK)
		mock_count(&mock.not_executed[visit->function]);
	return visit->rv == CKR_OK;
}

CK_RV mock_fault_after(struct mock_visit *visit, CK_RV rv)
{
	atomic_fetch_sub(&mock.inside, 1);
	return visit->is_failing_after ? visit->rv : rv;
}

void mock_faults_reset(void)
{
	mock_release();
	mock_failures_clear();
	for (unsigned i = 0; i <= MOCK_FUNCTION_COUNT; i++)
		atomic_store(&latency_ns[i], 0);
	atomic_store(&calls_to_reboot, 0);
	atomic_store(&calls_to_death, 0);
	atomic_store(&absent_until_ns, 0);
	mock_seed(1);
	atomic_store(&mock.armed, 0);
}
