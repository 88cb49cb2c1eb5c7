/* SPDX-License-Identifier: Apache-2.0 */
/* See method.h. */
#include "pseudonym/method.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "pseudonym/column.h"

struct hp_method {
	hsmpool_column_method kind;
	struct hp_method_ground ground;
	char *text; /* redact */
};

struct hp_method_worker {
	struct hp_text input;
};

static hsmpool_status prepare(struct hp_method *method, const hsmpool_column *column,
			      hsmpool_error *err)
{
	method->kind = column->method;
	HP_CHECK(method->kind == HSMPOOL_COLUMN_REDACT ||
			 method->kind == HSMPOOL_COLUMN_DROP,
		 err, HSMPOOL_ERR_UNSUPPORTED, "the method is not available");
	method->text = hp_strdup(column->text ? column->text : "REDACTED");
	HP_CHECK(method->text, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	return HSMPOOL_OK;
}

hsmpool_status hp_method_open(struct hp_method **out,
			      const struct hp_method_ground *ground,
			      const hsmpool_column *column, hsmpool_error *err)
{
	char about[HP_COLUMN_ABOUT];
	*out = NULL;
	HP_TRY(hp_column_check(column, ground->is_reverse, err));
	struct hp_method *method = calloc(1, sizeof(*method));
	HP_CHECK(method, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	method->ground = *ground;
	hsmpool_status status = prepare(method, column, err);
	if (status != HSMPOOL_OK) {
		hp_error_prefix(err, "%s", hp_column_about(column, about));
		hp_method_close(&method);
	}
	*out = method;
	return status;
}

void hp_method_close(struct hp_method **method)
{
	struct hp_method *old = hp_take(method);
	if (!old)
		return;
	free(old->text);
	free(old);
}

bool hp_method_is_drop(const struct hp_method *method)
{
	return method->kind == HSMPOOL_COLUMN_DROP;
}

hsmpool_status hp_method_worker_new(struct hp_method_worker **out,
				    const struct hp_method *method, hsmpool_error *err)
{
	(void)method;
	*out = calloc(1, sizeof(**out));
	HP_CHECK(*out, err, HSMPOOL_ERR_SYSTEM, "no memory for a column's worker");
	return HSMPOOL_OK;
}

void hp_method_worker_free(struct hp_method_worker **worker)
{
	struct hp_method_worker *old = hp_take(worker);
	if (!old)
		return;
	hp_text_clear(&old->input);
	free(old);
}

hsmpool_status hp_method_apply(const struct hp_method *method,
			       struct hp_method_worker *worker, hsmpool_bytes value,
			       struct hp_text *out, bool *is_bad, hsmpool_error *err)
{
	(void)worker;
	(void)value;
	*is_bad = false;
	return hp_text_append(out, method->text, strlen(method->text), err);
}
