/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See metrics_file.h. files.lock is held over the writing, and taken by nobody but the
 * keeper and those who open and close pools; under it the locks that the metrics' sources
 * take. A forked child forgets its parent's files.
 */
#include "observe/metrics_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define COMMON_SIZE 400

/* Guarded by files.lock, but for what is constant. */
struct hp_metrics_file {
	char *path;     /* constant; without %p */
	bool is_own;    /* constant: this process's alone */
	unsigned users; /* pools that name it */
	int64_t interval_ns;
	int64_t next_ns;
	bool is_failing;
	struct hp_metrics_file *next;
};

static struct {
	pthread_mutex_t lock;
	struct hp_metrics_file *first; /* guarded by lock */
} files = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Whether there is any: asked at each of the keeper's looks. */
static _Atomic bool has_files;

static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

static void forget_all_in_child(void)
{
	pthread_mutex_init(&files.lock, NULL);
	files.first = NULL;
	has_files = false;
}

static void prepare(void)
{
	pthread_atfork(NULL, NULL, forget_all_in_child);
}

/* --- one file --------------------------------------------------------------------- */

/* malloc()ed; NULL: no memory. */
static char *expand(const char *path)
{
	char pid[24];
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	size_t size = strlen(path) * sizeof(pid) + 1;
	char *to = malloc(size);
	for (size_t len = 0; to && len < size;) {
		const char *mark = strstr(path, "%p");
		size_t plain = mark ? (size_t)(mark - path) : strlen(path);
		len += (size_t)snprintf(to + len, size - len, "%.*s%s", (int)plain, path,
					mark ? pid : "");
		if (!mark)
			break;
		path = mark + strlen("%p");
	}
	return to;
}

/* What tells the samples of one process's file from those of another's. */
static void format_common(const struct hp_metrics_file *file, char to[COMMON_SIZE])
{
	char pid[24];
	to[0] = '\0';
	if (!file->is_own)
		return;
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	hp_label_format("pid", pid, true, to, COMMON_SIZE);
	size_t len = strlen(to);
	hp_label_format("program", program_invocation_short_name, false, to + len,
			COMMON_SIZE - len);
}

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, text, len);
		if (written < 0 && errno != EINTR)
			return false;
		text += written > 0 ? written : 0;
		len -= written > 0 ? (size_t)written : 0;
	}
	return true;
}

/* Under a name that the collector does not read, in the same folder. errno says why not.
 */
static bool write_and_rename(const char *path, const char *text, size_t len)
{
	size_t size = strlen(path) + sizeof(".XXXXXX");
	HP_AUTO_FREE char *other = malloc(size);
	if (!other)
		return false;
	snprintf(other, size, "%s.XXXXXX", path);
	int fd = mkostemp(other, O_CLOEXEC);
	if (fd < 0)
		return false;
	bool is_good = fchmod(fd, 0644) == 0 && write_all(fd, text, len);
	/* A full disk may show here only. */
	is_good = close(fd) == 0 && is_good && rename(other, path) == 0;
	int why = errno;
	if (!is_good)
		unlink(other);
	errno = why;
	return is_good;
}

/* The number in name, if it is what %p stands for in pattern; else 0. */
static pid_t pid_in(const char *name, const char *pattern)
{
	const char *mark = strstr(pattern, "%p");
	size_t before = (size_t)(mark - pattern);
	if (strncmp(name, pattern, before) != 0)
		return 0;
	char *end;
	long pid = name[before] >= '1' && name[before] <= '9'
			   ? strtol(name + before, &end, 10)
			   : 0;
	return pid > 0 && pid <= INT_MAX && strcmp(end, mark + strlen("%p")) == 0
		       ? (pid_t)pid
		       : 0;
}

/* What processes left that were killed: their figures would be told for ever. path ends
 * with a name that has one %p. */
