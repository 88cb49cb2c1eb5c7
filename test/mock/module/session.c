/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session table and the login, of both backends; the own backend's session calls.
 *
 * A handle is (serial << 10 | record), so it is unique and never used again, unless a
 * reboot is told to. Records live as long as the module: a late call on a dead handle
 * reads valid memory and finds another handle there.
 */
#include "module.h"

#include <stdlib.h>
#include <string.h>
#include "own.h"

struct mock_session mock_sessions[MOCK_MAX_SESSIONS];

static unsigned next_record; /* guarded by mock.lock: reuse the longest free first */

static struct mock_session *take_record(void)
{
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++) {
		struct mock_session *s = &mock_sessions[next_record];
		next_record = (next_record + 1) % MOCK_MAX_SESSIONS;
		if (atomic_load(&s->handle) == 0 && atomic_load(&s->inside) == 0 &&
		    atomic_load(&s->real) == 0)
			return s;
	}
	return NULL;
}

static void forget_search(struct mock_session *s)
{
	free(s->found);
	s->found = NULL;
	s->found_count = s->found_next = 0;
	s->is_finding = false;
}

CK_RV mock_session_add(CK_SLOT_ID slot, CK_FLAGS flags, CK_SESSION_HANDLE real,
		       CK_SESSION_HANDLE *out)
{
	uint64_t now = atomic_load(&mock.now);

	if (mock.session_limit != 0 && now >= mock.session_limit)
		return CKR_SESSION_COUNT;
	struct mock_session *s = take_record();
	if (s == NULL)
		return CKR_SESSION_COUNT;
	uint64_t serial = atomic_fetch_add(&mock.session_serial, 1) + 1;
	CK_SESSION_HANDLE handle =
		serial * MOCK_MAX_SESSIONS + (CK_SESSION_HANDLE)(s - mock_sessions);
	forget_search(s);
	memset(s->op, 0, sizeof(s->op));
	s->slot = slot;
	s->flags = flags;
	atomic_store(&s->real, real);
	atomic_store(&s->handle, handle);
	mock_count(&mock.opened);
	atomic_store(&mock.now, now + 1);
	if (now + 1 > atomic_load(&mock.peak))
		atomic_store(&mock.peak, now + 1);
	*out = handle;
	return CKR_OK;
}

static void end_record(struct mock_session *s, _Atomic uint64_t *reason)
{
	atomic_store(&s->handle, 0);
	atomic_fetch_sub(&mock.now, 1);
	mock_count(reason);
}

static void remove_for(struct mock_session *s, _Atomic uint64_t *reason)
{
	CK_SESSION_HANDLE handle = atomic_load(&s->handle);

	if (handle == 0)
		return;
	end_record(s, reason);
	if (atomic_load(&mock.is_wrapping))
		return;
	mock_objects_drop_session(handle);
	if (atomic_load(&mock.now) == 0)
		mock_login_change(MOCK_NOBODY);
}

void mock_session_remove(struct mock_session *s)
{
	remove_for(s, &mock.closed);
}

void mock_sessions_close_all(void)
{
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		remove_for(&mock_sessions[i], &mock.closed);
}

void mock_sessions_abandon_all(void)
{
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		remove_for(&mock_sessions[i], &mock.abandoned);
}

/* As if the oldest of the open ones were the next to be opened. */
static void count_again(void)
{
	CK_SESSION_HANDLE oldest = 0;

	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++) {
		CK_SESSION_HANDLE handle = atomic_load(&mock_sessions[i].handle);
		if (handle != 0 && (oldest == 0 || handle < oldest))
			oldest = handle;
	}
	if (oldest == 0)
		return;
	atomic_store(&mock.session_serial, oldest / MOCK_MAX_SESSIONS - 1);
	next_record = oldest % MOCK_MAX_SESSIONS;
}

void mock_sessions_kill_all(CK_RV rv, bool reuse)
{
	mock.dead_session_rv = rv;
	mock.killed_serial = atomic_load(&mock.session_serial);
	if (reuse)
		count_again();
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		if (atomic_load(&mock_sessions[i].handle) != 0)
			end_record(&mock_sessions[i], &mock.killed);
	if (!atomic_load(&mock.is_wrapping))
		mock_objects_drop_session(0);
}

CK_RV mock_dead_session_rv(CK_SESSION_HANDLE handle)
{
	uint64_t serial = handle / MOCK_MAX_SESSIONS;
	CK_RV rv = CKR_SESSION_HANDLE_INVALID;

	if (serial == 0 || serial > atomic_load(&mock.session_serial))
		return rv; /* never was one */
	mock_count(&mock.dead_handles);
	mock_lock();
	if (serial <= mock.killed_serial)
		rv = mock.dead_session_rv;
	mock_unlock();
	return mock_is_absent() ? CKR_DEVICE_REMOVED : rv;
}

void mock_login_change(uint32_t user)
{
	uint32_t before = atomic_exchange(&mock.user, user);

	if (before == user)
		return;
	atomic_fetch_add(&mock.login_serial, 1);
	if (before == CKU_USER)
		mock_objects_log_out();
}

