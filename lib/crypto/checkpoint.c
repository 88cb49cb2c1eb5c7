/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of the audit trail.
 *
 * The key is searched each time: once a minute that is cheap, and no handle can be stale.
 * Its use is no use in the sense of pool/use.h, or each checkpoint would make a record
 * that wants another checkpoint; the checkpoint's own record is the record of it. Nothing
 * here takes a lock: the chore is done by one thread at a time.
 */
#include "crypto/checkpoint.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "crypto/object.h"
#include "observe/audit_verify.h"
#include "observe/log.h"
#include "p11/rv.h"

#define MAC_CAP  1024 /* a signature of RSA-8192 */
#define HITS_CAP 8

static const struct hp_checkpoint_way ways[] = {
	{ CKK_GENERIC_SECRET, CKM_SHA256_HMAC, "CKM_SHA256_HMAC", "hmac-sha256", true,
	  false },
	{ CKK_SHA256_HMAC, CKM_SHA256_HMAC, "CKM_SHA256_HMAC", "hmac-sha256", true,
	  false },
	{ CKK_RSA, CKM_SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS", "rsa-pkcs1-sha256", false,
	  false },
	{ CKK_EC, CKM_ECDSA, "CKM_ECDSA", "ecdsa-sha256:raw", false, true },
	{ CKK_EC_EDWARDS, CKM_EDDSA, "CKM_EDDSA", "ed25519", false, false },
};

struct checkpoint {
	hsmpool *audited;
	struct hp_audit *audit; /* the audited pool's */
	const char *folder;
	const char *key;
	struct hp_uri *uri; /* of the key; NULL: heads are told, not authenticated */
	struct hp_uri_object select;
	bool has_own_pool;
	struct hp_pool_options
		options;       /* of the pool that has the key, if has_own_pool */
	hsmpool *own_pool;     /* NULL: not open yet */
	unsigned failures;     /* in a row */
	_Atomic uint64_t told; /* records when a head was told last */
};

/* What came of the key. */
struct proof {
	const struct hp_checkpoint_way *way;
	uint8_t mac[MAC_CAP];
	CK_ULONG mac_len;
};

const struct hp_checkpoint_way *hp_checkpoint_way(const char *mechanism)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(ways); i++)
		if (strcmp(ways[i].name, mechanism) == 0)
			return &ways[i];
	return NULL;
}

/* --- the key ------------------------------------------------------------------------ */

static const struct hp_checkpoint_way *way_of_type(CK_KEY_TYPE type)
{
	for (size_t i = 0; i < HP_ARRAY_LEN(ways); i++)
		if (ways[i].type == type)
			return &ways[i];
	return NULL;
}

/* The one secret or private key among what was found. */
static hsmpool_status choose(const struct checkpoint *c, const struct hp_object *found,
			     size_t count, const struct hp_object **key,
			     hsmpool_error *err)
{
	*key = NULL;
	for (size_t i = 0; i < count; i++) {
		if (found[i].class == CKO_PUBLIC_KEY)
			continue;
		HP_CHECK(!*key, err, HSMPOOL_ERR_KEY,
			 "audit-key %s: there are several; name one by its id", c->key);
		*key = &found[i];
	}
	HP_CHECK(*key, err, HSMPOOL_ERR_KEY,
		 "audit-key %s: the token shows no such secret or private key", c->key);
	return HSMPOOL_OK;
}

static hsmpool_status find_key(const struct checkpoint *c, struct hp_session *s,
			       CK_OBJECT_HANDLE *handle, struct proof *proof, CK_RV *rv,
			       hsmpool_error *err)
{
	HP_AUTO_FREE struct hp_object *found = NULL;
	const struct hp_object *key = NULL;
	size_t count = 0;
	bool more;

	*rv = hp_find_keys(s, &c->select, HITS_CAP, &found, &count, &more);
	if (*rv != CKR_OK)
		return hp_rv_fail(err, *rv, "look for audit-key %s", c->key);
	HP_TRY(choose(c, found, count, &key, err));
	*handle = key->handle;
	proof->way = way_of_type(key->type);
	HP_CHECK(proof->way, err, HSMPOOL_ERR_KEY,
		 "audit-key %s: HMAC-SHA-256, RSA, EC or Ed25519 keys authenticate "
		 "checkpoints, not this type",
		 c->key);
	return HSMPOOL_OK;
}

static CK_RV use_key(struct hp_session *s, CK_OBJECT_HANDLE key, hsmpool_bytes input,
		     struct proof *proof)
{
	CK_MECHANISM mechanism = { proof->way->mechanism, NULL, 0 };
	CK_RV rv = hp_sign_init(s, &mechanism, key);

	proof->mac_len = sizeof(proof->mac);
	if (rv == CKR_OK)
		rv = hp_sign(s, input.data, input.len, proof->mac, &proof->mac_len);
	return rv;
}

