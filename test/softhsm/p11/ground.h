/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of lib/p11 start from: the fixture's token, a session, keys on it.
 */
#ifndef TEST_SOFTHSM_P11_GROUND_H
#define TEST_SOFTHSM_P11_GROUND_H

#include "support/fixture.h"
#include "p11/session.h"
#include "p11/token.h"

struct ground {
	struct hp_module *module;
	struct hp_token token;
	struct hp_session session; /* read-write, logged in */
};

/* Fails the test with the name of rv unless it is expected. */
void assert_rv(CK_RV rv, CK_RV expected);

/* Open the module, find the fixture's token. */
void ground_open(struct ground *g);
/* and open and log in the session. */
void ground_log_in(struct ground *g);
/* Close what is open; the last one finalises the module. */
void ground_close(struct ground *g);

/* A further session of the same token on a shard of its own. */
void ground_open_session(struct ground *g, struct hp_session *s, unsigned shard,
			 bool read_write);

/* Token objects with that label. */
CK_OBJECT_HANDLE ground_make_aes(struct ground *g, const char *label);
void ground_make_rsa(struct ground *g, const char *label, CK_OBJECT_HANDLE *public_key,
		     CK_OBJECT_HANDLE *private_key);
void ground_make_ec(struct ground *g, const char *label, CK_OBJECT_HANDLE *public_key,
		    CK_OBJECT_HANDLE *private_key);
/* The one object of class and label; fails the test if there is none. */
CK_OBJECT_HANDLE ground_find(struct hp_session *s, CK_OBJECT_CLASS class,
			     const char *label);

#endif