/* --- the own backend's session calls ----------------------------------------- */

CK_RV own_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application,
			CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session)
{
	CK_RV rv;

	(void)application;
	(void)notify;
	if (session == NULL)
		return CKR_ARGUMENTS_BAD;
	if (!(flags & CKF_SERIAL_SESSION))
		return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
	if (slot != atomic_load(&mock.slot))
		return CKR_SLOT_ID_INVALID;
	mock_lock();
	if (!(flags & CKF_RW_SESSION) && atomic_load(&mock.user) == CKU_SO)
		rv = CKR_SESSION_READ_WRITE_SO_EXISTS;
	else
		rv = mock_session_add(slot, flags, 0, session);
	mock_unlock();
	return rv;
}

CK_RV own_C_CloseSession(CK_SESSION_HANDLE session)
{
	mock_lock();
	struct mock_session *s = mock_session_find(session);
	if (s != NULL)
		mock_session_remove(s);
	mock_unlock();
	return s != NULL ? CKR_OK : mock_dead_session_rv(session);
}

CK_RV own_C_CloseAllSessions(CK_SLOT_ID slot)
{
	if (slot != atomic_load(&mock.slot))
		return CKR_SLOT_ID_INVALID;
	mock_lock();
	mock_sessions_close_all();
	mock_unlock();
	return CKR_OK;
}

static CK_STATE session_state(CK_FLAGS flags)
{
	bool is_read_write = (flags & CKF_RW_SESSION) != 0;

	switch (atomic_load(&mock.user)) {
	case CKU_SO:
		return CKS_RW_SO_FUNCTIONS;
	case CKU_USER:
		return is_read_write ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
	default:
		return is_read_write ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
	}
}

CK_RV own_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
	struct mock_session *s = mock_session_find(session);

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (info == NULL)
		return CKR_ARGUMENTS_BAD;
	*info = (CK_SESSION_INFO){
		.slotID = s->slot,
		.state = session_state(s->flags),
		.flags = s->flags,
	};
	return CKR_OK;
}

static bool has_read_only_session(void)
{
	for (unsigned i = 0; i < MOCK_MAX_SESSIONS; i++)
		if (atomic_load(&mock_sessions[i].handle) != 0 &&
		    !(mock_sessions[i].flags & CKF_RW_SESSION))
			return true;
	return false;
}

/* Whether a login of this kind has its place now. mock.lock is held. */
static CK_RV login_in_place(const struct mock_session *s, CK_USER_TYPE user)
{
	uint32_t now = atomic_load(&mock.user);

	if (user == CKU_CONTEXT_SPECIFIC) {
		for (unsigned i = 0; i < MOCK_KINDS; i++)
			if (s->op[i].is_active && s->op[i].needs_context_login)
				return CKR_OK;
		return CKR_OPERATION_NOT_INITIALIZED;
	}
	if (user != CKU_USER && user != CKU_SO)
		return CKR_USER_TYPE_INVALID;
	if (now == user)
		return CKR_USER_ALREADY_LOGGED_IN;
	if (now != MOCK_NOBODY)
		return CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
	if (user == CKU_SO && has_read_only_session())
		return CKR_SESSION_READ_ONLY_EXISTS;
	return user == CKU_USER && !mock.is_pin_set ? CKR_USER_PIN_NOT_INITIALIZED
						    : CKR_OK;
}

static void log_in(struct mock_session *s, CK_USER_TYPE user)
{
	if (user != CKU_CONTEXT_SPECIFIC) {
		mock_login_change((uint32_t)user);
		return;
	}
	for (unsigned i = 0; i < MOCK_KINDS; i++)
		s->op[i].needs_context_login = false;
}

CK_RV own_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin,
		  CK_ULONG len)
{
	struct mock_session *s = mock_session_find(session);
	CK_RV rv;

	if (s == NULL)
		return mock_dead_session_rv(session);
	if (pin == NULL)
		return CKR_ARGUMENTS_BAD;
	CK_RV allowed = mock_pin_allowed(user);
	mock_lock();
	const char *right = user == CKU_SO ? mock.so_pin : mock_pin()->text;
	rv = login_in_place(s, user);
	bool is_tried = rv == CKR_OK;
	if (is_tried)
		rv = allowed;
	if (rv == CKR_OK && (len != strlen(right) || memcmp(pin, right, len) != 0))
		rv = CKR_PIN_INCORRECT;
	if (rv == CKR_OK)
		log_in(s, user);
	mock_unlock();
	if (is_tried)
		mock_pin_result(user, rv);
	return rv;
}

CK_RV own_C_Logout(CK_SESSION_HANDLE session)
{
	CK_RV rv = CKR_OK;

	(void)session;
	mock_lock();
	if (atomic_load(&mock.user) == MOCK_NOBODY)
		rv = CKR_USER_NOT_LOGGED_IN;
	else
		mock_login_change(MOCK_NOBODY);
	mock_unlock();
	if (rv == CKR_OK)
		mock_count(&mock.logouts);
	return rv;
}
