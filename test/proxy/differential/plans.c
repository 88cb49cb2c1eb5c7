/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do on a session: ciphers, signatures, searches, keys, step by step. */
#include "generate.h"

#include <string.h>

static struct call *put(struct plan *plan, struct dice *dice, const char *name,
			uint8_t session)
{
	static struct call nowhere;

	if (plan->count == PLAN_CALLS)
		return &nowhere;
	struct call *call = &plan->calls[plan->count++];
	*call = some_call(dice, function_named(name), session);
	call->slot = SLOT_TOKEN;
	call->oddity = 0;
	return call;
}

static uint8_t mechanism_of_family(struct dice *dice, unsigned families)
{
	for (;;) {
		uint8_t choice = (uint8_t)dice_below(dice, mechanism_count);
		if (mechanism_rows[choice].families & families)
			return choice;
	}
}

static uint8_t buffer(struct dice *dice)
{
	return (uint8_t)dice_below(dice, BUFFERS);
}

static uint8_t new_object(struct dice *dice)
{
	return (uint8_t)(BASE_OBJECTS + dice_below(dice, OBJECTS - BASE_OBJECTS - 1));
}

/* The key that the mechanism needs, or now and then another. */
static uint8_t key_for(struct dice *dice, uint8_t key)
{
	return dice_percent(dice, 88) ? key : some_object(dice);
}

/* --- one operation ---------------------------------------------------------------------
 */

/* The sizes of output that a caller tries before the one that is enough. */
static void put_hesitation(struct plan *plan, struct dice *dice)
{
	struct call *last = &plan->calls[plan->count - 1];

	if (!dice_percent(dice, 30) || plan->count + 2 > PLAN_CALLS)
		return;
	static const uint8_t tries[] = { OUTPUT_QUERY, OUTPUT_NONE, OUTPUT_ONE,
					 OUTPUT_SHORT };
	struct call again = *last;
	last->output = tries[dice_below(dice, 4)];
	again.output = dice_percent(dice, 50) ? OUTPUT_EXACT : OUTPUT_LARGE;
	plan->calls[plan->count++] = again;
}

static void put_single(struct plan *plan, struct dice *dice, const char *name,
		       uint8_t session, uint8_t input, uint8_t store)
{
	struct call *call = put(plan, dice, name, session);

	call->input = input;
	call->output = OUTPUT_LARGE;
	call->store = store;
	put_hesitation(plan, dice);
}

/* Updates that give output, and the end; the output is collected in the buffer. */
static void put_stream(struct plan *plan, struct dice *dice, const char *update,
		       const char *final, uint8_t session, uint8_t source, uint8_t store)
{
	unsigned parts = dice_below(dice, 4);

	for (unsigned i = 0; i < parts || (source != INPUT_NULL && i < 2); i++) {
		struct call *call = put(plan, dice, update, session);
		if (source != INPUT_NULL)
			call->input = (uint8_t)((i == 0 ? INPUT_FIRST_HALF
							: INPUT_SECOND_HALF) +
						source);
		call->output = OUTPUT_LARGE;
		call->store = (uint8_t)(i == 0 ? store : store + STORE_APPEND);
		put_hesitation(plan, dice);
		if (source != INPUT_NULL && i == 1)
			break;
	}
	struct call *call = put(plan, dice, final, session);
	call->output = OUTPUT_LARGE;
	call->store = (uint8_t)(store + STORE_APPEND);
	put_hesitation(plan, dice);
}

