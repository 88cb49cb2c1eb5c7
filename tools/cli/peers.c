/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding control sockets; asking.c speaks with them.
 *
 * Owns: which folders are looked into. Must not: print anything.
 */
#include "peers.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "control/place.h"

/* Its folder is found by several paths, such as a variable's and the usual one. */
static bool is_known(const struct peers *peers, const struct peer *found)
{
	for (size_t i = 0; i < peers->count; i++) {
		const struct peer *other = &peers->list[i];
		if (other->pid == found->pid && other->copy == found->copy &&
		    other->device == found->device && other->inode == found->inode)
			return true;
	}
	return false;
}

/* found: the folder, and whose it is. */
static hsmpool_status add_peer(struct peers *peers, struct peer *found, const char *name,
			       hsmpool_error *err)
{
	if (!hp_control_parse_name(name, &found->pid, &found->copy) ||
	    is_known(peers, found))
		return HSMPOOL_OK;
	struct peer *list =
		reallocarray(peers->list, peers->count + 1, sizeof(*peers->list));
	HP_CHECK(list, err, HSMPOOL_ERR_SYSTEM, "no memory for the list of processes");
	peers->list = list;
	snprintf(found->name, sizeof(found->name), "%.*s", (int)strcspn(name, "."), name);
	list[peers->count++] = *found;
	return HSMPOOL_OK;
}

/* A folder that is not there, or not as it must be, has none. */
static hsmpool_status look_into(struct peers *peers, const char *path, uid_t owner,
				hsmpool_error *err)
{
	struct peer found = { .uid = owner };
	struct stat folder;
	int dir = hp_control_open_dir(path, owner, false);
	DIR *entries = dir >= 0 && fstat(dir, &folder) == 0 ? fdopendir(dir) : NULL;
	if (!entries) {
		hp_close_fd(&dir);
		return HSMPOOL_OK;
	}
	snprintf(found.dir, sizeof(found.dir), "%s", path);
	found.device = folder.st_dev;
	found.inode = folder.st_ino;
	hsmpool_status status = HSMPOOL_OK;
	for (const struct dirent *at; status == HSMPOOL_OK && (at = readdir(entries));)
		status = add_peer(peers, &found, at->d_name, err);
	closedir(entries);
	return status;
}

/* prefix: what the names of folders begin with, the owner's number following it. */
static hsmpool_status look_into_users(struct peers *peers, const char *parent,
				      const char *prefix, const char *suffix,
				      hsmpool_error *err)
{
	DIR *entries = opendir(parent);
	hsmpool_status status = HSMPOOL_OK;
	if (!entries)
		return HSMPOOL_OK;
	for (const struct dirent *at; status == HSMPOOL_OK && (at = readdir(entries));) {
		const char *number = at->d_name + strlen(prefix);
		char path[PATH_MAX], *end;
		if (strncmp(at->d_name, prefix, strlen(prefix)) != 0)
			continue;
		unsigned long owner = strtoul(number, &end, 10);
		if (end == number || *end != '\0' || owner >= (uid_t)-1)
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", parent, at->d_name, suffix);
		status = look_into(peers, path, (uid_t)owner, err);
	}
	closedir(entries);
	return status;
}

static int compare(const void *a, const void *b)
{
	const struct peer *one = a, *other = b;
	if (one->pid != other->pid)
		return one->pid < other->pid ? -1 : 1;
	return one->copy < other->copy ? -1 : one->copy > other->copy;
}

/* The user's own, and what root may see besides. */
static hsmpool_status look_everywhere(struct peers *peers, hsmpool_error *err)
{
	char own[PATH_MAX];
	if (hp_control_dir(own, sizeof(own)))
		HP_TRY(look_into(peers, own, geteuid(), err));
	snprintf(own, sizeof(own), "/tmp/hsmpool-%lu", (unsigned long)geteuid());
	HP_TRY(look_into(peers, own, geteuid(), err));
	if (geteuid() != 0) {
		snprintf(own, sizeof(own), "/run/user/%lu/hsmpool",
			 (unsigned long)geteuid());
		return look_into(peers, own, geteuid(), err);
	}
	HP_TRY(look_into(peers, "/run/hsmpool", 0, err));
	HP_TRY(look_into_users(peers, "/run/user", "", "/hsmpool", err));
	return look_into_users(peers, "/tmp", "hsmpool-", "", err);
}

hsmpool_status peers_find(struct peers *peers, hsmpool_error *err)
{
	*peers = (struct peers){ 0 };
	hsmpool_status status = look_everywhere(peers, err);
	if (status != HSMPOOL_OK)
		peers_free(peers);
	if (peers->count > 1)
		qsort(peers->list, peers->count, sizeof(*peers->list), compare);
	return status;
}

void peers_free(struct peers *peers)
{
	free(peers->list);
	*peers = (struct peers){ 0 };
}

bool peer_is_there(const struct peer *peer)
{
	char name[64];
	HP_AUTO_FD int dir = hp_control_open_dir(peer->dir, peer->uid, false);
	if (dir < 0)
		return false;
	hp_control_make_name(name, sizeof(name), peer->pid, peer->copy);
	HP_AUTO_FD int fd = hp_control_connect(dir, name, peer->uid);
	bool is_there = fd >= 0 || errno == EAGAIN;
	if (!is_there)
		hp_control_remove_stale(dir, name);
	return is_there;
}
