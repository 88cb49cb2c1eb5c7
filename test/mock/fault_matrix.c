/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault matrix of the library: every function that it calls x every class of return
 * value x moments, before and after execution. Whatever the operations answered:
 * afterwards they all work again, the counts of the pool balance, no session is left, no
 * PIN was wasted, and nothing was made twice that may be made once. (L20, row 24)
 *
 * Every operation runs in every case. By default a fixed sample of the cases runs; with
 * HSMPOOL_MATRIX_EVERY=1 all of them, and then with every code instead of one per class.
 *
 * Left out: C_CloseSession that fails undone (that session stays open whoever asks),
 * C_OpenSession that succeeds untold (that session is nobody's), what only the making of
 * a token calls, and functions of PKCS#11 3.0, which the mock does not have.
 */
#include "mock/pool_ground.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "p11/rv.h"
#include "pool/latch.h"

#define BYTES(pointer, length) ((hsmpool_bytes){ (const uint8_t *)(pointer), (length) })
#define TEXT(literal)          BYTES(literal, sizeof(literal) - 1)
#define OUT(array)             ((hsmpool_buf){ array, sizeof(array), 0 })

static hsmpool *pool;
static hsmpool_key *rsa, *ec, *aes, *hmac, *wrapper, *wrapped_key, *deriver;
/* Made objects are called matrix-N; those of this case from first_label on. */
static unsigned label_count, first_label;

static hsmpool_deadline soon(void)
{
	return hsmpool_deadline_in(100);
}

/* --- the operations ---------------------------------------------------------- */

static hsmpool_status sign_rsa(hsmpool_error *err)
{
	uint8_t data[512];
	hsmpool_buf out = OUT(data);

	return hsmpool_sign(pool, rsa, "rsa-pkcs1-sha256", TEXT("m"), &out, soon(), err);
}

static hsmpool_status sign_ec(hsmpool_error *err)
{
	uint8_t data[512];
	hsmpool_buf out = OUT(data);

	return hsmpool_sign(pool, ec, "ecdsa-sha256", TEXT("m"), &out, soon(), err);
}

static hsmpool_status verify(hsmpool_error *err)
{
	static const uint8_t nothing[64] = { 1 };
	hsmpool_status status = hsmpool_verify(pool, ec, "ecdsa-sha256", TEXT("m"),
					       BYTES(nothing, 64), soon(), err);

	return status == HSMPOOL_ERR_DATA ? HSMPOOL_OK : status;
}

static hsmpool_status mac(hsmpool_error *err)
{
	uint8_t data[64];
	hsmpool_buf out = OUT(data);

	return hsmpool_mac(pool, hmac, "hmac-sha256", TEXT("m"), &out, soon(), err);
}

static hsmpool_status encrypt_and_decrypt(hsmpool_error *err)
{
	uint8_t sealed[64], plain[16];
	hsmpool_buf out = OUT(sealed), back = OUT(plain);

	HP_TRY(hsmpool_encrypt(pool, aes, "aes-gcm", NULL, TEXT("m"), &out, soon(), err));
	return hsmpool_decrypt(pool, aes, "aes-gcm", NULL, BYTES(sealed, out.len), &back,
			       soon(), err);
}

static hsmpool_status digest(hsmpool_error *err)
{
	uint8_t data[64];
	hsmpool_buf out = OUT(data);

	return hsmpool_digest(pool, "sha256", TEXT("m"), &out, soon(), err);
}

static hsmpool_status random_bytes(hsmpool_error *err)
{
	uint8_t data[16];

	return hsmpool_random(pool, data, sizeof(data), soon(), err);
}

static hsmpool_status find_key(hsmpool_error *err)
{
	hsmpool_key *key = NULL;
	hsmpool_key_info info = { .size = sizeof(info) };
	hsmpool_status status =
		hsmpool_key_open(&key, pool, "pkcs11:object=rsa", soon(), err);

	if (status == HSMPOOL_OK)
		status = hsmpool_key_get_info(key, &info, soon(), err);
	hsmpool_key_close(&key);
	return status;
}

/* The specification of an object to make, under a label that nobody has. */
static hsmpool_key_spec specify(const char *type)
{
	static char label[32];

	snprintf(label, sizeof(label), "matrix-%u", label_count++);
	return (hsmpool_key_spec){ .size = sizeof(hsmpool_key_spec),
				   .type = type,
				   .label = label };
}

static hsmpool_status destroy(hsmpool_key *key, hsmpool_error *err)
{
	hsmpool_status status = hsmpool_key_destroy(key, soon(), err);

	hsmpool_key_close(&key);
	return status;
}

static hsmpool_status generate_and_destroy(hsmpool_error *err)
{
	hsmpool_key_spec spec = specify("aes");
	hsmpool_key *key;

	HP_TRY(hsmpool_key_generate(&key, pool, &spec, soon(), err));
	return destroy(key, err);
}

static hsmpool_status generate_pair(hsmpool_error *err)
{
	hsmpool_key_spec spec = specify("ec");
	hsmpool_key *key;

	HP_TRY(hsmpool_key_generate(&key, pool, &spec, soon(), err));
	return destroy(key, err);
}

static hsmpool_status import(hsmpool_error *err)
{
	hsmpool_key_spec spec = specify("generic");
	hsmpool_key *key;

	HP_TRY(hsmpool_key_import_secret(&key, pool, &spec, TEXT("0123456789abcdef"),
					 soon(), err));
	return destroy(key, err);
}

static hsmpool_status wrap_and_unwrap(hsmpool_error *err)
{
	hsmpool_key_spec spec = specify("aes");
	uint8_t data[128];
	hsmpool_buf out = OUT(data);
	hsmpool_key *key;

	HP_TRY(hsmpool_key_wrap(wrapper, "aes-kwp", wrapped_key, &out, soon(), err));
	HP_TRY(hsmpool_key_unwrap(&key, wrapper, "aes-kwp", BYTES(data, out.len), &spec,
				  soon(), err));
	return destroy(key, err);
}

/* The base point of P-256 lies on its curve. */
static const char peer[] =
	"\x04\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d"
	"\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x4f\xe3\x42\xe2\xfe\x1a\x7f"
	"\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40"
	"\x68\x37\xbf\x51\xf5";

static hsmpool_status derive(hsmpool_error *err)
{
	hsmpool_key_spec spec = specify("generic");
	hsmpool_key *key;

	HP_TRY(hsmpool_key_derive(&key, deriver, BYTES(peer, 65), &spec, soon(), err));
	return destroy(key, err);
}

static hsmpool_status derive_secret(hsmpool_error *err)
{
	uint8_t data[66];
	hsmpool_buf out = OUT(data);

	return hsmpool_derive_secret(pool, deriver, BYTES(peer, 65), &out, soon(), err);
}

static hsmpool_status in_parts(hsmpool_key *key, hsmpool_multipart_kind kind,
			       const char *scheme, hsmpool_error *err)
{
	uint8_t data[512], last[512];
	hsmpool_buf out = OUT(data), rest = OUT(last);
	hsmpool_multipart *op = NULL;
	hsmpool_status status =
		hsmpool_multipart_begin(&op, pool, key, kind, scheme, NULL, soon(), err);

	if (status == HSMPOOL_OK)
		status =
			hsmpool_multipart_update(op, TEXT("0123456789abcdef"), &out, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_multipart_final(&op, &rest, err);
	hsmpool_multipart_abort(&op);
	return status;
}

static hsmpool_status sign_in_parts(hsmpool_error *err)
{
	return in_parts(rsa, HSMPOOL_MULTIPART_SIGN, "rsa-pkcs1-sha256", err);
}

static hsmpool_status digest_in_parts(hsmpool_error *err)
{
	return in_parts(NULL, HSMPOOL_MULTIPART_DIGEST, "sha256", err);
}

static hsmpool_status encrypt_in_parts(hsmpool_error *err)
{
	return in_parts(aes, HSMPOOL_MULTIPART_ENCRYPT, "aes-cbc-pad", err);
}

static hsmpool_status decrypt_in_parts(hsmpool_error *err)
{
	uint8_t sealed[64], data[64], last[64];
	hsmpool_buf in = OUT(sealed), out = OUT(data), rest = OUT(last);
	hsmpool_multipart *op = NULL;

	HP_TRY(hsmpool_encrypt(pool, aes, "aes-cbc-pad", NULL, TEXT("m"), &in, soon(),
			       err));
	hsmpool_status status =
		hsmpool_multipart_begin(&op, pool, aes, HSMPOOL_MULTIPART_DECRYPT,
					"aes-cbc-pad", NULL, soon(), err);
	if (status == HSMPOOL_OK)
		status = hsmpool_multipart_update(op, BYTES(sealed, in.len), &out, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_multipart_final(&op, &rest, err);
	hsmpool_multipart_abort(&op);
	return status;
}

/* How many signatures and objects one operation makes; ANY: as often as it likes. */
#define ANY UINT64_MAX
static const struct operation {
	const char *name;
	hsmpool_status (*run)(hsmpool_error *err);
	uint64_t signatures, objects;
} operations[] = {
	{ "sign with rsa", sign_rsa, 1, 0 },
	{ "sign with ec", sign_ec, 1, 0 },
	{ "verify", verify, 0, ANY },
	{ "mac", mac, ANY, 0 },
	{ "encrypt and decrypt", encrypt_and_decrypt, 0, 0 },
	{ "digest", digest, 0, 0 },
	{ "random", random_bytes, 0, 0 },
	{ "find key", find_key, 0, 0 },
	{ "generate", generate_and_destroy, 0, 1 },
	{ "generate pair", generate_pair, 0, 2 },
	{ "import", import, 0, 1 },
	{ "wrap and unwrap", wrap_and_unwrap, 0, 1 },
	{ "derive", derive, 0, 1 },
	{ "derive secret", derive_secret, 0, 1 },
	{ "sign in parts", sign_in_parts, 1, 0 },
	{ "digest in parts", digest_in_parts, 0, 0 },
	{ "encrypt in parts", encrypt_in_parts, 0, 0 },
	{ "decrypt in parts", decrypt_in_parts, 0, 0 },
};

/* --- the axes ---------------------------------------------------------------- */

enum { BEFORE = 1, AFTER = 2, BOTH = 3 };
static const struct {
	const char *name;
	unsigned when;
} functions[] = {
	{ "C_Initialize", BOTH },        { "C_Finalize", BOTH },
	{ "C_GetInfo", BOTH },           { "C_GetSlotList", BOTH },
	{ "C_GetSlotInfo", BOTH },       { "C_GetTokenInfo", BOTH },
	{ "C_GetMechanismList", BOTH },  { "C_GetMechanismInfo", BOTH },
	{ "C_OpenSession", BEFORE },     { "C_CloseSession", AFTER },
	{ "C_GetSessionInfo", BOTH },    { "C_Login", BOTH },
	{ "C_CreateObject", BOTH },      { "C_CopyObject", BOTH },
	{ "C_DestroyObject", BOTH },     { "C_GetAttributeValue", BOTH },
	{ "C_SetAttributeValue", BOTH }, { "C_FindObjectsInit", BOTH },
	{ "C_FindObjects", BOTH },       { "C_FindObjectsFinal", BOTH },
	{ "C_EncryptInit", BOTH },       { "C_Encrypt", BOTH },
	{ "C_EncryptUpdate", BOTH },     { "C_EncryptFinal", BOTH },
	{ "C_DecryptInit", BOTH },       { "C_Decrypt", BOTH },
	{ "C_DecryptUpdate", BOTH },     { "C_DecryptFinal", BOTH },
	{ "C_DigestInit", BOTH },        { "C_Digest", BOTH },
	{ "C_DigestUpdate", BOTH },      { "C_DigestFinal", BOTH },
	{ "C_SignInit", BOTH },          { "C_Sign", BOTH },
	{ "C_SignUpdate", BOTH },        { "C_SignFinal", BOTH },
	{ "C_VerifyInit", BOTH },        { "C_Verify", BOTH },
	{ "C_GenerateKey", BOTH },       { "C_GenerateKeyPair", BOTH },
	{ "C_WrapKey", BOTH },           { "C_UnwrapKey", BOTH },
	{ "C_DeriveKey", BOTH },         { "C_GenerateRandom", BOTH },
};

/* What goes on when the failure comes. */
enum moment { FIRST, LATER, LOGIN, RECOVERY, COPYING, OPENING };
static const char *const moments[] = { "first",       "later",   "at login",
				       "in recovery", "copying", "opening" };

/* More than one of the classes in which codes differ most. */
static const CK_RV more_codes[] = {
	CKR_FUNCTION_FAILED,           CKR_SESSION_CLOSED,         CKR_DEVICE_REMOVED,
	CKR_OPERATION_NOT_INITIALIZED, CKR_ENCRYPTED_DATA_INVALID, 0x80000042
};
static CK_RV codes[256];
static size_t code_count;

static void choose_codes(bool is_full)
{
	bool has_class[HP_RV_CLASS_COUNT] = { [HP_RV_OK] = true };
	const struct hp_rv_info *info;

	code_count = 0;
	for (size_t i = 0; (info = hp_rv_at(i)) != NULL; i++) {
		if (info->rv == CKR_OK || (has_class[info->class] && !is_full))
			continue;
		has_class[info->class] = true;
		codes[code_count++] = info->rv;
	}
	for (size_t i = 0; i < HP_ARRAY_LEN(more_codes); i++)
		codes[code_count++] = more_codes[i];
}

struct fault {
	const char *function;
	CK_RV rv;
	enum moment moment;
	bool after;
	char what[160];
};

/* --- one case ---------------------------------------------------------------- */

static hsmpool_key *open_key(const char *label)
{
	hsmpool_error err;
	hsmpool_key *key;
	char uri[64];

	snprintf(uri, sizeof(uri), "pkcs11:object=%s", label);
	assert_ok(hsmpool_key_open(&key, pool, uri, TEST_PATIENCE, &err), &err);
	return key;
}

static const struct {
	hsmpool_key **key;
	const char *label;
} keys[] = {
	{ &rsa, "rsa" },           { &ec, "ec" },
	{ &aes, "aes" },           { &hmac, "hmac" },
	{ &wrapper, "m-wrapper" }, { &wrapped_key, "m-wrapped" },
	{ &deriver, "m-deriver" },
};

static void open_all(struct ground *g, enum moment moment)
{
	pool = ground_open(g, "max-sessions", "2", "validate-after", "0", "key-copies",
			   moment == COPYING ? "session" : "none", NULL);
	for (size_t i = 0; i < HP_ARRAY_LEN(keys); i++)
		*keys[i].key = open_key(keys[i].label);
}

static void close_all(struct ground *g)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(keys); i++)
		hsmpool_key_close(keys[i].key);
	hsmpool_close(&g->pool);
}

static uint64_t nth_call(const struct fault *fault)
{
	return fault->moment == LATER ? 3 : 1;
}

static void arm(struct ground *g, const struct fault *fault)
{
	const struct mock_failure failure = { .function = fault->function,
					      .rv = fault->rv,
					      .first = nth_call(fault),
					      .after = fault->after };

	/* Signatures are counted while anything is armed. */
	g->mock->latency("C_SeedRandom", 1);
	if (fault->moment == LOGIN)
		g->mock->log_out();
	if (fault->moment == RECOVERY)
		g->mock->reboot(&(struct mock_reboot){ .move_slot = true });
	(g->mock->fail)(&failure);
}

/* These answers to C_Sign prove that nothing ran; here they lie. */
static bool is_false_proof(const struct fault *fault)
{
	return fault->after &&
	       (strcmp(fault->function, "C_Sign") == 0 ||
		strcmp(fault->function, "C_SignFinal") == 0) &&
	       (fault->rv == CKR_KEY_HANDLE_INVALID ||
		fault->rv == CKR_USER_NOT_LOGGED_IN ||
		fault->rv == CKR_OPERATION_NOT_INITIALIZED);
}

static void run_once(struct ground *g, const struct operation *op,
		     const struct fault *fault)
{
	struct mock_counters before = ground_counters(g);
	uint64_t copied_before = g->mock->executed("C_CopyObject");
	hsmpool_error err;
	hsmpool_status status = op->run(&err);
	struct mock_counters after = ground_counters(g);
	uint64_t copied = g->mock->executed("C_CopyObject") - copied_before;
	uint64_t signatures = after.signatures - before.signatures;
	uint64_t objects = after.objects_created - before.objects_created;

	if (signatures > op->signatures && !is_false_proof(fault))
		fail_msg("%s: %s: %u signatures (%s)", fault->what, op->name,
			 (unsigned)signatures, hsmpool_status_name(status));
	/* Copies of keys are nobody's but the pool's. */
	if (op->objects != ANY && objects > op->objects + copied)
		fail_msg("%s: %s: %u objects made (%s)", fault->what, op->name,
			 (unsigned)objects, hsmpool_status_name(status));
}

static bool is_latching(const struct fault *fault)
{
	return hp_rv_class(NULL, fault->rv) == HP_RV_PIN &&
	       strcmp(fault->function, "C_Login") == 0;
}

/* A PIN that was refused is not tried again until somebody says so. */
static void release_latch(struct ground *g)
{
	char state_dir[300];
	struct hp_latch_file *files = NULL;
	size_t count = 0;
	hsmpool_error err;

	snprintf(state_dir, sizeof(state_dir), "%s/state", g->fixture.dir);
	assert_ok(hp_latch_list(state_dir, &files, &count, &err), &err);
	for (size_t i = 0; i < count; i++)
		assert_ok(hp_latch_release(state_dir, files[i].name, &err), &err);
	free(files);
}

static void check_service(const struct fault *fault)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(operations); i++) {
		int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
		hsmpool_error err;

		while (operations[i].run(&err) != HSMPOOL_OK)
			if (hp_now_ns() > until)
				fail_msg("%s: %s does not work again: %s", fault->what,
					 operations[i].name, err.text);
	}
}

