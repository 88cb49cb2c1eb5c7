/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: lines, whose it may be, where it is found: config/file.c. */
#include "support/fixture.h"

#include "base/time.h"
#include "config/options.h"
#include "scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static hsmpool_config *config;
static hsmpool_error err;

static int close_it(void **state)
{
	(void)state;
	hsmpool_config_close(&config);
	unsetenv("HSMPOOL_CONF");
	unsetenv("XDG_CONFIG_HOME");
	setenv("HOME", scratch_dir(), 1);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	scratch_remove();
	return 0;
}

static void load(const char *text)
{
	hsmpool_config_close(&config);
	assert_ok(hsmpool_config_load(&config, scratch_text("c.conf", text), &err), &err);
}

static void assert_value(const char *section, const char *key, const char *expected)
{
	const char *value = hsmpool_config_get(config, section, key);
	assert_non_null(value);
	assert_string_equal(value, expected);
}

static void assert_refused(const char *path, const char *expected)
{
	hsmpool_config_close(&config);
	hsmpool_status status = hsmpool_config_load(&config, path, &err);
	assert_status(status, HSMPOOL_ERR_CONFIG);
	assert_null(config);
	if (!strstr(err.text, expected))
		fail_msg("\"%s\" does not say \"%s\"", err.text, expected);
}

/* The text must be refused with "c.conf:LINE: ..." or what else is expected. */
static void refused(const char *text, const char *expected)
{
	assert_refused(scratch_text("c.conf", text), expected);
}

/* --- lines ------------------------------------------------------------------------- */

/* As it stands in the documentation, comments and all. */
static const char documented[] =
	"; hsmpool.conf: the smallest useful file\n"
	"[pool]\n"
	"module = /usr/lib/softhsm/libsofthsm2.so   ; path, or a p11-kit module's name\n"
	"token = pkcs11:token=payments              ; RFC 7512\n"
	"pin-source = file:/etc/hsmpool/pin         ; file: env: fd: credential: ...\n"
	"; module-env = SOFTHSM2_CONF=/path/file    ; set before the module is loaded\n"
	"; and, with their defaults\n"
	"max-sessions = 16\n"
	"min-sessions = 2\n"
	"max-waiters = 1024\n"
	"borrow-timeout = 5s\n"
	"revalidate-interval = 60s\n"
	"validate-after = 30s\n"
	"probe = token-info                         ; session-info | token-info | "
	"random\n"
	"idle-timeout = 10m\n"
	"max-lifetime = 1h\n"
	"stuck-after = 30s\n"
	"stuck-reserve = 0\n"
	"call-timeout = 0                           ; 0 = calls run in the caller\n"
	"key-copies = none                          ; none | session\n"
	"fair = no                                  ; strict FIFO hand-off\n"
	"sign-retry = no                            ; no | deterministic | yes\n"
	"offload-public = no\n"
	"state-dir = /var/lib/hsmpool               ; the user's folder when not root\n"
	"log = stderr                               ; stderr | file:PATH | syslog ; "
	"with\n"
	"[proxy]\n"
	"login = application                        ; application | automatic\n"
	"admin = no\n"
	"journal-limit = 64KiB                      ; per operation\n"
	"journal-total = 64MiB                      ; all operations of the process\n"
	"pin-timeout = 60s                          ; one that cannot be replayed\n";

static void the_documented_example_loads(void **state)
{
	(void)state;
	struct hp_pool_options pool;
	struct hp_proxy_options proxy;
	load(documented);
	assert_ok(hp_config_pool(config, NULL, &pool, &err), &err);
	assert_string_equal(pool.module, "/usr/lib/softhsm/libsofthsm2.so");
	assert_string_equal(pool.token, "pkcs11:token=payments");
	assert_string_equal(pool.pin_source, "file:/etc/hsmpool/pin");
	assert_null(pool.module_env);
	assert_true(pool.max_lifetime == 3600 * HP_SECOND);
	assert_string_equal(pool.log, "stderr");
	hp_pool_options_clear(&pool);
	assert_ok(hp_config_proxy(config, &proxy, &err), &err);
	assert_true(proxy.journal_total == 64 << 20);
	assert_non_null(strstr(hsmpool_config_path(config), "/c.conf"));
}

static void an_empty_file_is_a_configuration(void **state)
{
	(void)state;
	load("");
	assert_value("pool", "max-sessions", "16");
	load("\n\n  \n;\n#\n");
	assert_value("pool", "max-sessions", "16");
}

