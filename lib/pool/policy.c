/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of policies: compiled, asked, counted.
 *
 * Owns: how sections combine, and the text of a refusal. Must not: lock, allocate or
 * call a module while it is asked. A set is constant.
 */
#include "pool/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/mechanisms.h"
#include "observe/log.h"
#include "p11/uri.h"
#include "pool/policy_counts.h"

#define LABEL_SHOWN 64 /* bytes of a label or id that a text repeats */

/* One URI of "key". */
struct selector {
	struct hp_uri *uri;
	struct hp_uri_object object; /* points into uri */
	bool is_excepted;
};

/* One section. */
struct rule {
	char *name;
	char *keys; /* as it was written; NULL: not set */
	char *mechanism_words;
	uint32_t actions; /* 1 << enum hp_action */
	bool is_read_only;
	enum hp_policy_mode mode;

	bool is_about_some; /* of the objects: "key" is set */
	bool names_objects; /* and not only exceptions */
	size_t selector_count;
	struct selector *selectors; /* those for this token */

	bool names_mechanisms; /* "mechanisms" is more than exceptions */
	size_t allowed_count;
	size_t excepted_count;
	unsigned long *mechanisms; /* the allowed ones, then the excepted ones */

	struct hp_policy_counts *counts; /* the process's */
};

struct hp_policy_set {
	struct hp_policy_set *before;
	size_t count;
	struct rule rules[];
};

/* --- compiling -----------------------------------------------------------------------
 */

static hsmpool_status refuse_memory(hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_SYSTEM, "no memory for the policies");
}

static size_t count_words(const char *list)
{
	size_t count = 0;
	for (bool was_blank = true; *list; list++) {
		bool is_blank = *list == ' ' || *list == '\t';
		count += was_blank && !is_blank;
		was_blank = is_blank;
	}
	return count;
}

/* A wrong URI is the configuration's fault here. */
static hsmpool_status parse_selector(const struct rule *rule, const char *word,
				     struct hp_uri **uri, hsmpool_error *err)
{
	hsmpool_status status = hp_uri_parse(word, uri, err);
	if (status != HSMPOOL_ERR_USAGE)
		return status;
	hp_error_prefix(err, "[policy %s] key", rule->name);
	if (err)
		err->status = HSMPOOL_ERR_CONFIG;
	return HSMPOOL_ERR_CONFIG;
}

static hsmpool_status add_selector(struct rule *rule, const char *word, bool is_excepted,
				   const struct hp_token *token, hsmpool_error *err)
{
	struct selector *next = &rule->selectors[rule->selector_count];
	HP_TRY(parse_selector(rule, word, &next->uri, err));
	rule->names_objects |= !is_excepted;
	if (!hp_uri_matches_token(next->uri, token->slot, &token->info)) {
		hp_uri_free(&next->uri);
		return HSMPOOL_OK;
	}
	hp_uri_object(next->uri, &next->object);
	next->is_excepted = is_excepted;
	rule->selector_count++;
	return HSMPOOL_OK;
}

static hsmpool_status compile_selectors(struct rule *rule, const char *list,
					const struct hp_token *token, hsmpool_error *err)
{
	rule->is_about_some = list != NULL;
	if (!list)
		return HSMPOOL_OK;
	HP_AUTO_FREE char *copy = strdup(list);
	rule->selectors = calloc(count_words(list), sizeof(*rule->selectors));
	if (!copy || !rule->selectors)
		return refuse_memory(err);
	bool is_excepted;
	char *rest = copy;
	for (char *word; (word = hp_word_take(&rest, &is_excepted));)
		HP_TRY(add_selector(rule, word, is_excepted, token, err));
	return HSMPOOL_OK;
}

/* The allowed ones or the excepted ones, behind those that are there. */
static void add_mechanisms(struct rule *rule, char *rest, bool wants_excepted)
{
	bool is_excepted;
	for (char *word; (word = hp_word_take(&rest, &is_excepted));) {
		unsigned long *next =
			&rule->mechanisms[rule->allowed_count + rule->excepted_count];
		if (is_excepted != wants_excepted || strcmp(word, "all") == 0)
			continue;
		*(is_excepted ? &rule->excepted_count : &rule->allowed_count) +=
			hp_mechanism_parse(word, next);
	}
}

static hsmpool_status compile_mechanisms(struct rule *rule, const char *list,
					 hsmpool_error *err)
{
	HP_AUTO_FREE char *allowed = strdup(list);
	HP_AUTO_FREE char *excepted = strdup(list);
	rule->mechanisms = calloc((count_words(list) + 1) * HP_MECHANISM_MEANINGS,
				  sizeof(*rule->mechanisms));
	if (!allowed || !excepted || !rule->mechanisms)
		return refuse_memory(err);
	add_mechanisms(rule, allowed, false);
	add_mechanisms(rule, excepted, true);
	rule->names_mechanisms = rule->allowed_count > 0;
	return HSMPOOL_OK;
}

