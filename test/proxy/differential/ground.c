/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two identical tokens, and the configurations that lead to them.
 *
 * One token is made and filled; every run begins with a copy of it for each side, so
 * handles, objects and PINs are the same again.
 */
#include "differential.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/fixture.h"

CK_SLOT_ID ground_slots[SLOT_REFERENCES];
uint32_t ground_sessions;

static struct fixture fixture;
static const char *const side_names[] = { "reference", "subject" };

#define MUST(condition)                                                       \
	do {                                                                  \
		if (!(condition)) {                                           \
			fprintf(stderr, "differential: %s: %s\n", #condition, \
				strerror(errno));                             \
			exit(2);                                              \
		}                                                             \
	} while (0)

/* --- the token -----------------------------------------------------------------------
 */

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;

static void make_pair(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
		      CK_MECHANISM_TYPE type, const char *label)
{
	static CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48,
				  0xce, 0x3d, 0x03, 0x01, 0x07 };
	CK_MECHANISM mechanism = { type, NULL, 0 };
	CK_ULONG bits = 1024;
	CK_OBJECT_HANDLE handles[2];
	bool is_rsa = type == CKM_RSA_PKCS_KEY_PAIR_GEN;
	CK_ATTRIBUTE of_public[] = {
		{ is_rsa ? CKA_MODULUS_BITS : CKA_EC_PARAMS,
		  is_rsa ? (void *)&bits : (void *)p256,
		  is_rsa ? sizeof(bits) : sizeof(p256) },
		{ CKA_LABEL, (void *)label, strlen(label) },
		{ CKA_ID, (void *)label, strlen(label) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &no, sizeof(no) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
		{ CKA_ENCRYPT, is_rsa ? &yes : &no, sizeof(yes) },
		{ CKA_WRAP, is_rsa ? &yes : &no, sizeof(yes) },
	};
	CK_ATTRIBUTE of_private[] = {
		{ CKA_LABEL, (void *)label, strlen(label) },
		{ CKA_ID, (void *)label, strlen(label) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &yes, sizeof(yes) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_DECRYPT, is_rsa ? &yes : &no, sizeof(yes) },
		{ CKA_UNWRAP, is_rsa ? &yes : &no, sizeof(yes) },
		{ CKA_DERIVE, &yes, sizeof(yes) },
	};

	MUST(module->C_GenerateKeyPair(session, &mechanism, of_public, 8, of_private, 9,
				       &handles[0], &handles[1]) == CKR_OK);
}

static void make_secret(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session,
			CK_KEY_TYPE type, const char *label, bool is_private)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BYTE value[64];
	CK_OBJECT_HANDLE handle;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_VALUE, value, type == CKK_AES ? 32 : sizeof(value) },
		{ CKA_LABEL, (void *)label, strlen(label) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, is_private ? &yes : &no, sizeof(yes) },
		{ CKA_SENSITIVE, is_private ? &yes : &no, sizeof(yes) },
		{ CKA_EXTRACTABLE, &yes, sizeof(yes) },
		{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &yes, sizeof(yes) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
		{ CKA_WRAP, &yes, sizeof(yes) },
		{ CKA_UNWRAP, &yes, sizeof(yes) },
		{ CKA_DERIVE, &yes, sizeof(yes) },
	};

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (CK_BYTE)(i * 13 + strlen(label));
	MUST(module->C_CreateObject(session, template, 15, &handle) == CKR_OK);
}

static void make_data(CK_FUNCTION_LIST *module, CK_SESSION_HANDLE session)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	char text[] = "a public text";
	char label[] = "data";
	CK_OBJECT_HANDLE handle;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_VALUE, text, sizeof(text) - 1 },
		{ CKA_LABEL, label, sizeof(label) - 1 },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &no, sizeof(no) },
	};

	MUST(module->C_CreateObject(session, template, 5, &handle) == CKR_OK);
}

static void fill_token(CK_FUNCTION_LIST *module, CK_SLOT_ID slot)
{
	CK_SESSION_HANDLE session;
	CK_UTF8CHAR pin[] = FIXTURE_USER_PIN;

	MUST(module->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
				   &session) == CKR_OK);
	MUST(module->C_Login(session, CKU_USER, pin, sizeof(pin) - 1) == CKR_OK);
	make_pair(module, session, CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa");
	make_pair(module, session, CKM_EC_KEY_PAIR_GEN, "ec");
	make_secret(module, session, CKK_AES, "aes", true);
	make_secret(module, session, CKK_GENERIC_SECRET, "hmac", true);
	make_secret(module, session, CKK_AES, "public-aes", false);
	make_data(module, session);
}

/* In a child: this process loads no module. */
static void fill_and_look(CK_SLOT_ID *slots)
{
	CK_FUNCTION_LIST *module = NULL;
	CK_SLOT_ID list[8];
	CK_ULONG count = 8;
	void *dl = dlopen(fixture.module, RTLD_NOW | RTLD_LOCAL);
	MUST(dl != NULL);
	CK_C_GetFunctionList get = NULL;
	*(void **)&get = dlsym(dl, "C_GetFunctionList");

	MUST(get != NULL && get(&module) == CKR_OK);
	MUST(module->C_Initialize(NULL) == CKR_OK);
	MUST(module->C_GetSlotList(CK_TRUE, list, &count) == CKR_OK && count == 2);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		memset(&info, 0, sizeof(info));
		MUST(module->C_GetTokenInfo(list[i], &info) == CKR_OK);
		slots[info.flags & CKF_TOKEN_INITIALIZED ? SLOT_TOKEN : SLOT_FREE] =
			list[i];
	}
	slots[SLOT_UNKNOWN] = 9999;
	fill_token(module, slots[SLOT_TOKEN]);
	module->C_Finalize(NULL);
}

