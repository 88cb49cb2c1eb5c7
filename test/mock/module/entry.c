/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry points: every call is counted, faults act, then the backend answers.
 *
 * The fast path (nothing armed, session alive) is two atomic adds on the session's own
 * cache lines, a plain count, and an indirect call: it is the base line of
 * micro-benchmarks.
 */
#include "module.h"
#include "wrap.h"

static _Atomic(const CK_FUNCTION_LIST *) backend = &mock_own_backend;

/* Count the call in and let it through, or not: then visit->rv is the answer. */
static inline bool visit_begin(struct mock_visit *visit, enum mock_function function,
			       CK_SESSION_HANDLE handle)
{
	struct mock_session *s = mock_session_find(handle);

	visit->function = function;
	visit->handle = handle;
	visit->is_failing_after = false;
	if (MOCK_LIKELY(s != NULL)) {
		if (atomic_fetch_add(&s->inside, 1) != 0)
			mock_count(&mock.session_overlaps);
		if (!MOCK_LIKELY(atomic_load(&s->handle) == handle)) {
			atomic_fetch_sub(&s->inside, 1);
			s = NULL; /* it died in between, the record may be another's */
		}
	}
	visit->session = s;
	visit->is_slow =
		s == NULL || atomic_load_explicit(&mock.armed, memory_order_relaxed) != 0;
	if (MOCK_LIKELY(s != NULL))
		atomic_store_explicit(
			&s->calls[function],
			atomic_load_explicit(&s->calls[function], memory_order_relaxed) +
				1,
			memory_order_relaxed);
	else
		mock_count(&mock.calls[function]);
	return MOCK_LIKELY(!visit->is_slow) || mock_fault_before(visit);
}

/* Whether the call that this thread is in asks for a signature's length only. */
static _Thread_local bool is_length_query;

static inline bool makes_signature(enum mock_function function)
{
	return function == MOCK_C_Sign || function == MOCK_C_SignFinal ||
	       function == MOCK_C_SignRecover;
}

static inline CK_RV visit_end(struct mock_visit *visit, CK_RV rv)
{
	if (!MOCK_LIKELY(!visit->is_slow)) {
		if (makes_signature(visit->function) && rv == CKR_OK && !is_length_query)
			mock_count(&mock.signatures);
		rv = mock_fault_after(visit, rv);
	}
	if (visit->session != NULL)
		atomic_fetch_sub(&visit->session->inside, 1);
	return rv;
}

static inline const CK_FUNCTION_LIST *answerer(void)
{
	return atomic_load_explicit(&backend, memory_order_relaxed);
}

#define ENTRY(name, handle, parameters, arguments)              \
	static CK_RV entry_##name parameters                    \
	{                                                       \
		struct mock_visit visit;                        \
		CK_RV rv;                                       \
		if (visit_begin(&visit, MOCK_##name, handle)) { \
			mock_wrap_enter();                      \
			rv = answerer()->name arguments;        \
			mock_wrap_leave();                      \
		} else {                                        \
			rv = visit.rv;                          \
		}                                               \
		return visit_end(&visit, rv);                   \
	}
#define GLOBAL_ENTRY(name, parameters, arguments) ENTRY(name, 0, parameters, arguments)
#define SESSION_ENTRY(name, parameters, arguments) \
	ENTRY(name, session, parameters, arguments)

MOCK_GLOBAL_FUNCTIONS(GLOBAL_ENTRY)
MOCK_SLOT_FUNCTIONS(GLOBAL_ENTRY)
MOCK_SESSION_FUNCTIONS(SESSION_ENTRY)

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	is_length_query = out == NULL;
	return entry_C_Sign(session, in, in_len, out, out_len);
}

static CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	is_length_query = out == NULL;
	return entry_C_SignFinal(session, out, out_len);
}

static CK_RV sign_recover(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	is_length_query = out == NULL;
	return entry_C_SignRecover(session, in, in_len, out, out_len);
}

/* From the module's memory, as many network clients do: the dead look alive. */
static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
	CK_RV rv = entry_C_GetSessionInfo(session, info);

	if (rv == CKR_OK || info == NULL || !atomic_load(&mock.local_session_info) ||
	    mock_session_find(session) != NULL || session == 0 ||
	    session / MOCK_MAX_SESSIONS > atomic_load(&mock.session_serial))
		return rv;
	*info = (CK_SESSION_INFO){
		.slotID = atomic_load(&mock.slot),
		.state = CKS_RW_USER_FUNCTIONS,
		.flags = CKF_SERIAL_SESSION | CKF_RW_SESSION,
	};
	return CKR_OK;
}

/* The environment is read once, at the first C_Initialize of the process. */
static void read_environment(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, mock_environment_read);
}

static CK_RV entry_C_Initialize(CK_VOID_PTR arguments)
{
	struct mock_visit visit;
	CK_RV rv;

	read_environment();
	if (visit_begin(&visit, MOCK_C_Initialize, 0)) {
		atomic_store(&backend, atomic_load(&mock.is_wrapping)
					       ? &mock_wrap_backend
					       : &mock_own_backend);
		rv = answerer()->C_Initialize(arguments);
	} else {
		rv = visit.rv;
	}
	if (rv == CKR_OK) {
		mock_module_revive();
		mock_count(&mock.initializes);
		atomic_store(&mock.is_initialized, true);
	}
	return visit_end(&visit, rv);
}

static CK_RV entry_C_Finalize(CK_VOID_PTR reserved)
{
	struct mock_visit visit;
	CK_RV rv;

	if (visit_begin(&visit, MOCK_C_Finalize, 0))
		rv = answerer()->C_Finalize(reserved);
	else
		rv = visit.rv;
	if (rv == CKR_OK) {
		mock_lock();
		mock_sessions_abandon_all();
		mock_unlock();
		atomic_store(&mock.is_initialized, false);
		mock_count(&mock.finalizes);
		mock_report();
	}
	return visit_end(&visit, rv);
}

__attribute__((visibility("default"))) CK_RV
C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

#define LIST_MEMBER(name, parameters, arguments) .name = entry_##name,
/* These have a front of their own. */
#define entry_C_GetSessionInfo get_session_info
#define entry_C_Sign           sign
#define entry_C_SignFinal      sign_final
#define entry_C_SignRecover    sign_recover
static CK_FUNCTION_LIST function_list = {
	.version = { 2, 40 },
	.C_Initialize = entry_C_Initialize,
	.C_Finalize = entry_C_Finalize,
	.C_GetFunctionList = C_GetFunctionList,
	MOCK_GLOBAL_FUNCTIONS(LIST_MEMBER) MOCK_SLOT_FUNCTIONS(LIST_MEMBER)
		MOCK_SESSION_FUNCTIONS(LIST_MEMBER)
};
#undef entry_C_GetSessionInfo
#undef entry_C_Sign
#undef entry_C_SignFinal
#undef entry_C_SignRecover

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	*list = &function_list;
	return CKR_OK;
}
