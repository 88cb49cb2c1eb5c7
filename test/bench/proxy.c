/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the PKCS#11 module costs, measured against the vendor's module called directly.
 *
 * Both are used in the same process, on the same token, alternately: a slow spell of the
 * machine hits both. Every figure is the median over the pairs. Prints a table; fails
 * only if a call fails, or if a pair of calls makes more than two calls of the vendor's
 * module.
 *
 *   proxy [quick] [overhead|crowd|softhsm]    quick: a second in all, figures of no worth
 */
#include "support/fixture.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MOST_PAIRS   41
#define MOST_THREADS 64

static unsigned pairs = 21;
static unsigned block = 20000;           /* operations of one measurement at one thread */
static int64_t spell_ns = 400 * 1000000; /* of one measurement with threads */

/* --- small things ---------------------------------------------------------------------
 */

#define REQUIRE(call) require((call), #call, __LINE__)

static void require(CK_RV rv, const char *what, int line)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "bench proxy: line %d: %s: 0x%lx\n", line, what, rv);
	exit(1);
}

static int64_t time_of(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t now_ns(void)
{
	return time_of(CLOCK_MONOTONIC);
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

static CK_FUNCTION_LIST *load(const char *path)
{
	CK_C_GetFunctionList get = NULL;
	CK_FUNCTION_LIST *list = NULL;
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (dl)
		*(void **)&get = dlsym(dl, "C_GetFunctionList");
	if (!get) {
		fprintf(stderr, "bench proxy: %s\n", dlerror());
		exit(1);
	}
	REQUIRE(get(&list));
	return list;
}

/* --- a module that is measured ---------------------------------------------------------
 */

struct side {
	CK_FUNCTION_LIST *p11;
	CK_SESSION_HANDLE sessions[MOST_THREADS];
	CK_OBJECT_HANDLE rsa, aes;
	/* Instead: the engine, in this process and without the module. */
	hsmpool *pool;
	hsmpool_key *key;
};

static CK_OBJECT_HANDLE find(const struct side *side, CK_OBJECT_CLASS class,
			     const char *label)
{
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_LABEL, (void *)(uintptr_t)label,
				      strlen(label) } };
	CK_OBJECT_HANDLE found = 0;
	CK_ULONG count = 0;
	REQUIRE(side->p11->C_FindObjectsInit(side->sessions[0], template, 2));
	REQUIRE(side->p11->C_FindObjects(side->sessions[0], &found, 1, &count));
	REQUIRE(side->p11->C_FindObjectsFinal(side->sessions[0]));
	return count ? found : CK_INVALID_HANDLE;
}

static void open_sessions(struct side *side, CK_SLOT_ID slot, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		REQUIRE(side->p11->C_OpenSession(slot,
						 CKF_SERIAL_SESSION | CKF_RW_SESSION,
						 NULL, NULL, &side->sessions[i]));
}

static void close_sessions(const struct side *side, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		REQUIRE(side->p11->C_CloseSession(side->sessions[i]));
}

static void find_keys(struct side *side)
{
	side->rsa = find(side, CKO_PRIVATE_KEY, "rsa");
	side->aes = find(side, CKO_SECRET_KEY, "aes");
}

static void make_keys(const struct side *side)
{
	CK_MECHANISM rsa = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
	CK_MECHANISM aes = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ULONG bits = 2048, len = 32;
	CK_BBOOL yes = CK_TRUE;
	char rsa_label[] = "rsa", aes_label[] = "aes";
	CK_ATTRIBUTE public[] = { { CKA_MODULUS_BITS, &bits, sizeof(bits) },
				  { CKA_TOKEN, &yes, 1 } };
	CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 },
				   { CKA_SIGN, &yes, 1 },
				   { CKA_LABEL, rsa_label, 3 } };
	CK_ATTRIBUTE secret[] = { { CKA_VALUE_LEN, &len, sizeof(len) },
				  { CKA_TOKEN, &yes, 1 },
				  { CKA_ENCRYPT, &yes, 1 },
				  { CKA_LABEL, aes_label, 3 } };
	CK_OBJECT_HANDLE keys[2];
	CK_SESSION_HANDLE session = side->sessions[0];
	REQUIRE(side->p11->C_GenerateKeyPair(session, &rsa, public, 2, private, 3,
					     &keys[0], &keys[1]));
	REQUIRE(side->p11->C_GenerateKey(session, &aes, secret, 4, &keys[0]));
}

/* --- the operations --------------------------------------------------------------------
 */

typedef CK_RV (*operation_fn)(const struct side *side, CK_SESSION_HANDLE session);

