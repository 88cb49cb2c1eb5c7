/* SPDX-License-Identifier: Apache-2.0 */
/* Turns at a token that computes on this machine's own processors. */
#include "support/fixture.h"

#include <time.h>
#include "pseudonym/turn.h"

/* As a call does whose work is done elsewhere. */
static void wait_elsewhere(void)
{
	const struct timespec time = { .tv_nsec = 25 * 1000 * 1000 };
	nanosleep(&time, NULL);
}

static void a_thread_alone_takes_no_turns(void **state)
{
	struct hp_turn turn;
	(void)state;
	hp_turn_init(&turn, true);
	assert_false(hp_turn_begin(&turn));
	hp_turn_clear(&turn);
}

static void turns_are_taken_until_it_shows_where_the_work_is_done(void **state)
{
	struct hp_turn turn;
	(void)state;
	hp_turn_init(&turn, false);
	for (int i = 0; i < 3; i++) {
		assert_true(hp_turn_begin(&turn));
		hp_turn_end(&turn);
	}
	hp_turn_clear(&turn);
}

static void a_token_that_computes_elsewhere_is_asked_by_all_at_once(void **state)
{
	struct hp_turn turn;
	(void)state;
	hp_turn_init(&turn, false);
	assert_true(hp_turn_begin(&turn));
	wait_elsewhere();
	hp_turn_end(&turn);
	assert_false(hp_turn_begin(&turn));
	hp_turn_clear(&turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_alone_takes_no_turns),
		cmocka_unit_test(turns_are_taken_until_it_shows_where_the_work_is_done),
		cmocka_unit_test(a_token_that_computes_elsewhere_is_asked_by_all_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
