/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Format-preserving encryption and its alphabets. The first bytes choose key length,
 * radix, tweak and alphabet, the rest are numerals and a text. What is encrypted is of
 * the same length and radix and comes back; a text that an alphabet reads, it writes.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include "pseudonym/alphabet.h"
#include "pseudonym/ff1.h"
#include "pseudonym/token.h"

/* Two bytes each, below the radix. */
static size_t take_numerals(struct fuzz_script *script, uint32_t radix,
			    uint16_t numerals[HP_FF1_LENGTH_MAX])
{
	size_t count = script->left / 2;
	if (count > HP_FF1_LENGTH_MAX)
		count = HP_FF1_LENGTH_MAX;
	for (size_t i = 0; i < count; i++)
		numerals[i] = (uint16_t)(fuzz_take16(script) % radix);
	return count;
}

static void must_come_back(struct hp_ff1 *ff1, uint32_t radix, const uint16_t *numerals,
			   size_t count)
{
	size_t size = count * sizeof(*numerals);
	uint16_t *copy = malloc(size);
	MUST(copy);
	memcpy(copy, numerals, size);
	MUST(hp_ff1_encrypt(ff1, copy, count, NULL) == HSMPOOL_OK);
	for (size_t i = 0; i < count; i++)
		MUST(copy[i] < radix);
	MUST(hp_ff1_decrypt(ff1, copy, count, NULL) == HSMPOOL_OK);
	MUST(memcmp(copy, numerals, size) == 0);
	/* Of a permutation each direction undoes the other. */
	MUST(hp_ff1_decrypt(ff1, copy, count, NULL) == HSMPOOL_OK);
	MUST(hp_ff1_encrypt(ff1, copy, count, NULL) == HSMPOOL_OK);
	MUST(memcmp(copy, numerals, size) == 0);
	free(copy);
}

static void encrypt(struct fuzz_script *script)
{
	static const uint8_t key_bytes[32] = "no secret at all";
	uint16_t numerals[HP_FF1_LENGTH_MAX];
	hsmpool_bytes tweak;
	struct hp_ff1 *ff1 = NULL;
	size_t key_len = 16 + 8 * (size_t)(fuzz_take8(script) % 3);
	uint32_t radix = HP_FF1_RADIX_MIN +
			 fuzz_take16(script) % (HP_FF1_RADIX_MAX - HP_FF1_RADIX_MIN + 1);
	tweak.data = fuzz_take(script, fuzz_take8(script), &tweak.len);
	MUST(hp_ff1_new(&ff1, key_bytes, key_len, radix, tweak, NULL) == HSMPOOL_OK);
	size_t count = take_numerals(script, radix, numerals);
	if (count >= hp_ff1_length_min(radix))
		must_come_back(ff1, radix, numerals, count);
	hp_ff1_free(&ff1);
}

static void write_token(const struct hp_alphabet *alphabet, uint32_t length,
			const uint8_t mac[HP_TOKEN_MAC_LEN])
{
	struct hp_text token = { 0 };
	uint16_t numerals[HP_TOKEN_LENGTH_MAX];
	size_t count = 0;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_token_check_length(alphabet, &length, true, &err);
	fuzz_must_explain(status, &err);
	if (status != HSMPOOL_OK)
		return;
	MUST(hp_token_write(alphabet, length, mac, &token, NULL) == HSMPOOL_OK);
	MUST(hp_alphabet_read(alphabet, (hsmpool_bytes){ token.data, token.len },
			      numerals, HP_TOKEN_LENGTH_MAX, &count));
	MUST(count == length);
	hp_text_clear(&token);
}

static void read_text(const struct hp_alphabet *alphabet, hsmpool_bytes text)
{
	uint16_t numerals[64];
	struct hp_text again = { 0 };
	size_t count = 0;
	bool is_whole = hp_alphabet_read(alphabet, text, numerals, 64, &count);
	MUST(count <= 64 && count <= text.len);
	for (size_t i = 0; i < count; i++)
		MUST(numerals[i] < hp_alphabet_radix(alphabet));
	MUST(hp_alphabet_write(alphabet, numerals, count, &again, NULL) == HSMPOOL_OK);
	MUST(again.len == text.len || (!is_whole && again.len < text.len));
	MUST(again.len == 0 || memcmp(again.data, text.data, again.len) == 0);
	hp_text_clear(&again);
}

/* An alphabet by any name, and what it does with a text. */
static void spell(struct fuzz_script *script)
{
	uint8_t mac[HP_TOKEN_MAC_LEN] = { 0 };
	uint16_t length = fuzz_take16(script);
	size_t name_len, mac_len;
	hsmpool_bytes text;
	const uint8_t *at = fuzz_take(script, fuzz_take8(script), &name_len);
	char *name = fuzz_text(at, name_len);
	at = fuzz_take(script, sizeof(mac), &mac_len);
	if (mac_len > 0)
		memcpy(mac, at, mac_len);
	text.data = fuzz_take(script, 256, &text.len);
	struct hp_alphabet *alphabet = NULL;
	hsmpool_error err = { 0 };
	hsmpool_status status = hp_alphabet_new(&alphabet, name, &err);
	fuzz_must_explain(status, &err);
	MUST((status == HSMPOOL_OK) == (alphabet != NULL));
	if (alphabet) {
		MUST(hp_alphabet_radix(alphabet) >= 2 &&
		     hp_alphabet_radix(alphabet) <= HP_ALPHABET_MAX);
		write_token(alphabet, length, mac);
		read_text(alphabet, text);
	}
	hp_alphabet_free(&alphabet);
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_script script = { data, len };
	if (fuzz_take8(&script) % 2 == 0)
		encrypt(&script);
	else
		spell(&script);
	return 0;
}