static CK_RV sign(const struct side *side, CK_SESSION_HANDLE session)
{
	CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
	CK_BYTE in[32] = { 0 }, out[512];
	CK_ULONG len = sizeof(out);
	CK_RV rv = side->p11->C_SignInit(session, &mechanism, side->rsa);
	return rv ? rv : side->p11->C_Sign(session, in, sizeof(in), out, &len);
}

static CK_RV sign_in_engine(const struct side *side, CK_SESSION_HANDLE session)
{
	(void)session;
	uint8_t data[32] = { 0 }, space[512];
	hsmpool_buf out = { space, sizeof(space), 0 };
	hsmpool_error err;
	hsmpool_status status = hsmpool_sign(side->pool, side->key, "rsa-pkcs1-sha256",
					     (hsmpool_bytes){ data, sizeof(data) }, &out,
					     HSMPOOL_DEFAULT, &err);
	if (status != HSMPOOL_OK)
		fprintf(stderr, "bench proxy: %s\n", err.text);
	return status == HSMPOOL_OK ? CKR_OK : CKR_GENERAL_ERROR;
}

static CK_RV encrypt_ecb(const struct side *side, CK_SESSION_HANDLE session)
{
	CK_MECHANISM mechanism = { CKM_AES_ECB, NULL, 0 };
	CK_BYTE in[64] = { 0 }, out[128];
	CK_ULONG len = sizeof(out);
	CK_RV rv = side->p11->C_EncryptInit(session, &mechanism, side->aes);
	return rv ? rv : side->p11->C_Encrypt(session, in, sizeof(in), out, &len);
}

static CK_RV encrypt_gcm(const struct side *side, CK_SESSION_HANDLE session)
{
	CK_BYTE iv[12] = { 1 }, in[64] = { 0 }, out[128];
	CK_GCM_PARAMS gcm = {
		.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128
	};
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_ULONG len = sizeof(out);
	CK_RV rv = side->p11->C_EncryptInit(session, &mechanism, side->aes);
	return rv ? rv : side->p11->C_Encrypt(session, in, sizeof(in), out, &len);
}

/* --- one thread ------------------------------------------------------------------------
 */

/* Of this thread's own time: nothing waits here, and others use the machine too. */
static double ns_each(const struct side *side, operation_fn run)
{
	int64_t before = time_of(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < block; i++)
		REQUIRE(run(side, side->sessions[0]));
	return (double)(time_of(CLOCK_THREAD_CPUTIME_ID) - before) / block;
}

static void measure_overhead(const struct side *direct, const struct side *proxy,
			     operation_fn run, const char *name)
{
	double base[MOST_PAIRS], added[MOST_PAIRS];
	struct mock_counters before, after;
	for (unsigned i = 0; i < pairs; i++) {
		base[i] = ns_each(direct, run);
		added[i] = ns_each(proxy, run) - base[i];
	}
	fixture_mock_control()->counters(&before);
	for (unsigned i = 0; i < 1000; i++)
		REQUIRE(run(proxy, proxy->sessions[0]));
	fixture_mock_control()->counters(&after);
	printf("%-28s %8.0f ns %8.0f ns added %6.3f module calls\n", name,
	       median(base, pairs), median(added, pairs),
	       (double)(after.calls - before.calls) / 1000);
	if (after.calls - before.calls != 2000)
		exit(1);
}

/* --- many threads ----------------------------------------------------------------------
 */

struct worker {
	pthread_t thread;
	const struct side *side;
	CK_SESSION_HANDLE session;
	operation_fn run;
	unsigned done;
	unsigned waits; /* of those below that are filled */
	double *wait_ms;
};

#define MOST_WAITS 20000

static pthread_barrier_t start;
static _Atomic bool is_over;

static void *work(void *argument)
{
	struct worker *w = argument;
	pthread_barrier_wait(&start);
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		int64_t before = w->wait_ms ? now_ns() : 0;
		REQUIRE(w->run(w->side, w->session));
		if (w->wait_ms && w->waits < MOST_WAITS)
			w->wait_ms[w->waits++] = (double)(now_ns() - before) / 1e6;
		w->done++;
	}
	return NULL;
}

