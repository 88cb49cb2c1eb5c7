/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is begun again after a loss, and what never: the rule of the operation loop,
 * counted at the module. (L20, L23 and decision "retry by table")
 */
#include "support/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/internal.h"

static struct fixture ground;
static const struct mock_control *mock;
static hsmpool *pool;
static hsmpool_error err;
static hsmpool_key *aes, *rsa, *ec, *mac;

static hsmpool_bytes bytes_of_text(const char *text)
{
	return (hsmpool_bytes){ (const uint8_t *)text, strlen(text) };
}

static hsmpool_key *generate(const char *type, const char *label)
{
	hsmpool_key *key = NULL;
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = type, .label = label };

	if (strcmp(type, "rsa") == 0)
		spec.bits = 2048;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, TEST_PATIENCE, &err), &err);
	return key;
}

static void sign_retry(const char *value)
{
	fixture_set(&ground, "sign-retry", value);
}

static hsmpool_key *open_key(const char *uri)
{
	hsmpool_key *key = NULL;

	assert_ok(hsmpool_key_open(&key, pool, uri, TEST_PATIENCE, &err), &err);
	return key;
}

/* The pool on the mock's own token, which has a key of each kind. */
static void open_pool(void)
{
	pool = fixture_open(&ground);
	aes = open_key("pkcs11:object=aes");
	rsa = open_key("pkcs11:object=rsa");
	ec = open_key("pkcs11:object=ec");
	mac = open_key("pkcs11:object=hmac");
}

static hsmpool_status sign_with(hsmpool_key *key, const char *scheme)
{
	uint8_t data[600];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_sign(pool, key, scheme, bytes_of_text("message"), &out,
			    TEST_PATIENCE, &err);
}

static hsmpool_status sign_rsa(void)
{
	return sign_with(rsa, "rsa-pkcs1-sha256");
}

static hsmpool_status sign_ec(void)
{
	return sign_with(ec, "ecdsa-sha256");
}

static hsmpool_status encrypt(void)
{
	uint8_t data[100];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_encrypt(pool, aes, "aes-gcm", NULL, bytes_of_text("plain"), &out,
			       TEST_PATIENCE, &err);
}

static hsmpool_status make_mac(uint8_t out[32])
{
	hsmpool_buf buf = { .data = out, .cap = 32 };

	return hsmpool_mac(pool, mac, "hmac-sha256", bytes_of_text("message"), &buf,
			   TEST_PATIENCE, &err);
}

static int set_up(void **state)
{
	uint8_t out[32];

	(void)state;
	fixture_mock(&ground);
	mock = fixture_mock_control();
	open_pool();
	assert_ok(sign_rsa(), &err);
	assert_ok(sign_ec(), &err);
	assert_ok(encrypt(), &err);
	assert_ok(make_mac(out), &err);
	return 0;
}

static void close_pool(void)
{
	char why[200];
	hsmpool_key **const keys[] = { &aes, &rsa, &ec, &mac };

	for (size_t i = 0; i < 4; i++)
		hsmpool_key_close(keys[i]);
	hsmpool_close(&pool);
	if (!mock->check_balance(why, sizeof(why)))
		fail_msg("%s", why);
}

static int tear_down(void **state)
{
	(void)state;
	mock->clear_failures();
	close_pool();
	fixture_remove(&ground);
	return 0;
}

static void reopen(void)
{
	uint8_t out[32];

	close_pool();
	open_pool();
	assert_ok(sign_rsa(), &err);
	assert_ok(sign_ec(), &err);
	assert_ok(encrypt(), &err);
	assert_ok(make_mac(out), &err);
}

static void arm(const char *function, CK_RV rv, uint64_t count)
{
	const struct mock_failure failure = { .function = function,
					      .rv = rv,
					      .count = count };
	(mock->fail)(&failure);
}

static uint64_t retries(void)
{
	hsmpool_stats stats = { .size = sizeof(stats) };

	hsmpool_get_stats(pool, &stats);
	return stats.retries;
}

/* --- the good case -------------------------------------------------------------- */

static void an_operation_makes_exactly_two_calls(void **state)
{
	struct mock_counters before, after;

	(void)state;
	mock->counters(&before);
	for (int i = 0; i < 100; i++)
		assert_ok(sign_rsa(), &err);
	mock->counters(&after);
	assert_int_equal(after.calls - before.calls, 200);
}

