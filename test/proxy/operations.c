/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many operations on few real sessions: begun, taken away, begun again, ended.
 *
 * Each test runs on the mock and on SoftHSM2 unless it looks at what the mock counts.
 * "S12" in a comment is a row of the list of rules in docs/design.
 */
#include "operations_ground.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- one operation in three parts ----------------------------------------------------
 */

enum flavour { ENCRYPT, DECRYPT, DIGEST, SIGN, SIGN_RSA, VERIFY, FLAVOURS };

#define PARTS     3
#define PART_LEN  40
#define ALL_LEN   (PARTS * PART_LEN)
#define MOST_BACK 512

struct job {
	enum flavour flavour;
	unsigned number;
	CK_SESSION_HANDLE session;
	CK_BYTE in[MOST_BACK];
	CK_ULONG in_len;
	CK_BYTE iv[16];
	CK_BYTE back[MOST_BACK];
	CK_ULONG back_len;
	CK_RV end; /* of a verification */
	CK_BYTE mac[64];
	CK_ULONG mac_len;
};

static CK_MECHANISM mechanism_of(const struct job *job, CK_BYTE iv[16])
{
	static const CK_MECHANISM_TYPE types[FLAVOURS] = {
		[ENCRYPT] = CKM_AES_CBC_PAD,
		[DECRYPT] = CKM_AES_CBC_PAD,
		[DIGEST] = CKM_SHA256,
		[SIGN] = CKM_SHA256_HMAC,
		[SIGN_RSA] = CKM_SHA256_RSA_PKCS,
		[VERIFY] = CKM_SHA256_HMAC,
	};
	CK_MECHANISM m = { .mechanism = types[job->flavour] };
	if (job->flavour == ENCRYPT || job->flavour == DECRYPT) {
		memcpy(iv, job->iv, 16);
		m.pParameter = iv;
		m.ulParameterLen = 16;
	}
	return m;
}

static CK_RV begin(struct ground *g, const struct job *job, CK_SESSION_HANDLE session)
{
	CK_BYTE iv[16] = { 0 };
	CK_MECHANISM m = mechanism_of(job, iv);
	CK_RV rv = CKR_FUNCTION_FAILED;
	switch (job->flavour) {
	case ENCRYPT:
		rv = g->p11->C_EncryptInit(session, &m, g->aes);
		break;
	case DECRYPT:
		rv = g->p11->C_DecryptInit(session, &m, g->aes);
		break;
	case DIGEST:
		rv = g->p11->C_DigestInit(session, &m);
		break;
	case SIGN:
		rv = g->p11->C_SignInit(session, &m, g->hmac);
		break;
	case SIGN_RSA:
		rv = g->p11->C_SignInit(session, &m, g->rsa);
		break;
	default:
		rv = g->p11->C_VerifyInit(session, &m, g->hmac);
		break;
	}
	/* The caller's memory is its own again. */
	memset(iv, 0xee, sizeof(iv));
	memset(&m, 0xee, sizeof(m));
	return rv;
}

static CK_RV feed(struct ground *g, struct job *job, unsigned part)
{
	CK_ULONG len = part == PARTS - 1 ? job->in_len - part * PART_LEN : PART_LEN;
	/* In a buffer that is overwritten afterwards. */
	CK_BYTE in[MOST_BACK];
	memcpy(in, job->in + part * PART_LEN, len);
	CK_ULONG room = MOST_BACK - job->back_len;
	CK_RV rv = CKR_FUNCTION_FAILED;
	switch (job->flavour) {
	case ENCRYPT:
	case DECRYPT:
		rv = (job->flavour == ENCRYPT ? g->p11->C_EncryptUpdate
					      : g->p11->C_DecryptUpdate)(
			job->session, in, len, job->back + job->back_len, &room);
		job->back_len += rv == CKR_OK ? room : 0;
		break;
	case DIGEST:
		rv = g->p11->C_DigestUpdate(job->session, in, len);
		break;
	case VERIFY:
		rv = g->p11->C_VerifyUpdate(job->session, in, len);
		break;
	default:
		rv = g->p11->C_SignUpdate(job->session, in, len);
		break;
	}
	memset(in, 0xee, sizeof(in));
	return rv;
}

