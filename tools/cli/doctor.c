/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsmpool-cli doctor: everything between the configuration and a working operation,
 * step by step, each failure with what to do.
 *
 * Owns: the order of the checks. The PIN is tried at most once, by opening the pool,
 * and not at all when the token says that one try is left. Steps that need a failed one
 * are left out.
 */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <json.h>
#include "base/error.h"
#include "base/memory.h"
#include "latched.h"
#include "p11/uri.h"

enum { OPTION_PROCESSES = CLI_OWN };

static const struct cli_option options[] = {
	{ "processes", OPTION_PROCESSES, "N",
	  "processes that will share the token: N x max-sessions must fit" },
	{ "key", CLI_KEY, "KEY",
	  "time this key's operations too (else [key default], if it encrypts)" },
	CLI_OPTION_END,
};

static const struct cli_usage usage = {
	.synopsis = "[--processes N] [--key KEY]",
	.about =
		"Check configuration, module, token, PIN (one try), mechanisms, sessions "
		"and speed.\nSessions are opened up to max-sessions and two more (with "
		"--processes: up to all that\nare needed), and closed again.",
	.options = options,
};

/* --- the report ------------------------------------------------------------------------
 */

static const char *const finding_names[] = {
	[FINDING_OK] = "ok",
	[FINDING_WARNING] = "warning",
	[FINDING_FAILURE] = "FAILURE",
	[FINDING_SKIPPED] = "skipped",
};

struct check *doctor_note(struct doctor *doctor, const char *name, enum finding finding,
			  const char *advice, const char *format, ...)
{
	struct check *check = &doctor->checks[doctor->count];
	va_list arguments;

	if (doctor->count < DOCTOR_MAX_CHECKS - 1)
		doctor->count++;
	*check = (struct check){ .name = name, .finding = finding, .advice = advice };
	va_start(arguments, format);
	vsnprintf(check->text, sizeof(check->text), format, arguments);
	va_end(arguments);
	return check;
}

hsmpool_status doctor_fail(struct doctor *doctor, const char *name, const char *advice,
			   hsmpool_status status, const hsmpool_error *err)
{
	doctor_note(doctor, name, FINDING_FAILURE, advice, "%s", err->text);
	if (doctor->first_failure == HSMPOOL_OK)
		doctor->first_failure = status;
	return status;
}

static void print_text(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++) {
		const struct check *check = &doctor->checks[i];

		printf("%-8s %-24s %s\n", finding_names[check->finding], check->name,
		       check->text);
		if (check->advice)
			printf("%-8s %-24s to do: %s\n", "", "", check->advice);
	}
}

static void print_json(const struct doctor *doctor)
{
	struct json_object *root = json_object_new_object();
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < doctor->count; i++) {
		const struct check *check = &doctor->checks[i];
		struct json_object *entry = json_object_new_object();
		const char *finding = check->finding == FINDING_FAILURE
					      ? "failure"
					      : finding_names[check->finding];

		json_object_object_add(entry, "check",
				       json_object_new_string(check->name));
		json_object_object_add(entry, "finding", json_object_new_string(finding));
		json_object_object_add(entry, "text",
				       json_object_new_string(check->text));
		if (check->advice)
			json_object_object_add(entry, "advice",
					       json_object_new_string(check->advice));
		if (check->seconds > 0)
			json_object_object_add(entry, "median-seconds",
					       json_object_new_double(check->seconds));
		json_object_array_add(list, entry);
	}
	json_object_object_add(
		root, "healthy",
		json_object_new_boolean(doctor->first_failure == HSMPOOL_OK));
	json_object_object_add(root, "checks", list);
	cli_print_json(root);
}

/* --- configuration, module, token
 * ------------------------------------------------------- */

static hsmpool_status check_config(struct doctor *doctor)
{
	static const char advice[] =
		"correct the file; hsmpool-cli config check shows all "
		"options, hsmpool-cli dev init makes a first one";
	hsmpool_error err = { 0 };
	struct cli *cli = doctor->cli;
	hsmpool_status status = cli_open_config(cli, &err);

	if (status == HSMPOOL_OK)
		status = hp_config_pool(cli->config, cli->pool_name, &doctor->options,
					&err);
	if (status != HSMPOOL_OK)
		return doctor_fail(doctor, "configuration", advice, status, &err);
	doctor->has_options = true;
	if (!doctor->options.module) {
		status = hp_fail(&err, HSMPOOL_ERR_CONFIG, "%s names no module",
				 hsmpool_config_path(cli->config));
		return doctor_fail(doctor, "configuration", advice, status, &err);
	}
	doctor_note(doctor, "configuration", FINDING_OK, NULL, "%s",
		    hsmpool_config_path(cli->config));
	return HSMPOOL_OK;
}

