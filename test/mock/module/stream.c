/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own backend's ciphers: one-shot, in pieces, and the dual functions.
 *
 * A decryption in pieces holds back the last bytes, which may be the tag or the
 * padding. RSA and key wrap are one-shot only.
 */
#include "operation.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK ((CK_ULONG)16)

/* --- one shot ---------------------------------------------------------------- */

static CK_RV encrypt_stream(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			    CK_BYTE *out)
{
	toy_xor(op->key, op->position, in, out, in_len);
	op->position += in_len;
	if (op->mechanism->family == MOCK_AEAD)
		toy_hash_update(&op->hash, out, in_len);
	return CKR_OK;
}

static CK_ULONG padding_len(const struct mock_op *op, CK_ULONG in_len)
{
	return BLOCK - (CK_ULONG)((op->position + in_len) % BLOCK);
}

/* What follows the data: tag or padding. */
static CK_ULONG trailer_len(const struct mock_op *op, CK_ULONG in_len)
{
	switch (op->mechanism->family) {
	case MOCK_AEAD:
		return op->tag_len;
	case MOCK_PADDED:
		return padding_len(op, in_len);
	default:
		return 0;
	}
}

static void write_trailer(struct mock_op *op, CK_BYTE *out)
{
	uint8_t padding[16];
	CK_ULONG len = trailer_len(op, 0);

	if (op->mechanism->family == MOCK_AEAD) {
		toy_expand(toy_hash_end(&op->hash), out, len);
	} else if (op->mechanism->family == MOCK_PADDED) {
		memset(padding, (int)len, sizeof(padding));
		toy_xor(op->key, op->position, padding, out, len);
	}
}

/* A wrapped key: the bytes, zeros up to a word, and a word that proves them, whose
 * first byte says how many zeros there are. */
static CK_RV encrypt_wrap(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			  CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	CK_ULONG zeros = (8 - in_len % 8) % 8;
	CK_RV rv;

	if (zeros != 0 && op->mechanism->family == MOCK_KEY_WRAP)
		return CKR_DATA_LEN_RANGE;
	if (!mock_has_room(out, out_len, in_len + zeros + 8, &rv))
		return rv;
	*is_done = true;
	uint64_t proof = toy_hash_of(op->key, in, in_len) & ~UINT64_C(0xff);
	proof |= zeros;
	memmove(out, in, in_len);
	memset(out + in_len, 0, zeros);
	toy_xor(op->key, 0, out, out, in_len + zeros);
	memcpy(out + in_len + zeros, &proof, 8);
	return CKR_OK;
}