static void a_semicolon_begins_a_comment_only_after_a_blank(void **state)
{
	(void)state;
	load("[pool] ; the pool\n"
	     "token = pkcs11:token=a;serial=b;model=c ; three attributes\n"
	     "module = /a#b;c\t; a strange path\n"
	     "module-env = A=b # c\n"
	     "   # an indented comment\n"
	     "   ; another\n");
	assert_value("pool", "token", "pkcs11:token=a;serial=b;model=c");
	assert_value("pool", "module", "/a#b;c");
	assert_value("pool", "module-env", "A=b # c");
	refused("[pool]\nmodule = ; nothing\n", "c.conf:2: module: the value is missing");
}

static void blanks_and_line_ends_do_not_matter(void **state)
{
	(void)state;
	load("\xef\xbb\xbf[pool]\r\n"
	     "module=/a\r\n"
	     "\t max-sessions   =\t 5  \r\n"
	     "  [ pool  two ]  \r\n"
	     "  fair = yes"); /* no line end */
	assert_value("pool", "module", "/a");
	assert_value("pool", "max-sessions", "5");
	assert_value("pool two", "fair", "yes");
	assert_value("pool two", "module", "/a");
}

/* inih would take an indented line for the rest of the value above. */
static void an_indented_line_is_no_continuation(void **state)
{
	(void)state;
	load("[pool]\nmodule = /a\n    token = pkcs11:token=b\n");
	assert_value("pool", "module", "/a");
	assert_value("pool", "token", "pkcs11:token=b");
	refused("[pool]\nmodule = /a\n   /b\n", "c.conf:3: neither 'key = value' nor");
}

/* inih's own buffer holds 200 bytes on Debian. */
static void lines_of_4095_bytes_are_read_whole(void **state)
{
	(void)state;
	char line[4300];
	char value[4200];
	for (size_t len = 150; len <= 4095; len += len < 260 ? 1 : 767) {
		memset(value, 'v', sizeof(value));
		memcpy(value, "pkcs11:object=", 14);
		value[len - strlen("token = ")] = '\0';
		snprintf(line, sizeof(line), "[pool]\ntoken = %s\nfair = yes\n", value);
		load(line);
		assert_value("pool", "token", value);
		assert_value("pool", "fair", "yes");
	}
}

static void a_long_comment_does_not_hide_the_value(void **state)
{
	(void)state;
	char text[2100];
	char comment[1000];
	memset(comment, 'c', sizeof(comment));
	comment[sizeof(comment) - 1] = '\0';
	snprintf(text, sizeof(text), "[pool]\nfair = yes ; %s\n;%s\nkeeper = no\n",
		 comment, comment);
	load(text);
	assert_value("pool", "fair", "yes");
	assert_value("pool", "keeper", "no");
}

static void a_longer_line_is_refused_by_number(void **state)
{
	(void)state;
	char text[5000];
	memset(text, 'x', sizeof(text));
	memcpy(text, "[pool]\ntoken = ", 15);
	text[7 + 4096] = '\0';
	refused(text, "c.conf:2: the line is longer than 4095 bytes");
}

static void what_is_no_text_is_refused(void **state)
{
	(void)state;
	const char with_nul[] = "[pool]\nmodule = /a\0b\n";
	assert_refused(scratch_write("c.conf", with_nul, sizeof(with_nul) - 1, 0600),
		       "c.conf:2: the line holds a control character");
	refused("[pool]\nmodule = /a\x1b[0m\n", "c.conf:2: the line holds a control");
}

static void what_is_no_line_is_refused_by_number(void **state)
{
	(void)state;
	refused("[pool]\n\nmodule\n", "c.conf:3: neither 'key = value' nor '[section]'");
	refused("[pool]\nmodule\nfair = maybe\n", "c.conf:2: neither");
	refused("[pool\nfair = yes\n", "c.conf:1: the section's ']' is missing");
	refused("[pool] fair = yes\n", "c.conf:1: there is more on the line");
	refused("fair = yes\n", "c.conf:1: the key 'fair' stands before any section");
	refused("[pool]\n= yes\n", "c.conf:2: unknown key ''");
}

static void an_unknown_key_is_refused_with_line_and_nearest(void **state)
{
	(void)state;
	refused("[pool]\n; comment\nmax-session = 3\n",
		"c.conf:3: unknown key 'max-session' in [pool]; did you mean "
		"'max-sessions'?");
}

