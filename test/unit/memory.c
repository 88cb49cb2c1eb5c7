/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, cleanup, integers, hex and the output rule: base/memory.c. */
#include "support/fixture.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void sizes_that_overflow_are_refused_and_leave_the_result(void **state)
{
	(void)state;
	size_t result = 7;
	assert_false(hp_size_add(SIZE_MAX, 1, &result));
	assert_false(hp_size_mul(SIZE_MAX / 2 + 1, 2, &result));
	assert_int_equal(result, 7);
	assert_true(hp_size_add(SIZE_MAX - 1, 1, &result));
	assert_true(result == SIZE_MAX);
	assert_true(hp_size_mul(6, 7, &result));
	assert_int_equal(result, 42);
}

static void integers_are_big_endian(void **state)
{
	(void)state;
	uint8_t bytes[8];
	hp_put_be64(bytes, UINT64_C(0x0102030405060708));
	const uint8_t expected[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	assert_memory_equal(bytes, expected, 8);
	assert_true(hp_get_be64(bytes) == UINT64_C(0x0102030405060708));
	assert_int_equal(hp_get_be32(bytes), 0x01020304);
	assert_int_equal(hp_get_be16(bytes), 0x0102);
	hp_put_be32(bytes, UINT32_MAX);
	assert_true(hp_get_be32(bytes) == UINT32_MAX);
	hp_put_be16(bytes, 0xfffe);
	assert_int_equal(hp_get_be16(bytes), 0xfffe);
}

static void bytes_that_touch_do_not_overlap(void **state)
{
	(void)state;
	uint8_t bytes[8] = { 0 };
	assert_true(hp_bytes_overlap(bytes, 8, bytes, 8));
	assert_true(hp_bytes_overlap(bytes, 8, bytes + 3, 2));
	assert_true(hp_bytes_overlap(bytes + 3, 2, bytes, 4));
	assert_false(hp_bytes_overlap(bytes, 4, bytes + 4, 4));
	assert_false(hp_bytes_overlap(bytes + 4, 4, bytes, 4));
	assert_false(hp_bytes_overlap(bytes + 2, 0, bytes, 8));
	assert_false(hp_bytes_overlap(NULL, 0, bytes, 8));
}

static void hex_comes_back_as_it_went(void **state)
{
	(void)state;
	uint8_t bytes[256];
	uint8_t back[256];
	char text[513];
	size_t len = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	hp_hex_encode(bytes, sizeof(bytes), text);
	assert_int_equal(strlen(text), 512);
	assert_true(hp_hex_decode(text, back, sizeof(back), &len));
	assert_int_equal(len, sizeof(bytes));
	assert_memory_equal(bytes, back, sizeof(bytes));
	assert_true(hp_hex_decode("aBCd", back, sizeof(back), &len));
	assert_int_equal(back[0], 0xab);
	assert_true(hp_hex_decode("", back, 0, &len));
	assert_int_equal(len, 0);
}

static void hex_that_is_none_is_refused(void **state)
{
	(void)state;
	uint8_t bytes[4];
	size_t len = 7;
	assert_false(hp_hex_decode("abc", bytes, 4, &len));
	assert_false(hp_hex_decode("0g", bytes, 4, &len));
	assert_false(hp_hex_decode(" 1", bytes, 4, &len));
	assert_false(hp_hex_decode("0x12", bytes, 4, &len));
	assert_false(hp_hex_decode("0102030405", bytes, 4, &len));
	assert_int_equal(len, 7);
}

static void a_buffer_with_room_is_accepted(void **state)
{
	(void)state;
	uint8_t bytes[4];
	hsmpool_buf out = { bytes, sizeof(bytes), 0 };
	assert_status(hp_buf_need(&out, 4, NULL), HSMPOOL_OK);
	hsmpool_buf none = { NULL, 0, 9 };
	assert_status(hp_buf_need(&none, 0, NULL), HSMPOOL_OK);
}

static void a_small_buffer_is_told_the_size_it_needs(void **state)
{
	(void)state;
	uint8_t bytes[4];
	hsmpool_error err;
	hsmpool_buf out = { bytes, sizeof(bytes), 0 };
	assert_status(hp_buf_need(&out, 5, &err), HSMPOOL_ERR_SPACE);
	assert_int_equal(out.len, 5);
	assert_non_null(strstr(err.text, "5 are needed"));
	hsmpool_buf question = { NULL, 100, 0 };
	assert_status(hp_buf_need(&question, 5, &err), HSMPOOL_ERR_SPACE);
	assert_int_equal(question.len, 5);
	assert_status(hp_buf_need(NULL, 5, &err), HSMPOOL_ERR_USAGE);
}

static void a_scoped_descriptor_is_closed_and_errno_kept(void **state)
{
	(void)state;
	int number;
	errno = EBUSY;
	{
		HP_AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		HP_AUTO_FD int none = -1;
		(void)none;
		number = fd;
		errno = EBUSY;
	}
	assert_int_equal(errno, EBUSY);
	assert_int_equal(fcntl(number, F_GETFD), -1);
}

static void a_taken_pointer_is_not_freed(void **state)
{
	(void)state;
	char *kept;
	{
		HP_AUTO_FREE char *text = hp_strdup("kept");
		HP_AUTO_FREE char *freed = hp_strdup("freed");
		(void)freed;
		kept = hp_take(&text);
		assert_null(text);
	}
	assert_string_equal(kept, "kept");
	free(kept);
	assert_null(hp_strdup(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_overflow_are_refused_and_leave_the_result),
		cmocka_unit_test(integers_are_big_endian),
		cmocka_unit_test(bytes_that_touch_do_not_overlap),
		cmocka_unit_test(hex_comes_back_as_it_went),
		cmocka_unit_test(hex_that_is_none_is_refused),
		cmocka_unit_test(a_buffer_with_room_is_accepted),
		cmocka_unit_test(a_small_buffer_is_told_the_size_it_needs),
		cmocka_unit_test(a_scoped_descriptor_is_closed_and_errno_kept),
		cmocka_unit_test(a_taken_pointer_is_not_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
