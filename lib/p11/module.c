/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading, initialising, sharing and finalising a vendor module.
 *
 * Owns: dlopen, C_Initialize, C_Finalize, and the rule of who may finalise. Must not:
 * be called with any lock of ours held, or from destructors. Order of locks: the
 * registry's change lock, then a gate, then the registry's list lock.
 */
#include "p11/module.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <p11-kit/uri.h>
#include "base/error.h"
#include "base/memory.h"
#include "base/openssl_errors.h"
#include "base/time.h"
#include "observe/log.h"
#include "p11/gate.h"
#include "p11/instances.h"
#include "p11/registry.h"
#include "p11/siblings.h"

#define CLOSE_PATIENCE (5 * HP_SECOND)
#define RENEW_PATIENCE HP_SECOND

/* --- loading ----------------------------------------------------------------------- */

static hsmpool_status set_environment(const char *env, hsmpool_error *err)
{
	if (!env)
		return HSMPOOL_OK;
	const char *equals = strchr(env, '=');
	HP_CHECK(equals && equals != env, err, HSMPOOL_ERR_CONFIG,
		 "module-env: \"%s\" is not NAME=value", env);
	HP_AUTO_FREE char *name = strndup(env, (size_t)(equals - env));
	if (!name || setenv(name, equals + 1, 0) != 0)
		return hp_fail_errno(err, HSMPOOL_ERR_SYSTEM, errno,
				     "module-env: cannot set it");
	return HSMPOOL_OK;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;
	return a && b && stat(a, &one) == 0 && stat(b, &other) == 0 &&
	       one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static const char *file_of(const void *address)
{
	Dl_info info;
	return dladdr(address, &info) ? info.dli_fname : NULL;
}

/*
 * dlsym() also looks into what an object depends on, so a library that is no module
 * but links p11-kit (which is one) or us seems to have the function.
 */
static hsmpool_status check_origin(void *dl, const char *path, const void *function,
				   hsmpool_error *err)
{
	struct link_map *map = NULL;
	const char *loaded = dlinfo(dl, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : path;
	const char *ourselves = file_of((const void *)(uintptr_t)hp_module_open);
	HP_CHECK(!is_same_file(loaded, ourselves), err, HSMPOOL_ERR_CONFIG,
		 "module %s: that is hsmpool itself; name the HSM vendor's module", path);

	const char *origin = file_of(function);
	const char *p11_kit = file_of((const void *)(uintptr_t)p11_kit_uri_new);
	bool is_borrowed =
		!is_same_file(loaded, origin) &&
		(is_same_file(origin, p11_kit) || is_same_file(origin, ourselves));
	HP_CHECK(!is_borrowed, err, HSMPOOL_ERR_CONFIG,
		 "module %s: not a PKCS#11 module; name the HSM vendor's module", path);
	return HSMPOOL_OK;
}

static bool has_needed_functions(const CK_FUNCTION_LIST *fl)
{
	return fl->C_Initialize && fl->C_Finalize && fl->C_GetInfo && fl->C_GetSlotList &&
	       fl->C_GetTokenInfo && fl->C_OpenSession && fl->C_CloseSession &&
	       fl->C_GetSessionInfo;
}

static hsmpool_status get_functions(void *dl, const char *path, CK_FUNCTION_LIST **out,
				    hsmpool_error *err)
{
	void *symbol = dlsym(dl, "C_GetFunctionList");
	HP_CHECK(symbol, err, HSMPOOL_ERR_CONFIG,
		 "module %s: not a PKCS#11 module (it has no C_GetFunctionList); name "
		 "the HSM vendor's module",
		 path);
	HP_TRY(check_origin(dl, path, symbol, err));

	CK_C_GetFunctionList get = (CK_C_GetFunctionList)(uintptr_t)symbol;
	CK_FUNCTION_LIST *fl = NULL;
	CK_RV rv = get(&fl);
	if (rv != CKR_OK) {
		hp_rv_fail(err, rv, "module %s: C_GetFunctionList", path);
		return err ? (err->status = HSMPOOL_ERR_CONFIG) : HSMPOOL_ERR_CONFIG;
	}
	HP_CHECK(fl, err, HSMPOOL_ERR_CONFIG,
		 "module %s: it gives no function list; ask its vendor for a working one",
		 path);
	HP_CHECK(fl->version.major == 2 || fl->version.major == 3, err,
		 HSMPOOL_ERR_CONFIG,
		 "module %s: it speaks PKCS#11 %u.%u; a module of version 2 or 3 is "
		 "needed",
		 path, fl->version.major, fl->version.minor);
	HP_CHECK(has_needed_functions(fl), err, HSMPOOL_ERR_CONFIG,
		 "module %s: its function list has gaps; ask its vendor for a working "
		 "one",
		 path);
	*out = fl;
	return HSMPOOL_OK;
}

static hsmpool_status load(const char *path, void **dl, CK_FUNCTION_LIST **fl,
			   hsmpool_error *err)
{
	HP_CHECK(hp_registry_watch_forks(), err, HSMPOOL_ERR_SYSTEM,
		 "module %s: no memory to watch forks", path);
	*dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	HP_CHECK(*dl, err, HSMPOOL_ERR_CONFIG,
		 "module %s: cannot be loaded: %s; correct the option module", path,
		 dlerror());
	/* Not closed after a failure: other users of it in this process may be inside. */
	return get_functions(*dl, path, fl, err);
}

/* --- initialising ------------------------------------------------------------------ */

/* An application without threads of a library's hears of it if the module needs some;
 * else that answer means that it cannot lock by the system's means. */
static CK_RV initialize_locking(struct hp_module *module,
				const struct hp_module_start *begin)
{
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK,
				      .pReserved = begin->reserved };
	if (begin->can_create_no_threads)
		args.flags |= CKF_LIBRARY_CANT_CREATE_OS_THREADS;
	CK_RV rv = module->fl->C_Initialize(&args);
	bool needs_threads = rv == CKR_NEED_TO_CREATE_THREADS;
	module->is_serialised =
		rv == CKR_CANT_LOCK || (needs_threads && !begin->can_create_no_threads);
	if (!module->is_serialised)
		return rv;
	args.flags = 0;
	return module->fl->C_Initialize(begin->reserved ? &args : NULL);
}

/*
 * ALREADY_INITIALIZED is the answer of a module that someone else in this process uses
 * (share it; theirs to finalise, unless it is another copy of us) or of one that a forked
 * child inherited initialised: if that was ours, its state is a dead copy and is made
 * anew.
 */
static CK_RV initialize(struct hp_module *module, const struct hp_module *inherited,
			const struct hp_module_start *begin)
{
	bool has_users = hp_instances_users(module->fl) > 0;
	CK_RV rv = initialize_locking(module, begin);
	bool is_dead_copy = rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && !has_users &&
			    inherited && inherited->is_initialised &&
			    inherited->is_managed;
	if (is_dead_copy) {
		module->fl->C_Finalize(NULL);
		rv = initialize_locking(module, begin);
	}
	module->is_ours = rv == CKR_OK;
	module->is_managed = module->is_ours || has_users;
	module->is_initialised = rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED;
	if (module->is_initialised && module->is_managed)
		hp_instances_join(module->fl);
	return module->is_initialised ? CKR_OK : rv;
}

static void finalize(struct hp_module *module)
{
	if (module->is_managed && module->is_initialised) {
		hp_instances_leave(module->fl);
		if (hp_instances_users(module->fl) == 0)
			module->fl->C_Finalize(NULL);
	}
	module->is_initialised = false;
	module->is_ours = false;
}

/* A module that uses OpenSSL may leave errors; after a fork this may be the middle of a
 * TLS handshake. */
static CK_RV initialize_quietly(struct hp_module *module,
				const struct hp_module *inherited,
				const struct hp_module_start *begin)
{
	HP_KEEP_OPENSSL_ERRORS;
	return initialize(module, inherited, begin);
}

/* What another copy of us says without a configuration (proxy/slot.c). */
static bool has_no_vendor(const struct hp_module *module)
{
	static const char text[] = "hsmpool without a configuration ";
	return module->is_hsmpool && memcmp(module->info.libraryDescription, text,
					    sizeof(module->info.libraryDescription)) == 0;
}

/* Another copy of us has told its reason in its log. */
static hsmpool_status fail_start(const struct hp_module *module, CK_RV rv,
				 hsmpool_error *err)
{
	if (module->is_hsmpool && rv == CKR_GENERAL_ERROR)
		return hp_fail(err, HSMPOOL_ERR_CONFIG,
			       "module %s: this is hsmpool's own, and the configuration "
			       "that it reads leads to no HSM: name the HSM vendor's "
			       "module, here or there (HSMPOOL_DEBUG=1 tells more)",
			       module->path);
	return hp_rv_fail(err, rv, "module %s: cannot be initialised", module->path);
}

/* Inside the gate, so that a fork sees before or after. */
static hsmpool_status start_in_turn(struct hp_module *module,
				    const struct hp_module *inherited,
				    const struct hp_module_start *begin,
				    hsmpool_error *err)
{
	if (!hp_gate_enter(module, HP_GATE_NO_SESSION))
		return hp_fail(err, HSMPOOL_ERR_FORKED, "module %s: this process forked",
			       module->path);
	CK_RV rv = initialize_quietly(module, inherited, begin);
	if (rv == CKR_OK) {
		memset(&module->info, 0, sizeof(module->info));
		rv = module->fl->C_GetInfo(&module->info);
		if (rv == CKR_OK && has_no_vendor(module))
			rv = CKR_GENERAL_ERROR;
		if (rv != CKR_OK)
			finalize(module);
	}
	hp_gate_leave(module, HP_GATE_NO_SESSION);
	if (rv != CKR_OK)
		return fail_start(module, rv, err);
	HP_LOG(INFO, "module-initialised", "module %s: %s%s", module->path,
	       module->is_ours ? "initialised" : "shared with another user of it",
	       module->is_serialised ? ", one call at a time" : "");
	return HSMPOOL_OK;
}

/* With the change lock held. */
static hsmpool_status start(struct hp_module *module, const struct hp_module *inherited,
			    const struct hp_module_start *begin, hsmpool_error *err)
{
	module->can_create_no_threads = begin->can_create_no_threads;
	module->had_reserved = begin->reserved != NULL;
	bool is_our_turn = hp_siblings_begin(module);
	hsmpool_status status = start_in_turn(module, inherited, begin, err);
	hp_siblings_end(is_our_turn);
	return status;
}

/* --- open and close ---------------------------------------------------------------- */

static struct hp_module *make_module(void *dl, CK_FUNCTION_LIST *fl, const char *path,
				     const struct hp_rv_overrides *overrides)
{
	struct hp_module *module = aligned_alloc(64, sizeof(*module));
	if (!module)
		return NULL;
	memset(module, 0, sizeof(*module));
	module->path = strdup(path);
	if (!module->path) {
		free(module);
		return NULL;
	}
	module->dl = dl;
	module->fl = fl;
	void *symbol = dlsym(dl, "C_GetFunctionList");
	module->cancel = hp_interface_cancel(dl, symbol);
	module->is_hsmpool = hp_instances_has_copy(symbol);
	module->epoch = hp_process_epoch();
	if (overrides)
		module->overrides = *overrides;
	hp_gate_init(&module->gate);
	pthread_mutex_init(&module->serial, NULL);
	return module;
}

/* A child that was forked while a call was inside holds the module's locks for ever. */
static hsmpool_status check_inherited(struct hp_module *inherited, hsmpool_error *err)
{
	HP_CHECK(!inherited || !hp_gate_caught_a_call(inherited), err, HSMPOOL_ERR_FORKED,
		 "module %s: this process was forked while a call was inside the module "
		 "and cannot use it; fork earlier, or exec in the child",
		 inherited->path);
	return HSMPOOL_OK;
}

/* The entry for what was loaded, new or known. With the change lock held. */
static hsmpool_status enlist(struct hp_module **out, void *dl, CK_FUNCTION_LIST *fl,
			     const char *path, const struct hp_rv_overrides *overrides,
			     bool is_inherited, hsmpool_error *err)
{
	hp_registry_lock();
	struct hp_module *module = hp_registry_find(dl);
	hp_registry_unlock();
	if (!module) {
		if (is_inherited || hp_registry_watch_forks_again())
			module = make_module(dl, fl, path, overrides);
		HP_CHECK(module, err, HSMPOOL_ERR_SYSTEM, "module %s: out of memory",
			 path);
		hp_registry_lock();
		hp_registry_add(module);
		hp_registry_unlock();
	}
	*out = module;
	return HSMPOOL_OK;
}

/* Handlers that it registered in C_Initialize, as another copy of us does, come after
 * ours now: once more. Of no effect is that in a child, which inherits them in their
 * order. */
static void watch_its_handlers(struct hp_module *module, bool is_inherited)
{
	if (!module->has_handlers)
		module->has_handlers = is_inherited || hp_registry_watch_forks_again();
}

static hsmpool_status open_loaded(struct hp_module **out, void *dl, CK_FUNCTION_LIST *fl,
				  const char *path,
				  const struct hp_rv_overrides *overrides,
				  const struct hp_module_start *begin, hsmpool_error *err)
{
	hp_registry_lock();
	struct hp_module *inherited = hp_registry_find_inherited(dl);
	hp_registry_unlock();
	HP_TRY(check_inherited(inherited, err));
	struct hp_module *module = NULL;
	HP_TRY(enlist(&module, dl, fl, path, overrides, inherited != NULL, err));
	if (!module->is_initialised) {
		if (overrides)
			module->overrides = *overrides;
		HP_TRY(start(module, inherited, begin, err));
		watch_its_handlers(module, inherited != NULL);
	}
	hp_registry_lock();
	module->references++;
	hp_registry_unlock();
	*out = module;
	return HSMPOOL_OK;
}

hsmpool_status hp_module_open_as(struct hp_module **out, const char *name_or_path,
				 const char *env, const struct hp_rv_overrides *overrides,
				 const struct hp_module_start *begin, hsmpool_error *err)
{
	static const struct hp_module_start nothing;
	*out = NULL;
	HP_AUTO_FREE char *path = NULL;
	HP_TRY(hp_module_resolve(name_or_path, &path, err));
	HP_TRY(set_environment(env, err));
	HP_CHECK(hp_registry_begin_change(), err, HSMPOOL_ERR_DOWN,
		 "module %s: another thread hangs in the initialisation of a module",
		 path);
	void *dl = NULL;
	CK_FUNCTION_LIST *fl = NULL;
	hsmpool_status status = load(path, &dl, &fl, err);
	if (status == HSMPOOL_OK)
		status = open_loaded(out, dl, fl, path, overrides,
				     begin ? begin : &nothing, err);
	hp_registry_end_change();
	return status;
}

hsmpool_status hp_module_open(struct hp_module **out, const char *name_or_path,
			      const char *env, const struct hp_rv_overrides *overrides,
			      hsmpool_error *err)
{
	return hp_module_open_as(out, name_or_path, env, overrides, NULL, err);
}

/* The last reference is gone. With the change lock held. */
static void stop(struct hp_module *module)
{
	if (!module->is_managed) {
		module->is_initialised = false;
		return;
	}
	int64_t deadline_ns = hp_time_add(hp_now_ns(), CLOSE_PATIENCE);
	if (!hp_gate_close(module, deadline_ns)) {
		HP_LOG(WARNING, "module-stuck",
		       "module %s: a call hangs inside; the module stays initialised",
		       module->path);
		return;
	}
	finalize(module);
	hp_gate_open(module);
	HP_LOG(INFO, "module-finalised", "module %s: finalised, or left to another user",
	       module->path);
}

bool hp_module_restart(struct hp_module *module, hsmpool_status *status,
		       hsmpool_error *err)
{
	const struct hp_module_start again = {
		.can_create_no_threads = module->can_create_no_threads,
	};
	if (!hp_registry_begin_change())
		return false;
	hp_registry_lock();
	bool is_sole_user = module->references == 1 && module->is_managed &&
			    !module->had_reserved && hp_instances_users(module->fl) == 1;
	hp_registry_unlock();
	if (is_sole_user)
		stop(module);
	bool has_stopped = is_sole_user && !module->is_initialised;
	if (has_stopped)
		*status = start(module, NULL, &again, err);
	hp_registry_end_change();
	return has_stopped;
}

/* Behind the closed gate. Some modules answer C_Finalize with an error and are finalised:
 * C_Initialize tells. */
static CK_RV finalize_and_initialize(struct hp_module *module)
{
	const struct hp_module_start again = {
		.can_create_no_threads = module->can_create_no_threads,
	};
	CK_RV finalized = CKR_OK;
	if (module->is_initialised) {
		hp_instances_leave(module->fl);
		finalized = module->fl->C_Finalize(NULL);
	}
	CK_RV rv = initialize_quietly(module, NULL, &again);
	if (rv == CKR_OK && !module->is_ours && finalized != CKR_OK) {
		rv = finalized; /* it still is as we had initialised it */
		hp_instances_join(module->fl);
	}
	if (rv != CKR_OK)
		module->is_managed = true; /* and stays ours to try again */
	return rv;
}

/* With the change lock held. */
static hsmpool_status check_renewable(const struct hp_module *module, hsmpool_error *err)
{
	unsigned own_uses = module->is_initialised ? 1 : 0;
	HP_CHECK(module->is_managed && hp_instances_users(module->fl) == own_uses, err,
		 HSMPOOL_ERR_UNSUPPORTED,
		 "module %s: another part of this program uses it too, and only that can "
		 "finalise and initialise it anew",
		 module->path);
	HP_CHECK(!module->had_reserved, err, HSMPOOL_ERR_UNSUPPORTED,
		 "module %s: the application initialised it with parameters of its own, "
		 "so only that can do it again",
		 module->path);
	return HSMPOOL_OK;
}

static hsmpool_status renew(struct hp_module *module, bool *was_tried, hsmpool_error *err)
{
	HP_TRY(check_renewable(module, err));
	bool is_our_turn = hp_siblings_begin(module);
	*was_tried = hp_gate_close(module, hp_time_add(hp_now_ns(), RENEW_PATIENCE));
	CK_RV rv = CKR_OK;
	if (*was_tried) {
		rv = finalize_and_initialize(module);
		hp_gate_open(module);
	}
	hp_siblings_end(is_our_turn);
	HP_CHECK(*was_tried, err, HSMPOOL_ERR_BUSY,
		 "module %s: a call is inside; it is not finalised under it",
		 module->path);
	return rv == CKR_OK ? HSMPOOL_OK
			    : hp_rv_fail(err, rv, "module %s: cannot be initialised anew",
					 module->path);
}

hsmpool_status hp_module_renew(struct hp_module *module, bool *was_tried,
			       hsmpool_error *err)
{
	*was_tried = false;
	HP_CHECK(module->epoch == hp_process_epoch(), err, HSMPOOL_ERR_FORKED,
		 "module %s: this process forked", module->path);
	HP_CHECK(hp_registry_begin_change(), err, HSMPOOL_ERR_BUSY,
		 "module %s: another thread hangs in the initialisation of a module",
		 module->path);
	hsmpool_status status = renew(module, was_tried, err);
	hp_registry_end_change();
	return status;
}

void hp_module_close(struct hp_module **module_pointer)
{
	struct hp_module *module = *module_pointer;
	*module_pointer = NULL;
	if (!module)
		return;
	if (module->epoch != hp_process_epoch())
		return; /* the parent's; its locks are not ours to take */
	if (!hp_registry_begin_change()) {
		HP_LOG(WARNING, "module-stuck",
		       "module %s: not finalised: another thread hangs in a module",
		       module->path);
		return;
	}
	hp_registry_lock();
	unsigned left = --module->references;
	hp_registry_unlock();
	if (left == 0)
		stop(module);
	hp_registry_end_change();
}
