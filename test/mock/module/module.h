/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mock module's inside: what its files share.
 *
 *   entry.c      the 68 entry points: count, let faults act, call the backend
 *   faults.c     failures, latency, hangs, reboots; all off the fast path
 *   script.c     the text form of the controls;  control.c  the structure of mock.h
 *   session.c    session table, login;  pin.c  the PIN and its counter
 *   token.c      slots, C_Initialize
 * C_Initialize object.c     object store;  factory.c  its keys;  find.c  object calls
 *   mechanism.c  the mechanisms;  toy.c  the toy cryptography
 *   operation.c  encrypt, decrypt, digest, sign, verify;  stream.c  their data paths
 *   keys.c       generate, wrap, unwrap, derive
 *   wrap.c, wrap_call.c  the other backend: a real module behind virtual handles
 *
 * Locking: mock.lock guards everything that says so; it is held over no call of a
 * wrapped module and no sleep. The path of an operation (C_XxxInit, C_Xxx) takes no
 * lock: it reads atomics and the session's own state. A session's record is reused
 * only when no call is inside it.
 */
#ifndef MOCK_MODULE_H
#define MOCK_MODULE_H

#include <pthread.h>
#include <stdatomic.h>
#include "../mock.h"
#include "functions.h"

#define MOCK_MAX_SESSIONS 1024 /* a power of two: the low bits of a handle */
#define MOCK_MAX_OBJECTS  4096 /* likewise */
#define MOCK_LIKELY(x)    __builtin_expect(!!(x), 1)

/* --- toy cryptography -------------------------------------------------------- */
struct toy_hash {
	uint64_t state;
	uint64_t pending;
	uint64_t len;
};
void toy_hash_begin(struct toy_hash *hash, uint64_t seed);
void toy_hash_update(struct toy_hash *hash, const uint8_t *data, size_t len);
uint64_t toy_hash_end(const struct toy_hash *hash);
uint64_t toy_hash_of(uint64_t seed, const void *data, size_t len);
/* len bytes that all depend on value. */
void toy_expand(uint64_t value, uint8_t *out, size_t len);
/* out = in xor the key stream from position on; in place allowed. */
void toy_xor(uint64_t key, uint64_t position, const uint8_t *in, uint8_t *out,
	     size_t len);

/* --- mechanisms -------------------------------------------------------------- */

/* CKM_SP800_108_COUNTER_KDF of PKCS#11 3.0. */
#define MOCK_COUNTER_KDF 0x3acUL

enum mock_family {
	MOCK_STREAM,   /* CTR */
	MOCK_BLOCK,    /* ECB, CBC */
	MOCK_PADDED,   /* CBC_PAD */
	MOCK_AEAD,     /* GCM */
	MOCK_KEY_WRAP, /* AES-KW: multiples of 8, and 8 more */
	MOCK_KEY_WRAP_PAD,
	MOCK_RSA_CIPHER, /* one block */
	MOCK_SIGN,       /* signature of fixed length */
	MOCK_MAC,
	MOCK_DIGEST,
	MOCK_GENERATE,
	MOCK_DERIVE,
};

struct mock_mechanism {
	CK_MECHANISM_TYPE type;
	enum mock_family family;
	CK_KEY_TYPE key_type;
	uint32_t size; /* digest or MAC length; overhead of an RSA block */
	CK_ULONG min, max;
	CK_FLAGS flags;
};
const struct mock_mechanism *mock_mechanism_find(CK_MECHANISM_TYPE type);
const struct mock_mechanism *mock_mechanism_at(size_t index); /* NULL past the end */

