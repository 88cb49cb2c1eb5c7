/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some rows on their way: taken in, transformed by a worker, handed out.
 *
 * Owns: copies of the rows, where in them the fields of the plan's columns are, what
 * came of them, and which are bad and why. Belongs to one thread at a time. Must not:
 * read, write, or keep a value anywhere else.
 */
#ifndef HP_PSEUDONYM_BATCH_H
#define HP_PSEUDONYM_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "pseudonym/csv.h"
#include "pseudonym/plan.h"
#include "pseudonym/text.h"

enum {
	/* Full from here on: */
	HP_BATCH_BYTES = 64 << 10, /* of rows */
	HP_BATCH_CELL_BYTES = 256 << 10,
	HP_BATCH_ROWS = 1024,
};

/* One row. Places are those in bytes; the reason's in reasons. */
struct hp_batch_row {
	size_t start, len;
	uint64_t line;
	size_t cells;  /* the first of its own, in cells */
	bool is_blank; /* goes out as it is */
	bool is_bad;
	const char *column; /* bad: the column's name, or NULL */
	size_t reason;
};

/* A field that a column of the plan is about. */
struct hp_batch_cell {
	size_t start, len; /* in bytes */
	bool is_quoted;
	bool has_value; /* the value is in values, not between start and len */
	size_t value, value_len;
	struct hp_method_mac mac; /* of the value, where its column takes one */
};

struct hp_batch {
	struct hp_text bytes;
	struct hp_text values;
	struct hp_text reasons; /* texts, each with its NUL */
	struct hp_text out;     /* the result */
	struct hp_text cells;   /* struct hp_batch_cell, for each of the plan's columns */
	struct hp_batch_row rows[HP_BATCH_ROWS];
	size_t row_count, blank_count, bad_count;
};

/* What one thread needs to transform. */
struct hp_batch_worker {
	struct hp_method_worker **methods; /* as the plan's columns; NULL where dropped */
	size_t count;
	struct hp_text value;
};

hsmpool_status hp_batch_worker_new(struct hp_batch_worker **out,
				   const struct hp_plan *plan, hsmpool_error *err);
void hp_batch_worker_free(struct hp_batch_worker **worker);

/* row_limit: HP_BATCH_ROWS at most. */
static inline bool hp_batch_is_full(const struct hp_batch *batch, size_t row_limit)
{
	return batch->row_count >= row_limit || batch->bytes.len >= HP_BATCH_BYTES ||
	       batch->cells.len >= HP_BATCH_CELL_BYTES;
}

/* About the memory that its rows take: their bytes, the result, what a worker and growing
 * buffers have of both; and the cells. */
static inline size_t hp_batch_size(const struct hp_batch *batch)
{
	return 4 * batch->bytes.len + batch->cells.len;
}

/* Take a row in, not into a full batch. A row with a fault, or with another number of
 * fields than the plan's, is bad. */
hsmpool_status hp_batch_add(struct hp_batch *batch, const struct hp_plan *plan,
			    const struct hp_csv_row *row, hsmpool_error *err);

/* First: which HMACs that the rows take are known already. */
hsmpool_status hp_batch_look(struct hp_batch *batch, const struct hp_plan *plan,
			     struct hp_batch_worker *worker, hsmpool_error *err);
/* Then: ask the HSM for the others. */
hsmpool_status hp_batch_ask(struct hp_batch *batch, const struct hp_plan *plan,
			    struct hp_batch_worker *worker, hsmpool_error *err);

/* Then: make batch->out of the rows that are good, and the others bad. only_check:
 * find out what is bad, and make nothing; that takes no HMACs. */
hsmpool_status hp_batch_transform(struct hp_batch *batch, const struct hp_plan *plan,
				  struct hp_batch_worker *worker, char delimiter,
				  bool only_check, hsmpool_error *err);

static inline hsmpool_bytes hp_batch_bytes_of(const struct hp_batch *batch,
					      const struct hp_batch_row *row)
{
	return (hsmpool_bytes){ batch->bytes.data + row->start, row->len };
}
static inline const char *hp_batch_reason_of(const struct hp_batch *batch,
					     const struct hp_batch_row *row)
{
	return (const char *)batch->reasons.data + row->reason;
}

/* Into out, which is empty: dropped fields are left out, the rest stays. */
hsmpool_status hp_batch_write_header(const struct hp_plan *plan,
				     const struct hp_csv_row *header, struct hp_text *out,
				     hsmpool_error *err);

/* Empty it for other rows. What a single long row took is given back. */
void hp_batch_reset(struct hp_batch *batch);
void hp_batch_free(struct hp_batch **batch);

#endif
