/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structure of mock.h: the module's state, its options and its counters.
 */
#include "module.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_SLOT 1

struct mock_state mock = { .lock = PTHREAD_MUTEX_INITIALIZER };

const char *const mock_function_names[MOCK_FUNCTION_COUNT] = {
	"C_Initialize", "C_Finalize",
#define FUNCTION_NAME(name, parameters, arguments) #name,
	MOCK_GLOBAL_FUNCTIONS(FUNCTION_NAME) MOCK_SLOT_FUNCTIONS(FUNCTION_NAME)
		MOCK_SESSION_FUNCTIONS(FUNCTION_NAME)
};

static unsigned find_function(const char *name)
{
	unsigned i = 0;

	while (i < MOCK_FUNCTION_COUNT && strcmp(mock_function_names[i], name) != 0)
		i++;
	return i;
}

bool mock_function_known(const char *name)
{
	return strcmp(name, "*") == 0 || find_function(name) != MOCK_FUNCTION_COUNT;
}

unsigned mock_function_number(const char *name)
{
	if (!mock_function_known(name)) {
		fprintf(stderr, "hsmpool-mock: there is no function '%s'\n", name);
		abort();
	}
	return find_function(name);
}

/* --- options ----------------------------------------------------------------- */

static void set_text(char *to, size_t size, const char *text)
{
	mock_lock();
	snprintf(to, size, "%s", text);
	mock_unlock();
}

void mock_options_reset(void)
{
	mock_lock();
	mock.session_limit = 0;
	mock.has_reported_limit = false;
	snprintf(mock.so_pin, sizeof(mock.so_pin), "%s", MOCK_SO_PIN);
	snprintf(mock.label, sizeof(mock.label), "%s", MOCK_TOKEN_LABEL);
	snprintf(mock.serial, sizeof(mock.serial), "%s", "0001");
	mock.report[0] = '\0';
	mock.is_pin_set = true;
	mock_pin_reset();
	mock.dead_session_rv = CKR_SESSION_HANDLE_INVALID;
	mock.scripted_reboot = (struct mock_reboot){ 0 };
	mock_unlock();
	atomic_store(&mock.logged_out_rv, CKR_KEY_HANDLE_INVALID);
	atomic_store(&mock.leave_active, false);
	atomic_store(&mock.local_session_info, false);
	atomic_store(&mock.cant_lock, false);
}

/* --- counters ---------------------------------------------------------------- */

static uint64_t calls_of(unsigned function)
{
	uint64_t sum = atomic_load(&mock.calls[function]);

	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		sum += atomic_load_explicit(&mock_sessions[i].calls[function],
					    memory_order_relaxed);
	return sum;
}

static uint64_t sum_calls(const char *name)
{
	unsigned function = mock_function_number(name);
	uint64_t sum = 0;

	if (function != MOCK_FUNCTION_COUNT)
		return calls_of(function);
	for (unsigned i = 0; i < MOCK_FUNCTION_COUNT; i++)
		sum += calls_of(i);
	return sum;
}

static uint64_t sum_executed(const char *name)
{
	unsigned function = mock_function_number(name);
	uint64_t stopped = 0;

	for (unsigned i = 0; i < MOCK_FUNCTION_COUNT; i++)
		if (function == MOCK_FUNCTION_COUNT || function == i)
			stopped += atomic_load(&mock.not_executed[i]);
	return sum_calls(name) - stopped;
}

