/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling an hsmpool_error.
 *
 * Owns: the promise that a text is one printable line, whatever file name or label went
 * into it. Must not: allocate, lock or log; errno is left as it was found.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names come from outside: a line break in one must not fake a second message. */
static void make_one_line(char *text)
{
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
}

/* Cut off quietly where it does not fit: the front of a text says what failed. */
static void append(char *text, size_t cap, const char *more)
{
	size_t used = strlen(text);
	size_t len = strnlen(more, cap - 1 - used);
	memcpy(text + used, more, len);
	text[used + len] = '\0';
}

static void start_report(hsmpool_error *err, hsmpool_status status, int sys_errno)
{
	err->status = status;
	err->executed = HSMPOOL_EXECUTED_NO;
	err->ck_rv = 0;
	err->sys_errno = sys_errno;
	err->text[0] = '\0';
}

hsmpool_status hp_fail(hsmpool_error *err, hsmpool_status status, const char *format, ...)
{
	if (!err)
		return status;
	int saved_errno = errno;
	char text[sizeof(err->text)]; /* the arguments may point into err->text */
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	start_report(err, status, 0);
	make_one_line(text);
	memcpy(err->text, text, sizeof(text));
	errno = saved_errno;
	return status;
}

hsmpool_status hp_fail_errno(hsmpool_error *err, hsmpool_status status, int sys_errno,
			     const char *format, ...)
{
	if (!err)
		return status;
	int saved_errno = errno;
	char text[sizeof(err->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	char buffer[128];
	const char *reason = strerror_r(sys_errno, buffer, sizeof(buffer));
	append(text, sizeof(text), ": ");
	append(text, sizeof(text), reason);
	start_report(err, status, sys_errno);
	make_one_line(text);
	memcpy(err->text, text, sizeof(text));
	errno = saved_errno;
	return status;
}

void hp_error_append(hsmpool_error *err, const char *text)
{
	if (!err)
		return;
	append(err->text, sizeof(err->text), text);
	make_one_line(err->text);
}

void hp_error_prefix(hsmpool_error *err, const char *format, ...)
{
	if (!err)
		return;
	int saved_errno = errno;
	char text[sizeof(err->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	append(text, sizeof(text), ": ");
	append(text, sizeof(text), err->text);
	make_one_line(text);
	memcpy(err->text, text, sizeof(text));
	errno = saved_errno;
}

void hp_error_clear(hsmpool_error *err)
{
	if (err)
		start_report(err, HSMPOOL_OK, 0);
}
