/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which records of an audit trail are wanted.
 *
 * Times are compared as texts: those of the records all have the same form, so that is
 * also their order.
 */
#include "audit_filter.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "config/options.h"

/* --- users ---------------------------------------------------------------------------
 */

hsmpool_status audit_filter_set_user(struct audit_filter *filter, const char *text,
				     hsmpool_error *err)
{
	char *end;
	unsigned long number;

	filter->has_user = true;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (isdigit((unsigned char)*text) && *end == '\0' && errno == 0 &&
	    number <= UINT32_MAX) {
		filter->user = (uint32_t)number;
		return HSMPOOL_OK;
	}
	const struct passwd *user = getpwnam(text);
	HP_CHECK(user, err, HSMPOOL_ERR_USAGE,
		 "--user: there is no user '%.100s' here; its number will do", text);
	filter->user = user->pw_uid;
	return HSMPOOL_OK;
}

/* --- times ---------------------------------------------------------------------------
 */

static bool is_all_digits(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)text[i]))
			return false;
	return true;
}

/* "", "Z" or "+01:00": the seconds to take away. */
static bool parse_zone(const char *text, long *offset)
{
	int hours, minutes, end = 0;

	*offset = 0;
	if (*text == '\0' || strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
		return true;
	if ((*text != '+' && *text != '-') ||
	    sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2 || end != 5 ||
	    text[6] != '\0' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return false;
	*offset = (hours * 60L + minutes) * 60 * (*text == '-' ? -1 : 1);
	return true;
}

/* ".5": microseconds; where it ends. */
static const char *parse_fraction(const char *text, long *microseconds)
{
	long unit = 100000;

	*microseconds = 0;
	if (*text != '.')
		return text;
	for (text++; isdigit((unsigned char)*text); text++, unit /= 10)
		*microseconds += (*text - '0') * unit;
	return text;
}

/* "T08:00", " 08:00:01.5+01:00" into moment. */
static bool parse_time_of_day(const char *text, struct tm *day, long *microseconds,
			      long *offset)
{
	int end = 0;

	if ((*text != 'T' && *text != 't' && *text != ' ') ||
	    sscanf(text + 1, "%2d:%2d%n", &day->tm_hour, &day->tm_min, &end) != 2 ||
	    end != 5)
		return false;
	text += 6;
	if (*text == ':') {
		if (sscanf(text + 1, "%2d%n", &day->tm_sec, &end) != 1 || end != 2)
			return false;
		text += 3;
	}
	return day->tm_hour < 24 && day->tm_min < 60 && day->tm_sec <= 60 &&
	       parse_zone(parse_fraction(text, microseconds), offset);
}

static bool parse_date(const char *text, struct tm *day)
{
	int end = 0;

	memset(day, 0, sizeof(*day));
	if (strnlen(text, 10) < 10 || !is_all_digits(text, 4) ||
	    sscanf(text, "%4d-%2d-%2d%n", &day->tm_year, &day->tm_mon, &day->tm_mday,
		   &end) != 3 ||
	    end != 10 || day->tm_mon < 1 || day->tm_mon > 12 || day->tm_mday < 1 ||
	    day->tm_mday > 31)
		return false;
	day->tm_year -= 1900;
	day->tm_mon -= 1;
	return true;
}

static void format_moment(time_t seconds, long microseconds, char *to)
{
	struct tm utc;
	char text[64];

	gmtime_r(&seconds, &utc);
	size_t len = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + len, 32, ".%06ldZ", microseconds);
	memcpy(to, text, AUDIT_TIME_SIZE - 1);
	to[AUDIT_TIME_SIZE - 1] = '\0';
}

static bool parse_moment(const char *text, bool is_end, char *to)
{
	struct tm day;
	long microseconds = 0, offset = 0;
	int64_t span;

	if (hp_parse_duration(text, &span)) {
		int64_t then = hp_clock_ns(CLOCK_REALTIME) - span;
		format_moment((time_t)(then / HP_SECOND), (long)(then % HP_SECOND / 1000),
			      to);
		return then > 0;
	}
	if (!parse_date(text, &day))
		return false;
	if (text[10] == '\0' && is_end) {
		day.tm_hour = 23;
		day.tm_min = 59;
		day.tm_sec = 59;
		microseconds = 999999;
	} else if (text[10] != '\0' &&
		   !parse_time_of_day(text + 10, &day, &microseconds, &offset)) {
		return false;
	}
	format_moment(timegm(&day) - offset, microseconds, to);
	return true;
}

static hsmpool_status set_moment(const char *option, const char *text, bool is_end,
				 char *to, hsmpool_error *err)
{
	HP_CHECK(parse_moment(text, is_end, to), err, HSMPOOL_ERR_USAGE,
		 "%s: '%.60s' is none of 2026-11-21, 2026-11-21T08:00:00Z, 15m", option,
		 text);
	return HSMPOOL_OK;
}

hsmpool_status audit_filter_set_since(struct audit_filter *filter, const char *text,
				      hsmpool_error *err)
{
	return set_moment("--since", text, false, filter->since, err);
}

hsmpool_status audit_filter_set_until(struct audit_filter *filter, const char *text,
				      hsmpool_error *err)
{
	return set_moment("--until", text, true, filter->until, err);
}

/* --- records -------------------------------------------------------------------------
 */

bool audit_filter_wants_time(const struct audit_filter *filter, const char *time)
{
	const size_t len = AUDIT_TIME_SIZE - 1;

	return (!*filter->since || strncmp(time, filter->since, len) >= 0) &&
	       (!*filter->until || strncmp(time, filter->until, len) <= 0);
}

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, name, &member) ||
	    !json_object_is_type(member, json_type_string))
		return "";
	return json_object_get_string(member);
}

static bool wants_key(const struct audit_filter *filter, struct json_object *record)
{
	static const char *const members[] = { "label", "id", "fingerprint" };
	struct json_object *key;

	if (strcmp(text_of(record, "target"), filter->key) == 0)
		return true;
	if (!json_object_object_get_ex(record, "key", &key))
		return false;
	for (size_t i = 0; i < HP_ARRAY_LEN(members); i++)
		if (strcmp(text_of(key, members[i]), filter->key) == 0)
			return true;
	return false;
}

static bool wants_result(const struct audit_filter *filter, struct json_object *record)
{
	const char *result = text_of(record, "result");

	if (strcasecmp(filter->result, "failed") == 0)
		return *result && strcmp(result, "CKR_OK") != 0;
	return strcasecmp(result, filter->result) == 0;
}

static bool wants_user(const struct audit_filter *filter, struct json_object *record)
{
	struct json_object *user;

	return json_object_object_get_ex(record, "uid", &user) &&
	       json_object_get_int64(user) == (int64_t)filter->user;
}

bool audit_filter_wants(const struct audit_filter *filter, struct json_object *record)
{
	return (!filter->key || wants_key(filter, record)) &&
	       (!filter->result || wants_result(filter, record)) &&
	       (!filter->function ||
		strcasecmp(text_of(record, "function"), filter->function) == 0) &&
	       (!filter->has_user || wants_user(filter, record));
}
