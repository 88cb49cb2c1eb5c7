/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PIN latch on its file: turns, what is remembered, and files and folders that are
 * not what they should be.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <hsmpool/log.h>
#include "base/state_dir.h"
#include "base/time.h"
#include "pool/latch.h"
#include "scratch.h"

static hsmpool_error err;
static CK_TOKEN_INFO token;
static char folder[600];
static char file[700];
static struct hp_latch *latch;

static unsigned warnings;

static void count_warning(void *user, hsmpool_log_level level, const char *event,
			  const char *text)
{
	(void)user;
	(void)level;
	(void)text;
	warnings += strcmp(event, "pin-latch-local") == 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(&token, ' ', sizeof token);
	memcpy(token.label, "payments", 8);
	memcpy(token.serialNumber, "0001", 4);
	snprintf(folder, sizeof folder, "%s/a/state", scratch_dir());
	hsmpool_log_set_callback(count_warning, NULL);
	latch = hp_latch_new(folder, &token, false);
	return latch ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	hp_latch_free(&latch);
	hsmpool_log_set_callback(NULL, NULL);
	scratch_remove();
	return 0;
}

static struct hp_secret *pin_of(const char *text)
{
	struct hp_secret *pin = hp_secret_new(64);
	assert_non_null(pin);
	pin->len = strlen(text);
	memcpy(pin->data, text, pin->len);
	return pin;
}

/* Enter and begin, as a login does. */
static hsmpool_status begin(struct hp_latch *l, const char *text, CK_FLAGS flags,
			    struct hp_latch_turn *turn)
{
	HP_AUTO_SECRET *pin = pin_of(text);
	*turn = (struct hp_latch_turn)HP_LATCH_NO_TURN;
	hsmpool_status status = hp_latch_enter(l, pin, hp_now_ns(), turn, &err);
	if (status == HSMPOOL_OK)
		status = hp_latch_begin(turn, flags, &err);
	if (status != HSMPOOL_OK)
		hp_latch_end(turn, HP_LATCH_TRY_NOT_MADE, 0);
	return status;
}

static bool try_it(const char *text, enum hp_latch_outcome outcome, CK_RV rv)
{
	struct hp_latch_turn turn;
	if (begin(latch, text, 0, &turn) != HSMPOOL_OK)
		return false;
	assert_true(turn.file >= 0);
	hp_latch_end(&turn, outcome, rv);
	return true;
}

