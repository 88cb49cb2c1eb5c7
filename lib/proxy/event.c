/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C_WaitForSlotEvent.
 *
 * A thread that waits inside the vendor's module would keep fork and C_Finalize waiting,
 * and takes nothing from the pool either way, so the wait is ours: the module is asked
 * at an interval without blocking. Must not: hold the lock over a module call.
 */
#include "proxy/event.h"

#include "base/time.h"
#include "p11/slot.h"
#include "proxy/calls.h"
#include "proxy/process.h"
#include "proxy/slot.h"

#define ASK_EVERY (200 * HP_MS)

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static pthread_once_t wake_once = PTHREAD_ONCE_INIT;

static void init_wake(void)
{
	hp_cond_init(&wake);
}

void hp_events_wake(void)
{
	pthread_once(&wake_once, init_wake);
	pthread_mutex_lock(&wait_lock);
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&wait_lock);
}

void hp_events_renew_lock(void)
{
	pthread_mutex_init(&wait_lock, NULL);
	init_wake();
}

/* The module's slot as the application knows it. An event of one that is not shown is
 * none. */
static CK_RV translate(CK_RV rv, CK_SLOT_ID *slot)
{
	if (rv != CKR_OK || !slot)
		return rv;
	struct hp_vslot *found = hp_vslot_of_real(*slot);
	if (!found)
		return CKR_NO_EVENT;
	*slot = found->id;
	return CKR_OK;
}

static CK_RV ask(CK_SLOT_ID *slot, void *reserved)
{
	CK_RV rv = hp_slot_event(hp_proxy_module(), CKF_DONT_BLOCK, slot, reserved);
	return translate(rv, slot);
}

/*
 * Whether the module can wait at all, without waiting. One that can refuses the reserved
 * argument first; one that cannot (SoftHSM2) says so whatever the arguments are.
 */
static bool cannot_wait(void)
{
	CK_SLOT_ID slot = 0;
	int anything;
	return hp_slot_event(hp_proxy_module(), 0, &slot, &anything) ==
	       CKR_FUNCTION_NOT_SUPPORTED;
}

/* False: C_Finalize. */
static bool sleep_a_while(void)
{
	int64_t until = hp_time_add(hp_now_ns(), ASK_EVERY);
	pthread_once(&wake_once, init_wake);
	pthread_mutex_lock(&wait_lock);
	while (!hp_proxy_is_ending() && hp_cond_wait_until(&wake, &wait_lock, until))
		;
	pthread_mutex_unlock(&wait_lock);
	return !hp_proxy_is_ending();
}

static CK_RV wait_for_event(CK_SLOT_ID *slot, void *reserved)
{
	for (;;) {
		CK_RV rv = ask(slot, reserved);
		if (rv != CKR_NO_EVENT)
			return rv;
		if (!sleep_a_while())
			return CKR_CRYPTOKI_NOT_INITIALIZED;
	}
}

/* Without slots nothing ever happens. */
static CK_RV wait_for_nothing(CK_FLAGS flags)
{
	if (flags & CKF_DONT_BLOCK)
		return CKR_NO_EVENT;
	while (sleep_a_while())
		;
	return CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV hp_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
	if (!hp_proxy_module())
		return slot && !reserved ? wait_for_nothing(flags) : CKR_ARGUMENTS_BAD;
	if (flags & CKF_DONT_BLOCK)
		return translate(hp_slot_event(hp_proxy_module(), flags, slot, reserved),
				 slot);
	if (cannot_wait())
		return CKR_FUNCTION_NOT_SUPPORTED;
	if (!slot || reserved)
		return CKR_ARGUMENTS_BAD;
	return wait_for_event(slot, reserved);
}
