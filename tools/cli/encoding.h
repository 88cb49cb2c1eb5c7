/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short binary results as text and back: --format raw|hex|base64.
 */
#ifndef CLI_ENCODING_H
#define CLI_ENCODING_H

#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "output.h"

enum encoding { ENCODING_DEFAULT, ENCODING_RAW, ENCODING_HEX, ENCODING_BASE64 };

#define CLI_OPTION_FORMAT                                            \
	{                                                            \
		"format", CLI_FORMAT, "FORMAT", "raw, hex or base64" \
	}

hsmpool_status encoding_parse(const char *text, enum encoding *encoding,
			      hsmpool_error *err);
const char *encoding_name(enum encoding encoding);

/* malloc()ed text, NULL: no memory. Not for RAW. */
char *encoding_encode(enum encoding encoding, const uint8_t *data, size_t len);

/* Write data so encoded, a newline after text. DEFAULT is raw, hex on a terminal. */
hsmpool_status encoding_write(struct output *out, enum encoding encoding,
			      const uint8_t *data, size_t len, hsmpool_error *err);

/*
 * How sign, mac, random and wrap end: write data to out and commit it. With --json, and
 * no file named, an object with name (encoded; base64 unless told) and scheme (NULL:
 * none) is printed instead.
 */
struct cli;
hsmpool_status encoding_write_result(const struct cli *cli, struct output *out,
				     enum encoding encoding, const char *name,
				     const char *scheme, const uint8_t *data, size_t len,
				     hsmpool_error *err);

/* Undo it, in place; white space around text is skipped. DATA if it is not that. name
 * is for the message. */
hsmpool_status encoding_decode(enum encoding encoding, uint8_t *data, size_t *len,
			       const char *name, hsmpool_error *err);

#endif
