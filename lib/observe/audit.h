/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit trail of this process: one record per use of a token.
 *
 * A use takes a slot of a ring in shared memory before anything is submitted and fills it
 * in when it is over; a thread writes what is finished to the chain of this process, in
 * the folder of the option `audit`. docs/audit.md has the format and what it proves.
 *
 * Must not: know PKCS#11 (functions, mechanisms and results come as names), or be given
 * data, plaintext or a PIN; there is no field for them.
 *
 * Everything is thread-safe. hp_audit_begin() and _end() take no lock and make no system
 * call, except to wake the sleeping writer, or where there is no thread or no free slot.
 */
#ifndef HP_OBSERVE_AUDIT_H
#define HP_OBSERVE_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <hsmpool/status.h>
#include "config/options.h"

struct hp_audit; /* one per folder and process, counted */

struct hp_audit_options {
	const char *folder; /* absolute; the other fields: the options of that name */
	enum hp_audit_records records;
	enum hp_audit_failure failure;
	uint64_t rotate_size;
	int64_t rotate_after;
	int64_t keep;
	uint64_t keep_size;
	bool has_thread; /* false: threads that end a record write it themselves */
};

enum hp_audit_event { HP_AUDIT_OPERATION, HP_AUDIT_MANAGEMENT, HP_AUDIT_LOGIN };

/* What is known before. Texts may be NULL; they are copied, cut at 32 to 64 bytes (the
 * label of a key at 64) and escaped, so they may come from anywhere. */
struct hp_audit_facts {
	enum hp_audit_event event;
	int64_t time_ns;  /* CLOCK_REALTIME; 0: now */
	uint64_t request; /* 0: none */
	uint64_t session; /* virtual; 0: none */
	uint64_t input_len;
	const char *pool;
	const char *token;
	const char *function;  /* "C_Sign" */
	const char *mechanism; /* "CKM_ECDSA" */
	const char *key_label;
	const void *key_id; /* bytes */
	size_t key_id_len;
	const char *key_fingerprint; /* hex */
	const char *target;          /* label of the key that is wrapped or made by key */
};

/* What is known afterwards. */
struct hp_audit_result {
	const struct hp_audit_facts *facts; /* to replace the first; time and event stay.
					     * NULL: they still hold */
	const char *result;                 /* "CKR_OK" */
	bool is_failure;                    /* recorded whatever audit-records says */
	uint64_t input_len;                 /* the final one: all parts */
	uint64_t output_len;
	int64_t duration_ns;
};

/* Where the facts are until the end. Zeroed: nowhere, nothing is recorded. */
struct hp_audit_entry {
	struct hp_audit *audit;
	uint32_t slot;
};

/*
 * Open the trail in a folder, or count one more user of it; the first one's options hold.
 * The folder is made if it is missing. A chain that nobody writes is taken over:
 * what a killed process left in its ring is written first. If that fails because nothing
 * can be written, the trail is open and failing.
 *
 * HSMPOOL_ERR_SYSTEM: the folder, or something in it, is not only ours to write or not
 * what it should be; the folder, the ring or the thread cannot be made.
 * HSMPOOL_ERR_TIMEOUT: another process keeps the list of chains locked. *out is then
 * NULL.
 */
hsmpool_status hp_audit_open(struct hp_audit **out,
			     const struct hp_audit_options *options, hsmpool_error *err);

/* The last user's close writes what is finished and lets go of the chain. *audit may be
 * NULL, and of a parent process: then nothing is done. */
void hp_audit_close(struct hp_audit **audit);

/*
 * Make room for a record before anything is submitted to the token. False: there is none
 * or nothing can be written, and audit-failure is `refuse`: the use must not happen.
 * Otherwise the caller must call hp_audit_end() or _drop() with the entry. audit NULL:
 * true. A trail of the parent process refuses or does nothing, by the same option.
 */
bool hp_audit_begin(struct hp_audit *audit, const struct hp_audit_facts *facts,
		    struct hp_audit_entry *entry);

/* Complete the record. Once this returned, the record survives the process being killed.
 * A zeroed entry is allowed; entry is zeroed. */
void hp_audit_end(struct hp_audit_entry *entry, const struct hp_audit_result *result);

/* Nothing came of it after all: there is no record. */
void hp_audit_drop(struct hp_audit_entry *entry);

/* Write what is finished now. False: it cannot be written. */
bool hp_audit_sync(struct hp_audit *audit);

#define HP_AUDIT_CHAIN_LEN 32 /* hex digits of a chain's name */
#define HP_AUDIT_HASH_LEN  32

/* The end of the chain: its name, the last record's number and hash. */
struct hp_audit_head {
	char chain[HP_AUDIT_CHAIN_LEN + 1];
	uint64_t seq;
	uint8_t hash[HP_AUDIT_HASH_LEN];
};

/* Write what is finished and tell the head. False: it cannot be written. */
bool hp_audit_get_head(struct hp_audit *audit, struct hp_audit_head *head);

/* What authenticates a head: a MAC or a signature by key. */
struct hp_audit_checkpoint {
	const char *key;       /* its URI, no PIN in it; at most 255 bytes are recorded */
	const char *mechanism; /* as in facts */
	const uint8_t *mac;
	size_t mac_len; /* at most 1024 */
};

/* Record a checkpoint of head, which hp_audit_get_head() gave a moment ago; other records
 * may have followed since. False: it cannot be written. */
bool hp_audit_add_checkpoint(struct hp_audit *audit, const struct hp_audit_head *head,
			     const struct hp_audit_checkpoint *checkpoint);

/* What is in the files by now survives a power cut when this returned true. Takes as long
 * as the disk does; records are written meanwhile. */
bool hp_audit_sync_disk(struct hp_audit *audit);

struct hp_audit_figures {
	uint64_t records;  /* written by this process, of all kinds */
	uint64_t lost;     /* uses without a record, under `continue` */
	uint64_t refused;  /* uses refused for want of a record */
	uint64_t failures; /* of writing */
	uint64_t rotations;
	uint64_t deleted;                 /* files, by retention */
	uint64_t unauthenticated;         /* records since the last checkpoint */
	int64_t unauthenticated_since_ns; /* CLOCK_MONOTONIC of the first of them; 0: none
					   */
	uint32_t slots;                   /* of the ring */
	uint32_t slots_used;
	bool is_failing;
};

void hp_audit_get_figures(struct hp_audit *audit, struct hp_audit_figures *figures);

/* Checkpoints are to be expected: only then is it told how old the oldest record without
 * one is. */
void hp_audit_want_checkpoints(struct hp_audit *audit);

/* Of all trails of the process: the counters of those that were closed too, of the
 * moments since when something is so the oldest. */
void hp_audit_sum_figures(struct hp_audit_figures *sum);

#endif
