/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins that an application performs itself, on a pool that otherwise would, or not.
 *
 * Owns: what the pool remembers of them. A logout takes the same right as a login (state
 * RUNNING), so no borrower sees "not logged in" in between and logs in again. A PIN that
 * was refused is not remembered.
 */
#include "pool/internal.h"

#include <string.h>
#include "base/memory.h"

/* NULL: none, or no memory: the login works, but cannot be repeated. */
static struct hp_secret *copy_pin(const CK_BYTE *pin, CK_ULONG pin_len)
{
	struct hp_secret *copy =
		pin && pin_len <= HP_POOL_PIN_CAP ? hp_secret_new(HP_POOL_PIN_CAP) : NULL;
	if (copy) {
		memcpy(copy->data, pin, pin_len);
		copy->len = pin_len;
	}
	return copy;
}

/* The user's PIN is the pool's own and outlives the SO's login. */
static struct hp_secret *put_aside_locked(hsmpool *pool)
{
	bool is_own = pool->options.pin_source && pool->user == CKU_USER;
	struct hp_secret *old = pool->pin;
	pool->pin = NULL;
	if (!is_own || !old || pool->own_pin)
		return old;
	pool->own_pin = old;
	return NULL;
}

static void keep_login(hsmpool *pool, enum hp_login_state state, CK_USER_TYPE user,
		       struct hp_secret *pin)
{
	struct hp_secret *released = NULL;
	pthread_mutex_lock(&pool->lock);
	struct hp_secret *old = put_aside_locked(pool);
	if (pin && hp_pool_is_refused_locked(pool, pin)) {
		released = pool->refused;
		pool->refused = NULL;
	}
	pool->pin = pin;
	pool->user = user;
	pool->login = state;
	pool->stats.logins += state == HP_LOGIN_IN;
	pthread_cond_broadcast(&pool->login_done);
	pthread_mutex_unlock(&pool->lock);
	hp_secret_free(&old);
	hp_secret_free(&released);
}

/* Other processes that log in with this PIN by themselves may do so again. */
static void release_for_all(hsmpool *pool, CK_USER_TYPE user, const CK_BYTE *pin,
			    CK_ULONG pin_len)
{
	HP_AUTO_SECRET *good = user == CKU_USER ? copy_pin(pin, pin_len) : NULL;
	if (good)
		hp_latch_note_good(pool->latch, good);
}

void hp_pool_adopt_login(hsmpool *pool, CK_USER_TYPE user, struct hp_secret **pin)
{
	struct hp_secret *kept = *pin;
	*pin = NULL;
	keep_login(pool, HP_LOGIN_IN, user, kept);
}

bool hp_pool_was_no_try_spent(struct hp_session *session, CK_USER_TYPE user)
{
	CK_FLAGS counted =
		user == CKU_SO
			? CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED
			: CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY |
				  CKF_USER_PIN_LOCKED;
	CK_TOKEN_INFO info;
	return hp_session_token_info(session, &info) == CKR_OK && !(info.flags & counted);
}

/* Processes that log in at the same moment disturb each other on SoftHSM2, which
 * rewrites the token's file at each login and answers GENERAL_ERROR to who reads it
 * meanwhile. Programs without a pool log in once, before they fork, and do not know of
 * it: their workers would never try again. */
#define LOGIN_TRIES    6
#define LOGIN_PAUSE_NS (3 * HP_MS)

static CK_RV log_in_as(struct hp_session *session, CK_USER_TYPE user, const CK_BYTE *pin,
		       CK_ULONG pin_len)
{
	hsmpool *pool = hp_pool_of(session);
	const struct timespec pause = { .tv_nsec = LOGIN_PAUSE_NS };
	for (int tries = 1;; tries++) {
		CK_RV rv = hp_session_login_bytes(session, user, pin, pin_len);
		bool is_unclear =
			hp_rv_class(&pool->module->overrides, rv) == HP_RV_AMBIGUOUS;
		if (!is_unclear || user == CKU_CONTEXT_SPECIFIC || tries == LOGIN_TRIES ||
		    !hp_pool_was_no_try_spent(session, user))
			return rv;
		nanosleep(&pause, NULL);
	}
}

CK_RV hp_pool_login_as(struct hp_session *session, CK_USER_TYPE user, const CK_BYTE *pin,
		       CK_ULONG pin_len)
{
	hsmpool *pool = hp_pool_of(session);
	CK_RV rv = log_in_as(session, user, pin, pin_len);
	if (rv == CKR_OK && user != CKU_CONTEXT_SPECIFIC) {
		keep_login(pool, HP_LOGIN_IN, user, copy_pin(pin, pin_len));
		release_for_all(pool, user, pin, pin_len);
	}
	return rv;
}

