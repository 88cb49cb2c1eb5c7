/* SPDX-License-Identifier: Apache-2.0 */
/* See subject.h. */
#include "hygiene/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "hygiene/canary.h"
#include "support/fixture.h"

#define PIN_NAME      "pin"
#define MOST_REPORTED 12

extern char **environ;

/* --- the folder ----------------------------------------------------------------- */

const char *subject_path(const struct subject *s, const char *name)
{
	static char path[400];
	snprintf(path, sizeof(path), "%s/%s", s->folder, name);
	return path;
}

void subject_write(const struct subject *s, const char *name, const void *data,
		   size_t len)
{
	int fd = open(subject_path(s, name), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
		      0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void write_pins(const struct subject *s)
{
	struct mock_pin pin = { .tries = 10, .left = 10 };
	canary_fill(PIN_NAME, (uint8_t *)pin.text, CANARY_LEN);
	subject_write(s, "pin", pin.text, CANARY_LEN);
	subject_write(s, "mock-pin", &pin, sizeof(pin));
}

/* text with the folder for each '@'. */
static void add_lines(const struct subject *s, FILE *file, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '@')
			fputs(s->folder, file);
		else
			fputc(*text, file);
	}
}

static void write_configuration(const struct subject *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&text, &len);
	assert_non_null(file);
	fprintf(file, "[pool]\nmodule = %s/test/mock/hsmpool-mock.so\n",
		getenv("HSMPOOL_TEST_BUILD"));
	add_lines(s, file, "token = pkcs11:token=mock\nstate-dir = @/state\n");
	if (s->ground.pin_source)
		fprintf(file, "pin-source = %s\n", s->ground.pin_source);
	add_lines(s, file, s->ground.lines);
	fputc('\n', file);
	fclose(file);
	subject_write(s, "hsmpool.conf", text, len);
	free(text);
}

static void set(const char *name, const char *before, const char *folder,
		const char *behind)
{
	char value[400];
	snprintf(value, sizeof(value), "%s%s%s", before, folder, behind);
	setenv(name, value, 1);
}

static void set_pin(bool is_wanted)
{
	char pin[CANARY_LEN + 1] = "";
	unsetenv(HYGIENE_PIN);
	if (!is_wanted)
		return;
	canary_fill(PIN_NAME, (uint8_t *)pin, CANARY_LEN);
	setenv(HYGIENE_PIN, pin, 1);
}

static void set_environment(const struct subject *s)
{
	char seed[32];
	snprintf(seed, sizeof(seed), "%lld%d", (long long)time(NULL), getpid());
	setenv(CANARY_SEED, seed, 1);
	set(HYGIENE_FOLDER, "", s->folder, "");
	set("HSMPOOL_CONF", "", s->folder, "/hsmpool.conf");
	set("HSMPOOL_MOCK", "pin-file=", s->folder, "/mock-pin");
	unsetenv("MALLOC_PERTURB_"); /* it would wipe what is freed */
	set_pin(s->ground.has_pin_in_environment);
}

void subject_begin(struct subject *s, const struct hygiene_ground *ground)
{
	*s = (struct subject){ .ground = *ground };
	snprintf(s->folder, sizeof(s->folder), "/tmp/hsmpool-hygiene-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	assert_int_equal(mkdir(subject_path(s, "state"), 0700), 0);
	assert_int_equal(mkdir(subject_path(s, "told"), 0700), 0);
	set_environment(s);
	write_pins(s);
	write_configuration(s);
	subject_add_canary(s, PIN_NAME);
}

void subject_end(struct subject *s)
{
	const char *const argv[] = { "rm", "-rf", "--", s->folder, NULL };
	pid_t pid;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv,
			 environ) == 0)
		waitpid(pid, NULL, 0);
}

/* --- what is searched for ------------------------------------------------------- */

void subject_add_canary(struct subject *s, const char *name)
{
	struct needle needle = { .len = CANARY_LEN, .is_repeated = true };
	snprintf(needle.name, sizeof(needle.name), "%s", name);
	needle.is_pin = strncmp(name, PIN_NAME, strlen(PIN_NAME)) == 0;
	canary_fill(name, needle.bytes, CANARY_LEN);
	needles_add(&s->needles, &needle);
}

