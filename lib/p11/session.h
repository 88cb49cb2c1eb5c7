/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One real session, and every PKCS#11 call made on one.
 *
 * Each call passes the module's gate, is stamped (when it began, so that a watchdog
 * sees a hang) and keeps book of which operations are active on the session. Nothing
 * here decides: the CK_RV is returned as it came. A session is used by one thread at
 * a time: whoever borrowed it.
 */
#ifndef HP_P11_SESSION_H
#define HP_P11_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "base/secret.h"
#include "p11/module.h"

/* Kinds of operation, as bits: what may be active. */
enum {
	HP_OP_FIND = 1u << 0,
	HP_OP_ENCRYPT = 1u << 1,
	HP_OP_DECRYPT = 1u << 2,
	HP_OP_DIGEST = 1u << 3,
	HP_OP_SIGN = 1u << 4,
	HP_OP_SIGN_RECOVER = 1u << 5,
	HP_OP_VERIFY = 1u << 6,
	HP_OP_VERIFY_RECOVER = 1u << 7,
};

struct hp_session {
	struct hp_module *module; /* not owned */
	CK_SESSION_HANDLE handle;
	CK_SLOT_ID slot;
	unsigned shard; /* of the gate: the owner's index, set once */
	bool is_read_write;
	/* Operations that are active as far as the return values tell. */
	uint32_t active;
	/* An operation ended with an error: a strict HSM ended it too, a sloppy one may
	 * have left it active. Harmless for us (an Init that answers OPERATION_ACTIVE is
	 * repeated on a fresh session), not for who expects a clean session. */
	bool is_unsure;
	/* The key of the signature begun last counts nothing: this one may be finished
	 * unseen. Set after hp_sign_init() by who knows the key. */
	bool may_finish_signature;
	/* No other session was open when its owner looked last: with it would go the
	 * login and all handles, so that it is worth more to end a signature in place. */
	bool is_last;
	/* It was tried: nothing but closing it makes it clean. */
	bool resists_cleaning;
	/* Session objects that live on it: while there are any it is never closed. They
	 * may be destroyed by way of any session. */
	_Atomic uint32_t objects;
	_Atomic uint32_t openings; /* how often it was opened: objects end with it */
	/* The pool's generation that this session and handles used on it belong to. */
	uint64_t generation;
	int place; /* at the gate, from hp_session_begin_stay() to _end_stay() */
	/* Makes the calls on it while their callers wait; NULL: these make them. */
	struct hp_worker *worker;
	/* A call was given up and may still run: p11/worker.h. Set by its borrower,
	 * looked at by others too. */
	_Atomic bool is_abandoned;
	bool hangs_in_login; /* and it is C_Login */
	int64_t cut_ns; /* with a worker: when calls are given up at the latest; 0: - */
	/* When the call that runs now began (coarse clock), 0 if none does. */
	_Atomic int64_t call_since_ns;
};

CK_RV hp_session_open(struct hp_session *s, struct hp_module *module, CK_SLOT_ID slot,
		      bool read_write);
CK_RV hp_session_close(struct hp_session *s);
CK_RV hp_session_info(struct hp_session *s, CK_SESSION_INFO *info);
/* What its token says of itself: no call on the session, but seen as one if it hangs. */
CK_RV hp_session_token_info(struct hp_session *s, CK_TOKEN_INFO *info);

/* Calls made for its sake but on no session (its token is looked for) are seen as one. */
void hp_session_begin_errand(struct hp_session *s);
void hp_session_end_errand(struct hp_session *s);

/* A session object was made on it; which opening of it that was comes out. And one of
 * that opening was destroyed, on any session. */
uint32_t hp_session_object_made(struct hp_session *s);
uint32_t hp_session_opening(struct hp_session *s);
void hp_session_object_gone(struct hp_session *s, uint32_t opening);

/* Whether the state says that the normal user is logged in. */
bool hp_session_state_is_user(CK_STATE state);

CK_RV hp_session_login(struct hp_session *s, CK_USER_TYPE user,
		       const struct hp_secret *pin); /* pin NULL: protected path */
/* With the application's own arguments, whatever they are. */
CK_RV hp_session_login_bytes(struct hp_session *s, CK_USER_TYPE user, const CK_BYTE *pin,
			     CK_ULONG pin_len);
CK_RV hp_session_logout(struct hp_session *s);

/*
 * Make it clean: end what is active, by C_SessionCancel where the module is a 3.x one.
 * True if it is clean now. False: close and replace it (2.40 has no cancel, and a
 * signature is not finished: keys may count). Only where much would go with it, because
 * session objects live on it or it is the last one, a signature is ended by an error that
 * is no signature; or, to save the objects, if the module does not take it and the key is
 * known not to count, finished after all.
 */
