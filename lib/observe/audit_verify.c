/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See audit_verify.h. The list of chains is read first: it says which files there must
 * be. Of each chain the ring is read before the files, so what the ring says was written
 * is there to be read, also while a process goes on writing.
 */
#include "observe/audit_verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/audit_expect.h"
#include "observe/audit_walk.h"

#define BUFFER_SIZE (256 * 1024)
#define REMEMBERED  (1 << 15) /* hashes, for checkpoints of records not long ago */

struct chain_ring {
	bool is_there; /* and valid */
	bool is_live;
	size_t size;
	struct hp_ring_header *header; /* a copy of the file; slots behind it */
};

struct verify {
	const struct hp_verify_request *request;
	int folder;
	struct hp_expected expected;
	struct hp_walk *walk;
	struct hp_listed_record *remembered; /* by seq % REMEMBERED */
	char *buffer;
	bool is_ours[HP_AUDIT_MOST_CHAINS + 1]; /* chains that there are */

	/* where we are */
	unsigned chain;
	const char *file; /* also of what is settled after its end */
	char file_name[HP_AUDIT_NAME_SIZE];
	uint64_t line;
	bool is_list;
	bool has_failed; /* no memory */
	struct chain_ring ring;
	struct hp_chain_read read;
};

const char *hp_finding_name(enum hp_finding_kind kind)
{
	static const char *const names[] = {
		[HP_FINDING_ALTERED] = "altered",
		[HP_FINDING_REMOVED] = "removed",
		[HP_FINDING_INSERTED] = "inserted",
		[HP_FINDING_REORDERED] = "reordered",
		[HP_FINDING_MISSING_FILE] = "missing-file",
		[HP_FINDING_UNREADABLE] = "unreadable",
		[HP_FINDING_TORN_END] = "torn-end",
		[HP_FINDING_PENDING] = "pending",
		[HP_FINDING_CHECKPOINT] = "checkpoint",
		[HP_FINDING_HEAD] = "head",
		[HP_FINDING_CHAIN] = "chain",
	};
	return (size_t)kind < HP_ARRAY_LEN(names) ? names[kind] : "unknown";
}

size_t hp_audit_checkpoint_text(const struct hp_audit_head *head,
				uint8_t text[HP_AUDIT_CHECKPOINT_MAX])
{
	static const char prefix[] = "hsmpool v1 audit checkpoint";
	uint8_t *at = text;
	size_t name_len = strnlen(head->chain, HP_AUDIT_CHAIN_LEN);
	memcpy(at, prefix, sizeof prefix);
	at += sizeof prefix;
	memcpy(at, head->chain, name_len);
	at += name_len;
	hp_put_be64(at, head->seq);
	at += 8;
	memcpy(at, head->hash, HP_AUDIT_HASH_LEN);
	return (size_t)(at - text) + HP_AUDIT_HASH_LEN;
}

/* --- telling ------------------------------------------------------------------------ */

static struct hp_audit_finding finding_here(const struct verify *v,
					    enum hp_finding_kind kind)
{
	return (struct hp_audit_finding){
		.kind = kind, .chain = v->chain, .file = v->file, .line = v->line
	};
}

static void tell(const struct verify *v, const struct hp_audit_finding *finding)
{
	v->request->tell(v->request->user, finding);
}

static void tell_about_file(const struct verify *v, enum hp_finding_kind kind,
			    const char *name)
{
	struct hp_audit_finding finding = { .kind = kind,
					    .chain = v->chain,
					    .file = name };
	tell(v, &finding);
}

static void tell_about_records(void *user, enum hp_finding_kind kind, uint64_t seq,
			       uint64_t last)
{
	const struct verify *v = user;
	struct hp_audit_finding finding = finding_here(v, kind);
	finding.seq = seq;
	finding.last = last;
	if (kind == HP_FINDING_REMOVED) /* where, is not known */
		finding.line = 0;
	tell(v, &finding);
}

/* --- records ------------------------------------------------------------------------ */

