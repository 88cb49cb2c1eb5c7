/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in, once for the token, and the latch on a refused PIN.
 *
 * One thread logs in (state RUNNING), on the session it holds; others wait for the
 * outcome until their deadlines. The PIN source is read, and C_Login called, without
 * any lock. A refused PIN is never tried again by this pool: the state is LATCHED until
 * the source gives another PIN. One thread at a time gives a PIN to the token, context
 * logins included, so that a wrong one costs one try, not one per thread; and one process
 * at a time (latch.h), so that it costs one, not one per process. The SO's PIN, which
 * only an application gives, is not latched for other processes. Nobody ever
 * logs out: other users of the module in this process may rely on the login, and closing
 * the last session does it anyway.
 */
#include "pool/internal.h"

#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "observe/log.h"
#include "p11/pin.h"
#include "pool/use.h"

#define LATCH_RECHECK_EVERY (10 * HP_SECOND)

/* True while borrowers are to be refused. Now and then one is let through to see
 * whether the source has a new PIN, or the old one was released. */
bool hp_pool_is_latched_locked(hsmpool *pool, int64_t now)
{
	if (pool->login != HP_LOGIN_LATCHED)
		return false;
	bool may_change = hp_pin_source_is_rereadable(pool->options.pin_source) ||
			  (pool->is_refusal_on_file && pool->pin);
	if (now < pool->latch_recheck_ns || !may_change)
		return true;
	pool->latch_recheck_ns = now + LATCH_RECHECK_EVERY;
	pool->login = HP_LOGIN_OUT;
	return false;
}

static bool same_pin(const struct hp_secret *a, const struct hp_secret *b)
{
	return a && b && a->len == b->len && hp_equal_secret(a->data, b->data, a->len);
}

bool hp_pool_is_refused_locked(const hsmpool *pool, const struct hp_secret *pin)
{
	return same_pin(pool->refused, pin);
}

/* Whatever the code was: no PIN was refused, so nothing is latched and the login is
 * tried again after a while. */
static hsmpool_status as_down(hsmpool_error *err)
{
	err->status = HSMPOOL_ERR_DOWN;
	return HSMPOOL_ERR_DOWN;
}

static CK_RV read_flags(struct hsmpool_session *e, CK_FLAGS *flags)
{
	CK_TOKEN_INFO info;
	CK_RV rv = hp_session_token_info(&e->session, &info);
	*flags = rv == CKR_OK ? info.flags : 0;
	return rv;
}

/* Once, until the count is full again. */
static void warn_if_low(hsmpool *pool, CK_FLAGS flags, const char *label)
{
	bool is_low = (flags & CKF_USER_PIN_COUNT_LOW) != 0;
	pthread_mutex_lock(&pool->lock);
	bool is_news = is_low && !pool->is_low_told;
	pool->is_low_told = is_low;
	pthread_mutex_unlock(&pool->lock);
	if (is_news)
		HP_LOG(WARNING, "pin-count-low",
		       "a wrong PIN was given to token '%s' since the last login", label);
}

/* Would trying a PIN be safe and of use? */
static hsmpool_status check_token_flags(struct hsmpool_session *e, const char *label,
					CK_FLAGS *flags, CK_RV *rv, hsmpool_error *err)
{
	*rv = read_flags(e, flags);
	if (*rv != CKR_OK) {
		hp_rv_fail(err, *rv, "read the state of token '%s'", label);
		return as_down(err);
	}
	HP_CHECK(!(*flags & CKF_USER_PIN_LOCKED), err, HSMPOOL_ERR_AUTH,
		 "the user PIN of token '%s' is locked: the security officer must set a "
		 "new one",
		 label);
	HP_CHECK(!(*flags & CKF_USER_PIN_FINAL_TRY), err, HSMPOOL_ERR_AUTH,
		 "token '%s' has one PIN try left, which is not spent automatically: log "
		 "in by hand with the right PIN first",
		 label);
	warn_if_low(e->pool, *flags, label);
	return HSMPOOL_OK;
}

/* The PIN that succeeded, if there is one. to has HP_POOL_PIN_CAP bytes. */
bool hp_pool_copy_kept_pin(hsmpool *pool, struct hp_secret *to)
{
	pthread_mutex_lock(&pool->lock);
	bool has_pin = pool->pin && pool->pin->len <= to->cap;
	if (has_pin) {
		memcpy(to->data, pool->pin->data, pool->pin->len);
		to->len = pool->pin->len;
	}
	pthread_mutex_unlock(&pool->lock);
	return has_pin;
}

