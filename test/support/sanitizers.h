/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which sanitizer is built in: for tests that its runtime makes impossible. They are left
 * out of the list then, not skipped: cmocka 1.1 calls a skipped test "not ok".
 */
#ifndef TEST_SUPPORT_SANITIZERS_H
#define TEST_SUPPORT_SANITIZERS_H

#if defined(__has_feature)
#define SANITIZER_IS_CLANGS(name) __has_feature(name)
#else
#define SANITIZER_IS_CLANGS(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SANITIZER_IS_CLANGS(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#else
#define HAS_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__) || SANITIZER_IS_CLANGS(thread_sanitizer)
#define HAS_THREAD_SANITIZER 1
#else
#define HAS_THREAD_SANITIZER 0
#endif

#endif