static hsmpool_status check_module(struct doctor *doctor)
{
	static const char advice[] =
		"install the HSM's PKCS#11 module (SoftHSM2: apt install "
		"softhsm2) and correct module = in the configuration";
	struct hp_rv_overrides overrides = { 0 };
	hsmpool_error err = { 0 };
	hsmpool_status status;
	char description[33];
	const CK_INFO *info;

	status = hp_rv_overrides_parse(doctor->options.rv_class, &overrides, &err);
	if (status == HSMPOOL_OK)
		status = hp_module_open(&doctor->module, doctor->options.module,
					doctor->options.module_env, &overrides, &err);
	if (status != HSMPOOL_OK)
		return doctor_fail(doctor, "module", advice, status, &err);
	info = &doctor->module->info;
	hp_token_text(info->libraryDescription, sizeof(info->libraryDescription),
		      description);
	doctor_note(doctor, "module", FINDING_OK, NULL, "%s: %s %d.%d, Cryptoki %d.%d%s",
		    doctor->module->path, description, info->libraryVersion.major,
		    info->libraryVersion.minor, info->cryptokiVersion.major,
		    info->cryptokiVersion.minor,
		    doctor->module->is_serialised
			    ? ", not thread-safe: one call at a time"
			    : "");
	return HSMPOOL_OK;
}

static hsmpool_status find_token(struct doctor *doctor, hsmpool_error *err)
{
	struct hp_uri *uri = NULL;
	hsmpool_status status;

	if (doctor->options.token)
		HP_TRY(hp_uri_parse(doctor->options.token, &uri, err));
	status = hp_token_find(doctor->module, uri, &doctor->token, err);
	hp_uri_free(&uri);
	return status;
}

static hsmpool_status check_token(struct doctor *doctor)
{
	static const char advice[] =
		"correct token = in the configuration so that exactly "
		"one token matches (p11tool --list-tokens, or "
		"pkcs11-tool -L, shows them), or initialise the token";
	const CK_TOKEN_INFO *info = &doctor->token.info;
	char label[33], serial[17], model[17];
	hsmpool_error err = { 0 };
	hsmpool_status status = find_token(doctor, &err);

	if (status != HSMPOOL_OK)
		return doctor_fail(doctor, "token", advice, status, &err);
	hp_token_text(info->label, sizeof(info->label), label);
	hp_token_text(info->serialNumber, sizeof(info->serialNumber), serial);
	hp_token_text(info->model, sizeof(info->model), model);
	doctor_note(doctor, "token", FINDING_OK, NULL,
		    "'%s', serial %s, model %s, slot 0x%lx", label, serial, model,
		    doctor->token.slot);
	return HSMPOOL_OK;
}

/* --- PIN
 * --------------------------------------------------------------------------------- */

/* What the token tells of the tries that are left. */
static const char *tries_left(CK_FLAGS flags)
{
	if (flags & CKF_USER_PIN_LOCKED)
		return "none: it is locked";
	if (flags & CKF_USER_PIN_FINAL_TRY)
		return "one";
	if (flags & CKF_USER_PIN_COUNT_LOW)
		return "fewer than all: a wrong PIN was given since the last login";
	return "all, as far as the token tells";
}

/* Of all programs that use this state-dir. What it means for this one the login shows. */
static void check_latch(struct doctor *doctor)
{
	static const char advice[] =
		"hsmpool-cli pin status shows to whom; correct the PIN there, then "
		"hsmpool-cli pin release";
	struct latched latched;
	char text[96];

	latched_read(doctor->options.state_dir, &doctor->token.info, &latched);
	latched_describe(&latched, text, sizeof(text));
	if (latched.is_damaged)
		doctor_note(doctor, "PIN latch", FINDING_WARNING,
			    "hsmpool-cli pin release --all", "%s", text);
	else if (latched.pins > latched.old)
		doctor_note(doctor, "PIN latch", FINDING_WARNING, advice, "%s", text);
	else
		doctor_note(doctor, "PIN latch", FINDING_OK, NULL, "%s", text);
}

/* One login, made by the pool, whose own rules hold: no try when one is left. */
static hsmpool_status check_pin(struct doctor *doctor)
{
	static const char advice[] =
		"put the right PIN where pin-source says; do not retry "
		"with the same one, tokens lock";
	CK_FLAGS before = doctor->token.info.flags;
	hsmpool_error err = { 0 };
	hsmpool_status status = cli_open_pool(doctor->cli, &err);

	if (status == HSMPOOL_ERR_AUTH) {
		hp_token_refresh(&doctor->token);
		doctor_fail(doctor, "PIN", advice, status, &err);
		doctor_note(doctor, "PIN tries left", FINDING_WARNING, NULL, "%s",
			    tries_left(doctor->token.info.flags));
		return status;
	}
	if (status != HSMPOOL_OK)
		return doctor_fail(doctor, "pool", DOCTOR_LOOK_AT_LOGS, status, &err);
	if (!doctor->options.pin_source)
		doctor_note(doctor, "PIN", FINDING_WARNING,
			    "set pin-source if private keys are to be used",
			    "no pin-source: not logged in");
	else if (before & CKF_USER_PIN_COUNT_LOW)
		doctor_note(doctor, "PIN", FINDING_WARNING,
			    "find out who tries a wrong PIN",
			    "accepted now, but before this login tries left were %s",
			    tries_left(before));
	else
		doctor_note(doctor, "PIN", FINDING_OK, NULL, "accepted; tries left: %s",
			    tries_left(before));
	return HSMPOOL_OK;
}