static hsmpool_status compile_rule(struct rule *rule, const char *pool,
				   const struct hp_policy_options *options,
				   const struct hp_token *token, hsmpool_error *err)
{
	rule->actions = options->actions;
	rule->is_read_only = options->is_read_only;
	rule->mode = options->mode;
	rule->name = strdup(options->name);
	rule->keys = hp_strdup(options->keys);
	rule->mechanism_words = strdup(options->mechanisms);
	rule->counts = hp_policy_counts_of(pool, options->name);
	if (!rule->name || (options->keys && !rule->keys) || !rule->mechanism_words ||
	    !rule->counts)
		return refuse_memory(err);
	HP_TRY(compile_selectors(rule, options->keys, token, err));
	return compile_mechanisms(rule, options->mechanisms, err);
}

hsmpool_status hp_policy_compile(struct hp_policy_set **out, const char *pool,
				 const struct hp_policy_options *options, size_t count,
				 const struct hp_token *token, hsmpool_error *err)
{
	*out = NULL;
	struct hp_policy_set *set =
		calloc(1, sizeof(*set) + count * sizeof(set->rules[0]));
	if (!set)
		return refuse_memory(err);
	for (size_t i = 0; i < count; i++) {
		hsmpool_status status = compile_rule(&set->rules[set->count++], pool,
						     &options[i], token, err);
		if (status != HSMPOOL_OK) {
			hp_policy_free(set);
			return status;
		}
	}
	*out = set;
	return HSMPOOL_OK;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_rule(const struct rule *a, const struct rule *b)
{
	return is_same_text(a->name, b->name) && is_same_text(a->keys, b->keys) &&
	       is_same_text(a->mechanism_words, b->mechanism_words) &&
	       a->actions == b->actions && a->is_read_only == b->is_read_only &&
	       a->mode == b->mode;
}

bool hp_policy_is_same(const struct hp_policy_set *a, const struct hp_policy_set *b)
{
	size_t count = a ? a->count : 0;
	if (count != (b ? b->count : 0))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!is_same_rule(&a->rules[i], &b->rules[i]))
			return false;
	return true;
}

void hp_policy_keep(struct hp_policy_set *set, struct hp_policy_set *before)
{
	set->before = before;
}

static void clear_rule(struct rule *rule)
{
	for (size_t i = 0; i < rule->selector_count; i++)
		hp_uri_free(&rule->selectors[i].uri);
	free(rule->selectors);
	free(rule->mechanisms);
	free(rule->mechanism_words);
	free(rule->keys);
	free(rule->name);
}

void hp_policy_free(struct hp_policy_set *set)
{
	while (set) {
		struct hp_policy_set *before = set->before;
		for (size_t i = 0; i < set->count; i++)
			clear_rule(&set->rules[i]);
		free(set);
		set = before;
	}
}

/* --- deciding ------------------------------------------------------------------------
 */

static bool is_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* A template need not say what class is made; a pair is of two. A section is rather about
 * too much than about too little. */
static bool is_class(const struct selector *selector, const struct hp_policy_question *q)
{
	CK_OBJECT_CLASS wanted = selector->object.class;
	CK_OBJECT_CLASS class = q->object->class;
	if (wanted == class || selector->is_excepted)
		return wanted == class;
	return class == CK_UNAVAILABLE_INFORMATION ||
	       (q->is_pair && (wanted == CKO_PRIVATE_KEY || wanted == CKO_PUBLIC_KEY));
}

static bool selects(const struct selector *selector, const struct hp_policy_question *q)
{
	const struct hp_uri_object *wanted = &selector->object;
	const struct hp_key_identity *object = q->object;
	return (!wanted->has_class || is_class(selector, q)) &&
	       (!wanted->has_label || is_equal(wanted->label, wanted->label_len,
					       object->label, object->label_len)) &&
	       (!wanted->has_id ||
		is_equal(wanted->id, wanted->id_len, object->id, object->id_len));
}

static bool is_about(const struct rule *rule, const struct hp_policy_question *q)
{
	if (!rule->is_about_some)
		return true;
	if (!q->object)
		return q->is_unknown;
	bool is_meant = !rule->names_objects;
	for (size_t i = 0; i < rule->selector_count; i++) {
		if (!selects(&rule->selectors[i], q))
			continue;
		if (rule->selectors[i].is_excepted)
			return false;
		is_meant = true;
	}
	return is_meant;
}

static bool allows_mechanism(const struct rule *rule, unsigned long mechanism)
{
	const unsigned long *at = rule->mechanisms;
	bool is_allowed = !rule->names_mechanisms;
	for (size_t i = 0; i < rule->allowed_count; i++)
		is_allowed |= *at++ == mechanism;
	for (size_t i = 0; i < rule->excepted_count; i++)
		if (*at++ == mechanism)
			return false;
	return is_allowed;
}