/* --- objects ----------------------------------------------------------------- */
enum {
	MOCK_TRAIT_ENCRYPT = 1u << 0,
	MOCK_TRAIT_DECRYPT = 1u << 1,
	MOCK_TRAIT_SIGN = 1u << 2,
	MOCK_TRAIT_VERIFY = 1u << 3,
	MOCK_TRAIT_SIGN_RECOVER = 1u << 4,
	MOCK_TRAIT_VERIFY_RECOVER = 1u << 5,
	MOCK_TRAIT_WRAP = 1u << 6,
	MOCK_TRAIT_UNWRAP = 1u << 7,
	MOCK_TRAIT_DERIVE = 1u << 8,
	MOCK_TRAIT_PRIVATE = 1u << 9,
	MOCK_TRAIT_TOKEN = 1u << 10,
	MOCK_TRAIT_SENSITIVE = 1u << 11,
	MOCK_TRAIT_EXTRACTABLE = 1u << 12,
	MOCK_TRAIT_ALWAYS_AUTH = 1u << 13,
	MOCK_TRAIT_MODIFIABLE = 1u << 14,
	MOCK_TRAIT_COPYABLE = 1u << 15,
	MOCK_TRAIT_DESTROYABLE = 1u << 16,
};

struct mock_attribute {
	CK_ATTRIBUTE_TYPE type;
	CK_ULONG len;
	uint8_t *data;
};

struct mock_session;

struct mock_object {
	_Atomic CK_OBJECT_HANDLE handle; /* 0: free */
	/* what operations need, read without the lock */
	_Atomic uint32_t traits;
	_Atomic CK_OBJECT_CLASS class;
	_Atomic CK_KEY_TYPE key_type;
	_Atomic uint64_t seed;  /* equal for both halves of a key pair */
	_Atomic uint32_t bytes; /* of a modulus, of a signature, of a secret */
	/* guarded by mock.lock */
	CK_SESSION_HANDLE owner; /* of a session object */
	struct mock_attribute *attributes;
	size_t count;
};

/* Usable by this application now, or NULL with the answer in *rv: invalid, or the
 * configured one for a private object without login. */
struct mock_object *mock_object_find(CK_OBJECT_HANDLE handle, CK_RV invalid, CK_RV *rv);
/* The rest: with mock.lock held. */
void mock_objects_reset(void); /* none but the token's own keys */
CK_RV mock_object_add(const struct mock_session *session, const CK_ATTRIBUTE *template,
		      CK_ULONG count, struct mock_object **out);
void mock_object_free(struct mock_object *object);
struct mock_object *mock_object_at(size_t index); /* NULL if free; < MOCK_MAX_OBJECTS */
struct mock_attribute *mock_attribute_find(const struct mock_object *object,
					   CK_ATTRIBUTE_TYPE type);
CK_RV mock_attribute_set(struct mock_object *object, CK_ATTRIBUTE_TYPE type,
			 const void *data, CK_ULONG len);
/* Bring traits and the other plain fields in line with the attributes. */
void mock_object_derive_fields(struct mock_object *object);
void mock_objects_drop_session(CK_SESSION_HANDLE owner); /* 0: every session object */
void mock_objects_log_out(void); /* private handles die, private session objects too */
void mock_objects_renumber(enum mock_handles how);
bool mock_template_bool(const CK_ATTRIBUTE *template, CK_ULONG count,
			CK_ATTRIBUTE_TYPE type, bool otherwise);
const CK_ATTRIBUTE *mock_template_find(const CK_ATTRIBUTE *template, CK_ULONG count,
				       CK_ATTRIBUTE_TYPE type);
/* Whether the session and the login allow an object with this template. */
CK_RV mock_template_allowed(const struct mock_session *session,
			    const CK_ATTRIBUTE *template, CK_ULONG count,
			    bool private_by_default);

/* --- sessions ---------------------------------------------------------------- */
enum mock_kind {
	MOCK_ENCRYPT,
	MOCK_DECRYPT,
	MOCK_DIGESTING,
	MOCK_SIGNING,
	MOCK_SIGN_RECOVER,
	MOCK_VERIFYING,
	MOCK_VERIFY_RECOVER,
	MOCK_KINDS
};

