/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal that top draws on: taken over, and given back as it was.
 *
 * The picture is on the alternate screen, so that what was there before comes back; also
 * when a signal ends the program. Keys are read at once and not shown.
 */
#ifndef CLI_TOP_TERMINAL_H
#define CLI_TOP_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether there is a terminal that understands what is drawn. */
bool top_terminal_is_there(void);
void top_terminal_begin(void);
void top_terminal_end(void);

/* In characters: 80 by 24 if it does not say. */
void top_terminal_size(unsigned *columns, unsigned *rows);

/* Show the lines of text, plain characters only, cut to the size, in place of what is
 * there; row title_row, from 0 on, stands out. */
void top_terminal_draw(const char *text, unsigned title_row);

/*
 * Wait until deadline_ns, a key, another size, or a signal. The key, 0: none of them came
 * (only time passed, or the size is another).
 */
char top_terminal_wait(int64_t deadline_ns);

#endif