/* --- before submission: everything, once ---------------------------------------- */

static void a_loss_at_the_init_is_made_good(void **state)
{
	static const CK_RV losses[] = {
		CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,   CKR_KEY_HANDLE_INVALID,
		CKR_OBJECT_HANDLE_INVALID,  CKR_OPERATION_ACTIVE, CKR_DEVICE_ERROR,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++) {
		uint64_t before = retries();
		uint64_t signatures = mock->calls("C_Sign");
		arm("C_SignInit", losses[i], 1);
		if (sign_ec() != HSMPOOL_OK)
			fail_msg("0x%lx: %s", losses[i], err.text);
		assert_int_equal(retries() - before, 1);
		assert_int_equal(mock->calls("C_Sign") - signatures, 1);
	}
}

static void a_loss_that_lasts_is_told_after_few_tries(void **state)
{
	uint64_t before = mock->calls("C_SignInit");

	(void)state;
	arm("C_SignInit", CKR_DEVICE_ERROR, MOCK_FOREVER);
	assert_status(sign_ec(), HSMPOOL_ERR_DOWN);
	assert_int_equal(mock->calls("C_SignInit") - before, 4);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
	assert_int_equal(err.ck_rv, CKR_DEVICE_ERROR);
	assert_non_null(strstr(err.text, "sign with key 'ec' on token 'mock'"));
	assert_non_null(strstr(err.text, "CKR_DEVICE_ERROR"));
}

static void a_callers_fault_is_not_repeated(void **state)
{
	uint64_t before = mock->calls("C_SignInit");

	(void)state;
	arm("C_SignInit", CKR_KEY_FUNCTION_NOT_PERMITTED, MOCK_FOREVER);
	assert_status(sign_ec(), HSMPOOL_ERR_KEY);
	assert_int_equal(mock->calls("C_SignInit") - before, 1);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_NO);
}

static void a_reboot_between_two_operations_is_not_noticed(void **state)
{
	uint8_t before[32], after[32];

	(void)state;
	assert_ok(make_mac(before), &err);
	mock->reboot(NULL);
	assert_ok(make_mac(after), &err);
	assert_memory_equal(before, after, 32);
	assert_ok(sign_rsa(), &err);
	assert_ok(encrypt(), &err);
}

/* L17: after a reboot the old handles name other objects. */
static void handles_that_mean_other_objects_are_not_used(void **state)
{
	const struct mock_reboot how = { .handles = MOCK_HANDLES_ALIASED };
	uint8_t before[32], after[32];

	(void)state;
	assert_ok(make_mac(before), &err);
	for (int i = 0; i < 3; i++) {
		mock->reboot(&how);
		assert_ok(make_mac(after), &err);
		assert_memory_equal(before, after, 32);
	}
}

#define REBOOTS 300

struct crowd {
	uint8_t expected[32];
	int wrong;
	int done;
};

