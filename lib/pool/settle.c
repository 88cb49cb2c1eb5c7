/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that were given up, and what they turn out to have done.
 *
 * The owner of a session whose call was given up leaves it to the session's worker: the
 * entry is CLOSING and in quarantine until the call returns. Then the worker undoes what
 * nobody will come for: it destroys session objects, names token objects in the log,
 * adopts a login, and closes the session. It makes these calls itself; they may hang
 * again.
 */
#include "pool/internal.h"

#include "base/memory.h"
#include "observe/log.h"
#include "p11/worker.h"

/* --- on the worker's thread --------------------------------------------------------- */

static void settle_object(struct hsmpool_session *e, CK_OBJECT_HANDLE object)
{
	CK_BBOOL is_token = CK_FALSE;
	char label[65] = "";
	CK_ATTRIBUTE template[] = {
		{ CKA_TOKEN, &is_token, sizeof(is_token) },
		{ CKA_LABEL, label, sizeof(label) - 1 },
	};
	hp_get_attributes(&e->session, object, template, HP_ARRAY_LEN(template));
	if (template[1].ulValueLen >= sizeof(label))
		label[0] = '\0';
	if (is_token)
		HP_LOG(WARNING, "object-late",
		       "an object '%s' was made on the token by a call that was given up: "
		       "it is there",
		       label);
	else
		hp_destroy_object(&e->session, object);
}

static void settle_success(struct hsmpool_session *e, const struct hp_late_result *late)
{
	if (late->kind == HP_TASK_OPEN)
		e->session.handle = late->handle[0];
	if (late->kind == HP_TASK_CLOSE)
		e->session.handle = CK_INVALID_HANDLE;
	for (unsigned i = 0; i < late->handles; i++)
		settle_object(e, late->handle[i]);
}

/* The module counts handles from one again after a restart. */
static bool is_handle_of_another(const struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	pthread_mutex_lock(&pool->lock);
	bool is_found = e->is_aliased;
	for (uint32_t i = 0; i < pool->entry_count; i++)
		is_found |= &pool->entries[i] != e &&
			    pool->entries[i].state != HP_ENTRY_EMPTY &&
			    pool->entries[i].known_handle == e->session.handle;
	pthread_mutex_unlock(&pool->lock);
	return is_found;
}

static void settle(struct hp_session *session, struct hp_late_result *late)
{
	struct hsmpool_session *e =
		HP_CONTAINER_OF(session, struct hsmpool_session, session);
	char name[32];
	HP_LOG(NOTICE, "call-late", "session %u: the call that was given up returned: %s",
	       (unsigned)(e - e->pool->entries), hp_rv_name(late->rv, name));
	if (late->rv == CKR_OK)
		settle_success(e, late);
	if (late->kind == HP_TASK_LOGIN)
		hp_pool_settle_login(e, late->user, late->rv, &late->secret);
	if (!is_handle_of_another(e))
		hp_session_close(session);
	hp_entry_end(e, HP_CLOSE_BROKEN);
}

/* --- on the owner's ------------------------------------------------------------------
 */

bool hp_entry_equip(struct hsmpool_session *e)
{
	int64_t timeout = e->pool->options.call_timeout;
	if (timeout && !e->worker)
		e->worker = hp_worker_start(timeout, settle);
	e->session.worker = e->worker;
	return !timeout || e->worker;
}

bool hp_entry_leave_to_worker(struct hsmpool_session *e)
{
	hsmpool *pool = e->pool;
	if (!e->session.is_abandoned)
		return false;
	HP_LOG(WARNING, "call-given-up",
	       "session %u: a call of the module ('%s') did not return within "
	       "call-timeout; the session is closed when it does",
	       (unsigned)(e - pool->entries), e->tag ? e->tag : "?");
	pthread_mutex_lock(&pool->lock);
	hp_entry_count_return_locked(e, hp_now_ns());
	hp_entry_set_state_locked(e, HP_ENTRY_CLOSING);
	if (!e->is_stuck)
		hp_entry_quarantine_locked(e);
	hp_waiters_wake_head_locked(pool);
	pthread_mutex_unlock(&pool->lock);
	hp_worker_take_over(&e->session);
	return true;
}

void hp_pool_dismiss_workers(hsmpool *pool, bool is_child)
{
	for (uint32_t i = 0; i < pool->entry_count; i++) {
		if (is_child)
			hp_worker_forget(&pool->entries[i].worker);
		else
			hp_worker_stop(&pool->entries[i].worker);
	}
}
