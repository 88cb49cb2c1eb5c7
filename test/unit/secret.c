/* SPDX-License-Identifier: Apache-2.0 */
/* Locked, fenced, wiped memory (L37): base/secret.c. munmap is wrapped to look at the
 * bytes that are given back. */
#include "support/fixture.h"

#include "base/secret.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/sanitizers.h"

/* The runtime of a sanitizer makes mlock do nothing. */
#if HAS_ADDRESS_SANITIZER || HAS_THREAD_SANITIZER
#define MLOCK_IS_FAKED
#endif

static const uint8_t *watched;
static size_t watched_len;
static size_t bytes_left_behind;

int __real_munmap(void *address, size_t len);
int __wrap_munmap(void *address, size_t len);

int __wrap_munmap(void *address, size_t len)
{
	for (size_t i = 0; watched && i < watched_len; i++)
		bytes_left_behind += watched[i] != 0;
	return __real_munmap(address, len);
}

static void a_new_secret_is_empty_and_zeroed(void **state)
{
	(void)state;
	const size_t sizes[] = { 0, 1, 15, 16, 4095, 4096, 4097, 100000 };
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		HP_AUTO_SECRET *secret = hp_secret_new(sizes[s]);
		assert_non_null(secret);
		assert_int_equal(secret->cap, sizes[s]);
		assert_int_equal(secret->len, 0);
		for (size_t i = 0; i < sizes[s]; i++)
			assert_int_equal(secret->data[i], 0);
		memset(secret->data, 0xaa, sizes[s]);
	}
}

static void a_size_that_cannot_be_is_refused(void **state)
{
	(void)state;
	assert_null(hp_secret_new(SIZE_MAX));
	assert_null(hp_secret_new(SIZE_MAX - 4096));
	assert_null(hp_secret_new(SIZE_MAX / 2));
}

static void a_freed_secret_is_wiped_and_cleared(void **state)
{
	(void)state;
	struct hp_secret *secret = hp_secret_new(5000);
	memset(secret->data, 0x5a, secret->cap);
	secret->len = 10; /* all of it is wiped, not len bytes */
	watched = secret->data;
	watched_len = secret->cap;
	bytes_left_behind = 0;
	hp_secret_free(&secret);
	watched = NULL;
	assert_null(secret);
	assert_int_equal(bytes_left_behind, 0);
	hp_secret_free(&secret);
}

/* Whether writing there kills a process. */
static bool is_fatal(uint8_t *address)
{
	pid_t child = fork();
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)address = 1;
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void an_overrun_hits_a_guard_page(void **state)
{
	(void)state;
	HP_AUTO_SECRET *secret = hp_secret_new(48);
	assert_false(is_fatal(secret->data + 47));
	assert_true(is_fatal(secret->data + 48));
	uintptr_t page =
		(uintptr_t)secret->data & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
	assert_true(is_fatal((uint8_t *)page - 1));
}

/* The flags that the kernel shows for the mapping of an address. */
static void read_flags(const void *address, char *flags, size_t size)
{
	char line[1024];
	bool is_here = false;
	FILE *maps = fopen("/proc/self/smaps", "r");
	assert_non_null(maps);
	flags[0] = '\0';
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end;
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			is_here = start <= (uintptr_t)address && (uintptr_t)address < end;
		else if (is_here && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(flags, size, "%.150s", line);
	}
	fclose(maps);
}

static void the_pages_are_not_dumped(void **state)
{
	(void)state;
	char flags[200];
	HP_AUTO_SECRET *secret = hp_secret_new(48);
	read_flags(secret->data, flags, sizeof(flags));
	assert_non_null(strstr(flags, " dd"));
}

#ifndef MLOCK_IS_FAKED
static bool has_lock(const struct hp_secret *secret)
{
	char flags[200];
	read_flags(secret->data, flags, sizeof(flags));
	return strstr(flags, " lo") != NULL;
}

static void the_pages_are_locked_or_that_is_known(void **state)
{
	(void)state;
	HP_AUTO_SECRET *secret = hp_secret_new(48);
	assert_int_equal(has_lock(secret), secret->locked);
	assert_int_equal(hp_secret_some_unlocked(), !secret->locked);
}

static void a_child_can_lock_an_inherited_secret_again(void **state)
{
	(void)state;
	HP_AUTO_SECRET *secret = hp_secret_new(48);
	memcpy(secret->data, "1234", 4);
	pid_t child = fork();
	if (child == 0) {
		bool had_lock = has_lock(secret);
		hp_secret_relock(secret);
		bool is_fine = !had_lock && has_lock(secret) == secret->locked &&
			       memcmp(secret->data, "1234", 4) == 0;
		_exit(is_fine ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	hp_secret_relock(NULL);
}

static void a_secret_works_where_locking_is_refused(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_MEMLOCK, &none);
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		struct hp_secret *secret = hp_secret_new(48);
		if (!secret || secret->locked || !hp_secret_some_unlocked())
			_exit(1);
		memcpy(secret->data, "1234", 4);
		hp_secret_free(&secret);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}
#endif

static void wiping_and_comparing_do_what_they_say(void **state)
{
	(void)state;
	char a[] = "secret";
	const char b[] = "secreT";
	assert_true(hp_equal_secret(a, "secret", 6));
	assert_false(hp_equal_secret(a, b, 6));
	assert_true(hp_equal_secret(a, b, 5));
	assert_true(hp_equal_secret(NULL, NULL, 0));
	hp_wipe(a, 3);
	assert_memory_equal(a, "\0\0\0ret", 6);
	hp_wipe(NULL, 0);
}

#ifdef __x86_64__
/* A core dump has them. */
static void wiping_clears_the_vector_registers(void **state)
{
	(void)state;
	uint8_t byte = 1, low[16], high[16] = { 0 }, upper[16] = { 0 };
	bool has_upper = __builtin_cpu_supports("avx512vl");
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n pcmpeqd %%xmm15, %%xmm15" ::
				 : "xmm0", "xmm15");
	if (has_upper)
		__asm__ volatile("vpternlogd $255, %%xmm31, %%xmm31, %%xmm31" ::);
	hp_wipe(&byte, sizeof(byte));
	__asm__ volatile("movdqu %%xmm0, %0\n movdqu %%xmm15, %1"
			 : "=m"(low), "=m"(high));
	if (has_upper)
		__asm__ volatile("vmovdqu32 %%xmm31, %0" : "=m"(upper));
	for (size_t i = 0; i < sizeof(low); i++)
		assert_int_equal(low[i] | high[i] | upper[i], 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_secret_is_empty_and_zeroed),
		cmocka_unit_test(a_size_that_cannot_be_is_refused),
		cmocka_unit_test(a_freed_secret_is_wiped_and_cleared),
		cmocka_unit_test(an_overrun_hits_a_guard_page),
		cmocka_unit_test(the_pages_are_not_dumped),
#ifndef MLOCK_IS_FAKED
		cmocka_unit_test(the_pages_are_locked_or_that_is_known),
		cmocka_unit_test(a_child_can_lock_an_inherited_secret_again),
		cmocka_unit_test(a_secret_works_where_locking_is_refused),
#endif
		cmocka_unit_test(wiping_and_comparing_do_what_they_say),
#ifdef __x86_64__
		cmocka_unit_test(wiping_clears_the_vector_registers),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
