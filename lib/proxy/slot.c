/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots as the application sees them, and the pool of each.
 *
 * Owns: the list of virtual slots, which of the module's are shown, the making of pools.
 * The list only grows until C_Finalize; its lock is a leaf. slot->change is held while a
 * pool is made, slot->lock for moments.
 */
#include "proxy/choice.h"
#include "proxy/slot.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "control/control.h"
#include "crypto/checkpoint.h"
#include "observe/log.h"
#include "p11/slot.h"
#include "proxy/calls.h"
#include "proxy/object.h"
#include "proxy/process.h"

/* Appended under list_lock; read without, an entry never changes its place. */
static _Atomic(struct hp_vslot *) first_slot;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- the list ----------------------------------------------------------------------- */

static struct hp_vslot *find_by_id(CK_SLOT_ID id)
{
	for (struct hp_vslot *slot = atomic_load(&first_slot); slot; slot = slot->next)
		if (slot->id == id)
			return slot;
	return NULL;
}

CK_SLOT_ID hp_vslot_real_id(struct hp_vslot *slot)
{
	struct hp_token token;
	pthread_mutex_lock(&slot->lock);
	hsmpool *pool = slot->pool;
	CK_SLOT_ID real = slot->real;
	pthread_mutex_unlock(&slot->lock);
	if (!pool)
		return real;
	hp_pool_token(pool, &token);
	return token.slot;
}

static bool has_pool(struct hp_vslot *slot)
{
	pthread_mutex_lock(&slot->lock);
	bool has_one = slot->pool != NULL;
	pthread_mutex_unlock(&slot->lock);
	return has_one;
}

/* One whose pool follows its token knows best. */
static struct hp_vslot *find_by_real(CK_SLOT_ID real)
{
	struct hp_vslot *found = NULL;
	for (struct hp_vslot *slot = atomic_load(&first_slot); slot; slot = slot->next)
		if (hp_vslot_real_id(slot) == real && (!found || has_pool(slot)))
			found = slot;
	return found;
}

/* The real one, unless a slot that moved away since goes by it. */
static CK_SLOT_ID choose_id(CK_SLOT_ID real)
{
	CK_SLOT_ID id = real;
	while (find_by_id(id))
		id++;
	return id;
}

static struct hp_vslot *add_slot_locked(CK_SLOT_ID real)
{
	struct hp_vslot *slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	slot->id = choose_id(real);
	slot->real = real;
	pthread_mutex_init(&slot->change, NULL);
	pthread_mutex_init(&slot->lock, NULL);
	slot->next = atomic_load(&first_slot);
	atomic_store(&first_slot, slot);
	return slot;
}

/* NULL: no memory. */
static struct hp_vslot *find_or_add(CK_SLOT_ID real)
{
	pthread_mutex_lock(&list_lock);
	struct hp_vslot *slot = find_by_real(real);
	if (!slot)
		slot = add_slot_locked(real);
	pthread_mutex_unlock(&list_lock);
	return slot;
}

/* --- where a token is by now -------------------------------------------------------- */

static bool is_gone(CK_RV rv)
{
	return hp_rv_class(&hp_proxy_module()->overrides, rv) == HP_RV_TOKEN_GONE;
}

/* The slot's pool looks for its token. False: there is none, or it is where it was. Who
 * is about to change the slot will see for himself. */
static bool follow_token(struct hp_vslot *slot)
{
	if (!has_pool(slot) || pthread_mutex_trylock(&slot->change) != 0)
		return false;
	bool has_moved = slot->pool && hp_pool_follow_token(slot->pool);
	pthread_mutex_unlock(&slot->change);
	return has_moved;
}

/* What the module says of the slot's token, wherever that is: after a restart it may have
 * moved, and no session was needed yet that would have noticed. */
static CK_RV read_token(struct hp_vslot *slot, CK_TOKEN_INFO *info)
{
	struct hp_token token;
	struct hp_module *module = hp_proxy_module();
	CK_RV rv = hp_slot_token_info(module, hp_vslot_real_id(slot), info);
	if (rv != CKR_OK && !is_gone(rv))
		return rv;
	pthread_mutex_lock(&slot->lock);
	hsmpool *pool = slot->pool;
	if (pool)
		hp_pool_token(pool, &token);
	pthread_mutex_unlock(&slot->lock);
	bool is_there = !pool || (rv == CKR_OK && hp_token_is_same(info, &token.info));
	if (!is_there && follow_token(slot))
		rv = hp_slot_token_info(module, hp_vslot_real_id(slot), info);
	return rv;
}

