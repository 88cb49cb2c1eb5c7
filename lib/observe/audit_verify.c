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
	struct hp_listed_record *remembered; /* by seq % HP_AUDIT_COMPARABLE */
	bool has_list;
	bool is_ours[HP_AUDIT_MOST_CHAINS + 1]; /* chains that there are */

	/* where we are */
	unsigned chain;
	const char *file; /* also of what is settled after its end */
	char file_name[HP_AUDIT_NAME_SIZE];
	uint64_t line;
	bool has_failed; /* no memory */
	char checked_name[HP_AUDIT_CHAIN_LEN + 1];
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
		[HP_FINDING_UNLISTED] = "unlisted",
		[HP_FINDING_FOREIGN] = "foreign",
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
	struct hp_listed_record *place = &v->remembered[frame->seq % HP_AUDIT_COMPARABLE];
	place->chain = v->chain;
	place->head.seq = frame->seq;
	memcpy(place->head.hash, frame->hash, sizeof frame->hash);
}

static bool is_remembered(const struct verify *v, const struct hp_audit_head *head)
{
	const struct hp_listed_record *place =
		&v->remembered[head->seq % HP_AUDIT_COMPARABLE];
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

static void tell_foreign(const struct verify *v, const char *file, uint64_t line,
			 unsigned owner)
{
	struct hp_audit_finding finding = { .kind = HP_FINDING_FOREIGN,
					    .chain = v->chain,
					    .file = file,
					    .line = line,
					    .other = owner };
	tell(v, &finding);
}

/* A chain that was copied or exchanged for another brings its name along. */
static void check_name(struct verify *v, const char *name)
{
	if (!v->has_list || strcmp(name, v->checked_name) == 0)
		return;
	memcpy(v->checked_name, name, sizeof v->checked_name);
	unsigned owner = hp_expected_chain(&v->expected, name);
	if (owner == 0 && hp_expected_read_on(&v->expected))
		owner = hp_expected_chain(&v->expected, name);
	if (owner != v->chain)
		tell_foreign(v, v->file, v->line, owner);
}

/* The list as it was then. */
static void check_list(struct verify *v, const struct hp_ring_head *then)
{
	if (then->seq > hp_expected_last(&v->expected, 0))
		hp_expected_read_on(&v->expected);
	uint64_t last = hp_expected_last(&v->expected, 0);
	struct hp_audit_finding finding = { .kind = HP_FINDING_ALTERED,
					    .file = HP_AUDIT_LIST_NAME,
					    .seq = then->seq,
					    .last = then->seq };
	if (then->seq > last) {
		finding.kind = HP_FINDING_REMOVED;
		finding.seq = last + 1;
	}
	if (then->seq > last ||
	    hp_expected_contradicts(&v->expected, 0, then->seq, then->hash))
		tell(v, &finding);
}

static void see_open(struct verify *v, const char *line, size_t len)
{
	struct hp_ring_head list;
	hp_line_member_text(line, len, "chain", v->read.head.chain,
			    sizeof v->read.head.chain);
	check_name(v, v->read.head.chain);
	list.seq = hp_line_member_number(line, len, "list");
	if (hp_line_member_hash(line, len, "listed", list.hash))
		check_list(v, &list);
}

static void see_record(void *user, const char *line, size_t len,
		       const struct hp_line_frame *frame)
{
	struct verify *v = user;
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

/* --- files -------------------------------------------------------------------------- */

static void tell_torn(struct verify *v, size_t bytes)
{
	if (bytes == 0 || v->ring.is_live)
		return;
	struct hp_audit_finding finding = finding_here(v, HP_FINDING_TORN_END);
	finding.bytes = bytes;
	tell(v, &finding);
}

/* False: it is not there or cannot be read; errno says which. */
static bool read_file(struct verify *v, const char *name)
{
	struct hp_audit_lines lines;
	const char *line;
	size_t len;
	v->file = name;
	v->line = 0;
	if (!hp_audit_lines_open(&lines, v->folder, name))
		return false;
	while (hp_audit_lines_next(&lines, &line, &len)) {
		v->line = lines.number;
		hp_walk_line(v->walk, line, len);
	}
	tell_torn(v, lines.rest);
	hp_audit_lines_close(&lines);
	errno = lines.failure;
	return lines.failure == 0;
}

/* --- rings -------------------------------------------------------------------------- */

/* Its writer may be changing the head: it is right when it is the same twice. */
static bool copy_header(struct hp_ring_header *header, int file)
{
	struct hp_ring_header again;
	for (int attempt = 0; attempt < 1000; attempt++) {
		if (pread(file, header, sizeof *header, 0) != sizeof *header ||
		    pread(file, &again, sizeof again, 0) != sizeof again)
			return false;
		if (memcmp(header, &again, sizeof again) == 0)
			return true;
	}
	return false;
}

static bool copy_ring(struct chain_ring *ring, int file)
{
	struct stat info;
	if (fstat(file, &info) != 0 || info.st_size < 4096 || info.st_size > (16 << 20))
		return false;
	ring->size = (size_t)info.st_size;
	ring->header = aligned_alloc(64, (ring->size + 63) / 64 * 64);
	return ring->header &&
	       pread(file, ring->header, ring->size, 0) == (ssize_t)ring->size &&
	       copy_header(ring->header, file) &&
	       hp_audit_ring_is_valid(ring->header, ring->size);
}

/* Whoever writes the chain has it locked. A process that looks for a chain in the very
 * moment of this look takes another. */
static void read_ring(struct verify *v)
{
	char name[HP_AUDIT_NAME_SIZE];
	hp_audit_ring_name(name, v->chain);
	v->ring = (struct chain_ring){ 0 };
	HP_AUTO_FD int file = hp_audit_open_to_read(v->folder, name);
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

static bool is_there(const struct verify *v, const char *name)
{
	return faccessat(v->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void pass_deleted(struct verify *v, const struct hp_ring_head *last)
{
	uint64_t next = hp_walk_expected(v->walk);
	if (last->seq < next)
		return;
	v->read.deleted += last->seq - next + 1;
	hp_walk_expect(v->walk, last->seq + 1, last->hash);
}

/* A listed file that is not where the chain goes on. Retention may have deleted it since
 * the list was read. Returns whether it is missing. */
static bool pass_file(struct verify *v, const struct hp_listed_file *listed)
{
	char name[HP_AUDIT_NAME_SIZE];
	const struct hp_audit_file file = listed->file;
	hp_audit_file_name(name, file.chain, file.first);
	if (!listed->is_deleted && is_there(v, name))
		return false; /* nothing is in it yet */
	if (!listed->is_deleted && hp_expected_read_on(&v->expected))
		listed = hp_expected_file_from(&v->expected, file.chain, file.first);
	if (listed->is_deleted) {
		pass_deleted(v, &listed->last);
		return false;
	}
	tell_about_file(v, HP_FINDING_MISSING_FILE, name);
	return true;
}

/* The next file begins with record `first`, or there is none (UINT64_MAX). Returns
 * whether a file in between is missing, which explains a gap. */
static bool pass_files_before(struct verify *v, uint64_t first)
{
	bool is_explained = false;
	const struct hp_listed_file *listed;
	uint64_t from = hp_walk_expected(v->walk);
	while ((listed = hp_expected_file_from(&v->expected, v->chain, from)) &&
	       listed->file.first < first) {
		from = listed->file.first + 1;
		is_explained = pass_file(v, listed) || is_explained;
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

static bool is_listed(struct verify *v, const struct hp_audit_file *file)
{
	return hp_expected_has_file(&v->expected, file) ||
	       (hp_expected_read_on(&v->expected) &&
		hp_expected_has_file(&v->expected, file));
}

/* One that is gone since it was found is passed like others that are. One that is empty
 * may not be listed yet. */
static void read_one(struct verify *v, const struct hp_audit_file *file)
{
	if (file->first != hp_walk_expected(v->walk))
		bridge(v, file->first);
	hp_audit_file_name(v->file_name, file->chain, file->first);
	bool is_read = read_file(v, v->file_name);
	if (!is_read && errno != ENOENT)
		tell_about_file(v, HP_FINDING_UNREADABLE, v->file_name);
	if (is_read && v->line > 0 && v->has_list && !is_listed(v, file))
		tell_about_file(v, HP_FINDING_UNLISTED, v->file_name);
}

static void check_ring(struct verify *v, const struct hp_ring_head *noted)
{
	char name[HP_AUDIT_NAME_SIZE];
	if (noted->seq == v->read.head.seq && noted->seq > 0 &&
	    memcmp(noted->hash, v->read.head.hash, sizeof noted->hash) != 0)
		tell_about_records(v, HP_FINDING_ALTERED, noted->seq, noted->seq);
	unsigned owner = hp_expected_chain(&v->expected, v->ring.header->chain);
	hp_audit_ring_name(name, v->chain);
	if (owner != 0 && owner != v->chain)
		tell_foreign(v, name, 0, owner);
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
	if (v->ring.is_there)
		check_ring(v, &noted);
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
	const struct hp_walk_hooks hooks = { tell_about_records, see_record, v };
	v->walk = hp_walk_new(&hooks);
	v->read = (struct hp_chain_read){ 0 };
	v->checked_name[0] = '\0';
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
		for (size_t i = 0; i < count; i++)
			if (files[i].chain == v->chain)
				read_one(v, &files[i]);
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

static void tell_about_list(void *user, enum hp_finding_kind kind, uint64_t seq,
			    uint64_t last)
{
	const struct verify *v = user;
	struct hp_audit_finding finding = { .kind = kind,
					    .file = HP_AUDIT_LIST_NAME,
					    .line = v->expected.lines.number,
					    .seq = seq,
					    .last = last };
	if (kind == HP_FINDING_REMOVED)
		finding.line = 0;
	tell(v, &finding);
}

static void read_list(struct verify *v)
{
	v->has_list = hp_expected_open(&v->expected, v->folder, tell_about_list, v);
	if (!v->has_list)
		tell_about_file(v,
				errno == ENOENT ? HP_FINDING_MISSING_FILE
						: HP_FINDING_UNREADABLE,
				HP_AUDIT_LIST_NAME);
}

static hsmpool_status read_all(struct verify *v, hsmpool_error *err)
{
	bool has_chains = false;
	read_list(v);
	HP_CHECK(find_chains(v), err, HSMPOOL_ERR_SYSTEM, "audit: %s cannot be read",
		 v->request->folder);
	for (v->chain = 1; v->chain <= HP_AUDIT_MOST_CHAINS; v->chain++) {
		if (!v->is_ours[v->chain])
			continue;
		has_chains = true;
		HP_TRY(read_chain(v, err));
	}
	v->chain = 0;
	hp_expected_end(&v->expected);
	HP_CHECK(!v->has_failed && !v->expected.has_failed, err, HSMPOOL_ERR_SYSTEM,
		 "audit: no memory");
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
	v->remembered = calloc(HP_AUDIT_COMPARABLE, sizeof *v->remembered);
	hsmpool_status status =
		v->remembered ? read_all(v, err)
			      : hp_fail(err, HSMPOOL_ERR_SYSTEM, "audit: no memory");
	hp_expected_close(&v->expected);
	free(v->remembered);
	free(v);
	return status;
}