struct mock_op {
	const struct mock_mechanism *mechanism; /* stays as a hint when it is over */
	bool is_active;
	bool is_multipart;
	bool is_private;          /* a logout ends it */
	bool needs_context_login; /* and has not had it */
	uint8_t held_len;
	uint32_t key_bytes;
	uint32_t tag_len;
	uint64_t login_serial;
	uint64_t key; /* of the toy cipher: the key's seed and the parameters */
	uint64_t position;
	struct toy_hash hash;
	uint8_t held[32]; /* of a decryption: what may be tag or padding */
};

struct mock_session {
	_Alignas(64) _Atomic CK_SESSION_HANDLE handle; /* 0: none */
	_Atomic uint32_t inside;                       /* calls that use the record now */
	CK_SLOT_ID slot;
	CK_FLAGS flags;
	_Atomic CK_SESSION_HANDLE real; /* wrap mode: the wrapped module's, 0: none */
	bool is_finding;
	CK_OBJECT_HANDLE *found; /* of the search: malloc()ed */
	size_t found_count, found_next;
	struct mock_op op[MOCK_KINDS];
	/* written by the one thread that is inside, so plain adds of atomics */
	_Atomic uint64_t calls[MOCK_FUNCTION_COUNT];
};
extern struct mock_session mock_sessions[MOCK_MAX_SESSIONS];

/* With mock.lock held: */
CK_RV mock_session_add(CK_SLOT_ID slot, CK_FLAGS flags, CK_SESSION_HANDLE real,
		       CK_SESSION_HANDLE *out);
void mock_session_remove(struct mock_session *session); /* closed in order */
void mock_sessions_close_all(void);
void mock_sessions_abandon_all(void); /* by C_Finalize */
/* Each was lost by a reboot or removal; calls answer rv from now on. reuse: new ones get
 * their handles. */
void mock_sessions_kill_all(CK_RV rv, bool reuse);
void mock_login_change(uint32_t user); /* MOCK_NOBODY, CKU_USER or CKU_SO */
/* Without: */
CK_RV mock_dead_session_rv(CK_SESSION_HANDLE handle);

/* --- the user's PIN ---------------------------------------------------------- */
struct mock_pin *mock_pin(void); /* the one in force; never NULL */
void mock_pin_reset(void);       /* this process's own */
void mock_pin_fill(struct mock_pin *pin, const char *text, unsigned tries);
bool mock_pin_share(const char *path);
/* May this PIN be tried, and what came of it: the counter with its flags. */
CK_RV mock_pin_allowed(CK_USER_TYPE user);
void mock_pin_result(CK_USER_TYPE user, CK_RV rv);
CK_FLAGS mock_pin_flags(void);

#define MOCK_NOBODY UINT32_MAX

/* --- the module -------------------------------------------------------------- */
enum { /* bits of mock.armed: why a call takes the slow path */
       MOCK_ARMED_FAILURES = 1u << 0,
       MOCK_ARMED_LATENCY = 1u << 1,
       MOCK_ARMED_HANGS = 1u << 2,
       MOCK_ARMED_DEAD = 1u << 3,
       MOCK_ARMED_ABSENT = 1u << 4,
       MOCK_ARMED_TRIGGERS = 1u << 5,
       MOCK_ARMED_WATCH = 1u << 6,
};

struct mock_state {
	/* read by every call */
	_Atomic bool is_initialized;
	_Atomic bool is_wrapping;
	_Atomic uint32_t armed;
	_Atomic uint32_t user;
	_Atomic uint64_t login_serial; /* raised by each login and logout */
	_Atomic uint64_t session_serial;
	_Atomic CK_RV logged_out_rv;
	_Atomic bool leave_active;
	_Atomic bool local_session_info;
	_Atomic bool cant_lock;
	_Atomic CK_SLOT_ID slot; /* of the own token; in wrap mode: what is added */