/* Before real ids are given their numbers. */
static void follow_all_tokens(void)
{
	CK_TOKEN_INFO info;
	for (struct hp_vslot *slot = atomic_load(&first_slot); slot; slot = slot->next)
		if (has_pool(slot))
			read_token(slot, &info);
}

/* --- which of the module's slots are shown ------------------------------------------ */

static bool is_shown(CK_SLOT_ID real)
{
	return hp_choice_shows_all() || hp_choice_of(real);
}

struct hp_vslot *hp_vslot_of_real(CK_SLOT_ID real)
{
	return is_shown(real) ? find_or_add(real) : NULL;
}

/* A slot that nobody listed is one too, if the module knows it. */
static struct hp_vslot *find_unlisted(CK_SLOT_ID id)
{
	CK_SLOT_INFO info;
	if (hp_slot_info(hp_proxy_module(), id, &info) != CKR_OK)
		return NULL;
	struct hp_vslot *slot = hp_vslot_of_real(id);
	return slot && slot->id == id ? slot : NULL;
}

struct hp_vslot *hp_vslot_find(CK_SLOT_ID id)
{
	if (!hp_proxy_module())
		return NULL;
	struct hp_vslot *slot = find_by_id(id);
	if (!slot)
		return find_unlisted(id);
	return has_pool(slot) || is_shown(hp_vslot_real_id(slot)) ? slot : NULL;
}

/* The id to ask the module by: one that it does not know if we do not show it. */
static CK_SLOT_ID id_to_ask(CK_SLOT_ID id)
{
	struct hp_vslot *slot = hp_vslot_find(id);
	return slot ? hp_vslot_real_id(slot) : HP_NO_SLOT;
}

/* After the module said that there is no such slot, or no token. */
static bool follow_by_id(CK_SLOT_ID id)
{
	struct hp_vslot *slot = hp_vslot_find(id);
	return slot && follow_token(slot);
}

/* --- the pool ----------------------------------------------------------------------- */

/* On a clean session: a digest, then a signature with no key. Who has one operation per
 * session refuses before it looks at the key. */
static bool find_exclusive(struct hp_session *s)
{
	CK_MECHANISM digest = { CKM_SHA256, NULL, 0 };
	CK_MECHANISM sign = { CKM_RSA_PKCS, NULL, 0 };
	if (hp_digest_init(s, &digest) != CKR_OK)
		return false;
	return hp_sign_init(s, &sign, CK_INVALID_HANDLE) == CKR_OPERATION_ACTIVE;
}

static enum hp_vlogin login_of_state(CK_STATE state)
{
	if (state == CKS_RW_SO_FUNCTIONS)
		return HP_VLOGIN_SO;
	return hp_session_state_is_user(state) ? HP_VLOGIN_USER : HP_VLOGIN_PUBLIC;
}

/* How its sessions behave, and who is logged in: another part of the program that uses
 * the module may be, else only we with automatic login. */
static hsmpool_status look_at_session(struct hp_vslot *slot, hsmpool *pool,
				      hsmpool_error *err)
{
	struct hp_session *s;
	CK_SESSION_INFO info = { 0 };
	HP_TRY(hp_pool_borrow(pool, HP_WANT_ANY, "first look", HSMPOOL_DEFAULT, &s, err));
	CK_RV rv = hp_session_info(s, &info);
	bool is_exclusive = find_exclusive(s);
	hp_pool_return(s, rv);
	pthread_mutex_lock(&slot->lock);
	slot->is_exclusive = is_exclusive;
	slot->login = login_of_state(info.state);
	pthread_mutex_unlock(&slot->lock);
	return HSMPOOL_OK;
}

static hsmpool_status make_pool(struct hp_vslot *slot, hsmpool **pool, hsmpool_error *err)
{
	CK_SLOT_ID real = hp_vslot_real_id(slot);
	const struct hp_pool_options *options = hp_choice_of(real);
	HP_CHECK(options, err, HSMPOOL_ERR_DOWN, "slot %lu: its token is gone", real);
	HP_TRY(hp_pool_open_slot(pool, options, real, HSMPOOL_DEFAULT, err));
	hsmpool_status status = look_at_session(slot, *pool, err);
	if (status == HSMPOOL_OK)
		status = hp_checkpoint_start(*pool, hp_choice_keeper(options), err);
	if (status == HSMPOOL_OK)
		status = hp_choice_furnish(*pool, err);
	if (status == HSMPOOL_OK)
		hp_control_join(*pool, "proxy");
	else
		hsmpool_close(pool);
	return status;
}