static hsmpool_status authenticate_on(const struct checkpoint *c, struct hp_session *s,
				      hsmpool_bytes message, struct proof *proof,
				      CK_RV *rv, hsmpool_error *err)
{
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	uint8_t digest[HP_HASH_MAX];

	HP_TRY(find_key(c, s, &key, proof, rv, err));
	if (proof->way->takes_digest) {
		HP_TRY(hp_hash_message(HP_HASH_SHA256, message, digest, err));
		message = (hsmpool_bytes){ digest, hp_hash_info(HP_HASH_SHA256)->size };
	}
	*rv = use_key(s, key, message, proof);
	if (*rv != CKR_OK)
		return hp_rv_fail(err, *rv, "use audit-key %s", c->key);
	return HSMPOOL_OK;
}

/* --- the pool that has it ----------------------------------------------------------- */

static bool is_same_token(const struct checkpoint *c)
{
	struct hp_uri *uri = NULL;
	struct hp_token token;

	hp_pool_token(c->audited, &token);
	bool is_same = c->options.token &&
		       hp_uri_parse(c->options.token, &uri, NULL) == HSMPOOL_OK &&
		       hp_uri_matches_token(uri, token.slot, &token.info);
	hp_uri_free(&uri);
	return is_same;
}

/* A login is the token's, for the whole process. */
static hsmpool_status open_own_pool(struct checkpoint *c, hsmpool_error *err)
{
	bool is_applications = !hp_pool_options(c->audited)->pin_source;
	HP_CHECK(!is_applications || !is_same_token(c), err, HSMPOOL_ERR_CONFIG,
		 "[pool %s] is the token that the application logs in to itself: a "
		 "login for checkpoints would be the application's; use another token",
		 c->options.name);
	return hp_pool_open(&c->own_pool, &c->options, HSMPOOL_DEFAULT, err);
}

static hsmpool_status choose_pool(struct checkpoint *c, hsmpool **pool,
				  hsmpool_error *err)
{
	if (c->has_own_pool && !c->own_pool) {
		hsmpool_status status = open_own_pool(c, err);
		if (status != HSMPOOL_OK) {
			hp_error_prefix(err, "audit-pool");
			return status;
		}
	}
	*pool = c->has_own_pool ? c->own_pool : c->audited;
	return HSMPOOL_OK;
}

static hsmpool_status authenticate(const struct checkpoint *c, hsmpool *pool,
				   const struct hp_audit_head *head, int64_t deadline_ns,
				   struct proof *proof, hsmpool_error *err)
{
	uint8_t text[HP_AUDIT_CHECKPOINT_MAX];
	hsmpool_bytes message = { text, hp_audit_checkpoint_text(head, text) };
	struct hp_session *s;
	CK_RV rv = CKR_OK;

	HP_TRY(hp_pool_borrow(pool, HP_WANT_ANY, "audit checkpoint", deadline_ns, &s,
			      err));
	hsmpool_status status = authenticate_on(c, s, message, proof, &rv, err);
	hp_pool_return(s, rv);
	return status;
}

/* --- the chore ---------------------------------------------------------------------- */

/* The key may be the application's, who is not logged in: then it is not asked for. */
static bool can_see_key(const struct checkpoint *c)
{
	return c->has_own_pool || hp_pool_options(c->audited)->pin_source ||
	       hp_pool_expects_login(c->audited, NULL);
}

/* Also for what was done a moment ago and is not written yet. */
static bool is_due(void *user)
{
	struct checkpoint *c = user;
	struct hp_audit_figures figures;

	hp_audit_sync(c->audit);
	hp_audit_get_figures(c->audit, &figures);
	if (!c->uri)
		return figures.records != c->told;
	return figures.unauthenticated > 0 && can_see_key(c);
}

/* The head leaves this machine's files: who rewrites them later cannot take it back. */
static void tell_head(struct checkpoint *c, const struct hp_audit_head *head,
		      const char *proof)
{
	char hex[2 * HP_AUDIT_HASH_LEN + 1];

	hp_hex_encode(head->hash, sizeof(head->hash), hex);
	hp_log_announce("audit-checkpoint",
			"head=%s seq=%" PRIu64 " chain=%s trail=%s %s", hex, head->seq,
			head->chain, c->folder, proof);
}

/* Said once; while it goes on the heads say it. */
static void tell_failure(struct checkpoint *c, const hsmpool_error *err)
{
	if (c->failures++ == 0)
		HP_LOG(WARNING, "audit-checkpoint-failed",
		       "%s; tried again until it succeeds, operations go on", err->text);
	else
		HP_LOG(INFO, "audit-checkpoint-failed", "%s", err->text);
}

static hsmpool_status record(struct checkpoint *c, const struct hp_audit_head *head,
			     const struct proof *proof, hsmpool_error *err)
{
	const struct hp_audit_checkpoint checkpoint = {
		.key = c->key,
		.mechanism = proof->way->name,
		.mac = proof->mac,
		.mac_len = proof->mac_len,
	};
	HP_CHECK(hp_audit_add_checkpoint(c->audit, head, &checkpoint), err,
		 HSMPOOL_ERR_SYSTEM, "the checkpoint cannot be written to %s", c->folder);
	return HSMPOOL_OK;
}

