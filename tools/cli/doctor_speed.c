/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long does one operation take, through the pool, by one thread?
 *
 * A key that is counted or limited is not used, and no signature is made with a key that
 * was not named on the command line.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/time.h"
#include "stop.h"

#define MAX_ROUNDS 51
#define MAX_TIME   (500 * HP_MS) /* per operation; at least one round */

struct subject {
	hsmpool *pool;
	hsmpool_key *key;
	const char *scheme;
};

typedef hsmpool_status (*operation_fn)(struct subject *subject, hsmpool_error *err);

static const uint8_t sample[64];

static hsmpool_status do_borrow(struct subject *subject, hsmpool_error *err)
{
	hsmpool_session *session = NULL;

	HP_TRY(hsmpool_borrow(subject->pool, &session, HSMPOOL_BORROW_ANY, "doctor",
			      HSMPOOL_DEFAULT, err));
	hsmpool_return(&session, HSMPOOL_VERDICT_CLEAN);
	return HSMPOOL_OK;
}

static hsmpool_status do_random(struct subject *subject, hsmpool_error *err)
{
	uint8_t data[32];

	return hsmpool_random(subject->pool, data, sizeof(data), HSMPOOL_DEFAULT, err);
}

static hsmpool_status do_digest(struct subject *subject, hsmpool_error *err)
{
	uint8_t data[64];
	hsmpool_buf digest = { .data = data, .cap = sizeof(data) };

	return hsmpool_digest(subject->pool, "sha256",
			      (hsmpool_bytes){ sample, sizeof(sample) }, &digest,
			      HSMPOOL_DEFAULT, err);
}

static hsmpool_status do_encrypt(struct subject *subject, hsmpool_error *err)
{
	uint8_t data[256];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_encrypt(subject->pool, subject->key, subject->scheme, NULL,
			       (hsmpool_bytes){ sample, sizeof(sample) }, &out,
			       HSMPOOL_DEFAULT, err);
}

static hsmpool_status do_sign(struct subject *subject, hsmpool_error *err)
{
	uint8_t data[4096];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_sign(subject->pool, subject->key, subject->scheme,
			    (hsmpool_bytes){ sample, sizeof(sample) }, &out,
			    HSMPOOL_DEFAULT, err);
}

static hsmpool_status do_mac(struct subject *subject, hsmpool_error *err)
{
	uint8_t data[64];
	hsmpool_buf out = { .data = data, .cap = sizeof(data) };

	return hsmpool_mac(subject->pool, subject->key, subject->scheme,
			   (hsmpool_bytes){ sample, sizeof(sample) }, &out,
			   HSMPOOL_DEFAULT, err);
}

