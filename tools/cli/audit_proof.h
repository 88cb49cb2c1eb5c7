/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a checkpoint of an audit trail is authentic: who can tell, and what he says.
 */
#ifndef CLI_AUDIT_PROOF_H
#define CLI_AUDIT_PROOF_H

#include "cli.h"
#include "observe/audit_verify.h"

struct evp_pkey_st;

enum audit_prover_kind {
	AUDIT_PROVER_NONE,   /* nobody is asked */
	AUDIT_PROVER_HSM,    /* the configured audit-key, on its token */
	AUDIT_PROVER_PUBLIC, /* a public key in a file, here */
};

struct audit_prover {
	enum audit_prover_kind kind;
	const char *name; /* of the key: a URI or a file */
	hsmpool *pool;    /* HSM: cli's */
	hsmpool_key *key;
	struct evp_pkey_st *public_key;
};

/* The configured audit-key; NONE if there is none. The pool that has it is opened without
 * a trail: to verify is to look, not to use. */
hsmpool_status audit_prover_open_key(struct audit_prover *prover, struct cli *cli,
				     hsmpool_error *err);
hsmpool_status audit_prover_open_public(struct audit_prover *prover, const char *path,
					hsmpool_error *err);
void audit_prover_close(struct audit_prover *prover);

/* *is_valid false: it is not by this key. A failure: it could not be asked. */
hsmpool_status audit_prover_ask(const struct audit_prover *prover,
				const struct hp_checkpoint_found *checkpoint,
				bool *is_valid, hsmpool_error *err);

#endif
