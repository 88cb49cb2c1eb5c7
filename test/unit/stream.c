/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers as bytes, without keys or token: header, recipients, chunk heads, key
 * schedule. The round trips through a token are in test/softhsm.
 */
#include "support/fixture.h"

#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/container.h"
#include "stream/schedule.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text)                                       \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

static const uint8_t wrapped[2048];

static struct hp_recipient aes_recipient(void)
{
	return (struct hp_recipient){
		.type = HP_RECIPIENT_AES_GCM,
		.id = BYTES("\x0a\x0b"),
		.label = BYTES("backup"),
		.check = BYTES("\x01\x02\x03"),
		.wrapped = { wrapped, 60 },
	};
}

static struct hp_recipient rsa_recipient(void)
{
	return (struct hp_recipient){
		.type = HP_RECIPIENT_RSA_OAEP,
		.parameter = HP_OAEP_SHA1,
		.label = BYTES("recovery"),
		.check = { wrapped, 32 },
		.wrapped = { wrapped, 256 },
	};
}

static struct hp_container *new_container(enum hp_container_mode mode)
{
	struct hp_container *c = calloc(1, sizeof(*c));
	assert_non_null(c);
	c->fixed.mode = mode;
	c->fixed.suite = HP_SUITE_AES_256_GCM_SHA_256;
	c->fixed.chunk_size = 65536;
	memset(c->fixed.id, 0xa5, sizeof(c->fixed.id));
	memset(c->fixed.context_hash, 0x5a, sizeof(c->fixed.context_hash));
	if (mode == HP_MODE_ENVELOPE)
		memset(c->fixed.commitment, 0x77, sizeof(c->fixed.commitment));
	return c;
}

/* A whole header, MAC included, malloc()ed to its exact length. */
static uint8_t *make_header(enum hp_container_mode mode, const struct hp_recipient *list,
			    size_t count, size_t *len)
{
	hsmpool_error err;
	struct hp_container *c = new_container(mode);
	assert_ok(hp_container_encode(c, list, count, &err), &err);
	*len = hp_header_len(c);
	uint8_t *header = calloc(1, *len);
	assert_non_null(header);
	memcpy(header, c->raw, c->raw_len);
	free(c);
	return header;
}

static hsmpool_status parse(const uint8_t *bytes, size_t len)
{
	struct hp_container *c = malloc(sizeof(*c));
	size_t used = 0;
	hsmpool_error err = { 0 };
	/* a copy of the exact length, so that a sanitizer sees the first byte too many */
	uint8_t *copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, bytes, len);
	hsmpool_status status = hp_container_parse(copy, len, c, &used, &err);
	if (status != HSMPOOL_OK)
		assert_true(strlen(err.text) > 10);
	free(copy);
	free(c);
	return status;
}

static uint8_t *good_header(size_t *len)
{
	const struct hp_recipient list[] = { aes_recipient(), rsa_recipient() };
	return make_header(HP_MODE_ENVELOPE, list, 2, len);
}

/* ---- the header ---- */

static void a_header_comes_back_as_it_was_written(void **state)
{
	(void)state;
	size_t len, used = 0;
	hsmpool_error err;
	uint8_t *header = good_header(&len);
	struct hp_container *c = malloc(sizeof(*c));
	assert_ok(hp_container_parse(header, len, c, &used, &err), &err);
	assert_int_equal(used, len);
	assert_int_equal(c->fixed.mode, HP_MODE_ENVELOPE);
	assert_int_equal(c->fixed.chunk_size, 65536);
	assert_int_equal(c->fixed.id[15], 0xa5);
	assert_int_equal(c->fixed.context_hash[31], 0x5a);
	assert_int_equal(c->fixed.commitment[0], 0x77);
	assert_int_equal(c->recipients.count, 2);
	const struct hp_recipient *aes = &c->recipients.at[0],
				  *rsa = &c->recipients.at[1];
	assert_int_equal(aes->type, HP_RECIPIENT_AES_GCM);
	assert_int_equal(aes->id.len, 2);
	assert_memory_equal(aes->label.data, "backup", aes->label.len);
	assert_int_equal(aes->wrapped.len, 60);
	assert_int_equal(rsa->parameter, HP_OAEP_SHA1);
	assert_int_equal(rsa->id.len, 0);
	assert_int_equal(rsa->wrapped.len, 256);
	free(c);
	free(header);
}

