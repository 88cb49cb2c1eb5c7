/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a sequence on both sides and says where their answers part. */
#include "differential.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct side_run {
	pid_t pid;
	int status;
	struct trace *trace;
	size_t size;
};

static void make_trace(struct side_run *run, const struct sequence *sequence)
{
	run->size = sizeof(struct trace) + sequence->count * sizeof(struct answer);
	run->trace = mmap(NULL, run->size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run->trace == MAP_FAILED) {
		perror("differential: mmap");
		exit(2);
	}
}

static void start(struct side_run *run, enum side side, const struct sequence *sequence,
		  struct trace *const traces[2])
{
	ground_renew(side);
	fflush(NULL);
	run->pid = fork();
	if (run->pid < 0) {
		perror("differential: fork");
		exit(2);
	}
	if (run->pid == 0)
		worker_run(side, sequence, traces);
}

static void finish(struct side_run *run)
{
	while (waitpid(run->pid, &run->status, 0) < 0 && errno == EINTR)
		;
	if (!run->trace->is_up) {
		fprintf(stderr, "differential: a module cannot be loaded; --verbose\n");
		exit(2);
	}
}

static bool has_crashed(const struct side_run *run)
{
	return WIFSIGNALED(run->status) || WEXITSTATUS(run->status) != 0;
}

static bool answers_equal(const struct answer *a, const struct answer *b)
{
	if (a->rv != b->rv || a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->items[i].value != b->items[i].value)
			return false;
	return true;
}

enum finding judge(const struct moment *moment, const struct explanation **why)
{
	const struct answer *reference = &moment->references[moment->at];
	const struct answer *subject = &moment->subjects[moment->at];
	bool is_equal = answers_equal(reference, subject);

	*why = is_equal ? NULL : explained(moment);
	if (!is_equal && *why == NULL)
		return FOUND_DIFFERENCE;
	if ((*why != NULL && (*why)->parts_ways) || leaves_rubbish(moment))
		return FOUND_PARTING;
	return FOUND_NOTHING;
}

/* Looks at the answers to the first count calls. */
static bool part_ways(struct comparison *c, const struct sequence *sequence,
		      struct trace *const traces[2], uint32_t count)
{
	struct moment moment = { sequence, traces[SIDE_REFERENCE]->answers,
				 traces[SIDE_SUBJECT]->answers, 0 };

	for (; moment.at < count; moment.at++) {
		c->at = moment.at;
		c->reference = moment.references[c->at];
		c->subject = moment.subjects[c->at];
		c->finding = judge(&moment, &c->why);
		c->explained += c->why != NULL;
		if (c->why != NULL)
			explained_count(c->why);
		if (c->finding != FOUND_NOTHING)
			return true;
	}
	c->at = count;
	return false;
}

static enum finding ending(const struct side_run *reference,
			   const struct side_run *subject, uint32_t both_done)
{
	bool reference_ended =
		reference->trace->done == both_done && has_crashed(reference);
	bool subject_ended = subject->trace->done == both_done && has_crashed(subject);

	if (reference_ended && subject_ended)
		return FOUND_BOTH_CRASH;
	if (reference_ended)
		return FOUND_REFERENCE_CRASH;
	if (subject_ended)
		return WIFSIGNALED(subject->status) &&
				       WTERMSIG(subject->status) == SIGALRM
			       ? FOUND_HANG
			       : FOUND_CRASH;
	return FOUND_NOTHING;
}

/* The answers of the last comparison, for a report. */
static struct side_run last[2];

const struct answer *compare_answers(enum side side)
{
	return last[side].trace->answers;
}

static void forget_last(void)
{
	for (unsigned i = 0; i < 2; i++)
		if (last[i].trace != NULL)
			munmap(last[i].trace, last[i].size);
}

struct comparison compare(const struct sequence *sequence)
{
	struct comparison c = { .finding = FOUND_NOTHING };
	struct side_run runs[2];

	for (unsigned side = 0; side < 2; side++)
		make_trace(&runs[side], sequence);
	struct trace *const traces[2] = { runs[0].trace, runs[1].trace };
	for (unsigned side = 0; side < 2; side++)
		start(&runs[side], side, sequence, traces);
	for (unsigned side = 0; side < 2; side++)
		finish(&runs[side]);
	uint32_t done = runs[0].trace->done < runs[1].trace->done ? runs[0].trace->done
								  : runs[1].trace->done;
	if (!part_ways(&c, sequence, traces, done))
		c.finding = ending(&runs[SIDE_REFERENCE], &runs[SIDE_SUBJECT], done);
	forget_last();
	memcpy(last, runs, sizeof(last));
	return c;
}

bool finding_is_failure(enum finding finding)
{
	if (finding == FOUND_REFERENCE_CRASH || finding == FOUND_BOTH_CRASH)
		return options.shows_crashes;
	return finding == FOUND_DIFFERENCE || finding == FOUND_CRASH ||
	       finding == FOUND_HANG;
}

const char *finding_text(enum finding finding)
{
	switch (finding) {
	case FOUND_DIFFERENCE:
		return "the answers differ";
	case FOUND_CRASH:
		return "the subject crashes, the reference does not";
	case FOUND_HANG:
		return "the subject hangs";
	case FOUND_BOTH_CRASH:
		return "both crash";
	case FOUND_REFERENCE_CRASH:
		return "the reference crashes";
	default:
		return "nothing";
	}
}