/* For texts. */
static const char *pin_origin(const hsmpool *pool)
{
	return pool->options.pin_source ? pool->options.pin_source : "the application";
}

/* The PIN that took the source's place. */
static bool copy_own_pin(hsmpool *pool, struct hp_secret **pin)
{
	*pin = hp_secret_new(HP_POOL_PIN_CAP);
	if (!*pin)
		return false;
	pthread_mutex_lock(&pool->lock);
	bool has_pin = pool->own_pin != NULL;
	if (has_pin) {
		memcpy((*pin)->data, pool->own_pin->data, pool->own_pin->len);
		(*pin)->len = pool->own_pin->len;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!has_pin)
		hp_secret_free(pin);
	return has_pin;
}

/* The PIN to try: the source's, or the one that succeeded if it can be read only once.
 * The source is the user's: the SO's PIN is the one that the application gave. */
hsmpool_status hp_pool_obtain_pin(hsmpool *pool, const char *label,
				  struct hp_secret **pin, hsmpool_error *err)
{
	bool is_user = atomic_load(&pool->user) == CKU_USER;
	const char *source = is_user ? pool->options.pin_source : NULL;
	if (is_user && copy_own_pin(pool, pin))
		return HSMPOOL_OK;
	if (!source || !hp_pin_source_is_rereadable(source)) {
		*pin = hp_secret_new(HP_POOL_PIN_CAP);
		HP_CHECK(*pin, err, HSMPOOL_ERR_SYSTEM, "no memory for the PIN");
		if (hp_pool_copy_kept_pin(pool, *pin))
			return HSMPOOL_OK;
		hp_secret_free(pin);
		HP_CHECK(source, err, HSMPOOL_ERR_AUTH,
			 "the PIN that the application gave is not known any more");
	}
	HP_TRY(hp_pin_read(source, label, pin, err));
	if (hp_secret_some_unlocked())
		HP_LOG(WARNING, "memory-not-locked",
		       "the PIN's memory cannot be locked and might be swapped out: "
		       "raise RLIMIT_MEMLOCK");
	return HSMPOOL_OK;
}

bool hp_pool_state_is_ours(const hsmpool *pool, CK_STATE state)
{
	return pool->user == CKU_SO ? state == CKS_RW_SO_FUNCTIONS
				    : hp_session_state_is_user(state);
}

static bool is_user_logged_in(struct hsmpool_session *e)
{
	CK_SESSION_INFO info;
	return hp_session_info(&e->session, &info) == CKR_OK &&
	       hp_pool_state_is_ours(e->pool, info.state);
}

/* A PIN that is locked or has expired may be the right one: the table of return values
 * says what to do about it. */
static hsmpool_status fail_refused(const hsmpool *pool, const char *label, CK_RV rv,
				   hsmpool_error *err)
{
	const char *source = pin_origin(pool);
	const struct hp_rv_info *known = hp_rv_find(rv);
	if (rv == CKR_PIN_INCORRECT || !known)
		hp_fail(err, HSMPOOL_ERR_AUTH,
			"token '%s' refused the PIN from %s; it is not tried again: "
			"correct the PIN source",
			label, source);
	else
		hp_fail(err, HSMPOOL_ERR_AUTH,
			"token '%s' refused the PIN from %s; it is not tried again: "
			"%s: %s",
			label, source, known->name, known->text);
	if (err)
		err->ck_rv = rv;
	return HSMPOOL_ERR_AUTH;
}

/* Some tokens answer a wrong PIN with a catch-all code, but count it. */
static bool was_counted(struct hsmpool_session *e, CK_FLAGS before)
{
	const CK_FLAGS counted =
		CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
	CK_FLAGS now;
	return read_flags(e, &now) == CKR_OK && (now & counted & ~before);
}

/* What C_Login's answer says of the PIN. */
static enum hp_latch_outcome outcome_of(struct hsmpool_session *e, CK_RV rv,
					CK_FLAGS before)
{
	enum hp_rv_class class = hp_rv_class(&e->pool->module->overrides, rv);
	if (rv == CKR_OK)
		return HP_LATCH_TRY_GOOD;
	if (class == HP_RV_PIN || (class == HP_RV_AMBIGUOUS && was_counted(e, before)))
		return HP_LATCH_TRY_REFUSED;
	return HP_LATCH_TRY_NOT_MADE;
}

