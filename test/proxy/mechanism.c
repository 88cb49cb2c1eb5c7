/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of mechanisms: all that their parameters point to, or none (rows S17, L21). */
#include "proxy/mechanism.h"

#include <string.h>
#include "support/fixture.h"

/* What mechanism.c asks about handles: nothing here. */
CK_RV hp_object_real(struct hp_vsession *vs, struct hp_session *s,
		     CK_OBJECT_HANDLE handle, CK_OBJECT_HANDLE *real)
{
	(void)vs;
	(void)s;
	*real = handle + 1000;
	return CKR_OK;
}

CK_RV hp_object_virtual(struct hp_vsession *vs, struct hp_session *s,
			CK_OBJECT_HANDLE real, struct hp_vsession *owner,
			CK_OBJECT_HANDLE *handle)
{
	(void)vs;
	(void)s;
	(void)owner;
	*handle = real - 1000;
	return CKR_OK;
}

/* As the standard has them; the header does not. */
struct kip_params {
	CK_MECHANISM *mechanism;
	CK_OBJECT_HANDLE key;
	CK_BYTE *seed;
	CK_ULONG seed_len;
};
struct cms_params {
	CK_OBJECT_HANDLE certificate;
	CK_MECHANISM *signing, *digest;
	CK_UTF8CHAR *content_type;
	CK_BYTE *requested;
	CK_ULONG requested_len;
	CK_BYTE *required;
	CK_ULONG required_len;
};

static void a_mechanism_in_a_mechanism_is_copied_with_its_parameters(void **state)
{
	CK_BYTE iv[16] = "an iv of sixtee", seed[] = "seed";
	CK_MECHANISM inner = { CKM_AES_CBC, iv, sizeof(iv) };
	struct kip_params params = { &inner, 7, seed, sizeof(seed) };
	CK_MECHANISM given = { CKM_KIP_MAC, &params, sizeof(params) };
	struct hp_mechanism_copy copy;
	(void)state;
	hp_mechanism_copy(&copy, &given);
	assert_true(copy.is_faithful);
	memset(iv, 0, sizeof(iv));
	memset(seed, 0, sizeof(seed));
	memset(&inner, 0, sizeof(inner));
	memset(&params, 0, sizeof(params));
	const struct kip_params *kept = copy.ck.pParameter;
	assert_int_equal(kept->mechanism->mechanism, CKM_AES_CBC);
	assert_memory_equal(kept->mechanism->pParameter, "an iv of sixtee", 16);
	assert_int_equal(kept->key, 7);
	assert_memory_equal(kept->seed, "seed", 5);
	hp_mechanism_copy_wipe(&copy);
}

static void texts_and_what_is_missing_are_copied_too(void **state)
{
	CK_UTF8CHAR type[] = "text/plain";
	CK_BYTE requested[40] = { 1, 2, 3 };
	CK_MECHANISM signing = { CKM_RSA_PKCS, NULL, 0 };
	struct cms_params params = { 9, &signing, NULL, type, requested, 40, NULL, 0 };
	CK_MECHANISM given = { CKM_CMS_SIG, &params, sizeof(params) };
	struct hp_mechanism_copy copy;
	(void)state;
	hp_mechanism_copy(&copy, &given);
	assert_true(copy.is_faithful);
	memset(type, 0, sizeof(type));
	memset(requested, 0, sizeof(requested));
	const struct cms_params *kept = copy.ck.pParameter;
	assert_int_equal(kept->signing->mechanism, CKM_RSA_PKCS);
	assert_null(kept->digest);
	assert_string_equal((const char *)kept->content_type, "text/plain");
	assert_int_equal(kept->requested[2], 3);
	assert_null(kept->required);
	hp_mechanism_copy_wipe(&copy);
}

static void the_handle_beside_an_inner_mechanism_is_made_real(void **state)
{
	CK_BYTE seed[] = "seed";
	CK_MECHANISM inner = { CKM_SHA256_HMAC, NULL, 0 };
	struct kip_params params = { &inner, 7, seed, sizeof(seed) };
	CK_MECHANISM given = { CKM_KIP_MAC, &params, sizeof(params) };
	struct hp_mechanism_copy copy;
	struct hp_mechanism_call call;
	CK_MECHANISM *use;
	(void)state;
	hp_mechanism_copy(&copy, &given);
	assert_int_equal(hp_mechanism_real(NULL, NULL, &copy.ck, &call, &use), CKR_OK);
	const struct kip_params *real = use->pParameter;
	assert_int_equal(real->key, 1007);
	assert_int_equal(real->mechanism->mechanism, CKM_SHA256_HMAC);
	hp_mechanism_copy_wipe(&copy);
}

/* What a module wrote goes back, but no pointer into the copy. */
static void what_is_given_back_points_where_it_did(void **state)
{
	CK_BYTE seed[] = "seed";
	CK_UTF8CHAR type[] = "text/plain";
	CK_MECHANISM inner = { CKM_SHA256_HMAC, NULL, 0 };
	struct kip_params kip = { &inner, 7, seed, sizeof(seed) };
	struct cms_params cms = { 9, &inner, NULL, type, NULL, 0, NULL, 0 };
	CK_MECHANISM given[] = { { CKM_KIP_MAC, &kip, sizeof(kip) },
				 { CKM_CMS_SIG, &cms, sizeof(cms) } };
	struct hp_mechanism_copy copy;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		hp_mechanism_copy(&copy, &given[i]);
		hp_mechanism_give_back(&copy, &given[i]);
		hp_mechanism_copy_wipe(&copy);
	}
	assert_ptr_equal(kip.mechanism, &inner);
	assert_ptr_equal(kip.seed, seed);
	assert_ptr_equal(cms.signing, &inner);
	assert_ptr_equal(cms.content_type, type);
}

