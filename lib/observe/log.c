/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's log.
 *
 * Owns: the level, the target, the callback, the form of a line and the rate limit.
 * Must not: take a lock. A fork may happen in any moment and a callback or a slow pipe
 * may block for long, so all state is atomic and a line is formatted on the stack of
 * the thread that writes it, then handed over in one write().
 */
#include "observe/log.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "observe/journal.h"
#include "observe/request.h"
#include "observe/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define TEXT_SIZE  1024 /* of one line's text; longer ones are cut */
#define EVENT_SIZE 64
#define ESCAPED(n) (6 * (n)) /* the longest escape is \u001f */
#define LINE_SIZE  (ESCAPED(TEXT_SIZE) + ESCAPED(EVENT_SIZE) + 192)

#define REQUEST_SIZE (sizeof(" req=") + HP_REQUEST_TEXT)

#define TARGET_SYSLOG    (-1)
#define TARGET_JOURNAL   (-2)
#define LEVEL_NOT_KNOWN  INT_MAX /* so that the first line of all comes here */
#define LINES_PER_WINDOW 20
#define TICKS_PER_WINDOW 100
#define TICK             (100 * HP_MS)

_Atomic int hp_log_level = LEVEL_NOT_KNOWN;
static _Atomic int target = STDERR_FILENO; /* a descriptor, never closed, or TARGET_x */
static _Atomic bool as_json;
static _Atomic bool is_configured;

/* --- the level ------------------------------------------------------------------- */

/* HSMPOOL_DEBUG is the operator's: it wins over what program and file say. */
static int raise_level(int level)
{
	const char *debug = secure_getenv("HSMPOOL_DEBUG");
	return debug && *debug ? HSMPOOL_LOG_DEBUG : level;
}

void hsmpool_log_set_level(hsmpool_log_level level)
{
	atomic_store_explicit(&hp_log_level, raise_level((int)level),
			      memory_order_relaxed);
}

static bool is_wanted(hsmpool_log_level level)
{
	int not_known = LEVEL_NOT_KNOWN;
	if (atomic_load_explicit(&hp_log_level, memory_order_relaxed) == not_known)
		atomic_compare_exchange_strong(&hp_log_level, &not_known,
					       raise_level(HSMPOOL_LOG_WARNING));
	return hp_log_enabled(level);
}

static const struct {
	const char *json;
	const char *text;
	int priority;
} levels[] = {
	{ "error", "ERROR", LOG_ERR },      { "warning", "WARNING", LOG_WARNING },
	{ "notice", "NOTICE", LOG_NOTICE }, { "info", "INFO", LOG_INFO },
	{ "debug", "DEBUG", LOG_DEBUG },
};

/* --- the callback ---------------------------------------------------------------- */

/* Function and argument change together. Old pairs stay: a thread may be about to
 * use one. Setting a pair a second time finds the old one, so this does not grow. */
struct callback {
	hsmpool_log_fn fn;
	void *user;
	struct callback *older;
};

static _Atomic(struct callback *) all_callbacks;
static _Atomic(const struct callback *) current_callback;

static const struct callback *find_callback(hsmpool_log_fn fn, const void *user)
{
	const struct callback *at = atomic_load(&all_callbacks);
	while (at && (at->fn != fn || at->user != user))
		at = at->older;
	return at;
}

static const struct callback *add_callback(hsmpool_log_fn fn, void *user)
{
	struct callback *made = malloc(sizeof(*made));
	if (!made)
		return NULL;
	*made = (struct callback){ fn, user, atomic_load(&all_callbacks) };
	while (!atomic_compare_exchange_weak(&all_callbacks, &made->older, made))
		;
	return made;
}

void hsmpool_log_set_callback(hsmpool_log_fn fn, void *user)
{
	const struct callback *chosen = NULL;
	if (fn)
		chosen = find_callback(fn, user);
	if (fn && !chosen)
		chosen = add_callback(fn, user);
	atomic_store(&current_callback, chosen);
}

/* --- the rate limit -------------------------------------------------------------- */

/* One event's window: its start in ticks in the upper half, its lines in the lower. */
struct event_slot {
	_Atomic(const char *) event; /* NULL: free */
	_Atomic uint64_t window;
	_Atomic int level; /* of the last line */
};

/* More events than slots, which no release of ours has, share the last one. */
static struct event_slot slots[128];

static struct event_slot *find_slot(const char *event)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(slots) - 1; i++) {
		const char *owner = atomic_load(&slots[i].event);
		if (!owner &&
		    atomic_compare_exchange_strong(&slots[i].event, &owner, event))
			return &slots[i];
		if (strcmp(owner, event) == 0)
			return &slots[i];
	}
	struct event_slot *shared = &slots[HP_ARRAY_LEN(slots) - 1];
	atomic_store(&shared->event, "other");
	return shared;
}

static uint32_t now_tick(void)
{
	return (uint32_t)(hp_now_coarse_ns() / TICK) + 1;
}

static bool is_over(uint64_t window, uint32_t tick)
{
	return tick - (uint32_t)(window >> 32) >= TICKS_PER_WINDOW;
}

