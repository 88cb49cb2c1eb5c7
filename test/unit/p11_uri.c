/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7512 URIs: what is understood, refused, matched and written.
 */
#include "support/fixture.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "p11/uri.h"

#define HP_AUTO_URI __attribute__((cleanup(hp_uri_free)))

static struct hp_uri *parse(const char *text)
{
	struct hp_uri *uri = NULL;
	hsmpool_error err = { 0 };
	assert_ok(hp_uri_parse(text, &uri, &err), &err);
	return uri;
}

static void pad(CK_UTF8CHAR *field, size_t len, const char *text)
{
	memset(field, ' ', len);
	memcpy(field, text, strlen(text));
}

static CK_TOKEN_INFO make_token(const char *label, const char *serial)
{
	CK_TOKEN_INFO token;
	memset(&token, 0, sizeof(token));
	pad(token.label, sizeof(token.label), label);
	pad(token.serialNumber, sizeof(token.serialNumber), serial);
	pad(token.model, sizeof(token.model), "Model 1");
	pad(token.manufacturerID, sizeof(token.manufacturerID), "Maker");
	return token;
}

static bool matches(const char *text, CK_SLOT_ID slot, const CK_TOKEN_INFO *token)
{
	HP_AUTO_URI struct hp_uri *uri = parse(text);
	return hp_uri_matches_token(uri, slot, token);
}

static void the_object_part_is_read(void **state)
{
	struct hp_uri_object object;
	(void)state;
	HP_AUTO_URI struct hp_uri *uri =
		parse("pkcs11:token=t;object=pay%20me;id=%00%01%ff;type=private");
	hp_uri_object(uri, &object);
	assert_true(object.has_class);
	assert_int_equal(object.class, CKO_PRIVATE_KEY);
	assert_true(object.has_label);
	assert_int_equal(object.label_len, 6);
	assert_memory_equal(object.label, "pay me", 6);
	assert_true(object.has_id);
	assert_int_equal(object.id_len, 3);
	assert_memory_equal(object.id, "\x00\x01\xff", 3);
}

static void parts_that_are_not_given_are_absent(void **state)
{
	struct hp_uri_object object;
	(void)state;
	HP_AUTO_URI struct hp_uri *uri = parse("pkcs11:");
	memset(&object, 0xff, sizeof(object));
	hp_uri_object(uri, &object);
	assert_false(object.has_class);
	assert_false(object.has_label);
	assert_false(object.has_id);
	assert_null(object.label);
	assert_null(object.id);
}

static void every_type_of_object_is_known(void **state)
{
	static const struct {
		const char *type;
		CK_OBJECT_CLASS class;
	} types[] = {
		{ "public", CKO_PUBLIC_KEY }, { "private", CKO_PRIVATE_KEY },
		{ "cert", CKO_CERTIFICATE },  { "secret-key", CKO_SECRET_KEY },
		{ "data", CKO_DATA },
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(types); i++) {
		char text[64];
		struct hp_uri_object object;
		snprintf(text, sizeof(text), "pkcs11:type=%s", types[i].type);
		HP_AUTO_URI struct hp_uri *uri = parse(text);
		hp_uri_object(uri, &object);
		assert_true(object.has_class);
		assert_int_equal(object.class, types[i].class);
	}
}

static void the_token_part_must_agree_in_all_it_says(void **state)
{
	CK_TOKEN_INFO token = make_token("payments", "0123");
	(void)state;
	assert_true(matches("pkcs11:", 1, &token));
	assert_true(matches("pkcs11:token=payments", 1, &token));
	assert_true(matches("pkcs11:token=payments;serial=0123;model=Model%201;"
			    "manufacturer=Maker;object=any",
			    1, &token));
	assert_false(matches("pkcs11:token=payment", 1, &token));
	assert_false(matches("pkcs11:token=payments;serial=0124", 1, &token));
	assert_false(matches("pkcs11:token=payments;model=Model", 1, &token));
	assert_false(matches("pkcs11:manufacturer=maker", 1, &token));
	assert_true(matches("pkcs11:slot-id=7;token=payments", 7, &token));
	assert_false(matches("pkcs11:slot-id=7;token=payments", 8, &token));
}