static CK_RV finish(struct ground *g, struct job *job)
{
	CK_ULONG room = MOST_BACK - job->back_len;
	CK_BYTE *to = job->back + job->back_len;
	CK_RV rv = CKR_FUNCTION_FAILED;
	switch (job->flavour) {
	case ENCRYPT:
		rv = g->p11->C_EncryptFinal(job->session, to, &room);
		break;
	case DECRYPT:
		rv = g->p11->C_DecryptFinal(job->session, to, &room);
		break;
	case DIGEST:
		rv = g->p11->C_DigestFinal(job->session, to, &room);
		break;
	case VERIFY:
		return g->p11->C_VerifyFinal(job->session, job->mac, job->mac_len);
	default:
		rv = g->p11->C_SignFinal(job->session, to, &room);
		break;
	}
	job->back_len += rv == CKR_OK ? room : 0;
	return rv;
}

/* The same in one call each, on a session of its own. */
static CK_ULONG at_once(struct ground *g, const struct job *job, CK_BYTE out[MOST_BACK])
{
	CK_SESSION_HANDLE session = ground_session(g);
	CK_BYTE in[MOST_BACK];
	CK_ULONG len = MOST_BACK;
	CK_RV rv = CKR_FUNCTION_FAILED;
	memcpy(in, job->in, job->in_len);
	assert_rv(begin(g, job, session), CKR_OK);
	switch (job->flavour) {
	case ENCRYPT:
		rv = g->p11->C_Encrypt(session, in, job->in_len, out, &len);
		break;
	case DECRYPT:
		rv = g->p11->C_Decrypt(session, in, job->in_len, out, &len);
		break;
	case DIGEST:
		rv = g->p11->C_Digest(session, in, job->in_len, out, &len);
		break;
	default:
		rv = g->p11->C_Sign(session, in, job->in_len, out, &len);
		break;
	}
	assert_rv(rv, CKR_OK);
	assert_rv(g->p11->C_CloseSession(session), CKR_OK);
	return len;
}

/* A decryption takes what an encryption gave, a verification what a signature did. */
static void prepare(struct ground *g, struct job *job, unsigned number)
{
	memset(job, 0, sizeof(*job));
	job->flavour = (enum flavour)(number % FLAVOURS);
	job->number = number;
	job->in_len = ALL_LEN;
	for (unsigned i = 0; i < ALL_LEN; i++)
		job->in[i] = (CK_BYTE)(number * 7 + i);
	for (unsigned i = 0; i < sizeof(job->iv); i++)
		job->iv[i] = (CK_BYTE)(number + i);
	struct job other = *job;
	if (job->flavour == DECRYPT) {
		other.flavour = ENCRYPT;
		job->in_len = at_once(g, &other, job->in);
	} else if (job->flavour == VERIFY) {
		other.flavour = SIGN;
		job->mac_len = at_once(g, &other, job->back);
		memcpy(job->mac, job->back, job->mac_len);
		/* Every other one is wrong. */
		job->mac[0] ^= (CK_BYTE)((number / FLAVOURS) & 1);
		job->end = (number / FLAVOURS) & 1 ? CKR_SIGNATURE_INVALID : CKR_OK;
	}
	job->session = ground_session(g);
}

static void check(struct ground *g, const struct job *job)
{
	CK_BYTE expected[MOST_BACK];
	if (job->flavour == VERIFY)
		return;
	CK_ULONG len = at_once(g, job, expected);
	assert_int_equal(job->back_len, len);
	assert_memory_equal(job->back, expected, len);
}

/* --- many on few ----------------------------------------------------------------------
 */

static void interleave(struct ground *g, unsigned max_sessions, unsigned count)
{
	ground_begin(g, max_sessions, NULL, NULL);
	struct job *jobs = calloc(count, sizeof(*jobs));
	assert_non_null(jobs);
	for (unsigned i = 0; i < count; i++) {
		prepare(g, &jobs[i], i);
		assert_rv(begin(g, &jobs[i], jobs[i].session), CKR_OK);
	}
	for (unsigned part = 0; part < PARTS; part++)
		for (unsigned i = 0; i < count; i++)
			assert_rv(feed(g, &jobs[i], part), CKR_OK);
	for (unsigned i = 0; i < count; i++)
		assert_rv(finish(g, &jobs[i]), jobs[i].end);
	for (unsigned i = 0; i < count; i++)
		check(g, &jobs[i]);
	free(jobs);
	ground_end(g);
}