static void plan_cipher(struct plan *plan, struct dice *dice, uint8_t session)
{
	uint8_t mechanism = mechanism_of_family(dice, FAMILY_CIPHER);
	const struct mechanism_row *row = &mechanism_rows[mechanism];
	uint8_t store = buffer(dice);
	bool is_single = !row->is_multipart || dice_percent(dice, 50);
	struct call *call = put(plan, dice, "C_EncryptInit", session);

	call->mechanism = mechanism;
	call->object = key_for(dice, row->partner);
	if (is_single)
		put_single(plan, dice, "C_Encrypt", session, some_input(dice), store);
	else
		put_stream(plan, dice, "C_EncryptUpdate", "C_EncryptFinal", session,
			   INPUT_NULL, store);
	if (dice_percent(dice, 30))
		return;
	call = put(plan, dice, "C_DecryptInit", session);
	call->mechanism = mechanism;
	call->object = key_for(dice, row->key);
	if (!row->is_multipart || dice_percent(dice, 50))
		put_single(plan, dice, "C_Decrypt", session,
			   (uint8_t)(INPUT_BUFFER + store), buffer(dice));
	else
		put_stream(plan, dice, "C_DecryptUpdate", "C_DecryptFinal", session,
			   store, buffer(dice));
}

/* The same inputs again for the verification. */
static void put_updates(struct plan *plan, struct dice *dice, const char *name,
			uint8_t session, const uint8_t *inputs, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put(plan, dice, name, session)->input = inputs[i];
}

static void plan_signature(struct plan *plan, struct dice *dice, uint8_t session)
{
	uint8_t mechanism = mechanism_of_family(dice, FAMILY_SIGN);
	const struct mechanism_row *row = &mechanism_rows[mechanism];
	uint8_t store = buffer(dice);
	uint8_t inputs[3] = { some_input(dice), some_input(dice), some_input(dice) };
	bool is_single = !row->is_multipart || dice_percent(dice, 50);
	unsigned parts = dice_below(dice, 4);
	struct call *call = put(plan, dice, "C_SignInit", session);

	call->mechanism = mechanism;
	call->object = key_for(dice, row->key);
	if (is_single) {
		put_single(plan, dice, "C_Sign", session, inputs[0], store);
	} else {
		put_updates(plan, dice, "C_SignUpdate", session, inputs, parts);
		put_single(plan, dice, "C_SignFinal", session, 0, store);
	}
	if (dice_percent(dice, 30))
		return;
	call = put(plan, dice, "C_VerifyInit", session);
	call->mechanism = mechanism;
	call->object = key_for(dice, row->partner);
	if (is_single) {
		call = put(plan, dice, "C_Verify", session);
		call->input = inputs[0];
	} else {
		put_updates(plan, dice, "C_VerifyUpdate", session, inputs, parts);
		call = put(plan, dice, "C_VerifyFinal", session);
	}
	call->input2 = (uint8_t)(INPUT_BUFFER + store);
}

static void plan_digest(struct plan *plan, struct dice *dice, uint8_t session)
{
	put(plan, dice, "C_DigestInit", session)->mechanism =
		mechanism_of_family(dice, FAMILY_DIGEST);
	if (dice_percent(dice, 40)) {
		put_single(plan, dice, "C_Digest", session, some_input(dice),
			   buffer(dice));
		return;
	}
	for (unsigned parts = dice_below(dice, 4); parts > 0; parts--) {
		if (dice_percent(dice, 20))
			put(plan, dice, "C_DigestKey", session);
		else
			put(plan, dice, "C_DigestUpdate", session);
	}
	put_single(plan, dice, "C_DigestFinal", session, 0, buffer(dice));
}

/* --- objects ---------------------------------------------------------------------------
 */

static void put_search(struct plan *plan, struct dice *dice, uint8_t session,
		       uint8_t choice, uint8_t store)
{
	put(plan, dice, "C_FindObjectsInit", session)->template = choice;
	struct call *call = put(plan, dice, "C_FindObjects", session);
	call->number = 4; /* all */
	call->store = store;
	put(plan, dice, "C_FindObjectsFinal", session);
}

