/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keys and PINs leave in memory: a PIN is in locked pages only, while it may be
 * needed again, and nowhere when the pool is closed; a key that was brought in, nowhere.
 *
 * The token itself must have the keys: they are destroyed before the search.
 */
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>
#include "hygiene/canary.h"
#include "hygiene/library_ground.h"

/* --- keys -------------------------------------------------------------------------- */

static hsmpool_key *bring_in(const char *name, const char *type, const char *label)
{
	const hsmpool_key_spec spec = {
		.size = sizeof(spec), .type = type, .label = label, .extractable = 1
	};
	hsmpool_key *key = NULL;
	CHILD_OK(hsmpool_key_import_secret(&key, subject.pool, &spec,
					   BYTES(child_canary(name, 32), 32),
					   HSMPOOL_DEFAULT, err));
	return key;
}

static void destroy(hsmpool_key **key)
{
	CHILD_OK(hsmpool_key_destroy(*key, HSMPOOL_DEFAULT, err));
	hsmpool_key_close(key);
}

static void wrap_and_unwrap(hsmpool_key *key)
{
	const hsmpool_key_spec spec = { .size = sizeof(spec),
					.type = "aes",
					.label = "unwrapped" };
	hsmpool_buf wrapped = room(300);
	hsmpool_key *again = NULL;
	CHILD_OK(hsmpool_key_wrap(subject.aes, "aes-kwp", key, &wrapped, HSMPOOL_DEFAULT,
				  err));
	CHILD_OK(hsmpool_key_unwrap(&again, subject.aes, "aes-kwp",
				    BYTES(wrapped.data, wrapped.len), &spec,
				    HSMPOOL_DEFAULT, err));
	destroy(&again);
}

static void imports_keys(void)
{
	open_pool();
	hsmpool_key *aes = bring_in("aes-key", "aes", "imported");
	hsmpool_key *generic = bring_in("generic-key", "generic", "imported generic");
	wrap_and_unwrap(aes);
	destroy(&aes);
	destroy(&generic);
	child_stop("after import", true);
	close_pool();
}

static void copies_keys(void)
{
	open_pool();
	hsmpool_key *aes = bring_in("aes-key", "aes", "imported");
	hsmpool_buf out = room(100);
	CHILD_OK(hsmpool_encrypt(subject.pool, aes, "aes-gcm", NULL,
				 BYTES(child_canary("text", 50), 50), &out,
				 HSMPOOL_DEFAULT, err));
	destroy(&aes);
	child_stop("after a copy's use", true);
	close_pool();
}

static void derives_a_secret(void)
{
	open_pool();
	hsmpool_buf peer = room(2000), secret = room(100);
	CHILD_OK(hsmpool_key_export_public(subject.ec, &peer, HSMPOOL_DEFAULT, err));
	CHILD_OK(hsmpool_derive_secret(subject.pool, subject.ec,
				       BYTES(peer.data, peer.len), &secret,
				       HSMPOOL_DEFAULT, err));
	child_tell("derived", secret.data, secret.len);
	secret = room(40);
	CHILD_OK(hsmpool_random(subject.pool, secret.data, secret.cap, HSMPOOL_DEFAULT,
				err));
	child_tell("random", secret.data, secret.cap);
	child_stop("after derivation", true);
	close_pool();
}

/* --- PINs -------------------------------------------------------------------------- */

static void logs_in(void)
{
	open_pool();
	child_stop("logged in", true);
	close_pool();
}

/* The descriptor of the source fd:9. */
static void logs_in_by_descriptor(void)
{
	int fd = open(child_path("pin"), O_RDONLY);
	if (dup2(fd, 9) != 9)
		child_die("fd 9", "cannot be had");
	close(fd);
	logs_in();
}

static void logs_in_wrongly(void)
{
	hsmpool_error error = { 0 };
	int fd = open(child_path("pin"), O_WRONLY | O_TRUNC);
	if (write(fd, child_canary("pin that is wrong", 16), 16) != 16)
		child_die("the PIN", "cannot be written");
	close(fd);
	if (try_open_pool(&error) != HSMPOOL_ERR_AUTH)
		child_die("the wrong PIN", error.text);
	child_stop("refused", true);
	if (try_open_pool(&error) != HSMPOOL_ERR_AUTH)
		child_die("the wrong PIN again", error.text);
	child_stop("refused at once", false);
}

