/* SPDX-License-Identifier: Apache-2.0 */
/* C_Finalize gives back what C_Initialize and all between them took, also where the
 * program left everything as it was (row S24). What a leak checker calls reachable counts
 * too: it is the heap that is measured. */
#include "objects_ground.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 20

static struct fixture fixture;

/* Of the sanitizers, who keep a heap of their own. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	return __sanitizer_get_current_allocated_bytes
		       ? __sanitizer_get_current_allocated_bytes()
		       : mallinfo2().uordblks;
}

/* Every kind of thing that a program can leave behind, half done. */
static void leave_everything_open(void)
{
	CK_FUNCTION_LIST *p11 = module_load();
	CK_MECHANISM sha = { CKM_SHA256, NULL, 0 };
	CK_BYTE input[3000] = { 0 }, out[16];
	CK_OBJECT_HANDLE key, found;
	CK_SESSION_HANDLE session = objects_user();
	for (int i = 0; i < 5; i++) { /* journals of more than the real sessions */
		CK_SESSION_HANDLE s = module_session(RW);
		assert_rv(p11->C_DigestInit(s, &sha), CKR_OK);
		assert_rv(p11->C_DigestUpdate(s, input, sizeof(input)), CKR_OK);
	}
	assert_rv(objects_aes(session, "left", 1, false, true, &key), CKR_OK);
	assert_rv(objects_use_aes(session, key, out), CKR_OK);
	assert_int_equal(objects_find(session, "left", &found), 1);
	assert_rv(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_rv(p11->C_FindObjects(session, &found, 1, &(CK_ULONG){ 0 }), CKR_OK);
}

static void work_and_finalize(void)
{
	module_begin();
	leave_everything_open();
	module_end();
}

static size_t growth_in_rounds(void)
{
	size_t before = allocated();
	for (int i = 0; i < ROUNDS; i++)
		work_and_finalize();
	size_t after = allocated();
	print_message("# %zu B before, %zu B after %d rounds\n", before, after, ROUNDS);
	return after > before ? after - before : 0;
}

/* A block lost in each round would be 32 bytes at least, each time. What glibc keeps for
 * the stack of one thread more, when those of the round before are not quite gone, is
 * taken but once. */
static void c_finalize_gives_everything_back(void **state)
{
	size_t growth = SIZE_MAX;
	(void)state;
	for (int i = 0; i < 3; i++)
		work_and_finalize();
	for (int i = 0; i < 5 && growth >= ROUNDS * 32; i++)
		growth = growth_in_rounds();
	assert_true(growth < ROUNDS * 32);
}

/* So does one that is refused half way. */
static void a_failed_c_initialize_keeps_nothing(void **state)
{
	(void)state;
	module_configure(&fixture, "token = pkcs11:nonsense=1", NULL);
	for (int i = 0; i < 3; i++)
		assert_rv(module_load()->C_Initialize(NULL), CKR_GENERAL_ERROR);
	size_t before = allocated();
	for (int i = 0; i < 5; i++)
		assert_rv(module_load()->C_Initialize(NULL), CKR_GENERAL_ERROR);
	assert_true(allocated() < before + 5 * 32);
}

static int make_token(void **state)
{
	(void)state;
	fixture_mock(&fixture);
	module_configure(&fixture, "max-sessions = 2\nlog-level = error", NULL);
	return 0;
}

static int remove_token(void **state)
{
	(void)state;
	fixture_remove(&fixture);
	return 0;
}

/* Blocks that glibc's malloc keeps for a thread count as used: without them the numbers
 * are exact. */
static void count_exactly(char **argv)
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1",
	       1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	(void)argc;
	count_exactly(argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c_finalize_gives_everything_back),
		cmocka_unit_test(a_failed_c_initialize_keeps_nothing),
	};
	return cmocka_run_group_tests(tests, make_token, remove_token);
}