void mock_counters_get(struct mock_counters *out)
{
	*out = (struct mock_counters){
		.calls = sum_calls("*"),
		.sessions_opened = atomic_load(&mock.opened),
		.sessions_closed = atomic_load(&mock.closed),
		.sessions_killed = atomic_load(&mock.killed),
		.sessions_abandoned = atomic_load(&mock.abandoned),
		.sessions_now = atomic_load(&mock.now),
		.sessions_peak = atomic_load(&mock.peak),
		.logins_tried = atomic_load(&mock.logins_tried),
		.logins_failed = atomic_load(&mock.logins_failed),
		.signatures = atomic_load(&mock.signatures),
		.context_logins = atomic_load(&mock.context_logins),
		.logouts = atomic_load(&mock.logouts),
		.objects_created = atomic_load(&mock.created),
		.objects_destroyed = atomic_load(&mock.destroyed),
		.dead_handles = atomic_load(&mock.dead_handles),
		.session_overlaps = atomic_load(&mock.session_overlaps),
		.module_overlaps = atomic_load(&mock.module_overlaps),
		.inside_peak = atomic_load(&mock.inside_peak),
		.initializes = atomic_load(&mock.initializes),
		.finalizes = atomic_load(&mock.finalizes),
	};
}

static void reset_counters(void)
{
	_Atomic uint64_t *counters[] = {
		&mock.closed,          &mock.killed,       &mock.abandoned,
		&mock.signatures,      &mock.logins_tried, &mock.logins_failed,
		&mock.context_logins,  &mock.logouts,      &mock.created,
		&mock.destroyed,       &mock.dead_handles, &mock.session_overlaps,
		&mock.module_overlaps, &mock.inside_peak,  &mock.initializes,
		&mock.finalizes,
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		atomic_store(counters[i], 0);
	mock_lock();
	atomic_store(&mock.opened, atomic_load(&mock.now));
	atomic_store(&mock.peak, atomic_load(&mock.now));
	mock_unlock();
	for (unsigned f = 0; f < MOCK_FUNCTION_COUNT; f++) {
		atomic_store(&mock.calls[f], 0);
		atomic_store(&mock.not_executed[f], 0);
		for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
			atomic_store_explicit(&mock_sessions[i].calls[f], 0,
					      memory_order_relaxed);
	}
}

static bool check_balance(char *why, size_t cap)
{
	struct mock_counters c;

	mock_counters_get(&c);
	bool is_even = c.sessions_now == 0 &&
		       c.sessions_opened == c.sessions_closed + c.sessions_killed;
	if (!is_even && why != NULL)
		snprintf(why, cap,
			 "%llu sessions opened, %llu closed, %llu killed, %llu left to "
			 "C_Finalize, %llu open",
			 (unsigned long long)c.sessions_opened,
			 (unsigned long long)c.sessions_closed,
			 (unsigned long long)c.sessions_killed,
			 (unsigned long long)c.sessions_abandoned,
			 (unsigned long long)c.sessions_now);
	return is_even;
}

/* One line per C_Finalize, in one write(): several processes may share the file. */
void mock_report(void)
{
	struct mock_counters c;
	char path[sizeof(mock.report)], line[512];

	mock_lock();
	snprintf(path, sizeof(path), "%s", mock.report);
	mock_unlock();
	if (path[0] == '\0')
		return;
	mock_counters_get(&c);
	int len = snprintf(
		line, sizeof(line),
		"calls=%llu opened=%llu closed=%llu killed=%llu "
		"abandoned=%llu now=%llu "
		"peak=%llu logins=%llu logins-failed=%llu overlaps=%llu "
		"dead-handles=%llu\n",
		(unsigned long long)c.calls, (unsigned long long)c.sessions_opened,
		(unsigned long long)c.sessions_closed,
		(unsigned long long)c.sessions_killed,
		(unsigned long long)c.sessions_abandoned,
		(unsigned long long)c.sessions_now, (unsigned long long)c.sessions_peak,
		(unsigned long long)c.logins_tried, (unsigned long long)c.logins_failed,
		(unsigned long long)c.session_overlaps,
		(unsigned long long)c.dead_handles);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)len) != len)
		fprintf(stderr, "hsmpool-mock: cannot write %s\n", path);
	if (fd >= 0)
		close(fd);
}

/* --- the controls ------------------------------------------------------------ */

static void reset(void)
{
	mock_faults_reset();
	mock_options_reset();
	reset_counters();
}