/* Count one line; whether it may be written. */
static bool admit(struct event_slot *slot, uint32_t tick, int level)
{
	atomic_store_explicit(&slot->level, level, memory_order_relaxed);
	uint64_t old = atomic_load(&slot->window);
	uint64_t new;
	do {
		if (old == 0 || is_over(old, tick))
			new = (uint64_t)tick << 32 | 1;
		else
			new = (uint32_t)old == UINT32_MAX ? old : old + 1;
	} while (!atomic_compare_exchange_weak(&slot->window, &old, new));
	return (uint32_t) new <= LINES_PER_WINDOW;
}

/* Close a window that is over; how many of its lines were dropped. */
static uint32_t take_dropped(struct event_slot *slot, uint32_t tick)
{
	uint64_t old = atomic_load(&slot->window);
	if ((uint32_t)old <= LINES_PER_WINDOW || !is_over(old, tick))
		return 0;
	if (!atomic_compare_exchange_strong(&slot->window, &old, 0))
		return 0; /* another thread reports it */
	return (uint32_t)old - LINES_PER_WINDOW;
}

/* --- one line -------------------------------------------------------------------- */

/* The number of bytes written; to has room for ESCAPED(1) + 1. */
static size_t escape_byte(unsigned char byte, bool json, char *to)
{
	if (byte == '\n' || byte == '\t' || byte == '\r') {
		to[0] = '\\';
		to[1] = byte == '\n' ? 'n' : byte == '\t' ? 't' : 'r';
		return 2;
	}
	if (json && (byte == '"' || byte == '\\')) {
		to[0] = '\\';
		to[1] = (char)byte;
		return 2;
	}
	if (json)
		return (size_t)snprintf(to, ESCAPED(1) + 1, "\\u%04x",
					byte >= 0x80 ? 0xfffd : byte);
	return (size_t)snprintf(to, ESCAPED(1) + 1, "\\x%02x", byte);
}

/* to has room for ESCAPED(strlen(from)) + 1. */
static void escape(const char *from, bool json, char *to)
{
	const unsigned char *at = (const unsigned char *)from;
	while (*at) {
		size_t len = hp_utf8_length((const char *)at);
		bool is_plain = len > 1 || (len == 1 && *at >= 0x20 && *at != 0x7f &&
					    !(json && (*at == '"' || *at == '\\')));
		if (is_plain) {
			memcpy(to, at, len);
			to += len;
			at += len;
		} else {
			to += escape_byte(*at++, json, to);
		}
	}
	*to = '\0';
}

/* "2026-11-21T08:00:00.123Z" */
static void format_time(char *to, size_t size)
{
	struct timespec now;
	struct tm utc;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t len = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(to + len, size - len, ".%03ldZ", now.tv_nsec / 1000000);
}

static void format_json(char *line, int level, const char *event, const char *text)
{
	char now[40];
	char event_json[ESCAPED(EVENT_SIZE) + 1];
	char text_json[ESCAPED(TEXT_SIZE) + 1];
	char request[HP_REQUEST_TEXT];
	bool has_request = hp_request_current() != 0;
	hp_request_format(hp_request_current(), request);
	format_time(now, sizeof(now));
	escape(event, true, event_json);
	escape(text, true, text_json);
	snprintf(line, LINE_SIZE,
		 "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"pid\":%ld,"
		 "%s%s%s\"text\":\"%s\"}\n",
		 now, levels[level].json, event_json, (long)getpid(),
		 has_request ? "\"request\":\"" : "", has_request ? request : "",
		 has_request ? "\"," : "", text_json);
}

static void format_text(char *line, int level, const char *event, const char *text)
{
	char now[40];
	format_time(now, sizeof(now));
	snprintf(line, LINE_SIZE, "%s hsmpool[%ld] %s %s: %s\n", now, (long)getpid(),
		 levels[level].text, event, text);
}

/* --- the target ------------------------------------------------------------------ */

/*
 * The reader of a log may be gone; that must not kill the host program, whose SIGPIPE
 * is not ours to ignore. It is held back, and taken away if this write raised it.
 */
