/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a chain: telling it, recording what a key said of it, bringing it to the
 * disk. Must not: know keys; crypto/checkpoint.c does.
 */
#include "observe/audit_trail.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
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

static bool sync_path(const char *path, int flags)
{
	HP_AUTO_FD int fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && fsync(fd) == 0;
}

/* By its name, not by our descriptor: a disk may take long, and others write meanwhile.
 */
bool hp_audit_sync_disk(struct hp_audit *audit)
{
	char path[PATH_MAX];
	if (audit->epoch != hp_process_epoch())
		return false;
	pthread_mutex_lock(&audit->turn);
	int len = snprintf(path, sizeof path, "%s/%s", audit->chain.folder,
			   audit->chain.file_name);
	hp_audit_end_turn(audit);
	return (size_t)len < sizeof path && sync_path(path, 0) &&
	       sync_path(audit->options.folder, O_DIRECTORY);
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