static CK_RV decrypt_wrap(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			  CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	uint64_t proof;
	CK_RV rv;

	if (in_len < 16 || in_len % 8 != 0)
		return CKR_ENCRYPTED_DATA_LEN_RANGE;
	memcpy(&proof, in + in_len - 8, 8);
	CK_ULONG zeros = proof & 0xff;
	if (zeros > 7)
		return CKR_ENCRYPTED_DATA_INVALID;
	if (!mock_has_room(out, out_len, in_len - 8 - zeros, &rv))
		return rv;
	*is_done = true;
	toy_xor(op->key, 0, in, out, *out_len);
	bool is_right = ((toy_hash_of(op->key, out, *out_len) ^ proof) >> 8) == 0;
	return is_right ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

/* One block of the modulus's length: 0 2 filler 0 data, all but the first masked. */
static CK_RV encrypt_rsa(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	CK_ULONG block = op->key_bytes;
	uint8_t clear[1024] = { 0, 2 };
	CK_RV rv;

	if (block > sizeof(clear) || in_len + op->mechanism->size > block)
		return CKR_DATA_LEN_RANGE;
	if (!mock_has_room(out, out_len, block, &rv))
		return rv;
	*is_done = true;
	if (op->mechanism->size == 0) { /* X.509: the data are the block */
		memset(clear, 0, block);
	} else {
		memset(clear + 2, 0xa5, block - 2);
		clear[block - in_len - 1] = 0;
	}
	memcpy(clear + block - in_len, in, in_len);
	out[0] = clear[0];
	toy_xor(op->key, 1, clear + 1, out + 1, block - 1);
	explicit_bzero(clear, sizeof(clear));
	return CKR_OK;
}

/* Where the data begin in a block; 0: nowhere. */
static CK_ULONG find_data(const uint8_t *clear, CK_ULONG block)
{
	CK_ULONG start = 2;

	if (clear[0] != 0 || clear[1] != 2)
		return 0;
	while (start < block && clear[start] == 0xa5)
		start++;
	return start < block && clear[start] == 0 ? start + 1 : 0;
}

static CK_RV deliver_block(const struct mock_op *op, const uint8_t *clear, CK_BYTE *out,
			   CK_ULONG *out_len, bool *is_done)
{
	CK_ULONG block = op->key_bytes;
	CK_ULONG start = op->mechanism->size == 0 ? 0 : find_data(clear, block);
	CK_RV rv;

	if (start == 0 && op->mechanism->size != 0)
		return CKR_ENCRYPTED_DATA_INVALID;
	if (!mock_has_room(out, out_len, block - start, &rv))
		return rv;
	*is_done = true;
	memcpy(out, clear + start, block - start);
	return CKR_OK;
}

static CK_RV decrypt_rsa(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			 CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	CK_ULONG block = op->key_bytes;
	uint8_t clear[1024];

	if (block > sizeof(clear) || in_len != block)
		return CKR_ENCRYPTED_DATA_LEN_RANGE;
	if (out == NULL) {
		*out_len = block;
		return CKR_OK;
	}
	clear[0] = in[0];
	toy_xor(op->key, 1, in + 1, clear + 1, block - 1);
	CK_RV rv = deliver_block(op, clear, out, out_len, is_done);
	explicit_bzero(clear, sizeof(clear));
	return rv;
}

CK_RV mock_encrypt(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len, bool *is_done)
{
	CK_RV rv;

	*is_done = false;
	switch (op->mechanism->family) {
	case MOCK_KEY_WRAP:
	case MOCK_KEY_WRAP_PAD:
		return encrypt_wrap(op, in, in_len, out, out_len, is_done);
	case MOCK_RSA_CIPHER:
		return encrypt_rsa(op, in, in_len, out, out_len, is_done);
	case MOCK_BLOCK:
		if (in_len % BLOCK != 0)
			return CKR_DATA_LEN_RANGE;
		break;
	default:
		break;
	}
	if (!mock_has_room(out, out_len, in_len + trailer_len(op, in_len), &rv))
		return rv;
	*is_done = true;
	encrypt_stream(op, in, in_len, out);
	write_trailer(op, out + in_len);
	return CKR_OK;
}

static CK_RV decrypt_padded(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			    CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	uint8_t last;
	CK_RV rv;

	if (in_len == 0 || in_len % BLOCK != 0)
		return CKR_ENCRYPTED_DATA_LEN_RANGE;
	toy_xor(op->key, in_len - 1, in + in_len - 1, &last, 1);
	if (last == 0 || last > BLOCK)
		return CKR_ENCRYPTED_DATA_INVALID;
	if (!mock_has_room(out, out_len, out == NULL ? in_len : in_len - last, &rv))
		return rv;
	*is_done = true;
	toy_xor(op->key, 0, in, out, in_len - last);
	return CKR_OK;
}

static CK_RV decrypt_aead(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len,
			  CK_BYTE *out, CK_ULONG *out_len, bool *is_done)
{
	uint8_t tag[16];
	CK_RV rv;

	if (in_len < op->tag_len)
		return CKR_ENCRYPTED_DATA_LEN_RANGE;
	CK_ULONG len = in_len - op->tag_len;
	if (!mock_has_room(out, out_len, len, &rv))
		return rv;
	*is_done = true;
	toy_hash_update(&op->hash, in, len);
	toy_expand(toy_hash_end(&op->hash), tag, op->tag_len);
	if (memcmp(tag, in + len, op->tag_len) != 0)
		return CKR_ENCRYPTED_DATA_INVALID;
	toy_xor(op->key, 0, in, out, len);
	return CKR_OK;
}

CK_RV mock_decrypt(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		   CK_ULONG *out_len, bool *is_done)
{
	CK_RV rv;

	*is_done = false;
	switch (op->mechanism->family) {
	case MOCK_KEY_WRAP:
	case MOCK_KEY_WRAP_PAD:
		return decrypt_wrap(op, in, in_len, out, out_len, is_done);
	case MOCK_RSA_CIPHER:
		return decrypt_rsa(op, in, in_len, out, out_len, is_done);
	case MOCK_PADDED:
		return decrypt_padded(op, in, in_len, out, out_len, is_done);
	case MOCK_AEAD:
		return decrypt_aead(op, in, in_len, out, out_len, is_done);
	case MOCK_BLOCK:
		if (in_len % BLOCK != 0)
			return CKR_ENCRYPTED_DATA_LEN_RANGE;
		break;
	default:
		break;
	}
	if (!mock_has_room(out, out_len, in_len, &rv))
		return rv;
	*is_done = true;
	toy_xor(op->key, 0, in, out, in_len);
	return CKR_OK;
}

typedef CK_RV (*one_shot_fn)(struct mock_op *, const CK_BYTE *, CK_ULONG, CK_BYTE *,
			     CK_ULONG *, bool *);

static inline CK_RV one_shot(CK_SESSION_HANDLE session, enum mock_kind kind,
			     one_shot_fn run, const CK_BYTE *in, CK_ULONG in_len,
			     CK_BYTE *out, CK_ULONG *out_len)
{
	struct mock_op *op;
	bool is_done;
	CK_RV rv = mock_op_find(session, kind, &op);

	if (rv != CKR_OK)
		return rv;
	if (out_len == NULL || (in == NULL && in_len != 0))
		return mock_op_end(op, CKR_ARGUMENTS_BAD);
	if (op->is_multipart)
		return mock_op_end(op, CKR_OPERATION_ACTIVE);
	rv = run(op, in, in_len, out, out_len, &is_done);
	return rv == CKR_OK && !is_done ? CKR_OK : mock_op_end(op, rv);
}

CK_RV own_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_ENCRYPT, m, key);
}