/* --- mechanisms
 * ---------------------------------------------------------------------------- */

static const struct {
	CK_MECHANISM_TYPE type;
	const char *name;
	const char *purpose;
} wanted_mechanisms[] = {
	{ CKM_AES_GCM, "AES-GCM", "encrypt" },
	{ CKM_AES_KEY_GEN, "AES key generation", "keygen" },
	{ CKM_RSA_PKCS, "RSA PKCS#1", "sign" },
	{ CKM_RSA_PKCS_PSS, "RSA-PSS", "sign" },
	{ CKM_RSA_PKCS_OAEP, "RSA-OAEP", "encrypt" },
	{ CKM_ECDSA, "ECDSA", "sign" },
	{ CKM_SHA256_HMAC, "HMAC", "mac" },
	{ CKM_AES_CMAC, "AES-CMAC", "mac" },
	{ CKM_SHA256, "SHA-256", "digest" },
	{ CKM_AES_KEY_WRAP, "AES-KW", "wrap" },
	{ CKM_ECDH1_DERIVE, "ECDH", "derive" },
};

static void add_word(char *list, size_t cap, const char *word)
{
	size_t at = strlen(list);

	snprintf(list + at, cap - at, "%s%s", at ? ", " : "", word);
}

static void check_mechanisms(struct doctor *doctor)
{
	char there[200] = "", missing[200] = "";
	CK_MECHANISM_INFO info;

	for (size_t i = 0; i < HP_ARRAY_LEN(wanted_mechanisms); i++) {
		bool has =
			hp_token_mechanism_info(&doctor->token, wanted_mechanisms[i].type,
						&info) == CKR_OK;

		add_word(has ? there : missing, sizeof(there), wanted_mechanisms[i].name);
	}
	if (*missing)
		doctor_note(doctor, "mechanisms", FINDING_WARNING,
			    "use other schemes for what is missing",
			    "there: %s; missing: %s", there, missing);
	else
		doctor_note(doctor, "mechanisms", FINDING_OK, NULL, "%s", there);
}

/* --- the verb
 * ------------------------------------------------------------------------------ */

static void examine(struct doctor *doctor)
{
	if (check_config(doctor) != HSMPOOL_OK || check_module(doctor) != HSMPOOL_OK ||
	    check_token(doctor) != HSMPOOL_OK)
		return;
	check_mechanisms(doctor);
	check_latch(doctor);
	if (check_pin(doctor) != HSMPOOL_OK)
		return;
	doctor_check_sessions(doctor);
	doctor_check_speed(doctor);
}

static int report(struct doctor *doctor)
{
	hsmpool_error err = { 0 };
	size_t failures = 0;
	const char *first = NULL;

	if (doctor->cli->is_json)
		print_json(doctor);
	else
		print_text(doctor);
	for (size_t i = 0; i < doctor->count; i++) {
		if (doctor->checks[i].finding != FINDING_FAILURE)
			continue;
		first = first ? first : doctor->checks[i].name;
		failures++;
	}
	if (failures == 0)
		return cli_finish(doctor->cli, HSMPOOL_OK, &err);
	hp_fail(&err, doctor->first_failure, "%zu check%s failed, the first: %s",
		failures, failures == 1 ? "" : "s", first);
	return cli_finish(doctor->cli, doctor->first_failure, &err);
}

static hsmpool_status set_processes(struct doctor *doctor, const char *text,
				    hsmpool_error *err)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	HP_CHECK(*text >= '1' && *text <= '9' && *end == '\0' && number <= 100000, err,
		 HSMPOOL_ERR_USAGE, "--processes is a number from 1 on, not '%s'", text);
	doctor->processes = (uint32_t)number;
	return HSMPOOL_OK;
}

static hsmpool_status take_option(void *user, int id, const char *argument,
				  hsmpool_error *err)
{
	struct doctor *doctor = user;

	if (id != CLI_KEY)
		return set_processes(doctor, argument, err);
	doctor->which = argument;
	return HSMPOOL_OK;
}

int verb_doctor(struct cli *cli, int argc, char **argv)
{
	struct doctor doctor = { .cli = cli };
	hsmpool_error err = { 0 };
	hsmpool_status status =
		cli_parse(cli, &usage, take_option, &doctor, argc, argv, &err);

	if (status != HSMPOOL_OK)
		return cli_finish(cli, status, &err);
	examine(&doctor);
	cli_close(cli);
	hp_module_close(&doctor.module);
	if (doctor.has_options)
		hp_pool_options_clear(&doctor.options);
	return report(&doctor);
}
