/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's PIN and the count of its tries: this process's, or in a file that several
 * share, as the processes of a host share a token.
 *
 * What is in the file is changed by atomics only; the text of the PIN by a test, while no
 * process logs in.
 */
#include "module.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct mock_pin own_pin;
static _Atomic(struct mock_pin *) current_pin;

struct mock_pin *mock_pin(void)
{
	return atomic_load(&current_pin);
}

void mock_pin_reset(void)
{
	atomic_store(&current_pin, &own_pin);
	mock_pin_fill(&own_pin, MOCK_USER_PIN, 10);
}

void mock_pin_fill(struct mock_pin *pin, const char *text, unsigned tries)
{
	snprintf(pin->text, sizeof(pin->text), "%s", text);
	atomic_store(&pin->tries, tries);
	atomic_store(&pin->left, tries);
	atomic_store(&pin->is_low, false);
}

bool mock_pin_share(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool is_long_enough = lseek(fd, 0, SEEK_END) >= (off_t)sizeof(struct mock_pin);
	void *map = is_long_enough ? mmap(NULL, sizeof(struct mock_pin),
					  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
				   : MAP_FAILED;
	close(fd);
	if (map == MAP_FAILED)
		return false;
	atomic_store(&current_pin, map);
	return true;
}

CK_RV mock_pin_allowed(CK_USER_TYPE user)
{
	struct mock_pin *pin = mock_pin();

	return user != CKU_SO && atomic_load(&pin->tries) != 0 &&
			       atomic_load(&pin->left) == 0
		       ? CKR_PIN_LOCKED
		       : CKR_OK;
}

static void count_wrong(struct mock_pin *pin)
{
	uint32_t left = atomic_load(&pin->left);

	atomic_fetch_add(&pin->refused, 1);
	atomic_store(&pin->is_low, true);
	while (left > 0 && !atomic_compare_exchange_weak(&pin->left, &left, left - 1))
		;
}

void mock_pin_result(CK_USER_TYPE user, CK_RV rv)
{
	struct mock_pin *pin = mock_pin();

	mock_count(user == CKU_CONTEXT_SPECIFIC ? &mock.context_logins
						: &mock.logins_tried);
	if (rv != CKR_OK)
		mock_count(&mock.logins_failed);
	if (user == CKU_SO)
		return;
	atomic_fetch_add(&pin->tried, 1);
	if (rv == CKR_OK) {
		atomic_store(&pin->left, atomic_load(&pin->tries));
		atomic_store(&pin->is_low, false);
	} else if (rv == CKR_PIN_INCORRECT) {
		count_wrong(pin);
	}
}

CK_FLAGS mock_pin_flags(void)
{
	struct mock_pin *pin = mock_pin();
	uint32_t tries = atomic_load(&pin->tries), left = atomic_load(&pin->left);
	CK_FLAGS flags = 0;

	if (tries != 0 && atomic_load(&pin->is_low))
		flags = left == 0   ? CKF_USER_PIN_LOCKED
			: left == 1 ? CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY
				    : CKF_USER_PIN_COUNT_LOW;
	if (tries == 1 && left == 1)
		flags |= CKF_USER_PIN_FINAL_TRY;
	return flags;
}
