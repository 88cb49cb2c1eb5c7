/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sign one message: sign KEY SCHEME MESSAGE >signature
 *
 *   ./sign "pkcs11:object=payments" ecdsa-sha256 "pay 10 to Alice" >signature.der
 *
 * The module, the token and the PIN come from the configuration file.
 */
#include <stdio.h>
#include <string.h>
#include <hsmpool/hsmpool.h>

static hsmpool_status sign(char **argv, hsmpool_error *err)
{
	hsmpool_config *config = NULL;
	hsmpool *pool = NULL;
	hsmpool_key *key = NULL;
	uint8_t room[1024];
	hsmpool_buf signature = { room, sizeof(room), 0 };
	hsmpool_bytes message = { (const uint8_t *)argv[3], strlen(argv[3]) };

	hsmpool_status status = hsmpool_config_load(&config, NULL, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_open(&pool, config, NULL, HSMPOOL_DEFAULT, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_key_open(&key, pool, argv[1], HSMPOOL_DEFAULT, err);
	if (status == HSMPOOL_OK)
		status = hsmpool_sign(pool, key, argv[2], message, &signature,
				      HSMPOOL_DEFAULT, err);
	if (status == HSMPOOL_OK)
		fwrite(signature.data, 1, signature.len, stdout);
	hsmpool_key_close(&key);
	hsmpool_close(&pool);
	hsmpool_config_close(&config);
	return status;
}

int main(int argc, char **argv)
{
	hsmpool_error err;
	if (argc != 4) {
		fprintf(stderr, "usage: sign KEY SCHEME MESSAGE >signature\n");
		return 64;
	}
	if (sign(argv, &err) != HSMPOOL_OK) {
		fprintf(stderr, "sign: %s\n", err.text);
		return hsmpool_status_exit_code(err.status);
	}
	return fflush(stdout) == 0 ? 0 : 71;
}