static void a_wrong_value_is_refused_with_its_line(void **state)
{
	(void)state;
	refused("[pool]\nborrow-timeout = 5\n",
		"c.conf:2: borrow-timeout: '5' has no unit");
}

static void a_key_is_set_once_per_section(void **state)
{
	(void)state;
	refused("[pool]\nfair = yes\nfair = yes\n",
		"c.conf:3: the key 'fair' is set a second time");
	refused("[pool]\nfair = yes\n[proxy]\n[pool]\nfair = no\n",
		"c.conf:5: the key 'fair' is set a second time");
	load("[pool]\nfair = yes\n[pool two]\nfair = no\n[pool]\nkeeper = no\n");
	assert_value("pool", "keeper", "no");
	assert_value("pool two", "fair", "no");
}

static void an_unknown_section_is_refused_even_without_keys(void **state)
{
	(void)state;
	refused("[pool]\n[poool]\n",
		"c.conf:2: unknown section [poool]; did you mean [pool]?");
	refused("[key]\n", "c.conf:1: the section [key] needs a name");
	refused("[pool 1234567890123456789012345678901234567890123456789]\n",
		"c.conf:1: the section's name is too long");
	load("[pool]\nmodule = /a\n[pool two]\n");
	assert_value("pool two", "module", "/a");
}

static void what_contradicts_itself_is_refused_at_loading(void **state)
{
	(void)state;
	refused("[pool]\nmax-sessions = 4\nmin-sessions = 5\n",
		"c.conf: [pool] min-sessions (5) is larger than max-sessions (4)");
	refused("[pool]\nmin-sessions = 5\n[pool two]\nmax-sessions = 4\n",
		"c.conf: [pool two] min-sessions (5)");
	refused("[key k]\ncounting = yes\n", "c.conf: [key k] sets no uri");
	refused("[proxy]\njournal-total = 1KiB\n", "journal-limit is larger");
}

static void a_very_long_path_leaves_room_for_the_message(void **state)
{
	(void)state;
	char name[300];
	memset(name, 'd', 250);
	name[250] = '\0';
	mkdir(scratch_path(name), 0700);
	snprintf(name + 250, sizeof(name) - 250, "/c.conf");
	assert_refused(scratch_text(name, "[pool]\nmax-session = 3\n"),
		       "dd/c.conf:2: unknown key 'max-session' in [pool]; did you mean");
}

/* --- whose file -------------------------------------------------------------------- */

static void a_file_that_others_can_write_is_refused(void **state)
{
	(void)state;
	const mode_t refused_modes[] = { 0620, 0602, 0666, 0777 };
	for (size_t i = 0; i < 4; i++)
		assert_refused(scratch_write("c.conf", "", 0, refused_modes[i]),
			       "can be written by group or others");
	const mode_t accepted_modes[] = { 0400, 0600, 0640, 0644, 0755 };
	for (size_t i = 0; i < 5; i++) {
		const char *path = scratch_write("c.conf", "", 0, accepted_modes[i]);
		assert_ok(hsmpool_config_load(&config, path, &err), &err);
		hsmpool_config_close(&config);
	}
}

static void a_file_of_another_user_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# only root can make such a file: not shown\n");
		return;
	}
	const char *path = scratch_text("c.conf", "");
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_refused(path, "belongs to user 65534; it must belong to root");
}

static void the_file_behind_a_link_is_what_counts(void **state)
{
	(void)state;
	const char *link = scratch_path("link.conf");
	assert_int_equal(symlink("c.conf", link), 0);
	scratch_write("c.conf", "", 0, 0666);
	assert_refused(link, "can be written by group or others");
	scratch_text("c.conf", "[pool]\nfair = yes\n");
	assert_ok(hsmpool_config_load(&config, link, &err), &err);
	assert_value("pool", "fair", "yes");
}