static void the_fixed_part_is_where_the_document_says(void **state)
{
	(void)state;
	const struct hp_fixed_part fixed = {
		.mode = HP_MODE_DIRECT,
		.suite = 1,
		.chunk_size = 0x00010203,
		.id = { 0xaa },
		.context_hash = { 0xbb },
		.commitment = { 0xcc },
	};
	static const uint8_t start[] = { 0x89, 'H', 'S', 'M', 'P', 13, 10, 26,
					 1,    2,   1,   0,   0,   1,  2,  3 };
	uint8_t bytes[HP_FIXED_LEN];
	hp_fixed_part_encode(&fixed, bytes);
	assert_memory_equal(bytes, start, sizeof(start));
	assert_int_equal(bytes[16], 0xaa);
	assert_int_equal(bytes[32], 0xbb);
	assert_int_equal(bytes[64], 0xcc);
	assert_int_equal(HP_FIXED_LEN, 96);
}

static void a_header_cut_anywhere_is_refused(void **state)
{
	(void)state;
	size_t len;
	uint8_t *header = good_header(&len);
	for (size_t cut = 0; cut < len; cut++)
		assert_status(parse(header, cut), HSMPOOL_ERR_DATA);
	assert_status(parse(header, len), HSMPOOL_OK);
	free(header);
}

static void something_else_is_said_to_be_no_container(void **state)
{
	(void)state;
	static const char *const others[] = {
		"",
		"P",
		"PK\x03\x04 a zip file",
		"\x1f\x8b\x08\x00 a gzip file",
		"-----BEGIN PGP MESSAGE-----\n",
		"age-encryption.org/v1\n-> X25519 abc\n",
		/* a container after a transfer in text mode */
		"\x89HSMP\n\x1a\x01\x01\x01",
	};
	struct hp_container *c = malloc(sizeof(*c));
	for (size_t i = 0; i < HP_ARRAY_LEN(others); i++) {
		hsmpool_error err;
		size_t used;
		assert_status(hp_container_parse((const uint8_t *)others[i],
						 strlen(others[i]), c, &used, &err),
			      HSMPOOL_ERR_DATA);
		assert_non_null(strstr(err.text, "not an hsmpool container"));
	}
	free(c);
}

/* Offset in the fixed part, a value that this version does not know. */
static void a_fixed_part_of_another_kind_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{ 0, 0x09 }, { 7, 0 },  { 8, 0 },  { 8, 2 },    { 9, 0 },  { 9, 3 },
		{ 10, 0 },   { 10, 2 }, { 11, 2 }, { 11, 255 }, { 12, 5 }, { 12, 255 },
	};
	size_t len;
	uint8_t *header = good_header(&len);
	for (size_t i = 0; i < HP_ARRAY_LEN(changes); i++) {
		uint8_t before = header[changes[i].at];
		header[changes[i].at] = changes[i].value;
		assert_status(parse(header, len), HSMPOOL_ERR_DATA);
		header[changes[i].at] = before;
	}
	free(header);
}

static void chunk_sizes_have_bounds_in_each_mode(void **state)
{
	(void)state;
	assert_false(hp_chunk_size_is_valid(HP_MODE_ENVELOPE, 0));
	assert_false(hp_chunk_size_is_valid(HP_MODE_ENVELOPE, 1023));
	assert_true(hp_chunk_size_is_valid(HP_MODE_ENVELOPE, 1024));
	assert_true(hp_chunk_size_is_valid(HP_MODE_ENVELOPE, 67108864));
	assert_false(hp_chunk_size_is_valid(HP_MODE_ENVELOPE, 67108865));
	assert_true(hp_chunk_size_is_valid(HP_MODE_DIRECT, 1048576));
	assert_false(hp_chunk_size_is_valid(HP_MODE_DIRECT, 1048577));
	assert_false(hp_chunk_size_is_valid(HP_MODE_DIRECT, UINT32_MAX));
}

