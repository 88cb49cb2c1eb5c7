/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two modules, one sequence of calls, the same answers.
 *
 * A sequence is a list of abstract calls made from a seed. They name registers of
 * sessions, objects and data, never handles, so each side runs the list by itself in a
 * process of its own (worker.c) and leaves a trace of answers in shared memory; the
 * driver compares the traces. Nothing depends on what an earlier call returned: any call
 * can be dropped from a list, which is how a failing one is made short (shrink.c).
 *
 * Everything is deterministic: the randomness of the modules too is made from the number
 * of the call (random.c), so even generated keys and signatures are compared byte by
 * byte.
 */
#ifndef TEST_DIFFERENTIAL_H
#define TEST_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <p11-kit/pkcs11.h>

/* --- calls ------------------------------------------------------------------------- */

/* Registers; a number from SESSIONS on is a handle that does not exist. */
enum {
	SESSIONS = 8,
	SESSION_ZERO = SESSIONS,
	SESSION_UNKNOWN,
	SESSION_REFERENCES,
	QUIET_SESSION = SESSIONS - 1, /* finds objects again: seldom has operations */
};
enum {
	OBJECT_RSA_PUBLIC, /* on the token from the beginning, as the next ones */
	OBJECT_RSA_PRIVATE,
	OBJECT_EC_PUBLIC,
	OBJECT_EC_PRIVATE,
	OBJECT_AES,
	OBJECT_HMAC,
	OBJECT_PUBLIC_AES,
	OBJECT_DATA,
	BASE_OBJECTS,
	OBJECTS = 24,
	OBJECT_ZERO = OBJECTS,
	OBJECT_UNKNOWN,
	OBJECT_REFERENCES,
};
enum { BUFFERS = 6, BUFFER_SIZE = 8192 };
enum { SLOT_TOKEN, SLOT_FREE, SLOT_UNKNOWN, SLOT_REFERENCES };

/* What is given as input: a fixed text, or what a buffer holds. */
enum {
	INPUT_FIXED, /* one for each of input_lengths[] */
	INPUT_FIXED_COUNT = 16,
	INPUT_BUFFER = INPUT_FIXED_COUNT,
	INPUT_FIRST_HALF = INPUT_BUFFER + BUFFERS,
	INPUT_SECOND_HALF = INPUT_FIRST_HALF + BUFFERS,
	INPUT_NULL = INPUT_SECOND_HALF + BUFFERS,
	INPUT_NULL_LONG, /* no pointer, but a length */
	INPUT_REFERENCES,
};
/* Where output may go. */
enum {
	OUTPUT_LARGE,
	OUTPUT_QUERY, /* no pointer: how much will it be? */
	OUTPUT_NONE,  /* a pointer, and no room */
	OUTPUT_ONE,
	OUTPUT_SHORT, /* one less than the session last asked for */
	OUTPUT_EXACT,
	OUTPUT_NO_LENGTH, /* no pointer to the length */
	OUTPUT_REFERENCES,
};
/* Where output is kept: a buffer, or appended to it. */
enum { STORE_REPLACE, STORE_APPEND = BUFFERS, STORE_REFERENCES = 2 * BUFFERS };

struct call {
	uint32_t id; /* unique in its sequence, makes the call's randomness */
	uint8_t function;
	uint8_t slot;
	uint8_t session;
	uint8_t object;
	uint8_t object2;
	uint8_t mechanism;
	uint8_t input;
	uint8_t input2;
	uint8_t output;
	uint8_t store;
	uint8_t template;
	uint8_t template2;
	uint8_t oddity;  /* 0: as it should be; else what is wrong, by function */
	uint32_t number; /* by function: flags, user and PIN, a count... */
};

/* --- answers ----------------------------------------------------------------------- */

enum { ITEMS = 18 };

struct item {
	const char *name; /* a literal: the processes share the program */
	uint64_t value;
};

/* What a call was about, in that side's handles. Not compared, but what explanations look
 * at: registers change. */
struct subject_matter {
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE object;
	CK_OBJECT_HANDLE made[2];
	bool is_private; /* the object, before the call; of the reference only */
};

struct answer {
	CK_RV rv;
	struct subject_matter about;
	int64_t took_ns;
	uint32_t count;
	struct item items[ITEMS];
};