	_Alignas(64) pthread_mutex_t lock;
	/* guarded by lock */
	CK_ULONG session_limit; /* 0: none */
	bool has_reported_limit;
	CK_ULONG reported_limit;
	char so_pin[MOCK_PIN_LEN];
	bool is_pin_set;
	char label[33];
	char serial[17];
	char report[256];
	CK_RV dead_session_rv;
	uint64_t killed_serial; /* sessions up to this one answer dead_session_rv */
	struct mock_reboot scripted_reboot;
	bool is_rebooting; /* what becomes of the handles is decided there */

	/* counters */
	_Alignas(64) _Atomic uint64_t calls[MOCK_FUNCTION_COUNT]; /* without a session */
	_Atomic uint64_t not_executed[MOCK_FUNCTION_COUNT];
	_Atomic uint64_t opened, closed, killed, abandoned, now, peak;
	_Atomic uint64_t signatures;
	_Atomic uint64_t logins_tried, logins_failed, context_logins, logouts;
	_Atomic uint64_t created, destroyed, dead_handles;
	_Atomic uint64_t session_overlaps, module_overlaps, inside, inside_peak;
	_Atomic uint64_t initializes, finalizes;
};
extern struct mock_state mock;

static inline void mock_lock(void)
{
	pthread_mutex_lock(&mock.lock);
}

static inline void mock_unlock(void)
{
	pthread_mutex_unlock(&mock.lock);
}

static inline void mock_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The live session, or NULL. */
static inline struct mock_session *mock_session_find(CK_SESSION_HANDLE handle)
{
	struct mock_session *s = &mock_sessions[handle & (MOCK_MAX_SESSIONS - 1)];

	if (MOCK_LIKELY(atomic_load_explicit(&s->handle, memory_order_acquire) ==
				handle &&
			handle != 0))
		return s;
	return NULL;
}

extern const char *const mock_function_names[MOCK_FUNCTION_COUNT];
/* MOCK_FUNCTION_COUNT for "*"; aborts on an unknown name. */
unsigned mock_function_number(const char *name);
bool mock_function_known(const char *name);
int64_t mock_now_ns(void);

/* Own backend and wrapping backend; entries without a meaning are the own ones. */
extern const CK_FUNCTION_LIST mock_own_backend;
extern CK_FUNCTION_LIST mock_wrap_backend;

/* --- faults ------------------------------------------------------------------ */
struct mock_visit {
	enum mock_function function;
	bool is_slow;
	bool is_failing_after;
	CK_SESSION_HANDLE handle;
	struct mock_session *session; /* entered, or NULL */
	CK_RV rv;
};
/* False: the call is not executed, visit->rv is its answer. */
bool mock_fault_before(struct mock_visit *visit);
CK_RV mock_fault_after(struct mock_visit *visit, CK_RV rv);
void mock_end_operation(struct mock_session *session, enum mock_function function);

void mock_faults_reset(void);
void mock_latency_set(unsigned function, int64_t ns);
void mock_failure_add(const struct mock_failure *failure);
void mock_failures_clear(void);
void mock_seed(uint64_t seed);
void mock_hang_add(unsigned function, uint64_t nth);
unsigned mock_hung(void);
void mock_release(void);
void mock_reboot(const struct mock_reboot *how);
void mock_reboot_after(uint64_t calls, bool again);
void mock_dead_after(uint64_t calls, CK_RV rv);
void mock_module_revive(void);
void mock_absent(uint64_t ns);
bool mock_is_absent(void);

/* --- script, control --------------------------------------------------------- */
bool mock_script(const char *text, char *error, size_t cap);
bool mock_rv_parse(const char *text, CK_RV *rv);
void mock_options_reset(void);
void mock_counters_get(struct mock_counters *out);
void mock_report(void);
void mock_environment_read(void);
const struct mock_control *hsmpool_mock_control(void);

/* --- wrapping ---------------------------------------------------------------- */
void mock_wrap_set(const char *path);
void mock_wrap_reboot(const struct mock_reboot *how);
void mock_wrap_log_out(void);

#endif