bool hp_session_clean(struct hp_session *s);
/* The same where the book does not know what is active: everything is ended that may be.
 * For a session that cannot be replaced, because session objects live on it. False: it
 * is_unsure. */
bool hp_session_clean_unknown(struct hp_session *s);

/* For a raw borrow, whose owner calls the module without us: be inside the gate until
 * the end, which may come from another thread. False: the process forked. */
bool hp_session_begin_stay(struct hp_session *s);
void hp_session_end_stay(struct hp_session *s);

/* The calls, named as in PKCS#11. Arguments as there, without the handle. */
CK_RV hp_find_objects(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		      CK_OBJECT_HANDLE *found, CK_ULONG cap, CK_ULONG *len);
/* ^ Init + as many FindObjects as needed + Final; at most cap are kept, *len says how
 *   many there are in all (so *len > cap means: more). */
/* The same with room for all: *found is malloc()ed, NULL if there are none. */
CK_RV hp_find_all_objects(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
			  CK_OBJECT_HANDLE **found, CK_ULONG *len);
CK_RV hp_find_objects_next(struct hp_session *s, CK_OBJECT_HANDLE *found, CK_ULONG cap,
			   CK_ULONG *len);
CK_RV hp_find_objects_final(struct hp_session *s);
CK_RV hp_get_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_set_attributes(struct hp_session *s, CK_OBJECT_HANDLE object,
			CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV hp_create_object(struct hp_session *s, CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_OBJECT_HANDLE *object);
CK_RV hp_copy_object(struct hp_session *s, CK_OBJECT_HANDLE object,
		     CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy);
CK_RV hp_destroy_object(struct hp_session *s, CK_OBJECT_HANDLE object);
CK_RV hp_get_object_size(struct hp_session *s, CK_OBJECT_HANDLE object, CK_ULONG *size);

CK_RV hp_encrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_encrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len);
CK_RV hp_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_encrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_decrypt_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_decrypt(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		 CK_ULONG *out_len);
CK_RV hp_decrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_decrypt_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_digest_init(struct hp_session *s, CK_MECHANISM *m);
CK_RV hp_digest(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		CK_ULONG *out_len);
CK_RV hp_digest_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_digest_key(struct hp_session *s, CK_OBJECT_HANDLE key);
CK_RV hp_digest_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_sign_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_sign(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
	      CK_ULONG *out_len);
CK_RV hp_sign_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_sign_final(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_verify_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_verify(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
		const CK_BYTE *signature, CK_ULONG signature_len);
CK_RV hp_verify_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len);
CK_RV hp_verify_final(struct hp_session *s, const CK_BYTE *signature,
		      CK_ULONG signature_len);
CK_RV hp_sign_recover_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_sign_recover(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
		      CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_verify_recover_init(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV hp_verify_recover(struct hp_session *s, const CK_BYTE *signature,
			CK_ULONG signature_len, CK_BYTE *out, CK_ULONG *out_len);

CK_RV hp_digest_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_decrypt_digest_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_sign_encrypt_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			     CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_decrypt_verify_update(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			       CK_BYTE *out, CK_ULONG *out_len);

CK_RV hp_get_operation_state(struct hp_session *s, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_set_operation_state(struct hp_session *s, const CK_BYTE *in, CK_ULONG in_len,
			     CK_OBJECT_HANDLE encryption_key,
			     CK_OBJECT_HANDLE authentication_key);

CK_RV hp_generate_key(struct hp_session *s, CK_MECHANISM *m, CK_ATTRIBUTE *template,
		      CK_ULONG count, CK_OBJECT_HANDLE *key);
CK_RV hp_generate_key_pair(struct hp_session *s, CK_MECHANISM *m,
			   CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			   CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			   CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV hp_wrap_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE wrapping_key,
		  CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len);
CK_RV hp_unwrap_key(struct hp_session *s, CK_MECHANISM *m,
		    CK_OBJECT_HANDLE unwrapping_key, const CK_BYTE *wrapped,
		    CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count,
		    CK_OBJECT_HANDLE *key);
CK_RV hp_derive_key(struct hp_session *s, CK_MECHANISM *m, CK_OBJECT_HANDLE base,
		    CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key);
CK_RV hp_seed_random(struct hp_session *s, const CK_BYTE *seed, CK_ULONG len);
CK_RV hp_generate_random(struct hp_session *s, CK_BYTE *out, CK_ULONG len);

#endif
