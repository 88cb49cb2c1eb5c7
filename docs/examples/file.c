/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file encrypted through the raw borrow: file LABEL IN OUT
 *
 * What the library has no function for is done on a real session: borrow it, call the
 * module, give it back with a verdict. Here: AES-GCM in several parts with the token's
 * key of that label; OUT is IV (12 bytes), ciphertext, tag (16 bytes).
 *
 * To encrypt files for good use hsmpool_stream_encrypt(): its format is documented,
 * finds its key again, and its pieces are verified before they are released.
 */
#include <stdio.h>
#include <string.h>
#include <hsmpool/hsmpool.h>
#include <p11-kit/pkcs11.h>

#define PART 65536

struct borrowed {
	CK_FUNCTION_LIST *p11;
	CK_SESSION_HANDLE session;
	hsmpool_verdict verdict; /* what to say when it is given back */
};

/* True if rv is CKR_OK; else keeps the worse of the verdicts and tells why. */
static int ok(struct borrowed *b, const char *what, CK_RV rv)
{
	hsmpool_verdict verdict = hsmpool_verdict_of(rv);

	if (rv == CKR_OK)
		return 1;
	if (verdict > b->verdict)
		b->verdict = verdict;
	fprintf(stderr, "file: %s: CKR 0x%lx\n", what, rv);
	return 0;
}

static CK_OBJECT_HANDLE find_key(struct borrowed *b, char *label)
{
	CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
	CK_ATTRIBUTE wanted[] = {
		{ CKA_CLASS, &secret_key, sizeof(secret_key) },
		{ CKA_LABEL, label, strlen(label) },
	};
	CK_OBJECT_HANDLE found[2];
	CK_ULONG count = 0;

	if (!ok(b, "C_FindObjectsInit", b->p11->C_FindObjectsInit(b->session, wanted, 2)))
		return 0;
	CK_RV rv = b->p11->C_FindObjects(b->session, found, 2, &count);
	if (!ok(b, "C_FindObjectsFinal", b->p11->C_FindObjectsFinal(b->session)))
		b->verdict = HSMPOOL_VERDICT_RESET; /* the search may still be active */
	if (!ok(b, "C_FindObjects", rv))
		return 0;
	if (count != 1)
		fprintf(stderr, "file: %s secret key is labelled %s\n",
			count == 0 ? "no" : "more than one", label);
	return count == 1 ? found[0] : 0;
}

/* Between C_EncryptInit and a successful C_EncryptFinal the operation is active: leave
 * early, for whatever reason, and the session must be reset. */
static int encrypt_parts(struct borrowed *b, FILE *in, FILE *out)
{
	static CK_BYTE plain[PART], cipher[PART + 64];
	CK_ULONG len;
	size_t got;

	b->verdict = HSMPOOL_VERDICT_RESET;
	while ((got = fread(plain, 1, sizeof(plain), in)) > 0) {
		len = sizeof(cipher);
		if (!ok(b, "C_EncryptUpdate",
			b->p11->C_EncryptUpdate(b->session, plain, got, cipher, &len)) ||
		    fwrite(cipher, 1, len, out) != len)
			return 0;
	}
	len = sizeof(cipher);
	if (ferror(in) ||
	    !ok(b, "C_EncryptFinal", b->p11->C_EncryptFinal(b->session, cipher, &len)))
		return 0;
	b->verdict = HSMPOOL_VERDICT_CLEAN;
	return fwrite(cipher, 1, len, out) == len;
}

static int encrypt_file(struct borrowed *b, char *label, FILE *in, FILE *out)
{
	CK_BYTE iv[12];
	CK_GCM_PARAMS gcm = {
		.pIv = iv, .ulIvLen = sizeof(iv), .ulIvBits = 96, .ulTagBits = 128
	};
	CK_MECHANISM mechanism = { CKM_AES_GCM, &gcm, sizeof(gcm) };
	CK_OBJECT_HANDLE key = find_key(b, label);

	return key != 0 &&
	       ok(b, "C_GenerateRandom",
		  b->p11->C_GenerateRandom(b->session, iv, sizeof(iv))) &&
	       fwrite(iv, 1, sizeof(iv), out) == sizeof(iv) &&
	       ok(b, "C_EncryptInit",
		  b->p11->C_EncryptInit(b->session, &mechanism, key)) &&
	       encrypt_parts(b, in, out);
}

static int borrow_and_encrypt(hsmpool *pool, char **argv, hsmpool_error *err)
{
	hsmpool_session *session = NULL;
	FILE *in = fopen(argv[2], "rb"), *out = fopen(argv[3], "wbx");
	int done = 0;

	if (in == NULL || out == NULL) {
		perror("file");
	} else if (hsmpool_borrow(pool, &session, HSMPOOL_BORROW_ANY, "file example",
				  HSMPOOL_DEFAULT, err) != HSMPOOL_OK) {
		fprintf(stderr, "file: %s\n", err->text);
	} else {
		struct borrowed b = { hsmpool_session_functions(session),
				      hsmpool_session_handle(session),
				      HSMPOOL_VERDICT_CLEAN };
		done = encrypt_file(&b, argv[1], in, out);
		hsmpool_return(&session, b.verdict);
	}
	if (in != NULL)
		fclose(in);
	if (out != NULL && (fclose(out) != 0 || !done)) {
		remove(argv[3]);
		done = 0;
	}
	return done;
}

int main(int argc, char **argv)
{
	hsmpool_config *config = NULL;
	hsmpool *pool = NULL;
	hsmpool_error err;
	int done = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: file LABEL IN OUT\n");
		return 64;
	}
	if (hsmpool_config_load(&config, NULL, &err) == HSMPOOL_OK &&
	    hsmpool_open(&pool, config, NULL, HSMPOOL_DEFAULT, &err) == HSMPOOL_OK)
		done = borrow_and_encrypt(pool, argv, &err);
	else
		fprintf(stderr, "file: %s\n", err.text);
	hsmpool_close(&pool);
	hsmpool_config_close(&config);
	return done ? 0 : 1;
}
