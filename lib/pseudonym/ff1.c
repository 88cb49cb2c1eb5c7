/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ff1.h. Algorithms 7 and 8 of NIST SP 800-38G; names in quotes are the standard's.
 *
 * The halves "A" and "B" stay numbers through all rounds. "P" and the beginning of "Q" do
 * not change as long as values have the same length: the CBC-MAC over their blocks is
 * made once per length, so that a round of a short value takes one block of AES.
 */
#include "pseudonym/ff1.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"

enum {
	ROUNDS = 10,
	BLOCK = 16,
	HALF_MAX = HP_FF1_LENGTH_MAX / 2, /* numerals */
	NUMBER_MAX = 2 * HALF_MAX,        /* bytes of a half's number */
	STREAM_MAX = NUMBER_MAX + 8 + BLOCK
};

struct hp_ff1 {
	EVP_CIPHER_CTX *aes; /* ECB */
	BN_CTX *scratch;
	BIGNUM *a, *b; /* the halves as numbers */
	BIGNUM *mask;  /* "y" */
	uint32_t radix;
	/* What follows from the number of numerals. */
	size_t count;       /* "n"; 0: none yet */
	size_t left;        /* "u", numerals of the left half */
	size_t number_len;  /* "b", bytes of a half's number */
	size_t mask_len;    /* "d" */
	BIGNUM *modulus[2]; /* of even and odd rounds: radix^u, radix^v */
	uint8_t mac[BLOCK]; /* CBC-MAC of "P" and of q before tail */
	uint8_t *tail;      /* in q: the blocks from that of the round's number on */
	size_t tail_len;
	uint8_t *round; /* in q: the round's number, a half's number behind it */
	uint8_t stream[STREAM_MAX]; /* "S" */
	size_t tweak_len;
	uint8_t q[]; /* "Q": tweak, zeros, the round's number, a half's number */
};

/* ---- AES ---- */

static bool encrypt_block(struct hp_ff1 *f, const uint8_t in[BLOCK], uint8_t out[BLOCK])
{
	int len = 0;
	return EVP_EncryptUpdate(f->aes, out, &len, in, BLOCK) == 1 && len == BLOCK;
}

/* "PRF", going on from mac. */
static bool mac_blocks(struct hp_ff1 *f, uint8_t mac[BLOCK], const uint8_t *data,
		       size_t len)
{
	bool is_ok = true;
	for (size_t at = 0; is_ok && at < len; at += BLOCK) {
		for (size_t i = 0; i < BLOCK; i++)
			mac[i] ^= data[at + i];
		is_ok = encrypt_block(f, mac, mac);
	}
	return is_ok;
}

/* ---- what follows from the length ---- */

static bool set_power(BIGNUM *power, uint32_t radix, size_t exponent)
{
	bool is_ok = BN_one(power) == 1;
	for (size_t i = 0; is_ok && i < exponent; i++)
		is_ok = BN_mul_word(power, radix) == 1;
	return is_ok;
}

/* The numbers of the longer half are those below its modulus. */
static bool measure_numbers(struct hp_ff1 *f)
{
	if (!BN_copy(f->mask, f->modulus[1]) || BN_sub_word(f->mask, 1) != 1)
		return false;
	f->number_len = (size_t)BN_num_bytes(f->mask);
	f->mask_len = (f->number_len + 3) / 4 * 4 + 4;
	return true;
}

static void lay_out_q(struct hp_ff1 *f)
{
	size_t used = f->tweak_len + 1 + f->number_len;
	size_t zeros = (BLOCK - used % BLOCK) % BLOCK;
	memset(f->q + f->tweak_len, 0, zeros);
	f->round = f->q + f->tweak_len + zeros;
	f->tail = f->q + (f->tweak_len + zeros) / BLOCK * BLOCK;
	f->tail_len = (size_t)(f->round - f->tail) + 1 + f->number_len;
}

