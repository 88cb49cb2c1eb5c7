/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a module: what is accepted, what is shared, what is refused and how.
 */
#include "support/fixture.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "p11/gate.h"
#include "p11/module.h"

static const char *softhsm(void)
{
	return getenv("HSMPOOL_TEST_SOFTHSM");
}

static CK_FUNCTION_LIST *host_functions(void)
{
	CK_FUNCTION_LIST *fl = NULL;
	CK_C_GetFunctionList get = NULL;
	void *dl = dlopen(softhsm(), RTLD_NOW | RTLD_LOCAL);
	assert_non_null(dl);
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	assert_int_equal(get(&fl), CKR_OK);
	return fl;
}

static void expect_config_error(const char *name, const char *part)
{
	struct hp_module *module = NULL;
	hsmpool_error err = { 0 };
	assert_status(hp_module_open(&module, name, NULL, NULL, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_null(module);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

static void a_module_opened_closed_and_opened_again_works(void **state)
{
	hsmpool_error err = { 0 };
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct hp_module *module = NULL;
		assert_ok(hp_module_open(&module, softhsm(), NULL, NULL, &err), &err);
		assert_true(module->is_ours);
		assert_int_equal(module->info.cryptokiVersion.major, 2);
		hp_module_close(&module);
		assert_null(module);
		CK_INFO info;
		assert_int_equal(host_functions()->C_GetInfo(&info),
				 CKR_CRYPTOKI_NOT_INITIALIZED);
	}
}

static void two_openers_share_one_module_and_the_last_finalises(void **state)
{
	struct hp_module *one = NULL;
	struct hp_module *other = NULL;
	hsmpool_error err = { 0 };
	char elsewhere[400];
	CK_INFO info;
	(void)state;
	snprintf(elsewhere, sizeof(elsewhere), "/usr/lib/../..%s", softhsm());
	assert_ok(hp_module_open(&one, softhsm(), NULL, NULL, &err), &err);
	assert_ok(hp_module_open(&other, elsewhere, NULL, NULL, &err), &err);
	assert_ptr_equal(one, other);
	hp_module_close(&one);
	assert_int_equal(host_functions()->C_GetInfo(&info), CKR_OK);
	hp_module_close(&other);
	assert_int_equal(host_functions()->C_GetInfo(&info),
			 CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* Decision 17: someone else's module is used, but not finalised. */
static void a_module_that_the_host_initialised_stays_its_own(void **state)
{
	CK_FUNCTION_LIST *host = host_functions();
	struct hp_module *module = NULL;
	hsmpool_error err = { 0 };
	CK_INFO info;
	(void)state;
	assert_int_equal(host->C_Initialize(NULL), CKR_OK);
	assert_ok(hp_module_open(&module, softhsm(), NULL, NULL, &err), &err);
	assert_false(module->is_ours);
	hp_module_close(&module);
	assert_int_equal(host->C_GetInfo(&info), CKR_OK);
	assert_int_equal(host->C_Finalize(NULL), CKR_OK);
}

static void p11_kits_name_of_a_module_is_enough(void **state)
{
	HP_AUTO_FREE char *path = NULL;
	hsmpool_error err = { 0 };
	(void)state;
	if (access("/usr/share/p11-kit/modules/softhsm2.module", R_OK) != 0)
		skip();
	assert_ok(hp_module_resolve("softhsm2", &path, &err), &err);
	assert_int_equal(path[0], '/');
	struct hp_module *module = NULL;
	assert_ok(hp_module_open(&module, "softhsm2", NULL, NULL, &err), &err);
	hp_module_close(&module);
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* In a child, as another user where we are root: root does not look into HOME. */
static int resolve_in_home(const char *home, const char *name, char *out, size_t cap)
{
	int ends[2];
	char text[600] = "";
	int status = -1;
	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		char *path = NULL;
		hsmpool_error err = { 0 };
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(99);
		unsetenv("XDG_CONFIG_HOME");
		setenv("HOME", home, 1);
		hsmpool_status got = hp_module_resolve(name, &path, &err);
		snprintf(text, sizeof(text), "%s", path ? path : err.text);
		_exit(write(ends[1], text, strlen(text)) > 0 ? (int)got : 98);
	}
	close(ends[1]);
	ssize_t got = read(ends[0], out, cap - 1);
	out[got > 0 ? got : 0] = '\0';
	close(ends[0]);
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void a_users_module_file_comes_first_but_not_for_root(void **state)
{
	struct fixture *f = *state;
	char path[600];
	char out[600];
	const char *folders[] = { "", "/.config", "/.config/pkcs11",
				  "/.config/pkcs11/modules" };
	for (size_t i = 0; i < HP_ARRAY_LEN(folders); i++) {
		snprintf(path, sizeof(path), "%s%s", f->dir, folders[i]);
		mkdir(path, 0755);
		assert_int_equal(chmod(path, 0755), 0);
	}
	snprintf(path, sizeof(path), "%s/.config/pkcs11/modules/mine.module", f->dir);
	write_text(path, "# mine\n\n  module :  /opt/hsm/mine.so  \n");
	assert_int_equal(resolve_in_home(f->dir, "mine", out, sizeof(out)), HSMPOOL_OK);
	assert_string_equal(out, "/opt/hsm/mine.so");

	write_text(path, "module: mine.so\n");
	assert_int_equal(resolve_in_home(f->dir, "mine", out, sizeof(out)), HSMPOOL_OK);
	assert_string_equal(out, HP_P11_MODULE_PATH "/mine.so");

	write_text(path, "critical: no\nmodule:\n");
	assert_int_equal(resolve_in_home(f->dir, "mine", out, sizeof(out)),
			 HSMPOOL_ERR_CONFIG);
	if (geteuid() == 0) {
		setenv("HOME", f->dir, 1);
		expect_config_error("mine", "knows no such module");
	}
}

static void wrong_modules_are_refused_with_what_to_do(void **state)
{
	struct fixture *f = *state;
	expect_config_error(NULL, "set the option module");
	expect_config_error("", "set the option module");
	expect_config_error("/nonexistent/module.so", "No such file or directory");
	expect_config_error("no-such-module", "give the module's path");
	expect_config_error("no-such-module.so", "cannot be loaded");
	expect_config_error(f->pin_file, "cannot be loaded");
	expect_config_error(f->dir, "cannot be loaded");
}

/* dlsym() would find p11-kit's own C_GetFunctionList behind a library that links it. */
static void libraries_that_are_no_modules_are_refused(void **state)
{
	char library[400];
	(void)state;
	expect_config_error("libcrypto.so.3", "not a PKCS#11 module");
	snprintf(library, sizeof(library), "%s/lib/libhsmpool.so",
		 getenv("HSMPOOL_TEST_BUILD"));
	expect_config_error(library, "not a PKCS#11 module");
}

static void the_environment_is_set_only_where_it_is_not_set_yet(void **state)
{
	struct hp_module *module = NULL;
	hsmpool_error err = { 0 };
	(void)state;
	unsetenv("HSMPOOL_TEST_SOME");
	assert_ok(hp_module_open(&module, softhsm(), "HSMPOOL_TEST_SOME=a=b", NULL, &err),
		  &err);
	hp_module_close(&module);
	assert_string_equal(getenv("HSMPOOL_TEST_SOME"), "a=b");
	assert_ok(hp_module_open(&module, softhsm(), "HSMPOOL_TEST_SOME=c", NULL, &err),
		  &err);
	hp_module_close(&module);
	assert_string_equal(getenv("HSMPOOL_TEST_SOME"), "a=b");
	assert_status(hp_module_open(&module, softhsm(), "=c", NULL, &err),
		      HSMPOOL_ERR_CONFIG);
	assert_status(hp_module_open(&module, softhsm(), "novalue", NULL, &err),
		      HSMPOOL_ERR_CONFIG);
}

/* The call stays inside for the length of the close, which then must not finalise. */
static void a_module_with_a_call_inside_is_not_finalised(void **state)
{
	struct hp_module *module = NULL;
	struct hp_module *again = NULL;
	hsmpool_error err = { 0 };
	CK_INFO info;
	(void)state;
	assert_ok(hp_module_open(&module, softhsm(), NULL, NULL, &err), &err);
	struct hp_module *stuck = module;
	/* Announced as another thread's call would be. */
	atomic_fetch_add(&stuck->gate.shard[3].inside, 1);
	hp_module_close(&module);
	assert_int_equal(stuck->fl->C_GetInfo(&info), CKR_OK);
	atomic_fetch_sub(&stuck->gate.shard[3].inside, 1);
	/* Ownership is remembered. */
	assert_ok(hp_module_open(&again, softhsm(), NULL, NULL, &err), &err);
	assert_true(again->is_ours);
	hp_module_close(&again);
	assert_int_equal(stuck->fl->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
}

static int make_ground(void **state)
{
	static struct fixture f;
	fixture_softhsm(&f);
	*state = &f;
	return 0;
}

static int remove_ground(void **state)
{
	fixture_remove(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_opened_closed_and_opened_again_works),
		cmocka_unit_test(two_openers_share_one_module_and_the_last_finalises),
		cmocka_unit_test(a_module_that_the_host_initialised_stays_its_own),
		cmocka_unit_test(p11_kits_name_of_a_module_is_enough),
		cmocka_unit_test(a_users_module_file_comes_first_but_not_for_root),
		cmocka_unit_test(wrong_modules_are_refused_with_what_to_do),
		cmocka_unit_test(libraries_that_are_no_modules_are_refused),
		cmocka_unit_test(the_environment_is_set_only_where_it_is_not_set_yet),
		cmocka_unit_test(a_module_with_a_call_inside_is_not_finalised),
	};
	return cmocka_run_group_tests(tests, make_ground, remove_ground);
}
