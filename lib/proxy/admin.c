/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_InitToken, C_InitPIN, C_SetPIN: for applications that are allowed to ([proxy] admin).
 *
 * They succeed exactly when they would on the module: the application's sessions count,
 * the pool's own do not and are closed where they would be in the way. What is not
 * allowed is refused before the module hears of it.
 */
#include "observe/log.h"
#include "p11/slot.h"
#include "p11/token.h"
#include "pool/use.h"
#include "proxy/calls.h"
#include "proxy/choice.h"
#include "proxy/login.h"
#include "proxy/operation.h"
#include "proxy/process.h"

/* --- C_InitToken -------------------------------------------------------------------- */

static CK_RV init_token(struct hp_vslot *slot, CK_BYTE *pin, CK_ULONG pin_len,
			CK_BYTE *label)
{
	/* Ended ones too, as long as a call is still inside. */
	if (slot->sessions > 0 || atomic_load(&slot->alive) > 0)
		return CKR_SESSION_EXISTS;
	hp_vslot_drop_pool(slot);
	return hp_slot_init_token(hp_proxy_module(), hp_vslot_real_id(slot), pin, pin_len,
				  label);
}

/* There is no pool to ask or to tell, and the token's label is the one it gets. */
static CK_RV init_token_as_use(struct hp_vslot *slot, CK_BYTE *pin, CK_ULONG pin_len,
			       CK_BYTE *label)
{
	const struct hp_pool_options *options = hp_choice_of(hp_vslot_real_id(slot));
	struct hp_token token = { .module = hp_proxy_module(),
				  .slot = hp_vslot_real_id(slot) };
	struct hp_bare_use use;
	hsmpool_error err;
	char name[33] = "";
	if (!options)
		return init_token(slot, pin, pin_len, label);
	if (label)
		hp_token_text(label, sizeof(name) - 1, name);
	CK_RV rv = hp_token_refresh(&token);
	if (rv != CKR_OK)
		return rv;
	hsmpool_status status =
		hp_bare_use_begin(&use, options, "C_InitToken", &token, name, &err);
	if (status != HSMPOOL_OK) {
		HP_LOG(ERROR, "token-not-initialised", "%s", err.text);
		return hp_use_refusal(status, &err);
	}
	rv = init_token(slot, pin, pin_len, label);
	hp_bare_use_end(&use, rv);
	return rv;
}

CK_RV hp_C_InitToken(CK_SLOT_ID slot_id, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label)
{
	if (!hp_proxy_module())
		return CKR_SLOT_ID_INVALID;
	struct hp_vslot *slot = hp_vslot_find(slot_id);
	if (!slot)
		return hp_slot_init_token(hp_proxy_module(), HP_NO_SLOT, pin, pin_len,
					  label);
	if (!hp_login_allows_admin())
		return CKR_ACTION_PROHIBITED;
	pthread_mutex_lock(&slot->change);
	CK_RV rv = init_token_as_use(slot, pin, pin_len, label);
	pthread_mutex_unlock(&slot->change);
	return rv;
}

/* --- PINs --------------------------------------------------------------------------- */

struct pins {
	hsmpool *pool;     /* NULL: no pool has to hear of it */
	CK_USER_TYPE user; /* whose PIN it is */
	CK_BYTE *old_pin;
	CK_ULONG old_len;
	CK_BYTE *new_pin;
	CK_ULONG new_len;
};

/* Was it changed although the answer is an error? */
static bool may_be_changed(struct hp_session *s, CK_RV rv)
{
	enum hp_rv_class class = hp_rv_class(&s->module->overrides, rv);
	return hp_rv_is_loss(class) && class != HP_RV_LOGIN_LOST;
}

/* With the session in hand, so that nobody logs in anew before the pool knows: with a PIN
 * that may be the old one it would spend a try. */
static CK_RV tell_pool(struct hp_session *s, const struct pins *pins, CK_RV rv)
{
	if (pins->pool && rv == CKR_OK)
		hp_pool_pin_changed(pins->pool, pins->user, pins->new_pin, pins->new_len);
	else if (pins->pool && may_be_changed(s, rv))
		hp_pool_pin_changed(pins->pool, pins->user, NULL, 0);
	return rv;
}

