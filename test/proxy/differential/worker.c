/* SPDX-License-Identifier: Apache-2.0 */
/* One side: a process that loads one module and runs the calls. */
#include "differential.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "base/time.h"

/* No call takes that long; a process that does is killed by the alarm. */
#define CALL_SECONDS 30

static void load(struct worker *w, const char *path)
{
	void *dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (dl == NULL) {
		fprintf(stderr, "differential: %s\n", dlerror());
		return;
	}
	*(void **)&w->get_function_list = dlsym(dl, "C_GetFunctionList");
	if (w->get_function_list == NULL || w->get_function_list(&w->module) != CKR_OK)
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

/* Keys that operations begin with. */
static bool is_private(const struct worker *w, const struct answer *answer)
{
	CK_BBOOL value = CK_FALSE;
	CK_ATTRIBUTE wanted = { CKA_PRIVATE, &value, sizeof(value) };

	return w->module->C_GetAttributeValue(answer->about.session, answer->about.object,
					      &wanted, 1) == CKR_OK &&
	       value != CK_FALSE;
}

static void note_matter(const struct worker *w, enum side side, const struct call *call,
			struct answer *answer)
{
	unsigned uses = functions[call->function].uses;

	if (uses & USES_SESSION)
		answer->about.session = session_of(w, call);
	if (uses & USES_OBJECT)
		answer->about.object = object_of(w, call->object);
	if (side == SIDE_REFERENCE && uses & USES_OBJECT && !(uses & USES_TEMPLATE))
		answer->about.is_private = is_private(w, answer);
}

static void run_call(struct worker *w, enum side side, const struct call *call,
		     struct answer *answer)
{
	alarm(CALL_SECONDS);
	random_restart(call->id);
	if (options.is_verbose && side == SIDE_SUBJECT) {
		print_call(stderr, call); /* among the pool's messages */
		fputc('\n', stderr);
	}
	note_matter(w, side, call, answer);
	int64_t begun_ns = hp_now_ns();
	answer->rv = functions[call->function].run(w, call, answer);
	answer->took_ns = hp_now_ns() - begun_ns;
	if (side == SIDE_SUBJECT)
		alter(call, answer);
}

/* Of the two that come to the call at, the later one sees both answers. */
static bool is_end_of_both(const struct sequence *sequence, struct trace *const traces[2],
			   enum side side, uint32_t at)
{
	struct trace *own = traces[side];
	struct trace *other = traces[!side];
	const struct moment moment = { sequence, traces[SIDE_REFERENCE]->answers,
				       traces[SIDE_SUBJECT]->answers, at };
	const struct explanation *why;

	if (atomic_load(&other->done) > at && judge(&moment, &why) != FOUND_NOTHING)
		atomic_store(&own->has_parted, true);
	return atomic_load(&own->has_parted) || atomic_load(&other->has_parted);
}

void worker_run(enum side side, const struct sequence *sequence,
		struct trace *const traces[2])
{
	static struct worker w;
	struct trace *trace = traces[side];

	ground_enter(side);
	random_take_over();
	w.slots = ground_slots;
	w.stand_in.is_there = options.is_automatic && side == SIDE_REFERENCE;
	load(&w, side == SIDE_REFERENCE ? options.reference : options.subject);
	trace->is_up = w.module != NULL;
	for (uint32_t i = 0; i < sequence->count && w.module != NULL; i++) {
		run_call(&w, side, &sequence->calls[i], &trace->answers[i]);
		atomic_store(&trace->done, i + 1);
		if (is_end_of_both(sequence, traces, side, i))
			break;
	}
	_exit(0);
}
