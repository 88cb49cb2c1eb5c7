/* SPDX-License-Identifier: Apache-2.0 */
/* See ground.h. */
#include "ground.h"

#include <stdlib.h>
#include "fuzz.h"
#include "support/fixture.h"

static struct fixture fixture;
static hsmpool *pool;
static hsmpool_key *aes_key, *mac_key;

static void leave(void)
{
	hsmpool_key_close(&aes_key);
	hsmpool_key_close(&mac_key);
	hsmpool_close(&pool);
	fixture_remove(&fixture);
}

static hsmpool_key *open_key(const char *uri)
{
	hsmpool_key *key = NULL;
	MUST(hsmpool_key_open(&key, pool, uri, HSMPOOL_DEFAULT, NULL) == HSMPOOL_OK);
	return key;
}

hsmpool *ground_pool(void)
{
	if (pool)
		return pool;
	fixture_mock(&fixture);
	fixture_set(&fixture, "log-level", "error");
	MUST(hsmpool_open(&pool, fixture.config, NULL, HSMPOOL_DEFAULT, NULL) ==
	     HSMPOOL_OK);
	aes_key = open_key("pkcs11:object=aes;type=secret-key");
	mac_key = open_key("pkcs11:object=hmac;type=secret-key");
	atexit(leave);
	return pool;
}

hsmpool_key *ground_aes_key(void)
{
	(void)ground_pool();
	return aes_key;
}

hsmpool_key *ground_mac_key(void)
{
	(void)ground_pool();
	return mac_key;
}