static void plan_search(struct plan *plan, struct dice *dice, uint8_t session)
{
	if (dice_percent(dice, 30)) {
		uint8_t choice = (uint8_t)dice_below(dice, BASE_OBJECTS);
		put_search(plan, dice, session, choice, choice);
		return;
	}
	put(plan, dice, "C_FindObjectsInit", session);
	for (unsigned i = dice_below(dice, 5); i > 0; i--)
		put(plan, dice, "C_FindObjects", session);
	if (dice_percent(dice, 90))
		put(plan, dice, "C_FindObjectsFinal", session);
}

static void plan_object(struct plan *plan, struct dice *dice, uint8_t session)
{
	uint8_t object = new_object(dice);

	if (dice_percent(dice, 60)) {
		put(plan, dice, "C_CreateObject", session)->store = object;
	} else {
		struct call *call = put(plan, dice, "C_CopyObject", session);
		call->store = object;
		if (dice_percent(dice, 40))
			call->template |= TEMPLATE_EMPTY;
	}
	if (dice_percent(dice, 50))
		put(plan, dice, "C_GetAttributeValue", session)->object = object;
	if (dice_percent(dice, 40))
		put(plan, dice, "C_SetAttributeValue", session)->object = object;
	if (dice_percent(dice, 30))
		put(plan, dice, "C_GetObjectSize", session)->object = object;
	if (dice_percent(dice, 60))
		put(plan, dice, "C_DestroyObject", session)->object = object;
}

static void plan_key(struct plan *plan, struct dice *dice, uint8_t session)
{
	struct call *call;
	uint8_t mechanism;

	switch (dice_below(dice, 5)) {
	case 0:
		call = put(plan, dice, "C_GenerateKey", session);
		call->mechanism = mechanism_of_family(dice, FAMILY_GENERATE);
		return;
	case 1:
		call = put(plan, dice, "C_GenerateKeyPair", session);
		call->mechanism = mechanism_of_family(dice, FAMILY_GENERATE_PAIR);
		call->store = new_object(dice);
		return;
	case 2:
		mechanism = mechanism_of_family(dice, FAMILY_DERIVE);
		call = put(plan, dice, "C_DeriveKey", session);
		call->mechanism = mechanism;
		call->object = key_for(dice, mechanism_rows[mechanism].key);
		return;
	default:
		break;
	}
	uint8_t store = buffer(dice);
	mechanism = mechanism_of_family(dice, FAMILY_WRAP);
	call = put(plan, dice, "C_WrapKey", session);
	call->mechanism = mechanism;
	call->object = key_for(dice, mechanism_rows[mechanism].partner);
	call->output = OUTPUT_LARGE;
	call->store = store;
	put_hesitation(plan, dice);
	call = put(plan, dice, "C_UnwrapKey", session);
	call->mechanism = mechanism;
	call->object = key_for(dice, mechanism_rows[mechanism].key);
	call->input = (uint8_t)(INPUT_BUFFER + store);
}

static void plan_reading(struct plan *plan, struct dice *dice, uint8_t session)
{
	struct call *call = put(plan, dice, "C_GetAttributeValue", session);

	call->object = (uint8_t)dice_below(dice, BASE_OBJECTS);
	if (dice_percent(dice, 20))
		put(plan, dice, "C_GenerateRandom", session);
}

/* --- sessions --------------------------------------------------------------------------
 */

static void plan_session(struct plan *plan, struct dice *dice, uint8_t session)
{
	put(plan, dice, "C_CloseSession", session);
	if (dice_percent(dice, 20))
		put(plan, dice, "C_GetSessionInfo", session);
	put(plan, dice, "C_OpenSession", session);
	put(plan, dice, "C_GetSessionInfo", session);
}

static void put_login(struct plan *plan, struct dice *dice)
{
	bool is_needed = !options.is_automatic || dice_percent(dice, 60);

	if (is_needed)
		put(plan, dice, "C_Login", QUIET_SESSION)->number =
			options.is_automatic ? NO_PIN : 0;
	for (uint8_t i = 0; i < BASE_OBJECTS; i++)
		put_search(plan, dice, QUIET_SESSION, i, i);
}