static void remove_leftovers(const char *path)
{
	const char *pattern = strrchr(path, '/') + 1;
	HP_AUTO_FREE char *folder = strndup(path, (size_t)(pattern - path));
	DIR *dir = folder && !strstr(folder, "%p") ? opendir(folder) : NULL;
	const struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		pid_t pid = pid_in(entry->d_name, pattern);
		if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

static void write_locked(struct hp_metrics_file *file)
{
	char common[COMMON_SIZE], buffer[100], why[100] = "no memory";
	HP_AUTO_FREE char *text = NULL;
	size_t len = 0;
	format_common(file, common);
	bool is_good = hp_metrics_render(HSMPOOL_METRICS_PROMETHEUS, common, &text, &len,
					 NULL) == HSMPOOL_OK;
	if (is_good) {
		is_good = write_and_rename(file->path, text, len);
		snprintf(why, sizeof(why), "%s",
			 is_good ? "" : strerror_r(errno, buffer, sizeof(buffer)));
	}
	if (!is_good && !file->is_failing)
		HP_LOG(WARNING, "metrics-file-failed", "metrics-file %s: %s", file->path,
		       why);
	else if (is_good && file->is_failing)
		HP_LOG(NOTICE, "metrics-file-written",
		       "metrics-file %s: it is written again", file->path);
	file->is_failing = !is_good;
}

static void free_file(struct hp_metrics_file *file)
{
	if (file)
		free(file->path);
	free(file);
}

static struct hp_metrics_file *new_file(const char *path, int64_t interval_ns)
{
	struct hp_metrics_file *file = calloc(1, sizeof(*file));
	char *expanded = expand(path);
	if (!file || !expanded) {
		free(file);
		free(expanded);
		return NULL;
	}
	file->path = expanded;
	file->is_own = strstr(path, "%p") != NULL;
	file->interval_ns = interval_ns;
	return file;
}

/* --- all of them ------------------------------------------------------------------ */

static struct hp_metrics_file *find_locked(const char *path)
{
	struct hp_metrics_file *file = files.first;
	while (file && strcmp(file->path, path) != 0)
		file = file->next;
	return file;
}

hsmpool_status hp_metrics_file_open(struct hp_metrics_file **out, const char *path,
				    int64_t interval_ns, hsmpool_error *err)
{
	pthread_once(&prepare_once, prepare);
	struct hp_metrics_file *made = new_file(path, interval_ns);
	HP_CHECK(made, err, HSMPOOL_ERR_SYSTEM, "no memory for the metrics-file");
	pthread_mutex_lock(&files.lock);
	struct hp_metrics_file *file = find_locked(made->path);
	if (!file) {
		if (made->is_own)
			remove_leftovers(path);
		file = hp_take(&made);
		file->next = files.first;
		files.first = file;
		has_files = true;
	}
	file->users++;
	if (interval_ns < file->interval_ns)
		file->interval_ns = interval_ns;
	pthread_mutex_unlock(&files.lock);
	free_file(made);
	*out = file;
	return HSMPOOL_OK;
}

static void delist_locked(const struct hp_metrics_file *file)
{
	struct hp_metrics_file **link = &files.first;
	while (*link != file)
		link = &(*link)->next;
	*link = file->next;
	has_files = files.first != NULL;
}

static void finish_locked(struct hp_metrics_file *file)
{
	delist_locked(file);
	if (file->is_own)
		unlink(file->path);
	else
		write_locked(file); /* the last figures */
}

void hp_metrics_file_close(struct hp_metrics_file **address, int64_t until_ns)
{
	struct hp_metrics_file *file = *address;
	*address = NULL;
	if (!file || !hp_mutex_lock_until(&files.lock, until_ns))
		return;
	bool is_last = --file->users == 0;
	if (is_last)
		finish_locked(file);
	pthread_mutex_unlock(&files.lock);
	if (is_last)
		free_file(file);
}

void hp_metrics_files_write(int64_t now)
{
	if (!has_files)
		return;
	pthread_mutex_lock(&files.lock);
	for (struct hp_metrics_file *file = files.first; file; file = file->next) {
		if (now < file->next_ns)
			continue;
		file->next_ns = hp_time_add(now, file->interval_ns);
		write_locked(file);
	}
	pthread_mutex_unlock(&files.lock);
}
