/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures in DER, as strangers send them to be verified: the first byte is the length
 * of a number, the rest the signature. What is accepted has one encoding: itself.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "crypto/ecdsa_der.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	size_t number_len = data[0] % (HP_ECDSA_NUMBER_MAX + 1);
	size_t der_len = len - 1, raw_len = 0, again_len = 0;
	uint8_t *der = fuzz_copy(data + 1, der_len);
	uint8_t raw[2 * HP_ECDSA_NUMBER_MAX], again[HP_ECDSA_DER_MAX];
	if (hp_ecdsa_from_der(der, der_len, number_len, raw, &raw_len)) {
		MUST(raw_len <= sizeof(raw) && raw_len % 2 == 0);
		MUST(number_len == 0 || raw_len == 2 * number_len);
		MUST(hp_ecdsa_to_der(raw, raw_len, again, &again_len));
		MUST(again_len == der_len && memcmp(again, der, der_len) == 0);
	}
	free(der);
	return 0;
}