/* A process that is killed while it tries. */
static void die_trying(const char *text)
{
	pid_t child = fork();
	if (child == 0) {
		struct hp_latch_turn turn;
		if (begin(latch, text, 0, &turn) == HSMPOOL_OK)
			raise(SIGKILL);
		_exit(1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static enum hp_latch_view look(const char *text)
{
	HP_AUTO_SECRET *pin = pin_of(text);
	return hp_latch_look(latch, pin, &err);
}

static const char *find_file(void)
{
	struct hp_latch_file *files;
	size_t count;
	assert_int_equal(hp_latch_list(folder, &files, &count, &err), HSMPOOL_OK);
	assert_int_equal(count, 1);
	snprintf(file, sizeof file, "%s/%s", folder, files[0].name);
	free(files);
	return file;
}

/* Marks of two PINs may be equal, once in 65536 times: not with this salt. */
static void fix_salt(void)
{
	struct hp_latch_record record;
	char text[HP_LATCH_TEXT_LEN];
	assert_true(try_it("any", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	int fd = open(find_file(), O_RDWR);
	assert_int_equal(pread(fd, text, sizeof text, 0), sizeof text);
	assert_true(hp_latch_record_parse(text, sizeof text, &record));
	memset(record.salt, 7, sizeof record.salt);
	hp_latch_record_remove(&record, &record.pins[0]);
	hp_latch_record_print(&record, text);
	assert_int_equal(pwrite(fd, text, sizeof text, 0), sizeof text);
	close(fd);
}

/* --- what is remembered ------------------------------------------------------------- */

static void a_refused_pin_is_refused_from_then_on(void **state)
{
	(void)state;
	fix_salt();
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_false(try_it("wrong", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_int_equal(err.status, HSMPOOL_ERR_AUTH);
	assert_int_equal(err.ck_rv, CKR_PIN_INCORRECT);
	assert_non_null(strstr(err.text, "pin release"));
	assert_null(strstr(err.text, "wrong,"));
	assert_int_equal(look("wrong"), HP_LATCH_SAYS_REFUSED);
	assert_int_equal(look("right"), HP_LATCH_SAYS_CLEAR);
}

static void another_pin_is_tried_and_does_not_release_the_first(void **state)
{
	(void)state;
	fix_salt();
	assert_true(try_it("old", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_true(try_it("new", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_false(try_it("old", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_true(try_it("new", HP_LATCH_TRY_GOOD, CKR_OK));
}

static void a_success_leaves_nothing_of_the_pin_on_file(void **state)
{
	(void)state;
	struct hp_latch_file *files;
	size_t count;
	assert_true(try_it("right", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_int_equal(hp_latch_list(folder, &files, &count, &err), HSMPOOL_OK);
	assert_int_equal(count, 0);
	free(files);
}

static void eight_refused_in_a_row_are_enough(void **state)
{
	(void)state;
	char text[16];
	fix_salt();
	for (int i = 0; i < HP_LATCH_PINS; i++) {
		snprintf(text, sizeof text, "wrong-%d", i);
		assert_true(try_it(text, HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	}
	assert_false(try_it("ninth", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_non_null(strstr(err.text, "in a row"));
}

static void a_good_login_elsewhere_releases_the_pin(void **state)
{
	(void)state;
	HP_AUTO_SECRET *pin = pin_of("back");
	assert_true(try_it("back", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	hp_latch_note_good(latch, pin);
	assert_true(try_it("back", HP_LATCH_TRY_GOOD, CKR_OK));
}

static void a_refusal_elsewhere_is_remembered(void **state)
{
	(void)state;
	HP_AUTO_SECRET *pin = pin_of("1234");
	assert_true(hp_latch_note_refused(latch, pin, CKR_PIN_EXPIRED));
	assert_false(try_it("1234", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_int_equal(err.ck_rv, CKR_PIN_EXPIRED);
}

static void release_forgets_all_of_the_token(void **state)
{
	(void)state;
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	const char *name = strrchr(find_file(), '/') + 1;
	assert_int_equal(hp_latch_release(folder, name, &err), HSMPOOL_OK);
	assert_int_equal(look("wrong"), HP_LATCH_SAYS_CLEAR);
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
}

static void the_file_holds_neither_the_pin_nor_much_of_it(void **state)
{
	(void)state;
	char text[HP_LATCH_TEXT_LEN + 1] = "";
	assert_true(try_it("a-secret-pin", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	int fd = open(find_file(), O_RDONLY);
	assert_int_equal(read(fd, text, HP_LATCH_TEXT_LEN), HP_LATCH_TEXT_LEN);
	close(fd);
	assert_null(strstr(text, "secret"));
	const char *line = strstr(text, "\npin = ");
	assert_non_null(line);
	assert_int_equal(line[strlen("\npin = ") + 4], ' '); /* four hex digits */
}

static void tokens_do_not_share_a_latch(void **state)
{
	(void)state;
	struct hp_latch_turn turn;
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	memcpy(token.serialNumber, "0002", 4);
	struct hp_latch *other = hp_latch_new(folder, &token, false);
	assert_int_equal(begin(other, "wrong", 0, &turn), HSMPOOL_OK);
	hp_latch_end(&turn, HP_LATCH_TRY_GOOD, CKR_OK);
	hp_latch_free(&other);
}

/* --- turns -------------------------------------------------------------------------- */

static void one_at_a_time_and_the_next_is_told_who(void **state)
{
	(void)state;
	struct hp_latch_turn turn, other;
	char who[32];
	struct hp_latch *second = hp_latch_new(folder, &token, false);
	assert_int_equal(begin(latch, "1234", 0, &turn), HSMPOOL_OK);
	assert_int_equal(begin(second, "1234", 0, &other), HSMPOOL_ERR_TIMEOUT);
	snprintf(who, sizeof who, "(%d)", (int)getpid());
	assert_non_null(strstr(err.text, who));
	hp_latch_end(&turn, HP_LATCH_TRY_GOOD, CKR_OK);
	assert_int_equal(begin(second, "1234", 0, &other), HSMPOOL_OK);
	hp_latch_end(&other, HP_LATCH_TRY_GOOD, CKR_OK);
	hp_latch_free(&second);
}

/* The one above is held over a C_Login of the other's. */
static void a_turn_above_another_copy_does_not_wait_for_that_copys(void **state)
{
	(void)state;
	struct hp_latch_turn turn, inner;
	struct hp_latch *above = hp_latch_new(folder, &token, true);
	assert_int_equal(begin(above, "1234", 0, &turn), HSMPOOL_OK);
	assert_int_equal(begin(latch, "1234", 0, &inner), HSMPOOL_OK);
	hp_latch_end(&inner, HP_LATCH_TRY_GOOD, CKR_OK);
	hp_latch_end(&turn, HP_LATCH_TRY_GOOD, CKR_OK);
	hp_latch_free(&above);
}

static void a_child_forked_in_a_turn_does_not_keep_it(void **state)
{
	(void)state;
	int stay[2];
	struct hp_latch_turn turn;
	assert_int_equal(pipe(stay), 0);
	pid_t parent = fork();
	if (parent == 0) {
		/* Dies in its turn, and leaves a child behind. */
		if (begin(latch, "1234", 0, &turn) == HSMPOOL_OK && fork() == 0) {
			char byte;
			close(stay[1]);
			_exit(read(stay[0], &byte, 1) != 0);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(parent, NULL, 0), parent);
	hsmpool_status status = begin(latch, "1234", 0, &turn);
	hp_latch_end(&turn, HP_LATCH_TRY_GOOD, CKR_OK);
	close(stay[1]);
	close(stay[0]);
	assert_int_equal(status, HSMPOOL_OK);
}

/* --- killed in between -------------------------------------------------------------- */

static void a_try_that_nobody_saw_end_is_forgiven_once(void **state)
{
	(void)state;
	fix_salt();
	die_trying("1234");
	die_trying("1234");
	assert_false(try_it("1234", HP_LATCH_TRY_GOOD, CKR_OK));
	assert_int_equal(err.status, HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "ended while it tried"));
	assert_true(try_it("another", HP_LATCH_TRY_GOOD, CKR_OK));
}

static void a_success_forgets_the_tries_that_nobody_saw_end(void **state)
{
	(void)state;
	die_trying("1234");
	assert_true(try_it("1234", HP_LATCH_TRY_GOOD, CKR_OK));
	die_trying("1234");
	assert_true(try_it("1234", HP_LATCH_TRY_GOOD, CKR_OK));
}

static void it_is_not_forgiven_if_the_token_counted_a_wrong_pin(void **state)
{
	(void)state;
	struct hp_latch_turn turn;
	die_trying("1234");
	assert_int_equal(begin(latch, "1234", CKF_USER_PIN_COUNT_LOW, &turn),
			 HSMPOOL_ERR_AUTH);
	assert_non_null(strstr(err.text, "ended while it tried"));
}

static void a_call_that_looked_at_no_pin_is_no_try(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(try_it("1234", HP_LATCH_TRY_NOT_MADE, CKR_DEVICE_ERROR));
	die_trying("1234");
	for (int i = 0; i < 4; i++)
		assert_true(try_it("1234", HP_LATCH_TRY_NOT_MADE, CKR_DEVICE_ERROR));
}

static void an_unknown_end_counts_like_a_crash(void **state)
{
	(void)state;
	assert_true(try_it("1234", HP_LATCH_TRY_UNKNOWN, CKR_GENERAL_ERROR));
	assert_true(try_it("1234", HP_LATCH_TRY_UNKNOWN, CKR_GENERAL_ERROR));
	assert_false(try_it("1234", HP_LATCH_TRY_GOOD, CKR_OK));
}

/* --- files and folders -------------------------------------------------------------- */

/* Goes on, as if there were no latch. */
static void assert_unshared(void)
{
	struct hp_latch_turn turn;
	assert_int_equal(begin(latch, "1234", 0, &turn), HSMPOOL_OK);
	assert_int_equal(turn.file, -1);
	assert_false(hp_latch_end(&turn, HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_int_equal(look("1234"), HP_LATCH_SAYS_NOTHING);
}

static void folder_and_file_are_the_owners_only(void **state)
{
	(void)state;
	struct stat found;
	umask(0);
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_int_equal(stat(folder, &found), 0);
	assert_int_equal(found.st_mode & 07777, 0700);
	assert_int_equal(stat(find_file(), &found), 0);
	assert_int_equal(found.st_mode & 07777, 0600);
}

static void a_folder_that_others_may_write_to_is_not_used(void **state)
{
	(void)state;
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_int_equal(chmod(folder, 0770), 0);
	assert_unshared();
}

static void a_file_that_others_may_read_is_not_used(void **state)
{
	(void)state;
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_int_equal(chmod(find_file(), 0640), 0);
	assert_unshared();
}

static void links_are_not_followed(void **state)
{
	(void)state;
	char elsewhere[700];
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", scratch_dir());
	assert_int_equal(rename(find_file(), elsewhere), 0);
	assert_int_equal(symlink(elsewhere, file), 0);
	assert_unshared();
	assert_int_equal(unlink(file), 0);
	assert_int_equal(link(elsewhere, file), 0);
	assert_unshared();
}

static void no_folder_at_all_is_no_latch(void **state)
{
	(void)state;
	hp_latch_free(&latch);
	latch = hp_latch_new(NULL, &token, false);
	assert_unshared();
	hp_latch_free(&latch);
	latch = hp_latch_new("/proc/1/no-such-folder", &token, false);
	assert_unshared();
}

static void that_it_is_not_shared_is_said_once(void **state)
{
	(void)state;
	hp_latch_free(&latch);
	latch = hp_latch_new(NULL, &token, false);
	assert_unshared();
	assert_unshared();
	assert_true(warnings <= 1); /* whichever test came first */
}

static void cut_file_to(off_t len)
{
	assert_int_equal(truncate(find_file(), len), 0);
}

static void a_damaged_file_refuses_until_it_is_released(void **state)
{
	(void)state;
	static const off_t lengths[] = { 1, 20, HP_LATCH_TEXT_LEN - 1,
					 HP_LATCH_TEXT_LEN + 1 };
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
		cut_file_to(lengths[i]);
		assert_false(try_it("right", HP_LATCH_TRY_GOOD, CKR_OK));
		assert_int_equal(err.status, HSMPOOL_ERR_AUTH);
		assert_non_null(strstr(err.text, "pin release --all"));
		const char *name = strrchr(find_file(), '/') + 1;
		assert_int_equal(hp_latch_release(folder, name, &err), HSMPOOL_OK);
		assert_true(try_it("right", HP_LATCH_TRY_GOOD, CKR_OK));
	}
}

static void an_empty_file_says_nothing(void **state)
{
	(void)state;
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	cut_file_to(0);
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	assert_false(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
}

/* A file size limit refuses writing as a full disk does. */
static void with_full_disk(void (*run)(void))
{
	struct rlimit before, none;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 100, .rlim_max = before.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	run();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void try_without_a_record(void)
{
	struct hp_latch_turn turn;
	assert_int_equal(begin(latch, "1234", 0, &turn), HSMPOOL_OK);
	assert_false(hp_latch_end(&turn, HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
}

static void a_full_disk_damages_nothing(void **state)
{
	(void)state;
	with_full_disk(try_without_a_record);
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
}

static void what_is_no_latch_is_not_listed(void **state)
{
	(void)state;
	struct hp_latch_file *files;
	size_t count;
	assert_int_equal(hp_latch_list(folder, &files, &count, &err), HSMPOOL_OK);
	assert_int_equal(count, 0);
	free(files);
	assert_true(try_it("wrong", HP_LATCH_TRY_REFUSED, CKR_PIN_INCORRECT));
	scratch_text("a/state/pin-of-mine", "1234");
	scratch_text("a/state/README", "text");
	find_file(); /* the one */
}

#define LATCH_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LATCH_TEST(a_refused_pin_is_refused_from_then_on),
		LATCH_TEST(another_pin_is_tried_and_does_not_release_the_first),
		LATCH_TEST(a_success_leaves_nothing_of_the_pin_on_file),
		LATCH_TEST(eight_refused_in_a_row_are_enough),
		LATCH_TEST(a_good_login_elsewhere_releases_the_pin),
		LATCH_TEST(a_refusal_elsewhere_is_remembered),
		LATCH_TEST(release_forgets_all_of_the_token),
		LATCH_TEST(the_file_holds_neither_the_pin_nor_much_of_it),
		LATCH_TEST(tokens_do_not_share_a_latch),
		LATCH_TEST(one_at_a_time_and_the_next_is_told_who),
		LATCH_TEST(a_turn_above_another_copy_does_not_wait_for_that_copys),
		LATCH_TEST(a_child_forked_in_a_turn_does_not_keep_it),
		LATCH_TEST(a_try_that_nobody_saw_end_is_forgiven_once),
		LATCH_TEST(a_success_forgets_the_tries_that_nobody_saw_end),
		LATCH_TEST(it_is_not_forgiven_if_the_token_counted_a_wrong_pin),
		LATCH_TEST(a_call_that_looked_at_no_pin_is_no_try),
		LATCH_TEST(an_unknown_end_counts_like_a_crash),
		LATCH_TEST(folder_and_file_are_the_owners_only),
		LATCH_TEST(a_folder_that_others_may_write_to_is_not_used),
		LATCH_TEST(a_file_that_others_may_read_is_not_used),
		LATCH_TEST(links_are_not_followed),
		LATCH_TEST(no_folder_at_all_is_no_latch),
		LATCH_TEST(that_it_is_not_shared_is_said_once),
		LATCH_TEST(a_damaged_file_refuses_until_it_is_released),
		LATCH_TEST(an_empty_file_says_nothing),
		LATCH_TEST(a_full_disk_damages_nothing),
		LATCH_TEST(what_is_no_latch_is_not_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
