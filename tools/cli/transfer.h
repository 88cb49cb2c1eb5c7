/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data on its way from an input through the library's stream to an output.
 */
#ifndef CLI_TRANSFER_H
#define CLI_TRANSFER_H

#include "cli.h"
#include "input.h"
#include "output.h"
#include "progress.h"

#define TRANSFER_MAX_CONTEXT 65536

struct transfer {
	const char *in_path;
	const char *out_path;
	const char *context_path; /* --context-file */
	const char *rate_text;    /* --limit-rate */
	const char *threads;      /* --threads */
	bool is_forced;
	const struct cli *cli; /* from transfer_open() on */
	bool is_encryption;
	hsmpool_stream_options options;
	hsmpool_stream_totals totals;
	struct input in;
	struct output out;
	struct progress progress;
	int64_t start_ns;
	char context[TRANSFER_MAX_CONTEXT + 1];
};

enum {
	TRANSFER_CONTEXT = CLI_OWN + 100,
	TRANSFER_CONTEXT_FILE,
	TRANSFER_THREADS,
};
#define TRANSFER_OPTIONS_CONTEXT                                             \
	{ "context", TRANSFER_CONTEXT, "TEXT",                               \
	  "authenticated but not stored: decryption needs the same" },       \
	{                                                                    \
		"context-file", TRANSFER_CONTEXT_FILE, "FILE",               \
			"the same, from FILE; one newline at its end is cut" \
	}

#define TRANSFER_OPTION_THREADS                                                      \
	{                                                                            \
		"threads", TRANSFER_THREADS, "N",                                    \
			"chunks worked on at once, 1 to 64 (the processors and one " \
			"more; direct mode: max-sessions)"                           \
	}

/* Zeroed, with options ready to be set. malloc()ed: it is big. */
struct transfer *transfer_new(void);
void transfer_free(struct transfer **transfer);
#define TRANSFER_AUTO __attribute__((cleanup(transfer_free))) struct transfer

/* Deal with the options above, --in, --out, --force and --limit-rate. False: another
 * option. */
bool transfer_option(struct transfer *transfer, int id, const char *argument);

/* Before the pool is opened: what can be refused early is. */
hsmpool_status transfer_open(struct transfer *transfer, struct cli *cli,
			     hsmpool_error *err);
/*
 * Run the stream, then make the output last; with --json print the summary: to standard
 * error where the data went to standard output. decrypt: key NULL is found from the
 * header.
 */
hsmpool_status transfer_encrypt(struct transfer *transfer, hsmpool_key *const *keys,
				size_t key_count, hsmpool_error *err);
hsmpool_status transfer_decrypt(struct transfer *transfer, hsmpool_key *key,
				hsmpool_error *err);

#endif