/* False: the rule has nothing against it. */
static bool refuses(const struct rule *rule, const struct hp_policy_question *q,
		    enum hp_policy_reason *reason)
{
	if (!is_about(rule, q))
		return false;
	if (!(rule->actions >> q->action & 1))
		*reason = HP_POLICY_FUNCTION;
	else if (rule->is_read_only && q->changes_token)
		*reason = HP_POLICY_READ_ONLY;
	else if (q->has_mechanism && !allows_mechanism(rule, q->mechanism))
		*reason = HP_POLICY_MECHANISM;
	else
		return false;
	return true;
}

/* --- saying so -----------------------------------------------------------------------
 */

static const char *name_kind(const struct hp_key_identity *object)
{
	return object->class == CKO_DATA          ? "data object"
	       : object->class == CKO_CERTIFICATE ? "certificate"
						  : "key";
}

/* " with key 'payments'", " with key of id 0102", or "". */
static void name_object(const struct hp_policy_question *q, char *text, size_t size)
{
	const struct hp_key_identity *object = q->object;
	char shown[2 * LABEL_SHOWN + 1];
	snprintf(text, size, "%s", q->is_unknown ? " with an unknown object" : "");
	if (!object)
		return;
	size_t len = object->label_len ? object->label_len : object->id_len;
	len = len < LABEL_SHOWN ? len : LABEL_SHOWN;
	if (object->label_len == 0) {
		hp_hex_encode(object->id, len, shown);
		snprintf(text, size, " with %s of id '%s'", name_kind(object), shown);
		return;
	}
	for (size_t i = 0; i < len; i++)
		shown[i] = object->label[i] < 0x20 || object->label[i] == 0x7f
				   ? '?'
				   : (char)object->label[i];
	shown[len] = '\0';
	snprintf(text, size, " with %s '%s'", name_kind(object), shown);
}

/* What the section lacks. */
static void name_reason(const struct hp_policy_question *q, enum hp_policy_reason reason,
			char *text, size_t size)
{
	char mechanism[HP_MECHANISM_TEXT];
	switch (reason) {
	case HP_POLICY_FUNCTION:
		snprintf(text, size, "its functions do not include '%s'",
			 hp_action_word(q->action));
		break;
	case HP_POLICY_MECHANISM:
		snprintf(text, size, "its mechanisms do not include %s",
			 hp_mechanism_name(q->mechanism, mechanism));
		break;
	case HP_POLICY_READ_ONLY:
		snprintf(text, size, "it is read-only");
		break;
	}
}

/* Where a key was to be used the program learns that it may not be so, else that the
 * policy of the token is against it, as PKCS#11 2.40 words it. */
static CK_RV rv_of(const struct hp_policy_question *q, enum hp_policy_reason reason)
{
	static const uint32_t uses_key =
		1u << HP_ACTION_SIGN | 1u << HP_ACTION_VERIFY | 1u << HP_ACTION_ENCRYPT |
		1u << HP_ACTION_DECRYPT | 1u << HP_ACTION_WRAP | 1u << HP_ACTION_UNWRAP |
		1u << HP_ACTION_EXPORT | 1u << HP_ACTION_DERIVE;
	if (reason == HP_POLICY_MECHANISM)
		return CKR_MECHANISM_INVALID;
	return reason == HP_POLICY_FUNCTION && uses_key >> q->action & 1
		       ? CKR_KEY_FUNCTION_NOT_PERMITTED
		       : CKR_ACTION_PROHIBITED;
}

/* Log, count, and fill err unless an earlier section did. */
static void refuse(const struct rule *rule, const struct hp_policy_question *q,
		   enum hp_policy_reason reason, bool is_first, hsmpool_error *err)
{
	char object[2 * LABEL_SHOWN + 40];
	char why[80];
	name_object(q, object, sizeof(object));
	name_reason(q, reason, why, sizeof(why));
	hp_policy_count(rule->counts, q->action, rule->mode);
	HP_LOG(WARNING, "policy-denied", "[policy %s] %s %s%s: %s", rule->name,
	       rule->mode == HP_POLICY_DRY_RUN ? "would refuse" : "refuses", q->call,
	       object, why);
	if (rule->mode == HP_POLICY_DRY_RUN || !is_first)
		return;
	hp_fail(err, HSMPOOL_ERR_DENIED,
		"%s%s is not allowed by [policy %s]: %s; %shave the policy changed",
		q->call, object, rule->name, why,
		q->object ? "use another key, or " : "");
	if (err)
		err->ck_rv = rv_of(q, reason);
}

hsmpool_status hp_policy_ask(const struct hp_policy_set *set,
			     const struct hp_policy_question *question,
			     hsmpool_error *err)
{
	hsmpool_status status = HSMPOOL_OK;
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *rule = &set->rules[i];
		enum hp_policy_reason reason;
		if (!refuses(rule, question, &reason))
			continue;
		refuse(rule, question, reason, status == HSMPOOL_OK, err);
		if (rule->mode == HP_POLICY_ENFORCE)
			status = HSMPOOL_ERR_DENIED;
	}
	return status;
}