static void logs_in_for_each_use(void)
{
	const hsmpool_key_spec spec = { .size = sizeof(spec),
					.type = "rsa",
					.bits = 2048,
					.label = "careful",
					.always_authenticate = 1 };
	hsmpool_key *key = NULL;
	open_pool();
	CHILD_OK(hsmpool_key_generate(&key, subject.pool, &spec, HSMPOOL_DEFAULT, err));
	hsmpool_buf signature = room(600);
	CHILD_OK(hsmpool_sign(subject.pool, key, "rsa-pkcs1-sha256",
			      BYTES(child_canary("signed", 100), 100), &signature,
			      HSMPOOL_DEFAULT, err));
	hsmpool_key_close(&key);
	child_stop("after a context login", true);
	close_pool();
}

/* Who sits at the terminal: a process of its own, so that what it knows is not here. */
static void type_pin(int terminal)
{
	uint8_t seen[200];
	char pin[CANARY_LEN + 1];
	size_t len = 0;
	while (len < sizeof(seen) && !memchr(seen, ':', len)) {
		ssize_t got = read(terminal, seen + len, sizeof(seen) - len);
		if (got <= 0)
			_exit(1);
		len += (size_t)got;
	}
	canary_fill("pin", (uint8_t *)pin, CANARY_LEN);
	pin[CANARY_LEN] = '\n';
	_exit(write(terminal, pin, sizeof(pin)) == sizeof(pin) ? 0 : 1);
}

static void logs_in_by_prompt(void)
{
	int terminal, line;
	if (openpty(&terminal, &line, NULL, NULL, NULL) != 0)
		child_die("a terminal", "cannot be had");
	pid_t typist = fork();
	if (typist == 0)
		type_pin(terminal);
	setsid();
	if (login_tty(line) != 0)
		child_die("the terminal", "cannot be made ours");
	open_pool();
	waitpid(typist, NULL, 0);
	child_stop("logged in", true);
	close_pool();
}

/* --- tests ------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "imports_keys", imports_keys },
	{ "copies_keys", copies_keys },
	{ "derives_a_secret", derives_a_secret },
	{ "logs_in", logs_in },
	{ "logs_in_by_descriptor", logs_in_by_descriptor },
	{ "logs_in_wrongly", logs_in_wrongly },
	{ "logs_in_for_each_use", logs_in_for_each_use },
	{ "logs_in_by_prompt", logs_in_by_prompt },
};

static void nothing_is_left_of_an_imported_key(void **state)
{
	const struct hygiene_ground copies = { .pin_source = "file:pin",
					       .lines = "key-copies = session" };
	(void)state;
	hygiene_check("imports_keys", &on_mock);
	hygiene_check("imports_keys", &on_workers);
	hygiene_check("copies_keys", &copies);
}

static void nothing_is_left_of_a_derived_secret(void **state)
{
	(void)state;
	hygiene_check("derives_a_secret", &on_mock);
	hygiene_check("derives_a_secret", &on_workers);
}

static void a_pin_is_in_locked_memory_only(void **state)
{
	const struct hygiene_ground from_command = { .pin_source =
							     "command:/bin/cat pin" };
	const struct hygiene_ground from_descriptor = { .pin_source = "fd:9" };
	const struct hygiene_ground from_terminal = { .pin_source = "prompt" };
	(void)state;
	hygiene_check("logs_in", &on_mock);
	hygiene_check("logs_in", &on_workers);
	hygiene_check("logs_in", &from_command);
	hygiene_check("logs_in_by_descriptor", &from_descriptor);
	hygiene_check("logs_in_by_prompt", &from_terminal);
}

/* That is where the user has put it; nothing else has it. */
static void a_pin_of_the_environment_is_there_only(void **state)
{
	const struct hygiene_ground from_variable = { .pin_source = "env:" HYGIENE_PIN,
						      .has_pin_in_environment = true };
	(void)state;
	hygiene_check("logs_in", &from_variable);
}

static void a_refused_pin_is_in_locked_memory_only(void **state)
{
	(void)state;
	hygiene_check("logs_in_wrongly", &on_mock);
}

static void a_pin_for_each_use_is_in_locked_memory_only(void **state)
{
	(void)state;
	hygiene_check("logs_in_for_each_use", &on_mock);
	hygiene_check("logs_in_for_each_use", &on_workers);
}

int main(int argc, char **argv)
{
	child_main(scenarios, sizeof(scenarios) / sizeof(scenarios[0]), argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_of_an_imported_key),
		cmocka_unit_test(nothing_is_left_of_a_derived_secret),
		cmocka_unit_test(a_pin_is_in_locked_memory_only),
		cmocka_unit_test(a_pin_of_the_environment_is_there_only),
		cmocka_unit_test(a_refused_pin_is_in_locked_memory_only),
		cmocka_unit_test(a_pin_for_each_use_is_in_locked_memory_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
