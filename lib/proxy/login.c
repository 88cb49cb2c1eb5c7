/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_Login and C_Logout.
 *
 * login = application: the token's own login mirrors the application's. Every call goes
 * to a real session and is answered there: wrong PINs, their counter, who is logged in
 * already. login = automatic: the pool logs in by itself; C_Login is answered here from
 * the PIN that the pool knows, so that no wrong one ever reaches the token.
 *
 * Who emulates logins of several clients would do it in this file. Locks: slot->change
 * over the whole call, then the virtual session's.
 */
#include "proxy/login.h"

#include "observe/log.h"
#include "proxy/calls.h"
#include "proxy/object.h"
#include "proxy/operation.h"
#include "proxy/process.h"

bool hp_login_allows_admin(void)
{
	/* The module's other users in this process would notice. */
	return hp_proxy_options()->admin && hp_proxy_module()->is_ours;
}

/* --- on a real session -------------------------------------------------------------- */

struct login {
	CK_USER_TYPE user;
	const CK_BYTE *pin;
	CK_ULONG pin_len;
	bool is_submitted;
};

/* A PIN is given to the token once for each call of the application's. That the session
 * was dead already is no try, if the token bears it out. */
static CK_RV run_login(struct hp_session *s, void *user)
{
	struct login *login = user;
	CK_RV rv = hp_pool_login_as(s, login->user, login->pin, login->pin_len);
	bool is_dead = hp_rv_class(&s->module->overrides, rv) == HP_RV_SESSION_DEAD;
	login->is_submitted = !is_dead || !hp_pool_was_no_try_spent(s, login->user);
	return rv;
}

static CK_RV run_logout(struct hp_session *s, void *user)
{
	(void)user;
	return hp_pool_logout(s);
}

/* The token is logged in from before, because a logout could not reach it. */
static CK_RV run_fresh_login(struct hp_session *s, void *user)
{
	CK_RV rv = hp_pool_logout(s);
	return rv == CKR_OK ? run_login(s, user) : rv;
}

static CK_RV run_login_again(struct hp_session *s, void *user)
{
	hsmpool_error err;
	(void)user;
	hsmpool_status status = hp_pool_login_again(s, &err);
	return hp_proxy_answer(status, &err);
}

static CK_RV log_in_for_real(struct hp_vsession *vs, struct login *login)
{
	return hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_Login,
					.want = HP_WANT_BESIDE,
					.run = run_login,
					.user = login,
					.is_submitted = &login->is_submitted });
}

/* A PIN that was refused after a loss is the pool's affair: the application's own reaches
 * the token. */
static CK_RV log_in_past_latch(struct hp_vsession *vs, struct login *login)
{
	CK_RV rv = CKR_USER_NOT_LOGGED_IN;
	for (unsigned tries = 0; tries < 2 && rv == CKR_USER_NOT_LOGGED_IN; tries++) {
		if (hp_pool_forget_latched(vs->pool))
			hp_vslot_set_login(vs->slot, HP_VLOGIN_PUBLIC);
		rv = log_in_for_real(vs, login);
	}
	return rv;
}

static CK_RV log_out_for_real(struct hp_vsession *vs)
{
	return hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_Logout,
							  .want = HP_WANT_BESIDE,
							  .run = run_logout });
}

static CK_RV log_in_again(struct hp_vsession *vs)
{
	return hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_Login,
							  .run = run_login_again });
}

/* A use, though the application did not ask for it by name. No logout is kept from
 * happening because it cannot be recorded. */
static CK_RV run_last_logout(struct hp_session *s, void *user)
{
	struct hp_use use = { .pool = hp_pool_of(s),
			      .function = "C_Logout",
			      .kind = HP_USE_LOGIN };
	hp_use_begin_for(&use);
	CK_RV rv = run_logout(s, user);
	hp_use_end(&use, rv, HSMPOOL_OK, 0);
	return rv;
}