static void assert_peak(unsigned most)
{
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	assert_true(counters.sessions_peak <= most);
}

/* As Java programs do it: one thread, hundreds of half-done operations. */
static void three_hundred_interleaved_operations_live_on_two_sessions(void **state)
{
	struct ground *g = *state;
	interleave(g, 2, 300);
	if (g->is_mock)
		assert_peak(2);
}

static void interleaved_operations_live_on_one_session(void **state)
{
	struct ground *g = *state;
	interleave(g, 1, 24);
	if (g->is_mock)
		assert_peak(1);
}

static void search_once(struct ground *g, CK_SESSION_HANDLE session)
{
	CK_OBJECT_HANDLE found[8];
	CK_ULONG count = 0;
	assert_rv(g->p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(g->p11->C_FindObjects(session, found, 8, &count), CKR_OK);
	assert_true(count > 0);
	assert_rv(g->p11->C_FindObjectsFinal(session), CKR_OK);
}

static void two_virtual_sessions_alternate_on_one_real_session(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE searcher = ground_session(g);
	for (unsigned round = 0; round < FLAVOURS; round++) {
		struct job one, two;
		prepare(g, &one, round);
		prepare(g, &two, round + 1);
		assert_rv(begin(g, &one, one.session), CKR_OK);
		assert_rv(begin(g, &two, two.session), CKR_OK);
		for (unsigned part = 0; part < PARTS; part++) {
			assert_rv(feed(g, &one, part), CKR_OK);
			search_once(g, searcher);
			assert_rv(feed(g, &two, part), CKR_OK);
		}
		assert_rv(finish(g, &one), one.end);
		assert_rv(finish(g, &two), two.end);
		check(g, &one);
		check(g, &two);
	}
	ground_end(g);
}

/* S11: an Init that is never followed up holds nobody up. */
static void an_idle_init_holds_no_session(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, "borrow-timeout = 200ms", NULL);
	struct job idle, other;
	prepare(g, &idle, SIGN_RSA);
	prepare(g, &other, DIGEST);
	assert_rv(begin(g, &idle, idle.session), CKR_OK);
	assert_rv(begin(g, &other, other.session), CKR_OK);
	for (unsigned part = 0; part < PARTS; part++)
		assert_rv(feed(g, &other, part), CKR_OK);
	assert_rv(finish(g, &other), CKR_OK);
	ground_end(g);
}

/* --- threads -------------------------------------------------------------------------
 */

#define THREADS 8
#define ROUNDS  40

/* What a thread works with; no assertions there. */
struct worker {
	struct ground *ground;
	pthread_t thread;
	unsigned number;
	CK_SESSION_HANDLE sessions[2];
	CK_BYTE mac[64], digest[64]; /* of the input, as known before */
	CK_RV rv;
	bool is_wrong;
};

static const CK_BYTE worker_input[100] = { 1, 2, 3 };

static bool worker_round(struct worker *w)
{
	CK_FUNCTION_LIST *p11 = w->ground->p11;
	CK_MECHANISM mac = { .mechanism = CKM_SHA256_HMAC };
	CK_MECHANISM digest = { .mechanism = CKM_SHA256 };
	CK_BYTE out[2][64], *in = (CK_BYTE *)(uintptr_t)worker_input;
	CK_ULONG len[2] = { 64, 64 };
	CK_SESSION_HANDLE a = w->sessions[0], b = w->sessions[1];
	if ((w->rv = p11->C_SignInit(a, &mac, w->ground->hmac)) ||
	    (w->rv = p11->C_DigestInit(b, &digest)))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if ((w->rv = p11->C_SignUpdate(a, in + 25 * i, 25)) ||
		    (w->rv = p11->C_DigestUpdate(b, in + 25 * i, 25)))
			return false;
	if ((w->rv = p11->C_SignFinal(a, out[0], &len[0])) ||
	    (w->rv = p11->C_DigestFinal(b, out[1], &len[1])))
		return false;
	w->is_wrong = len[0] != 32 || memcmp(out[0], w->mac, 32) != 0 || len[1] != 32 ||
		      memcmp(out[1], w->digest, 32) != 0;
	return !w->is_wrong;
}

