/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the operations of a virtual session run: taken up, borrowed, begun again, left.
 *
 * Owns: the choice of the real session, the replay of Init and journal, the pin. Must
 * not: know what a call means for its operation (operation.c). One real session at a time
 * is held, and none when a function fails.
 */
#include "proxy/operations.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/secret.h"
#include "base/time.h"
#include "observe/log.h"
#include "pool/live.h"
#include "proxy/process.h"

/* --- the functions of each kind ---------------------------------------------------- */

static CK_RV digest_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	(void)key;
	return hp_digest_init(s, m);
}

/* What a replay needs; NULL: there is no such part. */
static const struct {
	const char *name;
	CK_RV (*init)(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
	CK_RV (*update)(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len);
	CK_RV(*stream)
	(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
	 CK_ULONG *out_len);
} functions[HP_KIND_COUNT] = {
	[HP_KIND_ENCRYPT] = { "encrypt", hp_encrypt_init, NULL, hp_encrypt_update },
	[HP_KIND_DECRYPT] = { "decrypt", hp_decrypt_init, NULL, hp_decrypt_update },
	[HP_KIND_DIGEST] = { "digest", digest_init, hp_digest_update, NULL },
	[HP_KIND_SIGN] = { "sign", hp_sign_init, hp_sign_update, NULL },
	[HP_KIND_SIGN_RECOVER] = { "sign-recover", hp_sign_recover_init, NULL, NULL },
	[HP_KIND_VERIFY] = { "verify", hp_verify_init, hp_verify_update, NULL },
	[HP_KIND_VERIFY_RECOVER] = { "verify-recover", hp_verify_recover_init, NULL,
				     NULL },
};

CK_RV hp_kind_init(struct hp_session *s, enum hp_kind kind, CK_MECHANISM *mechanism,
		   CK_OBJECT_HANDLE key)
{
	return functions[kind].init(s, mechanism, key);
}

const char *hp_kind_name(enum hp_kind kind)
{
	return functions[kind].name;
}

/* --- replay ------------------------------------------------------------------------ */

/* Output of a replay: counted, its end kept, itself thrown away. */
struct output {
	CK_BYTE *room;
	CK_ULONG cap;
	uint64_t len;
	CK_BYTE end[HP_OUTPUT_KEPT];
};

static void output_keep(uint64_t *total, CK_BYTE end[static HP_OUTPUT_KEPT],
			const CK_BYTE *data, CK_ULONG len)
{
	*total += len;
	if (len >= HP_OUTPUT_KEPT) {
		memcpy(end, data + len - HP_OUTPUT_KEPT, HP_OUTPUT_KEPT);
	} else if (len > 0) {
		memmove(end, end + len, HP_OUTPUT_KEPT - len);
		memcpy(end + HP_OUTPUT_KEPT - len, data, len);
	}
}

void hp_operation_note_output(struct hp_operation *op, const CK_BYTE *data, CK_ULONG len)
{
	output_keep(&op->output_len, op->output_end, data, len);
}

static void output_free(struct output *output)
{
	if (output->room)
		hp_wipe(output->room, output->cap);
	free(output->room);
	output->room = NULL;
	output->cap = 0;
}

static bool output_make_room(struct output *output, CK_ULONG need)
{
	if (output->room && output->cap >= need)
		return true;
	output_free(output);
	output->room = malloc(need);
	output->cap = output->room ? need : 0;
	return output->room != NULL;
}

static CK_RV stream_again(struct hp_session *s, enum hp_kind kind,
			  const struct hp_journal_piece *piece, struct output *output)
{
	if (!output_make_room(output, piece->len + 512))
		return CKR_HOST_MEMORY;
	CK_ULONG len = output->cap;
	CK_RV rv = functions[kind].stream(s, piece->data, piece->len, output->room, &len);
	if (rv == CKR_BUFFER_TOO_SMALL) {
		if (!output_make_room(output, len))
			return CKR_HOST_MEMORY;
		len = output->cap;
		rv = functions[kind].stream(s, piece->data, piece->len, output->room,
					    &len);
	}
	if (rv == CKR_OK && len <= output->cap)
		output_keep(&output->len, output->end, output->room, len);
	return rv;
}

static CK_RV feed_again(struct hp_vsession *vs, struct hp_session *s, enum hp_kind kind,
			const struct hp_journal_piece *piece, struct output *output)
{
	if (piece->is_key) {
		CK_OBJECT_HANDLE real;
		CK_RV rv = hp_object_real(vs, s, piece->key, &real);
		return rv == CKR_OK ? hp_digest_key(s, real) : rv;
	}
	if (functions[kind].update)
		return functions[kind].update(s, piece->data, piece->len);
	return stream_again(s, kind, piece, output);
}

static CK_RV init_again(struct hp_vsession *vs, struct hp_session *s, enum hp_kind kind)
{
	struct hp_operation *op = vs->operations->of[kind];
	struct hp_mechanism_call call;
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	CK_RV rv = CKR_OK;
	if (kind != HP_KIND_DIGEST)
		rv = hp_object_real(vs, s, op->key, &key);
	if (rv == CKR_OK)
		rv = hp_mechanism_real(vs, s, &op->mechanism.ck, &call, &mechanism);
	return rv == CKR_OK ? hp_kind_init(s, kind, mechanism, key) : rv;
}

/* *differs: what comes out is not what was handed out before. */
static CK_RV replay(struct hp_vsession *vs, struct hp_session *s, enum hp_kind kind,
		    bool *differs)
{
	struct hp_operation *op = vs->operations->of[kind];
	struct output output = { 0 };
	struct hp_journal_piece piece;
	size_t at = 0;
	CK_RV rv = init_again(vs, s, kind);
	if (rv == CKR_OK)
		hp_operation_mark(op, s, kind);
	while (rv == CKR_OK && hp_journal_next(&op->journal, &at, &piece))
		rv = feed_again(vs, s, kind, &piece, &output);
	*differs =
		rv == CKR_OK && (output.len != op->output_len ||
				 memcmp(output.end, op->output_end, HP_OUTPUT_KEPT) != 0);
	hp_wipe(output.end, sizeof(output.end));
	output_free(&output);
	return rv;
}

/* --- taking and leaving ------------------------------------------------------------ */

CK_RV hp_attempt_borrow(struct hp_attempt *attempt, enum hp_want want,
			struct hp_session **out)
{
	hsmpool *pool = attempt->vs->pool;
	hsmpool_deadline deadline = HSMPOOL_DEFAULT;
	hsmpool_error err;
	if (attempt->tries++ == 0)
		attempt->began_ns = hp_now_coarse_ns();
	else
		deadline = hp_time_add(attempt->began_ns,
				       hp_pool_live(pool)->borrow_timeout);
	hsmpool_status status =
		hp_pool_borrow(pool, want, attempt->tag, deadline, out, &err);
	return status == HSMPOOL_OK ? CKR_OK : hp_proxy_answer(status, &err);
}

static uint32_t unreplayable(const struct hp_operations *ops, uint32_t kinds)
{
	uint32_t found = 0;
	for (unsigned kind = 0; kind < HP_KIND_COUNT; kind++)
		if ((kinds & HP_KIND_BIT(kind)) && !ops->of[kind]->is_replayable)
			found |= HP_KIND_BIT(kind);
	return found;
}

bool hp_operations_are_pinned(const struct hp_operations *ops)
{
	return ops->is_restored || unreplayable(ops, ops->live);
}

/* The session is not ours any more. is_lost: it died, so that a pinned operation did not
 * end by any rule that the application could know. */
static void detach(struct hp_operations *ops, bool is_lost)
{
	uint32_t ended = unreplayable(ops, ops->live);
	hp_operations_end(ops, ended);
	ops->lost |= is_lost ? ended : 0;
	ops->live = ops->lingering = 0;
	ops->is_restored = false;
}

struct hp_session *hp_operations_take_up(struct hp_attempt *attempt)
{
	struct hp_operations *ops = attempt->vs->operations;
	if (!ops || !ops->lease.entry)
		return NULL;
	struct hp_session *s =
		hp_pool_take_up(attempt->vs->pool, &ops->lease, attempt->tag);
	/* Nobody takes away what is pinned before its time. */
	if (!s)
		detach(ops, hp_now_ns() < ops->pinned_until_ns);
	return s;
}

void hp_operations_leave(struct hp_vsession *vs, struct hp_session *s)
{
	struct hp_operations *ops = vs->operations;
	if (!ops || !(ops->live | ops->lingering)) {
		hp_pool_return(s, CKR_OK);
		return;
	}
	ops->pinned_until_ns = 0;
	if (hp_operations_are_pinned(ops))
		ops->pinned_until_ns =
			hp_time_add(hp_now_ns(), hp_proxy_options()->pin_timeout);
	hp_pool_leave_attached(s, ops->pinned_until_ns, &ops->lease);
}

enum hp_rv_class hp_operations_give_up(struct hp_vsession *vs, struct hp_session *s,
				       CK_RV rv)
{
	enum hp_rv_class class = hp_pool_return(s, rv);
	if (vs->operations)
		detach(vs->operations, hp_rv_is_loss(class));
	return class;
}

/* --- attaching --------------------------------------------------------------------- */

/* The module would not begin it again: it is over. */
static void note_refused(struct hp_vsession *vs, enum hp_kind kind, CK_RV rv)
{
	char name[32];
	HP_LOG(WARNING, "replay-refused",
	       "an operation (%s) could not be begun again: %s", hp_kind_name(kind),
	       rv == CKR_OK ? "its output differs" : hp_rv_name(rv, name));
	hp_operations_end(vs->operations, HP_KIND_BIT(kind));
}

static CK_RV end_refused(struct hp_attempt *attempt, struct hp_session *s,
			 enum hp_kind kind, CK_RV rv)
{
	note_refused(attempt->vs, kind, rv);
	hp_operations_give_up(attempt->vs, s, CKR_OK);
	return rv == CKR_OK ? CKR_FUNCTION_FAILED : rv;
}

/* Begin kind again on s. *lost: the session was lost over it, and is given up. */
static CK_RV begin_again(struct hp_attempt *attempt, struct hp_session *s,
			 enum hp_kind kind, bool *lost)
{
	struct hp_vsession *vs = attempt->vs;
	bool differs;
	CK_RV rv = replay(vs, s, kind, &differs);
	*lost = false;
	if (rv == CKR_OK && !differs) {
		vs->operations->live |= HP_KIND_BIT(kind);
		hp_pool_count_retry(vs->pool, CKR_OK);
		return CKR_OK;
	}
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	/* A key that is not there may be the login that is not there. */
	bool is_stale = class == HP_RV_STALE_HANDLE;
	if (rv == CKR_OK || !(is_stale || class == HP_RV_OP_LOST || hp_rv_is_loss(class)))
		return end_refused(attempt, s, kind, rv);
	uint64_t generation = s->generation;
	class = hp_operations_give_up(vs, s, rv);
	*lost = class == HP_RV_OP_LOST || hp_rv_is_loss(class) ||
		(is_stale && hp_pool_has_lost_since(vs->pool, generation));
	if (!*lost)
		note_refused(vs, kind, rv);
	return hp_answer_to_loss(rv);
}

/* On s: those of kinds that are active and not live. */
static CK_RV begin_missing(struct hp_attempt *attempt, struct hp_session *s,
			   uint32_t kinds, bool *lost)
{
	struct hp_operations *ops = attempt->vs->operations;
	*lost = false;
	for (unsigned kind = 0; ops && kind < HP_KIND_COUNT; kind++) {
		if (!(kinds & ops->active & ~ops->live & HP_KIND_BIT(kind)))
			continue;
		CK_RV rv = begin_again(attempt, s, kind, lost);
		if (rv != CKR_OK)
			return rv;
	}
	return CKR_OK;
}

CK_RV hp_operations_attach(struct hp_attempt *attempt, uint32_t kinds, enum hp_want want,
			   struct hp_session **s)
{
	bool met_leftover = false;
	for (;;) {
		const struct hp_operations *ops = attempt->vs->operations;
		bool replays = ops && (ops->active & ~ops->live & kinds);
		/* A leftover is noticed when the operation is begun again. */
		enum hp_want wanted = !replays       ? want
				      : met_leftover ? HP_WANT_CLEAN
						     : HP_WANT_ANY;
		CK_RV rv = CKR_OK;
		if (!*s)
			rv = hp_attempt_borrow(attempt, wanted, s);
		if (rv != CKR_OK || !replays)
			return rv;
		bool lost;
		rv = begin_missing(attempt, *s, kinds, &lost);
		if (rv == CKR_OK)
			return CKR_OK;
		*s = NULL;
		if (!lost || attempt->tries >= HP_MOST_TRIES)
			return rv;
		met_leftover = rv == CKR_OPERATION_ACTIVE;
	}
}
