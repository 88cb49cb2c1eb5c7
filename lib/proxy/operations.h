/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of one virtual session, shared by begin.c, operation.c, step.c,
 * answer.c, replay.c, aside.c.
 *
 * An operation is active, for the application, from Init to its end. It is also *live* as
 * long as it is active on the real session that the lease stands for; an active one that
 * is not live has a journal and is begun again when it goes on. After an error an
 * operation is over by the standard; while nobody takes the session away it *lingers*:
 * the module says whether it sees that likewise.
 *
 * All of it belongs to who has taken the virtual session.
 */
#ifndef HP_PROXY_OPERATIONS_H
#define HP_PROXY_OPERATIONS_H

#include "proxy/journal.h"
#include "proxy/mechanism.h"
#include "proxy/operation.h"
#include "proxy/uses.h"

#define HP_OUTPUT_KEPT 16

struct hp_operation {
	CK_OBJECT_HANDLE key; /* the application's */
	struct hp_mechanism_copy mechanism;
	struct hp_journal journal;
	bool is_replayable; /* else its session is pinned */
	bool is_multipart;  /* the module accepted an update */
	/* A signature that nobody will see may be made, if there is no other way to end
	 * it: its key counts nothing. */
	bool may_be_finished;
	enum hp_sign_retry sign_retry; /* of its key */
	struct hp_use use;             /* from Init to the end */
	struct hp_known_key *known;    /* the key of use; kept for the next one */
	/* What was handed out, to compare a replay with. */
	uint64_t output_len;
	CK_BYTE output_end[HP_OUTPUT_KEPT];
};

/* Kinds are bits here: HP_KIND_BIT(). */
#define HP_KIND_BIT(kind) (1u << (kind))
#define HP_KINDS_ALL      ((1u << HP_KIND_COUNT) - 1)

struct hp_operations {
	struct hp_lease lease;
	int64_t pinned_until_ns; /* what is leased; 0: not */
	uint32_t active;
	uint32_t live;
	uint32_t lingering;
	/* Pinned ones that went with their session: their next call hears of it. */
	uint32_t lost;
	/* A restored state: the module alone knows what is active. */
	bool is_restored;
	struct hp_known_key *spare; /* for the key of an Init that may yet fail */
	/* Made at the first Init of the kind, and kept. */
	struct hp_operation *of[HP_KIND_COUNT];
};

/* Sessions that died in one event are met one by one, until the pool validates them. */
#define HP_MOST_TRIES 4

/* One call of the application's, while real sessions are tried for it. */
struct hp_attempt {
	struct hp_vsession *vs;
	const char *tag;
	int64_t began_ns; /* 0: not tried yet */
	unsigned tries;
	bool is_again; /* the call itself was made before */
};

/* --- replay.c: the real session ------------------------------------------------- */

/* Borrow, within the one deadline of all tries. */
CK_RV hp_attempt_borrow(struct hp_attempt *attempt, enum hp_want want,
			struct hp_session **out);

/* The session that the lease stands for, or NULL. If it was taken away, nothing is live
 * any more, and what cannot be begun again is over. */
struct hp_session *hp_operations_take_up(struct hp_attempt *attempt);

/*
 * Make those of kinds that are active live on *s, which was taken up, or NULL: then one
 * is borrowed (want, where nothing is to be begun again). Failing, *s is NULL, and
 * operations that the module would not begin again are over.
 */
CK_RV hp_operations_attach(struct hp_attempt *attempt, uint32_t kinds, enum hp_want want,
			   struct hp_session **s);

/* Leave the session attached if something is active on it, pinned if that cannot be
 * replayed; else give it back. */
void hp_operations_leave(struct hp_vsession *vs, struct hp_session *s);

/* Is something live that cannot be begun again? */
bool hp_operations_are_pinned(const struct hp_operations *ops);

/* Give the session up after rv, with all that is live on it. */
enum hp_rv_class hp_operations_give_up(struct hp_vsession *vs, struct hp_session *s,
				       CK_RV rv);

/* Output that the application got. */
void hp_operation_note_output(struct hp_operation *op, const CK_BYTE *data, CK_ULONG len);

/* C_XInit on s, with the real key. */
CK_RV hp_kind_init(struct hp_session *s, enum hp_kind kind, CK_MECHANISM *mechanism,
		   CK_OBJECT_HANDLE key);
const char *hp_kind_name(enum hp_kind kind);

/* --- operation.c ---------------------------------------------------------------- */

/* It was begun on s. */
void hp_operation_mark(const struct hp_operation *op, struct hp_session *s,
		       enum hp_kind kind);
/* Over: no longer active or live; secrets wiped. */
void hp_operations_end(struct hp_operations *ops, uint32_t kinds);
/* From now on it cannot be begun again. */
void hp_operation_pin(struct hp_operation *op);
/* vs->operations, made if need be; NULL: no memory. */
struct hp_operations *hp_operations_of(struct hp_vsession *vs);

/* --- answer.c ------------------------------------------------------------------- */

/* Is an operation active on a session of a module that has one at a time? Asked by an
 * Init that cannot succeed. */
bool hp_session_is_occupied(struct hp_session *s);

/* After an answer of that class that leaves a doubt: is something active that would be
 * lost with the session, so that the doubt is left to a later call? */
bool hp_operations_outlast(const struct hp_vsession *vs, enum hp_rv_class class);
/* What the application is told about a loss: its own session is alive. */
CK_RV hp_answer_to_loss(CK_RV rv);

#endif
