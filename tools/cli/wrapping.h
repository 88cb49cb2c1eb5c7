/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wrap and unwrap agree on.
 */
#ifndef CLI_WRAPPING_H
#define CLI_WRAPPING_H

#include <hsmpool/hsmpool.h>

#define WRAPPING_MAX 16384 /* bytes of a wrapped key */

/* *scheme NULL becomes the default of the wrapping key's type, if there is one. */
hsmpool_status wrapping_choose_scheme(hsmpool_key *key, const char **scheme,
				      hsmpool_error *err);

#endif
