/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that the verbs of one operation share.
 */
#include "work.h"

#include "base/error.h"
#include "cli.h"

hsmpool_status work_option(struct work *work, int id, const char *argument,
			   hsmpool_error *err)
{
	switch (id) {
	case CLI_KEY:
		work->which = argument;
		return HSMPOOL_OK;
	case CLI_SCHEME:
		work->scheme = argument;
		return HSMPOOL_OK;
	case CLI_IN:
		work->in_path = argument;
		return HSMPOOL_OK;
	case CLI_OUT:
		work->out_path = argument;
		return HSMPOOL_OK;
	case CLI_FORCE:
		work->is_forced = true;
		return HSMPOOL_OK;
	case CLI_FORMAT:
		return encoding_parse(argument, &work->encoding, err);
	default:
		return hp_fail(err, HSMPOOL_ERR_USAGE,
			       "an option is unknown to the verb");
	}
}
