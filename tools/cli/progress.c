/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress bar: see progress.h.
 *
 * Work that ends within a second shows none. Drawn on standard error five times a
 * second, and cleared before anything else is printed there.
 */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/time.h"
#include "cli.h"

#define FIRST_DRAW_AFTER (1 * HP_SECOND)
#define DRAW_EVERY       (200 * HP_MS)
#define BAR_WIDTH        12 /* the whole line fits 80 columns */

static bool is_drawable(void)
{
	const char *terminal = getenv("TERM");

	return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

void progress_start(struct progress *progress, const struct cli *cli, uint64_t total)
{
	int64_t now = hp_now_ns();

	*progress = (struct progress){
		.cli = cli,
		.is_shown = cli->verbosity == 0 && is_drawable(),
		.total = total,
		.start_ns = now,
		.next_ns = now + FIRST_DRAW_AFTER,
	};
}

void progress_format_size(double bytes, char *text, size_t cap)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	size_t unit = 0;

	while (bytes >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, cap, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void format_bar(double part, char bar[static BAR_WIDTH + 1])
{
	int filled = (int)(part * BAR_WIDTH);

	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = (char)(i < filled ? '=' : i == filled ? '>' : ' ');
	bar[BAR_WIDTH] = '\0';
}

static void format_time_left(double seconds, char *text, size_t cap)
{
	long left = seconds > 359999 ? 359999 : (long)(seconds + 0.5);

	if (left >= 3600)
		snprintf(text, cap, "%ld:%02ld:%02ld", left / 3600, left / 60 % 60,
			 left % 60);
	else
		snprintf(text, cap, "%ld:%02ld", left / 60, left % 60);
}

/* A line that wraps cannot be cleared: cut it to the terminal's width. */
static void draw_line(struct progress *progress, char *line)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 &&
	    strlen(line) >= size.ws_col)
		line[size.ws_col - 1] = '\0';
	fprintf(stderr, "\r%s\033[K", line);
	progress->has_printed = true;
}

/* "1.5 MiB of 4.0 MiB", or "1.5 MiB" where the end is not known. */
static void format_amount(const struct progress *progress, uint64_t done, char *text,
			  size_t cap)
{
	char done_text[24], total_text[24];

	progress_format_size((double)done, done_text, sizeof(done_text));
	progress_format_size((double)progress->total, total_text, sizeof(total_text));
	if (progress->total > 0 && done <= progress->total)
		snprintf(text, cap, "%s of %s", done_text, total_text);
	else
		snprintf(text, cap, "%s", done_text);
}

/* "  4 sessions"; nothing while none is in use. */
static void format_sessions(const struct progress *progress, char *text, size_t cap)
{
	unsigned used = cli_sessions_in_use(progress->cli);

	*text = '\0';
	if (used > 0)
		snprintf(text, cap, "  %u session%s", used, used == 1 ? "" : "s");
}

static void draw(struct progress *progress, uint64_t done, double seconds)
{
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char amount[64], rate_text[24], sessions[32];
	char line[200];

	format_amount(progress, done, amount, sizeof(amount));
	progress_format_size(rate, rate_text, sizeof(rate_text));
	format_sessions(progress, sessions, sizeof(sessions));
	if (progress->total > 0 && done <= progress->total && rate > 0) {
		double part = (double)done / (double)progress->total;
		char bar[BAR_WIDTH + 1], left[24];

		format_bar(part, bar);
		format_time_left((double)(progress->total - done) / rate, left,
				 sizeof(left));
		snprintf(line, sizeof(line), "%3.0f%% [%s] %s  %s/s  ETA %s%s",
			 part * 100, bar, amount, rate_text, left, sessions);
	} else {
		snprintf(line, sizeof(line), "%s  %s/s%s", amount, rate_text, sessions);
	}
	draw_line(progress, line);
}

void progress_update(struct progress *progress, uint64_t done)
{
	int64_t now;

	if (!progress->is_shown)
		return;
	now = hp_now_ns();
	if (now < progress->next_ns)
		return;
	progress->next_ns = now + DRAW_EVERY;
	draw(progress, done, (double)(now - progress->start_ns) / 1e9);
}

void progress_end(struct progress *progress)
{
	if (progress->has_printed)
		fprintf(stderr, "\r\033[K");
	progress->has_printed = false;
}
