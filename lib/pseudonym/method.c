/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See method.h.
 *
 * Owns: the table of what each method does when it is made, when a worker of it is made,
 * and with a value. Locking: none; a method is read-only, a worker one thread's.
 */
#include "pseudonym/method.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/secret.h"
#include "crypto/hash.h"
#include "pseudonym/alphabet.h"
#include "pseudonym/cache.h"
#include "pseudonym/column.h"
#include "pseudonym/ff1.h"
#include "pseudonym/token.h"

#define REDACTED "REDACTED"

struct kind;

struct hp_method {
	const struct kind *kind;
	struct hp_method_ground ground;
	size_t domain_len; /* hmac, fpe */
	uint8_t domain[HP_DOMAIN_MAX];
	struct hp_alphabet *alphabet;
	uint32_t token_length;     /* hmac */
	char *text;                /* hmac: the prefix; redact: the text */
	struct hp_secret *ff1_key; /* fpe: AES-256 */
};

struct hp_method_worker {
	struct hp_text input; /* hmac: of the HMAC */
	size_t input_len;     /* of what is the same for all values */
	EVP_MD_CTX *hash;     /* hmac: of names in the cache */
	struct hp_ff1 *ff1;   /* fpe */
	uint16_t *numerals;   /* fpe: HP_FF1_LENGTH_MAX */
};

struct kind {
	hsmpool_status (*open)(struct hp_method *method, const hsmpool_column *column,
			       hsmpool_error *err);
	hsmpool_status (*worker_new)(struct hp_method_worker *worker,
				     const struct hp_method *method, hsmpool_error *err);
	bool takes_hsm; /* apply has a mac */
	/* Appends to out; what it left there on failure is taken away. */
	hsmpool_status (*apply)(const struct hp_method *method,
				struct hp_method_worker *worker, hsmpool_bytes value,
				const struct hp_method_mac *mac, struct hp_text *out,
				bool *is_bad, hsmpool_error *err);
};

static hsmpool_bytes domain_of(const struct hp_method *method)
{
	return (hsmpool_bytes){ method->domain, method->domain_len };
}

