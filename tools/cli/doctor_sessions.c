/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many sessions does the token really give?
 *
 * Tokens report a limit, none, or a wrong one; so they are asked: sessions are opened
 * beside the pool's, up to what is needed and two more, and closed at once. They share
 * the pool's login, so no PIN is used.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include "p11/session.h"
#include "pool/pool.h"

#define A_BIT     2
#define MAX_PROBE 2048

struct probe {
	unsigned long wanted;
	unsigned long given; /* the pool's included */
	CK_RV refusal;       /* CKR_OK: all that were wanted were given */
};

static void open_and_close(struct doctor *doctor, struct probe *probe)
{
	unsigned long in_pool = probe->given;
	struct hp_session *sessions = calloc(probe->wanted, sizeof(*sessions));
	bool is_read_write = doctor->options.session_mode == HP_SESSIONS_READ_WRITE;
	unsigned long opened = 0;

	if (!sessions)
		return;
	while (in_pool + opened < probe->wanted && probe->refusal == CKR_OK) {
		probe->refusal = hp_session_open(&sessions[opened], doctor->module,
						 doctor->token.slot, is_read_write);
		if (probe->refusal == CKR_OK)
			opened++;
	}
	for (unsigned long i = 0; i < opened; i++)
		hp_session_close(&sessions[i]);
	free(sessions);
	probe->given = in_pool + opened;
}

static unsigned long needed(const struct doctor *doctor)
{
	unsigned long processes = doctor->processes ? doctor->processes : 1;

	return processes * doctor->options.max_sessions;
}

static void note_refused(struct doctor *doctor, const struct probe *probe)
{
	char name[32];

	doctor_note(
		doctor, "sessions", FINDING_WARNING,
		"lower max-sessions, or the number of processes, or free sessions that "
		"other programs hold",
		"the token gave %lu and then answered %s; %u process%s with max-sessions "
		"%u need %lu",
		probe->given, hp_rv_name(probe->refusal, name),
		doctor->processes ? doctor->processes : 1,
		doctor->processes > 1 ? "es" : "", doctor->options.max_sessions,
		needed(doctor));
}

void doctor_check_sessions(struct doctor *doctor)
{
	hsmpool_stats stats = { .size = sizeof(stats) };
	CK_ULONG reported = hp_token_session_limit(
		&doctor->token, doctor->options.session_mode == HP_SESSIONS_READ_WRITE);
	struct probe probe = { .wanted = needed(doctor) + A_BIT };

	if (probe.wanted > MAX_PROBE)
		probe.wanted = MAX_PROBE;
	hsmpool_get_stats(doctor->cli->pool, &stats);
	probe.given = stats.open;
	open_and_close(doctor, &probe);
	if (probe.refusal != CKR_OK && probe.given < needed(doctor))
		note_refused(doctor, &probe);
	else if (reported && reported < needed(doctor))
		doctor_note(
			doctor, "sessions", FINDING_WARNING,
			"lower max-sessions or the number of processes",
			"the token reports a limit of %lu, %lu are needed (it gave %lu)",
			reported, needed(doctor), probe.given);
	else
		doctor_note(doctor, "sessions", FINDING_OK, NULL,
			    "the token gave %lu, %lu are needed; its limit: %s",
			    probe.given, needed(doctor),
			    probe.refusal != CKR_OK ? "reached"
			    : reported              ? "reported, not reached"
						    : "not told");
}
