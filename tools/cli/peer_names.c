/* SPDX-License-Identifier: Apache-2.0 */
/* Names of processes and users: see peer_names.h. */
#include "peer_names.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"

void peer_read_program(const struct peer *peer, char *name, size_t cap)
{
	char path[32];
	HP_AUTO_FD int fd = -1;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd >= 0 ? read(fd, name, cap - 1) : 0;
	if (len > 0 && name[len - 1] == '\n')
		len--;
	name[len > 0 ? len : 0] = '\0';
}

void peer_read_user(const struct peer *peer, char *name, size_t cap)
{
	struct passwd entry, *found = NULL;
	char buffer[4096];

	if (getpwuid_r(peer->uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(name, cap, "%s", found->pw_name);
	else
		snprintf(name, cap, "%u", peer->uid);
}