static void *work(void *user)
{
	struct worker *w = user;
	for (unsigned i = 0; i < ROUNDS; i++)
		if (!worker_round(w))
			break;
	return NULL;
}

static void threads_share_two_real_sessions(void **state)
{
	struct ground *g = *state;
	struct worker workers[THREADS];
	struct job sign = { .flavour = SIGN, .in_len = 100 };
	struct job digest = { .flavour = DIGEST, .in_len = 100 };
	CK_BYTE out[MOST_BACK];
	ground_begin(g, 2, NULL, NULL);
	memcpy(sign.in, worker_input, 100);
	memcpy(digest.in, worker_input, 100);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .ground = g, .number = i };
		for (unsigned j = 0; j < 2; j++)
			workers[i].sessions[j] = ground_session(g);
		assert_int_equal(at_once(g, &sign, out), 32);
		memcpy(workers[i].mac, out, 32);
		assert_int_equal(at_once(g, &digest, out), 32);
		memcpy(workers[i].digest, out, 32);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_rv(workers[i].rv, CKR_OK);
		assert_false(workers[i].is_wrong);
	}
	if (g->is_mock)
		assert_peak(2);
	ground_end(g);
}

/* --- what must not happen -------------------------------------------------------------
 */

/* The mock counts them while something is armed. */
static void count_signatures(void)
{
	fixture_mock_control()->latency("C_InitToken", 1);
}

static uint64_t signatures(void)
{
	struct mock_counters counters;
	fixture_mock_control()->counters(&counters);
	return counters.signatures;
}

/* A key may count its uses. */
static void a_signature_that_is_taken_away_is_never_finished(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN);
	count_signatures();
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	ground_take_all_away(g);
	assert_int_equal(signatures(), 0);
	for (unsigned part = 1; part < PARTS; part++)
		assert_rv(feed(g, &job, part), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	assert_int_equal(signatures(), 1);
	check(g, &job);
	ground_end(g);
}

static void an_abandoned_signature_is_never_finished(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN_RSA);
	count_signatures();
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(g->p11->C_CloseSession(job.session), CKR_OK);
	search_once(g, g->main);
	assert_int_equal(signatures(), 0);
	ground_end(g);
}

/* With the last session closed SoftHSM2 forgets all handles: it is ended in place. */
static void a_signature_on_the_only_session_costs_no_handle(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &yes, 1 },
	};
	CK_OBJECT_HANDLE never_looked_at;
	assert_rv(g->p11->C_CreateObject(g->main, template, 2, &never_looked_at), CKR_OK);
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	ground_take_all_away(g);
	assert_rv(g->p11->C_GetAttributeValue(g->main, never_looked_at, template, 1),
		  CKR_OK);
	assert_rv(g->p11->C_DestroyObject(g->main, never_looked_at), CKR_OK);
	for (unsigned part = 1; part < PARTS; part++)
		assert_rv(feed(g, &job, part), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	check(g, &job);
	ground_end(g);
}

/* While it waits in the journal, input that gives no output costs no call at all. */
static void detached_updates_make_no_call(void **state)
{
	struct ground *g = *state;
	const struct mock_control *mock = fixture_mock_control();
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	ground_take_all_away(g);
	uint64_t before = mock->calls("*");
	assert_rv(feed(g, &job, 1), CKR_OK);
	assert_rv(feed(g, &job, 2), CKR_OK);
	assert_int_equal(mock->calls("*"), before);
	assert_rv(finish(g, &job), CKR_OK);
	check(g, &job);
	ground_end(g);
}

