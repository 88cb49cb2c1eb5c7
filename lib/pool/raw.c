/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw borrow: a session's handle and the module's functions, for the length of a
 * borrow. Its owner calls the module without our wrappers, so the module's gate is
 * entered once for the whole borrow: a fork elsewhere in the process waits for it.
 */
#include "pool/internal.h"

#include "base/error.h"
#include "base/memory.h"

hsmpool_status hsmpool_borrow(hsmpool *pool, hsmpool_session **out,
			      hsmpool_borrow_flags flags, const char *tag,
			      hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_session *session;
	bool read_write = flags & HSMPOOL_BORROW_READ_WRITE;
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "no place for the session was given");
	*out = NULL;
	hp_error_clear(err);
	HP_CHECK(!(flags & ~HSMPOOL_BORROW_READ_WRITE), err, HSMPOOL_ERR_USAGE,
		 "borrow a session: there are no flags 0x%x", (unsigned)flags);
	HP_TRY(hp_pool_borrow(pool, read_write ? HP_WANT_CLEAN_READ_WRITE : HP_WANT_CLEAN,
			      tag ? tag : "raw borrow", deadline, &session, err));
	if (!hp_session_begin_stay(session)) {
		hp_pool_return_verdict(session, HSMPOOL_VERDICT_CLEAN);
		return hp_fail(err, HSMPOOL_ERR_FORKED,
			       "the module cannot be used in this forked process");
	}
	*out = HP_CONTAINER_OF(session, struct hsmpool_session, session);
	return HSMPOOL_OK;
}

void hsmpool_return(hsmpool_session **session, hsmpool_verdict verdict)
{
	if (!session || !*session)
		return;
	struct hp_session *s = &(*session)->session;
	*session = NULL;
	if (hp_pool_check_usable(hp_pool_of(s), NULL) != HSMPOOL_OK)
		return;
	hp_session_end_stay(s);
	hp_pool_return_verdict(s, verdict);
}

hsmpool_verdict hsmpool_verdict_of(unsigned long ck_rv)
{
	switch (hp_rv_class(NULL, ck_rv)) {
	case HP_RV_OK:
	case HP_RV_CALLER:
	case HP_RV_LOGIN_LOST:
	case HP_RV_LOGIN_RACE:
	case HP_RV_STALE_HANDLE:
	case HP_RV_PIN:
	case HP_RV_CAPACITY:
		return HSMPOOL_VERDICT_CLEAN;
	case HP_RV_SESSION_DEAD:
	case HP_RV_TOKEN_GONE:
	case HP_RV_MODULE_DEAD:
		return HSMPOOL_VERDICT_DEAD;
	default:
		return HSMPOOL_VERDICT_RESET;
	}
}

unsigned long hsmpool_session_handle(const hsmpool_session *session)
{
	return session ? session->session.handle : CK_INVALID_HANDLE;
}

void *hsmpool_session_functions(const hsmpool_session *session)
{
	return session ? session->session.module->fl : NULL;
}
