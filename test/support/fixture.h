/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test program starts from: a private place, a token in it, a configuration.
 *
 * Everything lives in one temporary folder that is removed at the end. A failure to
 * set up aborts the program with a message: no test goes on without its ground.
 */
#ifndef TEST_SUPPORT_FIXTURE_H
#define TEST_SUPPORT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <hsmpool/hsmpool.h>
#include <p11-kit/pkcs11.h>
#include "mock/mock.h"
#include "support/patience.h"

#define FIXTURE_USER_PIN "user-1234"
#define FIXTURE_SO_PIN   "so-12345678"
#define FIXTURE_TOKEN    "fixture"

struct fixture {
	char dir[256];          /* temporary folder */
	char pin_file[300];     /* 0600, holds FIXTURE_USER_PIN */
	char module[300];       /* what [pool] module says */
	hsmpool_config *config; /* ready to open; change it with fixture_set() */
};

/* A SoftHSM2 store with one initialised token FIXTURE_TOKEN, PINs as above, no
 * objects. Sets SOFTHSM2_CONF for this process. */
void fixture_softhsm(struct fixture *f);
/* The mock answering by itself (test/mock/mock.h), its faults reset; objects "rsa",
 * "ec", "aes" and "hmac" are on it. */
void fixture_mock(struct fixture *f);
/* The mock wrapping a private SoftHSM2 token as above. */
void fixture_mock_over_softhsm(struct fixture *f);
/* The controls of the mock that a pool of this process loads (test/mock/mock.h). */
const struct mock_control *fixture_mock_control(void);
/* Closes the configuration, removes the folder. Close the pool first. */
void fixture_remove(struct fixture *f);

/* Set a [pool] option; aborts if it is refused. */
void fixture_set(struct fixture *f, const char *key, const char *value);
/* hsmpool_open() of [pool]; fails the test with the error's text if it fails. */
hsmpool *fixture_open(struct fixture *f);
/* Initialise one more token in the fixture's SoftHSM2 store (before any open). */
void fixture_add_token(struct fixture *f, const char *label);

/* Fails the test with err's text unless status is OK. */
#define assert_ok(call, err)                                                    \
	do {                                                                    \
		hsmpool_status fixture_status = (call);                         \
		if (fixture_status != HSMPOOL_OK)                               \
			fail_msg("%s: %s", hsmpool_status_name(fixture_status), \
				 (err)->text);                                  \
	} while (0)
#define assert_status(call, expected) \
	assert_string_equal(hsmpool_status_name(call), hsmpool_status_name(expected))

#endif
