/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies at work: may this be done, with this object, by this mechanism?
 *
 * The [policy NAME] sections of a pool are compiled when it is opened, or its
 * configuration is read again, into a set that never changes: asking it takes no lock,
 * allocates nothing and calls no module. Several sections may be about one object: all of
 * them must allow. What is in force while something begins decides about all of it.
 *
 * It keeps programs from mistakes, not attackers out: who can run code in the process can
 * load the vendor's module himself.
 */
#ifndef HP_POOL_POLICY_H
#define HP_POOL_POLICY_H

#include "config/policy.h"
#include "p11/identity.h"
#include "p11/token.h"

/* What is asked. */
struct hp_policy_question {
	const char *call; /* "C_Sign": for texts */
	enum hp_action action;
	const struct hp_key_identity *object; /* NULL: it is done without any, or */
	bool is_unknown; /* with one that nothing is known of: every section is about it
			  */
	bool is_pair; /* the object is one half of a key pair, of which both are meant */
	bool has_mechanism;
	unsigned long mechanism;
	bool changes_token; /* it makes, changes or destroys something on the token */
};

enum hp_policy_reason {
	HP_POLICY_FUNCTION,
	HP_POLICY_MECHANISM,
	HP_POLICY_READ_ONLY,
};

struct hp_policy_set;

/* For the pool of that name, on that token. CONFIG: a URI is wrong. */
hsmpool_status hp_policy_compile(struct hp_policy_set **out, const char *pool,
				 const struct hp_policy_options *options, size_t count,
				 const struct hp_token *token, hsmpool_error *err);
/* Do both say the same, of one token? NULL: no section. */
bool hp_policy_is_same(const struct hp_policy_set *a, const struct hp_policy_set *b);
/* set takes the place of before (or NULL), which is kept inside, because somebody may
 * still be asking it, and freed with it. */
void hp_policy_keep(struct hp_policy_set *set, struct hp_policy_set *before);
void hp_policy_free(struct hp_policy_set *set);

/*
 * DENIED: err says by which section, and why; err->ck_rv is what a PKCS#11 program gets,
 * CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID, CKR_ACTION_PROHIBITED. Every
 * section that refuses logs and counts it.
 */
hsmpool_status hp_policy_ask(const struct hp_policy_set *set,
			     const struct hp_policy_question *question,
			     hsmpool_error *err);

#endif
