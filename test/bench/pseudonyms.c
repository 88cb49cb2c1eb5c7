/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table pseudonymised over a pool of four sessions, against bare HMACs of its values.
 *
 * The table has a column of distinct values and one that repeats some, both for HMAC, and
 * one for FF1. The bare loop makes the HMACs of the distinct values only, with nothing
 * around them: each thread by C_SignInit and C_Sign on a session of its own, with the
 * token's key, or with a session copy where the pool has those. Both are run
 * alternately; figures are medians of the pairs: both with one thread, and the loop with
 * one per session beside the table with what it takes by itself. On SoftHSM2 HMACs are
 * work of the same processors; on the mock, with 1 ms for each, they are somebody else's.
 *
 *   pseudonyms [ROWS [REPEATED [PAIRS [near|far]]]]
 *
 * 1000000 rows, 10000 repeated values, 5 pairs; near: SoftHSM2 alone, far: the mock
 * alone.
 */
#include "support/fixture.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <hsmpool/pseudonym.h>
#include "base/memory.h"
#include "pseudonym/keyed.h"

#define SESSIONS   4
#define MOST_PAIRS 21

static size_t rows = 1000000;
static size_t repeated = 10000;
static unsigned pairs = 5;

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE sessions[SESSIONS];
static CK_OBJECT_HANDLE keys[SESSIONS];

#define REQUIRE(call) require((call), #call, __LINE__)

static void require(CK_RV rv, const char *what, int line)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "bench pseudonyms: line %d: %s: 0x%lx\n", line, what, rv);
	exit(1);
}

static void require_ok(hsmpool_status status, const hsmpool_error *err)
{
	if (status == HSMPOOL_OK)
		return;
	fprintf(stderr, "bench pseudonyms: %s\n", err->text);
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* --- the table ------------------------------------------------------------------------
 */

static char *table;
static size_t table_len;

static int write_patient(char *to, size_t cap, size_t i)
{
	return snprintf(to, cap, "patient-%08zu", i);
}

static int write_clinic(char *to, size_t cap, size_t i)
{
	return snprintf(to, cap, "clinic-%06zu@example.org", i);
}

static void make_table(void)
{
	size_t cap = rows * 128 + 128;
	table = malloc(cap);
	table_len =
		(size_t)snprintf(table, cap, "patient,clinic,insurance,city,visits\n");
	for (size_t i = 0; i < rows; i++) {
		char patient[32], clinic[48];
		write_patient(patient, sizeof(patient), i);
		write_clinic(clinic, sizeof(clinic), i * 7919 % repeated);
		table_len += (size_t)snprintf(table + table_len, cap - table_len,
					      "%s,%s,%010zu,\"City %zu, north\",%zu\n",
					      patient, clinic, i * 104729 % 10000000000,
					      i % 500, i % 17);
	}
}

struct reading {
	size_t used, written;
};

static hsmpool_status read_table(void *user, uint8_t *data, size_t cap, size_t *len,
				 hsmpool_error *err)
{
	struct reading *reading = user;
	(void)err;
	*len = table_len - reading->used < cap ? table_len - reading->used : cap;
	memcpy(data, table + reading->used, *len);
	reading->used += *len;
	return HSMPOOL_OK;
}

static hsmpool_status write_nowhere(void *user, const uint8_t *data, size_t len,
				    hsmpool_error *err)
{
	struct reading *reading = user;
	(void)data;
	(void)err;
	reading->written += len;
	return HSMPOOL_OK;
}

/* Seconds for the whole table. */
static double pseudonymize(hsmpool *pool, hsmpool_key *key, uint32_t threads)
{
	const hsmpool_column columns[] = {
		{ .size = sizeof(*columns), .name = "patient" },
		{ .size = sizeof(*columns), .name = "clinic" },
		{ .size = sizeof(*columns),
		  .name = "insurance",
		  .method = HSMPOOL_COLUMN_FPE },
	};
	const hsmpool_table_options options = { .size = sizeof(options),
						.threads = threads };
	struct reading reading = { 0 };
	hsmpool_error err;
	double begun = now();
	require_ok(hsmpool_pseudonymize(pool, key, columns, HP_ARRAY_LEN(columns),
					&options, read_table, &reading, write_nowhere,
					&reading, HSMPOOL_DEFAULT, &err),
		   &err);
	return now() - begun;
}

/* --- the bare loop --------------------------------------------------------------------
 */

struct share {
	pthread_t thread;
	unsigned number, of;
};

static void make_mac(unsigned session, const uint8_t *input, size_t len)
{
	CK_MECHANISM mechanism = { CKM_SHA256_HMAC, NULL, 0 };
	CK_BYTE mac[32];
	CK_ULONG mac_len = sizeof(mac);
	REQUIRE(p11->C_SignInit(sessions[session], &mechanism, keys[session]));
	REQUIRE(p11->C_Sign(sessions[session], (CK_BYTE *)(uintptr_t)input, len, mac,
			    &mac_len));
}

static void make_macs(const struct share *share, const char *domain, size_t count,
		      int (*write)(char *to, size_t cap, size_t i))
{
	struct hp_text input = { 0 };
	char value[64];
	const hsmpool_bytes bytes = { (const uint8_t *)domain, strlen(domain) };
	if (hp_keyed_begin(&input, HP_LABEL_TOKEN, bytes, NULL) != HSMPOOL_OK)
		exit(1);
	size_t begun = input.len;
	for (size_t i = share->number; i < count; i += share->of) {
		int len = write(value, sizeof(value), i);
		input.len = begun;
		if (hp_text_append(&input, value, (size_t)len, NULL) != HSMPOOL_OK)
			exit(1);
		make_mac(share->number, input.data, input.len);
	}
	hp_text_clear(&input);
}

static void *work(void *argument)
{
	const struct share *share = argument;
	make_macs(share, "patient", rows, write_patient);
	make_macs(share, "clinic", repeated, write_clinic);
	return NULL;
}

/* Seconds for the HMACs of all distinct values. */
static double bare_loop(unsigned threads)
{
	struct share shares[SESSIONS];
	double begun = now();
	for (unsigned i = 0; i < threads; i++) {
		shares[i] = (struct share){ .number = i, .of = threads };
		pthread_create(&shares[i].thread, NULL, work, &shares[i]);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(shares[i].thread, NULL);
	return now() - begun;
}

/* --- grounds --------------------------------------------------------------------------
 */

static hsmpool_key *open_key(hsmpool *pool)
{
	hsmpool_key *key = NULL;
	hsmpool_error err;
	require_ok(
		hsmpool_key_open(&key, pool, "pkcs11:object=hmac", HSMPOOL_DEFAULT, &err),
		&err);
	return key;
}

static hsmpool_key *make_key(hsmpool *pool)
{
	const hsmpool_key_spec spec = {
		.size = sizeof(spec),
		.type = "generic",
		.bits = 256,
		.label = "hmac",
		.usage = HSMPOOL_KEY_CAN_SIGN | HSMPOOL_KEY_CAN_VERIFY,
	};
	hsmpool_key *key = NULL;
	hsmpool_error err;
	require_ok(hsmpool_key_generate(&key, pool, &spec, HSMPOOL_DEFAULT, &err), &err);
	return key;
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session)
{
	char label[] = "hmac";
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = { { CKA_LABEL, label, sizeof(label) - 1 },
				    { CKA_TOKEN, &yes, 1 } };
	CK_OBJECT_HANDLE found = 0;
	CK_ULONG count = 0;
	REQUIRE(p11->C_FindObjectsInit(session, template, 2));
	REQUIRE(p11->C_FindObjects(session, &found, 1, &count));
	REQUIRE(p11->C_FindObjectsFinal(session));
	return found;
}

static CK_OBJECT_HANDLE copy_key(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, 1 } };
	CK_OBJECT_HANDLE copy;
	REQUIRE(p11->C_CopyObject(session, key, template, 1, &copy));
	return copy;
}