/* L20: the end of an operation is submitted once. */
static void a_lost_final_is_not_submitted_again(void **state)
{
	struct ground *g = *state;
	const struct mock_control *mock = fixture_mock_control();
	ground_begin(g, 2, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	const struct mock_failure failure = { .function = "C_SignFinal",
					      .rv = CKR_SESSION_HANDLE_INVALID,
					      .after = true };
	(mock->fail)(&failure);
	assert_rv(finish(g, &job), CKR_DEVICE_ERROR);
	assert_int_equal(mock->calls("C_SignFinal"), 1);
	assert_rv(finish(g, &job), CKR_OPERATION_NOT_INITIALIZED);
	ground_end(g);
}

static void an_update_survives_the_loss_of_its_session(void **state)
{
	struct ground *g = *state;
	const struct mock_control *mock = fixture_mock_control();
	ground_begin(g, 2, NULL, NULL);
	for (unsigned flavour = 0; flavour < FLAVOURS; flavour++) {
		static const char *const update[FLAVOURS] = {
			"C_EncryptUpdate", "C_DecryptUpdate", "C_DigestUpdate",
			"C_SignUpdate",    "C_SignUpdate",    "C_VerifyUpdate",
		};
		struct job job;
		prepare(g, &job, flavour);
		assert_rv(begin(g, &job, job.session), CKR_OK);
		assert_rv(feed(g, &job, 0), CKR_OK);
		const struct mock_failure failure = { .function = update[flavour],
						      .rv = CKR_SESSION_HANDLE_INVALID };
		(mock->fail)(&failure);
		assert_rv(feed(g, &job, 1), CKR_OK);
		assert_rv(feed(g, &job, 2), CKR_OK);
		assert_rv(finish(g, &job), job.end);
		check(g, &job);
	}
	ground_end(g);
}

/* L17: sessions, login and handles die; the operation goes on. */
static void an_operation_survives_a_reboot_of_the_token(void **state)
{
	struct ground *g = *state;
	const struct mock_control *mock = fixture_mock_control();
	ground_begin(g, 2, NULL, NULL);
	struct job jobs[FLAVOURS];
	for (unsigned i = 0; i < FLAVOURS; i++) {
		prepare(g, &jobs[i], i);
		assert_rv(begin(g, &jobs[i], jobs[i].session), CKR_OK);
		assert_rv(feed(g, &jobs[i], 0), CKR_OK);
	}
	mock->reboot(NULL);
	for (unsigned i = 0; i < FLAVOURS; i++) {
		assert_rv(feed(g, &jobs[i], 1), CKR_OK);
		assert_rv(feed(g, &jobs[i], 2), CKR_OK);
		assert_rv(finish(g, &jobs[i]), jobs[i].end);
		check(g, &jobs[i]);
	}
	ground_end(g);
}

/* Begun anew the module gives other output than it gave before. */
static void output_that_comes_out_differently_ends_the_operation(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, ENCRYPT);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	/* The replay's update is executed, but said not to have been: it is asked twice,
	 * and what comes out is another part of the cipher's output. */
	const struct mock_failure failure = { .function = "C_EncryptUpdate",
					      .rv = CKR_BUFFER_TOO_SMALL,
					      .after = true };
	ground_take_all_away(g);
	(fixture_mock_control()->fail)(&failure);
	CK_RV rv = feed(g, &job, 1);
	assert_rv(rv, CKR_FUNCTION_FAILED);
	assert_rv(finish(g, &job), CKR_OPERATION_NOT_INITIALIZED);
	ground_end(g);
}

/* --- pins -----------------------------------------------------------------------------
 */

static CK_RV digest_on(struct ground *g, CK_SESSION_HANDLE session)
{
	CK_MECHANISM digest = { .mechanism = CKM_SHA256 };
	CK_BYTE out[64], in[4] = { 0 };
	CK_ULONG len = sizeof(out);
	CK_RV rv = g->p11->C_DigestInit(session, &digest);
	return rv == CKR_OK ? g->p11->C_Digest(session, in, 4, out, &len) : rv;
}

