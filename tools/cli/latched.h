/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What status and doctor tell of the latch on refused PINs: how many there are. Which
 * they are is pin status's to show.
 */
#ifndef CLI_LATCHED_H
#define CLI_LATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <p11-kit/pkcs11.h>

struct latched {
	unsigned pins;   /* not tried any more */
	unsigned old;    /* of them, with another that was accepted since */
	bool is_damaged; /* no PIN at all is tried */
};

void latched_read(const char *state_dir, const CK_TOKEN_INFO *token, struct latched *out);
/* One line. */
void latched_describe(const struct latched *latched, char *text, size_t cap);

#endif
