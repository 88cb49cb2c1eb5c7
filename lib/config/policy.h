/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [policy NAME]: what may be done with which objects, as the configuration says it.
 *
 * Owns: the words for functions, and how lists of words are read. What a policy means
 * for one use of the HSM is pool/policy.h's.
 */
#ifndef HP_CONFIG_POLICY_H
#define HP_CONFIG_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/config.h>
#include <hsmpool/status.h>

/* What is done with an object, or without one. The words stand in hp_action_words. */
enum hp_action {
	HP_ACTION_SIGN, /* and MACs */
	HP_ACTION_VERIFY,
	HP_ACTION_ENCRYPT,
	HP_ACTION_DECRYPT,
	HP_ACTION_WRAP,   /* another key, by this one */
	HP_ACTION_UNWRAP, /* by this one; to come about so */
	HP_ACTION_EXPORT, /* to be wrapped by another */
	HP_ACTION_DERIVE, /* from this one; to come about so */
	HP_ACTION_DIGEST,
	HP_ACTION_RANDOM,
	HP_ACTION_GENERATE,
	HP_ACTION_CREATE,
	HP_ACTION_COPY,
	HP_ACTION_DESTROY,
	HP_ACTION_MODIFY,
	HP_ACTION_ADMIN, /* initialise the token, set PINs */
	HP_ACTION_COUNT
};
#define HP_ACTIONS_ALL ((1u << HP_ACTION_COUNT) - 1)

const char *hp_action_word(enum hp_action action);

enum hp_policy_mode {
	HP_POLICY_ENFORCE,
	HP_POLICY_DRY_RUN, /* what would be refused is done, logged and counted */
};

/* One [policy NAME]; strings owned. */
struct hp_policy_options {
	char *name;
	char *keys;       /* a list of URIs; NULL: every object, and what needs none */
	char *pools;      /* a list of names; NULL: every pool */
	uint32_t actions; /* 1 << enum hp_action: allowed */
	char *mechanisms; /* a list of words of config/mechanisms.h */
	bool is_read_only;
	enum hp_policy_mode mode;
};

/*
 * Lists of words, separated by blanks: what is named is in it, or all where nothing is
 * named, but for what has a '!' in front. hp_word_take() gives the next word of *rest,
 * which it cuts into pieces, without its '!'; NULL: there is no more.
 */
char *hp_word_take(char **rest, bool *is_excepted);

/* The words of "functions" as bits. CONFIG: one is unknown, the nearest is named. */
hsmpool_status hp_actions_parse(const char *list, uint32_t *actions, hsmpool_error *err);
/* CONFIG: a word of "mechanisms", "key" or "pool" is wrong. */
hsmpool_status hp_mechanisms_check(const char *list, hsmpool_error *err);
hsmpool_status hp_selectors_check(const char *list, hsmpool_error *err);
hsmpool_status hp_pool_names_check(const char *list, hsmpool_error *err);

/* Whether the section is for the pool of that name ("" is [pool]). */
bool hp_policy_is_for(const struct hp_policy_options *policy, const char *pool);

/* All [policy NAME] sections, in their order: an array of *count that the caller frees
 * with _free. */
hsmpool_status hp_config_policies(const hsmpool_config *config,
				  struct hp_policy_options **out, size_t *count,
				  hsmpool_error *err);
void hp_policy_options_clear(struct hp_policy_options *policy);
void hp_policy_options_free(struct hp_policy_options *policies, size_t count);

#endif
