/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See recipients.h. Owns: the rule which keys data may be encrypted to.
 */
#include "recipients.h"
#include <string.h>
#include "base/error.h"

hsmpool_status recipients_add(struct recipients *recipients, const char *which,
			      hsmpool_error *err)
{
	HP_CHECK(recipients->count < CLI_MAX_KEYS, err, HSMPOOL_ERR_USAGE,
		 "at most %d keys can open one container", CLI_MAX_KEYS);
	recipients->which[recipients->count++] = which;
	return HSMPOOL_OK;
}

/*
 * A pair whose private half is here but may not decrypt would take the data and never
 * give it back. A public key alone is fine: its private half is elsewhere.
 */
static hsmpool_status check_recipient(hsmpool_key *key, hsmpool_error *err)
{
	hsmpool_key_info info = { .size = sizeof(info) };

	HP_TRY(hsmpool_key_get_info(key, &info, HSMPOOL_DEFAULT, err));
	HP_CHECK(strcmp(info.class_name, "private") != 0 ||
			 info.flags & (HSMPOOL_KEY_CAN_DECRYPT | HSMPOOL_KEY_CAN_UNWRAP),
		 err, HSMPOOL_ERR_KEY,
		 "key '%s' may not decrypt, so the data would be lost; use one made by "
		 "keygen --for rsa-oaep or --for aes-gcm",
		 info.label);
	return HSMPOOL_OK;
}

hsmpool_status recipients_open(struct cli *cli, struct recipients *recipients,
			       hsmpool_error *err)
{
	for (size_t i = 0; i < recipients->count; i++) {
		HP_TRY(cli_open_key(cli, recipients->which[i], &recipients->keys[i],
				    err));
		HP_TRY(check_recipient(recipients->keys[i], err));
	}
	return HSMPOOL_OK;
}

void recipients_close(struct recipients *recipients)
{
	for (size_t i = 0; i < recipients->count; i++)
		hsmpool_key_close(&recipients->keys[i]);
}