static bool is_balanced(const hsmpool_stats *s)
{
	return s->idle == s->open && s->used == 0 && s->opening == 0 && s->waiters == 0 &&
	       s->returned == s->borrowed_direct + s->borrowed_waited;
}

/* What the background still has in its hands comes back. */
static hsmpool_stats settle(struct ground *g)
{
	int64_t until = hp_now_ns() + TEST_PATIENCE_NS;
	hsmpool_stats stats;

	while (stats = ground_stats(g), !is_balanced(&stats) && hp_now_ns() < until)
		ground_nap();
	return stats;
}

static void check_books(struct ground *g, const struct fault *fault)
{
	hsmpool_stats stats = settle(g);
	struct mock_counters c;
	char why[128] = "";

	if (!is_balanced(&stats) || stats.peak > 2)
		fail_msg("%s: idle %u of %u, used %u, peak %u, waiters %u", fault->what,
			 stats.idle, stats.open, stats.used, stats.peak, stats.waiters);
	close_all(g);
	c = ground_counters(g);
	if (c.logins_failed != 0)
		fail_msg("%s: %u PIN tries wasted", fault->what,
			 (unsigned)c.logins_failed);
	if (!g->mock->check_balance(why, sizeof(why)))
		fail_msg("%s: %s", fault->what, why);
}

