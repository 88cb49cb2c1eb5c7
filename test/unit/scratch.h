/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary folder for a test program, and files in it. What cannot be set up aborts
 * the program: no test goes on without its ground.
 */
#ifndef TEST_UNIT_SCRATCH_H
#define TEST_UNIT_SCRATCH_H

#include <stddef.h>
#include <sys/types.h>

/* The folder; made at the first call, removed with its files by scratch_remove(). */
const char *scratch_dir(void);
void scratch_remove(void);

/* The path of a file in the folder; one of a few static buffers. */
const char *scratch_path(const char *name);

/* Write a whole file with exactly this mode, in place of an older one; its path. */
const char *scratch_write(const char *name, const void *data, size_t len, mode_t mode);

/* The same with a text and mode 0600. */
const char *scratch_text(const char *name, const char *text);

/* A whole file as a text, at most size - 1 bytes. */
void scratch_read(const char *name, char *to, size_t size);

#endif
