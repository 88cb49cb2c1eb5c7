/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target over its seeds, without libFuzzer: replay FOLDER
 *
 * One TAP test per file. An input that breaks something ends the program; the comment
 * before says which it was.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int is_no_hidden_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* malloc()ed to the file's length. */
static uint8_t *read_seed(const char *folder, const char *name, size_t *len)
{
	char path[4096];
	struct stat info;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	MUST(file && fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode));
	*len = (size_t)info.st_size;
	uint8_t *data = malloc(*len > 0 ? *len : 1);
	MUST(data && fread(data, 1, *len, file) == *len);
	fclose(file);
	return data;
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	int count =
		argc == 2 ? scandir(argv[1], &entries, is_no_hidden_file, alphasort) : -1;
	if (count <= 0) {
		fprintf(stderr, "Usage: %s FOLDER, with seeds in it\n", argv[0]);
		return 64;
	}
	printf("1..%d\n", count);
	for (int i = 0; i < count; i++) {
		size_t len;
		uint8_t *data = read_seed(argv[1], entries[i]->d_name, &len);
		printf("# %s\n", entries[i]->d_name);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, len);
		printf("ok %d - %s\n", i + 1, entries[i]->d_name);
		free(data);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