static void module_and_slot_parts_must_agree_too(void **state)
{
	CK_INFO module = { .libraryVersion = { 2, 6 } };
	CK_SLOT_INFO slot = { .flags = 0 };
	(void)state;
	pad(module.manufacturerID, sizeof(module.manufacturerID), "Maker");
	pad(module.libraryDescription, sizeof(module.libraryDescription), "Library");
	pad(slot.slotDescription, sizeof(slot.slotDescription), "Slot");
	pad(slot.manufacturerID, sizeof(slot.manufacturerID), "Maker");
	HP_AUTO_URI struct hp_uri *same = parse("pkcs11:library-description=Library;"
						"slot-description=Slot");
	HP_AUTO_URI struct hp_uri *other = parse("pkcs11:library-description=Other;"
						 "slot-description=Other");
	assert_true(hp_uri_matches_module(same, &module));
	assert_false(hp_uri_matches_module(other, &module));
	assert_true(hp_uri_matches_slot(same, &slot));
	assert_false(hp_uri_matches_slot(other, &slot));
}

/* Decision 7: what loads code or gives the PIN comes from the configuration alone. */
static void pin_and_module_are_refused_in_a_uri_without_being_shown(void **state)
{
	static const char *const refused[] = {
		"pin-value=hunter2",
		"pin-source=/etc/hunter2",
		"module-name=hunter2",
		"module-path=/hunter2",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(refused); i++) {
		struct hp_uri *uri = NULL;
		hsmpool_error err = { 0 };
		char text[100];
		char name[20] = "";
		snprintf(text, sizeof(text), "pkcs11:token=t?%s", refused[i]);
		memcpy(name, refused[i], strcspn(refused[i], "="));
		assert_status(hp_uri_parse(text, &uri, &err), HSMPOOL_ERR_USAGE);
		assert_null(uri);
		assert_non_null(strstr(err.text, name));
		assert_null(strstr(err.text, "hunter2"));
	}
}

/* In front of the '?' p11-kit takes it, too. */
static void a_pin_in_the_wrong_place_is_not_shown_either(void **state)
{
	static const char *const wrong[] = {
		"pkcs11:token=t;pin-value=hunter2",
		"pkcs11:PIN-value=hunter2",
		"pkcs11:token=t;;pin-value=hunter2",
		"pkcs11:token=%zz;pin-value=hunter2",
		"pin-value=hunter2",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(wrong); i++) {
		struct hp_uri *uri = NULL;
		hsmpool_error err = { 0 };
		assert_status(hp_uri_parse(wrong[i], &uri, &err), HSMPOOL_ERR_USAGE);
		assert_null(strstr(err.text, "hunter2"));
	}
}

static void what_is_no_uri_is_refused_with_an_example(void **state)
{
	static const char *const wrong[] = {
		"",
		"payments",
		"http://x",
		"pkcs11:object",
		"pkcs11:id=%zz",
		"pkcs11:id=%1",
		"pkcs11:slot-id=x",
		"pkcs11:obejct=payments",
		"pkcs11:type=keys",
		"pkcs11:token=a?pin-value=%zz",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(wrong); i++) {
		struct hp_uri *uri = NULL;
		hsmpool_error err = { 0 };
		if (hp_uri_parse(wrong[i], &uri, &err) != HSMPOOL_ERR_USAGE)
			fail_msg("accepted: %s", wrong[i]);
		assert_null(uri);
		assert_int_equal(strncmp(err.text, "URI", 3), 0);
		assert_null(strstr(err.text, "pin-value=%zz"));
	}
	struct hp_uri *uri = NULL;
	assert_status(hp_uri_parse(NULL, &uri, NULL), HSMPOOL_ERR_USAGE);
}