/* Operations a second. */
static double rate(const struct side *side, operation_fn run, unsigned threads,
		   struct worker *workers)
{
	struct timespec spell = { spell_ns / 1000000000, spell_ns % 1000000000 };
	uint64_t done = 0;
	atomic_store(&is_over, false);
	pthread_barrier_init(&start, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		struct worker *w = &workers[i];
		w->side = side;
		w->session = side->sessions[i];
		w->run = run;
		w->done = w->waits = 0;
		pthread_create(&w->thread, NULL, work, w);
	}
	pthread_barrier_wait(&start);
	int64_t before = now_ns();
	nanosleep(&spell, NULL);
	atomic_store(&is_over, true);
	double seconds = (double)(now_ns() - before) / 1e9;
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		done += workers[i].done;
	}
	pthread_barrier_destroy(&start);
	return (double)done / seconds;
}

static void measure_rate(const struct side *direct, const struct side *proxy,
			 operation_fn run, unsigned threads, const char *name)
{
	static struct worker workers[MOST_THREADS];
	double base[MOST_PAIRS], ratio[MOST_PAIRS];
	for (unsigned i = 0; i < pairs; i++) {
		base[i] = rate(direct, run, threads, workers);
		ratio[i] = rate(proxy, run, threads, workers) / base[i];
	}
	printf("%-28s %2u threads %9.0f/s %8.3f of it\n", name, threads,
	       median(base, pairs), median(ratio, pairs));
}

/* --- a crowd ---------------------------------------------------------------------------
 */

#define CROWD_SESSIONS 16
#define CROWD_PAIRS    11

/* What one run showed; times in ms, from the beginning of an operation to its end. */
struct crowd {
	double per_second, middle, p99, longest;
	double unfair; /* most operations of a thread, by fewest */
};

static struct crowd watch_crowd(const struct side *side, operation_fn run,
				unsigned threads)
{
	static struct worker workers[MOST_THREADS];
	static double waits[MOST_THREADS][MOST_WAITS], all[MOST_THREADS * MOST_WAITS];
	unsigned count = 0, fewest = UINT32_MAX, most = 0;
	for (unsigned i = 0; i < threads; i++)
		workers[i].wait_ms = waits[i];
	double per_second = rate(side, run, threads, workers);
	for (unsigned i = 0; i < threads; i++) {
		const struct worker *w = &workers[i];
		memcpy(all + count, w->wait_ms, w->waits * sizeof(double));
		count += w->waits;
		fewest = w->done < fewest ? w->done : fewest;
		most = w->done > most ? w->done : most;
	}
	qsort(all, count, sizeof(double), compare);
	return (struct crowd){
		.per_second = per_second,
		.middle = all[count / 2],
		.p99 = all[count - 1 - count / 100],
		.longest = all[count - 1],
		.unfair = (double)most / (fewest ? fewest : 1),
	};
}

/* The medians of the runs, against those of bare threads on sessions of their own. */
struct crowd_figures {
	double share[CROWD_PAIRS], p99[CROWD_PAIRS], longest[CROWD_PAIRS],
		unfair[CROWD_PAIRS];
};

static void note_crowd(struct crowd_figures *figures, unsigned i,
		       const struct crowd *bare, const struct crowd *crowd)
{
	figures->share[i] = crowd->per_second / bare->per_second;
	figures->p99[i] = crowd->p99 - bare->middle;
	figures->longest[i] = crowd->longest - bare->middle;
	figures->unfair[i] = crowd->unfair;
}

static void print_crowd(const char *name, struct crowd_figures *figures, unsigned count)
{
	printf("%-28s %8.3f of bare threads; wait p99 %5.2f ms, longest %5.2f ms; "
	       "threads %.2f\n",
	       name, median(figures->share, count), median(figures->p99, count),
	       median(figures->longest, count), median(figures->unfair, count));
}

/* Every session busy, most threads waiting for one: through the module, and in the
 * engine without it. */
static void measure_crowd(const struct side *bare, const struct side *proxy,
			  const struct side *engine)
{
	static struct crowd_figures through, without;
	unsigned count = pairs < CROWD_PAIRS ? pairs : CROWD_PAIRS;
	for (unsigned i = 0; i < count; i++) {
		struct crowd base = watch_crowd(bare, sign, CROWD_SESSIONS);
		struct crowd crowd = watch_crowd(engine, sign_in_engine, MOST_THREADS);
		note_crowd(&without, i, &base, &crowd);
		crowd = watch_crowd(proxy, sign, MOST_THREADS);
		note_crowd(&through, i, &base, &crowd);
	}
	printf("%u threads on %u sessions, a signature takes 1 ms\n", MOST_THREADS,
	       CROWD_SESSIONS);
	print_crowd("the engine", &without, count);
	print_crowd("through the module", &through, count);
}

/* --- grounds ---------------------------------------------------------------------------
 */

static const char *module_path(void)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	return path;
}

