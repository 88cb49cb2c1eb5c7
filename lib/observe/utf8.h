/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it UTF-8? For whatever is written where others read it: lines, labels, records.
 */
#ifndef HP_OBSERVE_UTF8_H
#define HP_OBSERVE_UTF8_H

#include <stddef.h>

/* The length of the well-formed character at text, which ends with a NUL, or 0. C1
 * controls, which terminals obey, count as malformed. */
size_t hp_utf8_length(const char *text);

#endif