static void a_commitment_in_direct_mode_is_refused(void **state)
{
	(void)state;
	struct hp_recipient direct = aes_recipient();
	direct.type = HP_RECIPIENT_DIRECT;
	direct.wrapped.len = 0;
	size_t len;
	uint8_t *header = make_header(HP_MODE_DIRECT, &direct, 1, &len);
	assert_status(parse(header, len), HSMPOOL_OK);
	header[95] = 1;
	assert_status(parse(header, len), HSMPOOL_ERR_DATA);
	free(header);
}

/* ---- recipients ---- */

static hsmpool_status encode_and_parse(enum hp_container_mode mode,
				       struct hp_recipient recipient)
{
	hsmpool_error err;
	struct hp_container *c = new_container(mode);
	hsmpool_status status = hp_container_encode(c, &recipient, 1, &err);
	free(c);
	return status;
}

static void a_recipient_must_be_as_its_type_says(void **state)
{
	(void)state;
	struct hp_recipient r;
	r = aes_recipient(), r.wrapped.len = 59;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = aes_recipient(), r.parameter = 1;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = aes_recipient(), r.check = (hsmpool_bytes){ wrapped, 4 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = aes_recipient(), r.type = HP_RECIPIENT_AES_KW;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r.wrapped.len = 40;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_OK);
	r = rsa_recipient(), r.parameter = 0;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = rsa_recipient(), r.parameter = 5;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = rsa_recipient(), r.wrapped.len = 255;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
	r = rsa_recipient(), r.check.len = 31;
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_DATA);
}

static void fields_too_long_for_a_header_are_refused(void **state)
{
	(void)state;
	static const uint8_t much[8192];
	struct hp_recipient r;
	r = rsa_recipient(), r.id = (hsmpool_bytes){ much, 65 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_USAGE);
	r = rsa_recipient(), r.label = (hsmpool_bytes){ much, 129 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_USAGE);
	r = rsa_recipient(), r.check = (hsmpool_bytes){ much, 33 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_USAGE);
	r = rsa_recipient(), r.wrapped = (hsmpool_bytes){ much, 4097 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_ERR_USAGE);
}

static void recipients_of_the_other_mode_are_refused(void **state)
{
	(void)state;
	struct hp_recipient direct = aes_recipient();
	direct.type = HP_RECIPIENT_DIRECT;
	direct.wrapped.len = 0;
	assert_status(encode_and_parse(HP_MODE_DIRECT, direct), HSMPOOL_OK);
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, direct), HSMPOOL_ERR_DATA);
	assert_status(encode_and_parse(HP_MODE_DIRECT, aes_recipient()),
		      HSMPOOL_ERR_DATA);
}

static void recipients_of_unknown_types_are_skipped_not_refused(void **state)
{
	(void)state;
	struct hp_recipient r = aes_recipient();
	r.type = 200;
	r.parameter = 9;
	r.wrapped = (hsmpool_bytes){ wrapped, 1500 };
	assert_status(encode_and_parse(HP_MODE_ENVELOPE, r), HSMPOOL_OK);
	assert_false(hp_recipient_is_known(&r));
	assert_status(encode_and_parse(HP_MODE_DIRECT, r), HSMPOOL_ERR_DATA);
}

static void a_container_has_one_to_sixteen_recipients(void **state)
{
	(void)state;
	hsmpool_error err;
	struct hp_recipient list[HP_RECIPIENTS_MAX + 1];
	for (size_t i = 0; i < HP_ARRAY_LEN(list); i++)
		list[i] = aes_recipient();
	struct hp_container *c = new_container(HP_MODE_ENVELOPE);
	assert_status(hp_container_encode(c, list, 0, &err), HSMPOOL_ERR_USAGE);
	assert_status(hp_container_encode(c, list, 16, &err), HSMPOOL_OK);
	assert_status(hp_container_encode(c, list, 17, &err), HSMPOOL_ERR_USAGE);
	free(c);
}