static void a_journal_that_overflows_pins_its_session(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", "journal-limit = 64B");
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	/* Not yet. */
	assert_rv(digest_on(g, g->main), CKR_OK);
	assert_rv(feed(g, &job, 1), CKR_OK);
	assert_rv(digest_on(g, g->main), CKR_FUNCTION_FAILED);
	assert_rv(feed(g, &job, 2), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	assert_rv(digest_on(g, g->main), CKR_OK);
	check(g, &job);
	ground_end(g);
}

/* It asks for the session only to be told that there is nothing to end. */
static void a_call_in_vain_waits_for_a_pinned_session_but_once(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, "borrow-timeout = 100ms", "journal-limit = 64B");
	struct job job;
	CK_BYTE out[64];
	CK_ULONG len = sizeof(out);
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	assert_rv(feed(g, &job, 1), CKR_OK);
	assert_rv(g->p11->C_DigestFinal(g->main, out, &len), CKR_FUNCTION_FAILED);
	assert_rv(feed(g, &job, 2), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	check(g, &job);
	ground_end(g);
}

static void all_journals_together_are_bounded(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 2, "borrow-timeout = 100ms",
		     "journal-limit = 512B\njournal-total = 1KiB");
	struct job jobs[2];
	for (unsigned i = 0; i < 2; i++) {
		prepare(g, &jobs[i], SIGN + FLAVOURS * i);
		assert_rv(begin(g, &jobs[i], jobs[i].session), CKR_OK);
		for (unsigned part = 0; part < 2; part++)
			assert_rv(feed(g, &jobs[i], part), CKR_OK);
	}
	/* 512 B each: a third one finds no room, and is pinned. */
	struct job third;
	prepare(g, &third, DIGEST);
	assert_rv(begin(g, &third, third.session), CKR_OK);
	assert_rv(feed(g, &third, 0), CKR_OK);
	ground_take_all_away(g);
	for (unsigned i = 0; i < 2; i++) {
		assert_rv(feed(g, &jobs[i], 2), CKR_OK);
		assert_rv(finish(g, &jobs[i]), CKR_OK);
		check(g, &jobs[i]);
	}
	assert_rv(feed(g, &third, 1), CKR_OK);
	assert_rv(feed(g, &third, 2), CKR_OK);
	assert_rv(finish(g, &third), CKR_OK);
	check(g, &third);
	ground_end(g);
}

/* L27: until then the others wait, and after it they do not. */
static void a_pin_ends_after_its_time(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, "borrow-timeout = 10s",
		     "journal-limit = 64B\npin-timeout = 50ms");
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	for (unsigned part = 0; part < PARTS; part++)
		assert_rv(feed(g, &job, part), CKR_OK);
	assert_rv(digest_on(g, g->main), CKR_OK);
	assert_rv(finish(g, &job), CKR_OPERATION_NOT_INITIALIZED);
	ground_end(g);
}

/* --- keys that want the PIN each time ------------------------------------------------
 */

static CK_OBJECT_HANDLE make_careful_key(struct ground *g)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN };
	CK_ULONG bits = 1024;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_BYTE id[] = { 0xca, 0xfe };
	CK_ATTRIBUTE public[] = { { CKA_MODULUS_BITS, &bits, sizeof(bits) },
				  { CKA_TOKEN, &yes, 1 },
				  { CKA_ID, id, sizeof(id) },
				  { CKA_VERIFY, &yes, 1 } };
	CK_ATTRIBUTE private[] = {
		{ CKA_TOKEN, &yes, 1 },      { CKA_PRIVATE, &yes, 1 },
		{ CKA_ID, id, sizeof(id) },  { CKA_SIGN, &yes, 1 },
		{ CKA_EXTRACTABLE, &no, 1 }, { CKA_ALWAYS_AUTHENTICATE, &yes, 1 }
	};
	CK_OBJECT_HANDLE keys[2];
	assert_rv(g->p11->C_GenerateKeyPair(g->main, &mechanism, public, 4, private, 6,
					    &keys[0], &keys[1]),
		  CKR_OK);
	return keys[1];
}