static void remember(struct verify *v, const struct hp_line_frame *frame)
{
	struct hp_listed_record *place = &v->remembered[frame->seq % REMEMBERED];
	place->chain = v->chain;
	place->head.seq = frame->seq;
	memcpy(place->head.hash, frame->hash, sizeof frame->hash);
}

static bool is_remembered(const struct verify *v, const struct hp_audit_head *head)
{
	const struct hp_listed_record *place = &v->remembered[head->seq % REMEMBERED];
	return place->chain == v->chain && place->head.seq == head->seq &&
	       memcmp(place->head.hash, head->hash, sizeof head->hash) == 0;
}

static void see_checkpoint(struct verify *v, const char *line, size_t len, uint64_t seq)
{
	struct hp_checkpoint_found found = { 0 };
	char mac[2 * sizeof found.mac + 1];
	hp_line_member_text(line, len, "chain", found.head.chain,
			    sizeof found.head.chain);
	found.head.seq = hp_line_member_number(line, len, "of");
	bool has_head = hp_line_member_hash(line, len, "head", found.head.hash);
	hp_line_member_text(line, len, "authenticator", found.key, sizeof found.key);
	hp_line_member_text(line, len, "mechanism", found.mechanism,
			    sizeof found.mechanism);
	hp_line_member_text(line, len, "mac", mac, sizeof mac);
	bool has_mac = hp_hex_decode(mac, found.mac, sizeof found.mac, &found.mac_len);
	found.is_right = has_head && has_mac &&
			 strcmp(found.head.chain, v->read.head.chain) == 0 &&
			 is_remembered(v, &found.head);
	if (found.is_right)
		v->read.last_checkpoint = found.head.seq;
	struct hp_audit_finding finding = finding_here(v, HP_FINDING_CHECKPOINT);
	finding.seq = finding.last = seq;
	finding.checkpoint = &found;
	tell(v, &finding);
}

static bool is_event(const char *line, size_t len, const char *event)
{
	size_t member_len;
	const char *member = hp_line_member(line, len, "event", &member_len);
	return member && member_len == strlen(event) &&
	       memcmp(member, event, member_len) == 0;
}

/* The record says how the list of chains looked then. */
static void see_open(struct verify *v, const char *line, size_t len)
{
	struct hp_ring_head list;
	hp_line_member_text(line, len, "chain", v->read.head.chain,
			    sizeof v->read.head.chain);
	list.seq = hp_line_member_number(line, len, "list");
	if (!hp_line_member_hash(line, len, "listed", list.hash))
		return;
	uint64_t last = hp_expected_last(&v->expected, 0);
	struct hp_audit_finding finding = { .kind = HP_FINDING_ALTERED,
					    .file = HP_AUDIT_LIST_NAME,
					    .seq = list.seq,
					    .last = list.seq };
	if (list.seq > last) {
		finding.kind = HP_FINDING_REMOVED;
		finding.seq = last + 1;
	}
	if (list.seq > last ||
	    hp_expected_contradicts(&v->expected, 0, list.seq, list.hash))
		tell(v, &finding);
}

static void see_record(struct verify *v, const char *line, size_t len,
		       const struct hp_line_frame *frame)
{
	if (hp_expected_contradicts(&v->expected, v->chain, frame->seq, frame->hash))
		tell_about_records(v, HP_FINDING_ALTERED, frame->seq, frame->seq);
	v->read.records++;
	v->read.head.seq = frame->seq;
	memcpy(v->read.head.hash, frame->hash, sizeof frame->hash);
	remember(v, frame);
	if (is_event(line, len, "open"))
		see_open(v, line, len);
	else if (is_event(line, len, "checkpoint"))
		see_checkpoint(v, line, len, frame->seq);
	if (v->request->head && memcmp(v->request->head, frame->hash, 32) == 0) {
		struct hp_audit_finding finding = finding_here(v, HP_FINDING_HEAD);
		finding.seq = finding.last = frame->seq;
		tell(v, &finding);
	}
}

static void see_line(void *user, const char *line, size_t len,
		     const struct hp_line_frame *frame)
{
	struct verify *v = user;
	if (!v->is_list)
		see_record(v, line, len, frame);
	else if (!hp_expected_add(&v->expected, line, len, frame))
		v->has_failed = true;
}