static hsmpool_status set_text(struct hp_method *method, const char *text,
			       hsmpool_error *err)
{
	method->text = hp_strdup(text);
	HP_CHECK(method->text, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	return HSMPOOL_OK;
}

/* Domain, alphabet and key, for the methods that have them. */
static hsmpool_status open_keyed(struct hp_method *method, const hsmpool_column *column,
				 const char *usual_alphabet, hsmpool_error *err)
{
	const struct hp_method_ground *ground = &method->ground;
	hsmpool_bytes domain = hp_column_domain(column);
	assert(domain.len <= sizeof(method->domain)); /* hp_column_check() */
	memcpy(method->domain, domain.data, domain.len);
	method->domain_len = domain.len;
	const char *alphabet = column->alphabet ? column->alphabet : usual_alphabet;
	HP_TRY(hp_alphabet_new(&method->alphabet, alphabet, err));
	return hp_keyed_check(ground->pool, ground->key, ground->deadline, err);
}

/* ---- hmac ---- */

static hsmpool_status open_hmac(struct hp_method *method, const hsmpool_column *column,
				hsmpool_error *err)
{
	bool may_be_short = (column->flags & HSMPOOL_COLUMN_SHORT_TOKENS) != 0;
	method->token_length = column->length;
	HP_TRY(open_keyed(method, column, "hex", err));
	HP_TRY(set_text(method, column->prefix ? column->prefix : "", err));
	return hp_token_check_length(method->alphabet, &method->token_length,
				     may_be_short, err);
}

static hsmpool_status begin_hmac(struct hp_method_worker *worker,
				 const struct hp_method *method, hsmpool_error *err)
{
	HP_TRY(hp_keyed_begin(&worker->input, HP_LABEL_TOKEN, domain_of(method), err));
	worker->input_len = worker->input.len;
	return hp_hash_begin(HP_HASH_SHA256, &worker->hash, err);
}

static hsmpool_status set_input(struct hp_method_worker *worker, hsmpool_bytes value,
				hsmpool_error *err)
{
	worker->input.len = worker->input_len;
	return hp_text_append(&worker->input, value.data, value.len, err);
}

hsmpool_status hp_method_look(const struct hp_method *method,
			      struct hp_method_worker *worker, hsmpool_bytes value,
			      struct hp_method_mac *mac, hsmpool_error *err)
{
	struct hp_cache *cache = method->ground.cache;
	uint8_t digest[HP_HASH_MAX];
	mac->is_known = false;
	if (!cache)
		return HSMPOOL_OK;
	HP_TRY(set_input(worker, value, err));
	const hsmpool_bytes input = { worker->input.data, worker->input.len };
	HP_TRY(hp_hash_again(worker->hash, input, digest, err));
	memcpy(mac->name, digest, sizeof(mac->name));
	mac->is_known = hp_cache_find(cache, mac->name, mac->mac);
	return HSMPOOL_OK;
}

hsmpool_status hp_method_ask(const struct hp_method *method,
			     struct hp_method_worker *worker, hsmpool_bytes value,
			     struct hp_method_mac *mac, hsmpool_error *err)
{
	const struct hp_method_ground *ground = &method->ground;
	if (!mac->is_known && ground->cache) /* another thread may have asked since */
		mac->is_known = hp_cache_find(ground->cache, mac->name, mac->mac);
	if (mac->is_known)
		return HSMPOOL_OK;
	HP_TRY(set_input(worker, value, err));
	HP_TRY(hp_keyed_mac(ground->pool, ground->key, &worker->input, mac->mac,
			    ground->deadline, err));
	mac->is_known = true;
	if (ground->cache)
		hp_cache_put(ground->cache, mac->name, mac->mac);
	return HSMPOOL_OK;
}

static hsmpool_status apply_hmac(const struct hp_method *method,
				 struct hp_method_worker *worker, hsmpool_bytes value,
				 const struct hp_method_mac *mac, struct hp_text *out,
				 bool *is_bad, hsmpool_error *err)
{
	(void)worker;
	(void)value;
	(void)is_bad; /* any bytes have a token */
	HP_TRY(hp_text_append(out, method->text, strlen(method->text), err));
	return hp_token_write(method->alphabet, method->token_length, mac->mac, out, err);
}

/* ---- fpe ---- */

static hsmpool_status derive_ff1_key(struct hp_method *method, hsmpool_error *err)
{
	const struct hp_method_ground *ground = &method->ground;
	struct hp_text input = { 0 };
	method->ff1_key = hp_secret_new(HP_KEYED_LEN);
	HP_CHECK(method->ff1_key, err, HSMPOOL_ERR_SYSTEM, "no memory for a key");
	hsmpool_status status =
		hp_keyed_begin(&input, HP_LABEL_FF1_KEY, domain_of(method), err);
	if (status == HSMPOOL_OK)
		status = hp_keyed_mac(ground->pool, ground->key, &input,
				      method->ff1_key->data, ground->deadline, err);
	method->ff1_key->len = HP_KEYED_LEN;
	hp_text_clear(&input);
	return status;
}

static hsmpool_status open_fpe(struct hp_method *method, const hsmpool_column *column,
			       hsmpool_error *err)
{
	HP_TRY(open_keyed(method, column, "digits", err));
	return derive_ff1_key(method, err);
}

static hsmpool_status begin_fpe(struct hp_method_worker *worker,
				const struct hp_method *method, hsmpool_error *err)
{
	worker->numerals = calloc(HP_FF1_LENGTH_MAX, sizeof(*worker->numerals));
	HP_CHECK(worker->numerals, err, HSMPOOL_ERR_SYSTEM, "no memory for numerals");
	return hp_ff1_new(&worker->ff1, method->ff1_key->data, method->ff1_key->len,
			  hp_alphabet_radix(method->alphabet), domain_of(method), err);
}

/* The value as numerals; a bad one is told of without being quoted. */
static hsmpool_status read_numerals(const struct hp_method *method,
				    struct hp_method_worker *worker, hsmpool_bytes value,
				    size_t *count, bool *is_bad, hsmpool_error *err)
{
	size_t least = hp_ff1_length_min(hp_alphabet_radix(method->alphabet));
	*is_bad = true;
	if (!hp_alphabet_read(method->alphabet, value, worker->numerals,
			      HP_FF1_LENGTH_MAX, count)) {
		HP_CHECK(*count < HP_FF1_LENGTH_MAX, err, HSMPOOL_ERR_DATA,
			 "it has more than %d characters", HP_FF1_LENGTH_MAX);
		return hp_fail(err, HSMPOOL_ERR_DATA,
			       "its character %zu is not in the alphabet", *count + 1);
	}
	HP_CHECK(*count >= least, err, HSMPOOL_ERR_DATA,
		 "it has %zu character%s, at least %zu are needed", *count,
		 *count == 1 ? "" : "s", least);
	*is_bad = false;
	return HSMPOOL_OK;
}

static hsmpool_status apply_fpe(const struct hp_method *method,
				struct hp_method_worker *worker, hsmpool_bytes value,
				const struct hp_method_mac *mac, struct hp_text *out,
				bool *is_bad, hsmpool_error *err)
{
	(void)mac;
	size_t count;
	HP_TRY(read_numerals(method, worker, value, &count, is_bad, err));
	if (method->ground.is_reverse)
		HP_TRY(hp_ff1_decrypt(worker->ff1, worker->numerals, count, err));
	else
		HP_TRY(hp_ff1_encrypt(worker->ff1, worker->numerals, count, err));
	return hp_alphabet_write(method->alphabet, worker->numerals, count, out, err);
}

/* ---- redact and drop ---- */

static hsmpool_status open_redact(struct hp_method *method, const hsmpool_column *column,
				  hsmpool_error *err)
{
	return set_text(method, column->text ? column->text : REDACTED, err);
}

static hsmpool_status apply_redact(const struct hp_method *method,
				   struct hp_method_worker *worker, hsmpool_bytes value,
				   const struct hp_method_mac *mac, struct hp_text *out,
				   bool *is_bad, hsmpool_error *err)
{
	(void)mac;
	(void)worker;
	(void)value;
	(void)is_bad;
	return hp_text_append(out, method->text, strlen(method->text), err);
}

/* ---- all of them ---- */

static const struct kind kinds[] = {
	[HSMPOOL_COLUMN_HMAC] = { open_hmac, begin_hmac, true, apply_hmac },
	[HSMPOOL_COLUMN_FPE] = { open_fpe, begin_fpe, false, apply_fpe },
	[HSMPOOL_COLUMN_REDACT] = { open_redact, NULL, false, apply_redact },
	[HSMPOOL_COLUMN_DROP] = { NULL, NULL, false, NULL },
};

hsmpool_status hp_method_open(struct hp_method **out,
			      const struct hp_method_ground *ground,
			      const hsmpool_column *column, hsmpool_error *err)
{
	char about[HP_COLUMN_ABOUT];
	*out = NULL;
	HP_TRY(hp_column_check(column, ground->is_reverse, err));
	struct hp_method *method = calloc(1, sizeof(*method));
	HP_CHECK(method, err, HSMPOOL_ERR_SYSTEM, "no memory for a column");
	method->kind = &kinds[column->method];
	method->ground = *ground;
	hsmpool_status status = HSMPOOL_OK;
	if (method->kind->open)
		status = method->kind->open(method, column, err);
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
	hp_secret_free(&old->ff1_key);
	hp_alphabet_free(&old->alphabet);
	free(old->text);
	free(old);
}

bool hp_method_is_drop(const struct hp_method *method)
{
	return method->kind == &kinds[HSMPOOL_COLUMN_DROP];
}

bool hp_method_takes_hsm(const struct hp_method *method)
{
	return method->kind->takes_hsm;
}

hsmpool_status hp_method_worker_new(struct hp_method_worker **out,
				    const struct hp_method *method, hsmpool_error *err)
{
	*out = NULL;
	struct hp_method_worker *worker = calloc(1, sizeof(*worker));
	HP_CHECK(worker, err, HSMPOOL_ERR_SYSTEM, "no memory for a column's worker");
	hsmpool_status status = HSMPOOL_OK;
	if (method->kind->worker_new)
		status = method->kind->worker_new(worker, method, err);
	if (status != HSMPOOL_OK)
		hp_method_worker_free(&worker);
	*out = worker;
	return status;
}

void hp_method_worker_free(struct hp_method_worker **worker)
{
	struct hp_method_worker *old = hp_take(worker);
	if (!old)
		return;
	hp_text_clear(&old->input);
	EVP_MD_CTX_free(old->hash);
	hp_ff1_free(&old->ff1);
	hp_wipe_and_free(old->numerals);
	free(old);
}

hsmpool_status hp_method_apply(const struct hp_method *method,
			       struct hp_method_worker *worker, hsmpool_bytes value,
			       const struct hp_method_mac *mac, struct hp_text *out,
			       bool *is_bad, hsmpool_error *err)
{
	assert(!hp_method_is_drop(method) && (mac->is_known || !method->kind->takes_hsm));
	size_t before = out->len;
	*is_bad = false;
	hsmpool_status status =
		method->kind->apply(method, worker, value, mac, out, is_bad, err);
	if (status != HSMPOOL_OK)
		out->len = before;
	return status;
}