static CK_RV remove_by_label(struct hp_session *session, unsigned number)
{
	char label[32];
	CK_ATTRIBUTE template = { CKA_LABEL, label, 0 };
	CK_OBJECT_HANDLE found[4];
	CK_ULONG count = 0;

	template.ulValueLen =
		(CK_ULONG)snprintf(label, sizeof(label), "matrix-%u", number);
	CK_RV rv = hp_find_objects(session, &template, 1, found, 4, &count);
	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
		rv = hp_destroy_object(session, found[i]);
	return rv;
}

/* Objects whose making or unmaking was answered with an error are still there. */
static void remove_made(struct ground *g)
{
	struct hp_session *session;
	CK_RV rv = CKR_OK;
	hsmpool_error err;

	assert_ok(hp_pool_borrow(g->pool, HP_WANT_READ_WRITE, "remove", HSMPOOL_DEFAULT,
				 &session, &err),
		  &err);
	for (unsigned i = first_label; rv == CKR_OK && i < label_count; i++)
		rv = remove_by_label(session, i);
	hp_pool_return(session, rv);
	assert_int_equal(rv, CKR_OK);
}

static void check_all(struct ground *g, const struct fault *fault)
{
	if (is_latching(fault))
		release_latch(g);
	check_service(fault);
	remove_made(g);
	check_books(g, fault);
}

