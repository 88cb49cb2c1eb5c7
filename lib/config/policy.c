/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of [policy NAME].
 *
 * Owns: their lists, and the texts for a word that is none. Must not: decide about a use
 * of the HSM. No state, no locks.
 */
#include "config/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/mechanisms.h"
#include "config/value.h"

#define BLANKS       " \t"
#define LONGEST_WORD 60 /* bytes that a message repeats */

static const char *const action_words[HP_ACTION_COUNT] = {
	[HP_ACTION_SIGN] = "sign",         [HP_ACTION_VERIFY] = "verify",
	[HP_ACTION_ENCRYPT] = "encrypt",   [HP_ACTION_DECRYPT] = "decrypt",
	[HP_ACTION_WRAP] = "wrap",         [HP_ACTION_UNWRAP] = "unwrap",
	[HP_ACTION_EXPORT] = "export",     [HP_ACTION_DERIVE] = "derive",
	[HP_ACTION_DIGEST] = "digest",     [HP_ACTION_RANDOM] = "random",
	[HP_ACTION_GENERATE] = "generate", [HP_ACTION_CREATE] = "create",
	[HP_ACTION_COPY] = "copy",         [HP_ACTION_DESTROY] = "destroy",
	[HP_ACTION_MODIFY] = "modify",     [HP_ACTION_ADMIN] = "admin",
};

const char *hp_action_word(enum hp_action action)
{
	return action_words[action];
}

char *hp_word_take(char **rest, bool *is_excepted)
{
	char *word = *rest + strspn(*rest, BLANKS);
	if (!*word)
		return NULL;
	*rest = word + strcspn(word, BLANKS);
	if (**rest)
		*(*rest)++ = '\0';
	*is_excepted = word[0] == '!';
	return word + *is_excepted;
}

/* --- functions -----------------------------------------------------------------------
 */

/* The bits that a word stands for; 0: it is none. */
static uint32_t action_bits(const char *word)
{
	if (strcmp(word, "all") == 0)
		return HP_ACTIONS_ALL;
	for (unsigned i = 0; i < HP_ACTION_COUNT; i++)
		if (strcmp(word, action_words[i]) == 0)
			return 1u << i;
	return 0;
}

static const char *nearest_action(const char *word)
{
	const char *nearest = NULL;
	size_t best = 4;
	for (unsigned i = 0; i < HP_ACTION_COUNT; i++) {
		size_t distance = hp_edit_distance(word, action_words[i]);
		if (distance < best && distance < strlen(word)) {
			best = distance;
			nearest = action_words[i];
		}
	}
	return nearest;
}

static hsmpool_status refuse_action(const char *word, hsmpool_error *err)
{
	static const char *const always[] = { "find", "search", "read", "login" };
	for (size_t i = 0; i < HP_ARRAY_LEN(always); i++)
		HP_CHECK(strcmp(word, always[i]) != 0, err, HSMPOOL_ERR_CONFIG,
			 "functions: '%s' is no function; to log in, to search and to "
			 "read attributes is allowed always",
			 word);
	const char *nearest = nearest_action(word);
	if (nearest)
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "functions: '%.*s' is no function; did you mean '%s'?",
			       LONGEST_WORD, word, nearest);
	char known[200] = "";
	size_t used = 0;
	for (unsigned i = 0; i < HP_ACTION_COUNT; i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, " %s",
					 action_words[i]);
	return hp_fail(err, HSMPOOL_ERR_CONFIG,
		       "functions: '%.*s' is no function; there are:%s", LONGEST_WORD,
		       word, known);
}

static hsmpool_status add_actions(char *list, uint32_t *actions, hsmpool_error *err)
{
	uint32_t named = 0;
	uint32_t excepted = 0;
	bool is_excepted;
	char *rest = list;
	for (char *word; (word = hp_word_take(&rest, &is_excepted));) {
		uint32_t bits = action_bits(word);
		if (bits == 0)
			return refuse_action(word, err);
		*(is_excepted ? &excepted : &named) |= bits;
	}
	*actions = (named ? named : HP_ACTIONS_ALL) & ~excepted;
	return HSMPOOL_OK;
}

