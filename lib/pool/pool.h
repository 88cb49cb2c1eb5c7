/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool as the rooms above use it: borrow a session, give it back with a verdict.
 *
 * A borrowed hp_session is the borrower's alone until it is returned. The pool makes
 * no module call, callback, log line or allocation under its lock. It knows no
 * mechanism: the canary probe is a function that lib/crypto hands in.
 */
#ifndef HP_POOL_POOL_H
#define HP_POOL_POOL_H

#include <hsmpool/pool.h>
#include "config/options.h"
#include "observe/audit.h"
#include "p11/session.h"
#include "p11/token.h"

/* What kind of session the borrower needs. */
enum hp_want {
	HP_WANT_ANY,        /* read-only is enough */
	HP_WANT_READ_WRITE, /* creates, changes or destroys token objects */
	HP_WANT_ANCHOR, /* the one that is never retired: makes lasting session objects */
	HP_WANT_CLEAN,  /* a raw borrow: no operation may be left active on it */
	HP_WANT_CLEAN_READ_WRITE,
	/* It may have to be closed to end what was begun on it (a signature in parts):
	 * none that owns session objects, which others are using. */
	HP_WANT_APART,
	/* For one call that leaves alone what is active on the session: also one that is
	 * attached, as it is, whoever it belongs to. Its owner waits for it, and finds it
	 * as it was. */
	HP_WANT_BESIDE,
};

/*
 * Borrow. Waits until deadline (HSMPOOL_DEFAULT: borrow-timeout). Logs in, opens,
 * validates as needed: a session that is lent is alive as far as the rules of
 * validate-after tell, logged in, and of the pool's generation (session->generation).
 * tag: static string, for leak warnings and for errors. May be called by a thread that
 * holds no other session of this pool only.
 */
hsmpool_status hp_pool_borrow(hsmpool *pool, enum hp_want want, const char *tag,
			      hsmpool_deadline deadline, struct hp_session **out,
			      hsmpool_error *err);

/* The same, and after a failure that was met inside the pool the pool is held, as by
 * hp_pool_hold(): *is_held says. */
hsmpool_status hp_pool_borrow_or_hold(hsmpool *pool, enum hp_want want, const char *tag,
				      hsmpool_deadline deadline, struct hp_session **out,
				      bool *is_held, hsmpool_error *err);

/*
 * Give back after a call on it answered rv (CKR_OK: all went well), judged by the
 * class table: kept, cleaned, replaced or dropped; on a loss of session, login or token
 * the pool's generation rises, so that the next borrower finds, logs in or opens anew.
 *
 * Returns the class to act on, which may differ from the table's: STALE_HANDLE with
 * the login gone is LOGIN_LOST; LOGIN_LOST with the login in place is CALLER (the key
 * wants a context-specific login). Makes module calls (probe, clean, close) on the
 * session before it is given back, so *its caller must already have what it needs*.
 */
enum hp_rv_class hp_pool_return(struct hp_session *session, CK_RV rv);

/* What hp_pool_return() would make of rv, the session kept. May ask the session. */
enum hp_rv_class hp_pool_judge(struct hp_session *session, CK_RV rv);

/* A light look at a borrowed session, before something that is done once at most: does it
 * live, and is it logged in as it should be? */
CK_RV hp_pool_look(struct hp_session *session);

/*
 * The same where no failure may take longer to answer than another (it would tell what
 * was wrong with a ciphertext): a catch-all code is taken for the caller's fault, unless
 * a loss was noticed meanwhile, and the session is probed before anybody else gets it.
 */
enum hp_rv_class hp_pool_return_unprobed(struct hp_session *session, CK_RV rv);

/* Until hp_pool_let_go() the pool is not freed, also by who holds no session of it. */
void hp_pool_hold(hsmpool *pool);
void hp_pool_let_go(hsmpool *pool);

/* Give back with a plain verdict (raw borrow, aborted multi-part). */
void hp_pool_return_verdict(struct hp_session *session, hsmpool_verdict verdict);

