/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's queue of errors is the thread's, and so the host program's: what is in it may
 * belong to a TLS connection, which would be taken for failed, or not failed, by another
 * content. So what was there stays, and what we raise goes.
 */
#ifndef HP_BASE_OPENSSL_ERRORS_H
#define HP_BASE_OPENSSL_ERRORS_H

#include <openssl/err.h>

static inline void hp_openssl_errors_restore(const int *mark)
{
	(void)mark;
	ERR_pop_to_mark();
}

/* To the end of the block. */
#define HP_KEEP_OPENSSL_ERRORS                             \
	__attribute__((cleanup(hp_openssl_errors_restore), \
		       unused)) int hp_openssl_mark = ERR_set_mark()

#endif
