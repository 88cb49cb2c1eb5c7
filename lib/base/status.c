/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status table as functions, the version, and deadlines made by callers.
 *
 * Owns: nothing but the expansion of HSMPOOL_STATUS_MAP. No state, no locks.
 */
#include "base/time.h"

#include <hsmpool/status.h>

#define EXIT_UNKNOWN 70

struct status_row {
	int value;
	int exit_code;
	const char *name;
	const char *text;
};

static const struct status_row rows[] = {
#define STATUS_ROW(name, value, exit_code, text) \
	{ value, exit_code, "HSMPOOL_" #name, text },
	HSMPOOL_STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

static const struct status_row unknown_row = { -1, EXIT_UNKNOWN, "HSMPOOL_ERR_UNKNOWN",
					       "unknown status" };

static const struct status_row *find_row(hsmpool_status status)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value == (int)status)
			return &rows[i];
	return &unknown_row;
}

const char *hsmpool_status_text(hsmpool_status status)
{
	return find_row(status)->text;
}

const char *hsmpool_status_name(hsmpool_status status)
{
	return find_row(status)->name;
}

int hsmpool_status_exit_code(hsmpool_status status)
{
	return find_row(status)->exit_code;
}

const char *hsmpool_version(void)
{
	return HP_VERSION;
}

hsmpool_deadline hsmpool_deadline_in(int64_t milliseconds)
{
	if (milliseconds < 0)
		milliseconds = 0;
	if (milliseconds > HP_FOREVER / HP_MS)
		return HP_FOREVER;
	return hp_time_add(hp_now_ns(), milliseconds * HP_MS);
}
