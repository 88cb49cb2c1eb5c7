/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked sizes, scoped cleanup, and small byte helpers.
 */
#ifndef HP_BASE_MEMORY_H
#define HP_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>

/* False on overflow; *sum and *product are then untouched. */
bool hp_size_add(size_t a, size_t b, size_t *sum);
bool hp_size_mul(size_t a, size_t b, size_t *product);

/* Scoped locals: freed, closed at the end of the block. */
#define HP_AUTO_FREE __attribute__((cleanup(hp_free_pointer)))
#define HP_AUTO_FD   __attribute__((cleanup(hp_close_fd)))
void hp_free_pointer(void *address_of_pointer);
void hp_close_fd(int *fd); /* -1 is not open */

/* Move ownership out of a scoped local: returns the pointer and clears it. */
#define hp_take(address)                                      \
	__extension__({                                       \
		__typeof__(*(address)) hp_taken = *(address); \
		*(address) = NULL;                            \
		hp_taken;                                     \
	})

/* strdup, but NULL gives NULL. */
char *hp_strdup(const char *text);

#define HP_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define HP_CONTAINER_OF(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Big-endian integers of the container format. */
void hp_put_be16(uint8_t *to, uint16_t value);
void hp_put_be32(uint8_t *to, uint32_t value);
void hp_put_be64(uint8_t *to, uint64_t value);
uint16_t hp_get_be16(const uint8_t *from);
uint32_t hp_get_be32(const uint8_t *from);
uint64_t hp_get_be64(const uint8_t *from);

/* Whether the two have bytes in common. */
bool hp_bytes_overlap(const void *a, size_t a_len, const void *b, size_t b_len);

/* Whether there is nothing but zero bytes. */
bool hp_bytes_are_zero(const uint8_t *bytes, size_t len);

/* Lower-case hex, NUL-terminated; to has room for 2 * len + 1. */
void hp_hex_encode(const uint8_t *from, size_t len, char *to);
/* False unless text is an even number of hex digits that fit cap. */
bool hp_hex_decode(const char *text, uint8_t *to, size_t cap, size_t *len);

/*
 * The output rule of every public function: if out has room for need bytes return OK,
 * else set out->len = need and fail with HSMPOOL_ERR_SPACE. Nothing always has room.
 */
hsmpool_status hp_buf_need(hsmpool_buf *out, size_t need, hsmpool_error *err);

#endif
