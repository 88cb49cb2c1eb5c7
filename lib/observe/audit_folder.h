/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the folder of a trail: names of files, which there are, how they end.
 *
 * Owns: the forms `chain-NNNN.FIRST.jsonl` (FIRST: the number of the file's first record,
 * 12 digits), `chain-NNNN.ring` and `chains.jsonl`. Must not: write anything. No state.
 */
#ifndef HP_OBSERVE_AUDIT_FOLDER_H
#define HP_OBSERVE_AUDIT_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "observe/audit.h"

#define HP_AUDIT_LIST_NAME   "chains.jsonl"
#define HP_AUDIT_NAME_SIZE   40 /* of the longest file name, with its end */
#define HP_AUDIT_MOST_CHAINS 9999

struct hp_audit_file {
	unsigned chain;
	uint64_t first; /* record */
};

void hp_audit_file_name(char name[HP_AUDIT_NAME_SIZE], unsigned chain, uint64_t first);
void hp_audit_ring_name(char name[HP_AUDIT_NAME_SIZE], unsigned chain);
/* False: it is not the name of a file of records. */
bool hp_audit_file_parse(const char *name, struct hp_audit_file *file);
/* False: it is not the name of a ring. */
bool hp_audit_ring_parse(const char *name, unsigned *chain);

/* All files of records, by chain and first record; an array that the caller frees. */
hsmpool_status hp_audit_folder_files(int folder, struct hp_audit_file **files,
				     size_t *count, hsmpool_error *err);

/* How a file of records ends. */
struct hp_audit_tail {
	uint64_t size;
	uint64_t whole;   /* bytes up to and with the last line feed */
	bool has_line;    /* there is a whole line */
	bool is_readable; /* the last one is a record */
	uint64_t seq;     /* its number and hash */
	uint8_t hash[HP_AUDIT_HASH_LEN];
};

/* False: it cannot be read. */
bool hp_audit_read_tail(int file, struct hp_audit_tail *tail);

#endif
