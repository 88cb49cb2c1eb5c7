/* SPDX-License-Identifier: Apache-2.0 */
/* One side: a process that loads one module and runs the calls. */
#include "differential.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

/* No call takes that long; a process that does is killed by the alarm. */
#define CALL_SECONDS 6

static void load(struct worker *w, const char *path)
{
	CK_C_GetFunctionList get = NULL;
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (dl == NULL) {
		fprintf(stderr, "differential: %s\n", dlerror());
		return;
	}
	*(void **)&get = dlsym(dl, "C_GetFunctionList");
	if (get == NULL || get(&w->module) != CKR_OK)
		w->module = NULL;
}

/* To see that the driver finds what is wrong: some answers of one function are spoilt. */
static void alter(const struct call *call, struct answer *answer)
{
	if (options.alter == NULL || (call->id & 3) != 0 ||
	    strcmp(functions[call->function].name, options.alter) != 0)
		return;
	if (answer->rv == CKR_OK)
		answer->rv = CKR_GENERAL_ERROR;
}

void worker_run(enum side side, const struct sequence *sequence, struct trace *trace)
{
	static struct worker w;

	ground_enter(side);
	random_take_over();
	w.slots = ground_slots;
	load(&w, side == SIDE_REFERENCE ? options.reference : options.subject);
	trace->is_up = w.module != NULL;
	for (uint32_t i = 0; i < sequence->count && w.module != NULL; i++) {
		const struct call *call = &sequence->calls[i];
		struct answer *answer = &trace->answers[i];
		alarm(CALL_SECONDS);
		random_restart(call->id);
		trace->begun = i + 1;
		answer->rv = functions[call->function].run(&w, call, answer);
		if (side == SIDE_SUBJECT)
			alter(call, answer);
		trace->done = i + 1;
	}
	_exit(0);
}