static void configure(const struct fixture *f, unsigned sessions)
{
	char path[400];
	snprintf(path, sizeof(path), "%s/hsmpool.conf", f->dir);
	FILE *file = fopen(path, "w");
	if (!file)
		exit(1);
	fprintf(file,
		"[pool]\nmodule = %s\nstate-dir = %s/state\nmax-sessions = %u\n"
		"min-sessions = %u\nborrow-timeout = 60s\n[proxy]\n",
		f->module, f->dir, sessions, sessions);
	fclose(file);
	chmod(path, 0600);
	setenv("HSMPOOL_CONF", path, 1);
}

/* The proxy initialises the vendor's module, and logs in for both: they are one
 * application. */
static void begin(const struct fixture *f, struct side *direct, struct side *proxy,
		  unsigned real_sessions, unsigned threads)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;
	configure(f, real_sessions);
	proxy->p11 = load(module_path());
	direct->p11 = load(f->module);
	REQUIRE(proxy->p11->C_Initialize(NULL));
	REQUIRE(proxy->p11->C_GetSlotList(CK_TRUE, slots, &count));
	open_sessions(proxy, slots[0], threads);
	REQUIRE(proxy->p11->C_Login(proxy->sessions[0], CKU_USER, pin, sizeof(pin) - 1));
	open_sessions(direct, slots[0], threads);
	find_keys(proxy);
	if (proxy->rsa == CK_INVALID_HANDLE)
		make_keys(proxy);
	find_keys(proxy);
	find_keys(direct);
}

static void end(struct fixture *f, const struct side *direct, const struct side *proxy,
		unsigned threads)
{
	close_sessions(direct, threads);
	REQUIRE(proxy->p11->C_Finalize(NULL));
	fixture_remove(f);
}

static void measure_on_mock(void)
{
	struct fixture f;
	static struct side direct, proxy;
	fixture_mock(&f);
	begin(&f, &direct, &proxy, 1, 1);
	printf("one thread, module without latency\n");
	measure_overhead(&direct, &proxy, sign, "C_SignInit + C_Sign");
	measure_overhead(&direct, &proxy, encrypt_ecb, "C_EncryptInit + C_Encrypt");
	measure_overhead(&direct, &proxy, encrypt_gcm, "the same with GCM");
	end(&f, &direct, &proxy, 1);
}

static void open_engine(struct fixture *f, struct side *engine)
{
	hsmpool_error err;
	char sessions[8];
	snprintf(sessions, sizeof(sessions), "%d", CROWD_SESSIONS);
	fixture_set(f, "max-sessions", sessions);
	fixture_set(f, "min-sessions", sessions);
	engine->pool = fixture_open(f);
	assert_ok(hsmpool_key_open(&engine->key, engine->pool, "pkcs11:object=rsa",
				   HSMPOOL_DEFAULT, &err),
		  &err);
}

static void close_engine(struct side *engine)
{
	hsmpool_key_close(&engine->key);
	hsmpool_close(&engine->pool);
}

static void measure_crowd_on_mock(void)
{
	struct fixture f;
	static struct side direct, proxy, engine;
	fixture_mock(&f);
	begin(&f, &direct, &proxy, CROWD_SESSIONS, MOST_THREADS);
	open_engine(&f, &engine);
	fixture_mock_control()->latency("C_Sign", 1000000);
	measure_crowd(&direct, &proxy, &engine);
	fixture_mock_control()->latency("C_Sign", 0);
	close_engine(&engine);
	end(&f, &direct, &proxy, MOST_THREADS);
}

static void measure_on_softhsm(unsigned threads)
{
	struct fixture f;
	static struct side direct, proxy;
	fixture_softhsm(&f);
	begin(&f, &direct, &proxy, threads, threads);
	measure_rate(&direct, &proxy, sign, threads, "SoftHSM2 RSA-2048 sign");
	measure_rate(&direct, &proxy, encrypt_gcm, threads, "SoftHSM2 AES-GCM of 64 B");
	end(&f, &direct, &proxy, threads);
}

static bool is_wanted(int argc, char **argv, const char *part)
{
	bool names_any = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], part) == 0)
			return true;
		names_any |= strcmp(argv[i], "quick") != 0;
	}
	return !names_any;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "quick") == 0) {
		pairs = 3;
		block = 1000;
		spell_ns = 20 * 1000000;
	}
	if (is_wanted(argc, argv, "overhead"))
		measure_on_mock();
	if (is_wanted(argc, argv, "crowd"))
		measure_crowd_on_mock();
	if (is_wanted(argc, argv, "softhsm")) {
		measure_on_softhsm(1);
		measure_on_softhsm(8);
	}
	return 0;
}
