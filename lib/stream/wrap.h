/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data key, to and from the form in which one key of the HSM can read it.
 *
 * Owns: which way of wrapping a key gets, the calls that do it. Each is one borrow.
 * Must not: decide which key or recipient to try (unlock.h).
 */
#ifndef HP_STREAM_WRAP_H
#define HP_STREAM_WRAP_H

#include <hsmpool/key.h>
#include "base/secret.h"
#include "stream/container.h"

/* A key of the HSM as a header names it: view points into the arrays. */
struct hp_named_key {
	struct hp_recipient view;
	uint32_t flags; /* HSMPOOL_KEY_* */
	uint32_t bits;
	uint8_t id[HP_RECIPIENT_ID_MAX];
	uint8_t label[HP_RECIPIENT_LABEL_MAX];
	uint8_t check[HP_RECIPIENT_CHECK_MAX];
	uint8_t wrapped[2048];
};

/*
 * Fill in id, label and check value, and type as RSA_OAEP or AES_GCM. KEY unless it is
 * an AES or RSA key.
 */
hsmpool_status hp_named_key_read(hsmpool_key *key, hsmpool_deadline deadline,
				 struct hp_named_key *out, hsmpool_error *err);

/*
 * Wrap the data key for it: type, parameter and wrapped of out->view are set. AES-GCM
 * where the key may encrypt, AES-KW or AES-KWP where it may only wrap, RSA-OAEP with
 * the best hash that the token takes.
 */
hsmpool_status hp_data_key_wrap(hsmpool *pool, hsmpool_key *key,
				const struct hp_container *container,
				const uint8_t data_key[HP_DATA_KEY_LEN],
				struct hp_named_key *out, hsmpool_deadline deadline,
				hsmpool_error *err);

/* The way back, into data_key. DATA: it does not unwrap. What comes out is one more
 * candidate: only the commitment tells whether it is the container's. */
hsmpool_status hp_data_key_unwrap(hsmpool *pool, hsmpool_key *key,
				  const struct hp_container *container,
				  const struct hp_recipient *recipient,
				  uint8_t data_key[HP_DATA_KEY_LEN],
				  hsmpool_deadline deadline, hsmpool_error *err);

#endif