static CK_RV run_init_pin(struct hp_session *s, void *user)
{
	const struct pins *pins = user;
	return tell_pool(s, pins, hp_session_init_pin(s, pins->new_pin, pins->new_len));
}

static CK_RV run_set_pin(struct hp_session *s, void *user)
{
	const struct pins *pins = user;
	return tell_pool(s, pins,
			 hp_session_set_pin(s, pins->old_pin, pins->old_len,
					    pins->new_pin, pins->new_len));
}

/* Whatever comes of it. */
static CK_RV run_as_use(struct hp_vsession *vs, const char *function, struct pins *pins,
			CK_RV (*run)(struct hp_vsession *vs, struct pins *pins))
{
	struct hp_use use = hp_use_describe(vs, function, NULL);
	use.kind = HP_USE_MANAGEMENT;
	CK_RV rv = hp_use_begin_for(&use);
	if (rv != CKR_OK)
		return rv;
	rv = run(vs, pins);
	hp_use_end(&use, rv, HSMPOOL_OK, 0);
	return rv;
}

static CK_RV init_pin(struct hp_vsession *vs, struct pins *pins)
{
	if (!hp_login_allows_admin())
		return CKR_ACTION_PROHIBITED;
	pins->pool = vs->pool;
	pins->user = CKU_USER;
	return hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_InitPIN,
							  .want = HP_WANT_READ_WRITE,
							  .run = run_init_pin,
							  .user = pins });
}

CK_RV hp_C_InitPIN(CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG pin_len)
{
	struct pins pins = { .new_pin = pin, .new_len = pin_len };
	struct hp_vsession *vs = hp_vsession_take_to_change(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return run_init_pin(&none, &pins);
	}
	CK_RV rv = run_as_use(vs, "C_InitPIN", &pins, init_pin);
	hp_vsession_give_changed(vs);
	return rv;
}

/*
 * A read-only session changes no PIN, but a real one is read-write and would: so here
 * the answer is ours, in the order of SoftHSM2's.
 */
static CK_RV refuse_read_only(struct hp_vslot *slot, const struct pins *pins)
{
	CK_TOKEN_INFO info;
	CK_RV rv = hp_slot_token_info(hp_proxy_module(), hp_vslot_real_id(slot), &info);
	if (rv != CKR_OK)
		return rv;
	bool wants_pins = !(info.flags & CKF_PROTECTED_AUTHENTICATION_PATH);
	if (wants_pins && (!pins->old_pin || !pins->new_pin))
		return CKR_ARGUMENTS_BAD;
	if (wants_pins &&
	    (pins->new_len < info.ulMinPinLen || pins->new_len > info.ulMaxPinLen))
		return CKR_PIN_LEN_RANGE;
	return CKR_SESSION_READ_ONLY;
}

static CK_RV set_pin(struct hp_vsession *vs, struct pins *pins)
{
	if (!hp_login_allows_admin())
		return CKR_ACTION_PROHIBITED;
	if (!vs->is_read_write)
		return refuse_read_only(vs->slot, pins);
	pins->pool = vs->pool;
	pins->user = hp_vslot_login(vs->slot) == HP_VLOGIN_SO ? CKU_SO : CKU_USER;
	return hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_SetPIN,
							  .want = HP_WANT_READ_WRITE,
							  .run = run_set_pin,
							  .user = pins });
}

CK_RV hp_C_SetPIN(CK_SESSION_HANDLE session, CK_BYTE *old_pin, CK_ULONG old_len,
		  CK_BYTE *new_pin, CK_ULONG new_len)
{
	struct pins pins = { .old_pin = old_pin,
			     .old_len = old_len,
			     .new_pin = new_pin,
			     .new_len = new_len };
	struct hp_vsession *vs = hp_vsession_take_to_change(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return run_set_pin(&none, &pins);
	}
	CK_RV rv = run_as_use(vs, "C_SetPIN", &pins, set_pin);
	hp_vsession_give_changed(vs);
	return rv;
}
