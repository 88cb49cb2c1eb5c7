/* SPDX-License-Identifier: Apache-2.0 */
/* See keyed.h. Waits, retries and healing are hsmpool_mac()'s. */
#include "pseudonym/keyed.h"
#include <string.h>
#include <hsmpool/crypto.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/time.h"
#include "crypto/key.h"

#define SCHEME "hmac-sha256"

enum { TRIALS = 4 };

hsmpool_status hp_keyed_begin(struct hp_text *input, const char *label,
			      hsmpool_bytes domain, hsmpool_error *err)
{
	uint8_t domain_len[4];
	hp_put_be32(domain_len, (uint32_t)domain.len);
	HP_TRY(hp_text_append(input, label, strlen(label) + 1, err));
	HP_TRY(hp_text_append(input, domain_len, sizeof(domain_len), err));
	return hp_text_append(input, domain.data, domain.len, err);
}

hsmpool_status hp_keyed_mac(hsmpool *pool, hsmpool_key *key, const struct hp_text *input,
			    uint8_t mac[HP_KEYED_LEN], hsmpool_deadline deadline,
			    hsmpool_error *err)
{
	hsmpool_buf out = { mac, HP_KEYED_LEN, 0 };
	return hsmpool_mac(pool, key, SCHEME, (hsmpool_bytes){ input->data, input->len },
			   &out, deadline, err);
}

static hsmpool_status check_bits(hsmpool_key *key, hsmpool_deadline deadline,
				 hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };
	HP_TRY(hsmpool_key_get_info(key, &info, deadline, err));
	HP_CHECK(info.bits == 0 || info.bits >= HP_KEYED_BITS_MIN, err, HSMPOOL_ERR_KEY,
		 "key '%s' has %u bits and could be guessed: use one of %d or more",
		 hp_key_name(key), info.bits, HP_KEYED_BITS_MIN);
	return HSMPOOL_OK;
}

/* An HMAC of nothing, which no token and no key is made of. */
static hsmpool_status try_mac(hsmpool *pool, hsmpool_key *key, hsmpool_deadline deadline,
			      hsmpool_error *err)
{
	const hsmpool_bytes no_domain = { NULL, 0 };
	struct hp_text input = { 0 };
	uint8_t mac[HP_KEYED_LEN];
	hsmpool_status status = hp_keyed_begin(&input, HP_LABEL_TRIAL, no_domain, err);
	if (status == HSMPOOL_OK)
		status = hp_keyed_mac(pool, key, &input, mac, deadline, err);
	hp_text_clear(&input);
	hp_wipe(mac, sizeof(mac));
	return status;
}

hsmpool_status hp_keyed_check(hsmpool *pool, hsmpool_key *key, hsmpool_deadline deadline,
			      hsmpool_error *err)
{
	HP_CHECK(key, err, HSMPOOL_ERR_KEY,
		 "a pseudonym needs a key: a generic secret (MAC) key of the HSM");
	HP_TRY(check_bits(key, deadline, err));
	return try_mac(pool, key, deadline, err);
}

bool hp_keyed_is_local(hsmpool *pool, hsmpool_key *key, hsmpool_deadline deadline)
{
	bool is_local = false;
	/* Several, because this machine may have had other work during the first. */
	for (int i = 0; i < TRIALS && !is_local; i++) {
		int64_t passed_ns = hp_now_ns();
		int64_t worked_ns = hp_clock_ns(CLOCK_THREAD_CPUTIME_ID);
		if (try_mac(pool, key, deadline, NULL) != HSMPOOL_OK)
			return false;
		passed_ns = hp_now_ns() - passed_ns;
		worked_ns = hp_clock_ns(CLOCK_THREAD_CPUTIME_ID) - worked_ns;
		is_local = 2 * worked_ns > passed_ns;
	}
	return is_local;
}
