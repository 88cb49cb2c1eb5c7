/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw, hex, base64: see encoding.h. Base64 is OpenSSL's, on one line.
 */
#include "encoding.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "cli.h"

static const char *const encoding_names[] = {
	[ENCODING_DEFAULT] = "default",
	[ENCODING_RAW] = "raw",
	[ENCODING_HEX] = "hex",
	[ENCODING_BASE64] = "base64",
};

hsmpool_status encoding_parse(const char *text, enum encoding *encoding,
			      hsmpool_error *err)
{
	for (int i = ENCODING_RAW; i <= ENCODING_BASE64; i++) {
		if (strcmp(text, encoding_names[i]) == 0) {
			*encoding = (enum encoding)i;
			return HSMPOOL_OK;
		}
	}
	return hp_fail(err, HSMPOOL_ERR_USAGE, "--format is raw, hex or base64, not '%s'",
		       text);
}

const char *encoding_name(enum encoding encoding)
{
	return encoding_names[encoding];
}

char *encoding_encode(enum encoding encoding, const uint8_t *data, size_t len)
{
	size_t cap;
	char *text;

	if (len > INT32_MAX / 2 || !hp_size_mul(len, 2, &cap))
		return NULL;
	text = malloc(cap + 5);
	if (!text)
		return NULL;
	if (encoding == ENCODING_BASE64)
		EVP_EncodeBlock((unsigned char *)text, data, (int)len);
	else
		hp_hex_encode(data, len, text);
	return text;
}

static hsmpool_status write_text(struct output *out, const char *text, hsmpool_error *err)
{
	HP_TRY(output_write(out, text, strlen(text), err));
	return output_write(out, "\n", 1, err);
}

hsmpool_status encoding_write(struct output *out, enum encoding encoding,
			      const uint8_t *data, size_t len, hsmpool_error *err)
{
	char *text;
	hsmpool_status status;

	if (encoding == ENCODING_DEFAULT)
		encoding = output_is_terminal(out) ? ENCODING_HEX : ENCODING_RAW;
	if (encoding == ENCODING_RAW)
		return output_write(out, data, len, err);
	text = encoding_encode(encoding, data, len);
	HP_CHECK(text, err, HSMPOOL_ERR_SYSTEM, "no memory to print %zu bytes", len);
	status = write_text(out, text, err);
	hp_wipe_and_free(text);
	return status;
}

/* By hand: what json-c and stdio print is left in their memory. Nothing here needs an
 * escape. */
static hsmpool_status write_object(struct output *out, enum encoding encoding,
				   const char *name, const char *scheme, const char *text,
				   hsmpool_error *err)
{
	char head[200];
	int len =
		snprintf(head, sizeof(head), "{\n%s%s%s  \"format\":\"%s\",\n  \"%s\":\"",
			 scheme ? "  \"scheme\":\"" : "", scheme ? scheme : "",
			 scheme ? "\",\n" : "", encoding_names[encoding], name);

	HP_CHECK(len > 0 && (size_t)len < sizeof(head), err, HSMPOOL_ERR_USAGE,
		 "the scheme's name is too long");
	HP_TRY(output_write(out, head, (size_t)len, err));
	HP_TRY(output_write(out, text, strlen(text), err));
	return output_write(out, "\"\n}\n", 4, err);
}

static hsmpool_status print_object(struct output *out, enum encoding encoding,
				   const char *name, const char *scheme,
				   const uint8_t *data, size_t len, hsmpool_error *err)
{
	char *text;
	hsmpool_status status;

	if (encoding == ENCODING_DEFAULT || encoding == ENCODING_RAW)
		encoding = ENCODING_BASE64;
	text = encoding_encode(encoding, data, len);
	HP_CHECK(text, err, HSMPOOL_ERR_SYSTEM, "no memory to print %zu bytes", len);
	status = write_object(out, encoding, name, scheme, text, err);
	hp_wipe_and_free(text);
	return status;
}

hsmpool_status encoding_write_result(const struct cli *cli, struct output *out,
				     enum encoding encoding, const char *name,
				     const char *scheme, const uint8_t *data, size_t len,
				     hsmpool_error *err)
{
	if (cli->is_json && !out->path)
		return print_object(out, encoding, name, scheme, data, len, err);
	HP_TRY(encoding_write(out, encoding, data, len, err));
	return output_commit(out, err);
}

/* White space at both ends is no part of a text. */
static size_t trim(uint8_t *data, size_t len)
{
	size_t start = 0;

	while (len > 0 && isspace(data[len - 1]))
		len--;
	while (start < len && isspace(data[start]))
		start++;
	memmove(data, data + start, len - start);
	return len - start;
}

static bool decode_hex(const char *text, uint8_t *data, size_t *len)
{
	return strlen(text) == *len && hp_hex_decode(text, data, *len, len);
}

static bool decode_base64(const char *text, uint8_t *data, size_t *len)
{
	size_t padding = 0;
	int got;

	if (*len > INT32_MAX)
		return false;
	while (padding < 2 && padding < *len && text[*len - 1 - padding] == '=')
		padding++;
	got = EVP_DecodeBlock(data, (const unsigned char *)text, (int)*len);
	if (got < 0 || (size_t)got < padding)
		return false;
	*len = (size_t)got - padding;
	return true;
}

/* Through a copy that is wiped: it may be a secret key. */
static bool decode_text(enum encoding encoding, uint8_t *data, size_t *len)
{
	size_t text_len = trim(data, *len);
	char *text = malloc(text_len + 1);
	bool is_good;

	if (!text)
		return false;
	memcpy(text, data, text_len);
	text[text_len] = '\0';
	*len = text_len;
	is_good = encoding == ENCODING_HEX ? decode_hex(text, data, len)
					   : decode_base64(text, data, len);
	hp_wipe(text, text_len);
	free(text);
	return is_good;
}

hsmpool_status encoding_decode(enum encoding encoding, uint8_t *data, size_t *len,
			       const char *name, hsmpool_error *err)
{
	bool is_text = encoding == ENCODING_HEX || encoding == ENCODING_BASE64;

	HP_CHECK(!is_text || decode_text(encoding, data, len), err, HSMPOOL_ERR_DATA,
		 "%s is not %s", name, encoding_names[encoding]);
	return HSMPOOL_OK;
}
