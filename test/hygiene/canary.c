/* SPDX-License-Identifier: Apache-2.0 */
/* See canary.h. */
#include "hygiene/canary.h"

#include <stdlib.h>

/* splitmix64. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t state_of(const char *name)
{
	const char *seed = getenv(CANARY_SEED);
	uint64_t state = seed ? strtoull(seed, NULL, 10) : 0;
	for (; *name; name++)
		state = (state ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return state;
}

/* A byte at a time: no copy of more than one is in a register or on the stack. */
void canary_fill(const char *name, uint8_t *to, size_t len)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
	volatile uint8_t *at = to;
	uint64_t state = state_of(name);
	for (size_t i = 0; i < len; i++)
		at[i] = i < CANARY_LEN ? (uint8_t)letters[next(&state) % 32]
				       : at[i - CANARY_LEN];
}
