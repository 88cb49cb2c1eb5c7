/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_write.h. A limit on the size of files (RLIMIT_FSIZE) sends a signal that
 * would kill the host program; it is held back, and taken away if this write raised it.
 */
#include "observe/audit_write.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static int write_all(int file, const char *lines, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t written = pwrite(file, lines, len, (off_t)at);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : EIO;
		lines += written;
		len -= (size_t)written;
		at += (uint64_t)written;
	}
	return 0;
}

static void take_signal_away(const sigset_t *signals)
{
	const struct timespec at_once = { 0, 0 };
	while (sigtimedwait(signals, NULL, &at_once) < 0 && errno == EINTR)
		;
}

static int write_without_signal(int file, const char *lines, size_t len, uint64_t at)
{
	sigset_t too_large, before, pending;
	sigemptyset(&too_large);
	sigaddset(&too_large, SIGXFSZ);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &too_large, &before);
	int failure = write_all(file, lines, len, at);
	if (failure == EFBIG && !sigismember(&pending, SIGXFSZ))
		take_signal_away(&too_large);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failure;
}

int hp_audit_append(int file, const char *lines, size_t len, uint64_t size, bool *is_torn)
{
	int failure = write_without_signal(file, lines, len, size);
	if (failure)
		*is_torn = ftruncate(file, (off_t)size) != 0;
	return failure;
}
