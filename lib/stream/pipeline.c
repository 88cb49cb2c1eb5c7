/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pipeline.h. Chunks in flight stand in a ring, by index:
 *
 *     drained <= taken <= filled <= drained + slots
 *
 * Those in [drained, taken) are worked on or done, those in [taken, filled) wait for a
 * thread. When one fails, no chunk behind it is taken any more.
 *
 * Locking: one mutex for the ring and its counters; no function of ops is called under
 * it. An entry belongs to the thread that took it until is_done is set under the lock,
 * and to the calling thread before and after.
 */
#include "stream/pipeline.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "observe/request.h"

/* Starting and ending threads takes a few tenths of a millisecond: work that is over by
 * then is done without. */
#define ALONE_FOR (500 * HP_US)

/* One chunk in flight. */
struct entry {
	void *slot;
	uint64_t index;
	hsmpool_status status; /* of its work */
	hsmpool_error err;
	bool is_done; /* guarded by lock */
};

struct thread {
	pthread_t id;
	struct pipeline *pipeline;
	void *worker;
};

struct pipeline {
	const struct hp_pipeline_ops *ops;
	void *job;
	uint64_t request; /* that all threads work on */
	/* the calling thread's alone */
	unsigned slots_limit;
	unsigned threads_limit; /* beside the calling one */
	int64_t alone_until_ns; /* no thread is started before */
	struct entry *entries;  /* slots_limit; the first slots_made have a slot */
	unsigned slots_made;
	struct entry **spare; /* a stack: the last one used is still in the cache */
	unsigned spare_count;
	struct thread *threads; /* threads_limit */
	unsigned threads_started;
	void *own_worker; /* for the chunks that the calling thread does itself */
	bool has_own_worker;
	bool is_full;  /* ops->is_full said so */
	bool is_ended; /* nothing more to fill: the last one was, or input_status says */
	hsmpool_status input_status;
	hsmpool_error *err;

	pthread_mutex_t lock;
	pthread_cond_t has_work; /* for the threads */
	pthread_cond_t is_ready; /* for the caller: the oldest chunk is done */
	/* guarded by lock */
	struct entry **ring; /* slots_limit */
	uint64_t drained, taken, filled;
	uint64_t failed_at;    /* the lowest index that failed, or UINT64_MAX */
	unsigned threads_idle; /* waiting for has_work */
	bool is_stopping;
};

/* --- working -------------------------------------------------------------------------
 */

static bool has_waiting_chunk(const struct pipeline *p)
{
	return p->taken < p->filled && p->taken < p->failed_at;
}

static struct entry *take_chunk(struct pipeline *p)
{
	return p->ring[p->taken++ % p->slots_limit];
}

static void finish_chunk(struct pipeline *p, struct entry *entry)
{
	entry->is_done = true;
	if (entry->status != HSMPOOL_OK && entry->index < p->failed_at)
		p->failed_at = entry->index;
	if (entry->index == p->drained)
		pthread_cond_signal(&p->is_ready);
}

static void work_on(struct pipeline *p, void *worker, struct entry *entry)
{
	hp_error_clear(&entry->err);
	entry->status = p->ops->work(p->job, worker, entry->slot, &entry->err);
}

