/* SPDX-License-Identifier: Apache-2.0 */
/* See audit_ground.h. */
#include "audit_ground.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "observe/audit_folder.h"
#include "scratch.h"

static char folder[512];

const char *ground_new_folder(void)
{
	static unsigned number;
	char name[32];
	snprintf(name, sizeof name, "trail-%u", ++number);
	snprintf(folder, sizeof folder, "%s", scratch_path(name));
	return folder;
}

int ground_set_up(void **state)
{
	(void)state;
	ground_new_folder();
	ground_pwrite = NULL;
	return 0;
}

int ground_remove_all(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

struct hp_audit_options ground_options(void)
{
	return (struct hp_audit_options){ .folder = folder,
					  .rotate_size = 64 << 20,
					  .has_thread = true };
}

struct hp_audit *ground_open(const struct hp_audit_options *options)
{
	struct hp_audit *audit = NULL;
	hsmpool_error err;
	assert_ok(hp_audit_open(&audit, options, &err), &err);
	return audit;
}

bool ground_begin(struct hp_audit *audit, const char *function,
		  struct hp_audit_entry *entry)
{
	const struct hp_audit_facts facts = {
		.event = HP_AUDIT_OPERATION,
		.request = 0x0123456789abcdef,
		.session = 7,
		.input_len = 32,
		.pool = "payments",
		.token = "token",
		.function = function,
		.mechanism = "CKM_ECDSA",
		.key_label = "signing",
		.key_id = "\x01\xff",
		.key_id_len = 2,
		.key_fingerprint = "00112233",
	};
	return hp_audit_begin(audit, &facts, entry);
}

void ground_end(struct hp_audit_entry *entry, const char *code)
{
	const struct hp_audit_result result = {
		.result = code,
		.is_failure = strcmp(code, "CKR_OK") != 0,
		.input_len = 32,
		.output_len = 64,
		.duration_ns = 1234567,
	};
	hp_audit_end(entry, &result);
}

bool ground_use(struct hp_audit *audit, const char *function)
{
	struct hp_audit_entry entry;
	if (!ground_begin(audit, function, &entry))
		return false;
	bool is_recorded = entry.audit != NULL;
	ground_end(&entry, "CKR_OK");
	return is_recorded;
}

/* --- a disk that does as it is told ------------------------------------------------- */

_Atomic(ground_pwrite_fn *) ground_pwrite;

ground_pwrite_fn __wrap_pwrite64, __real_pwrite64;

ssize_t ground_real_pwrite(int file, const void *bytes, size_t len, off_t at)
{
	return __real_pwrite64(file, bytes, len, at);
}

ssize_t __wrap_pwrite64(int file, const void *bytes, size_t len, off_t at)
{
	ground_pwrite_fn *chosen = ground_pwrite;
	return chosen ? chosen(file, bytes, len, at)
		      : __real_pwrite64(file, bytes, len, at);
}

_Atomic unsigned ground_syncs;

int __wrap_fdatasync(int file);

int __wrap_fdatasync(int file)
{
	(void)file;
	ground_syncs++;
	return 0;
}

/* --- looking ------------------------------------------------------------------------ */

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "re");
	struct stat info;
	if (!file)
		return strdup("");
	assert_int_equal(fstat(fileno(file), &info), 0);
	char *text = malloc((size_t)info.st_size + 1);
	assert_non_null(text);
	size_t len = fread(text, 1, (size_t)info.st_size, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

char *ground_read(const char *name)
{
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return read_whole(path);
}

char *ground_read_chain(unsigned number)
{
	struct hp_audit_file *files;
	size_t count, len = 0;
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	assert_int_equal(hp_audit_folder_files(dirfd(dir), &files, &count, NULL), 0);
	char *all = strdup("");
	for (size_t i = 0; i < count; i++) {
		char name[HP_AUDIT_NAME_SIZE];
		if (files[i].chain != number)
			continue;
		hp_audit_file_name(name, number, files[i].first);
		HP_AUTO_FREE char *text = ground_read(name);
		all = realloc(all, len + strlen(text) + 1);
		assert_non_null(all);
		memcpy(all + len, text, strlen(text) + 1);
		len += strlen(text);
	}
	free(files);
	closedir(dir);
	return all;
}

/* Not by strstr(), which looks at all of a long text each time under a sanitizer. */
unsigned ground_count(const char *text, const char *part)
{
	unsigned count = 0;
	for (size_t len = strlen(part); *text; text++)
		count += *text == *part && strncmp(text, part, len) == 0;
	return count;
}

unsigned ground_count_files(const char *part)
{
	unsigned count = 0;
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		count += strstr(entry->d_name, part) != NULL;
	closedir(dir);
	return count;
}
