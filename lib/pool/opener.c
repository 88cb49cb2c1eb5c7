/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening sessions, and making a taken one ready to be lent.
 *
 * One opener at a time per pool (an OPENING entry is the token of that right); it also
 * finds the token again when its slot may have moved. Failures are followed by a
 * jittered, growing backoff that the waiters sit out within their deadlines. A token
 * that answers "no more sessions" lowers the learned limit; upkeep raises it again.
 */
#include "pool/internal.h"

#include "base/error.h"
#include "base/memory.h"
#include "observe/log.h"

#define BACKOFF_FIRST_NS (100 * HP_MS)
/* With the opening and the login it takes, less than a second after the token is back. */
#define BACKOFF_MOST_NS (300 * HP_MS)

int64_t hp_pool_backoff(uint32_t failures_before)
{
	int64_t backoff = BACKOFF_FIRST_NS << (failures_before < 5 ? failures_before : 5);
	return hp_jitter(backoff < BACKOFF_MOST_NS ? backoff : BACKOFF_MOST_NS, 20);
}

hsmpool_status hp_pool_resolve_token(hsmpool *pool, hsmpool_error *err)
{
	struct hp_token token;
	hp_pool_token(pool, &token);
	CK_SLOT_ID before = token.slot;
	HP_TRY(hp_token_find_again(&token, err));
	pthread_mutex_lock(&pool->lock);
	pool->token = token;
	pool->must_resolve = false;
	pthread_mutex_unlock(&pool->lock);
	if (token.slot != before)
		HP_LOG(NOTICE, "token-moved",
		       "the token is in slot %lu now, it was in %lu", token.slot, before);
	return HSMPOOL_OK;
}

bool hp_pool_follow_token(hsmpool *pool)
{
	struct hp_token before, after;
	hp_pool_token(pool, &before);
	if (hp_pool_resolve_token(pool, NULL) != HSMPOOL_OK)
		return false;
	hp_pool_token(pool, &after);
	return after.slot != before.slot;
}

/* C_OpenSession, and a look at the session: some modules hand out dead ones. */
static CK_RV open_and_look(struct hp_session *s, hsmpool *pool, CK_SLOT_ID slot,
			   bool read_write)
{
	struct hsmpool_session *e = HP_CONTAINER_OF(s, struct hsmpool_session, session);
	s->shard = (unsigned)(e - pool->entries);
	s->active = 0;
	s->is_unsure = false;
	CK_RV rv = hp_session_open(s, pool->module, slot, read_write);
	if (rv != CKR_OK)
		return rv;
	CK_SESSION_INFO info;
	uint64_t generation;
	bool expects_login = hp_pool_expects_login(pool, &generation);
	rv = hp_restart_claim_handle(e) ? hp_session_info(s, &info)
					: CKR_SESSION_HANDLE_INVALID;
	if (rv != CKR_OK)
		hp_session_close(s);
	else if (!hp_pool_state_is_ours(pool, info.state) && expects_login)
		hp_pool_note_loss(pool, HP_LOSS_LOGIN, generation, CKR_OK);
	return rv;
}

static void note_open_failure_locked(hsmpool *pool, bool read_write, CK_RV rv,
				     const hsmpool_error *err)
{
	enum hp_rv_class class = hp_rv_class(&pool->module->overrides, rv);
	uint32_t have = hp_pool_occupied_locked(pool); /* without the one that failed */
	/* Then it is looked for at once. */
	bool may_have_moved = class == HP_RV_TOKEN_GONE && !pool->must_resolve &&
			      pool->open_failures_in_row == 0;
	pool->stats.open_failures++;
	hp_pool_note_error_locked(pool, rv);
	if (class == HP_RV_TOKEN_GONE || class == HP_RV_MODULE_DEAD)
		pool->must_resolve = true;
	if (class == HP_RV_CAPACITY) {
		pool->learned_limit = have > 0 ? have : 1;
		pool->learned_ns = hp_now_ns();
		pool->learned_step = 1;
	}
	/* A read-write session refused says nothing of the read-only ones. */
	if ((class == HP_RV_CALLER && read_write) ||
	    (class == HP_RV_CAPACITY && have > 0))
		return;
	/* A token without room is a busy one, not a sick one. */
	if (class == HP_RV_CAPACITY)
		hp_breaker_end_try_locked(pool);
	else
		hp_breaker_note_failure_locked(pool, rv, err);
	int64_t backoff = hp_pool_backoff(pool->open_failures_in_row++);
	if (!may_have_moved)
		pool->next_open_ns = hp_now_ns() + backoff;
	if (err)
		pool->open_failure = *err;
}

