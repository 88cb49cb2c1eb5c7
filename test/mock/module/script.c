/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controls as text: see script() in mock.h.
 */
#include "module.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct named_rv {
	const char *name;
	CK_RV rv;
};

#define RV(name)                  \
	{                         \
#name, CKR_##name \
	}
static const struct named_rv named[] = {
	RV(OK),
	RV(CANCEL),
	RV(HOST_MEMORY),
	RV(SLOT_ID_INVALID),
	RV(GENERAL_ERROR),
	RV(FUNCTION_FAILED),
	RV(ARGUMENTS_BAD),
	RV(CANT_LOCK),
	RV(ATTRIBUTE_READ_ONLY),
	RV(ATTRIBUTE_SENSITIVE),
	RV(ATTRIBUTE_TYPE_INVALID),
	RV(ATTRIBUTE_VALUE_INVALID),
	RV(DATA_INVALID),
	RV(DATA_LEN_RANGE),
	RV(DEVICE_ERROR),
	RV(DEVICE_MEMORY),
	RV(DEVICE_REMOVED),
	RV(ENCRYPTED_DATA_INVALID),
	RV(ENCRYPTED_DATA_LEN_RANGE),
	RV(FUNCTION_CANCELED),
	RV(FUNCTION_NOT_PARALLEL),
	RV(FUNCTION_NOT_SUPPORTED),
	RV(KEY_HANDLE_INVALID),
	RV(KEY_SIZE_RANGE),
	RV(KEY_TYPE_INCONSISTENT),
	RV(KEY_FUNCTION_NOT_PERMITTED),
	RV(KEY_NOT_WRAPPABLE),
	RV(KEY_UNEXTRACTABLE),
	RV(MECHANISM_INVALID),
	RV(MECHANISM_PARAM_INVALID),
	RV(OBJECT_HANDLE_INVALID),
	RV(OPERATION_ACTIVE),
	RV(OPERATION_NOT_INITIALIZED),
	RV(PIN_INCORRECT),
	RV(PIN_INVALID),
	RV(PIN_LEN_RANGE),
	RV(PIN_EXPIRED),
	RV(PIN_LOCKED),
	RV(SESSION_CLOSED),
	RV(SESSION_COUNT),
	RV(SESSION_HANDLE_INVALID),
	RV(SESSION_PARALLEL_NOT_SUPPORTED),
	RV(SESSION_READ_ONLY),
	RV(SESSION_EXISTS),
	RV(SIGNATURE_INVALID),
	RV(SIGNATURE_LEN_RANGE),
	RV(TEMPLATE_INCOMPLETE),
	RV(TEMPLATE_INCONSISTENT),
	RV(TOKEN_NOT_PRESENT),
	RV(TOKEN_NOT_RECOGNIZED),
	RV(TOKEN_WRITE_PROTECTED),
	RV(USER_ALREADY_LOGGED_IN),
	RV(USER_NOT_LOGGED_IN),
	RV(USER_PIN_NOT_INITIALIZED),
	RV(USER_TYPE_INVALID),
	RV(USER_ANOTHER_ALREADY_LOGGED_IN),
	RV(USER_TOO_MANY_TYPES),
	RV(WRAPPED_KEY_INVALID),
	RV(BUFFER_TOO_SMALL),
	RV(CRYPTOKI_NOT_INITIALIZED),
	RV(CRYPTOKI_ALREADY_INITIALIZED),
	RV(MUTEX_BAD),
	RV(FUNCTION_REJECTED),
};

static bool parse_number(const char *text, uint64_t *number)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*number = strtoull(text, &end, 0);
	return errno == 0 && *end == '\0';
}

bool mock_rv_parse(const char *text, CK_RV *rv)
{
	uint64_t number;
	const char *name = strncmp(text, "CKR_", 4) == 0 ? text + 4 : text;

	if (parse_number(text, &number)) {
		*rv = (CK_RV)number;
		return true;
	}
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (strcmp(named[i].name, name) == 0) {
			*rv = named[i].rv;
			return true;
		}
	}
	return false;
}

static bool parse_time(const char *text, int64_t *ns)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = {
		{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }
	};
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if (end == text || number > 1000000000ull)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0) {
			*ns = (int64_t)number * units[i].ns;
			return true;
		}
	}
	*ns = 0;
	return number == 0 && *end == '\0';
}