static void write_without_sigpipe(int fd, const char *line, size_t len)
{
	sigset_t pipe_signal;
	sigset_t old;
	sigset_t pending;
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigpending(&pending);
	bool was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);

	ssize_t written;
	do
		written = write(fd, line, len);
	while (written < 0 && errno == EINTR);
	if (written < 0 && errno == EPIPE && !was_pending) {
		const struct timespec at_once = { 0, 0 };
		while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
			;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void write_line(int level, const char *line)
{
	int fd = atomic_load(&target);
	if (fd == TARGET_SYSLOG)
		syslog(levels[level].priority, "%s", line);
	else
		write_without_sigpipe(fd, line, strlen(line));
}

static void emit_json(int level, const char *event, const char *text)
{
	char line[LINE_SIZE];
	format_json(line, level, event, text);
	write_line(level, line);
}

static void emit_text(int level, const char *event, const char *escaped)
{
	char line[LINE_SIZE];
	if (atomic_load(&target) == TARGET_SYSLOG) /* adds time and process itself */
		snprintf(line, sizeof(line), "hsmpool: %s: %s", event, escaped);
	else
		format_text(line, level, event, escaped);
	write_line(level, line);
}

static void emit_journal(int level, const char *event, const char *escaped)
{
	char request[HP_REQUEST_TEXT] = "";
	if (hp_request_current() != 0)
		hp_request_format(hp_request_current(), request);
	hp_journal_write(levels[level].priority, event, request, escaped);
}

/* " req=0123456789abcdef", where the thread works on one. */
static void append_request(char *text)
{
	if (hp_request_current() == 0)
		return;
	text += strlen(text);
	memcpy(text, " req=", strlen(" req="));
	hp_request_format(hp_request_current(), text + strlen(" req="));
}

static void emit(int level, const char *event, const char *text)
{
	const struct callback *callback = atomic_load(&current_callback);
	bool is_journal = atomic_load(&target) == TARGET_JOURNAL;
	if (!callback && !is_journal && atomic_load(&as_json)) {
		emit_json(level, event, text);
		return;
	}
	char escaped[ESCAPED(TEXT_SIZE) + 1 + REQUEST_SIZE];
	escape(text, false, escaped);
	if (!callback && is_journal) {
		emit_journal(level, event, escaped);
		return;
	}
	append_request(escaped);
	if (callback)
		callback->fn(callback->user, (hsmpool_log_level)level, event, escaped);
	else
		emit_text(level, event, escaped);
}

static void report_dropped(uint32_t tick)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(slots); i++) {
		const char *event = atomic_load(&slots[i].event);
		if (!event)
			continue;
		uint32_t dropped = take_dropped(&slots[i], tick);
		if (dropped == 0)
			continue;
		char text[80];
		snprintf(text, sizeof(text),
			 "dropped %u lines of this event (more than %d in 10 s)", dropped,
			 LINES_PER_WINDOW);
		emit(atomic_load(&slots[i].level), event, text);
	}
}

void hp_log_write(hsmpool_log_level level, const char *event, const char *format, ...)
{
	if ((int)level < HSMPOOL_LOG_ERROR || level > HSMPOOL_LOG_DEBUG ||
	    !is_wanted(level))
		return;
	int saved_errno = errno;
	uint32_t tick = now_tick();
	report_dropped(tick);
	if (admit(find_slot(event), tick, (int)level)) {
		char text[TEXT_SIZE];
		va_list args;
		va_start(args, format);
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		emit((int)level, event, text);
	}
	errno = saved_errno;
}

/* Where an announcement goes in any case. */
static void emit_to_system(const char *event, const char *text)
{
	char escaped[ESCAPED(TEXT_SIZE) + 1];
	int priority = levels[HSMPOOL_LOG_NOTICE].priority;
	escape(text, false, escaped);
	if (atomic_load(&target) == TARGET_JOURNAL)
		hp_journal_write(priority, event, NULL, escaped);
	else
		syslog(priority, "hsmpool: %s: %s", event, escaped);
}

static bool goes_to_system(void)
{
	return !atomic_load(&current_callback) && atomic_load(&target) < 0;
}

void hp_log_announce(const char *event, const char *format, ...)
{
	int saved_errno = errno;
	char text[TEXT_SIZE];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	emit_to_system(event, text);
	if (is_wanted(HSMPOOL_LOG_NOTICE) && !goes_to_system())
		emit(HSMPOOL_LOG_NOTICE, event, text);
	errno = saved_errno;
}

/* --- configuration ---------------------------------------------------------------- */

static hsmpool_status open_target(const char *text, int *fd, hsmpool_error *err)
{
	static const char file_prefix[] = "file:";
	if (strcmp(text, "stderr") == 0) {
		*fd = STDERR_FILENO;
		return HSMPOOL_OK;
	}
	if (strcmp(text, "syslog") == 0) {
		*fd = TARGET_SYSLOG;
		return HSMPOOL_OK;
	}
	if (strcmp(text, "journald") == 0) {
		*fd = TARGET_JOURNAL;
		return hp_journal_open(err);
	}
	HP_CHECK(strncmp(text, file_prefix, strlen(file_prefix)) == 0, err,
		 HSMPOOL_ERR_CONFIG,
		 "log: '%.100s' is not a target; write stderr, file:PATH, syslog or "
		 "journald",
		 text);
	const char *path = text + strlen(file_prefix);
	*fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (*fd < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_CONFIG, errno,
				     "log: cannot open '%.200s' to append to it", path);
	return HSMPOOL_OK;
}

hsmpool_status hp_log_configure(const char *new_target, hsmpool_log_level level,
				enum hp_log_format format, hsmpool_error *err)
{
	if (!new_target || atomic_load(&is_configured))
		return HSMPOOL_OK;
	int fd = -1;
	HP_TRY(open_target(new_target, &fd, err));
	if (atomic_exchange(&is_configured, true)) { /* another pool was faster */
		if (fd > STDERR_FILENO)
			close(fd);
		return HSMPOOL_OK;
	}
	atomic_store(&as_json, format == HP_LOG_JSON);
	atomic_store(&target, fd);
	hsmpool_log_set_level(level);
	return HSMPOOL_OK;
}