/*
 * Attached sessions: between two calls of a multi-part operation nobody uses the session
 * that it runs on. Its owner leaves it attached-idle and takes it up again at its next
 * call; meanwhile whoever finds no other session may take it away, and gets it cleaned,
 * or visits it (HP_WANT_BESIDE). A session that owns session objects and could be cleaned
 * by closing only is kept like that, for visitors, until the objects are gone.
 */
struct hp_lease {
	struct hsmpool_session *entry; /* NULL: nothing is attached */
	uint64_t ticket;
};

/* Leave it. pinned_until_ns: not to be taken away before that time (0: soon). *lease
 * is what takes it up again. If someone waits for a session it is theirs after a moment
 * in which the owner may come back, or at once when this thread borrows another. */
void hp_pool_leave_attached(struct hp_session *session, int64_t pinned_until_ns,
			    struct hp_lease *lease);

/* Take it up: the session, borrowed again, or NULL: it was taken away, or it died. Clears
 * *lease. Makes no module call; waits for a visitor that is in one. */
struct hp_session *hp_pool_take_up(hsmpool *pool, struct hp_lease *lease,
				   const char *tag);

hsmpool *hp_pool_of(const struct hp_session *session);
const struct hp_pool_options *hp_pool_options(const hsmpool *pool);

/* The trail of its uses; NULL: there is none. */
struct hp_audit *hp_pool_audit(const hsmpool *pool);

/* Whether sessions should be logged in, as of the generation (which may be NULL). */
bool hp_pool_expects_login(hsmpool *pool, uint64_t *generation);

/* Is the session still this opening of it (hp_session_opening()), and alive as of the
 * pool's generation? An idle one is asked; for one that is in use it waits, briefly. */
bool hp_pool_confirm(struct hp_session *session, uint32_t opening);

/* The pool's generation now: a cached handle of another one is stale. */
#define HP_FIRST_GENERATION 1u
uint64_t hp_pool_generation(const hsmpool *pool);

/* Was anything lost since it was the pool's generation? What failed meanwhile may have
 * failed for that. */
bool hp_pool_has_lost_since(hsmpool *pool, uint64_t generation);
uint64_t hp_pool_whole_since(hsmpool *pool);

/*
 * Does what was found in generation from (a handle) hold in generation to? A generation
 * may begin with a session that was opened when no older one could be asked whether the
 * HSM was restarted meanwhile; it goes on with the ones before it as soon as such a one
 * proves to be alive. An idle one is asked; for those in use it waits if may_wait.
 */
bool hp_pool_carries(hsmpool *pool, uint64_t from, uint64_t to, bool may_wait);

/* A copy of what is known of the token (slot, CK_TOKEN_INFO); module is the pool's. */
void hp_pool_token(hsmpool *pool, struct hp_token *out);

/* The token may not be in its slot any more: find where it is. True: it is elsewhere. */
bool hp_pool_follow_token(hsmpool *pool);

/* "none", "out", "running", "in", "latched": whether its sessions are logged in. */
const char *hp_pool_login_word(hsmpool *pool);

/* No session is lent until hsmpool_resume(); the keeper closes the idle ones. Does not
 * wait. */
void hp_pool_begin_pause(hsmpool *pool);

/* The absolute deadline that the caller's stands for. */
int64_t hp_pool_deadline(const hsmpool *pool, hsmpool_deadline deadline);

/*
 * Context-specific login on a borrowed session, between Init and the operation, with
 * the pool's PIN. A refused PIN latches the pool.
 */
hsmpool_status hp_pool_context_login(struct hp_session *session, hsmpool_error *err);

/* An operation was begun again after a loss. */
void hp_pool_count_retry(hsmpool *pool, CK_RV rv);

/*
 * The canary: run by the prober on an idle session when probe = canary. Set once by
 * lib/crypto when the pool opens; user is freed by release at close.
 */