static void what_is_no_regular_file_is_refused_without_waiting(void **state)
{
	(void)state;
	const char *fifo = scratch_path("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_refused(fifo, "is not a regular file");
	assert_refused(scratch_dir(), "is not a regular file");
	assert_refused("/dev/null", "is not a regular file");
}

static void a_missing_file_is_refused_by_name(void **state)
{
	(void)state;
	assert_refused(scratch_path("missing.conf"), "/missing.conf': No such file");
	assert_int_equal(err.sys_errno, ENOENT);
}

/* --- where it is found ------------------------------------------------------------- */

static void make_folder(const char *name)
{
	assert_true(mkdir(scratch_path(name), 0700) == 0 || errno == EEXIST);
}

static void the_environment_names_the_file(void **state)
{
	(void)state;
	setenv("HSMPOOL_CONF", scratch_text("named.conf", "[pool]\nmax-sessions = 7\n"),
	       1);
	assert_ok(hsmpool_config_load(&config, NULL, &err), &err);
	assert_value("pool", "max-sessions", "7");
	hsmpool_config_close(&config);
	setenv("HSMPOOL_CONF", scratch_path("missing.conf"), 1);
	assert_refused(NULL, "HSMPOOL_CONF: cannot open the configuration");
}

static void the_users_file_is_found_below_the_home_folder(void **state)
{
	(void)state;
	make_folder(".config");
	make_folder(".config/hsmpool");
	scratch_text(".config/hsmpool/hsmpool.conf", "[pool]\nmax-sessions = 8\n");
	setenv("HSMPOOL_CONF", "", 1); /* as good as not set */
	setenv("HOME", scratch_dir(), 1);
	setenv("XDG_CONFIG_HOME", "relative/is/ignored", 1);
	assert_ok(hsmpool_config_load(&config, NULL, &err), &err);
	assert_value("pool", "max-sessions", "8");
}

static void the_xdg_folder_comes_before_the_home_folder(void **state)
{
	(void)state;
	make_folder(".config");
	make_folder(".config/hsmpool");
	scratch_text(".config/hsmpool/hsmpool.conf", "[pool]\nmax-sessions = 8\n");
	make_folder("xdg");
	make_folder("xdg/hsmpool");
	scratch_text("xdg/hsmpool/hsmpool.conf", "[pool]\nmax-sessions = 9\n");
	setenv("XDG_CONFIG_HOME", scratch_path("xdg"), 1);
	setenv("HOME", scratch_dir(), 1);
	assert_ok(hsmpool_config_load(&config, NULL, &err), &err);
	assert_value("pool", "max-sessions", "9");
}

/* It must not be passed over for one that decides otherwise. */
static void a_found_file_that_is_wrong_ends_the_search(void **state)
{
	(void)state;
	make_folder("bad");
	make_folder("bad/hsmpool");
	scratch_write("bad/hsmpool/hsmpool.conf", "", 0, 0666);
	setenv("XDG_CONFIG_HOME", scratch_path("bad"), 1);
	assert_refused(NULL, "can be written by group or others");
}

static void no_file_at_all_is_told_apart(void **state)
{
	(void)state;
	if (access("/etc/hsmpool/hsmpool.conf", F_OK) == 0) {
		print_message("# this machine has a configuration: not shown\n");
		return;
	}
	setenv("XDG_CONFIG_HOME", scratch_path("empty"), 1);
	assert_refused(NULL, "no configuration: neither ");
	assert_non_null(strstr(err.text, "/empty/hsmpool/hsmpool.conf"));
	assert_non_null(strstr(err.text, "/etc/hsmpool/hsmpool.conf"));
	assert_int_equal(err.sys_errno, ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_it)
	const struct CMUnitTest tests[] = {
		TEST(the_documented_example_loads),
		TEST(an_empty_file_is_a_configuration),
		TEST(a_semicolon_begins_a_comment_only_after_a_blank),
		TEST(blanks_and_line_ends_do_not_matter),
		TEST(an_indented_line_is_no_continuation),
		TEST(lines_of_4095_bytes_are_read_whole),
		TEST(a_long_comment_does_not_hide_the_value),
		TEST(a_longer_line_is_refused_by_number),
		TEST(what_is_no_text_is_refused),
		TEST(what_is_no_line_is_refused_by_number),
		TEST(an_unknown_key_is_refused_with_line_and_nearest),
		TEST(a_wrong_value_is_refused_with_its_line),
		TEST(a_key_is_set_once_per_section),
		TEST(an_unknown_section_is_refused_even_without_keys),
		TEST(what_contradicts_itself_is_refused_at_loading),
		TEST(a_very_long_path_leaves_room_for_the_message),
		TEST(a_file_that_others_can_write_is_refused),
		TEST(a_file_of_another_user_is_refused),
		TEST(the_file_behind_a_link_is_what_counts),
		TEST(what_is_no_regular_file_is_refused_without_waiting),
		TEST(a_missing_file_is_refused_by_name),
		TEST(the_environment_names_the_file),
		TEST(the_users_file_is_found_below_the_home_folder),
		TEST(the_xdg_folder_comes_before_the_home_folder),
		TEST(a_found_file_that_is_wrong_ends_the_search),
		TEST(no_file_at_all_is_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