hsmpool_status hp_actions_parse(const char *list, uint32_t *actions, hsmpool_error *err)
{
	*actions = 0;
	if (strcmp(list, "none") == 0)
		return HSMPOOL_OK;
	HP_AUTO_FREE char *copy = strdup(list);
	HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	return add_actions(copy, actions, err);
}

/* --- other lists ---------------------------------------------------------------------
 */

static hsmpool_status check_mechanism(const char *word, hsmpool_error *err)
{
	unsigned long types[HP_MECHANISM_MEANINGS];
	if (strcmp(word, "all") == 0 || hp_mechanism_parse(word, types) > 0)
		return HSMPOOL_OK;
	const char *nearest = hp_mechanism_nearest(word);
	if (nearest)
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "mechanisms: '%.*s' is no mechanism; did you mean '%s'?",
			       LONGEST_WORD, word, nearest);
	return hp_fail(err, HSMPOOL_ERR_CONFIG,
		       "mechanisms: '%.*s' is no mechanism; write CKM_AES_GCM, the name "
		       "of a scheme such as aes-gcm, or a number such as 0x80000001",
		       LONGEST_WORD, word);
}

static hsmpool_status check_selector(const char *word, hsmpool_error *err)
{
	HP_CHECK(
		strncmp(word, "pkcs11:", strlen("pkcs11:")) == 0, err, HSMPOOL_ERR_CONFIG,
		"key: '%.*s' is not a PKCS#11 URI; write pkcs11:object=NAME, with blanks "
		"in it as %%20",
		(int)strcspn(word, "?") < LONGEST_WORD ? (int)strcspn(word, "?")
						       : LONGEST_WORD,
		word);
	return HSMPOOL_OK;
}

/* Whether there is such a pool shows when the whole configuration is known. */
static hsmpool_status check_pool_name(const char *word, hsmpool_error *err)
{
	HP_CHECK(word[0], err, HSMPOOL_ERR_CONFIG,
		 "pool: a '!' stands alone; put it in front of a name");
	return HSMPOOL_OK;
}

static hsmpool_status check_words(const char *list,
				  hsmpool_status (*check)(const char *, hsmpool_error *),
				  hsmpool_error *err)
{
	HP_AUTO_FREE char *copy = strdup(list);
	HP_CHECK(copy, err, HSMPOOL_ERR_SYSTEM, "no memory for the configuration");
	bool is_excepted;
	char *rest = copy;
	for (char *word; (word = hp_word_take(&rest, &is_excepted));)
		HP_TRY(check(word, err));
	return HSMPOOL_OK;
}

hsmpool_status hp_mechanisms_check(const char *list, hsmpool_error *err)
{
	return check_words(list, check_mechanism, err);
}

hsmpool_status hp_selectors_check(const char *list, hsmpool_error *err)
{
	return check_words(list, check_selector, err);
}

hsmpool_status hp_pool_names_check(const char *list, hsmpool_error *err)
{
	return check_words(list, check_pool_name, err);
}

/* --- pools ---------------------------------------------------------------------------
 */

static bool is_word(const char *word, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(word, name, len) == 0;
}

bool hp_policy_is_for(const struct hp_policy_options *policy, const char *pool)
{
	bool has_named = false;
	bool is_named = false;
	bool is_excepted = false;
	const char *at = policy->pools ? policy->pools : "";
	for (size_t len; at += strspn(at, BLANKS), (len = strcspn(at, BLANKS)) > 0;
	     at += len) {
		if (at[0] == '!') {
			is_excepted |= is_word(at + 1, len - 1, pool);
			continue;
		}
		has_named = true;
		is_named |= is_word(at, len, pool);
	}
	return (is_named || !has_named) && !is_excepted;
}

void hp_policy_options_clear(struct hp_policy_options *policy)
{
	free(policy->name);
	free(policy->keys);
	free(policy->pools);
	free(policy->mechanisms);
	*policy = (struct hp_policy_options){ 0 };
}

void hp_policy_options_free(struct hp_policy_options *policies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hp_policy_options_clear(&policies[i]);
	free(policies);
}
