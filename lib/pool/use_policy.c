/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a use of the HSM asks of the pool's policies.
 *
 * Owns: which function of PKCS#11 is what in a policy's words, and which of the objects
 * concerned is asked for what. Must not: decide. No lock.
 */
#include "pool/use.h"

#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "pool/internal.h"
#include "pool/policy.h"

/* Those of the parts of an operation too: what it is called by when it ends. Sorted. */
static const struct call {
	const char *name;
	enum hp_action action;
} calls[] = {
/* clang-format off */
#define CALL(name, action) { "C_" name, HP_ACTION_##action }
	CALL("CopyObject", COPY),
	CALL("CreateObject", CREATE),
	CALL("Decrypt", DECRYPT),
	CALL("DecryptDigestUpdate", DECRYPT),
	CALL("DecryptFinal", DECRYPT),
	CALL("DecryptInit", DECRYPT),
	CALL("DecryptUpdate", DECRYPT),
	CALL("DecryptVerifyUpdate", DECRYPT),
	CALL("DeriveKey", DERIVE),
	CALL("DestroyObject", DESTROY),
	CALL("Digest", DIGEST),
	CALL("DigestEncryptUpdate", DIGEST),
	CALL("DigestFinal", DIGEST),
	CALL("DigestInit", DIGEST),
	CALL("DigestKey", DIGEST),
	CALL("DigestUpdate", DIGEST),
	CALL("Encrypt", ENCRYPT),
	CALL("EncryptFinal", ENCRYPT),
	CALL("EncryptInit", ENCRYPT),
	CALL("EncryptUpdate", ENCRYPT),
	CALL("GenerateKey", GENERATE),
	CALL("GenerateKeyPair", GENERATE),
	CALL("GenerateRandom", RANDOM),
	CALL("InitPIN", ADMIN),
	CALL("InitToken", ADMIN),
	CALL("SeedRandom", RANDOM),
	CALL("SetAttributeValue", MODIFY),
	CALL("SetPIN", ADMIN),
	CALL("Sign", SIGN),
	CALL("SignEncryptUpdate", SIGN),
	CALL("SignFinal", SIGN),
	CALL("SignInit", SIGN),
	CALL("SignRecover", SIGN),
	CALL("SignRecoverInit", SIGN),
	CALL("SignUpdate", SIGN),
	CALL("UnwrapKey", UNWRAP),
	CALL("Verify", VERIFY),
	CALL("VerifyFinal", VERIFY),
	CALL("VerifyInit", VERIFY),
	CALL("VerifyRecover", VERIFY),
	CALL("VerifyRecoverInit", VERIFY),
	CALL("VerifyUpdate", VERIFY),
	CALL("WrapKey", WRAP),
#undef CALL
	/* clang-format on */
};

static int compare_call(const void *name, const void *call)
{
	return strcmp(name, ((const struct call *)call)->name);
}

/* False: no policy is about it. */
static bool find_function(const char *name, enum hp_action *action)
{
	const struct call *call =
		bsearch(name, calls, HP_ARRAY_LEN(calls), sizeof(calls[0]), compare_call);
	if (call)
		*action = call->action;
	return call != NULL;
}

/* A key that works is asked whether it may; a key that is made, whether one of that name
 * may come about so; a key that is wrapped, whether it may leave. */
static struct hp_policy_question ask_of(const struct hp_use *use, enum hp_action action,
					const struct hp_key_identity *object)
{
	return (struct hp_policy_question){
		.call = use->function,
		.action = action,
		.object = object,
		.has_mechanism = use->has_mechanism,
		.mechanism = use->mechanism,
	};
}

static bool works_on_object(enum hp_action action)
{
	static const uint32_t without = 1u << HP_ACTION_DIGEST | 1u << HP_ACTION_RANDOM |
					1u << HP_ACTION_GENERATE |
					1u << HP_ACTION_CREATE | 1u << HP_ACTION_ADMIN;
	return !(without >> action & 1);
}

static hsmpool_status ask_about_key(const struct hp_policy_set *set,
				    const struct hp_use *use, enum hp_action action,
				    hsmpool_error *err)
{
	struct hp_policy_question q = ask_of(use, action, use->key);
	q.is_unknown = !use->key && works_on_object(action);
	if (action == HP_ACTION_DESTROY || action == HP_ACTION_MODIFY)
		q.changes_token = !use->key || use->key->is_token;
	else
		q.changes_token = action == HP_ACTION_ADMIN;
	return hp_policy_ask(set, &q, err);
}

static hsmpool_status ask_about_target(const struct hp_policy_set *set,
				       const struct hp_use *use, enum hp_action action,
				       const struct hp_key_identity *target,
				       hsmpool_error *err)
{
	bool is_wrapped = action == HP_ACTION_WRAP;
	struct hp_policy_question q =
		ask_of(use, is_wrapped ? HP_ACTION_EXPORT : action, target);
	q.changes_token = !is_wrapped && target->is_token;
	q.is_pair = strcmp(use->function, "C_GenerateKeyPair") == 0 && !use->public_half;
	return hp_policy_ask(set, &q, err);
}

hsmpool_status hp_use_ask_policy(const struct hp_use *use, hsmpool_error *err)
{
	const struct hp_policy_set *set =
		atomic_load_explicit(&use->pool->policies, memory_order_acquire);
	enum hp_action action;
	if (!set || !find_function(use->function, &action))
		return HSMPOOL_OK;
	if (use->key || !use->target || works_on_object(action))
		HP_TRY(ask_about_key(set, use, action, err));
	if (use->target)
		HP_TRY(ask_about_target(set, use, action, use->target, err));
	return use->public_half
		       ? ask_about_target(set, use, action, use->public_half, err)
		       : HSMPOOL_OK;
}

hsmpool_status hp_bare_use_ask_policy(const struct hp_pool_options *options,
				      const char *function, const struct hp_token *token,
				      hsmpool_error *err)
{
	struct hp_policy_question q = { .call = function };
	struct hp_policy_set *set = NULL;

	if (options->policy_count == 0 || !find_function(function, &q.action))
		return HSMPOOL_OK;
	HP_TRY(hp_policy_compile(&set, options->name, options->policies,
				 options->policy_count, token, err));
	q.changes_token = q.action == HP_ACTION_ADMIN;
	hsmpool_status status = hp_policy_ask(set, &q, err);
	hp_policy_free(set);
	return status;
}
