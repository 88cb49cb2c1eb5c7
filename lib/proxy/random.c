/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_SeedRandom, C_GenerateRandom: any real session will do.
 */
#include "proxy/calls.h"

#include "proxy/operation.h"

struct random_call {
	CK_BYTE *bytes;
	CK_ULONG len;
};

static CK_RV run_seed(struct hp_session *s, void *user)
{
	const struct random_call *call = user;
	return hp_seed_random(s, call->bytes, call->len);
}

CK_RV hp_C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG len)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_seed_random(&none, seed, len);
	}
	struct random_call call = { seed, len };
	struct hp_aside_use use = { .input_len = len };
	CK_RV rv =
		hp_operation_aside(vs, &(struct hp_aside){ .function = HP_FN_C_SeedRandom,
							   .want = HP_WANT_BESIDE,
							   .run = run_seed,
							   .user = &call,
							   .use = &use });
	hp_vsession_give(vs);
	return rv;
}

static CK_RV run_generate(struct hp_session *s, void *user)
{
	const struct random_call *call = user;
	return hp_generate_random(s, call->bytes, call->len);
}

CK_RV hp_C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG len)
{
	struct hp_vsession *vs = hp_vsession_take(session);
	if (!vs) {
		struct hp_session none = hp_vsession_none();
		return hp_generate_random(&none, out, len);
	}
	struct random_call call = { out, len };
	struct hp_aside_use use = { .output_len = &len };
	CK_RV rv = hp_operation_aside(
		vs, &(struct hp_aside){ .function = HP_FN_C_GenerateRandom,
					.want = HP_WANT_BESIDE,
					.run = run_generate,
					.user = &call,
					.use = &use });
	hp_vsession_give(vs);
	return rv;
}
