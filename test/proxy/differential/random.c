/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dice for the driver, and made-up randomness for the modules.
 *
 * The modules draw from OpenSSL. Both sides are given the same bytes for the same call,
 * so what they generate can be compared: the n-th draw of a length is the same, whatever
 * else was drawn, because an operation that is begun again draws for its key once more
 * (32 bytes in SoftHSM2); no nonce or salt here is as long. An operation that is ended to
 * clean a session may draw too: all draws of the lengths that this takes are the same,
 * and what replaces a zero of a padding belongs to the draw before it. Per thread: the
 * pool's own threads do not disturb the caller's.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include "differential.h"

#include <openssl/rand.h>
#include <string.h>

#define LENGTHS 1024

static _Thread_local uint32_t call_id;
static _Thread_local uint16_t draws[LENGTHS];
static _Thread_local unsigned last_length;

uint64_t dice_next(struct dice *dice)
{
	dice->state += 0x9e3779b97f4a7c15u;
	uint64_t z = dice->state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t dice_below(struct dice *dice, uint32_t bound)
{
	return (uint32_t)(dice_next(dice) % bound);
}

bool dice_percent(struct dice *dice, unsigned percent)
{
	return dice_below(dice, 100) < percent;
}

/* The seed of OAEP; the padding of one byte under a key of 1024 bits. */
static bool may_be_for_cleaning(unsigned length)
{
	return length == 20 || length == 1024 / 8 - 3 - 1;
}

static int draw(unsigned char *buffer, int count)
{
	unsigned length = (unsigned)count % LENGTHS;

	if (length > 1) {
		last_length = length;
		draws[1] = 0;
	}
	struct dice dice = { (uint64_t)call_id << 32 | (uint64_t)last_length << 18 |
			     (uint64_t)(length == 1) << 16 | draws[length] };
	if (!may_be_for_cleaning(length))
		draws[length]++;
	for (int i = 0; i < count; i++)
		buffer[i] = (unsigned char)dice_next(&dice);
	return 1;
}

static int take_seed(const void *data, int count)
{
	(void)data;
	(void)count;
	return 1;
}

static int add_seed(const void *data, int count, double entropy)
{
	(void)entropy;
	return take_seed(data, count);
}

static int is_seeded(void)
{
	return 1;
}

void random_take_over(void)
{
	static const RAND_METHOD method = {
		.seed = take_seed,
		.bytes = draw,
		.add = add_seed,
		.pseudorand = draw,
		.status = is_seeded,
	};

	RAND_set_rand_method(&method);
}

void random_restart(uint32_t id)
{
	call_id = id;
	last_length = 0;
	memset(draws, 0, sizeof(draws));
}
