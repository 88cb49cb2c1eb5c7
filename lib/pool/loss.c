/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a return value means for the session it came from and for the whole pool.
 *
 * Classes come from the one table (p11/rv.h); this file turns them into facts: is the
 * session alive, was the login lost, is the token gone. Ambiguous answers are settled
 * by asking the session again, never by guessing. Losses raise the generation, once
 * per loss: whoever notices first, wins; the others see a newer generation.
 */
#include "pool/internal.h"

#include <string.h>
#include "base/memory.h"
#include "observe/log.h"

bool hp_pool_expects_login(hsmpool *pool, uint64_t *generation)
{
	pthread_mutex_lock(&pool->lock);
	bool expects = pool->login == HP_LOGIN_IN;
	if (generation)
		*generation = pool->generation;
	pthread_mutex_unlock(&pool->lock);
	return expects;
}

/* What is expected is read first: a login that comes in between is no loss. */
static CK_RV probe_session_info(struct hsmpool_session *e)
{
	CK_SESSION_INFO info;
	bool expects_login = hp_pool_expects_login(e->pool, NULL);
	CK_RV rv = hp_session_info(&e->session, &info);
	if (rv == CKR_OK && expects_login && !hp_pool_state_is_ours(e->pool, info.state))
		return CKR_USER_NOT_LOGGED_IN;
	return rv;
}

static CK_RV probe_token_info(struct hsmpool_session *e)
{
	CK_TOKEN_INFO info;
	return hp_session_token_info(&e->session, &info);
}

/* Tokens without a generator pass: they answered. */
static CK_RV probe_random(struct hsmpool_session *e)
{
	CK_BYTE byte;
	CK_RV rv = hp_generate_random(&e->session, &byte, 1);
	bool has_none = rv == CKR_RANDOM_NO_RNG || rv == CKR_FUNCTION_NOT_SUPPORTED;
	return has_none ? CKR_OK : rv;
}

static CK_RV probe_canary(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	hp_canary_fn canary = pool->canary;
	void *user = pool->canary_user;
	/* The key is found by the generation that is probed. */
	if (e->session.generation > pool->dead_generation)
		e->session.generation = pool->generation;
	pthread_mutex_unlock(&pool->lock);
	return canary ? canary(user, &e->session) : CKR_OK;
}

CK_RV hp_session_probe(struct hsmpool_session *e, enum hp_probe depth)
{
	CK_RV rv = probe_session_info(e);
	if (rv == CKR_OK && depth == HP_PROBE_TOKEN_INFO)
		rv = probe_token_info(e);
	if (rv == CKR_OK && depth == HP_PROBE_RANDOM)
		rv = probe_random(e);
	if (rv == CKR_OK && depth == HP_PROBE_CANARY)
		rv = probe_canary(e);
	return rv;
}

enum hp_probe hp_pool_proof(const hsmpool *pool, enum hp_probe least)
{
	enum hp_probe probe = pool->options.probe;
	bool is_remote = probe == HP_PROBE_RANDOM || probe == HP_PROBE_CANARY;
	return is_remote ? HP_PROBE_RANDOM : least;
}

static struct hp_judgement judge_class(enum hp_rv_class class)
{
	static const struct hp_judgement table[HP_RV_CLASS_COUNT] = {
		[HP_RV_OK] = { .is_alive = true },
		[HP_RV_FLOW] = { .is_alive = true },
		[HP_RV_CALLER] = { .is_alive = true },
		[HP_RV_OP_LOST] = { .is_alive = false },
		[HP_RV_STALE_HANDLE] = { .is_alive = true },
		[HP_RV_SESSION_DEAD] = { .loss = HP_LOSS_SESSION },
		[HP_RV_LOGIN_LOST] = { .is_alive = true, .loss = HP_LOSS_LOGIN },
		[HP_RV_LOGIN_RACE] = { .is_alive = true },
		[HP_RV_PIN] = { .is_alive = true },
		[HP_RV_CAPACITY] = { .is_alive = true },
		[HP_RV_TOKEN_GONE] = { .loss = HP_LOSS_TOKEN },
		[HP_RV_DEVICE] = { .loss = HP_LOSS_SESSION },
		[HP_RV_AMBIGUOUS] = { .loss = HP_LOSS_SESSION },
		[HP_RV_MODULE_DEAD] = { .loss = HP_LOSS_TOKEN },
		[HP_RV_GIVEN_UP] = { .is_alive = false },
	};
	struct hp_judgement judgement = table[class];
	judgement.class = class;
	return judgement;
}