static void end_module(const struct ground *g)
{
	void *dl = dlopen(g->fixture.module, RTLD_NOW | RTLD_LOCAL);
	CK_FUNCTION_LIST *module = NULL;
	CK_C_GetFunctionList get = NULL;

	assert_non_null(dl);
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	assert_non_null(get);
	assert_int_equal(get(&module), CKR_OK);
	module->C_Finalize(NULL);
	dlclose(dl);
}

/* Opened and closed under the fault, and once more without. */
static bool run_opening(struct ground *g, const struct fault *fault)
{
	uint64_t before = g->mock->calls(fault->function);
	hsmpool_error err;

	arm(g, fault);
	hsmpool_status status =
		hsmpool_open(&g->pool, g->fixture.config, NULL, soon(), &err);
	assert_true((status == HSMPOOL_OK) == (g->pool != NULL));
	hsmpool_close(&g->pool);
	bool was_met = g->mock->calls(fault->function) > before;
	g->mock->clear_failures();
	if (is_latching(fault))
		release_latch(g);
	open_all(g, fault->moment);
	check_all(g, fault);
	end_module(g); /* where the fault left it begun */
	return was_met;
}

/* True: the fault was met. */
static bool run_case(struct ground *g, struct fault *fault)
{
	char name[32];

	snprintf(fault->what, sizeof(fault->what), "%s answers %s %s, %s",
		 fault->function, hp_rv_name(fault->rv, name),
		 fault->after ? "having done it" : "undone", moments[fault->moment]);
	if (getenv("HSMPOOL_MATRIX_TELL"))
		print_message("%s\n", fault->what);
	g->mock->reset();
	g->mock->pin(FIXTURE_USER_PIN);
	g->mock->pin_tries(3);
	first_label = label_count;
	if (fault->moment == OPENING)
		return run_opening(g, fault);
	open_all(g, fault->moment);
	uint64_t before = g->mock->calls(fault->function);
	arm(g, fault);
	/* Every function is called at least once a round. */
	for (int round = 0; round < (fault->moment == LATER ? 3 : 1); round++)
		for (size_t i = 0; i < HP_ARRAY_LEN(operations); i++)
			run_once(g, &operations[i], fault);
	bool was_met = g->mock->calls(fault->function) - before >= nth_call(fault);
	g->mock->clear_failures();
	check_all(g, fault);
	return was_met;
}