/* Cut text at the next ':' and return what follows it, or NULL. */
static char *cut(char *text)
{
	char *colon = text != NULL ? strchr(text, ':') : NULL;

	if (colon == NULL)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

/* --- items: each takes its value, which it may cut up ------------------------ */

static bool do_latency(char *value)
{
	char *time = cut(value);
	int64_t ns;

	if (time == NULL || !mock_function_known(value) || !parse_time(time, &ns))
		return false;
	mock_latency_set(mock_function_number(value), ns);
	return true;
}

/* N, N+K, N+ or pX */
static bool parse_when(char *when, struct mock_failure *failure)
{
	char *plus = strchr(when, '+');
	char *end;

	if (when[0] == 'p') {
		failure->probability = strtod(when + 1, &end);
		return end != when + 1 && *end == '\0' && failure->probability > 0;
	}
	if (plus != NULL) {
		*plus++ = '\0';
		if (*plus == '\0')
			failure->count = MOCK_FOREVER;
		else if (!parse_number(plus, &failure->count))
			return false;
	}
	return parse_number(when, &failure->first);
}

static bool do_fail(char *value)
{
	struct mock_failure failure = { .function = value };
	char *when = cut(value);
	char *rv = cut(when);
	char *mode = cut(rv);

	if (rv == NULL || !mock_function_known(value) || !parse_when(when, &failure) ||
	    !mock_rv_parse(rv, &failure.rv))
		return false;
	if (mode != NULL) {
		failure.after = strcmp(mode, "after") == 0;
		failure.leave_active = strcmp(mode, "leave-active") == 0;
		if (!failure.after && !failure.leave_active)
			return false;
	}
	mock_failure_add(&failure);
	return true;
}

static bool do_hang(char *value)
{
	char *number = cut(value);
	uint64_t nth;

	if (number == NULL || !mock_function_known(value) || !parse_number(number, &nth))
		return false;
	mock_hang_add(mock_function_number(value), nth);
	return true;
}

static bool do_sessions(char *value)
{
	uint64_t limit;

	if (!parse_number(value, &limit))
		return false;
	hsmpool_mock_control()->session_limit((CK_ULONG)limit);
	return true;
}

static bool do_report_sessions(char *value)
{
	uint64_t limit = CK_EFFECTIVELY_INFINITE;

	if (strcmp(value, "none") == 0)
		limit = CK_UNAVAILABLE_INFORMATION;
	else if (strcmp(value, "unlimited") != 0 && !parse_number(value, &limit))
		return false;
	hsmpool_mock_control()->report_limit((CK_ULONG)limit);
	return true;
}

static bool copy_text(char *to, size_t size, const char *value)
{
	if (strlen(value) >= size)
		return false;
	mock_lock();
	memcpy(to, value, strlen(value) + 1);
	mock_unlock();
	return true;
}

static bool do_pin(char *value)
{
	return copy_text(mock_pin()->text, sizeof(mock_pin()->text), value);
}

static bool do_pin_file(char *value)
{
	return mock_pin_share(value);
}

static bool do_so_pin(char *value)
{
	return copy_text(mock.so_pin, sizeof(mock.so_pin), value);
}

static bool do_label(char *value)
{
	return copy_text(mock.label, sizeof(mock.label), value);
}

static bool do_serial(char *value)
{
	return copy_text(mock.serial, sizeof(mock.serial), value);
}

static bool do_report(char *value)
{
	return copy_text(mock.report, sizeof(mock.report), value);
}

static bool do_pin_tries(char *value)
{
	uint64_t tries;

	if (!parse_number(value, &tries) || tries > 1000)
		return false;
	hsmpool_mock_control()->pin_tries((unsigned)tries);
	return true;
}

static bool do_reboot_after(char *value)
{
	uint64_t calls;

	if (!parse_number(value, &calls) || calls == 0 || calls > INT64_MAX)
		return false;
	mock_reboot_after(calls, false);
	return true;
}

static bool do_reboot_every(char *value)
{
	uint64_t calls;

	if (!parse_number(value, &calls) || calls == 0 || calls > INT64_MAX)
		return false;
	mock_reboot_after(calls, true);
	return true;
}

static bool do_session_rv(char *value)
{
	CK_RV rv;

	if (!mock_rv_parse(value, &rv))
		return false;
	mock_lock();
	mock.scripted_reboot.session_rv = rv;
	mock_unlock();
	return true;
}

static bool do_keep_login(char *value)
{
	(void)value;
	mock_lock();
	mock.scripted_reboot.keep_login = true;
	mock_unlock();
	return true;
}

static bool do_move_slot(char *value)
{
	(void)value;
	mock_lock();
	mock.scripted_reboot.move_slot = true;
	mock_unlock();
	return true;
}

static bool do_reuse_sessions(char *value)
{
	(void)value;
	mock_lock();
	mock.scripted_reboot.reuse_sessions = true;
	mock_unlock();
	return true;
}

static bool do_handles(char *value)
{
	static const char *const names[] = { "new", "aliased", "kept" };

	for (int i = 0; i < 3; i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		mock_lock();
		mock.scripted_reboot.handles = (enum mock_handles)i;
		mock_unlock();
		return true;
	}
	return false;
}

static bool do_dead_after(char *value)
{
	char *name = cut(value);
	CK_RV rv = CKR_DEVICE_ERROR;
	uint64_t calls;

	if (!parse_number(value, &calls) || calls > INT64_MAX ||
	    (name != NULL && !mock_rv_parse(name, &rv)))
		return false;
	mock_dead_after(calls, rv);
	return true;
}

static bool do_absent(char *value)
{
	int64_t ns;

	if (!parse_time(value, &ns))
		return false;
	mock_absent((uint64_t)ns);
	return true;
}

static bool do_logged_out_rv(char *value)
{
	CK_RV rv;

	if (!mock_rv_parse(value, &rv))
		return false;
	hsmpool_mock_control()->logged_out_rv(rv);
	return true;
}

static bool do_local_session_info(char *value)
{
	(void)value;
	hsmpool_mock_control()->local_session_info(true);
	return true;
}

static bool do_leave_active(char *value)
{
	(void)value;
	hsmpool_mock_control()->leave_active(true);
	return true;
}

static bool do_cant_lock(char *value)
{
	(void)value;
	hsmpool_mock_control()->cant_lock(true);
	return true;
}

static bool do_seed(char *value)
{
	uint64_t seed;

	if (!parse_number(value, &seed))
		return false;
	mock_seed(seed);
	return true;
}

static bool do_wraps(char *value)
{
	mock_wrap_set(value);
	return true;
}

static const struct item {
	const char *name;
	bool (*run)(char *value);
	bool takes_value;
} items[] = {
	{ "latency", do_latency, true },
	{ "fail", do_fail, true },
	{ "hang", do_hang, true },
	{ "sessions", do_sessions, true },
	{ "report-sessions", do_report_sessions, true },
	{ "pin", do_pin, true },
	{ "pin-file", do_pin_file, true },
	{ "so-pin", do_so_pin, true },
	{ "pin-tries", do_pin_tries, true },
	{ "reboot-after", do_reboot_after, true },
	{ "reboot-every", do_reboot_every, true },
	{ "session-rv", do_session_rv, true },
	{ "keep-login", do_keep_login, false },
	{ "move-slot", do_move_slot, false },
	{ "reuse-sessions", do_reuse_sessions, false },
	{ "handles", do_handles, true },
	{ "dead-after", do_dead_after, true },
	{ "absent", do_absent, true },
	{ "logged-out-rv", do_logged_out_rv, true },
	{ "local-session-info", do_local_session_info, false },
	{ "leave-active", do_leave_active, false },
	{ "cant-lock", do_cant_lock, false },
	{ "seed", do_seed, true },
	{ "label", do_label, true },
	{ "serial", do_serial, true },
	{ "report", do_report, true },
	{ "wraps", do_wraps, true },
};

static bool run_item(char *text)
{
	char *value = strchr(text, '=');

	if (value != NULL)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (strcmp(items[i].name, text) == 0)
			return items[i].takes_value == (value != NULL) &&
			       items[i].run(value);
	return false;
}

static void trim(char **text)
{
	size_t len;

	while (**text == ' ' || **text == '\t' || **text == '\n')
		(*text)++;
	for (len = strlen(*text); len > 0 && strchr(" \t\n", (*text)[len - 1]) != NULL;)
		(*text)[--len] = '\0';
}

bool mock_script(const char *text, char *error, size_t cap)
{
	char *copy = strdup(text);
	char *rest = copy, *item;
	bool is_right = copy != NULL;

	while (is_right && (item = strsep(&rest, ";")) != NULL) {
		char shown[128];
		trim(&item);
		snprintf(shown, sizeof(shown), "%s", item);
		is_right = item[0] == '\0' || run_item(item);
		if (!is_right && error != NULL)
			snprintf(error, cap, "'%s' is not an item of the mock's script",
				 shown);
	}
	free(copy);
	return is_right;
}