/* --- folders and files ---------------------------------------------------------------
 */

static const char *path_of(enum side side, const char *name)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s/%s%s%s", fixture.dir, side_names[side],
		 name[0] == '\0' ? "" : "/", name);
	return path;
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	MUST(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
	MUST(chmod(path, 0600) == 0);
}

static void write_token_configuration(enum side side)
{
	char text[2000];

	snprintf(text, sizeof(text),
		 "directories.tokendir = %s\nobjectstore.backend = file\n"
		 "log.level = ERROR\nslots.removable = false\n",
		 path_of(side, "tokens"));
	write_text(path_of(side, "softhsm2.conf"), text);
}

/* With one PIN for it, the token must be named. */
static void write_login(FILE *f)
{
	if (options.is_automatic)
		fprintf(f, "token = pkcs11:token=%s\npin-source = file:%s\n",
			FIXTURE_TOKEN, fixture.pin_file);
	fprintf(f, "[proxy]\nlogin = %s\n",
		options.is_automatic ? "automatic" : "application");
}

static void write_watchers(FILE *f)
{
	const char *side = side_names[SIDE_SUBJECT];

	if (options.is_watched)
		fprintf(f, "audit = %s/%s-audit\nmetrics-file = %s/%s.prom\n",
			fixture.dir, side, fixture.dir, side);
}

/* It asks who each key is, and concerns none of them. */
static void write_policy(FILE *f)
{
	if (options.is_watched)
		fprintf(f, "[policy none]\nkey = pkcs11:object=no-such\n"
			   "functions = none\n");
}

/* Nothing here waits for a session unless all are pinned, so that a machine that is busy
 * changes no answer. */
void ground_bound(uint32_t sessions)
{
	const char *path = path_of(SIDE_SUBJECT, "hsmpool.conf");
	FILE *f = fopen(path, "w");

	MUST(f != NULL && chmod(path, 0600) == 0);
	ground_sessions = sessions;
	fprintf(f, "[pool]\nmodule = %s\nmax-sessions = %u\nborrow-timeout = 5s\n",
		fixture.module, sessions);
	fprintf(f, "state-dir = %s/%s\nlog = stderr\n", fixture.dir,
		side_names[SIDE_SUBJECT]);
	write_watchers(f);
	write_login(f);
	fprintf(f, "admin = %s\n", options.is_admin ? "yes" : "no");
	write_policy(f);
	MUST(fclose(f) == 0);
}

static int remove_entry(const char *path, const struct stat *status, int flag,
			struct FTW *walk)
{
	(void)status;
	(void)flag;
	(void)walk;
	return remove(path);
}

static void copy_file(const char *from, const char *to)
{
	char data[16384];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t len;

	MUST(in >= 0 && out >= 0);
	while ((len = read(in, data, sizeof(data))) > 0)
		MUST(write(out, data, (size_t)len) == len);
	close(in);
	close(out);
}

static void copy_folder(const char *from, const char *to)
{
	DIR *dir = opendir(from);
	const struct dirent *entry;

	MUST(dir != NULL && mkdir(to, 0700) == 0);
	while ((entry = readdir(dir)) != NULL) {
		char source[1200];
		char target[1200];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
		if (entry->d_type == DT_DIR)
			copy_folder(source, target);
		else
			copy_file(source, target);
	}
	closedir(dir);
}

/* --- for the driver -------------------------------------------------------------------
 */

void ground_make(void)
{
	CK_SLOT_ID *slots = mmap(NULL, sizeof(ground_slots), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;

	MUST(slots != MAP_FAILED);
	/* SoftHSM2 writes through to the disk, which takes longer than all the rest. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	fixture_softhsm(&fixture);
	fflush(NULL);
	pid_t child = fork();
	MUST(child >= 0);
	if (child == 0) {
		fill_and_look(slots);
		_exit(0);
	}
	MUST(waitpid(child, &status, 0) == child && status == 0);
	memcpy(ground_slots, slots, sizeof(ground_slots));
	munmap(slots, sizeof(ground_slots));
	for (unsigned side = 0; side < 2; side++) {
		MUST(mkdir(path_of(side, ""), 0700) == 0);
		write_token_configuration(side);
	}
}

void ground_remove(void)
{
	fixture_remove(&fixture);
}

void ground_renew(enum side side)
{
	char from[400];

	nftw(path_of(side, "tokens"), remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	snprintf(from, sizeof(from), "%s/tokens", fixture.dir);
	copy_folder(from, path_of(side, "tokens"));
}

void ground_enter(enum side side)
{
	setenv("SOFTHSM2_CONF", path_of(side, "softhsm2.conf"), 1);
	setenv("HSMPOOL_CONF", path_of(side, "hsmpool.conf"), 1);
	if (options.is_verbose)
		return;
	int fd = open(path_of(side, "messages"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0600);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
}