/* Without a virtual session. */
static CK_RV on_any_session(hsmpool *pool, const char *tag,
			    CK_RV (*run)(struct hp_session *, void *))
{
	struct hp_session *s;
	hsmpool_error err;
	hsmpool_status status =
		hp_pool_borrow(pool, HP_WANT_ANY, tag, HSMPOOL_DEFAULT, &s, &err);
	if (status != HSMPOOL_OK)
		return hp_proxy_answer(status, &err);
	CK_RV rv = run(s, NULL);
	hp_pool_return(s, rv);
	return rv;
}

/* --- C_Login ------------------------------------------------------------------------ */

/* Rules of the SO that hold for virtual sessions; real ones are all read-write. */
static CK_RV check_so(const struct hp_vslot *slot, const struct login *login)
{
	if (!hp_login_allows_admin())
		return CKR_ACTION_PROHIBITED;
	return login->pin && slot->read_only > 0 ? CKR_SESSION_READ_ONLY_EXISTS : CKR_OK;
}

static enum hp_vlogin vlogin_of(CK_USER_TYPE user)
{
	return user == CKU_SO ? HP_VLOGIN_SO : HP_VLOGIN_USER;
}

static CK_RV log_in(struct hp_vsession *vs, struct login *login)
{
	struct hp_vslot *slot = vs->slot;
	CK_RV rv = log_in_past_latch(vs, login);
	bool is_left_over = rv == CKR_USER_ALREADY_LOGGED_IN &&
			    hp_vslot_login(slot) == HP_VLOGIN_PUBLIC;
	if (is_left_over && hp_proxy_module()->is_ours)
		rv = hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_Login,
								.run = run_fresh_login,
								.user = login });
	/* Where others use the module too, it was never logged out. */
	if (rv == CKR_OK || is_left_over)
		hp_vslot_set_login(slot, vlogin_of(login->user));
	return rv;
}

/* Nobody has used the login that is there: the SO may have its place. */
static CK_RV log_in_so_automatically(struct hp_vsession *vs, struct login *login)
{
	struct hp_vslot *slot = vs->slot;
	bool is_unused = hp_vslot_login(slot) == HP_VLOGIN_USER && !slot->has_logged_in;
	CK_RV rv = is_unused ? log_out_for_real(vs) : CKR_OK;
	if (rv == CKR_OK)
		rv = log_in(vs, login);
	if (rv != CKR_OK && is_unused)
		log_in_again(vs);
	return rv;
}

/* The application may give the PIN, or none at all. */
static CK_RV log_in_user_automatically(struct hp_vsession *vs, struct login *login)
{
	struct hp_vslot *slot = vs->slot;
	enum hp_vlogin before = hp_vslot_login(slot);
	if (before == HP_VLOGIN_SO)
		return log_in_for_real(vs, login);
	if (before == HP_VLOGIN_USER && slot->has_logged_in)
		return CKR_USER_ALREADY_LOGGED_IN;
	bool gives_pin = login->pin && login->pin_len > 0;
	if (gives_pin && !hp_pool_knows_pin(vs->pool, login->pin, login->pin_len))
		return CKR_PIN_INCORRECT;
	CK_RV rv = before == HP_VLOGIN_PUBLIC ? log_in_again(vs) : CKR_OK;
	if (rv != CKR_OK)
		return rv;
	hp_vslot_set_login(slot, HP_VLOGIN_USER);
	slot->has_logged_in = true;
	return CKR_OK;
}

static CK_RV log_in_as_configured(struct hp_vsession *vs, struct login *login)
{
	CK_RV rv = login->user == CKU_SO ? check_so(vs->slot, login) : CKR_OK;
	if (rv != CKR_OK)
		return rv;
	if (!hp_proxy_logs_in_automatically())
		return log_in(vs, login);
	if (login->user == CKU_SO)
		return log_in_so_automatically(vs, login);
	if (login->user == CKU_USER)
		return log_in_user_automatically(vs, login);
	return log_in_for_real(vs, login); /* no such user: the module says so */
}

