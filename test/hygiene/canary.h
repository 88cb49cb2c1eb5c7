/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canaries: what stands for a plaintext, a PIN or a key, and is searched for.
 *
 * Each is 16 letters, repeated for as long as is needed, made of its name and of the
 * run's seed. So whoever searches makes it again, and need not be given it: nothing but
 * the code under test, and what a test wipes, ever holds it in the process that is
 * searched.
 */
#ifndef TEST_HYGIENE_CANARY_H
#define TEST_HYGIENE_CANARY_H

#include <stddef.h>
#include <stdint.h>

#define CANARY_LEN 16

/* The environment variable with the seed, and its beginning in a parent. */
#define CANARY_SEED "HSMPOOL_TEST_SEED"

void canary_fill(const char *name, uint8_t *to, size_t len);

#endif