static void what_cannot_be_copied_faithfully_says_so(void **state)
{
	CK_OBJECT_HANDLE other = 5;
	CK_MECHANISM with_handle = { CKM_CONCATENATE_BASE_AND_KEY, &other,
				     sizeof(other) };
	struct kip_params deeper = { &with_handle, 7, NULL, 0 };
	CK_MECHANISM given = { CKM_KIP_MAC, &deeper, sizeof(deeper) };
	CK_MECHANISM unknown = { CKM_VENDOR_DEFINED, &other, sizeof(other) };
	struct hp_mechanism_copy copy;
	(void)state;
	hp_mechanism_copy(&copy, &given);
	assert_false(copy.is_faithful);
	hp_mechanism_copy_wipe(&copy);
	hp_mechanism_copy(&copy, &unknown);
	assert_false(copy.is_faithful);
	hp_mechanism_copy_wipe(&copy);
}

/* Words of each structure, and where its handles are. */
static void handles_in_parameters_are_made_real_wherever_they_are(void **state)
{
	static const struct {
		CK_MECHANISM_TYPE type;
		unsigned words, handles;
	} known[] = {
		{ CKM_CONCATENATE_BASE_AND_KEY, 1, 1u << 0 },
		{ CKM_X9_42_DH_HYBRID_DERIVE, 9, 1u << 6 },
		{ CKM_X9_42_MQV_DERIVE, 10, 1u << 6 | 1u << 9 },
		{ CKM_ECMQV_DERIVE, 10, 1u << 6 | 1u << 9 },
		{ CKM_GOSTR3410_KEY_WRAP, 5, 1u << 4 },
		{ 0x402a /* HKDF */, 8, 1u << 5 },
		{ 0x4023 /* X3DH_INITIALIZE */, 7,
		  1u << 1 | 1u << 2 | 1u << 5 | 1u << 6 },
		{ 0x4024 /* X3DH_RESPOND */, 6, 1u << 4 },
		{ 0x4025 /* X2RATCHET */, 8, 1u << 1 | 1u << 2 | 1u << 3 },
		{ 0x402e /* IKE2_PRF_PLUS */, 5, 1u << 2 },
		{ 0x402f /* IKE_PRF */, 7, 1u << 6 },
		{ 0x4030 /* IKE1_PRF */, 9, 1u << 2 | 1u << 3 },
		{ 0x4031 /* IKE1_EXTENDED */, 5, 1u << 2 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		CK_ULONG words[10] = { 0 };
		CK_MECHANISM given = { known[i].type, words,
				       known[i].words * sizeof(CK_ULONG) };
		struct hp_mechanism_call call;
		CK_MECHANISM *use;
		for (unsigned word = 0; word < known[i].words; word++)
			words[word] = known[i].handles >> word & 1 ? 7 : 0;
		assert_int_equal(hp_mechanism_real(NULL, NULL, &given, &call, &use),
				 CKR_OK);
		const CK_ULONG *real = use->pParameter;
		for (unsigned word = 0; word < known[i].words; word++)
			assert_int_equal(real[word], words[word] ? 1007 : 0);
	}
}

static void a_row_of_data_without_memory_is_refused(void **state)
{
	CK_ULONG words[5] = { CKM_SHA256_HMAC, 1, 0, 0, 0 };
	CK_MECHANISM given = { 0x3ac, words, sizeof(words) };
	struct hp_mechanism_call call;
	CK_MECHANISM *use;
	(void)state;
	assert_int_equal(hp_mechanism_real(NULL, NULL, &given, &call, &use),
			 CKR_MECHANISM_PARAM_INVALID);
}

/* L21: a module wrote into the nonce before it failed. */
static void what_a_module_wrote_is_put_back(void **state)
{
	CK_BYTE iv[12] = "twelve byte", cbc[16] = "sixteen bytes..";
	CK_GCM_PARAMS gcm = {
		.pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128
	};
	CK_MECHANISM mechanisms[] = { { CKM_AES_GCM, &gcm, sizeof(gcm) },
				      { CKM_AES_CBC, cbc, sizeof(cbc) } };
	struct hp_mechanism_before before[2];
	(void)state;
	for (unsigned i = 0; i < 2; i++)
		hp_mechanism_save(&before[i], &mechanisms[i]);
	memset(iv, 0xff, sizeof(iv));
	memset(cbc, 0xff, sizeof(cbc));
	gcm.ulIvLen = 0;
	for (unsigned i = 0; i < 2; i++)
		hp_mechanism_restore(&before[i], &mechanisms[i]);
	assert_int_equal(gcm.ulIvLen, 12);
	assert_memory_equal(iv, "twelve byte", 12);
	assert_memory_equal(cbc, "sixteen bytes..", 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_mechanism_in_a_mechanism_is_copied_with_its_parameters),
		cmocka_unit_test(texts_and_what_is_missing_are_copied_too),
		cmocka_unit_test(the_handle_beside_an_inner_mechanism_is_made_real),
		cmocka_unit_test(what_is_given_back_points_where_it_did),
		cmocka_unit_test(what_cannot_be_copied_faithfully_says_so),
		cmocka_unit_test(handles_in_parameters_are_made_real_wherever_they_are),
		cmocka_unit_test(a_row_of_data_without_memory_is_refused),
		cmocka_unit_test(what_a_module_wrote_is_put_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
