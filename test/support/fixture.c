/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground that tests stand on: see fixture.h.
 *
 * A SoftHSM2 token is made by a forked child, so that the module under test starts
 * untouched in this process. Must be called before the test program has threads.
 */
#include "support/fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(condition, ...)           \
	do {                              \
		if (!(condition))         \
			die(__VA_ARGS__); \
	} while (0)

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("fixture: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

static const char *required_env(const char *name)
{
	const char *value = getenv(name);

	REQUIRE(value != NULL && value[0] != '\0', "%s is not set: run me by meson test",
		name);
	return value;
}

static void write_file(const char *path, mode_t mode, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	size_t len = strlen(text);

	REQUIRE(fd >= 0, "%s: %s", path, strerror(errno));
	REQUIRE(write(fd, text, len) == (ssize_t)len, "%s: %s", path, strerror(errno));
	close(fd);
}

/* A blank-padded field of C_InitToken. */
static void pad_label(CK_UTF8CHAR padded[32], const char *label)
{
	size_t len = strlen(label);

	REQUIRE(len <= 32, "label '%s' is too long", label);
	memset(padded, ' ', 32);
	memcpy(padded, label, len);
}

static CK_FUNCTION_LIST *load_module(const char *path)
{
	CK_FUNCTION_LIST *list = NULL;
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	REQUIRE(dl != NULL, "%s", dlerror());
	CK_C_GetFunctionList get = NULL;
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	REQUIRE(get != NULL && get(&list) == CKR_OK, "%s: no function list", path);
	return list;
}

/* The slot whose token is not initialised yet: SoftHSM2 always shows one. */
static CK_SLOT_ID free_slot(CK_FUNCTION_LIST *module)
{
	CK_SLOT_ID slots[64];
	CK_ULONG count = 64;

	REQUIRE(module->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		if (module->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
		    !(info.flags & CKF_TOKEN_INITIALIZED))
			return slots[i];
	}
	die("SoftHSM2 shows no free slot");
}

static void init_token(const char *path, const char *label)
{
	CK_FUNCTION_LIST *module = load_module(path);
	CK_SESSION_HANDLE session;
	CK_UTF8CHAR padded[32];
	CK_UTF8CHAR so_pin[] = FIXTURE_SO_PIN;
	CK_UTF8CHAR user_pin[] = FIXTURE_USER_PIN;
	CK_RV rv = module->C_Initialize(NULL);
	REQUIRE(rv == CKR_OK, "C_Initialize: 0x%lx", rv);
	CK_SLOT_ID slot = free_slot(module);

	pad_label(padded, label);
	rv = module->C_InitToken(slot, so_pin, sizeof(so_pin) - 1, padded);
	REQUIRE(rv == CKR_OK, "C_InitToken: 0x%lx", rv);
	rv = module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
				   &session);
	REQUIRE(rv == CKR_OK, "C_OpenSession: 0x%lx", rv);
	rv = module->C_Login(session, CKU_SO, so_pin, sizeof(so_pin) - 1);
	REQUIRE(rv == CKR_OK, "C_Login: 0x%lx", rv);
	rv = module->C_InitPIN(session, user_pin, sizeof(user_pin) - 1);
	REQUIRE(rv == CKR_OK, "C_InitPIN: 0x%lx", rv);
	module->C_Finalize(NULL);
}

static void init_token_in_child(const char *label)
{
	const char *module = required_env("HSMPOOL_TEST_SOFTHSM");
	int status = 0;

	fflush(NULL);
	pid_t child = fork();
	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		init_token(module, label);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"cannot make the SoftHSM2 token '%s'", label);
}

static int remove_entry(const char *path, const struct stat *status, int flag,
			struct FTW *walk)
{
	(void)status;
	(void)flag;
	(void)walk;
	return remove(path);
}

/* The processes of a machine take turns at a file in the state folder of the program's
 * first pool, which is made again for the next call: gone for good at the end only. */
static char first_folder[sizeof(((struct fixture *)0)->dir)];
static pid_t first_owner;