/* p11-kit would drop what stands behind, and the URI match more than it says. */
static void a_uri_with_an_empty_attribute_is_refused(void **state)
{
	static const char *const wrong[] = {
		"pkcs11:;token=a",
		"pkcs11:token=a;;object=b",
		"pkcs11:token=a; ;id=%01",
		"pkcs11:token=a;;",
	};
	(void)state;
	for (size_t i = 0; i < HP_ARRAY_LEN(wrong); i++) {
		struct hp_uri *uri = NULL;
		hsmpool_error err = { 0 };
		assert_status(hp_uri_parse(wrong[i], &uri, &err), HSMPOOL_ERR_USAGE);
		assert_non_null(strstr(err.text, "empty attribute"));
	}
	HP_AUTO_URI struct hp_uri *last = parse("pkcs11:token=a;object=b;");
	assert_non_null(last);
}

static void a_very_long_uri_is_handled(void **state)
{
	static char text[100000];
	struct hp_uri *uri = NULL;
	hsmpool_error err = { 0 };
	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	assert_status(hp_uri_parse(text, &uri, &err), HSMPOOL_ERR_USAGE);
	memcpy(text, "pkcs11:object=", 14);
	assert_ok(hp_uri_parse(text, &uri, &err), &err);
	hp_uri_free(&uri);
}

static void what_is_written_selects_the_same_object(void **state)
{
	CK_TOKEN_INFO token = make_token("pay; ments", "01?3");
	const unsigned char id[] = { 0x00, 0x2f, 0xff };
	char text[512];
	struct hp_uri_object object;
	(void)state;
	assert_true(hp_uri_format(text, sizeof(text), &token, true, CKO_SECRET_KEY,
				  "a;b/c", 5, id, sizeof(id)));
	assert_non_null(strstr(text, "token=pay%3B%20ments"));
	assert_null(strstr(text, "Maker"));
	HP_AUTO_URI struct hp_uri *uri = parse(text);
	assert_true(hp_uri_matches_token(uri, 0, &token));
	hp_uri_object(uri, &object);
	assert_int_equal(object.class, CKO_SECRET_KEY);
	assert_int_equal(object.label_len, 5);
	assert_memory_equal(object.label, "a;b/c", 5);
	assert_int_equal(object.id_len, sizeof(id));
	assert_memory_equal(object.id, id, sizeof(id));
}

static void only_what_is_known_is_written(void **state)
{
	char text[64];
	(void)state;
	assert_true(hp_uri_format(text, sizeof(text), NULL, false, 0, "x", 1, NULL, 0));
	assert_string_equal(text, "pkcs11:object=x");
	assert_true(hp_uri_format(text, sizeof(text), NULL, true, CKO_PRIVATE_KEY, NULL,
				  0, "\x01", 1));
	assert_string_equal(text, "pkcs11:id=%01;type=private");
}

static void a_uri_that_does_not_fit_is_not_cut(void **state)
{
	char text[17] = "untouched";
	(void)state;
	assert_false(hp_uri_format(text, 15, NULL, false, 0, "x", 1, NULL, 0));
	assert_string_equal(text, "untouched");
	assert_true(hp_uri_format(text, 16, NULL, false, 0, "x", 1, NULL, 0));
	assert_string_equal(text, "pkcs11:object=x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_object_part_is_read),
		cmocka_unit_test(parts_that_are_not_given_are_absent),
		cmocka_unit_test(every_type_of_object_is_known),
		cmocka_unit_test(the_token_part_must_agree_in_all_it_says),
		cmocka_unit_test(module_and_slot_parts_must_agree_too),
		cmocka_unit_test(pin_and_module_are_refused_in_a_uri_without_being_shown),
		cmocka_unit_test(a_pin_in_the_wrong_place_is_not_shown_either),
		cmocka_unit_test(what_is_no_uri_is_refused_with_an_example),
		cmocka_unit_test(a_uri_with_an_empty_attribute_is_refused),
		cmocka_unit_test(a_very_long_uri_is_handled),
		cmocka_unit_test(what_is_written_selects_the_same_object),
		cmocka_unit_test(only_what_is_known_is_written),
		cmocka_unit_test(a_uri_that_does_not_fit_is_not_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