CK_RV hp_vslot_pool(struct hp_vslot *slot, CK_FLAGS flags, hsmpool **pool)
{
	hsmpool_error err;
	*pool = slot->pool; /* changes with slot->change held only */
	if (*pool)
		return CKR_OK;
	if (slot->is_refused)
		return CKR_FUNCTION_FAILED;
	/* The module's own words on a token that is not there, or not initialised. */
	CK_SESSION_HANDLE anywhere;
	CK_RV rv = hp_slot_try_open(hp_proxy_module(), hp_vslot_real_id(slot), flags,
				    &anywhere);
	if (rv != CKR_OK)
		return rv;
	hsmpool_status status = make_pool(slot, pool, &err);
	if (status != HSMPOOL_OK) {
		HP_LOG(ERROR, "pool-failed", "%s", err.text);
		slot->is_refused = status == HSMPOOL_ERR_AUTH;
		return slot->is_refused ? CKR_FUNCTION_FAILED
					: hp_proxy_answer(status, &err);
	}
	pthread_mutex_lock(&slot->lock);
	slot->pool = *pool;
	pthread_mutex_unlock(&slot->lock);
	if (hp_proxy_is_ending())
		hp_pool_shut(*pool);
	return CKR_OK;
}

void hp_vslot_drop_pool(struct hp_vslot *slot)
{
	CK_SLOT_ID real = hp_vslot_real_id(slot);
	hp_objects_forget_all(slot);
	pthread_mutex_lock(&slot->lock);
	hsmpool *pool = slot->pool;
	slot->pool = NULL;
	slot->real = real;
	slot->login = HP_VLOGIN_PUBLIC;
	slot->has_logged_in = false;
	slot->is_refused = false;
	pthread_mutex_unlock(&slot->lock);
	hsmpool_close(&pool);
}

/* --- login state -------------------------------------------------------------------- */

enum hp_vlogin hp_vslot_login(struct hp_vslot *slot)
{
	pthread_mutex_lock(&slot->lock);
	enum hp_vlogin login = slot->login;
	pthread_mutex_unlock(&slot->lock);
	return login;
}

void hp_vslot_set_login(struct hp_vslot *slot, enum hp_vlogin login)
{
	pthread_mutex_lock(&slot->lock);
	slot->login = login;
	pthread_mutex_unlock(&slot->lock);
}

CK_STATE hp_vslot_state(struct hp_vslot *slot, bool is_read_write)
{
	switch (hp_vslot_login(slot)) {
	case HP_VLOGIN_SO:
		return CKS_RW_SO_FUNCTIONS;
	case HP_VLOGIN_USER:
		return is_read_write ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
	default:
		return is_read_write ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
	}
}

/* --- C_Finalize --------------------------------------------------------------------- */

void hp_vslots_shut(void)
{
	for (struct hp_vslot *slot = atomic_load(&first_slot); slot; slot = slot->next) {
		pthread_mutex_lock(&slot->lock);
		hsmpool *pool = slot->pool;
		pthread_mutex_unlock(&slot->lock);
		hp_pool_finish_chore(pool);
		if (pool)
			hp_pool_shut(pool);
	}
}

void hp_vslots_free(void)
{
	struct hp_vslot *slot = atomic_exchange(&first_slot, NULL);
	while (slot) {
		struct hp_vslot *next = slot->next;
		hsmpool_close(&slot->pool);
		free(slot);
		slot = next;
	}
}

void hp_vslots_forget(void)
{
	atomic_store(&first_slot, NULL);
}

void hp_vslots_renew_lock(void)
{
	pthread_mutex_init(&list_lock, NULL);
}

/* --- the calls ---------------------------------------------------------------------- */

