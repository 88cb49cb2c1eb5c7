/* SPDX-License-Identifier: Apache-2.0 */
/* See library_ground.h. */
#include "hygiene/library_ground.h"

#include <string.h>

struct hygiene_pool subject;

const struct hygiene_ground on_mock = { .pin_source = "file:pin" };
const struct hygiene_ground on_workers = { .pin_source = "file:pin",
					   .lines = "call-timeout = 20s" };
const struct hygiene_ground quiet = { .pin_source = "file:pin", .is_quiet = true };

hsmpool_key *open_key(const char *uri)
{
	hsmpool_key *key = NULL;
	CHILD_OK(hsmpool_key_open(&key, subject.pool, uri, HSMPOOL_DEFAULT, err));
	return key;
}

hsmpool_status try_open_pool(hsmpool_error *error)
{
	hsmpool_config *config = NULL;
	CHILD_OK(hsmpool_config_load(&config, child_path("hsmpool.conf"), err));
	hsmpool_status status =
		hsmpool_open(&subject.pool, config, NULL, TEST_PATIENCE, error);
	hsmpool_config_close(&config);
	return status;
}

void open_pool(void)
{
	CHILD_OK(try_open_pool(err));
	subject.aes = open_key("pkcs11:object=aes");
	subject.rsa = open_key("pkcs11:object=rsa");
	subject.ec = open_key("pkcs11:object=ec");
	subject.hmac = open_key("pkcs11:object=hmac");
}

void close_pool(void)
{
	hsmpool_key_close(&subject.aes);
	hsmpool_key_close(&subject.rsa);
	hsmpool_key_close(&subject.ec);
	hsmpool_key_close(&subject.hmac);
	hsmpool_close(&subject.pool);
	child_stop("after close", false);
}

hsmpool_buf room(size_t cap)
{
	return (hsmpool_buf){ child_room(cap), cap, 0 };
}

hsmpool_status give(void *user, uint8_t *data, size_t cap, size_t *len,
		    hsmpool_error *err)
{
	struct ends *ends = user;
	size_t left = ends->in.len - ends->used;
	(void)err;
	*len = left < cap ? left : cap;
	if (*len > 0)
		memcpy(data, ends->in.data + ends->used, *len);
	ends->used += *len;
	return HSMPOOL_OK;
}

hsmpool_status take(void *user, const uint8_t *data, size_t len, hsmpool_error *err)
{
	struct ends *ends = user;
	(void)err;
	if (len > ends->out.cap - ends->out.len ||
	    (ends->fails_at && ends->out.len + len > ends->fails_at))
		return HSMPOOL_ERR_SYSTEM;
	memcpy(ends->out.data + ends->out.len, data, len);
	ends->out.len += len;
	return HSMPOOL_OK;
}
