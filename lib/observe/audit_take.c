/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a chain over: which one, where it stands, what its last writer left.
 *
 * A process that was killed left a ring with records that are not in the file, and
 * perhaps the beginning of a line. Both are put in order before anything else is written,
 * and told in a record. Nothing of this is lost if this process is killed on the way: a
 * slot is emptied only after its line is in the file, and a line's number tells whether
 * it is.
 */
#include "observe/audit_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/nonce.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/audit_list.h"

/* --- who we are --------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);
	memcpy(to, text, len);
	to[len] = '\0';
}

static void identify(struct hp_audit_writer *writer)
{
	struct utsname name;
	writer->pid = (uint32_t)getpid();
	writer->uid = (uint32_t)getuid();
	if (uname(&name) == 0)
		copy_text(writer->host, sizeof writer->host, name.nodename);
	ssize_t len =
		readlink("/proc/self/exe", writer->program, sizeof writer->program - 1);
	if (len <= 0)
		copy_text(writer->program, sizeof writer->program,
			  program_invocation_name);
}

static bool draw_name(char name[HP_AUDIT_CHAIN_LEN + 1])
{
	uint8_t random[HP_AUDIT_CHAIN_LEN / 2];
	if (!hp_nonce_draw(random, sizeof random))
		return false;
	hp_hex_encode(random, sizeof random, name);
	return true;
}

/* --- where the chain stands --------------------------------------------------------- */

struct found {
	bool has_file;
	struct hp_audit_file newest;
	struct hp_audit_tail tail; /* of the newest */
	struct hp_ring_head head;  /* of the last file that has a record */
	bool has_head;
};

static hsmpool_status read_tail_of(int folder, const struct hp_audit_file *file,
				   struct hp_audit_tail *tail, hsmpool_error *err)
{
	char name[HP_AUDIT_NAME_SIZE];
	HP_AUTO_FD int opened = -1;
	hp_audit_file_name(name, file->chain, file->first);
	HP_TRY(hp_owned_file_open("audit", folder, name, false, &opened, err));
	if (opened < 0 || !hp_audit_read_tail(opened, tail))
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "audit: %s cannot be read", name);
	return HSMPOOL_OK;
}

/* From the newest file back: it may be empty, if its maker was killed just then. */
static hsmpool_status look(int folder, unsigned chain, struct found *found,
			   hsmpool_error *err)
{
	HP_AUTO_FREE struct hp_audit_file *files = NULL;
	size_t count = 0;
	HP_TRY(hp_audit_folder_files(folder, &files, &count, err));
	for (size_t i = count; i-- > 0 && !found->has_head;) {
		struct hp_audit_tail tail;
		if (files[i].chain != chain)
			continue;
		HP_TRY(read_tail_of(folder, &files[i], &tail, err));
		if (!found->has_file) {
			found->newest = files[i];
			found->tail = tail;
		}
		found->has_file = true;
		found->has_head = tail.is_readable;
		found->head.seq = tail.seq;
		memcpy(found->head.hash, tail.hash, sizeof tail.hash);
		if (tail.has_line)
			break;
	}
	return HSMPOOL_OK;
}

/*
 * The ring says how far the chain was written, the files how far it is there. A file that
 * is one batch further is normal: its writer was killed before it could note that. A ring
 * that is further means that records were taken away; the chain goes on behind them, so
 * that the gap stays visible.
 */
static void decide_head(struct hp_audit_chain *chain, const struct found *found)
{
	struct hp_ring_head noted;
	struct hp_audit_recovery *recovery = &chain->recovery;
	hp_audit_ring_get_head(chain->ring.header, &noted);
	bool has_more = found->has_head && found->head.seq > noted.seq;
	chain->head = has_more ? found->head : noted;
	bool is_expected = !found->has_head || has_more ||
			   (found->head.seq == noted.seq &&
			    memcmp(found->head.hash, noted.hash, sizeof noted.hash) == 0);
	if (found->has_head && !is_expected)
		recovery->missing = noted.seq - found->head.seq;
	recovery->is_altered = (!is_expected && recovery->missing == 0) ||
			       (found->tail.has_line && !found->tail.is_readable);
	recovery->torn = found->tail.size - found->tail.whole;
}

/* Numbers that they were given in vain are taken back: others may get them first. */
static void collect_leftovers(struct hp_audit_chain *chain)
{
	struct hp_audit_ring *ring = &chain->ring;
	struct hp_audit_recovery *recovery = &chain->recovery;
	bool is_left[HP_AUDIT_SLOTS] = { false };
	recovery->count =
		hp_audit_ring_leftovers(ring->slots, chain->head.seq, recovery->slots);
	for (uint32_t i = 0; i < recovery->count; i++) {
		ring->slots[recovery->slots[i]].seq = 0;
		is_left[recovery->slots[i]] = true;
	}
	for (uint32_t i = 0; i < HP_AUDIT_SLOTS; i++)
		if (!is_left[i])
			atomic_store(&ring->slots[i].state, HP_SLOT_FREE);
}

/* --- the file to go on in ----------------------------------------------------------- */