/* Numbers in a header that promise more than there is, or than there may be. */
static void lengths_and_counts_that_lie_are_refused(void **state)
{
	(void)state;
	enum { AT_LENGTH = 96, AT_COUNT = 100, AT_ENTRY = 102, AT_ID = 106 };
	static const uint32_t lengths[] = { 0,     1,     2,         5,
					    65533, 65536, INT32_MAX, UINT32_MAX };
	static const uint16_t counts[] = { 0, 1, 3, 16, 17, 255, 65535 };
	static const uint16_t entries[] = { 0, 1, 7, 65535 };
	size_t len;
	uint8_t *header = good_header(&len);
	uint32_t length = hp_get_be32(header + AT_LENGTH);
	for (size_t i = 0; i < HP_ARRAY_LEN(lengths); i++) {
		hp_put_be32(header + AT_LENGTH, lengths[i]);
		assert_status(parse(header, len), HSMPOOL_ERR_DATA);
	}
	hp_put_be32(header + AT_LENGTH, length);
	for (size_t i = 0; i < HP_ARRAY_LEN(counts); i++) {
		hp_put_be16(header + AT_COUNT, counts[i]);
		assert_status(parse(header, len), HSMPOOL_ERR_DATA);
	}
	hp_put_be16(header + AT_COUNT, 2);
	uint16_t entry = hp_get_be16(header + AT_ENTRY);
	for (size_t i = 0; i < HP_ARRAY_LEN(entries); i++) {
		hp_put_be16(header + AT_ENTRY, entries[i]);
		assert_status(parse(header, len), HSMPOOL_ERR_DATA);
	}
	hp_put_be16(header + AT_ENTRY, entry);
	for (unsigned value = 0; value < 256; value++) {
		header[AT_ID] = (uint8_t)value;
		if (value != 2)
			assert_status(parse(header, len), HSMPOOL_ERR_DATA);
	}
	free(header);
}

