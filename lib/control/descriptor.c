/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See descriptor.h. Sockets and pipes, unlike eventfd, have an inode each.
 */
#include "control/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the host has closed its standard output, what it prints would go to us. */
static int move_up(int fd)
{
	if (fd > STDERR_FILENO)
		return fd;
	int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return higher;
}

bool hp_descriptor_take(struct hp_descriptor *d, int fd)
{
	struct stat file;
	*d = HP_NO_DESCRIPTOR;
	fd = fd < 0 ? fd : move_up(fd);
	if (fd < 0)
		return false;
	if (fstat(fd, &file) != 0) {
		close(fd);
		return false;
	}
	*d = (struct hp_descriptor){ fd, file.st_dev, file.st_ino };
	return true;
}

bool hp_descriptor_is_ours(const struct hp_descriptor *d)
{
	struct stat file;
	return d->fd >= 0 && fstat(d->fd, &file) == 0 && file.st_dev == d->device &&
	       file.st_ino == d->inode;
}

void hp_descriptor_close(struct hp_descriptor *d)
{
	if (hp_descriptor_is_ours(d))
		close(d->fd);
	*d = HP_NO_DESCRIPTOR;
}