static void *make_macs(void *user)
{
	struct crowd *crowd = user;
	hsmpool_error mine;
	uint8_t out[32];

	for (int i = 0; i < 400; i++) {
		hsmpool_buf buf = { .data = out, .cap = sizeof(out) };
		if (hsmpool_mac(pool, mac, "hmac-sha256", bytes_of_text("message"), &buf,
				TEST_PATIENCE, &mine) != HSMPOOL_OK)
			continue;
		if (memcmp(out, crowd->expected, sizeof(out)) != 0)
			__atomic_fetch_add(&crowd->wrong, 1, __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&crowd->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Operations may fail while the HSM reboots all the time; none may use another key. */
static void reboot_under_a_crowd(void)
{
	const struct mock_reboot how = { .handles = MOCK_HANDLES_ALIASED };
	struct crowd crowd = { .wrong = 0 };
	pthread_t threads[4];

	assert_ok(make_mac(crowd.expected), &err);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_macs, &crowd), 0);
	/* Bounded: where a login takes longer than the HSM stays up, nobody gets on. */
	for (int i = 0; i < REBOOTS && __atomic_load_n(&crowd.done, __ATOMIC_ACQUIRE) < 4;
	     i++) {
		mock->reboot(&how);
		usleep(500);
	}
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(crowd.wrong, 0);
	assert_ok(make_mac(crowd.expected), &err);
}

static void no_thread_ever_uses_another_key(void **state)
{
	(void)state;
	reboot_under_a_crowd();
}

static void no_thread_ever_uses_the_copy_of_another_key(void **state)
{
	(void)state;
	fixture_set(&ground, "key-copies", "session");
	reopen();
	reboot_under_a_crowd();
}

static void a_lost_login_is_made_good(void **state)
{
	(void)state;
	mock->log_out();
	assert_ok(sign_ec(), &err);
	mock->logged_out_rv(CKR_USER_NOT_LOGGED_IN);
	mock->log_out();
	assert_ok(sign_ec(), &err);
}

static void a_stale_handle_costs_one_search(void **state)
{
	uint64_t before = mock->calls("C_FindObjectsInit");

	(void)state;
	arm("C_EncryptInit", CKR_KEY_HANDLE_INVALID, 1);
	assert_ok(encrypt(), &err);
	assert_int_equal(mock->calls("C_FindObjectsInit") - before, 1);
	assert_ok(encrypt(), &err);
	assert_int_equal(mock->calls("C_FindObjectsInit") - before, 1);
}

/* --- after submission ----------------------------------------------------------- */

static void a_submitted_signature_is_not_repeated_by_default(void **state)
{
	uint64_t before = mock->calls("C_Sign");

	(void)state;
	arm("C_Sign", CKR_SESSION_HANDLE_INVALID, 1);
	assert_int_not_equal(sign_rsa(), HSMPOOL_OK);
	assert_int_equal(mock->calls("C_Sign") - before, 1);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	assert_ok(sign_rsa(), &err);
}

static void sign_retry_deterministic_repeats_only_such(void **state)
{
	uint64_t before;

	(void)state;
	sign_retry("deterministic");
	reopen();
	before = mock->calls("C_Sign");
	arm("C_Sign", CKR_DEVICE_ERROR, 1);
	assert_ok(sign_rsa(), &err);
	assert_int_equal(mock->calls("C_Sign") - before, 2);
	arm("C_Sign", CKR_DEVICE_ERROR, 1);
	assert_int_not_equal(sign_ec(), HSMPOOL_OK);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
}

static void sign_retry_yes_repeats_any_once(void **state)
{
	uint64_t before;

	(void)state;
	sign_retry("yes");
	reopen();
	arm("C_Sign", CKR_DEVICE_ERROR, 1);
	assert_ok(sign_ec(), &err);
	before = mock->calls("C_Sign");
	arm("C_Sign", CKR_DEVICE_ERROR, MOCK_FOREVER);
	assert_int_not_equal(sign_ec(), HSMPOOL_OK);
	assert_int_equal(mock->calls("C_Sign") - before, 2);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
}

static void an_answer_that_proves_that_nothing_ran_allows_a_repetition(void **state)
{
	static const CK_RV proofs[] = { CKR_KEY_HANDLE_INVALID,
					CKR_OPERATION_NOT_INITIALIZED };

	(void)state;
	for (size_t i = 0; i < sizeof(proofs) / sizeof(*proofs); i++) {
		arm("C_Sign", proofs[i], 1);
		assert_ok(sign_ec(), &err);
	}
	arm("C_Sign", CKR_SESSION_CLOSED, 1);
	assert_int_not_equal(sign_ec(), HSMPOOL_OK);
}

static void a_counting_key_is_repeated_only_before_submission(void **state)
{
	hsmpool_key *counting;
	uint64_t before;

	(void)state;
	sign_retry("yes");
	assert_ok(hsmpool_config_set(ground.config, "key counter", "uri",
				     "pkcs11:object=ec", &err),
		  &err);
	assert_ok(
		hsmpool_config_set(ground.config, "key counter", "counting", "yes", &err),
		&err);
	reopen();
	assert_ok(hsmpool_key_open(&counting, pool, "counter", TEST_PATIENCE, &err),
		  &err);
	arm("C_SignInit", CKR_SESSION_CLOSED, 1);
	assert_ok(sign_with(counting, "ecdsa-sha256"), &err);
	before = mock->calls("C_Sign");
	arm("C_Sign", CKR_KEY_HANDLE_INVALID, 1);
	assert_int_not_equal(sign_with(counting, "ecdsa-sha256"), HSMPOOL_OK);
	assert_int_equal(mock->calls("C_Sign") - before, 1);
	hsmpool_key_close(&counting);
}

static void an_idempotent_operation_is_repeated_once(void **state)
{
	uint64_t before = mock->calls("C_Encrypt");

	(void)state;
	arm("C_Encrypt", CKR_SESSION_HANDLE_INVALID, 1);
	assert_ok(encrypt(), &err);
	assert_int_equal(mock->calls("C_Encrypt") - before, 2);
	arm("C_Encrypt", CKR_DEVICE_ERROR, MOCK_FOREVER);
	assert_status(encrypt(), HSMPOOL_ERR_DOWN);
	assert_int_equal(mock->calls("C_Encrypt") - before, 4);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
}

static void a_submitted_creation_is_never_repeated(void **state)
{
	const struct mock_failure answer_lost = { .function = "C_GenerateKey",
						  .rv = CKR_DEVICE_ERROR,
						  .after = true };
	hsmpool_key *key = NULL;
	uint64_t before = mock->calls("C_GenerateKey");
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "aes",
				  .label = "unsure" };

	(void)state;
	(mock->fail)(&answer_lost);
	assert_status(hsmpool_key_generate(&key, pool, &spec, TEST_PATIENCE, &err),
		      HSMPOOL_ERR_DOWN);
	assert_null(key);
	assert_int_equal(mock->calls("C_GenerateKey") - before, 1);
	assert_int_equal(err.executed, HSMPOOL_EXECUTED_UNKNOWN);
	/* It was made: the next one finds the label taken. */
	assert_status(hsmpool_key_generate(&key, pool, &spec, TEST_PATIENCE, &err),
		      HSMPOOL_ERR_EXISTS);
	assert_ok(
		hsmpool_key_open(&key, pool, "pkcs11:object=unsure", TEST_PATIENCE, &err),
		&err);
	assert_ok(hsmpool_key_destroy(key, TEST_PATIENCE, &err), &err);
	hsmpool_key_close(&key);
}