/* Ask the session what is really the matter. */
static struct hp_judgement judge_by_probe(struct hsmpool_session *e,
					  enum hp_rv_class class)
{
	CK_RV rv = hp_session_probe(e, HP_PROBE_TOKEN_INFO);
	enum hp_rv_class found = hp_rv_class(&e->pool->module->overrides, rv);
	if (rv != CKR_OK)
		return judge_class(found == HP_RV_CALLER ? HP_RV_AMBIGUOUS : found);
	/* It answers and is logged in. Then an ambiguous code, or a missing login, was
	 * about this one call: bad input, or a key that wants a login of its own. */
	return judge_class(class == HP_RV_STALE_HANDLE ? class : HP_RV_CALLER);
}

/* Whether a loss was noticed since e was lent: then that was the reason, and a probe
 * now, after someone else logged in again, would only mislead. A dead session's handle
 * may be another's and is not asked at all. */
static bool note_and_compare(struct hsmpool_session *e, enum hp_rv_class class, CK_RV rv)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	if (class != HP_RV_OK && class != HP_RV_FLOW && class != HP_RV_CALLER)
		hp_pool_note_error_locked(pool, rv);
	bool is_outdated =
		e->session.generation < pool->whole_since || hp_entry_is_dead_locked(e);
	bool is_logged_out =
		pool->login == HP_LOGIN_OUT || pool->login == HP_LOGIN_RUNNING;
	pthread_mutex_unlock(&pool->lock);
	return is_outdated || (class == HP_RV_LOGIN_LOST && is_logged_out);
}

struct hp_judgement hp_session_judge(struct hsmpool_session *e, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&e->pool->module->overrides, rv);
	bool is_explained = note_and_compare(e, class, rv);
	switch (class) {
	case HP_RV_STALE_HANDLE:
	case HP_RV_LOGIN_LOST:
	case HP_RV_AMBIGUOUS:
		return is_explained ? judge_class(class) : judge_by_probe(e, class);
	default:
		return judge_class(class);
	}
}

enum hp_rv_class hp_pool_judge(struct hp_session *session, CK_RV rv)
{
	return hp_session_judge(HP_CONTAINER_OF(session, struct hsmpool_session, session),
				rv)
		.class;
}

CK_RV hp_pool_look(struct hp_session *session)
{
	return probe_session_info(
		HP_CONTAINER_OF(session, struct hsmpool_session, session));
}

void hp_pool_note_error_locked(hsmpool *pool, CK_RV rv)
{
	if (rv == CKR_OK)
		return;
	pool->last_error = rv;
	pool->last_error_ns = hp_now_ns();
}

void hp_pool_begin_generation_locked(hsmpool *pool)
{
	pool->generation++;
	pool->continuous_since = pool->generation;
	pool->is_peopled = false;
}

bool hp_pool_has_lost_since(hsmpool *pool, uint64_t generation)
{
	pthread_mutex_lock(&pool->lock);
	bool has_lost = generation < pool->whole_since;
	pthread_mutex_unlock(&pool->lock);
	return has_lost;
}

void hp_pool_note_loss_locked(hsmpool *pool, enum hp_loss loss)
{
	if (loss == HP_LOSS_NONE)
		return;
	if (loss == HP_LOSS_TOKEN) {
		pool->dead_generation = pool->generation;
		pool->must_resolve = true;
		pool->learned_limit =
			pool->limit; /* whoever had the others lost them too */
	}
	uint64_t *counter[] = { [HP_LOSS_LOGIN] = &pool->stats.lost_logins,
				[HP_LOSS_SESSION] = &pool->stats.lost_sessions,
				[HP_LOSS_TOKEN] = &pool->stats.lost_tokens };
	++*counter[loss];
	hp_pool_begin_generation_locked(pool);
	pool->whole_since = pool->generation;
	pool->lost_ns = hp_now_ns();
	if (loss != HP_LOSS_SESSION && pool->login == HP_LOGIN_IN)
		pool->login = HP_LOGIN_OUT;
}

void hp_pool_note_loss(hsmpool *pool, enum hp_loss loss, uint64_t generation, CK_RV rv)
{
	static const char *const what[] = {
		[HP_LOSS_LOGIN] = "the login",
		[HP_LOSS_SESSION] = "a session",
		[HP_LOSS_TOKEN] = "the token",
	};
	if (loss == HP_LOSS_NONE)
		return;
	pthread_mutex_lock(&pool->lock);
	bool is_news = generation >= pool->whole_since && !pool->is_closed;
	if (is_news)
		hp_pool_note_loss_locked(pool, loss);
	if (loss != HP_LOSS_LOGIN)
		hp_breaker_note_failure_locked(pool, rv, NULL);
	pthread_mutex_unlock(&pool->lock);
	if (is_news) {
		char name[32];
		HP_LOG(WARNING, "loss-noticed", "lost %s (%s)", what[loss],
		       hp_rv_name(rv, name));
	}
}
