/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool_open(): the configuration, the log, the pool, the key names, the canary, the
 * checkpoints.
 *
 * The pool itself is opened on its own floor (hp_pool_open); here is only what needs
 * keys. Nothing half-open is left behind on failure.
 */
#include <hsmpool/pool.h>

#include "base/error.h"
#include "config/options.h"
#include "crypto/canary.h"
#include "crypto/checkpoint.h"
#include "control/control.h"
#include "crypto/attachment.h"
#include "observe/log.h"
#include "pool/live.h"
#include "pool/pool.h"

static hsmpool_status start_checkpoints(hsmpool *pool, const hsmpool_config *config,
					hsmpool_error *err)
{
	struct hp_pool_options keeper = { 0 };

	HP_TRY(hp_checkpoint_options(config, hp_pool_options(pool), &keeper, err));
	hsmpool_status status =
		hp_checkpoint_start(pool, keeper.module ? &keeper : NULL, err);
	hp_pool_options_clear(&keeper);
	return status;
}

/* What the pool needs from this floor. */
static hsmpool_status furnish(hsmpool *pool, const hsmpool_config *config,
			      hsmpool_deadline deadline, hsmpool_error *err)
{
	const struct hp_pool_options *options = hp_pool_options(pool);
	struct hp_key_options *names = NULL;
	size_t count = 0;

	HP_TRY(hp_pool_set_origin(pool, config, NULL, err));
	HP_TRY(hp_config_keys(config, &names, &count, err));
	HP_TRY(hp_attachment_make(pool, names, count, err));
	if (options->probe == HP_PROBE_CANARY)
		HP_TRY(hp_canary_start(pool, options->probe_key, deadline, err));
	return start_checkpoints(pool, config, err);
}

static hsmpool_status open_with(hsmpool **out, const hsmpool_config *config,
				const struct hp_pool_options *options,
				hsmpool_deadline deadline, hsmpool_error *err)
{
	hsmpool *pool = NULL;

	HP_TRY(hp_log_configure(options->log, options->log_level,
				options->log_json ? HP_LOG_JSON : HP_LOG_TEXT, err));
	HP_TRY(hp_pool_open(&pool, options, deadline, err));
	hsmpool_status status = furnish(pool, config, deadline, err);
	if (status == HSMPOOL_OK)
		hp_control_join(pool, "library");
	else
		hsmpool_close(&pool);
	*out = pool;
	return status;
}

hsmpool_status hsmpool_open(hsmpool **out, const hsmpool_config *config, const char *name,
			    hsmpool_deadline deadline, hsmpool_error *err)
{
	struct hp_pool_options options;

	hp_error_clear(err);
	HP_CHECK(out, err, HSMPOOL_ERR_USAGE, "open a pool: no place for the result");
	*out = NULL;
	HP_CHECK(config, err, HSMPOOL_ERR_USAGE, "open a pool: no configuration");
	HP_TRY(hp_config_pool(config, name, &options, err));
	hsmpool_status status = open_with(out, config, &options, deadline, err);
	hp_pool_options_clear(&options);
	return status;
}