static void a_creation_that_meets_a_dead_session_first_succeeds(void **state)
{
	hsmpool_key *key = NULL;

	(void)state;
	arm("C_FindObjectsInit", CKR_SESSION_HANDLE_INVALID, 1);
	key = generate("aes", "after-all");
	assert_ok(hsmpool_key_destroy(key, TEST_PATIENCE, &err), &err);
	hsmpool_key_close(&key);
}

/* --- the catch-all codes -------------------------------------------------------- */

static hsmpool_status decrypt_something(void)
{
	uint8_t data[100], cipher[60] = { 0 };
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_decrypt(pool, aes, "aes-gcm", NULL,
			       (hsmpool_bytes){ cipher, sizeof(cipher) }, &out,
			       TEST_PATIENCE, &err);
}

static void bad_data_is_told_in_one_way_and_costs_no_session(void **state)
{
	static const CK_RV answers[] = { CKR_GENERAL_ERROR, CKR_ENCRYPTED_DATA_INVALID,
					 CKR_ENCRYPTED_DATA_LEN_RANGE,
					 CKR_FUNCTION_FAILED };
	struct mock_counters before, after;
	char first[sizeof(err.text)] = "";

	(void)state;
	mock->counters(&before);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		arm("C_Decrypt", answers[i], 1);
		assert_status(decrypt_something(), HSMPOOL_ERR_DATA);
		assert_int_equal(err.ck_rv, 0);
		assert_int_equal(err.executed, HSMPOOL_EXECUTED_YES);
		if (i == 0)
			snprintf(first, sizeof(first), "%s", err.text);
		assert_string_equal(err.text, first);
	}
	mock->counters(&after);
	assert_int_equal(after.sessions_closed, before.sessions_closed);
}

static void an_ambiguous_answer_of_a_dead_session_is_a_loss(void **state)
{
	uint64_t before = retries();

	(void)state;
	arm("C_Encrypt", CKR_GENERAL_ERROR, 1);
	arm("C_GetSessionInfo", CKR_SESSION_HANDLE_INVALID, 1);
	assert_ok(encrypt(), &err);
	assert_int_equal(retries() - before, 1);
}

/* --- what must not outlive the borrow ------------------------------------------- */