/* What C_Login answered. *pin is consumed: kept as the pool's, or as the refused one. */
static hsmpool_status take_answer(struct hsmpool_session *e, const char *label,
				  CK_FLAGS flags, struct hp_secret **pin,
				  enum hp_latch_outcome *outcome, CK_RV *rv,
				  hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	*outcome = outcome_of(e, *rv, flags);
	enum hp_rv_class class = hp_rv_class(&pool->module->overrides, *rv);
	bool is_in = *rv == CKR_OK || (class == HP_RV_LOGIN_RACE && is_user_logged_in(e));
	bool is_refused = *outcome == HP_LATCH_TRY_REFUSED;
	struct hp_secret *old = NULL;
	pthread_mutex_lock(&pool->lock);
	if (*rv == CKR_OK) {
		pool->stats.logins++;
		pool->is_low_told = false;
	} else if (!is_in) {
		pool->stats.login_failures++;
		pool->stats.logins_refused += is_refused;
		hp_pool_note_error_locked(pool, *rv);
	}
	struct hp_secret **keep = is_in ? &pool->pin : is_refused ? &pool->refused : NULL;
	if (keep) {
		old = *keep;
		*keep = *pin;
		*pin = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	hp_secret_free(&old);
	if (is_in)
		return HSMPOOL_OK;
	hp_rv_fail(err, *rv, "log in to token '%s' with the PIN from %s", label,
		   pin_origin(pool));
	return is_refused ? fail_refused(pool, label, *rv, err) : as_down(err);
}

/* Only the user's PIN is shared with other processes. */
static bool is_shared(const hsmpool *pool)
{
	return atomic_load(&pool->user) == CKU_USER;
}

/* The answer has come, and the turn is over. */
static hsmpool_status end_try(struct hsmpool_session *e, const char *label,
			      struct hp_login_try *try, struct hp_secret **pin, CK_RV *rv,
			      hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	enum hp_latch_outcome outcome;
	hsmpool_status status = take_answer(e, label, try->flags, pin, &outcome, rv, err);
	bool is_on_file = hp_latch_end(&try->turn, outcome, *rv);
	pthread_mutex_lock(&pool->lock);
	if (outcome == HP_LATCH_TRY_REFUSED)
		pool->is_refusal_on_file = is_on_file;
	pthread_mutex_unlock(&pool->lock);
	if (status == HSMPOOL_OK)
		*rv = CKR_OK;
	return status;
}

/* A use of its own, of the request that needs the login. A failure: it was not tried. */
static hsmpool_status log_in_as_use(struct hp_session *s, CK_USER_TYPE user,
				    const struct hp_secret *pin, CK_RV *rv,
				    hsmpool_error *err)
{
	struct hp_use use = { .pool = hp_pool_of(s),
			      .function = "C_Login",
			      .kind = HP_USE_LOGIN };
	HP_TRY(hp_use_begin(&use, err));
	*rv = hp_session_login(s, user, pin);
	hp_use_end(&use, *rv, HSMPOOL_OK, 0);
	return HSMPOOL_OK;
}

/* With the turn among the processes: what the token says of its tries is read in it. A
 * try that is given up keeps the turn until its answer comes to hp_pool_settle_login().
 */
static hsmpool_status try_pin_in_turn(struct hsmpool_session *e, const char *label,
				      struct hp_login_try *try, struct hp_secret **pin,
				      CK_RV *rv, hsmpool_error *err)
{
	hsmpool_status status = check_token_flags(e, label, &try->flags, rv, err);
	if (status == HSMPOOL_OK)
		status = hp_latch_begin(&try->turn, try->flags, err);
	if (status == HSMPOOL_OK)
		status = log_in_as_use(&e->session, e->pool->user, *pin, rv, err);
	if (status != HSMPOOL_OK) {
		hp_latch_end(&try->turn, HP_LATCH_TRY_NOT_MADE, *rv);
		return status;
	}
	if (!e->session.hangs_in_login)
		return end_try(e, label, try, pin, rv, err);
	e->login_try = *try;
	return hp_fail(err, HSMPOOL_ERR_TIMEOUT,
		       "the login to token '%s' was given up after call-timeout", label);
}

/* Takes *pin; NULL: none is known any more. */
static void keep_refused(hsmpool *pool, struct hp_secret **pin, bool is_on_file)
{
	pthread_mutex_lock(&pool->lock);
	struct hp_secret *old = pool->refused;
	pool->refused = *pin;
	pool->is_refusal_on_file = is_on_file;
	pthread_mutex_unlock(&pool->lock);
	*pin = NULL;
	hp_secret_free(&old);
}

/* The PIN of the source, which must not be one that was refused: by what the pool knows,
 * or, where other processes share that and an operator may release it, by the file. */
static hsmpool_status obtain_new_pin(hsmpool *pool, const char *label,
				     struct hp_secret **pin, hsmpool_error *err)
{
	HP_TRY(hp_pool_obtain_pin(pool, label, pin, err));
	if (!same_pin(pool->refused, *pin))
		return HSMPOOL_OK;
	enum hp_latch_view view = HP_LATCH_SAYS_NOTHING;
	if (pool->is_refusal_on_file)
		view = hp_latch_look(pool->latch, *pin, err);
	if (view == HP_LATCH_SAYS_REFUSED)
		return HSMPOOL_ERR_AUTH;
	HP_CHECK(view == HP_LATCH_SAYS_CLEAR, err, HSMPOOL_ERR_AUTH,
		 "token '%s' refused this PIN before; it is not tried again: "
		 "correct the PIN source %s",
		 label, pin_origin(pool));
	struct hp_secret *released = NULL;
	keep_refused(pool, &released, false);
	return HSMPOOL_OK;
}

static void keep_pin(hsmpool *pool, struct hp_secret **pin)
{
	struct hp_secret *old = *pin;
	if (!old)
		return;
	pthread_mutex_lock(&pool->lock);
	*pin = pool->pin;
	pool->pin = old;
	pthread_mutex_unlock(&pool->lock);
}

/* With the PIN in use. */
static hsmpool_status log_in(struct hsmpool_session *e, int64_t deadline_ns, CK_RV *rv,
			     hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	struct hp_login_try try = { .turn = HP_LATCH_NO_TURN };
	struct hp_token token;
	char label[33];
	hp_pool_token(pool, &token);
	hp_token_text(token.info.label, sizeof token.info.label, label);
	*rv = CKR_OK;
	HP_AUTO_SECRET *pin = NULL;
	/* That a login is in place does not make a refused PIN good: the context login
	 * which found it out would be refused again. */
	if (pool->refused)
		HP_TRY(obtain_new_pin(pool, label, &pin, err));
	if (is_user_logged_in(e)) {
		keep_pin(pool, &pin);
		return HSMPOOL_OK;
	}
	if (!pin)
		HP_TRY(obtain_new_pin(pool, label, &pin, err));
	hsmpool_status status = HSMPOOL_OK;
	if (is_shared(pool))
		status = hp_latch_enter(pool->latch, pin, deadline_ns, &try.turn, err);
	if (status == HSMPOOL_ERR_AUTH)
		keep_refused(pool, &pin, true);
	if (status == HSMPOOL_OK)
		status = try_pin_in_turn(e, label, &try, &pin, rv, err);
	if (status == HSMPOOL_OK)
		HP_LOG(NOTICE, "logged-in", "logged in to token '%s'", label);
	else
		HP_LOG(ERROR, "login-failed", "%s", err->text);
	return status;
}

/* paced: a failure is followed by a growing backoff. */
static void settle_locked(hsmpool *pool, hsmpool_status status, bool is_paced,
			  const hsmpool_error *err)
{
	pool->is_pin_in_use = false;
	if (status == HSMPOOL_OK) {
		pool->login = HP_LOGIN_IN;
		pool->login_failures_in_row = 0;
		pool->next_login_ns = 0;
	} else if (status == HSMPOOL_ERR_AUTH) {
		pool->login = HP_LOGIN_LATCHED;
		pool->latched = *err;
		pool->latch_recheck_ns = hp_now_ns() + LATCH_RECHECK_EVERY;
		hp_waiters_wake_all_locked(pool);
	} else {
		pool->login = HP_LOGIN_OUT;
		pool->login_failure = *err;
		if (is_paced) {
			hp_breaker_note_failure_locked(pool, err->ck_rv, err);
			pool->next_login_ns =
				hp_now_ns() +
				hp_pool_backoff(pool->login_failures_in_row++);
		}
	}
	pthread_cond_broadcast(&pool->login_done);
}

/* After MUST_LOG_IN the state is RUNNING and the PIN is in use, both by us. */
enum turn { MUST_LOG_IN, NOTHING_TO_DO, IS_LATCHED, IS_FAILING, TOO_LATE };

static enum turn await_turn_locked(hsmpool *pool, int64_t deadline_ns)
{
	for (;;) {
		bool is_needed =
			pool->login == HP_LOGIN_OUT || pool->login == HP_LOGIN_RUNNING;
		bool is_taken = pool->login == HP_LOGIN_RUNNING || pool->is_pin_in_use;
		int64_t now = hp_now_ns();
		if (pool->login == HP_LOGIN_LATCHED)
			return IS_LATCHED;
		if (!is_needed)
			return NOTHING_TO_DO;
		if (!is_taken && now >= pool->next_login_ns)
			break;
		if (now >= deadline_ns)
			return is_taken ? TOO_LATE : IS_FAILING;
		bool is_backoff_first = !is_taken && pool->next_login_ns < deadline_ns;
		hp_cond_wait_until(&pool->login_done, &pool->lock,
				   is_backoff_first ? pool->next_login_ns : deadline_ns);
	}
	pool->login = HP_LOGIN_RUNNING;
	pool->is_pin_in_use = true;
	return MUST_LOG_IN;
}

hsmpool_status hp_pool_ensure_login(struct hsmpool_session *e, int64_t deadline_ns,
				    hsmpool_error *err)
{
	hsmpool *pool = e->pool;
	hsmpool_error scratch;
	err = err ? err : &scratch;
	pthread_mutex_lock(&pool->lock);
	enum turn turn = await_turn_locked(pool, deadline_ns);
	if (turn == IS_LATCHED)
		*err = pool->latched;
	if (turn == IS_FAILING)
		*err = pool->login_failure;
	pthread_mutex_unlock(&pool->lock);
	if (turn == IS_FAILING)
		return err->status;
	if (turn == TOO_LATE)
		return hp_fail(err, HSMPOOL_ERR_TIMEOUT,
			       "another thread's login had not finished by the deadline");
	if (turn != MUST_LOG_IN)
		return turn == IS_LATCHED ? HSMPOOL_ERR_AUTH : HSMPOOL_OK;

	CK_RV rv;
	e->has_pin_in_use = true;
	hsmpool_status status = log_in(e, deadline_ns, &rv, err);
	/* Nobody tries the PIN again before it is known what became of this try. */
	if (e->session.hangs_in_login)
		return status;
	e->has_pin_in_use = false;
	struct hp_judgement judgement = { .is_alive = true };
	if (status == HSMPOOL_ERR_DOWN && rv != CKR_OK)
		judgement = hp_session_judge(e, rv);
	pthread_mutex_lock(&pool->lock);
	/* A session that died in the loss which made the login necessary says nothing
	 * about the login: it is closed, and the next one is tried at once. */
	bool is_dead = judgement.class == HP_RV_SESSION_DEAD ||
		       judgement.class == HP_RV_TOKEN_GONE;
	bool is_failing = !is_dead || e->opened_ns > pool->lost_ns;
	settle_locked(pool, status, is_failing && status != HSMPOOL_ERR_TIMEOUT, err);
	pthread_mutex_unlock(&pool->lock);
	hp_pool_note_loss(pool, judgement.loss, e->session.generation, rv);
	if (is_dead)
		hp_entry_condemn(e);
	return status;
}

/* Wait for the turn to use the pool's PIN, and copy it. */
static hsmpool_status take_pin(hsmpool *pool, struct hp_secret *pin, hsmpool_error *err)
{
	int64_t until = hp_time_add(hp_now_ns(), pool->live.borrow_timeout);
	pthread_mutex_lock(&pool->lock);
	while (pool->is_pin_in_use &&
	       hp_cond_wait_until(&pool->login_done, &pool->lock, until))
		;
	bool is_taken = pool->is_pin_in_use;
	bool is_good = pool->login != HP_LOGIN_LATCHED && pool->pin &&
		       pool->pin->len <= pin->cap && !same_pin(pool->refused, pool->pin);
	if (is_good && !is_taken) {
		memcpy(pin->data, pool->pin->data, pool->pin->len);
		pin->len = pool->pin->len;
		pool->is_pin_in_use = true;
	}
	pthread_mutex_unlock(&pool->lock);
	HP_CHECK(!is_taken, err, HSMPOOL_ERR_TIMEOUT,
		 "another thread's login had not finished by the deadline");
	HP_CHECK(is_good, err, HSMPOOL_ERR_AUTH,
		 "the key asks for the PIN at each use, and the pool has none that is "
		 "good");
	return HSMPOOL_OK;
}

/* Not in turn with other processes, which would make each wait for all: a PIN that is
 * changed elsewhere may cost as many tries as there are processes in this very call. */
static hsmpool_status try_context_pin(struct hp_session *session,
				      const struct hp_secret *pin, bool *is_on_file,
				      CK_RV *rv, hsmpool_error *err)
{
	hsmpool *pool = hp_pool_of(session);
	*rv = CKR_PIN_INCORRECT;
	*is_on_file = hp_latch_look(pool->latch, pin, err) == HP_LATCH_SAYS_REFUSED;
	if (*is_on_file)
		return HSMPOOL_ERR_AUTH;
	*rv = CKR_OK;
	HP_TRY(log_in_as_use(session, CKU_CONTEXT_SPECIFIC, pin, rv, err));
	return *rv == CKR_OK ? HSMPOOL_OK
			     : hp_rv_fail(err, *rv, "log in for one use of the key");
}

/* The answer has come: the PIN is free again, or refused. */
static void end_context_try(hsmpool *pool, struct hp_secret **pin, bool is_on_file,
			    CK_RV rv, const hsmpool_error *err)
{
	bool is_refused =
		rv != CKR_OK && hp_rv_class(&pool->module->overrides, rv) == HP_RV_PIN;
	if (is_refused && !is_on_file)
		is_on_file = hp_latch_note_refused(pool->latch, *pin, rv);
	if (is_refused)
		keep_refused(pool, pin, is_on_file);
	pthread_mutex_lock(&pool->lock);
	if (is_refused) {
		pool->stats.login_failures++;
		pool->stats.logins_refused++;
		settle_locked(pool, HSMPOOL_ERR_AUTH, true, err);
	}
	pool->is_pin_in_use = false;
	pthread_cond_broadcast(&pool->login_done);
	pthread_mutex_unlock(&pool->lock);
	if (is_refused)
		HP_LOG(ERROR, "login-failed", "%s", err->text);
}

hsmpool_status hp_pool_context_login(struct hp_session *session, hsmpool_error *err)
{
	hsmpool *pool = hp_pool_of(session);
	HP_AUTO_SECRET *pin = hp_secret_new(HP_POOL_PIN_CAP);
	HP_CHECK(pin, err, HSMPOOL_ERR_SYSTEM, "no memory for the PIN");
	HP_TRY(take_pin(pool, pin, err));
	hsmpool_error scratch;
	err = err ? err : &scratch;
	bool is_on_file;
	CK_RV rv;
	struct hsmpool_session *e =
		HP_CONTAINER_OF(session, struct hsmpool_session, session);
	e->has_pin_in_use = true;
	hsmpool_status status = try_context_pin(session, pin, &is_on_file, &rv, err);
	if (session->hangs_in_login)
		return status;
	e->has_pin_in_use = false;
	end_context_try(pool, &pin, is_on_file, rv, err);
	return status;
}

static void settle_user_login(struct hsmpool_session *e, CK_RV rv, struct hp_secret **pin)
{
	hsmpool *pool = e->pool;
	struct hp_token token;
	hsmpool_error err;
	char label[33];
	hp_pool_token(pool, &token);
	hp_token_text(token.info.label, sizeof token.info.label, label);
	hp_error_clear(&err);
	hsmpool_status status = end_try(e, label, &e->login_try, pin, &rv, &err);
	pthread_mutex_lock(&pool->lock);
	settle_locked(pool, status, true, &err);
	pthread_mutex_unlock(&pool->lock);
}

void hp_pool_settle_login(struct hsmpool_session *e, CK_USER_TYPE user, CK_RV rv,
			  struct hp_secret **pin)
{
	hsmpool_error err;
	bool is_pools = e->has_pin_in_use;
	e->has_pin_in_use = false;
	if (is_pools && user != CKU_CONTEXT_SPECIFIC) {
		settle_user_login(e, rv, pin);
	} else if (is_pools) {
		hp_rv_fail(&err, rv, "log in for one use of the key");
		end_context_try(e->pool, pin, false, rv, &err);
	} else if (rv == CKR_OK && user != CKU_CONTEXT_SPECIFIC) {
		hp_pool_adopt_login(e->pool, user, pin);
	}
}
