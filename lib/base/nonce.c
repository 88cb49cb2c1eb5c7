/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch of random bytes of each thread. No lock: nothing is shared.
 */
#include "base/nonce.h"

#include <string.h>
#include <openssl/rand.h>
#include "base/process.h"

#define BATCH 480 /* forty IVs of AES-GCM */

struct batch {
	uint64_t epoch; /* of the process that drew it */
	size_t left;    /* unused bytes, at the front */
	uint8_t data[BATCH];
};

static _Thread_local struct batch batch;

static bool refill(void)
{
	batch.left = 0;
	if (RAND_bytes(batch.data, sizeof batch.data) != 1)
		return false;
	batch.left = sizeof batch.data;
	batch.epoch = hp_process_epoch();
	return true;
}

bool hp_nonce_draw(uint8_t *out, size_t len)
{
	if (len > sizeof batch.data)
		return RAND_bytes(out, (int)len) == 1;
	bool is_mine = batch.epoch == hp_process_epoch();
	if ((!is_mine || batch.left < len) && !refill())
		return false;
	batch.left -= len;
	memcpy(out, batch.data + batch.left, len);
	memset(batch.data + batch.left, 0, len);
	return true;
}
