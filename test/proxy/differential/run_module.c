/* SPDX-License-Identifier: Apache-2.0 */
/* The module itself, its slots, tokens and mechanisms. */
#include "differential.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_LIST = 1, LARGE_LIST = 256 };

static CK_RV create_mutex(void **mutex)
{
	*mutex = malloc(1);
	return CKR_OK;
}

static CK_RV destroy_mutex(void *mutex)
{
	free(mutex);
	return CKR_OK;
}

static CK_RV use_mutex(void *mutex)
{
	(void)mutex;
	return CKR_OK;
}

/* The combinations of arguments that C_Initialize must tell apart. */
static void *init_args(uint8_t oddity)
{
	static CK_C_INITIALIZE_ARGS args;

	memset(&args, 0, sizeof(args));
	switch (oddity) {
	case 0:
		return NULL;
	case 1:
		args.flags = CKF_OS_LOCKING_OK;
		break;
	case 2:
		args.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS;
		break;
	case 3:
		args.CreateMutex = create_mutex; /* and not the others */
		break;
	case 4:
		args.CreateMutex = create_mutex;
		args.DestroyMutex = destroy_mutex;
		args.LockMutex = use_mutex;
		args.UnlockMutex = use_mutex;
		args.flags = CKF_OS_LOCKING_OK;
		break;
	case 5:
		args.pReserved = &args;
		break;
	default:
		break;
	}
	return &args;
}

CK_RV run_initialize(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;
	return w->module->C_Initialize(init_args(call->oddity));
}

/* Numbers of handles begin anew, so old ones may name something by chance. */
static void forget_handles(struct worker *w)
{
	memset(w->sessions, 0, sizeof(w->sessions));
	memset(w->objects, 0, sizeof(w->objects));
}

CK_RV run_finalize(struct worker *w, const struct call *call, struct answer *answer)
{
	(void)answer;
	CK_RV rv = w->module->C_Finalize(call->oddity == 1 ? w : NULL);
	if (rv == CKR_OK) {
		forget_handles(w);
		stand_in_closed(w, w->stand_in.open);
	}
	return rv;
}

CK_RV run_get_info(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_INFO info;

	memset(&info, 0, sizeof(info));
	CK_RV rv = w->module->C_GetInfo(call->oddity == 1 ? NULL : &info);
	note(answer, "version",
	     (uint64_t)info.cryptokiVersion.major << 8 | info.cryptokiVersion.minor);
	note_bytes(answer, "manufacturer", info.manufacturerID,
		   sizeof(info.manufacturerID));
	note_bytes(answer, "description", info.libraryDescription,
		   sizeof(info.libraryDescription));
	note(answer, "library",
	     (uint64_t)info.libraryVersion.major << 8 | info.libraryVersion.minor);
	note(answer, "flags", info.flags);
	return rv;
}

/* The exported one: what stands in the list may have become p11-kit's, which this program
 * is linked with. */
CK_RV run_get_function_list(struct worker *w, const struct call *call,
			    struct answer *answer)
{
	CK_FUNCTION_LIST *list = NULL;

	CK_RV rv = w->get_function_list(call->oddity == 1 ? NULL : &list);
	note(answer, "same", list == w->module);
	return rv;
}

/* Slots are compared by what they are, where they are in the list by number. */
CK_RV run_get_slot_list(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_SLOT_ID list[LARGE_LIST];
	CK_ULONG count = call->output == OUTPUT_LARGE ? LARGE_LIST
			 : call->output == OUTPUT_ONE ? SMALL_LIST
						      : 0;

	CK_RV rv = w->module->C_GetSlotList(
		(CK_BBOOL)(call->number % 3), call->output == OUTPUT_QUERY ? NULL : list,
		call->output == OUTPUT_NO_LENGTH ? NULL : &count);
	note(answer, "count", count);
	if (rv == CKR_OK && call->output == OUTPUT_LARGE)
		note_bytes(answer, "slots", list, count * sizeof(list[0]));
	return rv;
}

CK_RV run_get_slot_info(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_SLOT_INFO info;

	memset(&info, 0, sizeof(info));
	CK_RV rv = w->module->C_GetSlotInfo(slot_of(w, call),
					    call->oddity == 1 ? NULL : &info);
	note_bytes(answer, "info", &info, sizeof(info));
	return rv;
}

CK_RV run_get_token_info(struct worker *w, const struct call *call, struct answer *answer)
{
	CK_TOKEN_INFO info;

	memset(&info, 0, sizeof(info));
	CK_RV rv = w->module->C_GetTokenInfo(slot_of(w, call),
					     call->oddity == 1 ? NULL : &info);
	note(answer, "flags", info.flags);
	note(answer, "max sessions", info.ulMaxSessionCount);
	note(answer, "sessions", info.ulSessionCount);
	note(answer, "max rw", info.ulMaxRwSessionCount);
	note(answer, "rw", info.ulRwSessionCount);
	note(answer, "pin len",
	     (uint64_t)info.ulMaxPinLen << 8 | (info.ulMinPinLen & 0xff));
	note(answer, "memory",
	     info.ulTotalPublicMemory ^ info.ulFreePublicMemory ^
		     info.ulTotalPrivateMemory ^ info.ulFreePrivateMemory);
	/* Serial number: random when a token is initialised. The clock goes on. */
	note_bytes(answer, "label", info.label, sizeof(info.label));
	note_bytes(answer, "names", info.manufacturerID,
		   sizeof(info.manufacturerID) + sizeof(info.model));
	note_bytes(answer, "serial", info.serialNumber, sizeof(info.serialNumber));
	note_bytes(answer, "versions", &info.hardwareVersion, 2 * sizeof(CK_VERSION));
	return rv;
}

CK_RV run_get_mechanism_list(struct worker *w, const struct call *call,
			     struct answer *answer)
{
	CK_MECHANISM_TYPE list[LARGE_LIST];
	CK_ULONG count = call->output == OUTPUT_LARGE ? LARGE_LIST
			 : call->output == OUTPUT_ONE ? SMALL_LIST
						      : 0;

	CK_RV rv = w->module->C_GetMechanismList(
		slot_of(w, call), call->output == OUTPUT_QUERY ? NULL : list,
		call->output == OUTPUT_NO_LENGTH ? NULL : &count);
	note(answer, "count", count);
	if (rv == CKR_OK && call->output == OUTPUT_LARGE)
		note_bytes(answer, "mechanisms", list, count * sizeof(list[0]));
	return rv;
}

CK_RV run_get_mechanism_info(struct worker *w, const struct call *call,
			     struct answer *answer)
{
	CK_MECHANISM_INFO info = { 0, 0, 0 };

	CK_RV rv = w->module->C_GetMechanismInfo(
		slot_of(w, call), mechanism_rows[call->mechanism % mechanism_count].type,
		call->oddity == 1 ? NULL : &info);
	note(answer, "min", info.ulMinKeySize);
	note(answer, "max", info.ulMaxKeySize);
	note(answer, "flags", info.flags);
	return rv;
}

/* Never blocking: the reference cannot. */
CK_RV run_wait_for_slot_event(struct worker *w, const struct call *call,
			      struct answer *answer)
{
	CK_SLOT_ID slot = 0;
	(void)answer;

	return w->module->C_WaitForSlotEvent(CKF_DONT_BLOCK,
					     call->oddity == 1 ? NULL : &slot,
					     call->oddity == 2 ? &slot : NULL);
}
