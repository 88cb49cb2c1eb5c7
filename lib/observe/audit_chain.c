/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a chain: adding lines, writing, rotating. See audit_chain.h.
 */
#include "observe/audit_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/audit_lines.h"
#include "observe/audit_list.h"
#include "observe/audit_write.h"

/* --- lines -------------------------------------------------------------------------- */

bool hp_audit_chain_has_room(const struct hp_audit_chain *chain)
{
	return chain->len + HP_AUDIT_LINE_MAX <= HP_AUDIT_BATCH_SIZE;
}

void hp_audit_chain_end_line(struct hp_audit_chain *chain, struct hp_audit_line *line)
{
	chain->is_whole =
		hp_line_end(line, chain->hasher, chain->next.hash) && chain->is_whole;
	chain->next.seq++;
	chain->len = (size_t)(line->at - chain->lines);
}

static void forget_lines(struct hp_audit_chain *chain)
{
	chain->next = chain->head;
	chain->len = 0;
	chain->is_whole = true;
}

/* --- the file ----------------------------------------------------------------------- */

/* Whether the descriptor is still ours: a host program may have closed it, and have been
 * given its number for something else. */
static bool is_still_ours(const struct hp_audit_chain *chain, bool *has_name)
{
	struct stat now;
	if (chain->file < 0 || fstat(chain->file, &now) != 0)
		return false;
	*has_name = now.st_nlink > 0;
	return now.st_dev == chain->device && now.st_ino == chain->inode;
}

static void close_file(struct hp_audit_chain *chain)
{
	bool has_name;
	if (is_still_ours(chain, &has_name))
		close(chain->file);
	chain->file = -1;
}

int hp_audit_chain_adopt(struct hp_audit_chain *chain, int file, uint64_t size)
{
	struct stat info;
	if (fstat(file, &info) != 0)
		return errno;
	chain->file = file;
	chain->device = info.st_dev;
	chain->inode = info.st_ino;
	chain->size = size;
	chain->is_torn = false;
	return 0;
}

/* The current file again, by its name. 0, or errno; ESTALE: it is another one. */
static int reopen(struct hp_audit_chain *chain)
{
	HP_AUTO_FD int folder = -1;
	HP_AUTO_FD int file = -1;
	struct stat info;
	if (hp_owned_dir_open("audit", chain->folder, true, &folder, NULL) ||
	    hp_owned_file_open("audit", folder, chain->file_name, false, &file, NULL))
		return EIO;
	if (file < 0 || fstat(file, &info) != 0 || info.st_dev != chain->device ||
	    info.st_ino != chain->inode)
		return ESTALE;
	chain->file = file;
	file = -1;
	return 0;
}

/* What was deleted or replaced is not written to: the chain goes on in a new file, and
 * `audit verify` will say what is missing. */
static int make_sure_of_file(struct hp_audit_chain *chain)
{
	bool has_name = false;
	int failure = 0;
	if (!is_still_ours(chain, &has_name)) {
		chain->file = -1; /* the number is not ours to close */
		failure = reopen(chain);
	} else if (!has_name) {
		close_file(chain);
		failure = ESTALE;
	}
	if (failure == ESTALE && hp_audit_chain_rotate(chain))
		failure = 0;
	if (failure)
		return failure;
	if (chain->is_torn && ftruncate(chain->file, (off_t)chain->size) != 0)
		return errno;
	chain->is_torn = false;
	return 0;
}

static int append_lines(struct hp_audit_chain *chain)
{
	if (!chain->is_whole)
		return ENOMEM;
	int failure = make_sure_of_file(chain);
	if (failure)
		return failure;
	return hp_audit_append(chain->file, chain->lines, chain->len, chain->size,
			       &chain->is_torn);
}

bool hp_audit_chain_write(struct hp_audit_chain *chain)
{
	if (chain->len == 0)
		return true;
	chain->failure = append_lines(chain);
	if (chain->failure) {
		forget_lines(chain);
		return false;
	}
	if (chain->size == 0)
		chain->ring.header->file_begun_ns = hp_clock_ns(CLOCK_REALTIME);
	chain->size += chain->len;
	chain->head = chain->next;
	hp_audit_ring_set_head(chain->ring.header, &chain->head);
	forget_lines(chain);
	return true;
}

/* --- rotation ----------------------------------------------------------------------- */

static bool list_rotation(struct hp_audit_chain *chain, int folder, const char *next)
{
	struct hp_audit_list list;
	if (hp_audit_list_open(&list, folder, NULL) != HSMPOOL_OK)
		return false;
	struct hp_list_entry entry = { "ended",          chain->number, chain->name,
				       chain->file_name, &chain->head,  NULL };
	hp_audit_list_add(&list, &entry);
	entry.event = "begun";
	entry.file = next;
	hp_audit_list_add(&list, &entry);
	bool is_listed = hp_audit_list_write(&list, NULL) == HSMPOOL_OK;
	hp_audit_list_close(&list);
	return is_listed;
}

/* The new file is there before the list names it: an empty one that is not listed does
 * no harm, whoever takes the chain next goes on in it. */
bool hp_audit_chain_rotate(struct hp_audit_chain *chain)
{
	char next[HP_AUDIT_NAME_SIZE];
	HP_AUTO_FD int folder = -1;
	HP_AUTO_FD int file = -1;
	hp_audit_file_name(next, chain->number, chain->head.seq + 1);
	if (strcmp(next, chain->file_name) == 0 && chain->file >= 0)
		return true; /* nothing is in it yet */
	if (hp_owned_dir_open("audit", chain->folder, true, &folder, NULL) ||
	    hp_owned_file_open("audit", folder, next, true, &file, NULL) ||
	    ftruncate(file, 0) != 0 || !list_rotation(chain, folder, next))
		return false;
	close_file(chain);
	if (hp_audit_chain_adopt(chain, file, 0) != 0)
		return false;
	file = -1;
	memcpy(chain->file_name, next, sizeof next);
	return true;
}

/* --- the disk ----------------------------------------------------------------------- */

/* By its name, not by the descriptor that others write to meanwhile. One that retention
 * deleted needs no disk. */
static bool sync_file(int folder, const char *name)
{
	HP_AUTO_FD int file = hp_audit_open_to_read(folder, name);
	return file >= 0 ? fdatasync(file) == 0 : errno == ENOENT;
}

bool hp_audit_chain_sync_files(const char *path, unsigned number, uint64_t first,
			       uint64_t *last)
{
	HP_AUTO_FREE struct hp_audit_file *files = NULL;
	HP_AUTO_FD int folder = -1;
	size_t count = 0;
	*last = first;
	if (hp_owned_dir_open("audit", path, false, &folder, NULL) || folder < 0 ||
	    hp_audit_folder_files(folder, &files, &count, NULL))
		return false;
	for (size_t i = 0; i < count; i++) {
		char name[HP_AUDIT_NAME_SIZE];
		if (files[i].chain != number || files[i].first < first)
			continue;
		hp_audit_file_name(name, number, files[i].first);
		if (!sync_file(folder, name))
			return false;
		*last = files[i].first;
	}
	return sync_file(folder, HP_AUDIT_LIST_NAME) && fsync(folder) == 0;
}

/* --- letting go --------------------------------------------------------------------- */

void hp_audit_chain_release(struct hp_audit_chain *chain)
{
	close_file(chain);
	hp_line_hasher_free(chain->hasher);
	chain->hasher = NULL;
	free(chain->lines);
	chain->lines = NULL;
	free(chain->folder);
	chain->folder = NULL;
	hp_audit_ring_close(&chain->ring);
}
