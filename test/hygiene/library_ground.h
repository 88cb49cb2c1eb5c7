/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What scenarios of the library stand on: a pool on the mock and its keys, and the two
 * ends of a stream in the arena.
 */
#ifndef TEST_HYGIENE_LIBRARY_GROUND_H
#define TEST_HYGIENE_LIBRARY_GROUND_H

#include "hygiene/child.h"
#include "hygiene/parent.h"
#include "support/fixture.h"

#define BYTES(pointer, length) ((hsmpool_bytes){ (pointer), (length) })

struct hygiene_pool {
	hsmpool *pool;
	hsmpool_key *aes, *rsa, *ec, *hmac;
};
extern struct hygiene_pool subject;

/* By the configuration of the scenario's folder. */
void open_pool(void);
hsmpool_status try_open_pool(hsmpool_error *err);
hsmpool_key *open_key(const char *uri);
/* And stop a last time: not even the PIN may be there. */
void close_pool(void);

/* An output buffer in the arena. */
hsmpool_buf room(size_t cap);

/* hsmpool_read_fn and hsmpool_write_fn. */
struct ends {
	hsmpool_bytes in;
	size_t used;
	hsmpool_buf out;
	size_t fails_at; /* of the output; 0: never */
};
hsmpool_status give(void *user, uint8_t *data, size_t cap, size_t *len,
		    hsmpool_error *err);
hsmpool_status take(void *user, const uint8_t *data, size_t len, hsmpool_error *err);

/* The usual grounds. */
extern const struct hygiene_ground on_mock, on_workers, quiet;

#endif
