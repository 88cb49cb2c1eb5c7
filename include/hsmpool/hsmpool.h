/* SPDX-License-Identifier: Apache-2.0 */
/* All of libhsmpool: see the header of each noun. Link with pkg-config hsmpool. */
#ifndef HSMPOOL_HSMPOOL_H
#define HSMPOOL_HSMPOOL_H

#include <hsmpool/config.h>
#include <hsmpool/container.h>
#include <hsmpool/crypto.h>
#include <hsmpool/key.h>
#include <hsmpool/log.h>
#include <hsmpool/metrics.h>
#include <hsmpool/pool.h>
#include <hsmpool/pseudonym.h>
#include <hsmpool/status.h>
#include <hsmpool/stream.h>

#endif
