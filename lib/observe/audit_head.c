/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a chain: telling it, recording what a key said of it, bringing it to the
 * disk. Must not: know keys; crypto/checkpoint.c does.
 */
#include "observe/audit_trail.h"

#include <string.h>
#include "base/process.h"
#include "base/time.h"

bool hp_audit_sync(struct hp_audit *audit)
{
	return !audit || (audit->epoch == hp_process_epoch() && hp_audit_drain(audit));
}

bool hp_audit_get_head(struct hp_audit *audit, struct hp_audit_head *head)
{
	if (audit->epoch != hp_process_epoch())
		return false;
	pthread_mutex_lock(&audit->turn);
	bool is_written = hp_audit_drain_in_turn(audit);
	memcpy(head->chain, audit->chain.name, sizeof head->chain);
	head->seq = audit->chain.head.seq;
	memcpy(head->hash, audit->chain.head.hash, sizeof head->hash);
	hp_audit_end_turn(audit);
	return is_written;
}

/* Of files that are rotated meanwhile the last is synced again the next time, as is the
 * one that is being written: that costs nothing where nothing came. */
bool hp_audit_sync_disk(struct hp_audit *audit)
{
	if (audit->epoch != hp_process_epoch())
		return false;
	struct hp_ring_header *header = audit->chain.ring.header;
	pthread_mutex_lock(&audit->turn);
	uint64_t first = header->synced_up_to;
	hp_audit_end_turn(audit);
	uint64_t last;
	if (!hp_audit_chain_sync_files(audit->options.folder, audit->chain.number, first,
				       &last))
		return false;
	pthread_mutex_lock(&audit->turn);
	header->synced_up_to = last;
	hp_audit_end_turn(audit);
	return true;
}

static bool write_checkpoint(struct hp_audit *audit, const struct hp_audit_head *head,
			     const struct hp_audit_checkpoint *checkpoint)
{
	const char *key = checkpoint->key ? checkpoint->key : "";
	const char *mechanism = checkpoint->mechanism ? checkpoint->mechanism : "";
	struct hp_audit_line line =
		hp_audit_chain_begin_line(&audit->chain, hp_clock_ns(CLOCK_REALTIME));
	HP_LINE_RAW(&line, ",\"event\":\"checkpoint\"");
	HP_LINE_TEXT(&line, "chain", head->chain, strlen(head->chain));
	HP_LINE_NUMBER(&line, "of", head->seq);
	HP_LINE_HEX(&line, "head", head->hash, sizeof head->hash);
	HP_LINE_TEXT(&line, "mechanism", mechanism, strnlen(mechanism, 64));
	HP_LINE_TEXT(&line, "authenticator", key, strnlen(key, 255));
	HP_LINE_HEX(&line, "mac", checkpoint->mac, checkpoint->mac_len);
	hp_audit_chain_end_line(&audit->chain, &line);
	return hp_audit_chain_write(&audit->chain);
}

bool hp_audit_add_checkpoint(struct hp_audit *audit, const struct hp_audit_head *head,
			     const struct hp_audit_checkpoint *checkpoint)
{
	if (audit->epoch != hp_process_epoch() || checkpoint->mac_len > 1024)
		return false;
	pthread_mutex_lock(&audit->turn);
	bool is_written = hp_audit_chain_announce(&audit->chain) &&
			  write_checkpoint(audit, head, checkpoint);
	hp_audit_note_outcome(audit, is_written);
	if (is_written) {
		uint64_t since = audit->chain.head.seq - head->seq - 1;
		atomic_store(&audit->unauthenticated, since);
		atomic_store(&audit->unauthenticated_since_ns, since ? hp_now_ns() : 0);
		atomic_fetch_add_explicit(&audit->records, 1, memory_order_relaxed);
	}
	hp_audit_end_turn(audit);
	return is_written;
}
