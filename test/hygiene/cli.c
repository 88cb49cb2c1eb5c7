/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hsmpool-cli leaves in its memory when it ends: nothing.
 *
 * It is traced, and stopped by the kernel at its exit, while its memory is still there.
 * What it reads is in files; what it writes too.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <openssl/evp.h>
#include "base/memory.h"
#include "hygiene/canary.h"
#include "hygiene/subject.h"
#include "support/fixture.h"

#define MOST_ARGUMENTS 24
#define LARGE          ((size_t)1500000) /* more than is signed in one piece */

static struct subject subject;

/* --- files ---------------------------------------------------------------------- */

static void write_repeated(const char *name, const char *canary, size_t len)
{
	uint8_t *data = malloc(len);
	assert_non_null(data);
	canary_fill(canary, data, len);
	subject_write(&subject, name, data, len);
	subject_add_canary(&subject, canary);
	free(data);
}

/* What of the output is secret, and known when it is written only. */
enum learn { NOTHING, BYTES_OF_OUT, HEX_OF_OUT, BASE64_OF_OUT };

/* The value of "random" in JSON, or all. */
static const char *find_text(const char *text)
{
	static const char member[] = "\"random\":\"";
	const char *at = strstr(text, member);
	return at ? at + strlen(member) : text;
}

static void learn_text(const char *text, enum learn what)
{
	uint8_t bytes[HYGIENE_LONGEST];
	size_t text_len = strspn(text, "abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/");
	size_t len = 0;
	assert_true(text_len == 64);
	subject_add_secret(&subject, "text", (const uint8_t *)text, text_len);
	if (what == HEX_OF_OUT) {
		char hex[65] = "";
		memcpy(hex, text, text_len);
		assert_true(hp_hex_decode(hex, bytes, sizeof(bytes), &len));
	} else {
		len = (size_t)EVP_DecodeBlock(bytes, (const uint8_t *)text, 64);
	}
	subject_add_secret(&subject, "bytes", bytes, len);
}

static void learn_output(enum learn what)
{
	char data[400] = "";
	int fd = open(subject_path(&subject, "out"), O_RDONLY);
	assert_true(fd >= 0);
	ssize_t len = read(fd, data, sizeof(data) - 1);
	close(fd);
	if (what == BYTES_OF_OUT)
		subject_add_secret(&subject, "bytes", (const uint8_t *)data, (size_t)len);
	else if (what != NOTHING)
		learn_text(find_text(data), what);
}

/* --- one command ---------------------------------------------------------------- */

static void become(const char *const *words)
{
	char cli[400];
	snprintf(cli, sizeof(cli), "%s/tools/cli/hsmpool-cli",
		 getenv("HSMPOOL_TEST_BUILD"));
	int in = open("in", O_RDONLY);
	int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(90);
	execv(cli, (char *const *)(uintptr_t)words);
	_exit(91);
}

static bool is_exit_event(int status)
{
	return WIFSTOPPED(status) && status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8));
}

/* From its first stop, at execve(), to its end. */
static int follow(pid_t pid, const char *what, enum learn learn)
{
	int status = 0;
	bool is_searched = false; /* its other threads are not traced */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL,
				PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL),
			 0);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		bool is_end = is_exit_event(status);
		if (is_end && !is_searched) {
			learn_output(learn);
			subject_search(&subject, pid, what, SUBJECT_CLEAN);
		}
		is_searched |= is_end;
		ptrace(PTRACE_CONT, pid, NULL,
		       (void *)(uintptr_t)(is_end ? 0 : WSTOPSIG(status)));
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* "hsmpool-cli WORDS" with the file "in" on its standard input. Blanks part words. */
static void run_and_learn(int expected, const char *line, enum learn learn)
{
	char copy[600];
	const char *words[MOST_ARGUMENTS + 2] = { "hsmpool-cli" };
	size_t count = 1;
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *at = copy; at && count <= MOST_ARGUMENTS;)
		words[count++] = strsep(&at, " ");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (chdir(subject_path(&subject, "")) != 0)
			_exit(92);
		become(words);
	}
	int code = follow(pid, line, learn);
	if (code != expected)
		fail_msg("hsmpool-cli %s: exit code %d", line, code);
}

static void run(int expected, const char *line)
{
	run_and_learn(expected, line, NOTHING);
}

static void expect_nothing_left(void)
{
	assert_int_equal(subject.findings.leaked, 0);
}

/* --- tests ---------------------------------------------------------------------- */

static int set_up(void **state)
{
	(void)state;
	const struct hygiene_ground ground = {
		.pin_source = "file:pin",
		.lines = "[key aes]\nuri = pkcs11:object=aes\n[key rsa]\n"
			 "uri = pkcs11:object=rsa\n[key hmac]\nuri = pkcs11:object=hmac\n"
			 "[key ec]\nuri = pkcs11:object=ec",
	};
	subject_begin(&subject, &ground);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	subject_end(&subject);
	return 0;
}

