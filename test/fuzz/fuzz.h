/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput(): it
 * gives the bytes to one parser and checks what must be true of the answer, whatever
 * the bytes are. It is linked twice: with replay.c, which runs the seeds in the default
 * suite, and with libFuzzer (option fuzz), which makes new ones.
 *
 * A target must not keep anything from one input to the next that changes an answer.
 */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>

/* libFuzzer's interface. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must be true; ends the program, in every build. */
#define MUST(condition) \
	((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
__attribute__((noreturn)) void fuzz_fail(const char *condition, const char *file,
					 int line);

/* OK without a text, or another status with one line that can be printed. */
void fuzz_must_explain(hsmpool_status status, const hsmpool_error *err);

/* The bytes up to the first zero as a text of their own, malloc()ed to its exact
 * length: a sanitizer sees the first byte too many. */
char *fuzz_text(const uint8_t *data, size_t len);

/* Bytes copied to a place of their exact length; NULL for none. */
uint8_t *fuzz_copy(const uint8_t *data, size_t len);

/* The input as a script, taken from the front. At its end there are zeros. */
struct fuzz_script {
	const uint8_t *at;
	size_t left;
};
uint8_t fuzz_take8(struct fuzz_script *script);
uint16_t fuzz_take16(struct fuzz_script *script);
/* At most len bytes; *taken says how many. */
const uint8_t *fuzz_take(struct fuzz_script *script, size_t len, size_t *taken);

#endif