static bool begin_mac(struct hp_ff1 *f)
{
	uint8_t p[BLOCK] = { 1, 2, 1 };
	p[3] = (uint8_t)(f->radix >> 16);
	hp_put_be16(p + 4, (uint16_t)f->radix);
	p[6] = ROUNDS;
	p[7] = (uint8_t)f->left;
	hp_put_be32(p + 8, (uint32_t)f->count);
	hp_put_be32(p + 12, (uint32_t)f->tweak_len);
	memset(f->mac, 0, sizeof(f->mac));
	return mac_blocks(f, f->mac, p, BLOCK) &&
	       mac_blocks(f, f->mac, f->q, (size_t)(f->tail - f->q));
}

static bool prepare(struct hp_ff1 *f, size_t count)
{
	if (f->count == count)
		return true;
	f->count = 0; /* until all of it is done */
	f->left = count / 2;
	if (!set_power(f->modulus[0], f->radix, f->left) ||
	    !set_power(f->modulus[1], f->radix, count - f->left) || !measure_numbers(f))
		return false;
	lay_out_q(f);
	f->count = count;
	if (!begin_mac(f))
		f->count = 0;
	return f->count == count;
}

/* ---- numerals and numbers ---- */

/* "NUM" */
static bool read_number(BIGNUM *number, const uint16_t *numerals, size_t count,
			uint32_t radix)
{
	BN_zero(number);
	bool is_ok = true;
	for (size_t i = 0; is_ok && i < count; i++)
		is_ok = BN_mul_word(number, radix) == 1 &&
			BN_add_word(number, numerals[i]) == 1;
	return is_ok;
}

/* "STR"; number becomes 0. */
static bool write_number(BIGNUM *number, uint16_t *numerals, size_t count, uint32_t radix)
{
	for (size_t i = count; i > 0; i--) {
		BN_ULONG numeral = BN_div_word(number, radix);
		if (numeral >= radix)
			return false; /* its way to fail */
		numerals[i - 1] = (uint16_t)numeral;
	}
	return true;
}

/* ---- rounds ---- */

/* "S": R, then R xor 1, R xor 2, ... encrypted, as long as the mask. */
static bool make_stream(struct hp_ff1 *f)
{
	uint8_t block[BLOCK];
	memcpy(f->stream, f->mac, BLOCK);
	bool is_ok = mac_blocks(f, f->stream, f->tail, f->tail_len);
	for (size_t at = BLOCK; is_ok && at < f->mask_len; at += BLOCK) {
		memcpy(block, f->stream, BLOCK);
		hp_put_be32(block + 12, hp_get_be32(block + 12) ^ (uint32_t)(at / BLOCK));
		is_ok = encrypt_block(f, block, f->stream + at);
	}
	return is_ok;
}

/* The mask "y" of a round, made of the half b. */
static bool make_mask(struct hp_ff1 *f, unsigned round)
{
	*f->round = (uint8_t)round;
	return BN_bn2binpad(f->b, f->round + 1, (int)f->number_len) >= 0 &&
	       make_stream(f) && BN_bin2bn(f->stream, (int)f->mask_len, f->mask);
}

static bool encrypt_round(struct hp_ff1 *f, unsigned round)
{
	bool is_ok = make_mask(f, round) && BN_add(f->a, f->a, f->mask) == 1 &&
		     BN_nnmod(f->a, f->a, f->modulus[round % 2], f->scratch) == 1;
	BN_swap(f->a, f->b);
	return is_ok;
}

static bool decrypt_round(struct hp_ff1 *f, unsigned round)
{
	BN_swap(f->a, f->b);
	return make_mask(f, round) && BN_sub(f->a, f->a, f->mask) == 1 &&
	       BN_nnmod(f->a, f->a, f->modulus[round % 2], f->scratch) == 1;
}

