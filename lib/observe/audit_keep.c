/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_keep.h. A deletion is listed before it is done: whoever is killed in between
 * leaves a file that is said to be deleted, and it is deleted the next time.
 */
#include "observe/audit_keep.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/audit_lines.h"
#include "observe/audit_list.h"

#define LOOK_EVERY (60 * HP_SECOND)

void hp_audit_keeping_init(struct hp_audit_keeping *keeping,
			   const struct hp_audit_options *options)
{
	*keeping = (struct hp_audit_keeping){
		.rotate_size = options->rotate_size,
		.rotate_after = options->rotate_after,
		.keep = options->keep,
		.keep_size = options->keep_size,
	};
}

/* --- rotation ----------------------------------------------------------------------- */

static bool is_too_old(const struct hp_audit_keeping *keeping,
		       const struct hp_audit_chain *chain)
{
	int64_t begun = chain->ring.header->file_begun_ns;
	return keeping->rotate_after > 0 && chain->size > 0 && begun > 0 &&
	       hp_clock_ns(CLOCK_REALTIME) - begun >= keeping->rotate_after;
}

static bool is_to_rotate(const struct hp_audit_keeping *keeping,
			 const struct hp_audit_chain *chain, bool is_due)
{
	bool is_too_large =
		keeping->rotate_size > 0 && chain->size >= keeping->rotate_size;
	return is_too_large || (is_due && is_too_old(keeping, chain));
}

/* --- retention ---------------------------------------------------------------------- */

struct old_file {
	struct hp_audit_file file;
	uint64_t size;
	int64_t last_ns;    /* when it was written last */
	bool is_chains_end; /* the newest of its chain */
	bool is_gone;
};

struct retention {
	const struct hp_audit_keeping *keeping;
	const struct hp_audit_chain *chain; /* ours */
	int folder;
	struct hp_audit_list list;
	struct old_file *files;
	size_t count;
	uint64_t total;
	uint64_t deleted;
};

static int compare_ages(const void *a, const void *b)
{
	const struct old_file *one = a;
	const struct old_file *two = b;
	if (one->last_ns != two->last_ns)
		return one->last_ns < two->last_ns ? -1 : 1;
	return one->file.first < two->file.first ? -1 : one->file.first > two->file.first;
}

