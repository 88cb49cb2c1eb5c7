#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""OpenSC's pkcs11-tool: lists, keys, signatures, decryption, and its own tests."""
import re

from ground import PIN, compare, equal, expect, needs, run, sides, without

PROGRAM = 'pkcs11-tool'


def tool(side, *words, check=True, **options):
    needs(PROGRAM)
    call = side.ok if check else side.run
    return call(PROGRAM, '--module', side.module, *words, **options)


def logged_in(side):
    return ('--login', '--pin', PIN) if side.needs_pin else ('--login',)


def objects(listing):
    """The objects of a listing, in an order of our own: SoftHSM2 has none."""
    return sorted(re.split(r'\n(?=\w.* Object)', listing.strip()))


def the_module_looks_the_same():
    """The module, its slots, tokens and mechanisms look as they do without the proxy."""
    compare(lambda side: [side.told(tool(side, '--show-info').out),
                          tool(side, '--list-mechanisms').out], sides())
    direct, application, automatic = sides()
    compare(lambda side: tool(side, '--list-slots').out, [direct, application])
    # Nobody need give a PIN; and the configuration names one token.
    expect('PIN pad present' in tool(automatic, '--list-slots').out, 'no hint to need no PIN')
    expect('Slot 1' not in tool(automatic, '--list-slots').out, 'a token that is not named')


def objects_are_listed():
    """Public objects are listed to all, private ones after a login."""
    needs(PROGRAM)
    compare(lambda side: objects(tool(side, *logged_in(side), '--list-objects').out), sides())
    public = compare(lambda side: objects(tool(side, '--list-objects').out), sides()[:2])
    expect(not any('Private Key' in entry for entry in public), 'a private key without login')


def keys_are_generated():
    """Generated keys of each kind are there, can sign, and can be deleted."""
    def story(side):
        told = []
        for kind in ('rsa:2048', 'EC:prime256v1', 'EC:edwards25519'):
            made = tool(side, *logged_in(side), '--keypairgen', '--key-type', kind, '--label',
                        'new', '--id', '0a', check=False)
            told += [made.code, without('EC_POINT', made.out)]
        made = tool(side, *logged_in(side), '--keygen', '--key-type', 'AES:32', '--label',
                    'secret', '--id', '0b')
        told += [made.out]
        for kind in ('privkey', 'pubkey'):
            deleted = tool(side, *logged_in(side), '--delete-object', '--type', kind,
                           '--label', 'new', check=False)
            told += [deleted.code]
        listed = tool(side, *logged_in(side), '--list-objects').out
        return told + [len(objects(listed))]
    compare(story, sides())


def signatures_are_the_same():
    """RSA signatures are equal to the byte; openssl accepts those of both keys."""
    def story(side):
        side.file('data', b'x' * 5000)
        side.file('hash', b'h' * 32)
        signatures = []
        for mechanism in ('SHA256-RSA-PKCS', 'SHA512-RSA-PKCS'):
            tool(side, *logged_in(side), '--sign', '--mechanism', mechanism, '--id', '01',
                 '--input-file', 'data', '--output-file', 'signature')
            signatures.append((side / 'signature').read_bytes())
        side.ok('openssl', 'dgst', '-sha512', '-verify', side.public_key('rsa'), '-signature',
                'signature', 'data')
        tool(side, *logged_in(side), '--sign', '--mechanism', 'ECDSA', '--id', '02',
             '--input-file', 'hash', '--output-file', 'signature', '--signature-format',
             'openssl')
        side.ok('openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', side.public_key('ec'),
                '-in', 'hash', '-sigfile', 'signature')
        verified = tool(side, *logged_in(side), '--verify', '--mechanism', 'SHA256-RSA-PKCS',
                        '--id', '01', '--input-file', 'data', '--signature-file',
                        side.file('first', signatures[0]))
        refused = tool(side, *logged_in(side), '--verify', '--mechanism', 'SHA256-RSA-PKCS',
                       '--id', '01', '--input-file', 'hash', '--signature-file',
                       'first', check=False)
        return signatures + [verified.out, refused.code, refused.out]
    compare(story, sides())


def what_was_encrypted_is_decrypted():
    """What openssl encrypted for the key comes back."""
    def story(side):
        side.file('data', b'a secret')
        side.ok('openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', side.public_key('rsa'),
                '-in', 'data', '-out', 'encrypted')
        tool(side, *logged_in(side), '--decrypt', '--mechanism', 'RSA-PKCS', '--id', '01',
             '--input-file', 'encrypted', '--output-file', 'decrypted')
        side.file('nonsense', b'\1' * 256)
        refused = tool(side, *logged_in(side), '--decrypt', '--mechanism', 'RSA-PKCS',
                       '--id', '01', '--input-file', 'nonsense', check=False)
        return [(side / 'decrypted').read_bytes(), refused.code, refused.err]
    equal(compare(story, sides())[0], b'a secret')


def its_own_tests_pass():
    """--test and --test-ec say what they say without the proxy."""
    def story(side):
        all_of_it = tool(side, *logged_in(side), '--test', check=False)
        ec = tool(side, *logged_in(side), '--session-rw', '--test-ec', '--id', '0c',
                  '--key-type', 'EC:prime256v1', check=False)
        return [all_of_it.code, all_of_it.out, all_of_it.err, ec.code,
                without('EC_POINT', ec.out), ec.err]
    compare(story, sides())


def wrong_pins_are_refused():
    """A wrong PIN is refused with the token's own code, and the right one still works."""
    def story(side):
        wrong = tool(side, '--login', '--pin', 'wrong', '--list-objects', check=False)
        right = tool(side, '--login', '--pin', PIN, '--list-objects')
        return [wrong.code, wrong.err, objects(right.out)]
    compare(story, sides())


def a_child_can_initialise():
    """A forked child gets to work by C_Initialize, where SoftHSM2 alone refuses it."""
    for side in sides()[1:]:
        tool(side, '--test-fork')


def threads_ask_at_once():
    """Threads that initialise and ask at once are answered."""
    for side in sides()[1:]:
        threads = [word for _ in range(4) for word in ('--test-threads', 'ILGISLT0')]
        # It waits half a minute for threads that are not done when it is itself.
        told = tool(side, *threads, '--generate-random', 30_000_000, '--output-file',
                    '/dev/null')
        codes = set(re.findall(r'rv:(CKR_\w+)', told.out + told.err))
        expect(codes <= {'CKR_OK', 'CKR_CRYPTOKI_ALREADY_INITIALIZED'}, told)


run([the_module_looks_the_same, objects_are_listed, keys_are_generated,
     signatures_are_the_same, what_was_encrypted_is_decrypted, its_own_tests_pass,
     wrong_pins_are_refused, a_child_can_initialise, threads_ask_at_once])
