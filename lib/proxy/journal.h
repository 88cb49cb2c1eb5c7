/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of an operation: the input that it was given so far.
 *
 * Input is plaintext: it lives in pages that are left out of core dumps, is wiped when
 * dropped, and is bounded per operation and for the process. Each piece of a cipher's
 * input is kept apart, so that a replay asks what was asked; pieces of a digest or a
 * signature run into one another.
 */
#ifndef HP_PROXY_JOURNAL_H
#define HP_PROXY_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <p11-kit/pkcs11.h>

/* All zero is an empty one. */
struct hp_journal {
	CK_BYTE *data;
	size_t len, cap;
	size_t last; /* where the last piece begins */
	bool has_any;
};

/* False: it would grow beyond limit, or all journals together beyond total; it is
 * unchanged then. */
bool hp_journal_add(struct hp_journal *journal, const CK_BYTE *in, size_t len,
		    bool may_join, uint64_t limit, uint64_t total);
/* C_DigestKey, with the application's handle. */
bool hp_journal_add_key(struct hp_journal *journal, CK_OBJECT_HANDLE key, uint64_t limit,
			uint64_t total);

/* Input is added before the module is asked (it may be overwritten by the output), and
 * taken back if the module does not take it. */
struct hp_journal_mark {
	size_t len, last;
	uint64_t head;
	bool has_any;
};
struct hp_journal_mark hp_journal_mark(const struct hp_journal *journal);
void hp_journal_rewind(struct hp_journal *journal, const struct hp_journal_mark *mark);

/* What was added, in order. */
struct hp_journal_piece {
	bool is_key;
	CK_OBJECT_HANDLE key;
	const CK_BYTE *data;
	size_t len;
};
/* The piece at *at (0: the first), which moves on. False: there are no more. */
bool hp_journal_next(const struct hp_journal *journal, size_t *at,
		     struct hp_journal_piece *piece);

/* Wipe it and give the memory back. */
void hp_journal_drop(struct hp_journal *journal);

/* What all journals of the process take now. */
uint64_t hp_journals_total(void);
/* In a forked child. */
void hp_journals_renew_lock(void);

#endif