static void fill_blank_padded(CK_UTF8CHAR *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

/* Programs look at the manufacturer to know the vendor's habits, so it is the vendor's
 * that they see; the version is that of the functions that we have. */
CK_RV hp_C_GetInfo(CK_INFO *info)
{
	static const CK_VERSION ours = { 2, 40 };
	if (!hp_proxy_module()) {
		if (!info)
			return CKR_ARGUMENTS_BAD;
		memset(info, 0, sizeof(*info));
		info->cryptokiVersion = ours;
		fill_blank_padded(info->manufacturerID, sizeof(info->manufacturerID),
				  "hsmpool");
		fill_blank_padded(info->libraryDescription,
				  sizeof(info->libraryDescription),
				  "hsmpool without a configuration");
		return CKR_OK;
	}
	CK_RV rv = hp_module_info(hp_proxy_module(), info);
	if (rv == CKR_OK && info->cryptokiVersion.major > ours.major)
		info->cryptokiVersion = ours;
	return rv;
}

/* Of real ids. */
static CK_RV list_shown(CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count)
{
	if (hp_proxy_module() && hp_choice_shows_all())
		return hp_slot_list(hp_proxy_module(), token_present, list, count);
	if (!count)
		return CKR_ARGUMENTS_BAD;
	if (hp_proxy_module())
		return hp_choice_list(list, count);
	*count = 0;
	return CKR_OK;
}

CK_RV hp_C_GetSlotList(CK_BBOOL token_present, CK_SLOT_ID *list, CK_ULONG *count)
{
	CK_RV rv = list_shown(token_present, list, count);
	if (rv != CKR_OK || !list)
		return rv;
	follow_all_tokens();
	for (CK_ULONG i = 0; i < *count; i++) {
		struct hp_vslot *slot = find_or_add(list[i]);
		if (!slot)
			return CKR_HOST_MEMORY;
		list[i] = slot->id;
	}
	return CKR_OK;
}

CK_RV hp_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	if (!hp_proxy_module())
		return CKR_SLOT_ID_INVALID;
	CK_RV rv = hp_slot_info(hp_proxy_module(), id_to_ask(slot), info);
	bool is_empty = rv == CKR_OK && !(info->flags & CKF_TOKEN_PRESENT);
	if ((is_empty || is_gone(rv)) && follow_by_id(slot))
		rv = hp_slot_info(hp_proxy_module(), id_to_ask(slot), info);
	return rv;
}

/* Sessions are ours: what the module counts is the pool's, what it allows is no limit
 * of the application's. */
static void show_virtual_sessions(struct hp_vslot *slot, CK_TOKEN_INFO *info)
{
	pthread_mutex_lock(&slot->lock);
	CK_ULONG all = slot->sessions;
	CK_ULONG read_write = slot->sessions - slot->read_only;
	pthread_mutex_unlock(&slot->lock);
	if (info->ulSessionCount != CK_UNAVAILABLE_INFORMATION)
		info->ulSessionCount = all;
	if (info->ulRwSessionCount != CK_UNAVAILABLE_INFORMATION)
		info->ulRwSessionCount = read_write;
	if (info->ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION)
		info->ulMaxSessionCount = CK_EFFECTIVELY_INFINITE;
	if (info->ulMaxRwSessionCount != CK_UNAVAILABLE_INFORMATION)
		info->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
}

CK_RV hp_C_GetTokenInfo(CK_SLOT_ID id, CK_TOKEN_INFO *info)
{
	if (!hp_proxy_module())
		return CKR_SLOT_ID_INVALID;
	struct hp_vslot *slot = hp_vslot_find(id);
	if (!slot || !info)
		return hp_slot_token_info(hp_proxy_module(),
					  slot ? hp_vslot_real_id(slot) : HP_NO_SLOT,
					  info);
	CK_RV rv = read_token(slot, info);
	if (rv != CKR_OK)
		return rv;
	show_virtual_sessions(slot, info);
	if (hp_proxy_logs_in_automatically())
		info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
	return CKR_OK;
}

CK_RV hp_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
	if (!hp_proxy_module())
		return CKR_SLOT_ID_INVALID;
	CK_ULONG room = count ? *count : 0;
	CK_RV rv = hp_slot_mechanisms(hp_proxy_module(), id_to_ask(slot), list, count);
	if (!is_gone(rv) || !follow_by_id(slot))
		return rv;
	if (count)
		*count = room;
	return hp_slot_mechanisms(hp_proxy_module(), id_to_ask(slot), list, count);
}

CK_RV hp_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
			    CK_MECHANISM_INFO *info)
{
	if (!hp_proxy_module())
		return CKR_SLOT_ID_INVALID;
	CK_RV rv = hp_slot_mechanism_info(hp_proxy_module(), id_to_ask(slot), type, info);
	if (is_gone(rv) && follow_by_id(slot))
		rv = hp_slot_mechanism_info(hp_proxy_module(), id_to_ask(slot), type,
					    info);
	return rv;
}