/* What a worker leaves behind, in shared memory; the other side's worker reads it. */
struct trace {
	_Atomic uint32_t done; /* so many answers are there */
	_Atomic bool has_parted;
	bool is_up; /* the module was loaded */
	struct answer answers[];
};

/* --- one side ---------------------------------------------------------------------- */

struct search {
	CK_OBJECT_HANDLE found[512];
	CK_ULONG count;
};

/* On the reference, with --automatic: who logs in in the pool's place. */
struct stand_in {
	bool is_there;
	uint32_t open;        /* sessions of the token */
	bool is_login_unused; /* the application has not called C_Login yet */
};

struct worker {
	CK_FUNCTION_LIST *module;
	CK_C_GetFunctionList get_function_list;
	const CK_SLOT_ID *slots;
	CK_SESSION_HANDLE sessions[SESSIONS];
	CK_OBJECT_HANDLE objects[OBJECTS];
	struct search searches[SESSIONS];
	CK_ULONG last_len[SESSIONS]; /* as of the last output */
	CK_BYTE buffers[BUFFERS][BUFFER_SIZE];
	CK_ULONG buffer_len[BUFFERS];
	CK_BYTE out[BUFFER_SIZE];
	struct stand_in stand_in;
};

/* What a function takes, for reports and for the generator. */
enum {
	USES_SLOT = 1 << 0,
	USES_SESSION = 1 << 1,
	USES_OBJECT = 1 << 2,
	USES_OBJECT2 = 1 << 3,
	USES_MECHANISM = 1 << 4,
	USES_INPUT = 1 << 5,
	USES_INPUT2 = 1 << 6,
	USES_OUTPUT = 1 << 7,
	USES_STORE_BUFFER = 1 << 8,
	USES_STORE_OBJECT = 1 << 9,
	USES_TEMPLATE = 1 << 10,
	USES_TEMPLATE2 = 1 << 11,
	USES_NUMBER = 1 << 12,
	IS_DRASTIC = 1 << 13, /* ends sessions, logins or more: not at random */
	IS_ADMIN = 1 << 14,
};

struct function {
	const char *name;
	size_t offset; /* in CK_FUNCTION_LIST */
	unsigned uses;
	unsigned weight; /* as a stray call */
	CK_RV (*run)(struct worker *w, const struct call *call, struct answer *answer);
};

/* One per function of PKCS#11 2.40, in its order. */
enum {
	FUNCTION_COUNT = 68,
};
extern const struct function functions[FUNCTION_COUNT];
/* Its number; the program ends if there is none. */
uint8_t function_named(const char *name);

/* The vendor's function, of the call's shape. */
#define MODULE_FUNCTION(w, call, type) \
	(*(type *)((char *)(w)->module + functions[(call)->function].offset))

/* --- arguments.c ------------------------------------------------------------------- */

extern const CK_ULONG input_lengths[INPUT_FIXED_COUNT];

CK_SESSION_HANDLE session_of(const struct worker *w, const struct call *call);
CK_OBJECT_HANDLE object_of(const struct worker *w, uint8_t object);
CK_SLOT_ID slot_of(const struct worker *w, const struct call *call);

/* stand_in.c: what became of the sessions. */
void stand_in_opened(struct worker *w, CK_SESSION_HANDLE session);
void stand_in_closed(struct worker *w, uint32_t sessions);
/* Instead of C_Login for the user. */
CK_RV stand_in_login(struct worker *w, CK_SESSION_HANDLE session, CK_BYTE *pin,
		     CK_ULONG pin_len);

struct input {
	CK_BYTE *data;
	CK_ULONG len;
};
struct input input_of(struct worker *w, uint8_t input);

/* Output of a call: first where it goes, then what came. */
struct output {
	CK_BYTE *data;
	CK_ULONG len;
	CK_ULONG *len_pointer;
	CK_ULONG room;
};
struct output output_of(struct worker *w, const struct call *call);
void output_came(struct worker *w, const struct call *call, const struct output *output,
		 CK_RV rv, struct answer *answer);

void note(struct answer *answer, const char *name, uint64_t value);
void note_bytes(struct answer *answer, const char *name, const void *data, size_t len);
uint64_t hash_bytes(const void *data, size_t len);

