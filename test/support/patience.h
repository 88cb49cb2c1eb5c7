/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long tests wait.
 *
 * A machine that is busy with other things takes seconds for what takes microseconds
 * elsewhere. So no test bounds a time by what the work takes: what ought to happen is
 * awaited for a minute, which only a test that fails waits out, and "at once" means: not
 * the minute that was allowed.
 */
#ifndef TEST_SUPPORT_PATIENCE_H
#define TEST_SUPPORT_PATIENCE_H

#include <stdint.h>

#define TEST_PATIENCE_MS 60000
#define TEST_PATIENCE_NS (INT64_C(1000000) * TEST_PATIENCE_MS)
#define TEST_PATIENCE    hsmpool_deadline_in(TEST_PATIENCE_MS)

#define TEST_AT_ONCE_NS (TEST_PATIENCE_NS / 2)

#endif
