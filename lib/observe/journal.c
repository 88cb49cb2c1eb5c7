/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd journal as a target of the log.
 *
 * libsystemd is loaded when log = journald is configured and not before: the PKCS#11
 * module lives in other people's programs, and linking libsystemd would bring libgcrypt,
 * liblzma, liblz4 and libcap into all of them. It is never unloaded: a thread may be in
 * it.
 */
#include "observe/journal.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would be this file, always */
#include <systemd/sd-journal.h>
#include <unistd.h>
#include "base/error.h"

#define LIBRARY    "libsystemd.so.0"
#define SOCKET     "/run/systemd/journal/socket"
#define FIELD_SIZE 128
#define EVENT_PART 64
#define TEXT_FIELD (8 * 1024) /* what the log makes of its longest text */
#define ADVICE     "write stderr, file:PATH or syslog"

static _Atomic(__typeof__(&sd_journal_sendv)) send_entry;

/* Without a journal libsystemd says that all went well, and every line is lost. */
hsmpool_status hp_journal_open(hsmpool_error *err)
{
	if (access(SOCKET, W_OK) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_CONFIG, errno,
				     "log: no journal at " SOCKET "; " ADVICE);
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	HP_CHECK(library, err, HSMPOOL_ERR_CONFIG,
		 "log: journald needs " LIBRARY " (package libsystemd0), which cannot be "
		 "loaded; install it, or " ADVICE);
	__typeof__(&sd_journal_sendv) found;
	*(void **)&found = dlsym(library, "sd_journal_sendv");
	HP_CHECK(found, err, HSMPOOL_ERR_CONFIG,
		 "log: " LIBRARY " has no sd_journal_sendv; " ADVICE);
	atomic_store(&send_entry, found);
	return HSMPOOL_OK;
}

static struct iovec field(char *storage, size_t size, const char *name, const char *value)
{
	snprintf(storage, size, "%s=%s", name, value);
	return (struct iovec){ .iov_base = storage, .iov_len = strlen(storage) };
}

void hp_journal_write(int priority, const char *event, const char *request,
		      const char *text)
{
	static char identifier[] = "SYSLOG_IDENTIFIER=hsmpool";
	char message[TEXT_FIELD], level[FIELD_SIZE], name[FIELD_SIZE], id[FIELD_SIZE];
	struct iovec fields[5];
	int count = 0;
	int len = snprintf(message, sizeof(message), "MESSAGE=%.*s: %s", EVENT_PART,
			   event, text);
	size_t message_len =
		(size_t)len < sizeof(message) ? (size_t)len : sizeof(message) - 1;

	fields[count++] = (struct iovec){ message, message_len };
	snprintf(level, sizeof(level), "PRIORITY=%d", priority);
	fields[count++] = (struct iovec){ level, strlen(level) };
	fields[count++] = (struct iovec){ identifier, sizeof(identifier) - 1 };
	fields[count++] = field(name, sizeof(name), "HSMPOOL_EVENT", event);
	if (request && *request)
		fields[count++] = field(id, sizeof(id), "HSMPOOL_REQUEST", request);
	atomic_load (&send_entry)(fields, count);
}