CK_RV own_C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		    CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return one_shot(session, MOCK_ENCRYPT, mock_encrypt, in, in_len, out, out_len);
}

CK_RV own_C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_DECRYPT, m, key);
}

CK_RV own_C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
		    CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return one_shot(session, MOCK_DECRYPT, mock_decrypt, in, in_len, out, out_len);
}

/* --- recover: a block of RSA in both directions ------------------------------ */

CK_RV own_C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			    CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_SIGN_RECOVER, m, key);
}

CK_RV own_C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	return one_shot(session, MOCK_SIGN_RECOVER, mock_encrypt, in, in_len, out,
			out_len);
}

CK_RV own_C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR m,
			      CK_OBJECT_HANDLE key)
{
	return mock_op_begin(session, MOCK_VERIFY_RECOVER, m, key);
}

CK_RV own_C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = one_shot(session, MOCK_VERIFY_RECOVER, mock_decrypt, in, in_len, out,
			    out_len);

	return rv == CKR_ENCRYPTED_DATA_INVALID     ? CKR_SIGNATURE_INVALID
	       : rv == CKR_ENCRYPTED_DATA_LEN_RANGE ? CKR_SIGNATURE_LEN_RANGE
						    : rv;
}

/* --- in pieces --------------------------------------------------------------- */

static CK_RV piece_begin(CK_SESSION_HANDLE session, enum mock_kind kind,
			 const CK_BYTE *in, CK_ULONG in_len, const CK_ULONG *out_len,
			 struct mock_op **op)
{
	CK_RV rv = mock_op_find(session, kind, op);

	if (rv != CKR_OK)
		return rv;
	if (out_len == NULL || (in == NULL && in_len != 0))
		return mock_op_end(*op, CKR_ARGUMENTS_BAD);
	enum mock_family family = (*op)->mechanism->family;
	if (family == MOCK_RSA_CIPHER || family == MOCK_KEY_WRAP ||
	    family == MOCK_KEY_WRAP_PAD)
		return mock_op_end(*op, CKR_FUNCTION_NOT_SUPPORTED);
	return CKR_OK;
}

CK_RV own_C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	struct mock_op *op;
	CK_RV rv = piece_begin(session, MOCK_ENCRYPT, in, in_len, out_len, &op);

	if (rv != CKR_OK || !mock_has_room(out, out_len, in_len, &rv))
		return rv;
	op->is_multipart = true;
	return encrypt_stream(op, in, in_len, out);
}

CK_RV own_C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	struct mock_op *op;
	CK_RV rv = piece_begin(session, MOCK_ENCRYPT, NULL, 0, out_len, &op);

	if (rv != CKR_OK)
		return rv;
	if (op->mechanism->family == MOCK_BLOCK && op->position % BLOCK != 0)
		return mock_op_end(op, CKR_DATA_LEN_RANGE);
	CK_ULONG need = trailer_len(op, 0);
	if (!mock_has_room(out, out_len, need, &rv))
		return rv;
	write_trailer(op, out);
	return mock_op_end(op, CKR_OK);
}