static void *run_thread(void *argument)
{
	struct thread *thread = argument;
	struct pipeline *p = thread->pipeline;
	hp_request_set(p->request);
	pthread_mutex_lock(&p->lock);
	while (!p->is_stopping) {
		if (!has_waiting_chunk(p)) {
			p->threads_idle++;
			pthread_cond_wait(&p->has_work, &p->lock);
			p->threads_idle--;
			continue;
		}
		struct entry *entry = take_chunk(p);
		pthread_mutex_unlock(&p->lock);
		work_on(p, thread->worker, entry);
		pthread_mutex_lock(&p->lock);
		finish_chunk(p, entry);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static hsmpool_status make_own_worker(struct pipeline *p, hsmpool_error *err)
{
	if (!p->has_own_worker && p->ops->worker_new)
		HP_TRY(p->ops->worker_new(p->job, &p->own_worker, err));
	p->has_own_worker = true;
	return HSMPOOL_OK;
}

/* The calling thread does a chunk that it has taken. */
static void work_here(struct pipeline *p, struct entry *entry)
{
	entry->status = make_own_worker(p, &entry->err);
	if (entry->status == HSMPOOL_OK)
		work_on(p, p->own_worker, entry);
	pthread_mutex_lock(&p->lock);
	finish_chunk(p, entry);
	pthread_mutex_unlock(&p->lock);
}

/* --- threads -------------------------------------------------------------------------
 */

static int create_thread(struct thread *thread)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failure = pthread_create(&thread->id, NULL, run_thread, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!failure)
		pthread_setname_np(thread->id, "hsmpool-chunk");
	return failure;
}

/* Is there a chunk that nobody is free to take, and is it worth a thread? */
static bool is_thread_needed(struct pipeline *p)
{
	if (p->threads_started >= p->threads_limit)
		return false;
	if (p->threads_started == 0 && hp_now_ns() < p->alone_until_ns)
		return false;
	pthread_mutex_lock(&p->lock);
	bool is_needed = p->filled - p->taken > p->threads_idle;
	pthread_mutex_unlock(&p->lock);
	return is_needed;
}

/* Where the system starts no more threads the others must do, or the calling one. */
static hsmpool_status start_thread_if_needed(struct pipeline *p)
{
	struct thread *thread = &p->threads[p->threads_started];
	if (!is_thread_needed(p))
		return HSMPOOL_OK;
	*thread = (struct thread){ .pipeline = p };
	if (p->ops->worker_new)
		HP_TRY(p->ops->worker_new(p->job, &thread->worker, p->err));
	if (create_thread(thread) == 0) {
		p->threads_started++;
		return HSMPOOL_OK;
	}
	p->threads_limit = p->threads_started;
	if (p->ops->worker_new)
		p->ops->worker_free(p->job, thread->worker);
	return HSMPOOL_OK;
}

static void join_threads(struct pipeline *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_cond_broadcast(&p->has_work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads_started; i++) {
		pthread_join(p->threads[i].id, NULL);
		if (p->ops->worker_new)
			p->ops->worker_free(p->job, p->threads[i].worker);
	}
}

/* --- the calling thread --------------------------------------------------------------
 */

/* A slot, the one given back last first; there is one. */
static hsmpool_status get_entry(struct pipeline *p, struct entry **out)
{
	if (p->spare_count > 0) {
		*out = p->spare[--p->spare_count];
		return HSMPOOL_OK;
	}
	struct entry *entry = &p->entries[p->slots_made];
	HP_TRY(p->ops->slot_new(p->job, &entry->slot, p->err));
	p->slots_made++;
	*out = entry;
	return HSMPOOL_OK;
}

static void offer_chunk(struct pipeline *p, struct entry *entry)
{
	pthread_mutex_lock(&p->lock);
	entry->is_done = false;
	p->ring[p->filled++ % p->slots_limit] = entry;
	pthread_cond_signal(&p->has_work);
	pthread_mutex_unlock(&p->lock);
}

static void ask_whether_full(struct pipeline *p)
{
	p->is_full = p->ops->is_full && p->ops->is_full(p->job);
}

/* filled is changed by this thread alone. */
static hsmpool_status fill_next(struct pipeline *p)
{
	struct entry *entry = NULL;
	HP_TRY(get_entry(p, &entry));
	entry->index = p->filled;
	hsmpool_status status =
		p->ops->fill(p->job, entry->slot, entry->index, &p->is_ended, p->err);
	if (status != HSMPOOL_OK) {
		p->spare[p->spare_count++] = entry;
		return status;
	}
	ask_whether_full(p);
	offer_chunk(p, entry);
	return p->is_ended ? HSMPOOL_OK : start_thread_if_needed(p);
}

static hsmpool_status drain_oldest(struct pipeline *p, struct entry *entry)
{
	if (entry->status != HSMPOOL_OK) {
		*p->err = entry->err;
		return entry->status;
	}
	HP_TRY(p->ops->drain(p->job, entry->slot, p->err));
	ask_whether_full(p);
	p->spare[p->spare_count++] = entry;
	pthread_mutex_lock(&p->lock);
	p->drained++;
	pthread_mutex_unlock(&p->lock);
	return HSMPOOL_OK;
}

enum step {
	DRAIN, /* the oldest chunk is done: it frees its slot, and its data is hot */
	FILL,  /* the threads need chunks, and there are more to come */
	WORK,  /* better than to wait, and to be woken for each chunk */
	END,   /* all is drained */
};

/* As many as the threads may take while the calling one works on a chunk; more would only
 * go cold. Without threads there is no use in a second one. */
static bool is_more_wanted(const struct pipeline *p)
{
	if (p->is_ended || p->failed_at != UINT64_MAX)
		return false;
	if (p->threads_started == 0 || p->is_full)
		return p->filled == p->drained;
	return p->filled - p->drained < p->slots_limit &&
	       p->filled - p->taken < 2 * (uint64_t)p->threads_started;
}

static bool may_work_here(const struct pipeline *p)
{
	return p->threads_started == 0 || !p->ops->work_waits;
}

/* The chunk that the step is about; for WORK it is taken. Waits if there is no step. */
static enum step next_step(struct pipeline *p, struct entry **entry)
{
	for (;;) {
		struct entry *oldest = p->ring[p->drained % p->slots_limit];
		bool is_empty = p->drained == p->filled;
		*entry = oldest;
		if (!is_empty && oldest->is_done)
			return DRAIN;
		if (is_more_wanted(p))
			return FILL;
		if (is_empty)
			return END;
		if (has_waiting_chunk(p) && may_work_here(p)) {
			*entry = take_chunk(p);
			return WORK;
		}
		pthread_cond_wait(&p->is_ready, &p->lock);
	}
}

static enum step choose_step(struct pipeline *p, struct entry **entry)
{
	pthread_mutex_lock(&p->lock);
	enum step step = next_step(p, entry);
	pthread_mutex_unlock(&p->lock);
	return step;
}

/* An error of the input waits until all chunks before it are drained: one of them may
 * have one of its own. */
static void fill_or_end(struct pipeline *p, hsmpool_error *input_err)
{
	p->input_status = fill_next(p);
	if (p->input_status == HSMPOOL_OK)
		return;
	*input_err = *p->err;
	p->is_ended = true;
}

static hsmpool_status run_steps(struct pipeline *p)
{
	hsmpool_error input_err = { 0 };
	struct entry *entry = NULL;
	for (;;) {
		switch (choose_step(p, &entry)) {
		case DRAIN:
			HP_TRY(drain_oldest(p, entry));
			break;
		case FILL:
			fill_or_end(p, &input_err);
			break;
		case WORK:
			work_here(p, entry);
			break;
		case END:
			if (p->input_status != HSMPOOL_OK)
				*p->err = input_err;
			return p->input_status;
		}
	}
}

/* --- life ----------------------------------------------------------------------------
 */

static bool make_tables(struct pipeline *p)
{
	p->entries = calloc(p->slots_limit, sizeof(*p->entries));
	p->ring = calloc(p->slots_limit, sizeof(struct entry *));
	p->spare = calloc(p->slots_limit, sizeof(struct entry *));
	p->threads = calloc((size_t)p->threads_limit + 1, sizeof(*p->threads));
	return p->entries && p->ring && p->spare && p->threads;
}

static void clear_pipeline(struct pipeline *p)
{
	for (unsigned i = 0; i < p->slots_made; i++)
		p->ops->slot_free(p->job, p->entries[i].slot);
	if (p->has_own_worker && p->ops->worker_new)
		p->ops->worker_free(p->job, p->own_worker);
	free(p->entries);
	free(p->ring);
	free(p->spare);
	free(p->threads);
	pthread_cond_destroy(&p->has_work);
	pthread_cond_destroy(&p->is_ready);
	pthread_mutex_destroy(&p->lock);
}

hsmpool_status hp_pipeline_run(const struct hp_pipeline_ops *ops, void *job,
			       unsigned threads, unsigned slots, hsmpool_error *err)
{
	bool is_alone = threads <= 1 || slots <= 1;
	struct pipeline p = {
		.ops = ops,
		.job = job,
		.request = hp_request_current(),
		.slots_limit = is_alone ? 1 : slots,
		.threads_limit = is_alone          ? 0
				 : ops->work_waits ? threads
						   : threads - 1,
		.alone_until_ns = hp_time_add(hp_now_ns(), ALONE_FOR),
		.failed_at = UINT64_MAX,
		.err = err,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.has_work = PTHREAD_COND_INITIALIZER,
		.is_ready = PTHREAD_COND_INITIALIZER,
	};
	hsmpool_status status =
		make_tables(&p) ? run_steps(&p)
				: hp_fail(err, HSMPOOL_ERR_SYSTEM,
					  "no memory for a pipeline of %u chunks", slots);
	join_threads(&p);
	clear_pipeline(&p);
	return status;
}
