/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool on the mock, for the targets that go through an HSM. It is made at the first
 * input and serves all of them.
 */
#ifndef TEST_FUZZ_GROUND_H
#define TEST_FUZZ_GROUND_H

#include <hsmpool/key.h>
#include <hsmpool/pool.h>

hsmpool *ground_pool(void);
hsmpool_key *ground_aes_key(void);
hsmpool_key *ground_mac_key(void);

#endif