/* An empty file may be in the list already: twice does no harm. */
static hsmpool_status list_begun(struct hp_audit_chain *chain, int folder,
				 hsmpool_error *err)
{
	struct hp_audit_list list;
	struct hp_list_entry entry = { .event = "chain",
				       .number = chain->number,
				       .chain = chain->name };
	HP_TRY(hp_audit_list_open(&list, folder, err));
	if (chain->head.seq == 0)
		hp_audit_list_add(&list, &entry);
	entry.event = "begun";
	entry.file = chain->file_name;
	entry.head = &chain->head;
	hp_audit_list_add(&list, &entry);
	hsmpool_status status = hp_audit_list_write(&list, err);
	hp_audit_list_close(&list);
	return status;
}

static hsmpool_status open_file(struct hp_audit_chain *chain, int folder,
				const struct found *found, hsmpool_error *err)
{
	HP_AUTO_FD int file = -1;
	uint64_t first = found->has_file ? found->newest.first : chain->head.seq + 1;
	hp_audit_file_name(chain->file_name, chain->number, first);
	HP_TRY(hp_owned_file_open("audit", folder, chain->file_name, true, &file, err));
	int failure = hp_audit_chain_adopt(chain, file, found->tail.whole);
	if (failure)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, failure,
				     "audit: %s cannot be examined", chain->file_name);
	file = -1;
	chain->is_torn = chain->recovery.torn > 0;
	return HSMPOOL_OK;
}

/* --- which chain -------------------------------------------------------------------- */

static hsmpool_status settle(struct hp_audit_chain *chain, int folder, bool is_ring_new,
			     bool *is_file_new, hsmpool_error *err)
{
	struct found found = { 0 };
	HP_TRY(look(folder, chain->number, &found, err));
	*is_file_new = found.tail.size == 0;
	is_ring_new = is_ring_new || !chain->ring.header->chain[0];
	chain->recovery.has_lost_its_ring = is_ring_new && found.has_file;
	if (is_ring_new)
		HP_CHECK(draw_name(chain->ring.header->chain), err, HSMPOOL_ERR_SYSTEM,
			 "audit: no random bytes for the name of a chain");
	HP_CHECK(!is_ring_new || found.has_head || !found.tail.has_line, err,
		 HSMPOOL_ERR_DATA, "audit: chain %u has neither a ring nor a last record",
		 chain->number);
	memcpy(chain->name, chain->ring.header->chain, sizeof chain->name);
	decide_head(chain, &found);
	collect_leftovers(chain);
	HP_TRY(open_file(chain, folder, &found, err));
	chain->next = chain->head;
	chain->is_whole = true;
	hp_audit_ring_start(&chain->ring);
	return HSMPOOL_OK;
}