/* The right to change the login. False: another thread's login hangs. */
static bool begin_logout(hsmpool *pool, enum hp_login_state *before)
{
	int64_t deadline_ns = hp_pool_deadline(pool, HSMPOOL_DEFAULT);
	bool in_time = true;
	pthread_mutex_lock(&pool->lock);
	while ((pool->login == HP_LOGIN_RUNNING || pool->is_pin_in_use) && in_time)
		in_time = hp_cond_wait_until(&pool->login_done, &pool->lock, deadline_ns);
	bool is_mine = pool->login != HP_LOGIN_RUNNING && !pool->is_pin_in_use;
	if (is_mine) {
		*before = pool->login;
		pool->login = HP_LOGIN_RUNNING;
		pool->is_pin_in_use = true;
	}
	pthread_mutex_unlock(&pool->lock);
	return is_mine;
}

static void end_logout(hsmpool *pool, enum hp_login_state before, bool is_out)
{
	pthread_mutex_lock(&pool->lock);
	struct hp_secret *old = is_out ? put_aside_locked(pool) : NULL;
	pool->login = is_out ? HP_LOGIN_NONE : before;
	pool->is_pin_in_use = false;
	if (is_out)
		pool->user = CKU_USER;
	pthread_cond_broadcast(&pool->login_done);
	pthread_mutex_unlock(&pool->lock);
	hp_secret_free(&old);
}

CK_RV hp_pool_logout(struct hp_session *session)
{
	hsmpool *pool = hp_pool_of(session);
	enum hp_login_state before;
	if (!begin_logout(pool, &before))
		return CKR_FUNCTION_FAILED;
	CK_RV rv = hp_session_logout(session);
	end_logout(pool, before, rv == CKR_OK || rv == CKR_USER_NOT_LOGGED_IN);
	return rv;
}

bool hp_pool_forget_login(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool was_latched = pool->login == HP_LOGIN_LATCHED;
	struct hp_secret *old = NULL;
	if (!pool->options.pin_source && pool->login != HP_LOGIN_RUNNING) {
		old = pool->pin;
		pool->pin = NULL;
		pool->user = CKU_USER;
		pool->login = HP_LOGIN_NONE;
	}
	pthread_mutex_unlock(&pool->lock);
	hp_secret_free(&old);
	return was_latched;
}

bool hp_pool_forget_latched(hsmpool *pool)
{
	pthread_mutex_lock(&pool->lock);
	bool is_latched = pool->login == HP_LOGIN_LATCHED && !pool->options.pin_source;
	pthread_mutex_unlock(&pool->lock);
	return is_latched && hp_pool_forget_login(pool);
}

hsmpool_status hp_pool_login_again(struct hp_session *session, hsmpool_error *err)
{
	hsmpool *pool = hp_pool_of(session);
	pthread_mutex_lock(&pool->lock);
	if (pool->login == HP_LOGIN_NONE) {
		pool->login = HP_LOGIN_OUT;
		atomic_store(&pool->user, CKU_USER);
	}
	pthread_mutex_unlock(&pool->lock);
	struct hsmpool_session *e =
		HP_CONTAINER_OF(session, struct hsmpool_session, session);
	return hp_pool_ensure_login(e, hp_pool_deadline(pool, HSMPOOL_DEFAULT), err);
}

/* The user's PIN as the pool knows it: the one that it is logged in with, or would be. */
static bool copy_user_pin(hsmpool *pool, struct hp_secret **pin)
{
	hsmpool_error err;
	*pin = hp_secret_new(HP_POOL_PIN_CAP);
	pthread_mutex_lock(&pool->lock);
	bool is_user_in =
		pool->login == HP_LOGIN_IN && atomic_load(&pool->user) == CKU_USER;
	pthread_mutex_unlock(&pool->lock);
	if (*pin && is_user_in && hp_pool_copy_kept_pin(pool, *pin))
		return true;
	hp_secret_free(pin);
	return hp_pool_obtain_pin(pool, "", pin, &err) == HSMPOOL_OK;
}

bool hp_pool_knows_pin(hsmpool *pool, const CK_BYTE *pin, CK_ULONG pin_len)
{
	HP_AUTO_SECRET *known = NULL;
	if (!copy_user_pin(pool, &known))
		return false;
	return known->len == pin_len && hp_equal_secret(known->data, pin, pin_len);
}

void hp_pool_pin_changed(hsmpool *pool, CK_USER_TYPE user, const CK_BYTE *pin,
			 CK_ULONG pin_len)
{
	struct hp_secret *current = copy_pin(pin, pin_len);
	struct hp_secret *own = user == CKU_USER ? copy_pin(pin, pin_len) : NULL;
	struct hp_secret *old = NULL, *old_own = NULL;
	pthread_mutex_lock(&pool->lock);
	if (pool->user == user && pool->pin) {
		old = pool->pin;
		pool->pin = current;
		current = NULL;
	}
	/* One that is not known gives way to what the source says. */
	if (pool->options.pin_source && user == CKU_USER) {
		old_own = pool->own_pin;
		pool->own_pin = own;
		own = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	hp_secret_free(&current);
	hp_secret_free(&own);
	hp_secret_free(&old);
	hp_secret_free(&old_own);
	release_for_all(pool, user, pin, pin_len);
}
