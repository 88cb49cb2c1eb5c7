/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals, and the memory that they live in.
 *
 * Owns: pages of plaintext (MADV_DONTDUMP), cut into pieces of a few sizes that are used
 * again and again; they stay mapped until the process ends. Locking: one leaf mutex, held
 * for a few instructions, and over mmap() when a new region is needed.
 */
#include "proxy/journal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "base/memory.h"
#include "base/secret.h"

/* --- memory ------------------------------------------------------------------------ */

#define SMALLEST     512
#define SIZES        8 /* 512 B to 64 KiB; what is larger is mapped by itself */
#define LARGEST      ((size_t)SMALLEST << (SIZES - 1))
#define REGION_BYTES (LARGEST * 4)

/* A free piece says where the next one is. */
struct free_piece {
	struct free_piece *next;
};

static struct {
	pthread_mutex_t lock;
	struct free_piece *free[SIZES];
	CK_BYTE *region; /* what is not cut yet of the last one */
	size_t region_left;
	_Atomic uint64_t total;
} memory = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *map(size_t len)
{
	void *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (pages == MAP_FAILED)
		return NULL;
	madvise(pages, len, MADV_DONTDUMP);
	return pages;
}

static unsigned size_class(size_t len)
{
	unsigned class = 0;
	while (((size_t)SMALLEST << class) < len)
		class ++;
	return class;
}

/* What is left of the old region is too small for this piece, but for smaller ones. */
static void keep_rest_locked(void)
{
	for (unsigned class = SIZES; class -- > 0;) {
		size_t len = (size_t)SMALLEST << class;
		for (; memory.region_left >= len; memory.region_left -= len) {
			struct free_piece *piece =
				(struct free_piece *)(void *)memory.region;
			piece->next = memory.free[class];
			memory.free[class] = piece;
			memory.region += len;
		}
	}
}

static void *cut_locked(size_t len)
{
	if (memory.region_left < len) {
		CK_BYTE *region = map(REGION_BYTES);
		if (!region)
			return NULL;
		keep_rest_locked();
		memory.region = region;
		memory.region_left = REGION_BYTES;
	}
	void *piece = memory.region;
	memory.region += len;
	memory.region_left -= len;
	return piece;
}

static void *get_piece(size_t cap)
{
	if (cap > LARGEST)
		return map(cap);
	unsigned class = size_class(cap);
	pthread_mutex_lock(&memory.lock);
	struct free_piece *piece = memory.free[class];
	void *found = piece;
	if (piece)
		memory.free[class] = piece->next;
	else
		found = cut_locked(cap);
	pthread_mutex_unlock(&memory.lock);
	return found;
}

static void give_piece(void *data, size_t used, size_t cap)
{
	hp_wipe(data, used);
	if (cap > LARGEST) {
		munmap(data, cap);
		return;
	}
	struct free_piece *piece = data;
	unsigned class = size_class(cap);
	pthread_mutex_lock(&memory.lock);
	piece->next = memory.free[class];
	memory.free[class] = piece;
	pthread_mutex_unlock(&memory.lock);
}

uint64_t hp_journals_total(void)
{
	return atomic_load_explicit(&memory.total, memory_order_relaxed);
}

void hp_journals_renew_lock(void)
{
	pthread_mutex_init(&memory.lock, NULL);
}

/* --- one journal ------------------------------------------------------------------- */

/* In front of each piece: how long it is; or that it is a key's handle. */
typedef uint64_t header;
#define IS_KEY   (UINT64_C(1) << 63)
#define HEADER   sizeof(header)
#define MOST_LEN ((size_t)1 << 40)

static header header_at(const struct hp_journal *journal, size_t at)
{
	header value;
	memcpy(&value, journal->data + at, HEADER);
	return value;
}

static void set_header(struct hp_journal *journal, size_t at, header value)
{
	memcpy(journal->data + at, &value, HEADER);
}

static size_t next_cap(size_t cap, size_t need)
{
	cap = cap ? cap : SMALLEST;
	while (cap < need)
		cap *= 2;
	return cap;
}

/* Room for more bytes, counted in the total. */
static bool grow(struct hp_journal *journal, size_t more, uint64_t total)
{
	size_t need = journal->len + more;
	if (need <= journal->cap)
		return true;
	size_t cap = next_cap(journal->cap, need);
	size_t extra = cap - journal->cap;
	uint64_t before = atomic_fetch_add(&memory.total, extra);
	void *data = before + extra <= total ? get_piece(cap) : NULL;
	if (!data) {
		atomic_fetch_sub(&memory.total, extra);
		return false;
	}
	if (journal->data) {
		memcpy(data, journal->data, journal->len);
		give_piece(journal->data, journal->len, journal->cap);
	}
	journal->data = data;
	journal->cap = cap;
	return true;
}

static bool add_piece(struct hp_journal *journal, header head, const void *data,
		      size_t len, uint64_t limit, uint64_t total)
{
	if (len > MOST_LEN || journal->len + HEADER + len > limit ||
	    !grow(journal, HEADER + len, total))
		return false;
	journal->last = journal->len;
	journal->has_any = true;
	set_header(journal, journal->last, head);
	if (len)
		memcpy(journal->data + journal->len + HEADER, data, len);
	journal->len += HEADER + len;
	return true;
}

bool hp_journal_add(struct hp_journal *journal, const CK_BYTE *in, size_t len,
		    bool may_join, uint64_t limit, uint64_t total)
{
	bool joins = may_join && journal->has_any &&
		     !(header_at(journal, journal->last) & IS_KEY);
	if (!joins)
		return add_piece(journal, len, in, len, limit, total);
	if (len > MOST_LEN || journal->len + len > limit || !grow(journal, len, total))
		return false;
	if (len)
		memcpy(journal->data + journal->len, in, len);
	journal->len += len;
	set_header(journal, journal->last, header_at(journal, journal->last) + len);
	return true;
}

bool hp_journal_add_key(struct hp_journal *journal, CK_OBJECT_HANDLE key, uint64_t limit,
			uint64_t total)
{
	return add_piece(journal, IS_KEY | sizeof(key), &key, sizeof(key), limit, total);
}

struct hp_journal_mark hp_journal_mark(const struct hp_journal *journal)
{
	return (struct hp_journal_mark){
		.len = journal->len,
		.last = journal->last,
		.head = journal->has_any ? header_at(journal, journal->last) : 0,
		.has_any = journal->has_any,
	};
}

void hp_journal_rewind(struct hp_journal *journal, const struct hp_journal_mark *mark)
{
	if (journal->len > mark->len)
		hp_wipe(journal->data + mark->len, journal->len - mark->len);
	journal->len = mark->len;
	journal->last = mark->last;
	journal->has_any = mark->has_any;
	if (mark->has_any)
		set_header(journal, mark->last, mark->head);
}

bool hp_journal_next(const struct hp_journal *journal, size_t *at,
		     struct hp_journal_piece *piece)
{
	if (*at >= journal->len)
		return false;
	header head = header_at(journal, *at);
	piece->is_key = (head & IS_KEY) != 0;
	piece->len = (size_t)(head & ~IS_KEY);
	piece->data = journal->data + *at + HEADER;
	if (piece->is_key)
		memcpy(&piece->key, piece->data, sizeof(piece->key));
	*at += HEADER + piece->len;
	return true;
}

void hp_journal_drop(struct hp_journal *journal)
{
	if (journal->data) {
		give_piece(journal->data, journal->len, journal->cap);
		atomic_fetch_sub(&memory.total, journal->cap);
	}
	*journal = (struct hp_journal){ 0 };
}
