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

#define FIRST_DRAW_AFTER (1 * HP_SECOND)
#define DRAW_EVERY       (200 * HP_MS)
#define BAR_WIDTH        24

static bool is_drawable(void)
{
	const char *terminal = getenv("TERM");

	return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

void progress_start(struct progress *progress, uint64_t total)
{
	int64_t now = hp_now_ns();

	*progress = (struct progress){
		.is_shown = is_drawable(),
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

static void draw(struct progress *progress, uint64_t done, double seconds)
{
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char done_text[24], total_text[24], rate_text[24], left_text[24];
	char bar[BAR_WIDTH + 1];
	char line[200];
	double part;

	progress_format_size((double)done, done_text, sizeof(done_text));
	progress_format_size(rate, rate_text, sizeof(rate_text));
	if (progress->total == 0 || done > progress->total || rate <= 0) {
		snprintf(line, sizeof(line), "%s  %s/s", done_text, rate_text);
		draw_line(progress, line);
		return;
	}
	part = (double)done / (double)progress->total;
	format_bar(part, bar);
	progress_format_size((double)progress->total, total_text, sizeof(total_text));
	format_time_left((double)(progress->total - done) / rate, left_text,
			 sizeof(left_text));
	snprintf(line, sizeof(line), "%3.0f%% [%s] %s of %s  %s/s  ETA %s", part * 100,
		 bar, done_text, total_text, rate_text, left_text);
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