static void examine(struct retention *r, struct old_file *old)
{
	char name[HP_AUDIT_NAME_SIZE];
	struct stat info;
	hp_audit_file_name(name, old->file.chain, old->file.first);
	old->is_gone = fstatat(r->folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
		       !S_ISREG(info.st_mode);
	if (old->is_gone)
		return;
	old->size = (uint64_t)info.st_size;
	old->last_ns = (int64_t)info.st_mtim.tv_sec * HP_SECOND + info.st_mtim.tv_nsec;
	r->total += old->size;
}

static bool gather(struct retention *r)
{
	HP_AUTO_FREE struct hp_audit_file *files = NULL;
	if (hp_audit_folder_files(r->folder, &files, &r->count, NULL) != HSMPOOL_OK)
		return false;
	r->files = calloc(r->count + 1, sizeof *r->files);
	if (!r->files)
		return false;
	for (size_t i = 0; i < r->count; i++) {
		r->files[i].file = files[i];
		r->files[i].is_chains_end =
			i + 1 == r->count || files[i + 1].chain != files[i].chain;
		examine(r, &r->files[i]);
	}
	qsort(r->files, r->count, sizeof *r->files, compare_ages);
	return true;
}

/* The name of its chain is not known here; its number and the file's name say enough. */
static bool list_deletion(struct retention *r, const struct old_file *old,
			  const char *name, const char *reason)
{
	struct hp_audit_tail tail;
	struct hp_ring_head last;
	HP_AUTO_FD int file = hp_audit_open_to_read(r->folder, name);
	if (file < 0 || !hp_audit_read_tail(file, &tail) || !tail.is_readable)
		return false;
	last.seq = tail.seq;
	memcpy(last.hash, tail.hash, sizeof tail.hash);
	const struct hp_list_entry entry = { "deleted", old->file.chain, NULL,
					     name,      &last,           reason };
	hp_audit_list_add(&r->list, &entry);
	return hp_audit_list_write(&r->list, NULL) == HSMPOOL_OK;
}

static void delete_file(struct retention *r, struct old_file *old, const char *reason)
{
	char name[HP_AUDIT_NAME_SIZE];
	hp_audit_file_name(name, old->file.chain, old->file.first);
	if (!list_deletion(r, old, name, reason) || unlinkat(r->folder, name, 0) != 0)
		return;
	old->is_gone = true;
	r->total -= old->size;
	r->deleted++;
}

/* The end of a chain that nobody writes may be deleted too, unless something is left in
 * its ring; the ring keeps number and hash for whoever continues it. */
static void delete_chains_end(struct retention *r, struct old_file *old,
			      const char *reason)
{
	char name[HP_AUDIT_NAME_SIZE];
	struct hp_audit_ring *ring = calloc(1, sizeof *ring);
	bool is_new = true;
	hp_audit_ring_name(name, old->file.chain);
	if (ring && faccessat(r->folder, name, F_OK, 0) == 0 &&
	    hp_audit_ring_open(ring, r->folder, name, &is_new, NULL) == HSMPOOL_OK) {
		if (!is_new && hp_audit_ring_used(ring) == 0)
			delete_file(r, old, reason);
		hp_audit_ring_close(ring);
	}
	free(ring);
}

static void delete_some(struct retention *r, struct old_file *old, const char *reason)
{
	if (old->is_gone || old->size == 0)
		return;
	if (!old->is_chains_end)
		delete_file(r, old, reason);
	else if (old->file.chain != r->chain->number)
		delete_chains_end(r, old, reason);
}

static void delete_what_is_due(struct retention *r)
{
	const struct hp_audit_keeping *keeping = r->keeping;
	int64_t oldest = hp_clock_ns(CLOCK_REALTIME) - keeping->keep;
	for (size_t i = 0; keeping->keep > 0 && i < r->count; i++)
		if (r->files[i].last_ns < oldest)
			delete_some(r, &r->files[i], "age");
	for (size_t i = 0; keeping->keep_size > 0 && i < r->count; i++)
		if (r->total > keeping->keep_size)
			delete_some(r, &r->files[i], "size");
}

static uint64_t delete_old_files(const struct hp_audit_keeping *keeping,
				 const struct hp_audit_chain *chain)
{
	HP_AUTO_FREE struct retention *r = calloc(1, sizeof *r);
	HP_AUTO_FD int folder = -1;
	if (!r || hp_owned_dir_open("audit", chain->folder, false, &folder, NULL) ||
	    folder < 0 || hp_audit_list_open(&r->list, folder, NULL))
		return 0;
	r->keeping = keeping;
	r->chain = chain;
	r->folder = folder;
	if (gather(r))
		delete_what_is_due(r);
	hp_audit_list_close(&r->list);
	free(r->files);
	return r->deleted;
}

struct hp_keeping_figures hp_audit_keep(struct hp_audit_keeping *keeping,
					struct hp_audit_chain *chain)
{
	struct hp_keeping_figures done = { 0 };
	int64_t now = hp_now_coarse_ns();
	bool is_due = now >= keeping->next_look_ns;
	if (is_due)
		keeping->next_look_ns = now + LOOK_EVERY;
	if (is_to_rotate(keeping, chain, is_due))
		done.rotations = hp_audit_chain_rotate(chain);
	bool has_bounds = keeping->keep > 0 || keeping->keep_size > 0;
	if (has_bounds && (is_due || done.rotations))
		done.deleted = delete_old_files(keeping, chain);
	return done;
}