static int compare_times(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a;
	int64_t right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static void format_time(double seconds, char *text, size_t cap)
{
	if (seconds < 1e-3)
		snprintf(text, cap, "%.1f us", seconds * 1e6);
	else
		snprintf(text, cap, "%.1f ms", seconds * 1e3);
}

static void note_times(struct doctor *doctor, const char *name, int64_t *times,
		       size_t rounds)
{
	double median, slowest;
	char median_text[24], slowest_text[24];

	qsort(times, rounds, sizeof(*times), compare_times);
	median = (double)times[rounds / 2] / 1e9;
	slowest = (double)times[rounds - 1] / 1e9;
	format_time(median, median_text, sizeof(median_text));
	format_time(slowest, slowest_text, sizeof(slowest_text));
	doctor_note(doctor, name, FINDING_OK, NULL, "median %s, slowest %s of %zu",
		    median_text, slowest_text, rounds)
		->seconds = median;
}

static void time_operation(struct doctor *doctor, const char *name, operation_fn run,
			   struct subject *subject)
{
	int64_t times[MAX_ROUNDS];
	int64_t start = hp_now_ns();
	hsmpool_error err = { 0 };
	size_t rounds = 0;

	do {
		int64_t before = hp_now_ns();
		hsmpool_status status = run(subject, &err);

		if (status == HSMPOOL_ERR_UNSUPPORTED) {
			doctor_note(doctor, name, FINDING_SKIPPED, NULL, "%s", err.text);
			return;
		}
		if (status != HSMPOOL_OK) {
			doctor_fail(doctor, name, DOCTOR_LOOK_AT_LOGS, status, &err);
			return;
		}
		times[rounds++] = hp_now_ns() - before;
	} while (rounds < MAX_ROUNDS && hp_now_ns() - start < MAX_TIME &&
		 !stop_requested());
	note_times(doctor, name, times, rounds);
}

/* --- with a key ----------------------------------------------------------------------
 */

static bool is_counted(struct doctor *doctor, const char *name)
{
	char section[256];
	const char *value;

	snprintf(section, sizeof(section), "key %s", name);
	value = hsmpool_config_get(doctor->cli->config, section, "counting");
	return value && strcmp(value, "yes") == 0;
}

static const char *signature_scheme(const hsmpool_key_info *info)
{
	if (strcmp(info->type, "rsa") == 0)
		return "rsa-pkcs1-sha256";
	return strcmp(info->type, "ed25519") == 0 ? "ed25519" : "ecdsa-sha256";
}

static void time_key(struct doctor *doctor, struct subject *subject,
		     const hsmpool_key_info *info)
{
	bool is_aes = strcmp(info->type, "aes") == 0;
	bool is_secret = strcmp(info->class_name, "secret-key") == 0;

	if (is_aes && info->flags & HSMPOOL_KEY_CAN_ENCRYPT) {
		subject->scheme = "aes-gcm";
		time_operation(doctor, "encrypt aes-gcm", do_encrypt, subject);
	}
	if (!doctor->which || !(info->flags & HSMPOOL_KEY_CAN_SIGN))
		return;
	if (is_secret) {
		subject->scheme = is_aes ? "aes-cmac" : "hmac-sha256";
		time_operation(doctor, "mac", do_mac, subject);
	} else {
		subject->scheme = signature_scheme(info);
		time_operation(doctor, "sign", do_sign, subject);
	}
}

static void check_key(struct doctor *doctor, struct subject *subject, const char *which)
{
	static const char advice[] =
		"correct the key's uri in the configuration, or make "
		"it: hsmpool-cli keygen; hsmpool-cli keys lists what "
		"is there";
	hsmpool_key_info info = { .size = sizeof(info) };
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_open_key(doctor->cli, which, &subject->key, &err);

	if (status == HSMPOOL_OK)
		status = hsmpool_key_get_info(subject->key, &info, HSMPOOL_DEFAULT, &err);
	if (status != HSMPOOL_OK) {
		doctor_fail(doctor, "key", advice, status, &err);
	} else {
		doctor_note(doctor, "key", FINDING_OK, NULL, "%s", info.uri);
		time_key(doctor, subject, &info);
	}
	hsmpool_key_close(&subject->key);
}

void doctor_check_speed(struct doctor *doctor)
{
	struct subject subject = { .pool = doctor->cli->pool };
	bool has_default =
		hsmpool_config_get(doctor->cli->config, "key default", "uri") != NULL;
	const char *which = doctor->which ? doctor->which
			    : has_default ? "default"
					  : NULL;

	time_operation(doctor, "borrow and return", do_borrow, &subject);
	time_operation(doctor, "random 32 bytes", do_random, &subject);
	time_operation(doctor, "digest sha256", do_digest, &subject);
	if (!which)
		doctor_note(doctor, "key", FINDING_SKIPPED, NULL,
			    "no [key default] in the configuration, and no --key");
	else if (is_counted(doctor, which))
		doctor_note(doctor, "key", FINDING_SKIPPED, NULL,
			    "%s is counted: not used for a test", which);
	else
		check_key(doctor, &subject, which);
}
