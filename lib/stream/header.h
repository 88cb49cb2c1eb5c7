/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a new container, from the keys and options of who asks for it.
 *
 * Owns: the checks of both, the container's id, its data key, which is wrapped for each
 * recipient, and the MAC. Must not: see a chunk, or write.
 */
#ifndef HP_STREAM_HEADER_H
#define HP_STREAM_HEADER_H

#include <hsmpool/stream.h>
#include "base/secret.h"
#include "stream/container.h"

/* The first parameters of hsmpool_stream_encrypt(). */
struct hp_header_terms {
	hsmpool *pool;
	hsmpool_key *const *keys;
	size_t key_count;
	hsmpool_stream_options options;
	hsmpool_deadline deadline;
};

/*
 * Make it in container->raw, hp_header_len() bytes, MAC included. *secret becomes the
 * container's keys (struct hp_keys), which the caller frees, also after an error; in
 * direct mode it is left alone.
 *
 * USAGE  number of keys, chunk size, mode, compression or its level
 * KEY    a key that cannot be a recipient
 */
hsmpool_status hp_header_make(const struct hp_header_terms *terms,
			      struct hp_container *container, struct hp_secret **secret,
			      hsmpool_error *err);

#endif