static void put_sessions(struct plan *plan, struct dice *dice)
{
	for (uint8_t i = 0; i < SESSIONS; i++)
		put(plan, dice, "C_OpenSession", i)->number =
			CKF_SERIAL_SESSION | (i != 2 ? CKF_RW_SESSION : 0);
}

void plan_beginning(struct plan *plan, struct dice *dice)
{
	put(plan, dice, "C_Initialize", 0)->oddity = (uint8_t)dice_below(dice, 3);
	put_sessions(plan, dice);
	put_login(plan, dice);
}

/* PINs by number: 0 is the user's, 1 the security officer's. */
enum { USER = 0, OFFICER = 0x11 };

static void put_officer(struct plan *plan, struct dice *dice)
{
	put(plan, dice, "C_Login", QUIET_SESSION)->number = OFFICER;
	put(plan, dice, "C_GetSessionInfo", 0);
	put(plan, dice, "C_OpenSession", 1)->number = CKF_SERIAL_SESSION;
	if (dice_percent(dice, 30))
		put(plan, dice, "C_SetPIN", QUIET_SESSION)->number = OFFICER;
	put(plan, dice, "C_InitPIN", QUIET_SESSION)->number = USER;
	if (dice_percent(dice, 50))
		put(plan, dice, "C_GetTokenInfo", 0);
	put(plan, dice, "C_Logout", QUIET_SESSION);
}

/* The security officer's work, or a token made anew. */
static void plan_administration(struct plan *plan, struct dice *dice)
{
	if (dice_percent(dice, 60)) {
		put(plan, dice, "C_Logout", QUIET_SESSION);
		put(plan, dice, "C_CloseSession", 2); /* read-only */
		put_officer(plan, dice);
	} else {
		put(plan, dice, "C_CloseAllSessions", 0);
		put(plan, dice, "C_InitToken", 0)->number = 1;
		put_sessions(plan, dice);
		put(plan, dice, "C_CloseSession", 2);
		put_officer(plan, dice);
	}
	put_login(plan, dice);
	put(plan, dice, "C_SetPIN", 0)->number = USER;
}

void plan_upheaval(struct plan *plan, struct dice *dice)
{
	if (options.is_admin && dice_percent(dice, 60)) {
		plan_administration(plan, dice);
		return;
	}
	switch (dice_below(dice, 4)) {
	case 0:
		put(plan, dice, "C_Finalize", 0);
		plan_beginning(plan, dice);
		break;
	case 1:
		put(plan, dice, "C_CloseAllSessions", 0);
		put_sessions(plan, dice);
		put_login(plan, dice);
		break;
	default:
		put(plan, dice, "C_Logout", (uint8_t)dice_below(dice, SESSIONS));
		for (unsigned i = dice_below(dice, 12); i > 0; i--) {
			uint8_t session = (uint8_t)dice_below(dice, SESSIONS);
			plan_something(plan, dice, session);
		}
		/* Room for the way back. */
		if (plan->count > PLAN_CALLS / 2)
			plan->count = PLAN_CALLS / 2;
		put_login(plan, dice);
		break;
	}
}

void plan_something(struct plan *plan, struct dice *dice, uint8_t session)
{
	static const struct {
		unsigned weight;
		void (*plan)(struct plan *plan, struct dice *dice, uint8_t session);
	} choices[] = {
		{ 24, plan_cipher }, { 24, plan_signature }, { 12, plan_digest },
		{ 12, plan_search }, { 10, plan_object },    { 8, plan_key },
		{ 6, plan_reading }, { 4, plan_session },
	};
	uint32_t point = dice_below(dice, 100);
	unsigned i = 0;

	if (session == QUIET_SESSION) {
		plan_reading(plan, dice, session);
		return;
	}
	while (point >= choices[i].weight)
		point -= choices[i++].weight;
	choices[i].plan(plan, dice, session);
}