/* --- all of them ------------------------------------------------------------- */

static unsigned long sample_every(void)
{
	const char *text = getenv("HSMPOOL_MATRIX_EVERY");

	return text && *text ? strtoul(text, NULL, 10) : 23;
}

static unsigned met[HP_ARRAY_LEN(functions)]; /* cases in which it was called */

static void every_fault_at_a(struct ground *g, enum moment moment)
{
	unsigned long every = sample_every(), number = 0;

	choose_codes(every == 1);
	for (size_t f = 0; f < HP_ARRAY_LEN(functions); f++)
		for (size_t c = 0; c < code_count; c++)
			for (unsigned when = BEFORE; when <= AFTER; when++) {
				struct fault fault = { functions[f].name, codes[c],
						       moment, when == AFTER, "" };
				if (!(functions[f].when & when))
					continue;
				if (number++ % every == moment % every)
					met[f] += run_case(g, &fault);
			}
}

static void a_first_call_that_fails_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, FIRST);
}

static void a_later_call_that_fails_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, LATER);
}

static void a_call_that_fails_around_a_login_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, LOGIN);
}

static void a_call_that_fails_in_recovery_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, RECOVERY);
}

static void a_call_that_fails_with_copies_of_keys_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, COPYING);
}

static void a_call_that_fails_at_the_opening_leaves_everything_whole(void **state)
{
	every_fault_at_a(*state, OPENING);
}