static void remove_first_folder(void)
{
	if (getpid() == first_owner)
		nftw(first_folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void note_first_folder(const struct fixture *f)
{
	if (first_owner)
		return;
	first_owner = getpid();
	memcpy(first_folder, f->dir, sizeof(first_folder));
	REQUIRE(atexit(remove_first_folder) == 0, "atexit: no memory");
}

static void make_folder(struct fixture *f)
{
	const char *parent = getenv("TMPDIR");

	memset(f, 0, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "%s/hsmpool-test-XXXXXX",
		 parent != NULL && parent[0] == '/' ? parent : "/tmp");
	REQUIRE(mkdtemp(f->dir) != NULL, "%s: %s", f->dir, strerror(errno));
	note_first_folder(f);
	snprintf(f->pin_file, sizeof(f->pin_file), "%s/pin", f->dir);
	write_file(f->pin_file, 0600, FIXTURE_USER_PIN "\n");
}

static void make_softhsm_store(const struct fixture *f)
{
	char path[300];
	char conf[800];

	snprintf(path, sizeof(path), "%s/tokens", f->dir);
	REQUIRE(mkdir(path, 0700) == 0, "%s: %s", path, strerror(errno));
	snprintf(conf, sizeof(conf),
		 "directories.tokendir = %s\n"
		 "objectstore.backend = file\n"
		 "log.level = ERROR\n"
		 "slots.removable = false\n",
		 path);
	snprintf(path, sizeof(path), "%s/softhsm2.conf", f->dir);
	write_file(path, 0600, conf);
	setenv("SOFTHSM2_CONF", path, 1);
	init_token_in_child(FIXTURE_TOKEN);
}

static void make_config(struct fixture *f, const char *token)
{
	hsmpool_error err;
	char value[400];

	if (hsmpool_config_new(&f->config, &err) != HSMPOOL_OK)
		die("%s", err.text);
	fixture_set(f, "module", f->module);
	snprintf(value, sizeof(value), "pkcs11:token=%s", token);
	fixture_set(f, "token", value);
	snprintf(value, sizeof(value), "file:%s", f->pin_file);
	fixture_set(f, "pin-source", value);
	snprintf(value, sizeof(value), "%s/state", f->dir);
	REQUIRE(mkdir(value, 0700) == 0, "%s: %s", value, strerror(errno));
	fixture_set(f, "state-dir", value);
}

static void name_mock(struct fixture *f)
{
	snprintf(f->module, sizeof(f->module), "%s/test/mock/hsmpool-mock.so",
		 required_env("HSMPOOL_TEST_BUILD"));
}

void fixture_softhsm(struct fixture *f)
{
	make_folder(f);
	snprintf(f->module, sizeof(f->module), "%s",
		 required_env("HSMPOOL_TEST_SOFTHSM"));
	make_softhsm_store(f);
	make_config(f, FIXTURE_TOKEN);
}

void fixture_mock(struct fixture *f)
{
	make_folder(f);
	name_mock(f);
	fixture_mock_control()->reset();
	fixture_mock_control()->wrap(NULL);
	fixture_mock_control()->pin(FIXTURE_USER_PIN);
	make_config(f, MOCK_TOKEN_LABEL);
}

void fixture_mock_over_softhsm(struct fixture *f)
{
	make_folder(f);
	name_mock(f);
	make_softhsm_store(f);
	fixture_mock_control()->reset();
	fixture_mock_control()->wrap(required_env("HSMPOOL_TEST_SOFTHSM"));
	make_config(f, FIXTURE_TOKEN);
}

const struct mock_control *fixture_mock_control(void)
{
	static const struct mock_control *control;
	char path[512];

	if (control != NULL)
		return control;
	snprintf(path, sizeof(path), "%s/test/mock/hsmpool-mock.so",
		 required_env("HSMPOOL_TEST_BUILD"));
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	REQUIRE(dl != NULL, "%s", dlerror());
	mock_control_fn get = NULL;
	*(void **)&get = dlsym(dl, MOCK_CONTROL_SYMBOL);
	REQUIRE(get != NULL, "%s: %s", path, dlerror());
	control = get();
	return control;
}

void fixture_remove(struct fixture *f)
{
	hsmpool_config_close(&f->config);
	if (f->dir[0] != '\0')
		nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	f->dir[0] = '\0';
}

void fixture_set(struct fixture *f, const char *key, const char *value)
{
	hsmpool_error err;

	if (hsmpool_config_set(f->config, "pool", key, value, &err) != HSMPOOL_OK)
		die("%s = %s: %s", key, value != NULL ? value : "(none)", err.text);
}

hsmpool *fixture_open(struct fixture *f)
{
	hsmpool *pool = NULL;
	hsmpool_error err;

	assert_ok(hsmpool_open(&pool, f->config, NULL, TEST_PATIENCE, &err), &err);
	assert_non_null(pool);
	return pool;
}

void fixture_add_token(struct fixture *f, const char *label)
{
	(void)f;
	init_token_in_child(label);
}
