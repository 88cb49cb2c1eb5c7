/* SPDX-License-Identifier: Apache-2.0 */
/* See csv_output.h. A signal that ends the process at once says the farewell instead. */
#include "csv_output.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include "base/error.h"
#include "stop.h"

#define QUOTE '"'

/* What the handler would have to add now. */
static void set_farewell(const struct csv_output *csv)
{
	if (csv->is_breakable && !csv->is_inside)
		stop_set_farewell(csv->out.fd, QUOTE);
}

static void unset_farewell(void)
{
	stop_set_farewell(-1, 0);
}

hsmpool_status csv_output_open(struct csv_output *csv, const char *path, bool is_forced,
			       int in, hsmpool_error *err)
{
	*csv = (struct csv_output){ 0 };
	HP_TRY(output_open(&csv->out, path, is_forced, err));
	HP_TRY(output_refuse_input(&csv->out, in, err));
	csv->is_breakable = !csv->out.is_temporary && !output_is_terminal(&csv->out);
	set_farewell(csv);
	return HSMPOOL_OK;
}

/* A quote opens or closes, and a doubled one does both. */
static void follow_quotes(struct csv_output *csv, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		csv->is_inside ^= data[i] == QUOTE;
}

hsmpool_status csv_output_write(struct csv_output *csv, const uint8_t *data, size_t len,
				hsmpool_error *err)
{
	uint64_t before = csv->out.written;
	hsmpool_status status;

	unset_farewell();
	status = output_write(&csv->out, data, len, err);
	follow_quotes(csv, data, (size_t)(csv->out.written - before));
	set_farewell(csv);
	return status;
}

/* Once, by this or by the handler: a second quote would close the first. False: not now.
 */
static bool write_quote(struct csv_output *csv)
{
	const char quote = QUOTE;

	stop_hold();
	csv->is_breakable =
		write(csv->out.fd, &quote, 1) < 0 && (errno == EINTR || errno == EAGAIN);
	if (!csv->is_breakable)
		unset_farewell();
	stop_release();
	return !csv->is_breakable;
}

/* Not output_write(): that one obeys a signal, and this is what is left to do then. While
 * it waits for a slow reader the handler still has its farewell. */
void csv_output_break(struct csv_output *csv)
{
	struct pollfd wait = { .fd = csv->out.fd, .events = POLLOUT };

	if (!csv->is_breakable || csv->is_inside) {
		unset_farewell();
		return;
	}
	while ((poll(&wait, 1, -1) < 0 && errno == EINTR) || !write_quote(csv))
		continue;
}

hsmpool_status csv_output_commit(struct csv_output *csv, hsmpool_error *err)
{
	HP_TRY(output_commit(&csv->out, err));
	csv->is_breakable = false;
	unset_farewell();
	return HSMPOOL_OK;
}

void csv_output_close(struct csv_output *csv)
{
	csv_output_break(csv);
	output_close(&csv->out);
}