/* The new session of e, or the reason why not in *rv and err. */
static hsmpool_status open_session(struct hsmpool_session *e, bool read_write, CK_RV *rv,
				   hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	hsmpool_error scratch;
	err = err ? err : &scratch;
	*rv = CKR_TOKEN_NOT_PRESENT;
	HP_CHECK(hp_entry_equip(e), err, HSMPOOL_ERR_DOWN,
		 "no thread for the option call-timeout");
	pthread_mutex_lock(&pool->lock);
	bool must_resolve = pool->must_resolve;
	pthread_mutex_unlock(&pool->lock);
	if (must_resolve) {
		hp_error_clear(err);
		hp_session_begin_errand(&e->session);
		hsmpool_status status = hp_pool_resolve_token(pool, err);
		hp_session_end_errand(&e->session);
		if (status != HSMPOOL_OK && err->ck_rv != CKR_OK)
			*rv = err->ck_rv;
		HP_TRY(status);
	}
	struct hp_token token;
	hp_pool_token(pool, &token);
	bool is_only_read_write = pool->options.session_mode == HP_SESSIONS_READ_WRITE ||
				  pool->live.max_sessions == 1;
	*rv = open_and_look(&e->session, pool, token.slot,
			    read_write || is_only_read_write);
	/* A write-protected token has no read-write sessions; those not asked for one
	 * can do without. */
	if (*rv == CKR_TOKEN_WRITE_PROTECTED && !read_write)
		*rv = open_and_look(&e->session, pool, token.slot, false);
	if (*rv == CKR_OK)
		return HSMPOOL_OK;
	char label[33];
	hp_token_text(token.info.label, sizeof token.info.label, label);
	hsmpool_status status =
		hp_rv_fail(err, *rv, "open a session on token '%s'", label);
	return hp_rv_class(&pool->module->overrides, *rv) == HP_RV_CALLER
		       ? status
		       : HSMPOOL_ERR_DOWN;
}

/* Whose turn it is, where it is not ours. */
static void add_hint(const hsmpool *pool, CK_RV rv, hsmpool_error *err)
{
	enum hp_rv_class class = hp_rv_class(&pool->module->overrides, rv);
	if (class == HP_RV_MODULE_DEAD && !atomic_load(&pool->module->is_managed))
		hp_error_append(err,
				"; it was initialised by another part of this program, "
				"which must do it again");
}

/* The opening was given up. */
static bool leave_unopened(struct hsmpool_session *e, bool read_write, CK_RV rv,
			   const hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	if (!e->session.is_abandoned)
		return false;
	pthread_mutex_lock(&pool->lock);
	note_open_failure_locked(pool, read_write, rv, err);
	pthread_mutex_unlock(&pool->lock);
	hp_breaker_tell(pool);
	return hp_entry_leave_to_worker(e);
}

hsmpool_status hp_entry_open(struct hsmpool_session *e, bool read_write,
			     hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	CK_RV rv;
	hsmpool_status status = open_session(e, read_write, &rv, err);
	if (status != HSMPOOL_OK && leave_unopened(e, read_write, rv, err))
		return HSMPOOL_ERR_DOWN;
	bool has_learned = false;
	if (status != HSMPOOL_OK)
		add_hint(pool, rv, err);
	uint64_t vouched = status == HSMPOOL_OK ? hp_pool_vouch(pool) : 0;
	pthread_mutex_lock(&pool->lock);
	if (status == HSMPOOL_OK) {
		hp_entry_set_state_locked(e, HP_ENTRY_USED);
		hp_entry_opened_locked(e, vouched, hp_now_ns());
	} else {
		hp_entry_count_return_locked(e, hp_now_ns());
		e->known_handle = CK_INVALID_HANDLE;
		hp_entry_set_state_locked(e, HP_ENTRY_EMPTY);
		note_open_failure_locked(pool, read_write, rv, err);
		has_learned = hp_rv_class(&pool->module->overrides, rv) == HP_RV_CAPACITY;
	}
	uint32_t limit = hp_pool_limit_locked(pool);
	hp_waiters_wake_head_locked(pool);
	pthread_cond_broadcast(&pool->quiet);
	pthread_mutex_unlock(&pool->lock);

	hp_breaker_tell(pool);
	if (status != HSMPOOL_OK)
		hp_upkeep_after_failure(pool);
	if (has_learned)
		HP_LOG(WARNING, "limit-learned",
		       "the token gives no more sessions: going on with %u", limit);
	else if (status != HSMPOOL_OK)
		HP_LOG(WARNING, "session-open-failed", "%s", err ? err->text : "");
	else
		HP_LOG(INFO, "session-opened", "session %u opened",
		       (unsigned)(e - pool->entries));
	return status;
}