/* L28 */
static void a_context_login_pins_the_operation_that_it_is_for(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM rsa = { .mechanism = CKM_SHA256_RSA_PKCS };
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN, wrong[] = "wrong-1234";
	CK_BYTE in[8] = { 0 }, out[256];
	CK_ULONG len = sizeof(out);
	ground_begin(g, 1, "borrow-timeout = 100ms", NULL);
	CK_OBJECT_HANDLE key = make_careful_key(g);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(g->p11->C_Login(s, CKU_CONTEXT_SPECIFIC, pin, sizeof(pin) - 1),
		  CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_SignInit(s, &rsa, key), CKR_OK);
	assert_rv(g->p11->C_Sign(s, in, sizeof(in), out, &len), CKR_USER_NOT_LOGGED_IN);
	assert_rv(g->p11->C_SignInit(s, &rsa, key), CKR_OK);
	ground_take_all_away(g);
	assert_rv(g->p11->C_Login(s, CKU_CONTEXT_SPECIFIC, wrong, sizeof(wrong) - 1),
		  CKR_PIN_INCORRECT);
	assert_rv(g->p11->C_Login(s, CKU_CONTEXT_SPECIFIC, pin, sizeof(pin) - 1), CKR_OK);
	assert_rv(digest_on(g, g->main), CKR_FUNCTION_FAILED);
	len = sizeof(out);
	assert_rv(g->p11->C_Sign(s, in, sizeof(in), out, &len), CKR_OK);
	assert_int_equal(len, 128);
	assert_rv(digest_on(g, g->main), CKR_OK);
	ground_end(g);
}

/* --- answers of the module ------------------------------------------------------------
 */

static void errors_are_the_modules_own(void **state)
{
	struct ground *g = *state;
	CK_BYTE in[16] = { 0 }, out[64];
	CK_ULONG len = sizeof(out);
	CK_MECHANISM none = { .mechanism = 0x7fffffff };
	CK_MECHANISM mac = { .mechanism = CKM_SHA256_HMAC };
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE s = g->main;
	assert_rv(g->p11->C_SignInit(s, &none, g->hmac), CKR_MECHANISM_INVALID);
	assert_rv(g->p11->C_SignInit(s, NULL, g->hmac), CKR_ARGUMENTS_BAD);
	assert_rv(g->p11->C_SignInit(s, &mac, 0),
		  g->is_mock ? CKR_KEY_HANDLE_INVALID : CKR_OBJECT_HANDLE_INVALID);
	assert_rv(g->p11->C_SignInit(s, &mac, 999999),
		  g->is_mock ? CKR_KEY_HANDLE_INVALID : CKR_OBJECT_HANDLE_INVALID);
	assert_rv(g->p11->C_Sign(s, in, 16, out, &len), CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_SignUpdate(s, in, 16), CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_EncryptFinal(s, out, &len), CKR_OPERATION_NOT_INITIALIZED);
	assert_rv(g->p11->C_SignInit(s + 1000, &mac, g->hmac),
		  CKR_SESSION_HANDLE_INVALID);
	assert_rv(g->p11->C_SignUpdate(0, in, 16), CKR_SESSION_HANDLE_INVALID);
	ground_end(g);
}

