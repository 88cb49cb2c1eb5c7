/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the token: which slot of the module answers to the URI.
 *
 * Slot ids move when an HSM restarts, so the token is known by its URI and, once
 * found, by its serial, label and model. Two matches are an error that lists them.
 */
#ifndef HP_P11_TOKEN_H
#define HP_P11_TOKEN_H

#include <stdbool.h>
#include <hsmpool/status.h>
#include "p11/module.h"
#include "p11/uri.h"

struct hp_token {
	struct hp_module *module; /* not owned */
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info; /* as of the last resolve or refresh */
};

/*
 * uri NULL: the only initialised token there is. DOWN none or two. To be called before
 * sessions are open: where no token matches, a module that is used by nobody else is
 * restarted and asked again, for a moment.
 */
hsmpool_status hp_token_find(struct hp_module *module, const struct hp_uri *uri,
			     struct hp_token *out, hsmpool_error *err);

/* The same with sessions open: looks once. */
hsmpool_status hp_token_look(struct hp_module *module, const struct hp_uri *uri,
			     struct hp_token *out, hsmpool_error *err);

/* After a loss: the slot where the same serial, label and model are now. */
hsmpool_status hp_token_find_again(struct hp_token *token, hsmpool_error *err);

/* Of one token? By serial, label and model. */
bool hp_token_is_same(const CK_TOKEN_INFO *a, const CK_TOKEN_INFO *b);

/* Read CK_TOKEN_INFO anew (flags change with PIN tries). */
CK_RV hp_token_refresh(struct hp_token *token);

CK_RV hp_token_mechanism_info(struct hp_token *token, CK_MECHANISM_TYPE type,
			      CK_MECHANISM_INFO *info);
/* malloc()ed list. */
CK_RV hp_token_mechanisms(struct hp_token *token, CK_MECHANISM_TYPE **list,
			  CK_ULONG *count);

/* The session limit that the token reports, 0 if it says nothing (0, ~0). */
CK_ULONG hp_token_session_limit(const struct hp_token *token, bool read_write);

/* A blank-padded field as a trimmed string; out has room for len + 1. */
void hp_token_text(const CK_UTF8CHAR *field, size_t len, char *out);

#endif