static void a_secret_that_cannot_be_destroyed_takes_its_session_along(void **state)
{
	/* The base point of P-256 lies on its curve. */
	static const char generator[] =
		"\x04\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77"
		"\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x4f\xe3\x42"
		"\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b"
		"\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
	hsmpool_key *key;
	uint8_t data[66];
	hsmpool_buf secret = { .data = data, .cap = sizeof(data) };
	hsmpool_key_spec spec = { .size = sizeof(spec),
				  .type = "ec",
				  .label = "deriver",
				  .usage = HSMPOOL_KEY_CAN_DERIVE };
	struct mock_counters before, after;

	(void)state;
	assert_ok(hsmpool_key_generate(&key, pool, &spec, TEST_PATIENCE, &err), &err);
	arm("C_DestroyObject", CKR_GENERAL_ERROR, 1);
	mock->counters(&before);
	assert_ok(hsmpool_derive_secret(pool, key,
					(hsmpool_bytes){ (const uint8_t *)generator, 65 },
					&secret, TEST_PATIENCE, &err),
		  &err);
	mock->counters(&after);
	assert_int_equal(after.sessions_closed - before.sessions_closed, 1);
	assert_ok(hsmpool_key_destroy(key, TEST_PATIENCE, &err), &err);
	hsmpool_key_close(&key);
}

/* --- session copies ------------------------------------------------------------- */

static void a_copy_is_made_anew_after_a_loss(void **state)
{
	uint64_t before;

	(void)state;
	fixture_set(&ground, "key-copies", "session");
	reopen();
	before = mock->calls("C_CopyObject");
	mock->reboot(NULL);
	for (int i = 0; i < 3; i++)
		assert_ok(encrypt(), &err);
	assert_int_equal(mock->calls("C_CopyObject") - before, 1);
}

static CK_ULONG session_objects(void)
{
	CK_OBJECT_HANDLE found[10];
	CK_ULONG len = 0;
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template = { CKA_TOKEN, &no, sizeof(no) };
	hsmpool_session *session;

	assert_ok(hsmpool_borrow(pool, &session, HSMPOOL_BORROW_ANY, "test",
				 TEST_PATIENCE, &err),
		  &err);
	CK_FUNCTION_LIST *module = hsmpool_session_functions(session);
	CK_SESSION_HANDLE handle = hsmpool_session_handle(session);
	assert_int_equal(module->C_FindObjectsInit(handle, &template, 1), CKR_OK);
	assert_int_equal(module->C_FindObjects(handle, found, 10, &len), CKR_OK);
	assert_int_equal(module->C_FindObjectsFinal(handle), CKR_OK);
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	return len;
}

/* The copies of before are still there then, on the anchor, and must not pile up. */
static void the_loss_of_one_session_leaves_no_second_copy(void **state)
{
	hsmpool_session *held;

	(void)state;
	fixture_set(&ground, "key-copies", "session");
	reopen();
	CK_ULONG before = session_objects();
	assert_int_equal(before, 4);
	for (int i = 0; i < 5; i++) {
		assert_ok(hsmpool_borrow(pool, &held, HSMPOOL_BORROW_ANY, "test",
					 TEST_PATIENCE, &err),
			  &err);
		hsmpool_return(&held, HSMPOOL_VERDICT_DEAD);
		for (int j = 0; j < 2; j++) {
			assert_ok(sign_rsa(), &err);
			assert_ok(sign_ec(), &err);
			assert_ok(encrypt(), &err);
			assert_ok(make_mac((uint8_t[32]){ 0 }), &err);
		}
	}
	assert_int_equal(session_objects(), before);
}

static void where_no_copy_can_be_made_the_original_serves(void **state)
{
	uint64_t before;

	(void)state;
	fixture_set(&ground, "key-copies", "session");
	arm("C_CopyObject", CKR_FUNCTION_NOT_SUPPORTED, MOCK_FOREVER);
	reopen();
	before = mock->calls("C_CopyObject");
	for (int i = 0; i < 10; i++)
		assert_ok(encrypt(), &err);
	assert_int_equal(mock->calls("C_CopyObject"), before); /* asked once, at reopen */
}

/* --- fork ----------------------------------------------------------------------- */

static int stop(void *user, const hsmpool_key_info *info)
{
	(void)user;
	(void)info;
	return 1;
}