/* --- making ready ------------------------------------------------------------------ */

bool hp_entry_is_unready_locked(const struct hsmpool_session *e, enum hp_want want,
				int64_t now)
{
	const hsmpool *pool = e->pool;
	return e->session.generation != pool->generation ||
	       (pool->login != HP_LOGIN_IN && pool->login != HP_LOGIN_NONE) ||
	       now - e->last_ok_ns >= pool->live.validate_after ||
	       e->last_ok_ns < pool->validate_before_ns ||
	       hp_entry_must_be_replaced(e, want);
}

/* What is_unready found, told apart. */
struct needs {
	bool replacement; /* dead with its generation, or not clean, or read-only */
	bool is_dead;
	bool cleaning; /* taken away from an operation */
	bool validation;
	bool is_in_doubt;
	bool read_write;
	bool may_stay;       /* and should, if it can be cleaned in place */
	uint64_t generation; /* as of which */
};

static struct needs find_needs(struct hsmpool_session *e, enum hp_want want)
{
	hsmpool *pool = e->pool;
	int64_t now = hp_now_ns();
	struct needs needs;
	pthread_mutex_lock(&pool->lock);
	needs.generation = pool->generation;
	needs.cleaning = e->session.active != 0 && !e->is_visited;
	needs.read_write = hp_want_is_read_write(want) || e->session.is_read_write;
	needs.is_dead = hp_entry_is_dead_locked(e);
	needs.replacement = needs.is_dead || hp_entry_must_be_replaced(e, want);
	needs.may_stay = hp_entry_must_stay(e) && !hp_entry_is_dead_locked(e) &&
			 (e->session.is_read_write || !hp_want_is_read_write(want));
	needs.is_in_doubt = e->is_probe_due;
	needs.validation = e->session.generation != pool->generation ||
			   now - e->last_ok_ns >= pool->live.validate_after ||
			   e->last_ok_ns < pool->validate_before_ns;
	pthread_mutex_unlock(&pool->lock);
	return needs;
}

/* What was lost is opened anew by one thread at a time, and not before its time: the
 * others give the entry up and queue. What is only exchanged for a better one is opened
 * in its place, or somebody else would take that. */
static bool may_open_here_locked(const hsmpool *pool, enum hp_close_reason reason)
{
	return reason == HP_CLOSE_OTHER ||
	       (!hp_pool_has_live_locked(pool, HP_ENTRY_OPENING) &&
		hp_now_ns() >= hp_breaker_next_try_locked(pool));
}

static hsmpool_status give_up_locked(struct hsmpool_session *e, hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	hp_entry_count_return_locked(e, hp_now_ns());
	hp_waiters_wake_head_locked(pool);
	pthread_cond_broadcast(&pool->quiet);
	if (pool->open_failures_in_row == 0)
		return hp_fail(err, HSMPOOL_ERR_DOWN, "the session was lost");
	*err = pool->open_failure;
	return err->status = HSMPOOL_ERR_DOWN;
}

/* Close and open in the same entry, so the bound holds. On failure it is emptied. */
static hsmpool_status replace(struct hsmpool_session *e, bool read_write,
			      enum hp_close_reason reason, hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	hsmpool_status status = HSMPOOL_OK;
	hp_entry_close_session(e);
	if (hp_entry_leave_to_worker(e))
		return hp_fail(err, HSMPOOL_ERR_DOWN,
			       "the module did not answer within call-timeout");
	pthread_mutex_lock(&pool->lock);
	hp_entry_emptied_locked(e, reason);
	if (!may_open_here_locked(pool, reason)) {
		status = give_up_locked(e, err);
	} else {
		hp_breaker_begin_try_locked(pool, hp_now_ns());
		hp_entry_set_state_locked(e, reason == HP_CLOSE_OTHER ? HP_ENTRY_USED
								      : HP_ENTRY_OPENING);
	}
	pthread_mutex_unlock(&pool->lock);
	return status == HSMPOOL_OK ? hp_entry_open(e, read_write, err) : status;
}

/* The light probe of a borrow, unless there is a reason for doubt; deeper ones are the
 * prober's. */
