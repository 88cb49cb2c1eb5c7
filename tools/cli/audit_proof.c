/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a checkpoint of an audit trail is authentic.
 */
#include "audit_proof.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include "base/error.h"
#include "base/memory.h"
#include "config/options.h"
#include "crypto/attachment.h"
#include "crypto/checkpoint.h"
#include "crypto/ecdsa_der.h"
#include "stop.h"

/* --- the key on its token ------------------------------------------------------------
 */

static hsmpool_status open_pool(struct cli *cli, const char *name, hsmpool_error *err)
{
	struct hp_pool_options options;

	HP_TRY(stop_check(err));
	HP_TRY(hp_config_pool(cli->config, name, &options, err));
	free(hp_take(&options.audit));
	hsmpool_status status = hp_pool_open(&cli->pool, &options, HSMPOOL_DEFAULT, err);
	hp_pool_options_clear(&options);
	if (status == HSMPOOL_OK)
		status = hp_attachment_make(cli->pool, NULL, 0, err);
	return status;
}

hsmpool_status audit_prover_open_key(struct audit_prover *prover, struct cli *cli,
				     hsmpool_error *err)
{
	char section[256];
	const char *pool;

	HP_TRY(cli_open_config(cli, err));
	cli_pool_section(cli, section, sizeof(section));
	prover->name = hsmpool_config_get(cli->config, section, "audit-key");
	if (!prover->name)
		return HSMPOOL_OK;
	pool = hsmpool_config_get(cli->config, section, "audit-pool");
	HP_TRY(open_pool(cli, pool ? pool : cli->pool_name, err));
	HP_TRY(hsmpool_key_open(&prover->key, cli->pool, prover->name, HSMPOOL_DEFAULT,
				err));
	prover->pool = cli->pool;
	prover->kind = AUDIT_PROVER_HSM;
	return HSMPOOL_OK;
}

static hsmpool_status ask_hsm(const struct audit_prover *prover,
			      const struct hp_checkpoint_way *way, hsmpool_bytes message,
			      hsmpool_bytes mac, bool *is_valid, hsmpool_error *err)
{
	hsmpool_status status = (way->is_mac ? hsmpool_mac_verify : hsmpool_verify)(
		prover->pool, prover->key, way->scheme, message, mac, HSMPOOL_DEFAULT,
		err);

	*is_valid = status == HSMPOOL_OK;
	return status == HSMPOOL_ERR_DATA ? HSMPOOL_OK : status;
}

/* --- a public key in a file ----------------------------------------------------------
 */

hsmpool_status audit_prover_open_public(struct audit_prover *prover, const char *path,
					hsmpool_error *err)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "cannot read the public key %.200s", path);
	prover->public_key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
	fclose(file);
	HP_CHECK(prover->public_key, err, HSMPOOL_ERR_DATA,
		 "%.200s is no public key in PEM", path);
	prover->name = path;
	prover->kind = AUDIT_PROVER_PUBLIC;
	return HSMPOOL_OK;
}

static bool verify_here(EVP_PKEY *key, const struct hp_checkpoint_way *way,
			hsmpool_bytes message, hsmpool_bytes signature)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_edwards = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448");
	uint8_t der[HP_ECDSA_DER_MAX];
	bool is_valid = context && !way->is_mac;

	if (is_valid && way->takes_digest) {
		is_valid = hp_ecdsa_to_der(signature.data, signature.len, der,
					   &signature.len);
		signature.data = der;
	}
	is_valid = is_valid &&
		   EVP_DigestVerifyInit(context, NULL, is_edwards ? NULL : EVP_sha256(),
					NULL, key) == 1 &&
		   EVP_DigestVerify(context, signature.data, signature.len, message.data,
				    message.len) == 1;
	EVP_MD_CTX_free(context);
	return is_valid;
}

/* --- whichever it is -----------------------------------------------------------------
 */

hsmpool_status audit_prover_ask(const struct audit_prover *prover,
				const struct hp_checkpoint_found *checkpoint,
				bool *is_valid, hsmpool_error *err)
{
	const struct hp_checkpoint_way *way = hp_checkpoint_way(checkpoint->mechanism);
	uint8_t text[HP_AUDIT_CHECKPOINT_MAX];
	hsmpool_bytes message = { text,
				  hp_audit_checkpoint_text(&checkpoint->head, text) };
	hsmpool_bytes mac = { checkpoint->mac, checkpoint->mac_len };

	*is_valid = false;
	if (!way || mac.len == 0)
		return HSMPOOL_OK;
	if (prover->kind == AUDIT_PROVER_HSM)
		return ask_hsm(prover, way, message, mac, is_valid, err);
	*is_valid = verify_here(prover->public_key, way, message, mac);
	return HSMPOOL_OK;
}

void audit_prover_close(struct audit_prover *prover)
{
	hsmpool_key_close(&prover->key);
	EVP_PKEY_free(prover->public_key);
	*prover = (struct audit_prover){ 0 };
}