/* S12 */
static void a_second_init_finds_the_first_active_even_if_taken_away(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(begin(g, &job, job.session), CKR_OPERATION_ACTIVE);
	assert_rv(feed(g, &job, 0), CKR_OK);
	ground_take_all_away(g);
	assert_rv(begin(g, &job, job.session), CKR_OPERATION_ACTIVE);
	assert_rv(feed(g, &job, 1), CKR_OK);
	assert_rv(feed(g, &job, 2), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	check(g, &job);
	ground_end(g);
}

/* SoftHSM2 keeps an operation active over wrong arguments, and so does the proxy, on any
 * session. */
static void what_the_module_keeps_active_stays_active(void **state)
{
	struct ground *g = *state;
	CK_BYTE in[16] = { 0 }, out[64];
	CK_ULONG len = sizeof(out);
	CK_MECHANISM mac = { .mechanism = CKM_SHA256_HMAC };
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE s = g->main;
	for (unsigned i = 0; i < 2; i++) {
		assert_rv(g->p11->C_SignInit(s, &mac, g->hmac), CKR_OK);
		assert_rv(g->p11->C_Sign(s, in, 16, out, NULL), CKR_ARGUMENTS_BAD);
		if (i == 1)
			ground_take_all_away(g);
		if (!g->is_mock)
			assert_rv(g->p11->C_SignInit(s, &mac, g->hmac),
				  CKR_OPERATION_ACTIVE);
		assert_rv(g->p11->C_Sign(s, in, 16, out, &len),
			  g->is_mock ? CKR_OPERATION_NOT_INITIALIZED : CKR_OK);
	}
	ground_end(g);
}

/* What it had taken in before is not forgotten, and what it refused is not taken in. */
static void an_update_that_was_refused_changes_nothing(void **state)
{
	struct ground *g = *state;
	ground_begin(g, 1, NULL, NULL);
	struct job job;
	prepare(g, &job, SIGN);
	assert_rv(begin(g, &job, job.session), CKR_OK);
	assert_rv(feed(g, &job, 0), CKR_OK);
	if (!g->is_mock)
		assert_rv(g->p11->C_SignUpdate(job.session, NULL, 7), CKR_ARGUMENTS_BAD);
	ground_take_all_away(g);
	for (unsigned part = 1; part < PARTS; part++)
		assert_rv(feed(g, &job, part), CKR_OK);
	assert_rv(finish(g, &job), CKR_OK);
	check(g, &job);
	ground_end(g);
}

/* SoftHSM2 says "no operation" to the end of one that has no parts, and keeps it. */
static void a_denied_operation_that_goes_on_is_nobody_elses(void **state)
{
	struct ground *g = *state;
	CK_MECHANISM rsa = { .mechanism = CKM_RSA_PKCS };
	CK_MECHANISM digest = { .mechanism = CKM_SHA256 };
	CK_BYTE signature[128] = { 0 };
	ground_begin(g, 1, NULL, NULL);
	CK_SESSION_HANDLE s = ground_session(g);
	assert_rv(g->p11->C_VerifyInit(s, &rsa, g->rsa_public), CKR_OK);
	for (unsigned i = 0; i < 2 && !g->is_mock; i++) {
		assert_rv(g->p11->C_VerifyFinal(s, signature, 128),
			  CKR_OPERATION_NOT_INITIALIZED);
		assert_rv(g->p11->C_DigestInit(s, &digest), CKR_OPERATION_ACTIVE);
	}
	assert_rv(g->p11->C_CloseSession(s), CKR_OK);
	assert_rv(digest_on(g, g->main), CKR_OK);
	ground_end(g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			three_hundred_interleaved_operations_live_on_two_sessions),
		cmocka_unit_test(interleaved_operations_live_on_one_session),
		cmocka_unit_test(two_virtual_sessions_alternate_on_one_real_session),
		cmocka_unit_test(an_idle_init_holds_no_session),
		cmocka_unit_test(threads_share_two_real_sessions),
		cmocka_unit_test(a_journal_that_overflows_pins_its_session),
		cmocka_unit_test(a_call_in_vain_waits_for_a_pinned_session_but_once),
		cmocka_unit_test(all_journals_together_are_bounded),
		cmocka_unit_test(a_pin_ends_after_its_time),
		cmocka_unit_test(a_context_login_pins_the_operation_that_it_is_for),
		cmocka_unit_test(errors_are_the_modules_own),
		cmocka_unit_test(a_second_init_finds_the_first_active_even_if_taken_away),
		cmocka_unit_test(what_the_module_keeps_active_stays_active),
		cmocka_unit_test(an_update_that_was_refused_changes_nothing),
		cmocka_unit_test(a_denied_operation_that_goes_on_is_nobody_elses),
		cmocka_unit_test(a_signature_on_the_only_session_costs_no_handle),
		/* What only the mock counts, does or has. */
		cmocka_unit_test(a_signature_that_is_taken_away_is_never_finished),
		cmocka_unit_test(an_abandoned_signature_is_never_finished),
		cmocka_unit_test(detached_updates_make_no_call),
		cmocka_unit_test(a_lost_final_is_not_submitted_again),
		cmocka_unit_test(an_update_survives_the_loss_of_its_session),
		cmocka_unit_test(an_operation_survives_a_reboot_of_the_token),
		cmocka_unit_test(output_that_comes_out_differently_ends_the_operation),
	};
	return ground_run("operations", tests, sizeof(tests) / sizeof(tests[0]), 7, argc,
			  argv);
}