typedef CK_RV (*hp_canary_fn)(void *user, struct hp_session *session);
void hp_pool_set_canary(hsmpool *pool, hp_canary_fn fn, void *user,
			void (*release)(void *user));

/*
 * The chore: what a room above wants done with the pool in the background. The prober
 * does it; with keeper = no whoever returns a session. Set once, when the pool opens.
 */
struct hp_chore {
	int64_t interval_ns;        /* how often it is looked at */
	bool (*is_due)(void *user); /* is there anything to do? Makes no module call */
	/* Do it. Sessions are borrowed until deadline_ns at most, and failures are its
	 * own affair. One at a time. */
	void (*run)(void *user, int64_t deadline_ns);
	void (*release)(void *user); /* at close; also in a forked child */
	void *user;
};
void hp_pool_set_chore(hsmpool *pool, const struct hp_chore *chore);

/* Do it now if it is due, and wait for that, 2 s at most: before sessions or login are
 * given up. hsmpool_close() begins with it. pool may be NULL. */
void hp_pool_finish_chore(hsmpool *pool);

/* lib/crypto's own data of a pool (named keys, mechanism facts), freed by release at
 * close. NULL until set. */
void hp_pool_set_attachment(hsmpool *pool, void *attachment,
			    void (*release)(void *attachment));
void *hp_pool_attachment(const hsmpool *pool);

/* Fails with FORKED or CLOSED. */
hsmpool_status hp_pool_check_usable(const hsmpool *pool, hsmpool_error *err);

/*
 * A login that the application performs itself: C_Login and C_Logout on a borrowed
 * session. After CKR_OK the pool keeps user type and PIN, in locked memory, and logs in
 * again by itself after a loss; a logout forgets them. While a logout is under way nobody
 * logs in again. The CK_RV is the module's, untouched.
 */
CK_RV hp_pool_login_as(struct hp_session *session, CK_USER_TYPE user, const CK_BYTE *pin,
		       CK_ULONG pin_len);

/* Whether a login that failed for another reason than its PIN cost no try, as far as the
 * token tells: it marks a counter that is not full. */
bool hp_pool_was_no_try_spent(struct hp_session *session, CK_USER_TYPE user);
CK_RV hp_pool_logout(struct hp_session *session);

/* Without a session at hand: the login is not to be repeated. True if it was latched:
 * its PIN had been refused after a loss, so the application's is the next to be tried. */
bool hp_pool_forget_login(hsmpool *pool);
bool hp_pool_forget_latched(hsmpool *pool);

/* With a pin-source: log in with it after a logout. */
hsmpool_status hp_pool_login_again(struct hp_session *session, hsmpool_error *err);
/* With a pin-source: whether pin is the user's. The token is not asked. */
bool hp_pool_knows_pin(hsmpool *pool, const CK_BYTE *pin, CK_ULONG pin_len);

/* The application changed user's PIN: from now on the pool uses the new one, if it used
 * the old one. pin NULL: it is not known, so there is none until the application logs in
 * or the source is read. */
void hp_pool_pin_changed(hsmpool *pool, CK_USER_TYPE user, const CK_BYTE *pin,
			 CK_ULONG pin_len);

/* No session is lent any more; who waits for one gets HSMPOOL_ERR_CLOSED. To be followed
 * by hsmpool_close(), when everyone has left. */
void hp_pool_shut(hsmpool *pool);

/* A pool on a slot, for the proxy; options->token is not used. err->ck_rv says what the
 * module answered. */
hsmpool_status hp_pool_open_slot(hsmpool **out, const struct hp_pool_options *options,
				 CK_SLOT_ID slot, hsmpool_deadline deadline,
				 hsmpool_error *err);

/* The floor-2 half of hsmpool_open(): all but the canary and the named keys. */
hsmpool_status hp_pool_open(hsmpool **out, const struct hp_pool_options *options,
			    hsmpool_deadline deadline, hsmpool_error *err);

#endif
