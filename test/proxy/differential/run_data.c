/* SPDX-License-Identifier: Apache-2.0 */
/* Encrypt, decrypt, sign, verify, digest: the functions of one shape have one runner. */
#include "differential.h"

/* What is odd about a call. */
enum { ODD_NO_MECHANISM = 1, ODD_NO_SIGNATURE = 2 };

CK_RV run_init(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_C_EncryptInit init = MODULE_FUNCTION(w, call, CK_C_EncryptInit);
	CK_MECHANISM *mechanism = mechanism_of(call);
	(void)answer;

	CK_RV rv = init(session_of(w, call),
			call->oddity == ODD_NO_MECHANISM ? NULL : mechanism,
			object_of(w, call->object));
	mechanism_memory_reuse();
	return rv;
}

CK_RV run_digest_init(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_MECHANISM *mechanism = mechanism_of(call);
	(void)answer;

	CK_RV rv = w->module->C_DigestInit(
		session_of(w, call), call->oddity == ODD_NO_MECHANISM ? NULL : mechanism);
	mechanism_memory_reuse();
	return rv;
}

CK_RV run_in_out(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_C_Encrypt function = MODULE_FUNCTION(w, call, CK_C_Encrypt);
	struct input in = input_of(w, call->input);
	struct output out = output_of(w, call);

	CK_RV rv = function(session_of(w, call), in.data, in.len, out.data,
			    call->output == OUTPUT_NO_LENGTH ? NULL : &out.len);
	output_came(w, call, &out, rv, answer);
	return rv;
}

CK_RV run_in(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_C_SignUpdate function = MODULE_FUNCTION(w, call, CK_C_SignUpdate);
	struct input in = input_of(w, call->input);
	(void)answer;

	return function(session_of(w, call), in.data, in.len);
}

CK_RV run_out(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_C_SignFinal function = MODULE_FUNCTION(w, call, CK_C_SignFinal);
	struct output out = output_of(w, call);

	CK_RV rv = function(session_of(w, call), out.data,
			    call->output == OUTPUT_NO_LENGTH ? NULL : &out.len);
	output_came(w, call, &out, rv, answer);
	return rv;
}

CK_RV run_verify(struct worker *w, const struct call *call, struct answer *answer)
{
	struct input in = input_of(w, call->input);
	struct input signature = input_of(w, call->input2);
	(void)answer;

	return w->module->C_Verify(
		session_of(w, call), in.data, in.len,
		call->oddity == ODD_NO_SIGNATURE ? NULL : signature.data, signature.len);
}

CK_RV run_verify_final(struct worker *w, const struct call *call, struct answer *answer)
{
	struct input signature = input_of(w, call->input2);
	(void)answer;

	return w->module->C_VerifyFinal(
		session_of(w, call),
		call->oddity == ODD_NO_SIGNATURE ? NULL : signature.data, signature.len);
}

CK_RV run_digest_key(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;
	return w->module->C_DigestKey(session_of(w, call), object_of(w, call->object));
}

CK_RV run_generate_random(struct worker *w, const struct call *call,
			  struct answer *answer)
{
	struct output out = output_of(w, call);
	CK_ULONG len = call->number % 300;

	if (len == 1)
		len = 2; /* one byte belongs to what was drawn before: random.c */
	out.len = len;
	out.room = len;
	CK_RV rv = w->module->C_GenerateRandom(session_of(w, call), out.data, len);
	output_came(w, call, &out, rv, answer);
	return rv;
}
