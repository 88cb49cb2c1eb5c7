/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading the PKCS#11 module, its configuration, keys to work with.
 */
#include "operations_ground.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void assert_rv_at(CK_RV rv, CK_RV expected, const char *what, const char *file, int line)
{
	if (rv == expected)
		return;
	print_error("%s:%d: %s: 0x%lx, not 0x%lx\n", file, line, what, rv, expected);
	_fail(file, line);
}

static CK_FUNCTION_LIST *load(void)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/lib/proxy/hsmpool-pkcs11.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!dl)
		fail_msg("%s", dlerror());
	CK_C_GetFunctionList get = NULL;
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	CK_FUNCTION_LIST *list = NULL;
	assert_non_null(get);
	assert_rv(get(&list), CKR_OK);
	return list;
}

static struct ground the_ground;

static int set_up_mock(void **state)
{
	fixture_mock(&the_ground.fixture);
	the_ground.is_mock = true;
	the_ground.p11 = load();
	*state = &the_ground;
	return 0;
}

static int set_up_softhsm(void **state)
{
	fixture_softhsm(&the_ground.fixture);
	the_ground.p11 = load();
	*state = &the_ground;
	return 0;
}

static int tear_down(void **state)
{
	struct ground *g = *state;
	fixture_remove(&g->fixture);
	return 0;
}

int ground_run(const char *name, const struct CMUnitTest *tests, size_t count,
	       size_t mock_only, int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "softhsm") == 0)
		return _cmocka_run_group_tests(name, tests, count - mock_only,
					       set_up_softhsm, tear_down);
	return _cmocka_run_group_tests(name, tests, count, set_up_mock, tear_down);
}

static void write_configuration(const struct ground *g, unsigned max_sessions,
				const char *pool_lines, const char *proxy_lines)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/hsmpool.conf", g->fixture.dir);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file,
		"[pool]\nmodule = %s\nstate-dir = %s/state\nmax-sessions = %u\n"
		"min-sessions = 1\n%s\n",
		g->fixture.module, g->fixture.dir, max_sessions,
		pool_lines ? pool_lines : "");
	fprintf(file, "[proxy]\n%s\n", proxy_lines ? proxy_lines : "");
	assert_int_equal(fclose(file), 0);
	chmod(path, 0600);
	setenv("HSMPOOL_CONF", path, 1);
}

static CK_OBJECT_HANDLE find(struct ground *g, CK_OBJECT_CLASS class, const char *label)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	CK_OBJECT_HANDLE found[2];
	CK_ULONG count = 0;
	assert_rv(g->p11->C_FindObjectsInit(g->main, template, 2), CKR_OK);
	assert_rv(g->p11->C_FindObjects(g->main, found, 2, &count), CKR_OK);
	assert_rv(g->p11->C_FindObjectsFinal(g->main), CKR_OK);
	if (count != 1)
		return CK_INVALID_HANDLE;
	/* Programs look at what they found: an object is known by its first use. */
	CK_ATTRIBUTE look = { CKA_CLASS, &class, sizeof(class) };
	assert_rv(g->p11->C_GetAttributeValue(g->main, found[0], &look, 1), CKR_OK);
	return found[0];
}

static void make_secret(struct ground *g, CK_KEY_TYPE type, const char *label,
			CK_ULONG len)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BBOOL yes = CK_TRUE;
	CK_BYTE value[32];
	memset(value, 0x5a, sizeof(value));
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, 1 },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_VALUE, value, len },
		{ CKA_ENCRYPT, &yes, 1 },
		{ CKA_DECRYPT, &yes, 1 },
		{ CKA_SIGN, &yes, 1 },
		{ CKA_VERIFY, &yes, 1 },
	};
	CK_OBJECT_HANDLE key;
	assert_rv(g->p11->C_CreateObject(g->main, template, 9, &key), CKR_OK);
}

static void make_rsa(struct ground *g)
{
	CK_MECHANISM mechanism = { .mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN };
	CK_ULONG bits = 1024;
	CK_BBOOL yes = CK_TRUE;
	CK_UTF8CHAR label[] = { 'r', 's', 'a' };
	CK_ATTRIBUTE public[] = { { CKA_MODULUS_BITS, &bits, sizeof(bits) },
				  { CKA_TOKEN, &yes, 1 },
				  { CKA_ENCRYPT, &yes, 1 },
				  { CKA_VERIFY, &yes, 1 },
				  { CKA_LABEL, label, sizeof(label) } };
	CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 },
				   { CKA_PRIVATE, &yes, 1 },
				   { CKA_DECRYPT, &yes, 1 },
				   { CKA_SIGN, &yes, 1 },
				   { CKA_LABEL, label, sizeof(label) } };
	CK_OBJECT_HANDLE keys[2];
	assert_rv(g->p11->C_GenerateKeyPair(g->main, &mechanism, public, 5, private, 5,
					    &keys[0], &keys[1]),
		  CKR_OK);
}

static void find_keys(struct ground *g)
{
	g->aes = find(g, CKO_SECRET_KEY, "aes");
	if (g->aes == CK_INVALID_HANDLE) {
		make_secret(g, CKK_AES, "aes", 32);
		make_secret(g, CKK_GENERIC_SECRET, "hmac", 32);
		make_rsa(g);
		g->aes = find(g, CKO_SECRET_KEY, "aes");
	}
	g->hmac = find(g, CKO_SECRET_KEY, "hmac");
	g->rsa = find(g, CKO_PRIVATE_KEY, "rsa");
	g->rsa_public = find(g, CKO_PUBLIC_KEY, "rsa");
	assert_int_not_equal(g->aes, CK_INVALID_HANDLE);
	assert_int_not_equal(g->hmac, CK_INVALID_HANDLE);
	assert_int_not_equal(g->rsa, CK_INVALID_HANDLE);
	assert_int_not_equal(g->rsa_public, CK_INVALID_HANDLE);
}

void ground_begin(struct ground *g, unsigned max_sessions, const char *pool_lines,
		  const char *proxy_lines)
{
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;
	if (g->is_mock) {
		fixture_mock_control()->reset();
		fixture_mock_control()->pin(FIXTURE_USER_PIN);
	}
	write_configuration(g, max_sessions, pool_lines, proxy_lines);
	/* A test that failed has not come to its end. */
	g->p11->C_Finalize(NULL);
	assert_rv(g->p11->C_Initialize(NULL), CKR_OK);
	assert_rv(g->p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	assert_true(count >= 1);
	g->slot = slots[0];
	g->main = ground_session(g);
	assert_rv(g->p11->C_Login(g->main, CKU_USER, pin, sizeof(pin) - 1), CKR_OK);
	find_keys(g);
}

void ground_end(struct ground *g)
{
	assert_rv(g->p11->C_Finalize(NULL), CKR_OK);
}

CK_SESSION_HANDLE ground_session(struct ground *g)
{
	CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
	assert_rv(g->p11->C_OpenSession(g->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
					NULL, NULL, &session),
		  CKR_OK);
	return session;
}

#define MOST_REAL 4

/* With so many operations begun elsewhere, no real session is left to the others. */
void ground_take_all_away(struct ground *g)
{
	CK_MECHANISM digest = { .mechanism = CKM_SHA256 };
	CK_SESSION_HANDLE others[MOST_REAL];
	for (unsigned i = 0; i < MOST_REAL; i++) {
		others[i] = ground_session(g);
		assert_rv(g->p11->C_DigestInit(others[i], &digest), CKR_OK);
	}
	for (unsigned i = 0; i < MOST_REAL; i++)
		assert_rv(g->p11->C_CloseSession(others[i]), CKR_OK);
}