#define CLI_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void nothing_is_left_of_a_file(void **state)
{
	(void)state;
	write_repeated("in", "plain", 400000);
	run(0, "encrypt --key aes --in in --out sealed");
	run(0, "decrypt --in sealed --out plain");
	run(0, "encrypt --key aes --key rsa --out - --force --compress zstd");
	run(0, "encrypt --key aes --compress zstd --in in --out packed");
	run(0, "decrypt --in packed --out unpacked");
	run(0, "encrypt --key aes --mode direct --in in --out direct");
	run(0, "decrypt --in direct --out undirect");
	run(0, "rewrap sealed --add rsa");
	run(0, "inspect sealed");
	expect_nothing_left();
}

static void nothing_is_left_of_a_damaged_file(void **state)
{
	(void)state;
	write_repeated("in", "plain", 400000);
	run(0, "encrypt --key aes --in in --out sealed");
	int fd = open(subject_path(&subject, "sealed"), O_WRONLY);
	assert_int_equal(pwrite(fd, "damaged", 7, 300000), 7);
	close(fd);
	run(65, "decrypt --in sealed --out plain");
	run(65, "decrypt --in sealed");
	expect_nothing_left();
}

static void nothing_is_left_of_a_message(void **state)
{
	(void)state;
	write_repeated("in", "message", 50000);
	write_repeated("large", "large message", LARGE);
	run(0, "sign --key rsa --in in --out signature");
	run(0, "verify --key rsa --in in --signature signature");
	run(0, "sign --key ec --in large --out large-signature");
	run(0, "verify --key ec --in large --signature large-signature");
	run(0, "mac --key hmac --in in --format raw --out mac");
	run(0, "mac --key hmac --in in --format raw --verify mac");
	run(0, "mac --key hmac --in large --json");
	expect_nothing_left();
}

static void nothing_is_left_of_an_imported_key(void **state)
{
	(void)state;
	char hex[65];
	uint8_t key[32];
	canary_fill("secret", key, sizeof(key));
	hp_hex_encode(key, sizeof(key), hex);
	subject_add_canary(&subject, "secret");
	subject_write(&subject, "in", key, sizeof(key));
	subject_write(&subject, "hex", hex, 64);
	subject_add_secret(&subject, "hex of the secret", (const uint8_t *)hex, 64);
	run(0, "key import --type aes --secret-file in --label one");
	run(0, "key import --type aes --secret-file hex --format hex --label two");
	run(0, "key import --type generic --secret-fd 0 --label three");
	expect_nothing_left();
}

/* They may become a key. */
static void nothing_is_left_of_random_bytes(void **state)
{
	(void)state;
	subject_write(&subject, "in", "", 0);
	run_and_learn(0, "random 48", BYTES_OF_OUT);
	run_and_learn(0, "random 32 --format hex", HEX_OF_OUT);
	run_and_learn(0, "random 48 --format base64", BASE64_OF_OUT);
	run_and_learn(0, "random 48 --json", BASE64_OF_OUT);
	run_and_learn(0, "random 32 --format hex --json", HEX_OF_OUT);
	expect_nothing_left();
}

static void write_table(void)
{
	char text[20000];
	size_t len = (size_t)snprintf(text, sizeof(text), "name,note,number\n");
	uint8_t name[CANARY_LEN], note[CANARY_LEN];
	canary_fill("name", name, sizeof(name));
	canary_fill("note", note, sizeof(note));
	subject_add_canary(&subject, "name");
	subject_add_canary(&subject, "note");
	for (int i = 0; i < 200; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%.16s,\"%.16s\"\"%d\",%s%06d\n", name, note, i,
					i % 50 == 7 ? "x" : "", i);
	subject_write(&subject, "in", text, len);
	explicit_bzero(text, sizeof(text));
}

static void nothing_is_left_of_a_table(void **state)
{
	(void)state;
	write_table();
	run(0, "pseudonymize --key hmac --column name=hmac --column note=redact "
	       "--column number=fpe --bad-rows skip --rejects rejects --out table");
	run(65, "pseudonymize --key hmac --column name=hmac --column note=drop "
		"--column number=fpe --in in --out failed");
	run(0, "depseudonymize --key hmac --column number=fpe --in table --out back");
	expect_nothing_left();
}

static void nothing_is_left_of_a_pin(void **state)
{
	(void)state;
	subject_write(&subject, "in", "", 0);
	run(0, "keys");
	run(0, "status");
	run(0, "status --json");
	run(0, "doctor");
	run(0, "keygen --type aes --label new");
	expect_nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLI_TEST(nothing_is_left_of_a_file),
		CLI_TEST(nothing_is_left_of_a_damaged_file),
		CLI_TEST(nothing_is_left_of_a_message),
		CLI_TEST(nothing_is_left_of_an_imported_key),
		CLI_TEST(nothing_is_left_of_random_bytes),
		CLI_TEST(nothing_is_left_of_a_table),
		CLI_TEST(nothing_is_left_of_a_pin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