/* In the child: how many of the key functions do not say FORKED. */
static int wrong_answers_in_child(void)
{
	hsmpool_key *key = NULL;
	hsmpool_key_info info = { .size = sizeof(info) };
	hsmpool_key_spec spec = { .size = sizeof(spec), .type = "aes" };
	int wrong = 0;

	wrong += encrypt() != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_open(&key, pool, "pkcs11:object=aes", 0, &err) !=
		 HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_list(pool, "pkcs11:object=aes", stop, NULL, 0, &err) !=
		 HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_get_info(aes, &info, 0, &err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_generate(&key, pool, &spec, 0, &err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_destroy(rsa, 0, &err) != HSMPOOL_ERR_FORKED;
	hsmpool_key_close(&aes);
	return wrong;
}

static void a_forked_child_is_refused_and_can_close_its_keys(void **state)
{
	int status = -1;

	(void)state;
	fixture_set(&ground, "key-copies", "session");
	reopen();
	pid_t child = fork();
	if (child == 0)
		_exit(wrong_answers_in_child());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_ok(encrypt(), &err);
}

/* As if another thread had been inside the pool at the moment of the fork: its lock stays
 * locked in the child for ever, where the alarm tells of whoever takes it. */
static int wrong_answers_beside_a_lock(void)
{
	uint8_t room[512] = { 0 };
	hsmpool_buf out = { room, sizeof(room), 0 };
	hsmpool_bytes message = bytes_of_text("m"), signature = { room, 256 };
	hsmpool_multipart *parts;
	hsmpool_token_info token = { .size = sizeof(token) };
	hsmpool_session *session;
	int wrong = 0;

	alarm(60);
	wrong += hsmpool_sign(pool, rsa, "rsa-pkcs1-sha384", message, &out, 0, &err) !=
		 HSMPOOL_ERR_FORKED;
	wrong += hsmpool_verify(pool, rsa, "rsa-pss-sha384", message, signature, 0,
				&err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_multipart_begin(&parts, pool, rsa, HSMPOOL_MULTIPART_SIGN,
					 "rsa-pkcs1-sha512", NULL, 0,
					 &err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_key_wrap(aes, "aes-kwp", mac, &out, 0, &err) !=
		 HSMPOOL_ERR_FORKED;
	wrong += hsmpool_borrow(pool, &session, 0, NULL, 0, &err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_get_token_info(pool, &token, &err) != HSMPOOL_ERR_FORKED;
	wrong += hsmpool_pause(pool, 0, &err) != HSMPOOL_ERR_FORKED;
	hsmpool_resume(pool);
	hsmpool_validate(pool);
	hsmpool_key_close(&rsa);
	hsmpool_close(&pool);
	return wrong;
}

static void no_call_hangs_in_the_child_of_a_busy_parent(void **state)
{
	int status = -1;

	(void)state;
	reopen();
	pthread_mutex_lock(&pool->lock);
	pid_t child = fork();
	if (child == 0)
		_exit(wrong_answers_beside_a_lock());
	pthread_mutex_unlock(&pool->lock);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define MINE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MINE(an_operation_makes_exactly_two_calls),
		MINE(a_loss_at_the_init_is_made_good),
		MINE(a_loss_that_lasts_is_told_after_few_tries),
		MINE(a_callers_fault_is_not_repeated),
		MINE(a_reboot_between_two_operations_is_not_noticed),
		MINE(handles_that_mean_other_objects_are_not_used),
		MINE(no_thread_ever_uses_another_key),
		MINE(no_thread_ever_uses_the_copy_of_another_key),
		MINE(a_lost_login_is_made_good),
		MINE(a_stale_handle_costs_one_search),
		MINE(a_submitted_signature_is_not_repeated_by_default),
		MINE(sign_retry_deterministic_repeats_only_such),
		MINE(sign_retry_yes_repeats_any_once),
		MINE(an_answer_that_proves_that_nothing_ran_allows_a_repetition),
		MINE(a_counting_key_is_repeated_only_before_submission),
		MINE(an_idempotent_operation_is_repeated_once),
		MINE(a_submitted_creation_is_never_repeated),
		MINE(a_creation_that_meets_a_dead_session_first_succeeds),
		MINE(bad_data_is_told_in_one_way_and_costs_no_session),
		MINE(an_ambiguous_answer_of_a_dead_session_is_a_loss),
		MINE(a_secret_that_cannot_be_destroyed_takes_its_session_along),
		MINE(a_copy_is_made_anew_after_a_loss),
		MINE(the_loss_of_one_session_leaves_no_second_copy),
		MINE(where_no_copy_can_be_made_the_original_serves),
		MINE(a_forked_child_is_refused_and_can_close_its_keys),
		MINE(no_call_hangs_in_the_child_of_a_busy_parent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