/* --- mechanisms.c, templates.c ----------------------------------------------------- */

enum family {
	FAMILY_CIPHER = 1 << 0,
	FAMILY_SIGN = 1 << 1,
	FAMILY_DIGEST = 1 << 2,
	FAMILY_GENERATE = 1 << 3,
	FAMILY_GENERATE_PAIR = 1 << 4,
	FAMILY_WRAP = 1 << 5,
	FAMILY_DERIVE = 1 << 6,
	FAMILY_BAD = 1 << 7,
};
struct mechanism_row {
	const char *name;
	CK_MECHANISM_TYPE type;
	unsigned families;
	uint8_t key;     /* to sign, decrypt, unwrap, derive with */
	uint8_t partner; /* to verify, encrypt, wrap with */
	bool is_multipart;
	void (*fill)(CK_MECHANISM *mechanism);
};
extern const struct mechanism_row mechanism_rows[];
extern const uint8_t mechanism_count;
/* The call's mechanism, its parameters in memory that is overwritten by the next. */
CK_MECHANISM *mechanism_of(const struct call *call);
/* What a program may do after a C_XInit: use the memory of the parameters again. */
void mechanism_memory_reuse(void);

/* Templates of objects. The upper bits of a template's number are variations. */
enum { ATTRIBUTES = 24 };
struct template
{
	CK_ATTRIBUTE attributes[ATTRIBUTES];
	CK_ULONG count;
};
enum {
	TEMPLATE_AES,
	TEMPLATE_GENERIC,
	TEMPLATE_DATA,
	TEMPLATE_EC_PUBLIC,
	TEMPLATE_EC_PRIVATE,
	TEMPLATE_RSA_PUBLIC,
	TEMPLATE_CERTIFICATE,
	TEMPLATE_EMPTY,
	TEMPLATE_KINDS,
	TEMPLATE_IS_TOKEN = 1 << 3,
	TEMPLATE_IS_PRIVATE = 1 << 4,
	TEMPLATE_IS_SENSITIVE = 1 << 5,
	TEMPLATE_IS_FIXED = 1 << 6, /* not modifiable */
	TEMPLATE_IS_ODD = 1 << 7,   /* one attribute is wrong, chosen by the number */
};
/* purpose: an object with its value, or what a key is generated, unwrapped, derived
 * with. */
enum purpose { FOR_CREATE, FOR_KEY, FOR_PUBLIC_HALF, FOR_PRIVATE_HALF, FOR_COPY };
void template_make(struct template *t, enum purpose purpose, uint8_t choice,
		   const struct call *call);
/* What to search for: the base object of that number, or by class, or all. */
enum { SEARCH_ALL = BASE_OBJECTS, SEARCH_CHOICES = BASE_OBJECTS + 8 };
void template_for_search(struct template *t, const struct call *call);
/* Lists of attributes to read or change. */
void template_to_read(struct template *t, const struct call *call);
void template_to_change(struct template *t, const struct call *call);

/* --- the functions' runners, by family --------------------------------------------- */

typedef CK_RV runner(struct worker *w, const struct call *call, struct answer *answer);

/* run_module.c */
runner run_initialize, run_finalize, run_get_info, run_get_function_list,
	run_get_slot_list, run_get_slot_info, run_get_token_info, run_get_mechanism_list,
	run_get_mechanism_info, run_wait_for_slot_event;
/* run_session.c */
runner run_init_token, run_init_pin, run_set_pin, run_open_session, run_close_all,
	run_get_session_info, run_login, run_close_session, run_logout, run_session_only,
	run_set_operation_state;
/* run_data.c: by shape */
runner run_init, run_digest_init, run_in_out, run_in, run_out, run_verify,
	run_verify_final, run_digest_key, run_generate_random;
/* run_object.c */
runner run_create_object, run_copy_object, run_destroy_object, run_get_object_size,
	run_get_attributes, run_set_attributes, run_find_init, run_find;
/* run_key.c */
runner run_generate_key, run_generate_pair, run_wrap, run_unwrap, run_derive;

/* --- random.c ---------------------------------------------------------------------- */

/* OpenSSL's randomness in this process comes from here from now on. */
void random_take_over(void);
/* This thread's next random bytes are those of call id. */
void random_restart(uint32_t id);