static struct hp_judgement validate(struct hsmpool_session *e, bool is_in_doubt)
{
	hsmpool *pool = e->pool;
	uint64_t generation = hp_pool_generation(pool);
	bool was_current = !hp_pool_has_lost_since(pool, e->session.generation);
	enum hp_probe depth = is_in_doubt ? HP_PROBE_TOKEN_INFO : HP_PROBE_SESSION_INFO;
	if (e->session.generation != generation)
		depth = hp_pool_proof(pool, depth);
	CK_RV rv = hp_session_probe(e, depth);
	struct hp_judgement judgement = { .loss = HP_LOSS_NONE, .is_alive = true };
	if (rv != CKR_OK)
		judgement = hp_session_judge(e, rv);
	/* A session that an older loss made doubtful, and is dead, is no new loss. */
	if (was_current || judgement.loss != HP_LOSS_SESSION)
		hp_pool_note_loss(pool, judgement.loss, generation, rv);
	pthread_mutex_lock(&pool->lock);
	pool->stats.validated++;
	pool->stats.validation_failures += rv != CKR_OK;
	if (judgement.is_alive) {
		e->last_ok_ns = hp_now_ns();
		e->is_probe_due = false;
	}
	pthread_mutex_unlock(&pool->lock);
	return judgement;
}

/* Make e belong to the generation it was made ready for. False: there is a newer one by
 * now, so it must be looked at again. */
static bool adopt_generation(struct hsmpool_session *e, uint64_t generation)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	bool is_current = generation == pool->generation && !hp_entry_is_dead_locked(e);
	if (is_current)
		hp_entry_adopt_locked(e);
	pthread_mutex_unlock(&pool->lock);
	return is_current;
}

static bool is_last_locked(const hsmpool *pool)
{
	return pool->count[HP_ENTRY_IDLE] + pool->count[HP_ENTRY_USED] +
		       pool->count[HP_ENTRY_ATTACHED] + pool->count[HP_ENTRY_TESTING] ==
	       1;
}

bool hp_entry_clean(struct hsmpool_session *e)
{
	pthread_mutex_lock(&e->pool->lock);
	e->session.is_last = is_last_locked(e->pool);
	pthread_mutex_unlock(&e->pool->lock);
	return hp_session_clean(&e->session);
}

static hsmpool_status revive(struct hsmpool_session *e, const struct needs *needs,
			     hsmpool_error *err)
{
	bool is_unclean = needs->cleaning && !needs->replacement && !hp_entry_clean(e);
	/* What depends on it would go with it. */
	bool is_bad = needs->replacement || is_unclean;
	if (is_bad && needs->may_stay && hp_session_clean_unknown(&e->session))
		is_bad = false;
	if (is_bad && needs->may_stay && e->session.objects > 0) {
		hp_attached_keep(e);
		return hp_fail(err, HSMPOOL_ERR_DOWN,
			       "a session that owns session objects cannot be cleaned");
	}
	if (is_bad)
		return replace(e, needs->read_write,
			       needs->is_dead ? HP_CLOSE_BROKEN : HP_CLOSE_OTHER, err);
	if (needs->validation && !validate(e, needs->is_in_doubt).is_alive)
		return replace(e, needs->read_write, HP_CLOSE_BROKEN, err);
	return HSMPOOL_OK;
}

static bool is_still_anchor(struct hsmpool_session *e)
{
	pthread_mutex_lock(&e->pool->lock);
	bool is_anchor = e->is_anchor;
	pthread_mutex_unlock(&e->pool->lock);
	return is_anchor;
}

/* Losses that come faster than a session can be made ready. */
#define MOST_ROUNDS 5

hsmpool_status hp_entry_prepare(struct hsmpool_session *e, enum hp_want want,
				int64_t deadline_ns, hsmpool_error *err)
{
	hsmpool_status status = HSMPOOL_OK;
	bool is_ready = false;
	for (int round = 0; round < MOST_ROUNDS && !is_ready; round++) {
		struct needs needs = find_needs(e, want);
		HP_TRY(revive(e, &needs, err));
		status = hp_pool_ensure_login(e, deadline_ns, err);
		if (status != HSMPOOL_OK)
			break;
		is_ready = adopt_generation(e, needs.generation);
	}
	/* One that was replaced has lost the role. */
	if (is_ready && (want != HP_WANT_ANCHOR || is_still_anchor(e)))
		return HSMPOOL_OK;
	if (status == HSMPOOL_OK)
		status = hp_fail(err, HSMPOOL_ERR_DOWN,
				 "sessions are lost faster than they can be opened");
	hp_entry_release(e, false, true);
	return status;
}
