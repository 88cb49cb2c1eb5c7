#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""sign, verify, mac, random: OpenSSL must agree with every signature."""
import base64
import hashlib
import hmac
import os
import subprocess

import ground
from ground import DATA, KEY, OK, USAGE, equal, expect

MIB = 1024 * 1024
PLACE = ground.with_token('signatures')
PLACE.file('short', b'hello')
PLACE.file('long', os.urandom(3 * MIB + 5))
PLACE.file('other', b'hallo')


def uri(label):
    return f'pkcs11:object={label}'


def make_keys():
    PLACE.ok('keygen', '--type', 'rsa', '--bits', '2048', '--label', 'rsa')
    for curve in 'P-256', 'P-384', 'P-521':
        PLACE.ok('keygen', '--type', 'ec', '--curve', curve, '--label', curve)
    PLACE.ok('keygen', '--type', 'ed25519', '--label', 'ed')
    for scheme in 'hmac-sha256', 'hmac-sha512', 'aes-cmac':
        PLACE.ok('keygen', '--for', scheme, '--label', scheme)
    for label in 'rsa', 'P-256', 'P-384', 'P-521', 'ed':
        PLACE.ok('key', 'export', uri(label), '--out', f'{label}.pem')


def environment(label):
    return ground.forgiving_environment() if label == 'ed' else None


def openssl(*words):
    done = subprocess.run(['openssl', *words], cwd=PLACE.path, capture_output=True, text=True,
                          check=False)
    expect(done.returncode == 0, f'openssl {" ".join(words)}: {done.stdout}{done.stderr}')


def sign(label, *options, source='short'):
    PLACE.ok('sign', '--key', uri(label), *options, '--in', source, '--out', 'signature',
             '--force', env=environment(label))
    return (PLACE / 'signature').read_bytes()


def verify(label, *options, source='short'):
    return PLACE.run('verify', '--key', uri(label), *options, '--in', source,
                     '--signature', 'signature', env=environment(label)).code


def openssl_accepts_the_default_schemes():
    """OpenSSL accepts a signature of each key's default scheme, short and long input."""
    hashes = {'rsa': 'sha256', 'P-256': 'sha256', 'P-384': 'sha384', 'P-521': 'sha512'}
    for label, digest in hashes.items():
        for source in 'short', 'long':
            sign(label, source=source)
            openssl('dgst', f'-{digest}', '-verify', f'{label}.pem', '-signature', 'signature',
                    source)
    for source in 'short', 'long':
        sign('ed', source=source)
        openssl('pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', 'ed.pem', '-sigfile',
                'signature', '-in', source)


def openssl_accepts_pss():
    """OpenSSL accepts RSA-PSS, short and long input."""
    for source in 'short', 'long':
        sign('rsa', '--scheme', 'rsa-pss-sha256', source=source)
        openssl('dgst', '-sha256', '-verify', 'rsa.pem', '-sigopt', 'rsa_padding_mode:pss',
                '-sigopt', 'rsa_pss_saltlen:32', '-signature', 'signature', source)


def own_signatures_verify():
    """verify accepts what sign made and nothing else, for every key."""
    for label in 'rsa', 'P-256', 'P-384', 'P-521', 'ed':
        for source in 'short', 'long':
            sign(label, source=source)
            equal(verify(label, source=source), OK, label)
            equal(verify(label, source='other'), DATA, label)


def verdict_is_printed():
    """verify says OK, or nothing; --json says it as JSON."""
    sign('P-256')
    words = 'verify', '--key', uri('P-256'), '--signature', 'signature'
    equal(PLACE.ok(*words, stdin=b'hello').out, 'OK\n')
    equal(PLACE.ok(*words, '--json', stdin=b'hello').json, {'valid': True})
    equal(PLACE.fails(DATA, '', *words, stdin=b'hallo').out, '')
    equal(PLACE.run(*words, '--json', stdin=b'hallo').json, {'valid': False})


def digest_as_input():
    """--digest signs a digest made elsewhere, and gives the same kind of signature."""
    PLACE.file('digest', hashlib.sha256(b'hello').digest())
    for label in 'rsa', 'P-256':
        sign(label, '--digest', source='digest')
        equal(verify(label), OK, label)
        equal(verify(label, '--digest', source='digest'), OK, label)


def raw_ecdsa():
    """--raw makes r || s, which verify takes with --raw only."""
    equal(len(sign('P-256', '--raw')), 64, 'length')
    equal(verify('P-256', '--raw'), OK)
    equal(verify('P-256'), DATA)
    equal(len(sign('P-521', '--raw')), 132, 'length')