struct dice {
	uint64_t state;
};
uint64_t dice_next(struct dice *dice);
uint32_t dice_below(struct dice *dice, uint32_t bound);
bool dice_percent(struct dice *dice, unsigned percent);

/* --- the driver -------------------------------------------------------------------- */

struct sequence {
	struct call *calls;
	uint32_t count;
	uint32_t cap;
};
void sequence_add(struct sequence *sequence, const struct call *call);
void sequence_free(struct sequence *sequence);

struct options {
	uint64_t seed;
	uint32_t calls;
	uint32_t seeds;
	unsigned seconds;  /* 0: no limit */
	uint32_t sessions; /* max-sessions; 0: by the seed */
	bool is_admin;     /* administrative calls too, [proxy] admin = yes */
	bool is_automatic; /* [proxy] login = automatic */
	bool is_watched;   /* audit, metrics-file, a [policy] */
	bool is_verbose;
	bool shows_crashes;
	const char *reference; /* modules */
	const char *subject;
	const char *alter; /* a function whose answers of the subject are altered */
};
extern struct options options;

/* generate.c */
void generate(struct sequence *sequence, uint64_t seed, uint32_t count);
/* How every sequence begins: initialise, open, log in, find the base objects. */
void generate_beginning(struct sequence *sequence, uint32_t first_id);

/* ground.c: tokens, configurations, folders */
enum side { SIDE_REFERENCE, SIDE_SUBJECT };
void ground_make(void);
void ground_remove(void);
/* max-sessions of the subject from now on. */
void ground_bound(uint32_t sessions);
extern uint32_t ground_sessions;
/* A fresh copy of the token for that side. */
void ground_renew(enum side side);
/* For the process that is that side: environment and error output. */
void ground_enter(enum side side);
extern CK_SLOT_ID ground_slots[SLOT_REFERENCES];

/* worker.c: run the calls in this process, which then ends. Where the two sides have
 * parted neither goes on. */
_Noreturn void worker_run(enum side side, const struct sequence *sequence,
			  struct trace *const traces[2]);

/* compare.c: run both sides. */
enum finding {
	FOUND_NOTHING,
	FOUND_DIFFERENCE,
	FOUND_CRASH,           /* of the subject; the reference goes on */
	FOUND_HANG,            /* of the subject */
	FOUND_REFERENCE_CRASH, /* of the reference: nothing to compare with after it */
	FOUND_BOTH_CRASH,      /* below the subject, in the same module */
	FOUND_PARTING,         /* explained, but nothing after it can be compared */
};
struct explanation;
struct comparison {
	enum finding finding;
	uint32_t at; /* the call's index */
	struct answer reference;
	struct answer subject;
	const struct explanation *why; /* of the parting, if it is a difference */
	uint32_t explained;
};
struct comparison compare(const struct sequence *sequence);
/* What there is to be said of one call's answers; *why: if they differ and it is known.
 */
struct moment;
enum finding judge(const struct moment *moment, const struct explanation **why);
/* All answers of the last comparison. */
const struct answer *compare_answers(enum side side);
bool finding_is_failure(enum finding finding);
const char *finding_text(enum finding finding);

/* explained.c: why the answers to a call may differ; NULL: they may not. */
struct moment {
	const struct sequence *sequence;
	const struct answer *references; /* to all calls until at */
	const struct answer *subjects;
	uint32_t at;
};
struct explanation {
	const char *functions; /* the beginning of their names */
	CK_RV reference;
	CK_RV subject;
	bool (*holds)(const struct moment *moment); /* NULL: always */
	bool parts_ways;                            /* what follows cannot be compared */
	const char *title;                          /* as in docs/proxy.md */
};
const struct explanation *explained(const struct moment *moment);
/* How often each was needed. */
void explained_count(const struct explanation *why);
void explained_print(void);
/* The call left something in the reference that nothing can be compared with. */
bool leaves_rubbish(const struct moment *moment);

/* shrink.c: drop calls while the finding stays. */
void shrink(struct sequence *sequence, struct comparison *comparison);

/* print.c */
void print_call(FILE *f, const struct call *call);
void print_code(FILE *f, CK_RV rv);
void print_answer(FILE *f, const struct answer *answer);

#endif