/* A xorshift: the same changes at every run. */
static uint32_t next_random(void)
{
	static uint32_t x = 2463534242u;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void damage(uint8_t *bytes, size_t len)
{
	static const uint8_t edges[] = { 0, 1, 2, 16, 17, 127, 128, 254, 255 };
	for (unsigned changes = 1 + next_random() % 4; changes > 0; changes--) {
		/* the recipient part is where the parsing is: most changes go there */
		size_t at = next_random() % 8 == 0 ? next_random() % len
						   : 96 + next_random() % (len - 96);
		bytes[at] = next_random() % 2 ? (uint8_t)next_random()
					      : edges[next_random() % sizeof(edges)];
	}
}

/* Whatever is accepted has one form only: writing it again gives the same bytes. */
static void a_damaged_header_is_refused_or_has_one_reading(void **state)
{
	(void)state;
	size_t len;
	uint8_t *header = good_header(&len);
	uint8_t *bytes = malloc(len);
	struct hp_container *c = calloc(1, sizeof(*c)),
			    *again = calloc(1, sizeof(*again));
	unsigned accepted = 0, refused = 0;
	for (unsigned i = 0; i < 200000; i++) {
		size_t used = 0;
		hsmpool_error err;
		memcpy(bytes, header, len);
		damage(bytes, len);
		if (hp_container_parse(bytes, len, c, &used, &err) != HSMPOOL_OK) {
			refused++;
			continue;
		}
		accepted++;
		again->fixed = c->fixed;
		assert_ok(hp_container_encode(again, c->recipients.at,
					      c->recipients.count, &err),
			  &err);
		assert_int_equal(again->raw_len, c->raw_len);
		assert_memory_equal(again->raw, bytes, again->raw_len);
	}
	assert_true(accepted > 1000 && refused > 1000);
	free(again);
	free(c);
	free(bytes);
	free(header);
}

static void random_bytes_behind_a_true_fixed_part_do_no_harm(void **state)
{
	(void)state;
	size_t len;
	uint8_t *header = good_header(&len);
	uint8_t bytes[600];
	memcpy(bytes, header, HP_FIXED_LEN);
	for (unsigned i = 0; i < 20000; i++) {
		for (size_t at = HP_FIXED_LEN; at < sizeof(bytes); at++)
			bytes[at] = (uint8_t)next_random();
		hp_put_be32(bytes + HP_FIXED_LEN, next_random() % 512);
		hp_put_be16(bytes + HP_FIXED_LEN + 4, (uint16_t)(next_random() % 20));
		(void)!parse(bytes, sizeof(bytes) - next_random() % 100);
	}
	free(header);
}

static void a_recipient_is_described_in_printable_characters(void **state)
{
	(void)state;
	struct hp_recipient r = aes_recipient();
	char text[200];
	hp_recipient_describe(&r, text, sizeof(text));
	assert_string_equal(text, "aes key label='backup' id=0a0b check=010203");
	r.label = (hsmpool_bytes)BYTES("\x1b[2J\nkey 'x'\xff\\");
	hp_recipient_describe(&r, text, sizeof(text));
	assert_string_equal(text,
			    "aes key label='\\x1b[2J\\x0akey \\x27x\\x27\\xff\\x5c' "
			    "id=0a0b check=010203");
}

static void descriptions_never_outgrow_their_buffer(void **state)
{
	(void)state;
	struct hp_recipient_list list = { .count = HP_RECIPIENTS_MAX };
	for (size_t i = 0; i < list.count; i++)
		list.at[i] = aes_recipient();
	for (size_t cap = 1; cap < 400; cap++) {
		char *text = malloc(cap);
		hp_recipients_describe(&list, text, cap);
		assert_true(strlen(text) < cap);
		free(text);
	}
}

/* ---- chunks ---- */

static hsmpool_status check_head_in(const struct hp_fixed_part *fixed, uint32_t flags,
				    uint32_t plain, uint32_t body, uint64_t index)
{
	struct hp_chunk_head head;
	hsmpool_error err;
	uint8_t bytes[HP_CHUNK_HEAD_LEN];
	bytes[0] = (uint8_t)flags;
	hp_put_be32(bytes + 1, plain);
	hp_put_be32(bytes + 5, body);
	return hp_chunk_head_decode(bytes, fixed, index, &head, &err);
}

static hsmpool_status check_head(uint32_t flags, uint32_t plain, uint32_t body,
				 uint64_t index, enum hp_container_mode mode)
{
	const struct hp_fixed_part fixed = { .mode = mode,
					     .suite = 1,
					     .chunk_size = 4096 };
	return check_head_in(&fixed, flags, plain, body, index);
}

static void chunk_heads_must_keep_the_rules(void **state)
{
	(void)state;
	static const struct {
		uint32_t flags, plain, body;
		uint64_t index;
		hsmpool_status expected;
	} heads[] = {
		{ 0, 4096, 4096, 0, HSMPOOL_OK },
		{ 1, 4096, 4096, 0, HSMPOOL_OK },
		{ 1, 0, 0, 0, HSMPOOL_OK },
		{ 1, 1, 1, 7, HSMPOOL_OK },
		{ 1, 0, 0, 1, HSMPOOL_ERR_DATA },       /* empty, but not the only one */
		{ 0, 4095, 4095, 0, HSMPOOL_ERR_DATA }, /* short, but not the last */
		{ 0, 0, 0, 0, HSMPOOL_ERR_DATA },
		{ 1, 4097, 4097, 0, HSMPOOL_ERR_DATA }, /* longer than a chunk */
		{ 1, 10, 11, 0, HSMPOOL_ERR_DATA },     /* lengths that disagree */
		{ 1, 10, 9, 0, HSMPOOL_ERR_DATA },
		{ 1, 10, UINT32_MAX, 0, HSMPOOL_ERR_DATA },
		{ 3, 10, 9, 0, HSMPOOL_ERR_DATA },      /* compressed, in compression 0 */
		{ 4, 4096, 4096, 0, HSMPOOL_ERR_DATA }, /* unknown flags */
		{ 0x81, 10, 10, 0, HSMPOOL_ERR_DATA },
	};
	for (size_t i = 0; i < HP_ARRAY_LEN(heads); i++)
		assert_status(check_head(heads[i].flags, heads[i].plain, heads[i].body,
					 heads[i].index, HP_MODE_ENVELOPE),
			      heads[i].expected);
}

static void heads_of_compressed_chunks_must_keep_the_rules(void **state)
{
	(void)state;
	static const struct {
		uint32_t flags, plain, body;
		hsmpool_status expected;
	} heads[] = {
		{ 2, 4096, 4095, HSMPOOL_OK },
		{ 3, 10, 9, HSMPOOL_OK },
		{ 3, 10, 1, HSMPOOL_OK },
		{ 2, 4096, 4, HSMPOOL_OK },
		{ 0, 4096, 4096, HSMPOOL_OK }, /* it need not be compressed */
		{ 1, 0, 0, HSMPOOL_OK },
		{ 2, 4096, 3, HSMPOOL_ERR_DATA }, /* less than a 1024th */
		{ 3, 1025, 1, HSMPOOL_ERR_DATA },
		{ 3, 10, 0, HSMPOOL_ERR_DATA },
		{ 3, 0, 0, HSMPOOL_ERR_DATA },
		{ 2, 4096, 4096, HSMPOOL_ERR_DATA }, /* not shorter */
		{ 2, 4096, 4097, HSMPOOL_ERR_DATA },
		{ 2, 4095, 100, HSMPOOL_ERR_DATA }, /* short, but not the last */
		{ 3, 4097, 100, HSMPOOL_ERR_DATA },
		{ 0, 4096, 100, HSMPOOL_ERR_DATA }, /* not said to be */
		{ 6, 4096, 100, HSMPOOL_ERR_DATA },
	};
	const struct hp_fixed_part fixed = { .mode = HP_MODE_ENVELOPE,
					     .suite = 1,
					     .compression = HP_COMPRESSION_ZSTD,
					     .chunk_size = 4096 };
	for (size_t i = 0; i < HP_ARRAY_LEN(heads); i++)
		assert_status(check_head_in(&fixed, heads[i].flags, heads[i].plain,
					    heads[i].body, 0),
			      heads[i].expected);
}

static void chunks_beyond_the_limit_are_refused(void **state)
{
	(void)state;
	assert_true(hp_chunk_limit(HP_MODE_DIRECT, 1024) == UINT64_C(1) << 24);
	assert_true(hp_chunk_limit(HP_MODE_ENVELOPE, 1024) == UINT64_C(1) << 32);
	assert_true(hp_chunk_limit(HP_MODE_ENVELOPE, 1 << 20) == UINT64_C(1) << 32);
	assert_true(hp_chunk_limit(HP_MODE_ENVELOPE, 64 << 20) == UINT64_C(1) << 26);
	uint64_t last = (UINT64_C(1) << 24) - 1;
	assert_status(check_head(0, 4096, 4096, last - 1, HP_MODE_DIRECT), HSMPOOL_OK);
	assert_status(check_head(1, 4096, 4096, last, HP_MODE_DIRECT), HSMPOOL_OK);
	assert_status(check_head(0, 4096, 4096, last, HP_MODE_DIRECT), HSMPOOL_ERR_DATA);
	assert_status(check_head(1, 1, 1, last + 1, HP_MODE_DIRECT), HSMPOOL_ERR_DATA);
}

/* ---- keys and hashes ---- */

static void a_context_is_hashed_with_the_container_id(void **state)
{
	(void)state;
	static const uint8_t zero[HP_HASH_LEN];
	uint8_t id[HP_CONTAINER_ID_LEN] = { 1 }, other[HP_CONTAINER_ID_LEN] = { 2 };
	uint8_t a[HP_HASH_LEN], b[HP_HASH_LEN], expected[HP_HASH_LEN];
	hsmpool_error err;
	assert_ok(hp_context_hash(id, NULL, a, &err), &err);
	assert_memory_equal(a, zero, sizeof(a));
	assert_ok(hp_context_hash(id, "", a, &err), &err);
	assert_memory_not_equal(a, zero, sizeof(a));
	assert_ok(hp_context_hash(id, "payroll", a, &err), &err);
	assert_ok(hp_context_hash(other, "payroll", b, &err), &err);
	assert_memory_not_equal(a, b, sizeof(a));
	uint8_t whole[19 + 16 + 7] = "hsmpool v1 context";
	memcpy(whole + 19, id, 16);
	memcpy(whole + 35, "payroll", 7);
	SHA256(whole, sizeof(whole), expected);
	assert_memory_equal(a, expected, sizeof(a));
}

/* Keys of docs/format.md, section 10. */
static void the_key_schedule_is_the_documented_one(void **state)
{
	(void)state;
	static const char bound[] =
		"8948534d500d0a1a0101010000000400e12dbc28182b5f0f51fef84b21b23b8d"
		"a7b7f825fd75ea03a80a216c6b702a2b6d235bdd43135beffe505d44a1c106ca";
	static const char data[] =
		"0ffe5d5736f2e9294ed77fbb36319b737e58cb86676a18f3d1ea6514b4074f84";
	struct hp_container *c = calloc(1, sizeof(*c));
	struct hp_keys keys;
	char hex[65];
	size_t len;
	hsmpool_error err;
	assert_true(hp_hex_decode(bound, c->raw, HP_BOUND_LEN, &len));
	memcpy(c->fixed.id, c->raw + 16, HP_CONTAINER_ID_LEN);
	assert_true(hp_hex_decode(data, keys.data, sizeof(keys.data), &len));
	assert_ok(hp_keys_derive(&keys, c, &err), &err);
	hp_hex_encode(keys.payload, 32, hex);
	assert_string_equal(
		hex, "0a0d9a1c303e5e2bfdb2ef49cefb9e976e35476ab3e3a8ec72f35ec4afc48d14");
	hp_hex_encode(keys.header, 32, hex);
	assert_string_equal(
		hex, "f5f50760eefbf598da9edfe2d0c81eac0e6fda9fd3dc1dd29e194f6919e080b2");
	hp_hex_encode(keys.commitment, 32, hex);
	assert_string_equal(
		hex, "583d83cefccf279e09dc9913c38cf0edfa509353a18bc880ab2f63e661b9eade");
	memcpy(c->fixed.commitment, keys.commitment, HP_HASH_LEN);
	assert_true(hp_keys_are_committed(&keys, c));
	c->fixed.commitment[31] ^= 1;
	assert_false(hp_keys_are_committed(&keys, c));
	free(c);
}

/* Two bound parts that differ in a byte share no key. */
static void every_bound_byte_changes_every_key(void **state)
{
	(void)state;
	struct hp_container *c = new_container(HP_MODE_ENVELOPE);
	struct hp_keys keys = { .data = { 1 } }, other = { .data = { 1 } };
	hsmpool_error err;
	hp_fixed_part_encode(&c->fixed, c->raw);
	assert_ok(hp_keys_derive(&keys, c, &err), &err);
	for (size_t at = 0; at < HP_BOUND_LEN; at++) {
		c->raw[at] ^= 1;
		assert_ok(hp_keys_derive(&other, c, &err), &err);
		assert_memory_not_equal(keys.payload, other.payload, 32);
		assert_memory_not_equal(keys.commitment, other.commitment, 32);
		assert_memory_not_equal(keys.header, other.header, 32);
		c->raw[at] ^= 1;
	}
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_comes_back_as_it_was_written),
		cmocka_unit_test(the_fixed_part_is_where_the_document_says),
		cmocka_unit_test(a_header_cut_anywhere_is_refused),
		cmocka_unit_test(something_else_is_said_to_be_no_container),
		cmocka_unit_test(a_fixed_part_of_another_kind_is_refused),
		cmocka_unit_test(chunk_sizes_have_bounds_in_each_mode),
		cmocka_unit_test(a_commitment_in_direct_mode_is_refused),
		cmocka_unit_test(a_recipient_must_be_as_its_type_says),
		cmocka_unit_test(fields_too_long_for_a_header_are_refused),
		cmocka_unit_test(recipients_of_the_other_mode_are_refused),
		cmocka_unit_test(recipients_of_unknown_types_are_skipped_not_refused),
		cmocka_unit_test(a_container_has_one_to_sixteen_recipients),
		cmocka_unit_test(lengths_and_counts_that_lie_are_refused),
		cmocka_unit_test(a_damaged_header_is_refused_or_has_one_reading),
		cmocka_unit_test(random_bytes_behind_a_true_fixed_part_do_no_harm),
		cmocka_unit_test(a_recipient_is_described_in_printable_characters),
		cmocka_unit_test(descriptions_never_outgrow_their_buffer),
		cmocka_unit_test(chunk_heads_must_keep_the_rules),
		cmocka_unit_test(heads_of_compressed_chunks_must_keep_the_rules),
		cmocka_unit_test(chunks_beyond_the_limit_are_refused),
		cmocka_unit_test(a_context_is_hashed_with_the_container_id),
		cmocka_unit_test(the_key_schedule_is_the_documented_one),
		cmocka_unit_test(every_bound_byte_changes_every_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