static void set_latency(const char *function, int64_t ns)
{
	mock_latency_set(mock_function_number(function), ns);
}

static void set_hang(const char *function, uint64_t nth)
{
	mock_hang_add(mock_function_number(function), nth);
}

static void set_session_limit(CK_ULONG limit)
{
	mock_lock();
	mock.session_limit = limit;
	mock_unlock();
}

static void set_reported_limit(CK_ULONG reported)
{
	mock_lock();
	mock.has_reported_limit = true;
	mock.reported_limit = reported;
	mock_unlock();
}

static void set_pin(const char *user_pin)
{
	set_text(mock_pin()->text, sizeof(mock_pin()->text), user_pin);
}

static void set_pin_tries(unsigned tries)
{
	struct mock_pin *pin = mock_pin();

	atomic_store(&pin->tries, tries);
	atomic_store(&pin->left, tries);
	atomic_store(&pin->is_low, false);
}

static void kill_module(CK_RV rv)
{
	mock_dead_after(0, rv);
}

static void token_present(void)
{
	mock_absent(0);
}

static void log_out(void)
{
	if (atomic_load(&mock.is_wrapping)) {
		mock_wrap_log_out();
		return;
	}
	mock_lock();
	mock_login_change(MOCK_NOBODY);
	mock_unlock();
}

static void set_local_session_info(bool on)
{
	atomic_store(&mock.local_session_info, on);
}

static void set_leave_active(bool on)
{
	atomic_store(&mock.leave_active, on);
}

static void set_cant_lock(bool on)
{
	atomic_store(&mock.cant_lock, on);
	if (on)
		atomic_fetch_or(&mock.armed, MOCK_ARMED_WATCH);
	else
		atomic_fetch_and(&mock.armed, ~(uint32_t)MOCK_ARMED_WATCH);
}

static void set_logged_out_rv(CK_RV rv)
{
	atomic_store(&mock.logged_out_rv, rv);
}

static bool is_any_armed(void)
{
	return atomic_load(&mock.armed) != 0;
}

static const struct mock_control control = {
	.reset = reset,
	.script = mock_script,
	.wrap = mock_wrap_set,
	.latency = set_latency,
	.fail = mock_failure_add,
	.clear_failures = mock_failures_clear,
	.seed = mock_seed,
	.hang = set_hang,
	.hung = mock_hung,
	.release = mock_release,
	.session_limit = set_session_limit,
	.report_limit = set_reported_limit,
	.pin = set_pin,
	.pin_tries = set_pin_tries,
	.reboot = mock_reboot,
	.kill_module = kill_module,
	.token_absent = mock_absent,
	.token_present = token_present,
	.log_out = log_out,
	.local_session_info = set_local_session_info,
	.leave_active = set_leave_active,
	.cant_lock = set_cant_lock,
	.logged_out_rv = set_logged_out_rv,
	.calls = sum_calls,
	.executed = sum_executed,
	.counters = mock_counters_get,
	.armed = is_any_armed,
	.check_balance = check_balance,
};

__attribute__((visibility("default"))) const struct mock_control *
hsmpool_mock_control(void);

const struct mock_control *hsmpool_mock_control(void)
{
	return &control;
}

__attribute__((constructor)) static void begin(void)
{
	atomic_store(&mock.user, MOCK_NOBODY);
	atomic_store(&mock.slot, FIRST_SLOT);
	mock_options_reset();
	mock_objects_reset();
}

/* At the first C_Initialize. */
void mock_environment_read(void)
{
	const char *wraps = getenv("HSMPOOL_MOCK_WRAPS");
	const char *script = getenv("HSMPOOL_MOCK");
	char error[256];

	if (wraps != NULL && wraps[0] != '\0')
		mock_wrap_set(wraps);
	if (script != NULL && !mock_script(script, error, sizeof(error))) {
		fprintf(stderr, "HSMPOOL_MOCK: %s\n", error);
		abort();
	}
}