static bool is_there(int folder, const char *name)
{
	return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* *is_passed_over: it is somebody else's, or cannot be continued; another one will do.
 * What is wrong with the folder or its list is wrong for all. */
static hsmpool_status take_one(struct hp_audit_chain *chain, int folder,
			       bool *is_passed_over, hsmpool_error *err)
{
	char name[HP_AUDIT_NAME_SIZE];
	bool is_ring_new = false, is_file_new = false;
	hp_audit_ring_name(name, chain->number);
	hsmpool_status status =
		hp_audit_ring_open(&chain->ring, folder, name, &is_ring_new, err);
	if (status != HSMPOOL_OK) {
		*is_passed_over = status == HSMPOOL_ERR_TIMEOUT ||
				  (err->sys_errno == EACCES && is_there(folder, name));
		return status;
	}
	status = settle(chain, folder, is_ring_new, &is_file_new, err);
	*is_passed_over = status == HSMPOOL_ERR_DATA ||
			  (status == HSMPOOL_ERR_SYSTEM && err->sys_errno == EACCES);
	if (status == HSMPOOL_OK && is_file_new)
		status = list_begun(chain, folder, err);
	return status;
}

static void put_back(struct hp_audit_chain *chain)
{
	if (chain->file >= 0)
		close(chain->file);
	chain->file = -1;
	hp_audit_ring_close(&chain->ring);
}

static hsmpool_status take_some(struct hp_audit_chain *chain, int folder,
				hsmpool_error *err)
{
	for (chain->number = 1; chain->number <= HP_AUDIT_MOST_CHAINS; chain->number++) {
		hsmpool_error why = { 0 };
		bool is_passed_over = false;
		hsmpool_status status = take_one(chain, folder, &is_passed_over, &why);
		if (status == HSMPOOL_OK)
			return status;
		put_back(chain);
		if (is_passed_over)
			continue;
		if (err)
			*err = why;
		return status;
	}
	return hp_fail(err, HSMPOOL_ERR_SYSTEM,
		       "audit: all %d chains of the folder are in use",
		       HP_AUDIT_MOST_CHAINS);
}

hsmpool_status hp_audit_chain_take(struct hp_audit_chain *chain, const char *folder,
				   hsmpool_error *err)
{
	HP_AUTO_FD int opened = -1;
	chain->file = -1;
	identify(&chain->writer);
	chain->hasher = hp_line_hasher_new();
	chain->lines = malloc(HP_AUDIT_BATCH_SIZE);
	chain->folder = strdup(folder);
	HP_CHECK(chain->hasher && chain->lines && chain->folder, err, HSMPOOL_ERR_SYSTEM,
		 "audit: no memory, or no SHA-256");
	HP_TRY(hp_owned_dir_open("audit", folder, true, &opened, err));
	return take_some(chain, opened, err);
}

/* --- saying so ---------------------------------------------------------------------- */

/* In batches; slots are emptied once their lines are in the file. */
static bool write_leftovers(struct hp_audit_chain *chain)
{
	struct hp_audit_recovery *recovery = &chain->recovery;
	while (recovery->written < recovery->count) {
		uint32_t i = recovery->written;
		uint32_t unknown = 0;
		for (; i < recovery->count && hp_audit_chain_has_room(chain); i++) {
			struct hp_audit_slot *slot =
				&chain->ring.slots[recovery->slots[i]];
			unknown += atomic_load(&slot->state) == HP_SLOT_BEGUN;
			hp_audit_chain_add_slot(chain, slot, &chain->ring.header->writer);
		}
		if (!hp_audit_chain_write(chain))
			return false;
		recovery->unknown += unknown;
		for (; recovery->written < i; recovery->written++)
			hp_audit_ring_free(
				&chain->ring,
				&chain->ring.slots[recovery->slots[recovery->written]]);
	}
	return true;
}

static void add_recovered(struct hp_audit_chain *chain)
{
	const struct hp_audit_recovery *recovery = &chain->recovery;
	if (!recovery->count && !recovery->torn && !recovery->missing &&
	    !recovery->is_altered && !recovery->has_lost_its_ring)
		return;
	struct hp_audit_line line =
		hp_audit_chain_begin_line(chain, hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_RAW(&line, ",\"event\":\"recovered\"");
	HP_LINE_NUMBER(&line, "written", recovery->written - recovery->unknown);
	HP_LINE_NUMBER(&line, "unknown", recovery->unknown);
	HP_LINE_NUMBER(&line, "torn", recovery->torn);
	HP_LINE_NUMBER(&line, "missing", recovery->missing);
	if (recovery->is_altered)
		HP_LINE_RAW(&line, ",\"altered\":true");
	if (recovery->has_lost_its_ring)
		HP_LINE_RAW(&line, ",\"ring\":\"lost\"");
	hp_audit_chain_end_line(chain, &line);
}

/* It vouches for the list as well, up to what we added to it. */
static void add_open(struct hp_audit_chain *chain)
{
	struct hp_audit_line line =
		hp_audit_chain_begin_line(chain, hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_RAW(&line, ",\"event\":\"open\"");
	HP_LINE_TEXT(&line, "chain", chain->name, strlen(chain->name));
	HP_LINE_NUMBER(&line, "list", chain->list_head.seq);
	HP_LINE_HEX(&line, "listed", chain->list_head.hash, HP_AUDIT_HASH_LEN);
	hp_audit_chain_end_line(chain, &line);
}

static hsmpool_status list_taken(struct hp_audit_chain *chain, hsmpool_error *err)
{
	struct hp_audit_list list;
	HP_AUTO_FD int folder = -1;
	HP_TRY(hp_owned_dir_open("audit", chain->folder, true, &folder, err));
	HP_TRY(hp_audit_list_open(&list, folder, err));
	struct hp_list_entry entry = { "taken",          chain->number, chain->name,
				       chain->file_name, &chain->head,  NULL };
	hp_audit_list_add(&list, &entry);
	hsmpool_status status = hp_audit_list_write(&list, err);
	chain->list_head = list.head;
	hp_audit_list_close(&list);
	return status;
}

static bool make_sure_it_is_listed(struct hp_audit_chain *chain)
{
	hsmpool_error err = { 0 };
	if (!chain->is_listed)
		chain->is_listed = list_taken(chain, &err) == HSMPOOL_OK;
	if (!chain->is_listed)
		chain->failure = err.sys_errno ? err.sys_errno : EIO;
	return chain->is_listed;
}

/* Its number last: whoever is killed in between leaves a name that no slot goes by. */
static void name_writer(struct hp_audit_writer *to, const struct hp_audit_writer *writer)
{
	to->pid = 0;
	atomic_signal_fence(memory_order_seq_cst);
	to->uid = writer->uid;
	memcpy(to->host, writer->host, sizeof to->host);
	memcpy(to->program, writer->program, sizeof to->program);
	atomic_signal_fence(memory_order_seq_cst);
	to->pid = writer->pid;
}

/* The ring's writer is named anew only when nothing of the old one is in it. */
bool hp_audit_chain_announce(struct hp_audit_chain *chain)
{
	if (chain->is_announced)
		return true;
	if (!make_sure_it_is_listed(chain))
		return false;
	if (!write_leftovers(chain))
		return false;
	add_recovered(chain);
	add_open(chain);
	if (!hp_audit_chain_write(chain))
		return false;
	name_writer(&chain->ring.header->writer, &chain->writer);
	chain->is_announced = true;
	return true;
}
