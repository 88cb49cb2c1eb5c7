/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latch on refused PINs that all processes of the host share.
 *
 * One file per token in state-dir, named by its serial, label and manufacturer. An
 * automatic login of the user takes turns, on a lock of that file:
 *
 *   hp_latch_enter()  wait for the turn; AUTH if the PIN was refused before
 *   hp_latch_begin()  write down that it will be tried
 *   C_Login
 *   hp_latch_end()    write down what came of it; the next one's turn
 *
 * so that any number of processes that start with a wrong PIN spend one try. A process
 * that dies in between leaves "begun" behind: a try of which nobody knows how it ended.
 * One such try is forgiven, if the token says that no wrong PIN was counted; otherwise
 * the PIN counts as refused.
 *
 * Where state-dir cannot be used that is logged once, and everything here succeeds: what
 * is left is the latch of each pool (login.c). No function may be called with a lock held
 * or inside a module's gate: they read and write files, and wait.
 */
#ifndef HP_POOL_LATCH_H
#define HP_POOL_LATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include <p11-kit/pkcs11.h>
#include "base/secret.h"
#include "pool/latch_record.h"

struct hp_latch; /* a pool's view; thread-safe */

/*
 * NULL: no memory. state_dir NULL is one that cannot be used. is_above: the module is
 * another copy of hsmpool, which may log in to the same token while ours is called; so
 * ours has a file of its own.
 */
struct hp_latch *hp_latch_new(const char *state_dir, const CK_TOKEN_INFO *token,
			      bool is_above);
void hp_latch_free(struct hp_latch **latch);

/* What came of a try. */
enum hp_latch_outcome {
	HP_LATCH_TRY_GOOD,
	HP_LATCH_TRY_REFUSED,
	HP_LATCH_TRY_NOT_MADE, /* the module did not come to look at the PIN */
	HP_LATCH_TRY_UNKNOWN,
};

/* A turn. Zero it with .file = -1; hp_latch_end() leaves it so again. */
struct hp_latch_turn {
	struct hp_latch *latch;
	int file; /* -1: none, the turn is not shared */
	uint16_t mark;
	bool has_begun;
	struct hp_latch_record record;
};
#define HP_LATCH_NO_TURN   \
	{                  \
		.file = -1 \
	}

/* TIMEOUT at deadline_ns. AUTH: the PIN was refused, or the file is damaged. */
hsmpool_status hp_latch_enter(struct hp_latch *latch, const struct hp_secret *pin,
			      int64_t deadline_ns, struct hp_latch_turn *turn,
			      hsmpool_error *err);
/* flags: the token's, as of now. That a try was begun survives a crash of the machine
 * only where they say that a wrong PIN was counted; a refusal always does. */
hsmpool_status hp_latch_begin(struct hp_latch_turn *turn, CK_FLAGS flags,
			      hsmpool_error *err);
/* May be called without the others. True: a refusal is on file. */
bool hp_latch_end(struct hp_latch_turn *turn, enum hp_latch_outcome outcome, CK_RV rv);

/* A look without a turn. */
enum hp_latch_view {
	HP_LATCH_SAYS_NOTHING, /* no file that can be read */
	HP_LATCH_SAYS_CLEAR,
	HP_LATCH_SAYS_REFUSED, /* err tells it */
};
enum hp_latch_view hp_latch_look(struct hp_latch *latch, const struct hp_secret *pin,
				 hsmpool_error *err);

/* What became known otherwise: by the application's own login, by a context login. */
void hp_latch_note_good(struct hp_latch *latch, const struct hp_secret *pin);
bool hp_latch_note_refused(struct hp_latch *latch, const struct hp_secret *pin, CK_RV rv);

/* --- for the command line ----------------------------------------------------------- */

struct hp_latch_file {
	char name[40];
	bool is_damaged;
	struct hp_latch_record record;
};
/* Those that hold something, an array of *count that the caller frees. No folder is
 * none. */
hsmpool_status hp_latch_list(const char *state_dir, struct hp_latch_file **out,
			     size_t *count, hsmpool_error *err);
/* The token's. False: it holds nothing, or there is no folder that can be read. */
bool hp_latch_read(const char *state_dir, const CK_TOKEN_INFO *token,
		   struct hp_latch_file *out);
/* Forget what one of them holds. TIMEOUT: a login is under way. */
hsmpool_status hp_latch_release(const char *state_dir, const char *name,
				hsmpool_error *err);

#endif