/* The pool has initialised the module and logged in. */
static void open_bare_sessions(const struct fixture *f, bool with_copies)
{
	CK_C_GetFunctionList get = NULL;
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	void *dl = dlopen(f->module, RTLD_NOW | RTLD_LOCAL);
	if (dl)
		*(void **)&get = dlsym(dl, "C_GetFunctionList");
	if (!get)
		exit(1);
	REQUIRE(get(&p11));
	REQUIRE(p11->C_GetSlotList(CK_TRUE, slots, &count));
	for (unsigned i = 0; i < SESSIONS; i++) {
		REQUIRE(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL,
					   &sessions[i]));
		keys[i] = find_key(sessions[i]);
		if (with_copies)
			keys[i] = copy_key(sessions[i], keys[i]);
	}
}

static void print(const char *what, unsigned threads, double *bare, double *ratio)
{
	printf("%-22s %u thread%s %8.0f bare HMACs/s, the table %.3f of it\n", what,
	       threads, threads == 1 ? " " : "s",
	       (double)(rows + repeated) / median(bare, pairs), median(ratio, pairs));
}

static void measure(const char *what, hsmpool *pool, hsmpool_key *key)
{
	double one[MOST_PAIRS], four[MOST_PAIRS], table_one[MOST_PAIRS],
		table_four[MOST_PAIRS];
	make_table();
	for (unsigned i = 0; i < pairs; i++) {
		one[i] = bare_loop(1);
		table_one[i] = one[i] / pseudonymize(pool, key, 1);
		four[i] = bare_loop(SESSIONS);
		table_four[i] = four[i] / pseudonymize(pool, key, 0);
	}
	print(what, 1, one, table_one);
	print(what, SESSIONS, four, table_four);
	free(table);
}

static void measure_softhsm(const char *copies)
{
	struct fixture f;
	char what[32];
	fixture_softhsm(&f);
	fixture_set(&f, "max-sessions", "4");
	fixture_set(&f, "key-copies", copies);
	hsmpool *pool = fixture_open(&f);
	hsmpool_key *key = make_key(pool);
	open_bare_sessions(&f, strcmp(copies, "session") == 0);
	snprintf(what, sizeof(what), "key-copies = %s", copies);
	measure(what, pool, key);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&f);
}

/* One row of 250: it takes long enough. */
static void measure_far_away(void)
{
	struct fixture f;
	rows = rows / 250 + 1;
	repeated = repeated / 250 + 1;
	fixture_mock(&f);
	fixture_set(&f, "max-sessions", "4");
	hsmpool *pool = fixture_open(&f);
	hsmpool_key *key = open_key(pool);
	open_bare_sessions(&f, false);
	fixture_mock_control()->latency("C_Sign", 1000000);
	measure("1 ms per HMAC", pool, key);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	fixture_remove(&f);
}

int main(int argc, char **argv)
{
	const char *which = argc > 4 ? argv[4] : "both";
	if (argc > 1)
		rows = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		repeated = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		pairs = (unsigned)strtoul(argv[3], NULL, 10);
	if (rows == 0 || repeated == 0 || pairs == 0 || pairs > MOST_PAIRS)
		return 64;
	printf("%zu rows; distinct values: %zu and %zu\n", rows, rows, repeated);
	if (strcmp(which, "far") != 0) {
		measure_softhsm("none");
		measure_softhsm("session");
	}
	if (strcmp(which, "near") != 0)
		measure_far_away();
	return 0;
}