void subject_add_secret(struct subject *s, const char *name, const uint8_t *secret,
			size_t len)
{
	struct needle needle = { .len = len };
	assert_true(len >= HYGIENE_WINDOW && len <= sizeof(needle.bytes));
	snprintf(needle.name, sizeof(needle.name), "%s", name);
	memcpy(needle.bytes, secret, len);
	needles_add(&s->needles, &needle);
}

/* --- what is found -------------------------------------------------------------- */

/* The token's own memory of its PIN: a file that the mock maps. */
static bool is_the_tokens(const struct mapping *mapping)
{
	return mapping->is_shared && strstr(mapping->name, "/mock-pin") != NULL;
}

/* Between the addresses that fields 50 and 51 of /proc/PID/stat are. */
static bool is_in_environment(pid_t pid, uint64_t address)
{
	char path[64], line[1200] = "";
	unsigned long long from = 0, to = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	const char *at = strrchr(line, ')') + 1; /* behind field 2 */
	for (unsigned field = 2; field < 49; field++)
		at += 1 + strcspn(at + 1, " ");
	assert_int_equal(sscanf(at, "%llu %llu", &from, &to), 2);
	return address >= from && address < to;
}

static bool is_allowed(const struct subject *s, const struct hit *hit)
{
	const struct mapping *m = hit->mapping;
	if (!hit->needle->is_pin)
		return s->state == SUBJECT_IS_BUSY && m->is_undumped;
	return (s->state != SUBJECT_CLEAN && m->is_locked && m->is_undumped) ||
	       (s->ground.has_pin_in_environment &&
		is_in_environment(s->pid, hit->address));
}

static void print_around(const struct hit *hit)
{
	for (size_t i = 0; i < hit->around_len; i += 32) {
		char text[33], hex[65];
		size_t n = 0;
		for (; n < 32 && i + n < hit->around_len; n++) {
			uint8_t byte = hit->around[i + n];
			text[n] = byte > 32 && byte < 127 ? (char)byte : '.';
			snprintf(hex + 2 * n, 3, "%02x", byte);
		}
		text[n] = '\0';
		print_error("#   %012llx %-64s %s\n",
			    (unsigned long long)(hit->around_at + i), hex, text);
	}
}

static void on_hit(void *user, const struct hit *hit)
{
	struct subject *s = user;
	const struct mapping *m = hit->mapping;
	if (is_the_tokens(m))
		return;
	if (is_allowed(s, hit)) {
		s->findings.allowed++;
		return;
	}
	if (++s->findings.leaked > MOST_REPORTED || s->ground.is_quiet)
		return;
	print_error("# %s: %zu bytes of '%s' at %012llx, in %012llx-%012llx %s%s%s\n",
		    s->where, hit->len, hit->needle->name,
		    (unsigned long long)hit->address, (unsigned long long)m->from,
		    (unsigned long long)m->to, *m->name ? m->name : "(anonymous)",
		    m->is_locked ? ", locked" : "", m->is_undumped ? ", not dumped" : "");
	print_around(hit);
}

void subject_search(struct subject *s, pid_t pid, const char *where,
		    enum subject_state state)
{
	s->pid = pid;
	s->where = where;
	s->state = state;
	s->findings.stops++;
	if (!search_process(pid, &s->needles, on_hit, s))
		fail_msg("the memory of a child cannot be read: %s", strerror(errno));
}

void subject_search_core(struct subject *s, const char *path)
{
	s->where = "in a core dump";
	s->state = SUBJECT_CLEAN;
	s->findings.has_core = true;
	assert_true(search_file(path, &s->needles, on_hit, s));
}

static struct {
	struct subject *subject;
	const char *part;
	unsigned count;
} walk; /* nftw() passes nothing on */

static int search_entry(const char *path, const struct stat *st, int type,
			struct FTW *place)
{
	(void)place;
	if (type != FTW_F || st->st_size == 0 || !strstr(path, walk.part))
		return 0;
	walk.count++;
	walk.subject->where = "in a file";
	walk.subject->state = SUBJECT_CLEAN;
	assert_true(search_file(path, &walk.subject->needles, on_hit, walk.subject));
	return 0;
}

unsigned subject_search_files(struct subject *s, const char *part)
{
	walk.subject = s;
	walk.part = part;
	walk.count = 0;
	nftw(s->folder, search_entry, 8, FTW_PHYS);
	return walk.count;
}