static void the_functions_of_the_table_were_met(void **state)
{
	/* Some are called only now and then: a sample may miss those. */
	unsigned allowed = sample_every() > 1 ? HP_ARRAY_LEN(functions) / 4 : 0;
	unsigned missed = 0;

	(void)state;
	for (size_t f = 0; f < HP_ARRAY_LEN(functions); f++)
		if (met[f] == 0 && ++missed > allowed)
			fail_msg("%s was never called, nor %u others", functions[f].name,
				 missed - 1);
}

/* --- the ground -------------------------------------------------------------- */

static void make_key(const char *type, const char *label, uint32_t usage)
{
	const hsmpool_key_spec spec = { .size = sizeof(spec),
					.type = type,
					.label = label,
					.extractable = 1,
					.usage = usage };
	hsmpool_error err;
	hsmpool_key *key;

	assert_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	hsmpool_key_close(&key);
}

static int set_up(void **state)
{
	ground_set_up(state);
	struct ground *g = *state;
	pool = ground_open(g, NULL);
	make_key("aes", "m-wrapper", HSMPOOL_KEY_CAN_WRAP | HSMPOOL_KEY_CAN_UNWRAP);
	make_key("aes", "m-wrapped", 0);
	make_key("ec", "m-deriver", HSMPOOL_KEY_CAN_DERIVE);
	hsmpool_close(&g->pool);
	return 0;
}

static int tear_down(void **state)
{
	struct ground *g = *state;
	hsmpool_error err;

	if (g->pool)
		close_all(g);
	g->mock->reset();
	g->mock->pin(FIXTURE_USER_PIN);
	pool = ground_open(g, NULL);
	destroy(open_key("m-wrapper"), &err);
	destroy(open_key("m-wrapped"), &err);
	destroy(open_key("m-deriver"), &err);
	return ground_tear_down(state);
}

#define MATRIX_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MATRIX_TEST(a_first_call_that_fails_leaves_everything_whole),
		MATRIX_TEST(a_later_call_that_fails_leaves_everything_whole),
		MATRIX_TEST(a_call_that_fails_around_a_login_leaves_everything_whole),
		MATRIX_TEST(a_call_that_fails_in_recovery_leaves_everything_whole),
		MATRIX_TEST(
			a_call_that_fails_with_copies_of_keys_leaves_everything_whole),
		MATRIX_TEST(a_call_that_fails_at_the_opening_leaves_everything_whole),
		cmocka_unit_test(the_functions_of_the_table_were_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