/* A head that was told can be found again after a power cut. */
static hsmpool_status sync_disk(const struct checkpoint *c, hsmpool_error *err)
{
	HP_CHECK(hp_audit_sync_disk(c->audit), err, HSMPOOL_ERR_SYSTEM,
		 "the trail %s cannot be synced to its disk", c->folder);
	return HSMPOOL_OK;
}

static bool take_head(struct checkpoint *c, struct hp_audit_head *head)
{
	struct hp_audit_figures figures;
	hsmpool_error err;

	hp_audit_get_figures(c->audit, &figures);
	if (hp_audit_get_head(c->audit, head)) {
		c->told = figures.records;
		return true;
	}
	hp_fail(&err, HSMPOOL_ERR_SYSTEM, "the trail %s cannot be written", c->folder);
	tell_failure(c, &err);
	return false;
}

static const char *proof_of(const struct checkpoint *c, hsmpool_status status)
{
	if (!c->uri)
		return "not authenticated: there is no audit-key";
	return status == HSMPOOL_OK ? "authenticated"
				    : "not authenticated: audit-key cannot be used";
}

/* The pool first: its login is a record, too. */
static void run(void *user, int64_t deadline_ns)
{
	struct checkpoint *c = user;
	struct hp_audit_head head;
	struct proof proof;
	hsmpool_error err;
	hsmpool *pool = NULL;
	hsmpool_status status = choose_pool(c, &pool, &err);

	if (!take_head(c, &head))
		return;
	if (c->uri && status == HSMPOOL_OK)
		status = authenticate(c, pool, &head, deadline_ns, &proof, &err);
	if (c->uri && status == HSMPOOL_OK)
		status = record(c, &head, &proof, &err);
	const char *how = proof_of(c, status);
	hsmpool_status synced = sync_disk(c, status == HSMPOOL_OK ? &err : NULL);
	if (status != HSMPOOL_OK || synced != HSMPOOL_OK)
		tell_failure(c, &err);
	else
		c->failures = 0;
	tell_head(c, &head, how);
}

static void release(void *user)
{
	struct checkpoint *c = user;

	hsmpool_close(&c->own_pool);
	hp_pool_options_clear(&c->options);
	hp_uri_free(&c->uri);
	free(c);
}

/* --- the start ---------------------------------------------------------------------- */

/* The pool that has the key: its uses are recorded in the same trail, and it makes no
 * checkpoints of its own. */
static hsmpool_status take_options(struct checkpoint *c,
				   const struct hp_pool_options *keeper,
				   hsmpool_error *err)
{
	const struct hp_pool_options *audited = hp_pool_options(c->audited);

	if (!keeper || !c->uri)
		return HSMPOOL_OK;
	HP_TRY(hp_pool_options_copy(&c->options, keeper, err));
	c->has_own_pool = true;
	free(c->options.audit);
	free(hp_take(&c->options.audit_key));
	c->options.audit = hp_strdup(audited->audit);
	HP_CHECK(c->options.audit, err, HSMPOOL_ERR_SYSTEM, "no memory");
	c->options.keeper = audited->keeper;
	c->options.min_sessions = 0;
	return HSMPOOL_OK;
}

static hsmpool_status prepare(struct checkpoint *c, const struct hp_pool_options *keeper,
			      hsmpool_error *err)
{
	const struct hp_pool_options *audited = hp_pool_options(c->audited);

	c->folder = audited->audit;
	c->key = audited->audit_key;
	if (!c->key)
		return HSMPOOL_OK;
	HP_TRY(hp_uri_parse(c->key, &c->uri, err));
	hp_uri_object(c->uri, &c->select);
	return take_options(c, keeper, err);
}

hsmpool_status hp_checkpoint_start(hsmpool *pool, const struct hp_pool_options *keeper,
				   hsmpool_error *err)
{
	struct hp_audit *audit = hp_pool_audit(pool);
	int64_t interval = hp_pool_options(pool)->audit_checkpoint;

	if (!audit || interval == 0)
		return HSMPOOL_OK;
	struct checkpoint *c = calloc(1, sizeof(*c));
	HP_CHECK(c, err, HSMPOOL_ERR_SYSTEM, "no memory for the audit trail");
	c->audited = pool;
	c->audit = audit;
	hsmpool_status status = prepare(c, keeper, err);
	if (status != HSMPOOL_OK) {
		release(c);
		return status;
	}
	if (c->uri)
		hp_audit_want_checkpoints(audit);
	hp_pool_set_chore(pool, &(struct hp_chore){ .interval_ns = interval,
						    .is_due = is_due,
						    .run = run,
						    .release = release,
						    .user = c });
	return HSMPOOL_OK;
}

hsmpool_status hp_checkpoint_options(const hsmpool_config *config,
				     const struct hp_pool_options *audited,
				     struct hp_pool_options *out, hsmpool_error *err)
{
	bool is_another =
		audited->audit_pool && strcmp(audited->audit_pool, audited->name) != 0;
	if (!audited->audit || !audited->audit_key || !is_another)
		return HSMPOOL_OK;
	hsmpool_status status = hp_config_pool(config, audited->audit_pool, out, err);
	if (status != HSMPOOL_OK)
		hp_error_prefix(err, "audit-pool");
	return status;
}
