/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table that all copies of hsmpool in one process share.
 *
 * Owns: the table, on a page of its own that outlives every copy. Its layout is a
 * contract between versions: what changes it changes NOTE_TYPE, and then they do not
 * share.
 *
 * How a copy finds it: each has a note in its ELF file that leads to the variable where
 * it keeps the table's address. No symbol is exported, and programs that contain the
 * library have it too. The dynamic linker's lock, which dl_iterate_phdr() holds, keeps
 * two copies from making a table each.
 */
#include "p11/instances.h"

#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include "base/memory.h"

#define NOTE_NAME "hsmpool"
#define NOTE_TYPE 1
#define CAPACITY  64

struct table {
	pthread_mutex_t change;
	struct {
		const CK_FUNCTION_LIST *fl; /* NULL: free from here on */
		uint32_t users;
	} modules[CAPACITY]; /* guarded by change */
};

/* Where this copy keeps the table's address. Not static: the note names it. */
extern _Atomic(struct table *) hp_instances_place;
__attribute__((visibility("hidden"), used)) _Atomic(struct table *) hp_instances_place;

__asm__(".pushsection .note.hsmpool, \"a\", %note\n"
	".balign 4\n"
	".4byte 8, 4, 1\n" /* lengths of name and content; NOTE_TYPE */
	".asciz \"" NOTE_NAME "\"\n"
	".4byte hp_instances_place - .\n"
	".popsection\n");

/* No memory for a page: this copy is for itself. */
static struct table own = { .change = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };

/* --- finding it ----------------------------------------------------------------- */

static size_t padded(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

/* The place that this note leads to, or NULL. */
static _Atomic(struct table *) *follow(const ElfW(Nhdr) * note)
{
	const char *name = (const char *)(note + 1);
	const char *content = name + padded(note->n_namesz);
	int32_t distance;
	bool is_ours = note->n_type == NOTE_TYPE && note->n_namesz == sizeof(NOTE_NAME) &&
		       note->n_descsz == sizeof(distance) &&
		       memcmp(name, NOTE_NAME, sizeof(NOTE_NAME)) == 0;
	if (!is_ours)
		return NULL;
	memcpy(&distance, content, sizeof(distance));
	return (_Atomic(struct table *) *)(uintptr_t)((intptr_t)content + distance);
}

static _Atomic(struct table *) *look_through(const char *at, size_t left)
{
	while (left >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
		size_t len =
			sizeof(*note) + padded(note->n_namesz) + padded(note->n_descsz);
		if (len > left)
			return NULL;
		_Atomic(struct table *) *found = follow(note);
		if (found)
			return found;
		at += len;
		left -= len;
	}
	return NULL;
}

/* NULL: there is no copy in the object. Notes aligned to more than 4 are of other kinds.
 */
static _Atomic(struct table *) *find_place(const struct dl_phdr_info *object)
{
	_Atomic(struct table *) *found = NULL;
	for (size_t i = 0; i < object->dlpi_phnum && !found; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		if (part->p_type != PT_NOTE || part->p_align > 4)
			continue;
		const char *notes =
			(const char *)(uintptr_t)(object->dlpi_addr + part->p_vaddr);
		found = look_through(notes, part->p_memsz);
	}
	return found;
}

static int look_at_object(struct dl_phdr_info *object, size_t size, void *found)
{
	_Atomic(struct table *) *place = find_place(object);
	struct table *table = place ? atomic_load(place) : NULL;
	(void)size;
	*(struct table **)found = table;
	return table != NULL;
}

/* A copy may have another one as its module: whoever initialises that has the lock. */
static void init_change_lock(pthread_mutex_t *change)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(change, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

/* All zero is empty, and on Linux a mutex that is free. */
static struct table *make_table(void)
{
	void *page = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return &own;
	/* Raw clones run no fork handlers. */
	madvise(page, sizeof(struct table), MADV_WIPEONFORK);
	init_change_lock(&((struct table *)page)->change);
	return page;
}

/* Called for the first object only, for the sake of the lock that is held meanwhile. */
static int find_or_make(struct dl_phdr_info *object, size_t size, void *unused)
{
	struct table *found = NULL;
	(void)object;
	(void)size;
	(void)unused;
	dl_iterate_phdr(look_at_object, &found);
	atomic_store(&hp_instances_place, found ? found : make_table());
	return 1;
}

static struct table *get_table(void)
{
	if (!atomic_load(&hp_instances_place))
		dl_iterate_phdr(find_or_make, NULL);
	return atomic_load(&hp_instances_place);
}

/* --- who has a copy --------------------------------------------------------------- */

struct owner {
	uintptr_t address;
	bool has_copy;
};

static bool spans(const struct dl_phdr_info *object, uintptr_t address)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t begin = object->dlpi_addr + part->p_vaddr;
		if (part->p_type == PT_LOAD && address >= begin &&
		    address - begin < part->p_memsz)
			return true;
	}
	return false;
}

static int look_at_owner(struct dl_phdr_info *object, size_t size, void *data)
{
	struct owner *owner = data;
	(void)size;
	if (!spans(object, owner->address))
		return 0;
	owner->has_copy = find_place(object) != NULL;
	return 1;
}

bool hp_instances_has_copy(const void *function)
{
	struct owner owner = { .address = (uintptr_t)function };
	dl_iterate_phdr(look_at_owner, &owner);
	return owner.has_copy;
}

/* --- using it ------------------------------------------------------------------- */

pthread_mutex_t *hp_instances_lock(void)
{
	return &get_table()->change;
}

/* Its number of users, or NULL: none yet, and no room. */
static uint32_t *find_users(const CK_FUNCTION_LIST *fl)
{
	struct table *table = get_table();
	for (size_t i = 0; i < CAPACITY; i++) {
		if (!table->modules[i].fl)
			table->modules[i].fl = fl;
		if (table->modules[i].fl == fl)
			return &table->modules[i].users;
	}
	return NULL;
}

unsigned hp_instances_users(const CK_FUNCTION_LIST *fl)
{
	const uint32_t *users = find_users(fl);
	return users ? *users : 0;
}

void hp_instances_join(const CK_FUNCTION_LIST *fl)
{
	uint32_t *users = find_users(fl);
	if (users)
		++*users;
}

void hp_instances_leave(const CK_FUNCTION_LIST *fl)
{
	uint32_t *users = find_users(fl);
	if (users && *users > 0)
		--*users;
}

void hp_instances_renew_in_child(void)
{
	struct table *table = atomic_load(&hp_instances_place);
	if (!table)
		return;
	memset(table, 0, sizeof(*table));
	init_change_lock(&table->change);
}