static hsmpool_status run(struct hp_ff1 *f, uint16_t *numerals, size_t count,
			  bool is_reverse, hsmpool_error *err)
{
	assert(count >= hp_ff1_length_min(f->radix) && count <= HP_FF1_LENGTH_MAX);
	bool is_ok = prepare(f, count);
	uint16_t *right = numerals + f->left;
	is_ok = is_ok && read_number(f->a, numerals, f->left, f->radix) &&
		read_number(f->b, right, count - f->left, f->radix);
	for (unsigned i = 0; is_ok && i < ROUNDS; i++)
		is_ok = is_reverse ? decrypt_round(f, ROUNDS - 1 - i)
				   : encrypt_round(f, i);
	is_ok = is_ok && write_number(f->a, numerals, f->left, f->radix) &&
		write_number(f->b, right, count - f->left, f->radix);
	HP_CHECK(is_ok, err, HSMPOOL_ERR_SYSTEM,
		 "OpenSSL failed within FF1: no memory for its numbers?");
	return HSMPOOL_OK;
}

hsmpool_status hp_ff1_encrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count,
			      hsmpool_error *err)
{
	return run(ff1, numerals, count, false, err);
}

hsmpool_status hp_ff1_decrypt(struct hp_ff1 *ff1, uint16_t *numerals, size_t count,
			      hsmpool_error *err)
{
	return run(ff1, numerals, count, true, err);
}

/* ---- life ---- */

size_t hp_ff1_length_min(uint32_t radix)
{
	size_t length = 1;
	for (uint64_t texts = radix; texts < HP_FF1_TEXTS_MIN || length < 2; length++)
		texts *= radix;
	return length;
}

static bool make_numbers(struct hp_ff1 *f)
{
	f->scratch = BN_CTX_new();
	f->a = BN_new();
	f->b = BN_new();
	f->mask = BN_new();
	f->modulus[0] = BN_new();
	f->modulus[1] = BN_new();
	return f->scratch && f->a && f->b && f->mask && f->modulus[0] && f->modulus[1];
}

static bool begin_aes(struct hp_ff1 *f, const uint8_t *key, size_t key_len)
{
	const EVP_CIPHER *cipher = key_len == 16   ? EVP_aes_128_ecb()
				   : key_len == 24 ? EVP_aes_192_ecb()
						   : EVP_aes_256_ecb();
	assert(key_len == 16 || key_len == 24 || key_len == 32);
	f->aes = EVP_CIPHER_CTX_new();
	return f->aes && EVP_EncryptInit_ex(f->aes, cipher, NULL, key, NULL) == 1 &&
	       EVP_CIPHER_CTX_set_padding(f->aes, 0) == 1;
}

hsmpool_status hp_ff1_new(struct hp_ff1 **out, const uint8_t *key, size_t key_len,
			  uint32_t radix, hsmpool_bytes tweak, hsmpool_error *err)
{
	assert(radix >= HP_FF1_RADIX_MIN && radix <= HP_FF1_RADIX_MAX);
	*out = NULL;
	struct hp_ff1 *f = calloc(1, sizeof(*f) + tweak.len + BLOCK + 1 + NUMBER_MAX);
	HP_CHECK(f, err, HSMPOOL_ERR_SYSTEM, "no memory for FF1");
	f->radix = radix;
	f->tweak_len = tweak.len;
	if (tweak.len > 0)
		memcpy(f->q, tweak.data, tweak.len);
	if (!make_numbers(f) || !begin_aes(f, key, key_len)) {
		hp_ff1_free(&f);
		return hp_fail(err, HSMPOOL_ERR_SYSTEM,
			       "OpenSSL cannot do AES here: check its configuration "
			       "(openssl.cnf)");
	}
	*out = f;
	return HSMPOOL_OK;
}

void hp_ff1_free(struct hp_ff1 **ff1)
{
	struct hp_ff1 *old = hp_take(ff1);
	if (!old)
		return;
	EVP_CIPHER_CTX_free(old->aes);
	BN_clear_free(old->a);
	BN_clear_free(old->b);
	BN_clear_free(old->mask);
	BN_free(old->modulus[0]);
	BN_free(old->modulus[1]);
	BN_CTX_free(old->scratch);
	hp_wipe_and_free(old);
}
