/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See latch.h.
 *
 * Owns: the file of a token, from opening it to what is decided by it. The file is never
 * removed or replaced, only rewritten or emptied under its lock, so that all wait on the
 * same one. latch->lock is a leaf, over the comparison of PINs only.
 */
#include "pool/latch.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/state_dir.h"
#include "base/time.h"
#include "observe/log.h"
#include "p11/rv.h"

#define NOTE_PATIENCE    (1 * HP_SECOND)
#define RELEASE_PATIENCE (5 * HP_SECOND)

/* Tries of unknown outcome before the PIN counts as refused, if the token's flags speak
 * for it. */
#define MOST_UNKNOWN 2

/* 4 MiB and about 10 ms. What protects the PIN is that 16 bits are kept. */
#define SCRYPT_N 4096
#define SCRYPT_R 8
#define SCRYPT_P 1

struct hp_latch {
	char *state_dir;
	char name[40];
	struct hp_latch_record token; /* its description; no PINs */
	pthread_mutex_t lock;
	/* guarded by lock: the last mark that was made */
	struct hp_secret *pin;
	uint8_t salt[HP_LATCH_SALT_LEN];
	uint16_t mark;
};

/* --- life --------------------------------------------------------------------------- */

static uint64_t mix(uint64_t sum, const CK_UTF8CHAR *field, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ field[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static void name_file(char *name, size_t cap, const CK_TOKEN_INFO *token, bool is_above)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	sum = mix(sum, token->serialNumber, sizeof token->serialNumber);
	sum = mix(sum, token->label, sizeof token->label);
	sum = mix(sum, token->manufacturerID, sizeof token->manufacturerID);
	sum = mix(sum, (const CK_UTF8CHAR *)"above", is_above ? strlen("above") : 0);
	snprintf(name, cap, "pin-%016llx.latch", (unsigned long long)sum);
}

struct hp_latch *hp_latch_new(const char *state_dir, const CK_TOKEN_INFO *token,
			      bool is_above)
{
	struct hp_latch *latch = calloc(1, sizeof *latch);
	if (!latch)
		return NULL;
	latch->state_dir = hp_strdup(state_dir);
	if (state_dir && !latch->state_dir) {
		free(latch);
		return NULL;
	}
	name_file(latch->name, sizeof latch->name, token, is_above);
	hp_latch_record_describe(&latch->token, token);
	pthread_mutex_init(&latch->lock, NULL);
	return latch;
}

void hp_latch_free(struct hp_latch **latch)
{
	if (!*latch)
		return;
	hp_secret_free(&(*latch)->pin);
	free((*latch)->state_dir);
	free(*latch);
	*latch = NULL;
}

/* --- marks -------------------------------------------------------------------------- */

/* In a library context of our own: the process's may be configured to come back to us
 * for its algorithms. */
static bool run_scrypt(const struct hp_secret *pin, const uint8_t *salt, uint8_t out[2])
{
	OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *provider = context ? OSSL_PROVIDER_load(context, "default") : NULL;
	bool is_made =
		provider && EVP_PBE_scrypt_ex((const char *)pin->data, pin->len, salt,
					      HP_LATCH_SALT_LEN, SCRYPT_N, SCRYPT_R,
					      SCRYPT_P, 0, out, 2, context, NULL) == 1;
	OSSL_PROVIDER_unload(provider);
	OSSL_LIB_CTX_free(context);
	return is_made;
}

static bool recall_mark(struct hp_latch *latch, const struct hp_secret *pin,
			const uint8_t *salt, uint16_t *mark)
{
	pthread_mutex_lock(&latch->lock);
	bool is_same = latch->pin && latch->pin->len == pin->len &&
		       hp_equal_secret(latch->pin->data, pin->data, pin->len) &&
		       memcmp(latch->salt, salt, HP_LATCH_SALT_LEN) == 0;
	*mark = latch->mark;
	pthread_mutex_unlock(&latch->lock);
	return is_same;
}

static void remember_mark(struct hp_latch *latch, const struct hp_secret *pin,
			  const uint8_t *salt, uint16_t mark)
{
	struct hp_secret *copy = hp_secret_new(pin->len ? pin->len : 1);
	if (!copy)
		return;
	memcpy(copy->data, pin->data, pin->len);
	copy->len = pin->len;
	pthread_mutex_lock(&latch->lock);
	struct hp_secret *old = latch->pin;
	latch->pin = copy;
	memcpy(latch->salt, salt, HP_LATCH_SALT_LEN);
	latch->mark = mark;
	pthread_mutex_unlock(&latch->lock);
	hp_secret_free(&old);
}

static bool make_mark(struct hp_latch *latch, const struct hp_secret *pin,
		      const uint8_t *salt, uint16_t *mark)
{
	uint8_t bytes[2];
	if (recall_mark(latch, pin, salt, mark))
		return true;
	if (!run_scrypt(pin, salt, bytes))
		return false;
	*mark = hp_get_be16(bytes);
	remember_mark(latch, pin, salt, *mark);
	return true;
}

/* --- the file ----------------------------------------------------------------------- */

enum content { EMPTY, DAMAGED, READABLE };

static enum content read_record(int file, struct hp_latch_record *record)
{
	char text[HP_LATCH_TEXT_LEN + 1];
	ssize_t len;
	do
		len = pread(file, text, sizeof text, 0);
	while (len < 0 && errno == EINTR);
	*record = (struct hp_latch_record){ 0 };
	if (len == 0)
		return EMPTY;
	return len > 0 && hp_latch_record_parse(text, (size_t)len, record) ? READABLE
									   : DAMAGED;
}

/* What does not fit on a full disk must not look like damage: that can only be the first
 * record of a file, later ones take the place of another. */
static bool write_record(int file, const struct hp_latch_record *record, bool is_durable)
{
	char text[HP_LATCH_TEXT_LEN];
	ssize_t len;
	hp_latch_record_print(record, text);
	do
		len = pwrite(file, text, sizeof text, 0);
	while (len < 0 && errno == EINTR);
	if (len == (ssize_t)sizeof text)
		return !is_durable || fdatasync(file) == 0;
	int failure = len < 0 ? errno : ENOSPC;
	if (len > 0 && ftruncate(file, 0) != 0)
		failure = errno;
	errno = failure;
	return false;
}

static hsmpool_status open_file(const struct hp_latch *latch, bool can_make, int *file,
				hsmpool_error *err)
{
	HP_AUTO_FD int dir = -1;
	*file = -1;
	HP_TRY(hp_state_dir_open(latch->state_dir, can_make, &dir, err));
	if (dir < 0)
		return HSMPOOL_OK;
	return hp_state_file_open(dir, latch->name, can_make, file, err);
}

/* Once per process. */
static void warn_unshared(const char *reason)
{
	static atomic_bool is_told;
	if (!atomic_exchange(&is_told, true))
		HP_LOG(WARNING, "pin-latch-local",
		       "a refused PIN is remembered by each process for itself only: %s",
		       reason);
}

static void warn_unwritable(void)
{
	hsmpool_error err;
	hp_fail_errno(&err, HSMPOOL_ERR_SYSTEM, errno,
		      "a file in state-dir: cannot be "
		      "written");
	warn_unshared(err.text);
}

/* --- what is said of a PIN ---------------------------------------------------------- */

static hsmpool_status fail_damaged(const struct hp_latch *latch, hsmpool_error *err)
{
	return hp_fail(
		err, HSMPOOL_ERR_AUTH,
		"whether token '%s' refused the PIN is not known, it is not tried: "
		"run hsmpool-cli pin release --all to forget the damaged file "
		"%s/%s",
		latch->token.label, latch->state_dir, latch->name);
}

/* pin NULL: nothing is known of it. */
static hsmpool_status refuse_known(const struct hp_latch *latch,
				   const struct hp_latch_pin *pin, hsmpool_error *err)
{
	char name[32];
	if (!pin || pin->state != HP_LATCH_REFUSED)
		return HSMPOOL_OK;
	const struct hp_rv_info *known = hp_rv_find(pin->rv);
	hp_fail(err, HSMPOOL_ERR_AUTH,
		"token '%s' refused this PIN before; it is not tried again: correct the "
		"PIN source, or run hsmpool-cli pin release (%s: %s)",
		latch->token.label, hp_rv_name(pin->rv, name),
		known ? known->text : "the vendor's own");
	if (err)
		err->ck_rv = pin->rv;
	return HSMPOOL_ERR_AUTH;
}

static hsmpool_status fail_unknown(const struct hp_latch *latch,
				   const struct hp_latch_pin *pin, hsmpool_error *err)
{
	return hp_fail(err, HSMPOOL_ERR_AUTH,
		       "process %d ended while it tried this PIN on token '%s': it may "
		       "be wrong and is not tried again; run hsmpool-cli pin release if "
		       "it is right",
		       pin->process, latch->token.label);
}

/* --- a turn ------------------------------------------------------------------------- */

/* The salt stays as long as the file is not emptied: made before the wait, the mark is
 * good after it. And who is refused need not wait. */
static hsmpool_status look_first(struct hp_latch *latch, const struct hp_secret *pin,
				 int file, hsmpool_error *err)
{
	struct hp_latch_record record;
	uint16_t mark;
	if (read_record(file, &record) != READABLE ||
	    !make_mark(latch, pin, record.salt, &mark))
		return HSMPOOL_OK;
	return refuse_known(latch, hp_latch_record_find(&record, mark), err);
}

static hsmpool_status fail_late(const struct hp_latch *latch, int file,
				hsmpool_error *err)
{
	struct hp_latch_record record;
	int process = 0;
	if (read_record(file, &record) == READABLE)
		for (size_t i = 0; i < HP_LATCH_PINS; i++)
			if (record.pins[i].state == HP_LATCH_BEGUN)
				process = record.pins[i].process;
	return hp_fail(err, HSMPOOL_ERR_TIMEOUT,
		       "another process (%d) had not finished its login to token '%s' by "
		       "the deadline",
		       process, latch->token.label);
}

static hsmpool_status start_record(struct hp_latch *latch, struct hp_latch_turn *turn,
				   hsmpool_error *err)
{
	turn->record = latch->token;
	HP_CHECK(getrandom(turn->record.salt, HP_LATCH_SALT_LEN, 0) == HP_LATCH_SALT_LEN,
		 err, HSMPOOL_ERR_SYSTEM, "no random bytes for a salt");
	return HSMPOOL_OK;
}

/* The file is locked. SYSTEM: go on without it. */
static hsmpool_status read_locked(struct hp_latch *latch, const struct hp_secret *pin,
				  struct hp_latch_turn *turn, hsmpool_error *err)
{
	enum content content = read_record(turn->file, &turn->record);
	if (content == DAMAGED)
		return fail_damaged(latch, err);
	if (content == EMPTY)
		HP_TRY(start_record(latch, turn, err));
	HP_CHECK(make_mark(latch, pin, turn->record.salt, &turn->mark), err,
		 HSMPOOL_ERR_SYSTEM, "scrypt of OpenSSL failed");
	return HSMPOOL_OK;
}

static hsmpool_status take_turn(struct hp_latch *latch, const struct hp_secret *pin,
				int64_t deadline_ns, struct hp_latch_turn *turn,
				hsmpool_error *err)
{
	turn->latch = latch;
	turn->has_begun = false;
	HP_TRY(open_file(latch, true, &turn->file, err));
	hsmpool_status status = look_first(latch, pin, turn->file, err);
	if (status == HSMPOOL_OK)
		status = hp_state_file_lock(turn->file, deadline_ns, err);
	if (status == HSMPOOL_ERR_TIMEOUT)
		fail_late(latch, turn->file, err);
	if (status == HSMPOOL_OK)
		status = read_locked(latch, pin, turn, err);
	if (status != HSMPOOL_OK)
		hp_state_file_close(&turn->file);
	return status;
}

hsmpool_status hp_latch_enter(struct hp_latch *latch, const struct hp_secret *pin,
			      int64_t deadline_ns, struct hp_latch_turn *turn,
			      hsmpool_error *err)
{
	hsmpool_error scratch;
	err = err ? err : &scratch;
	hsmpool_status status = take_turn(latch, pin, deadline_ns, turn, err);
	if (status == HSMPOOL_ERR_SYSTEM) {
		warn_unshared(err->text);
		return HSMPOOL_OK;
	}
	HP_TRY(status);
	status =
		refuse_known(latch, hp_latch_record_find(&turn->record, turn->mark), err);
	if (status != HSMPOOL_OK)
		hp_state_file_close(&turn->file);
	return status;
}

static void sign_entry(struct hp_latch_pin *pin)
{
	pin->time_s = (long long)time(NULL);
	pin->process = (int)getpid();
}

hsmpool_status hp_latch_begin(struct hp_latch_turn *turn, CK_FLAGS flags,
			      hsmpool_error *err)
{
	const CK_FLAGS counted =
		CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
	if (turn->file < 0)
		return HSMPOOL_OK;
	struct hp_latch_pin *pin = hp_latch_record_find(&turn->record, turn->mark);
	if (pin && ((flags & counted) || pin->unknown >= MOST_UNKNOWN))
		return fail_unknown(turn->latch, pin, err);
	if (!pin)
		pin = hp_latch_record_add(&turn->record, turn->mark);
	HP_CHECK(pin, err, HSMPOOL_ERR_AUTH,
		 "token '%s' refused %d PINs in a row; no other is tried: correct the "
		 "PIN source and run hsmpool-cli pin release",
		 turn->latch->token.label, HP_LATCH_PINS);
	pin->unknown++;
	sign_entry(pin);
	turn->has_begun = write_record(turn->file, &turn->record, (flags & counted) != 0);
	if (!turn->has_begun)
		warn_unwritable();
	return HSMPOOL_OK;
}

static void note_not_made(struct hp_latch_record *record, struct hp_latch_pin *pin)
{
	if (--pin->unknown == 0)
		hp_latch_record_remove(record, pin);
}

static void note_refused(struct hp_latch_pin *pin, CK_RV rv)
{
	pin->state = HP_LATCH_REFUSED;
	pin->rv = rv;
	pin->is_old = false;
	sign_entry(pin);
}

static bool write_outcome(struct hp_latch_turn *turn, enum hp_latch_outcome outcome,
			  CK_RV rv)
{
	struct hp_latch_record *record = &turn->record;
	struct hp_latch_pin *pin = hp_latch_record_find(record, turn->mark);
	if (outcome == HP_LATCH_TRY_UNKNOWN || !pin)
		return false;
	if (outcome == HP_LATCH_TRY_GOOD)
		hp_latch_record_note_good(record, turn->mark);
	else if (outcome == HP_LATCH_TRY_REFUSED)
		note_refused(pin, rv);
	else
		note_not_made(record, pin);
	bool is_refused = outcome == HP_LATCH_TRY_REFUSED;
	bool is_written = write_record(turn->file, record, is_refused);
	if (!is_written)
		warn_unwritable();
	return is_written && is_refused;
}

bool hp_latch_end(struct hp_latch_turn *turn, enum hp_latch_outcome outcome, CK_RV rv)
{
	bool is_on_file = turn->has_begun && write_outcome(turn, outcome, rv);
	hp_state_file_close(&turn->file);
	turn->has_begun = false;
	return is_on_file;
}

/* --- without a turn ----------------------------------------------------------------- */

enum hp_latch_view hp_latch_look(struct hp_latch *latch, const struct hp_secret *pin,
				 hsmpool_error *err)
{
	HP_AUTO_FD int file = -1;
	struct hp_latch_record record;
	hsmpool_error none;
	uint16_t mark;
	if (open_file(latch, false, &file, &none) != HSMPOOL_OK || file < 0)
		return HP_LATCH_SAYS_NOTHING;
	enum content content = read_record(file, &record);
	if (content == EMPTY ||
	    (content == READABLE && hp_latch_record_is_clear(&record)))
		return HP_LATCH_SAYS_CLEAR;
	/* One that is just being written reads like a damaged one. */
	if (content == DAMAGED || !make_mark(latch, pin, record.salt, &mark))
		return HP_LATCH_SAYS_NOTHING;
	struct hp_latch_pin *known = hp_latch_record_find(&record, mark);
	return refuse_known(latch, known, err) == HSMPOOL_OK ? HP_LATCH_SAYS_CLEAR
							     : HP_LATCH_SAYS_REFUSED;
}

void hp_latch_note_good(struct hp_latch *latch, const struct hp_secret *pin)
{
	struct hp_latch_record record;
	hsmpool_error err;
	uint16_t mark;
	int file;
	if (open_file(latch, false, &file, &err) != HSMPOOL_OK || file < 0)
		return;
	/* Mostly there is nothing to note. */
	bool is_due = read_record(file, &record) == READABLE &&
		      !hp_latch_record_is_clear(&record) &&
		      make_mark(latch, pin, record.salt, &mark) &&
		      hp_state_file_lock(file, hp_time_add(hp_now_ns(), NOTE_PATIENCE),
					 &err) == HSMPOOL_OK &&
		      read_record(file, &record) == READABLE &&
		      make_mark(latch, pin, record.salt, &mark);
	if (is_due) {
		hp_latch_record_note_good(&record, mark);
		if (!write_record(file, &record, false))
			warn_unwritable();
	}
	hp_state_file_close(&file);
}

bool hp_latch_note_refused(struct hp_latch *latch, const struct hp_secret *pin, CK_RV rv)
{
	struct hp_latch_turn turn = HP_LATCH_NO_TURN;
	hsmpool_error err;
	hsmpool_status status = take_turn(
		latch, pin, hp_time_add(hp_now_ns(), NOTE_PATIENCE), &turn, &err);
	if (status != HSMPOOL_OK)
		return status == HSMPOOL_ERR_AUTH &&
		       hp_latch_look(latch, pin, &err) == HP_LATCH_SAYS_REFUSED;
	turn.has_begun = hp_latch_record_find(&turn.record, turn.mark) ||
			 hp_latch_record_add(&turn.record, turn.mark);
	return hp_latch_end(&turn, HP_LATCH_TRY_REFUSED, rv);
}

/* --- for the command line ----------------------------------------------------------- */

static bool is_latch_name(const char *name)
{
	size_t len = strlen(name);
	return len == strlen("pin-0123456789abcdef.latch") &&
	       strncmp(name, "pin-", 4) == 0 && strcmp(name + len - 6, ".latch") == 0;
}

/* False: it holds nothing. */
static bool read_one(int dir, const char *name, struct hp_latch_file *out)
{
	hsmpool_error err;
	HP_AUTO_FD int file = -1;
	snprintf(out->name, sizeof out->name, "%s", name);
	enum content content = DAMAGED;
	if (hp_state_file_open(dir, name, false, &file, &err) == HSMPOOL_OK && file >= 0)
		content = read_record(file, &out->record);
	out->is_damaged = content == DAMAGED;
	return content == DAMAGED ||
	       (content == READABLE && !hp_latch_record_is_clear(&out->record));
}

bool hp_latch_read(const char *state_dir, const CK_TOKEN_INFO *token,
		   struct hp_latch_file *out)
{
	hsmpool_error err;
	HP_AUTO_FD int dir = -1;
	char name[sizeof out->name];
	name_file(name, sizeof name, token, false);
	*out = (struct hp_latch_file){ 0 };
	return hp_state_dir_open(state_dir, false, &dir, &err) == HSMPOOL_OK &&
	       dir >= 0 && faccessat(dir, name, F_OK, 0) == 0 && read_one(dir, name, out);
}

static hsmpool_status read_all(int dir, DIR *folder, struct hp_latch_file **out,
			       size_t *count, hsmpool_error *err)
{
	struct dirent *found;
	while ((found = readdir(folder))) {
		if (!is_latch_name(found->d_name))
			continue;
		struct hp_latch_file *more = reallocarray(*out, *count + 1, sizeof **out);
		HP_CHECK(more, err, HSMPOOL_ERR_SYSTEM, "no memory");
		*out = more;
		*count += read_one(dir, found->d_name, &more[*count]);
	}
	return HSMPOOL_OK;
}

hsmpool_status hp_latch_list(const char *state_dir, struct hp_latch_file **out,
			     size_t *count, hsmpool_error *err)
{
	HP_AUTO_FD int dir = -1;
	*out = NULL;
	*count = 0;
	HP_TRY(hp_state_dir_open(state_dir, false, &dir, err));
	if (dir < 0)
		return HSMPOOL_OK;
	int copy = dup(dir);
	DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
	if (!folder) {
		hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
			      "state-dir %s: cannot be listed", state_dir);
		hp_close_fd(&copy);
		return HSMPOOL_ERR_SYSTEM;
	}
	hsmpool_status status = read_all(dir, folder, out, count, err);
	closedir(folder);
	return status;
}

/* Emptied, not removed: others may wait for its lock. */
hsmpool_status hp_latch_release(const char *state_dir, const char *name,
				hsmpool_error *err)
{
	HP_AUTO_FD int dir = -1;
	int file;
	HP_TRY(hp_state_dir_open(state_dir, false, &dir, err));
	if (dir < 0)
		return HSMPOOL_OK;
	HP_TRY(hp_state_file_open(dir, name, false, &file, err));
	if (file < 0)
		return HSMPOOL_OK;
	hsmpool_status status =
		hp_state_file_lock(file, hp_time_add(hp_now_ns(), RELEASE_PATIENCE), err);
	if (status == HSMPOOL_ERR_TIMEOUT)
		hp_fail(err, status,
			"a login with this PIN is under way in another process; end it");
	else if (status == HSMPOOL_OK && ftruncate(file, 0) != 0)
		status = hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				       "%s in state-dir: cannot be emptied", name);
	hp_state_file_close(&file);
	return status;
}