def formats():
    """Signatures are printed and read raw, in hex, in base64."""
    for name, decode in ('hex', bytes.fromhex), ('base64', base64.b64decode):
        text = PLACE.ok('sign', '--key', uri('rsa'), '--format', name, stdin=b'hello').out
        equal(text.count('\n'), 1, 'lines')
        PLACE.file('signature', decode(text))
        equal(verify('rsa'), OK, name)
        PLACE.file('signature', text)
        equal(verify('rsa', '--format', name), OK, name)
    PLACE.file('signature', 'zz')
    PLACE.fails(DATA, 'not hex', 'verify', '--key', uri('rsa'), '--format', 'hex',
                '--signature', 'signature', stdin=b'hello')


def long_input_of_ed25519_is_refused():
    """ed25519 refuses input that it would have to hold whole."""
    PLACE.fails(USAGE, 'ed25519', 'sign', '--key', uri('ed'), stdin=bytes(16 * MIB))


def wrong_kinds_of_key():
    """A key of another kind is refused with what it is."""
    PLACE.fails(KEY, 'type aes', 'sign', stdin=b'x')
    PLACE.fails(KEY, 'type rsa', 'mac', '--key', uri('rsa'), stdin=b'x')
    PLACE.fails(KEY, '', 'sign', '--key', uri('rsa'), '--scheme', 'ecdsa-sha256', stdin=b'x')
    PLACE.fails(USAGE, 'nonsense', 'sign', '--key', uri('rsa'), '--scheme', 'nonsense',
                stdin=b'x')


def mac_of_an_imported_key_is_right():
    """HMACs are what Python makes with the same key, short and long."""
    secret = os.urandom(64)
    PLACE.file('secret', secret)
    PLACE.ok('key', 'import', '--secret-file', 'secret', '--type', 'generic', '--label', 'known')
    for source in 'short', 'long':
        text = (PLACE / source).read_bytes()
        equal(PLACE.ok('mac', '--key', uri('known'), '--in', source).out.strip(),
              hmac.new(secret, text, 'sha512').hexdigest(), source)
        equal(PLACE.ok('mac', '--key', uri('known'), '--scheme', 'hmac-sha256', '--in',
                       source).out.strip(), hmac.new(secret, text, 'sha256').hexdigest(), source)


def mac_chooses_what_the_key_was_made_for():
    """Without --scheme a key makes the HMAC that keygen --for made it for."""
    for scheme in 'hmac-sha1', 'hmac-sha224', 'hmac-sha384':
        PLACE.ok('keygen', '--for', scheme, '--label', f'chosen-{scheme}')
        key = uri(f'chosen-{scheme}')
        equal(PLACE.ok('mac', '--key', key, stdin=b'x').out,
              PLACE.ok('mac', '--key', key, '--scheme', scheme, stdin=b'x').out, scheme)


def macs_verify():
    """mac --verify takes hex or a file and accepts nothing else, short and long."""
    for label in 'hmac-sha256', 'hmac-sha512', 'aes-cmac':
        for source in 'short', 'long':
            words = 'mac', '--key', uri(label), '--in', source
            made = PLACE.ok(*words).out.strip()
            equal(PLACE.ok(*words, '--verify', made).out, 'OK\n', label)
            PLACE.file('mac', made + '\n')
            PLACE.ok(*words, '--verify', 'mac')
            wrong = f'{int(made[0], 16) ^ 1:x}' + made[1:]
            PLACE.fails(DATA, '', *words, '--verify', wrong)
            PLACE.fails(DATA, '', *words, '--verify', made[:-2])


def random_bytes():
    """random prints as many bytes as asked, never the same."""
    for size, count in ('1', 1), ('32', 32), ('5000', 5000), ('1MiB', MIB):
        equal(len(PLACE.ok('random', size).raw), count, size)
    first, second = (PLACE.ok('random', '32', '--format', 'hex').out for _ in range(2))
    equal(len(first), 65, 'length')
    expect(first != second, 'the same twice')
    for size in '0', '-1', 'x', '':
        PLACE.fails(USAGE, '', 'random', size)
    PLACE.fails(USAGE, 'how many', 'random')


def results_as_json():
    """--json gives signature, MAC and random bytes as objects."""
    made = PLACE.ok('sign', '--key', uri('rsa'), '--json', stdin=b'hello').json
    equal((made['scheme'], made['format']), ('rsa-pkcs1-sha256', 'base64'))
    PLACE.file('signature', base64.b64decode(made['signature']))
    equal(verify('rsa'), OK)
    equal(len(PLACE.ok('mac', '--key', uri('aes-cmac'), '--json', stdin=b'x').json['mac']), 32)
    equal(len(base64.b64decode(PLACE.ok('random', '9', '--json').json['random'])), 9)


if __name__ == '__main__':
    make_keys()
    ground.run([
        openssl_accepts_the_default_schemes,
        openssl_accepts_pss,
        own_signatures_verify,
        verdict_is_printed,
        digest_as_input,
        raw_ecdsa,
        formats,
        long_input_of_ed25519_is_refused,
        wrong_kinds_of_key,
        mac_of_an_imported_key_is_right,
        mac_chooses_what_the_key_was_made_for,
        macs_verify,
        random_bytes,
        results_as_json,
    ])