/* --- files -------------------------------------------------------------------------- */

/* Feed the lines in the buffer; returns the bytes used. A line as long as the buffer is
 * none: it is fed as such, in pieces. */
static size_t feed(struct verify *v, size_t filled)
{
	size_t used = 0;
	for (;;) {
		const char *line = v->buffer + used;
		const char *end = memchr(line, '\n', filled - used);
		if (!end)
			break;
		v->line++;
		hp_walk_line(v->walk, line, (size_t)(end - line));
		used = (size_t)(end - v->buffer) + 1;
	}
	if (used == 0 && filled == BUFFER_SIZE) {
		hp_walk_line(v->walk, v->buffer, filled);
		used = filled;
	}
	return used;
}

static void tell_torn(struct verify *v, size_t bytes)
{
	if (bytes == 0 || v->ring.is_live)
		return;
	struct hp_audit_finding finding = finding_here(v, HP_FINDING_TORN_END);
	finding.bytes = bytes;
	tell(v, &finding);
}

/* False: it is not there or cannot be read. */
static bool read_file(struct verify *v, const char *name)
{
	HP_AUTO_FD int file =
		openat(v->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t filled = 0;
	ssize_t got = -1;
	v->file = name;
	v->line = 0;
	if (file < 0)
		return false;
	while ((got = read(file, v->buffer + filled, BUFFER_SIZE - filled)) > 0) {
		filled += (size_t)got;
		size_t used = feed(v, filled);
		filled -= used;
		memmove(v->buffer, v->buffer + used, filled);
	}
	tell_torn(v, filled);
	return got == 0;
}

/* --- rings -------------------------------------------------------------------------- */

static bool copy_ring(struct chain_ring *ring, int file)
{
	struct stat info;
	if (fstat(file, &info) != 0 || info.st_size < 4096 || info.st_size > (16 << 20))
		return false;
	ring->size = (size_t)info.st_size;
	ring->header = aligned_alloc(64, (ring->size + 63) / 64 * 64);
	return ring->header &&
	       pread(file, ring->header, ring->size, 0) == (ssize_t)ring->size &&
	       hp_audit_ring_is_valid(ring->header, ring->size);
}

/* Whoever writes the chain has it locked. A process that looks for a chain in the very
 * moment of this look takes another. */
static void read_ring(struct verify *v)
{
	char name[HP_AUDIT_NAME_SIZE];
	hp_audit_ring_name(name, v->chain);
	v->ring = (struct chain_ring){ 0 };
	HP_AUTO_FD int file = openat(v->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0) {
		tell_about_file(v,
				errno == ENOENT ? HP_FINDING_MISSING_FILE
						: HP_FINDING_UNREADABLE,
				name);
		return;
	}
	v->ring.is_live = flock(file, LOCK_SH | LOCK_NB) != 0;
	v->ring.is_there = copy_ring(&v->ring, file);
	if (!v->ring.is_there)
		tell_about_file(v, HP_FINDING_UNREADABLE, name);
}

static void tell_pending(struct verify *v)
{
	if (!v->ring.is_there || v->ring.is_live)
		return;
	uint32_t indexes[HP_AUDIT_SLOTS];
	const struct hp_audit_slot *slots = hp_audit_ring_slots(v->ring.header);
	uint32_t count = hp_audit_ring_leftovers(slots, v->read.head.seq, indexes);
	struct hp_audit_finding finding = { .kind = HP_FINDING_PENDING,
					    .chain = v->chain };
	for (uint32_t i = 0; i < count; i++) {
		bool is_done = atomic_load(&slots[indexes[i]].state) == HP_SLOT_DONE;
		finding.done += is_done;
		finding.begun += !is_done;
	}
	if (count)
		tell(v, &finding);
}

/* --- chains ------------------------------------------------------------------------- */

/* Whether retention deleted a file after we read the list: its last lines are read again,
 * as a text, in which no label can pass for this. */
static bool is_deleted_by_now(const struct verify *v, const char *name)
{
	char entry[128];
	char *text = malloc(BUFFER_SIZE);
	HP_AUTO_FD int file =
		openat(v->folder, HP_AUDIT_LIST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int len = snprintf(entry, sizeof entry,
			   "\"event\":\"deleted\",\"number\":%u,\"file\":\"%s\"",
			   v->chain, name);
	off_t size = file >= 0 ? lseek(file, 0, SEEK_END) : 0;
	ssize_t got = -1;
	if (text && file >= 0)
		got = pread(file, text, BUFFER_SIZE,
			    size > BUFFER_SIZE ? size - BUFFER_SIZE : 0);
	bool is_found = got > 0 && memmem(text, (size_t)got, entry, (size_t)len);
	free(text);
	return is_found;
}

/*
 * The next file begins with record `first`, or there is none (UINT64_MAX). Files in
 * between that were deleted as they should are passed over; others are missing. Returns
 * whether that explains a gap.
 */
static bool pass_files_before(struct verify *v, uint64_t first)
{
	bool is_explained = false;
	for (size_t i = 0; i < v->expected.file_count; i++) {
		const struct hp_listed_file *listed = &v->expected.files[i];
		uint64_t next = hp_walk_expected(v->walk);
		if (listed->file.chain != v->chain || listed->file.first < next ||
		    listed->file.first >= first)
			continue;
		if (listed->is_deleted) {
			if (listed->last.seq >= next)
				hp_walk_expect(v->walk, listed->last.seq + 1,
					       listed->last.hash);
			continue;
		}
		char name[HP_AUDIT_NAME_SIZE];
		hp_audit_file_name(name, v->chain, listed->file.first);
		if (faccessat(v->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue; /* nothing is in it yet */
		if (!is_deleted_by_now(v, name))
			tell_about_file(v, HP_FINDING_MISSING_FILE, name);
		is_explained = true;
	}
	return is_explained;
}

/* Up to a file that does not begin where the last one ended. */
static void bridge(struct verify *v, uint64_t first)
{
	hp_walk_settle(v->walk);
	if (first <= hp_walk_expected(v->walk))
		return;
	bool is_explained = pass_files_before(v, first);
	uint64_t next = hp_walk_expected(v->walk);
	if (first <= next)
		return;
	if (!is_explained)
		tell_about_records(v, HP_FINDING_REMOVED, next, first - 1);
	hp_walk_expect(v->walk, first, NULL);
}

static void read_files(struct verify *v, const struct hp_audit_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (files[i].chain != v->chain)
			continue;
		if (files[i].first != hp_walk_expected(v->walk))
			bridge(v, files[i].first);
		hp_audit_file_name(v->file_name, v->chain, files[i].first);
		if (!read_file(v, v->file_name))
			tell_about_file(v, HP_FINDING_UNREADABLE, v->file_name);
	}
}

static void end_chain(struct verify *v)
{
	struct hp_ring_head noted = { 0 };
	uint64_t last = hp_expected_last(&v->expected, v->chain);
	hp_walk_settle(v->walk);
	bool is_explained = pass_files_before(v, UINT64_MAX);
	if (v->ring.is_there)
		hp_audit_ring_get_head(v->ring.header, &noted);
	last = noted.seq > last ? noted.seq : last;
	hp_walk_end(v->walk, is_explained ? 0 : last);
	if (v->ring.is_there && noted.seq == v->read.head.seq && noted.seq > 0 &&
	    memcmp(noted.hash, v->read.head.hash, sizeof noted.hash) != 0)
		tell_about_records(v, HP_FINDING_ALTERED, noted.seq, noted.seq);
	v->file = NULL;
	tell_pending(v);
	v->read.is_live = v->ring.is_live;
	struct hp_audit_finding finding = { .kind = HP_FINDING_CHAIN,
					    .chain = v->chain,
					    .read = &v->read };
	tell(v, &finding);
}

static bool begin_walk(struct verify *v)
{
	const struct hp_walk_hooks hooks = { tell_about_records, see_line, v };
	v->walk = hp_walk_new(&hooks);
	v->read = (struct hp_chain_read){ 0 };
	return v->walk != NULL;
}

static void end_walk(struct verify *v)
{
	v->has_failed = v->has_failed || hp_walk_has_failed(v->walk);
	hp_walk_free(v->walk);
	v->walk = NULL;
}

static hsmpool_status read_chain(struct verify *v, hsmpool_error *err)
{
	HP_AUTO_FREE struct hp_audit_file *files = NULL;
	size_t count = 0;
	read_ring(v);
	hsmpool_status status = hp_audit_folder_files(v->folder, &files, &count, err);
	if (status == HSMPOOL_OK && begin_walk(v)) {
		if (v->ring.is_there)
			memcpy(v->read.head.chain, v->ring.header->chain,
			       sizeof v->read.head.chain);
		read_files(v, files, count);
		end_chain(v);
		end_walk(v);
	} else {
		v->has_failed = true;
	}
	free(v->ring.header);
	v->ring.header = NULL;
	return status;
}

/* --- the trail ---------------------------------------------------------------------- */

static void note_chain(struct verify *v, unsigned chain)
{
	if (chain > 0 && chain <= HP_AUDIT_MOST_CHAINS)
		v->is_ours[chain] = true;
}

/* Whatever names a chain: a file, a ring, the list. False: the folder cannot be read. */
static bool find_chains(struct verify *v)
{
	int own = openat(v->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	if (!dir)
		return false;
	for (const struct dirent *entry; (entry = readdir(dir));) {
		struct hp_audit_file file;
		unsigned chain;
		if (hp_audit_file_parse(entry->d_name, &file))
			note_chain(v, file.chain);
		else if (hp_audit_ring_parse(entry->d_name, &chain))
			note_chain(v, chain);
	}
	closedir(dir);
	for (size_t i = 0; i < v->expected.file_count; i++)
		note_chain(v, v->expected.files[i].file.chain);
	return true;
}

static bool read_list(struct verify *v)
{
	if (!begin_walk(v))
		return false;
	v->is_list = true;
	v->ring.is_live = true; /* a line may be just being written to it */
	if (!read_file(v, HP_AUDIT_LIST_NAME))
		tell_about_file(v,
				errno == ENOENT ? HP_FINDING_MISSING_FILE
						: HP_FINDING_UNREADABLE,
				HP_AUDIT_LIST_NAME);
	hp_walk_end(v->walk, 0);
	end_walk(v);
	hp_expected_sort(&v->expected);
	v->is_list = false;
	v->file = NULL;
	return !v->has_failed;
}

static hsmpool_status read_all(struct verify *v, hsmpool_error *err)
{
	bool has_chains = false;
	HP_CHECK(read_list(v), err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	HP_CHECK(find_chains(v), err, HSMPOOL_ERR_SYSTEM, "audit: %s cannot be read",
		 v->request->folder);
	for (v->chain = 1; v->chain <= HP_AUDIT_MOST_CHAINS; v->chain++) {
		if (!v->is_ours[v->chain])
			continue;
		has_chains = true;
		HP_TRY(read_chain(v, err));
		HP_CHECK(!v->has_failed, err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	}
	HP_CHECK(has_chains, err, HSMPOOL_ERR_CONFIG, "audit: there is no trail in %s",
		 v->request->folder);
	return HSMPOOL_OK;
}

hsmpool_status hp_audit_verify(const struct hp_verify_request *request,
			       hsmpool_error *err)
{
	HP_AUTO_FD int folder = open(request->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "audit: %s cannot be opened", request->folder);
	struct verify *v = calloc(1, sizeof *v);
	HP_CHECK(v, err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	v->request = request;
	v->folder = folder;
	v->buffer = malloc(BUFFER_SIZE);
	v->remembered = calloc(REMEMBERED, sizeof *v->remembered);
	hsmpool_status status =
		v->buffer && v->remembered
			? read_all(v, err)
			: hp_fail(err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	hp_expected_clear(&v->expected);
	free(v->remembered);
	free(v->buffer);
	free(v);
	return status;
}