static CK_ULONG hold_back(const struct mock_op *op)
{
	return op->mechanism->family == MOCK_AEAD     ? op->tag_len
	       : op->mechanism->family == MOCK_PADDED ? BLOCK
						      : 0;
}

/* Decrypt what was held and what came, but for the last bytes. */
static CK_RV release(struct mock_op *op, const CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
		     CK_ULONG out_len)
{
	CK_ULONG all = op->held_len + in_len;
	uint8_t *joined = malloc(all != 0 ? all : 1);

	if (joined == NULL)
		return mock_op_end(op, CKR_HOST_MEMORY);
	memcpy(joined, op->held, op->held_len);
	if (in_len != 0)
		memcpy(joined + op->held_len, in, in_len);
	if (op->mechanism->family == MOCK_AEAD)
		toy_hash_update(&op->hash, joined, out_len);
	toy_xor(op->key, op->position, joined, out, out_len);
	op->position += out_len;
	op->held_len = (uint8_t)(all - out_len);
	memcpy(op->held, joined + out_len, op->held_len);
	free(joined);
	return CKR_OK;
}

CK_RV own_C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			  CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	struct mock_op *op;
	CK_RV rv = piece_begin(session, MOCK_DECRYPT, in, in_len, out_len, &op);

	if (rv != CKR_OK)
		return rv;
	CK_ULONG all = op->held_len + in_len, hold = hold_back(op);
	CK_ULONG need = all > hold ? all - hold : 0;
	if (!mock_has_room(out, out_len, need, &rv))
		return rv;
	op->is_multipart = true;
	return release(op, in, in_len, out, need);
}

/* The padding's length if what is held is a last block, else 0. */
static CK_ULONG held_padding(const struct mock_op *op)
{
	uint8_t clear[16];

	if (op->held_len != BLOCK || op->position % BLOCK != 0)
		return 0;
	toy_xor(op->key, op->position, op->held, clear, BLOCK);
	return clear[15] <= BLOCK ? clear[15] : 0;
}

CK_RV own_C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	struct mock_op *op;
	uint8_t tag[16];
	CK_ULONG need = 0;
	CK_RV rv = piece_begin(session, MOCK_DECRYPT, NULL, 0, out_len, &op);

	if (rv != CKR_OK)
		return rv;
	if (op->mechanism->family == MOCK_AEAD) {
		toy_expand(toy_hash_end(&op->hash), tag, op->tag_len);
		if (op->held_len != op->tag_len ||
		    memcmp(tag, op->held, op->tag_len) != 0)
			return mock_op_end(op, CKR_ENCRYPTED_DATA_INVALID);
	} else if (op->mechanism->family == MOCK_PADDED) {
		if (held_padding(op) == 0)
			return mock_op_end(op, CKR_ENCRYPTED_DATA_INVALID);
		need = BLOCK - held_padding(op);
	} else if (op->mechanism->family == MOCK_BLOCK && op->position % BLOCK != 0) {
		return mock_op_end(op, CKR_ENCRYPTED_DATA_LEN_RANGE);
	}
	if (!mock_has_room(out, out_len, need, &rv))
		return rv;
	toy_xor(op->key, op->position, op->held, out, need);
	return mock_op_end(op, CKR_OK);
}

/* --- two at once ------------------------------------------------------------- */

CK_RV own_C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in,
				CK_ULONG in_len, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = own_C_EncryptUpdate(session, in, in_len, out, out_len);

	return rv == CKR_OK && out != NULL
		       ? mock_op_update(session, MOCK_DIGESTING, in, in_len)
		       : rv;
}

CK_RV own_C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in,
				CK_ULONG in_len, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = own_C_DecryptUpdate(session, in, in_len, out, out_len);

	return rv == CKR_OK && out != NULL
		       ? mock_op_update(session, MOCK_DIGESTING, out, *out_len)
		       : rv;
}

CK_RV own_C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in, CK_ULONG in_len,
			      CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = own_C_EncryptUpdate(session, in, in_len, out, out_len);

	return rv == CKR_OK && out != NULL
		       ? mock_op_update(session, MOCK_SIGNING, in, in_len)
		       : rv;
}

CK_RV own_C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR in,
				CK_ULONG in_len, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	CK_RV rv = own_C_DecryptUpdate(session, in, in_len, out, out_len);

	return rv == CKR_OK && out != NULL
		       ? mock_op_update(session, MOCK_VERIFYING, out, *out_len)
		       : rv;
}