/* The application's call, whatever it takes, as one use. */
static CK_RV log_in_as_use(struct hp_vsession *vs, struct login *login)
{
	struct hp_use use = hp_use_describe(vs, "C_Login", NULL);
	use.kind = HP_USE_LOGIN;
	CK_RV rv = hp_use_begin_for(&use);
	if (rv != CKR_OK)
		return rv;
	rv = login->user == CKU_CONTEXT_SPECIFIC
		     ? hp_operation_context_login(vs, login->pin, login->pin_len)
		     : log_in_as_configured(vs, login);
	hp_use_end(&use, rv, HSMPOOL_OK, 0);
	return rv;
}

static CK_RV log_in_for_one_use(CK_SESSION_HANDLE session, struct login *login)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_session_login_bytes(&none, login->user, login->pin,
					      login->pin_len);
	}
	CK_RV rv = log_in_as_use(vs, login);
	hp_vsession_give(vs);
	return rv;
}

CK_RV hp_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin,
		 CK_ULONG pin_len)
{
	struct login login = { .user = user, .pin = pin, .pin_len = pin_len };
	if (user == CKU_CONTEXT_SPECIFIC)
		return log_in_for_one_use(session, &login);
	struct hp_vsession *vs = hp_vsession_take_to_change(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_session_login_bytes(&none, user, pin, pin_len);
	}
	CK_RV rv = log_in_as_use(vs, &login);
	hp_vsession_give_changed(vs);
	return rv;
}

/* --- C_Logout ----------------------------------------------------------------------- */

static CK_RV log_out(struct hp_vsession *vs)
{
	struct hp_vslot *slot = vs->slot;
	CK_RV rv = CKR_OK;
	hp_pool_forget_latched(vs->pool);
	/* The module's other users in this process rely on the login. */
	if (hp_proxy_module()->is_ours)
		rv = log_out_for_real(vs);
	if (rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN)
		return rv;
	hp_vslot_set_login(slot, HP_VLOGIN_PUBLIC);
	slot->has_logged_in = false;
	hp_objects_forget_private(slot);
	return rv;
}

static CK_RV log_out_as_use(struct hp_vsession *vs)
{
	struct hp_use use = hp_use_describe(vs, "C_Logout", NULL);
	use.kind = HP_USE_LOGIN;
	hp_pool_finish_chore(vs->pool);
	hp_use_begin_for(&use);
	CK_RV rv = log_out(vs);
	hp_use_end(&use, rv, HSMPOOL_OK, 0);
	return rv;
}

CK_RV hp_C_Logout(CK_SESSION_HANDLE session)
{
	struct hp_vsession *vs = hp_vsession_take_to_change(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_session_logout(&none);
	}
	CK_RV rv = log_out_as_use(vs);
	hp_vsession_give_changed(vs);
	return rv;
}

/* --- first and last session --------------------------------------------------------- */

CK_RV hp_login_at_first_session(struct hp_vslot *slot, hsmpool *pool)
{
	if (!hp_proxy_logs_in_automatically() || hp_vslot_login(slot) == HP_VLOGIN_USER)
		return CKR_OK;
	CK_RV rv = on_any_session(pool, "C_OpenSession", run_login_again);
	if (rv == CKR_OK)
		hp_vslot_set_login(slot, HP_VLOGIN_USER);
	return rv == CKR_USER_NOT_LOGGED_IN ? CKR_FUNCTION_FAILED : rv;
}

void hp_login_end(struct hp_vslot *slot, hsmpool *pool)
{
	enum hp_vlogin login = hp_vslot_login(slot);
	slot->has_logged_in = false;
	bool is_kept = login == HP_VLOGIN_PUBLIC || !hp_proxy_module()->is_ours ||
		       (hp_proxy_logs_in_automatically() && login == HP_VLOGIN_USER);
	if (is_kept)
		return;
	hp_pool_finish_chore(pool);
	CK_RV rv = on_any_session(pool, "last C_CloseSession", run_last_logout);
	bool has_failed = rv != CKR_OK && rv != CKR_USER_NOT_LOGGED_IN;
	if (has_failed && !hp_proxy_is_ending()) { /* C_Finalize logs out, too */
		HP_LOG(WARNING, "logout-failed",
		       "the application's last session is closed, but the token could "
		       "not be told");
		hp_pool_forget_login(pool);
	}
	hp_vslot_set_login(slot, HP_VLOGIN_PUBLIC);
}
