#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""keygen, keys, key, wrap, unwrap: the life of keys, and what they may do."""
import os
import subprocess

import ground
from ground import DATA, EXISTS, KEY, USAGE, equal, expect

PLACE = ground.with_token('keys')


def uri(label):
    return f'pkcs11:object={label}'


def make(label, *options):
    return PLACE.ok('keygen', '--label', label, '--json', *options).json


def shown(label):
    return PLACE.ok('key', 'show', uri(label), '--json').json


def every_type_is_generated():
    """Every type of key is generated, with its size or curve."""
    for options, facts in [
            (('--type', 'aes'), ('aes', 256)),
            (('--type', 'aes', '--bits', '128'), ('aes', 128)),
            (('--type', 'generic'), ('generic', 256)),
            (('--type', 'rsa', '--bits', '2048'), ('rsa', 2048)),
            (('--type', 'ec'), ('ec', 256)),
            (('--type', 'ec', '--curve', 'P-384'), ('ec', 384)),
            (('--type', 'ec', '--curve', 'P-521'), ('ec', 521)),
            (('--type', 'ed25519',), ('ed25519', 255))]:
        made = make('type-' + '-'.join(options[1::2]), *options)
        equal((made['type'], made['bits']), facts, ' '.join(options))


def new_keys_are_guarded():
    """A new key is private, sensitive, not extractable, with the least usage."""
    for kind, usage in [('aes', ['encrypt', 'decrypt']), ('generic', ['sign', 'verify']),
                        ('ec', ['sign']), ('ed25519', ['sign'])]:
        made = make(f'guarded-{kind}', '--type', kind)
        for name, value in [('token', True), ('private', True), ('sensitive', True),
                            ('extractable', False), ('never-extractable', True),
                            ('local', True), ('always-authenticate', False)]:
            equal(made[name], value, f'{kind}: {name}')
        equal(made['usage'], usage, kind)


def purposes():
    """--for sizes MAC keys to the digest and gives the usage that the scheme needs."""
    for name, facts in [('hmac-sha1', ('generic', 160, ['sign', 'verify'])),
                        ('hmac-sha384', ('generic', 384, ['sign', 'verify'])),
                        ('hmac-sha512', ('generic', 512, ['sign', 'verify'])),
                        ('aes-cmac', ('aes', 256, ['sign', 'verify'])),
                        ('aes-kwp', ('aes', 256, ['wrap', 'unwrap'])),
                        ('ecdh', ('ec', 256, ['derive']))]:
        made = make(f'for-{name}', '--for', name)
        equal((made['type'], made['bits'], made['usage']), facts, name)


def taken_names_are_refused():
    """A label or id that is taken is refused, and the key stays as it was."""
    make('taken', '--type', 'aes', '--id', 'c0ffee')
    before = shown('taken')
    PLACE.fails(EXISTS, 'label', 'keygen', '--type', 'ec', '--label', 'taken')
    PLACE.fails(EXISTS, 'id', 'keygen', '--type', 'ec', '--label', 'free', '--id', 'c0ffee')
    equal(shown('taken'), before)


def wrong_wishes_are_refused():
    """What cannot be made is refused before anything is made."""
    for words in [('--type', 'aes'), ('--label', 'x'), ('--type', 'des', '--label', 'x'),
                  ('--type', 'aes', '--bits', '100', '--label', 'x'),
                  ('--type', 'aes', '--bits', 'many', '--label', 'x'),
                  ('--type', 'ec', '--curve', 'P-1', '--label', 'x'),
                  ('--type', 'aes', '--id', 'zz', '--label', 'x'),
                  ('--type', 'aes', '--usage', 'encrypt,fly', '--label', 'x'),
                  ('--for', 'nonsense', '--label', 'x')]:
        PLACE.fails(USAGE, '', 'keygen', *words)
    PLACE.fails(KEY, '', 'key', 'show', uri('x'))


def table_has_every_key_with_its_uri():
    """keys lists every key; its URI names exactly that key."""
    make('listed', '--type', 'ec')
    table = PLACE.ok('keys').out.splitlines()
    equal(table[0].split(), ['LABEL', 'CLASS', 'TYPE', 'USAGE', 'URI'])
    listed = PLACE.ok('keys', '--json').json
    equal(len(table) - 1, len(listed), 'rows')
    for key in listed:
        expect(key['uri'].startswith('pkcs11:'), key)
        equal(PLACE.ok('keys', key['uri'], '--json').json, [key], key['label'])
    equal([key['class'] for key in listed if key['label'] == 'listed'], ['private', 'public'])


def keys_by_uri():
    """keys with a URI lists those that match; none is no error."""
    equal({key['label'] for key in PLACE.ok('keys', uri('default'), '--json').json}, {'default'})
    equal(PLACE.ok('keys', uri('nobody'), '--json').json, [])
    PLACE.fails(USAGE, '', 'keys', 'nonsense')


def show_takes_the_default_a_name_or_a_uri():
    """key show takes [key default], a configured name, or a URI."""
    equal(PLACE.ok('key', 'show').out, PLACE.ok('key', 'show', 'default').out)
    equal(PLACE.ok('key', 'show', '--key', uri('default')).out, PLACE.ok('key', 'show').out)


def unknown_key():
    """An unknown key is told by name."""
    PLACE.fails(KEY, 'nobody', 'key', 'show', uri('nobody'))
    PLACE.fails(USAGE, 'nobody', 'key', 'show', 'nobody')


def public_half_there_and_back():
    """A public key is exported as PEM, and imported again verifies."""
    make('pair', '--type', 'ec')
    pem = PLACE.ok('key', 'export', uri('pair')).out
    expect(pem.startswith('-----BEGIN PUBLIC KEY-----\n'), pem)
    PLACE.ok('key', 'export', uri('pair'), '--out', 'pair.pem')
    equal((PLACE / 'pair.pem').read_text(), pem)
    PLACE.ok('sign', '--key', uri('pair'), '--out', 'pair.sig', stdin=b'hello')
    PLACE.ok('key', 'import', '--public', 'pair.pem', '--label', 'copy')
    PLACE.ok('verify', '--key', uri('copy'), '--signature', 'pair.sig', stdin=b'hello')
    PLACE.fails(DATA, '', 'verify', '--key', uri('copy'), '--signature', 'pair.sig',
                stdin=b'hallo')


def secret_keys_are_not_exported():
    """A secret key has nothing to export."""
    PLACE.fails(KEY, 'secret key', 'key', 'export', 'default')


def secret_import():
    """A secret key is imported from a file or a descriptor, in three formats."""
    secret = os.urandom(32)
    PLACE.file('raw', secret)
    PLACE.file('hex', secret.hex() + '\n')
    made = PLACE.ok('key', 'import', '--secret-file', 'raw', '--type', 'aes', '--label', 'raw',
                    '--json').json
    equal((made['sensitive'], made['extractable'], made['local']), (True, False, False))
    PLACE.ok('key', 'import', '--secret-file', 'hex', '--format', 'hex', '--type', 'aes',
             '--label', 'hex')
    with open(PLACE / 'raw', 'rb') as source:
        PLACE.ok('key', 'import', '--secret-fd', source.fileno(), '--type', 'aes', '--label',
                 'fd', pass_fds=[source.fileno()])
    equal({shown(label)['check-value'] for label in ('raw', 'hex', 'fd')},
          {made['check-value']}, 'check values')


def wrong_imports():
    """What is no key is not imported."""
    PLACE.file('text', b'hello')
    PLACE.fails(USAGE, 'one of', 'key', 'import', '--label', 'bad')
    for words in [('--public', 'text'), ('--secret-file', 'text', '--type', 'aes'),
                  ('--secret-file', 'text', '--type', 'aes', '--format', 'hex'),
                  ('--secret-file', 'text', '--type', 'rsa')]:
        result = PLACE.run('key', 'import', '--label', 'bad', *words)
        expect(result.code in (USAGE, DATA), result)
    PLACE.fails(KEY, '', 'key', 'show', uri('bad'))


def destroying_needs_a_yes():
    """destroy asks; without a terminal it wants --yes; then both halves are gone, and told."""
    make('doomed', '--type', 'ec')
    PLACE.fails(USAGE, '--yes', 'key', 'destroy', uri('doomed'))
    equal(len(PLACE.ok('keys', uri('doomed'), '--json').json), 2)
    told = PLACE.ok('key', 'destroy', uri('doomed'), '--yes').out.splitlines()
    equal(sorted(line.split(',')[0] for line in told),
          ["destroyed    private 'doomed'", "destroyed    public 'doomed'"])
    equal(PLACE.ok('keys', uri('doomed'), '--json').json, [])
    PLACE.fails(USAGE, 'name the key', 'key', 'destroy', '--yes')


def what_is_destroyed_is_told_as_json():
    """With --json destroy tells each object that is gone; a configured name will do."""
    make('listed-doomed', '--type', 'aes')
    text = PLACE.config.read_text()
    PLACE.config.write_text(f"{text}\n[key doomed]\nuri = {uri('listed-doomed')}\n")
    told = PLACE.ok('key', 'destroy', 'doomed', '--yes', '--json').json
    PLACE.config.write_text(text)
    equal(told['destroyed'], 'doomed')
    equal([(one['class'], one['label']) for one in told['objects']],
          [('secret-key', 'listed-doomed')])


def on_a_terminal(answer):
    """destroy with its standard input a terminal where somebody types the answer."""
    leader, follower = os.openpty()
    os.write(leader, answer)
    result = PLACE.run('key', 'destroy', uri('asked'), stdin=follower, stderr=subprocess.PIPE)
    os.close(leader)
    os.close(follower)
    return result


def destroying_asks_on_a_terminal():
    """On a terminal only the key's label, typed, destroys."""
    made = make('asked', '--type', 'aes')
    for answer in b'y\n', b'yes\n', b'aske\n', b'asked2\n', b'\n':
        result = on_a_terminal(answer)
        equal(result.code, USAGE, result)
        expect(f"secret-key 'asked', aes, id {made['id']}\n" in result.err, result)
    equal(on_a_terminal(b'asked\n').code, 0)
    PLACE.fails(KEY, '', 'key', 'show', uri('asked'))


def wrapped_key_comes_back():
    """A wrapped key is unwrapped as the same key."""
    make('carrier', '--for', 'aes-kwp')
    secret = os.urandom(32)
    PLACE.file('carried', secret)
    PLACE.ok('key', 'import', '--secret-file', 'carried', '--type', 'generic', '--label',
             'carried', '--extractable')
    mac = PLACE.ok('mac', '--key', uri('carried'), stdin=b'hello').out
    for scheme in 'aes-kwp', 'aes-kw':
        PLACE.ok('wrap', '--key', uri('carrier'), '--target', uri('carried'), '--scheme', scheme,
                 '--out', 'wrapped', '--force')
        expect(secret not in (PLACE / 'wrapped').read_bytes(), 'not encrypted')
        PLACE.ok('unwrap', '--key', uri('carrier'), '--scheme', scheme, '--in', 'wrapped',
                 '--type', 'generic', '--label', f'back-{scheme}')
        equal(PLACE.ok('mac', '--key', uri(f'back-{scheme}'), stdin=b'hello').out, mac, scheme)


def guarded_key_is_not_wrapped():
    """A key that is not extractable is not wrapped."""
    make('carrier2', '--for', 'aes-kwp')
    PLACE.fails(KEY, '', 'wrap', '--key', uri('carrier2'), '--target', uri('default'),
                '--out', 'stolen')
    expect(not (PLACE / 'stolen').exists(), 'a file was left')
    PLACE.fails(USAGE, '--target', 'wrap', '--key', uri('carrier2'))


def damaged_wrapping_is_refused():
    """A damaged wrapped key makes no key."""
    make('carrier3', '--for', 'aes-kwp')
    make('content', '--type', 'aes', '--extractable')
    wrapped = bytearray(PLACE.ok('wrap', '--key', uri('carrier3'), '--target', uri('content')).raw)
    wrapped[5] ^= 1
    result = PLACE.run('unwrap', '--key', uri('carrier3'), '--type', 'aes', '--label', 'damaged',
                       stdin=bytes(wrapped))
    expect(result.code in (DATA, KEY) and len(result.err.splitlines()) == 1, result)
    PLACE.fails(KEY, '', 'key', 'show', uri('damaged'))


def always_authenticated_key_signs():
    """A key that wants the PIN before each use signs."""
    made = make('careful', '--type', 'rsa', '--bits', '2048', '--always-authenticate')
    equal(made['always-authenticate'], True)
    PLACE.ok('sign', '--key', uri('careful'), '--out', 'careful.sig', stdin=b'hello')
    PLACE.ok('verify', '--key', uri('careful'), '--signature', 'careful.sig', stdin=b'hello')


if __name__ == '__main__':
    ground.run([
        every_type_is_generated,
        new_keys_are_guarded,
        purposes,
        taken_names_are_refused,
        wrong_wishes_are_refused,
        table_has_every_key_with_its_uri,
        keys_by_uri,
        show_takes_the_default_a_name_or_a_uri,
        unknown_key,
        public_half_there_and_back,
        secret_keys_are_not_exported,
        secret_import,
        wrong_imports,
        destroying_needs_a_yes,
        what_is_destroyed_is_told_as_json,
        destroying_asks_on_a_terminal,
        wrapped_key_comes_back,
        guarded_key_is_not_wrapped,
        damaged_wrapping_is_refused,
        always_authenticated_key_signs,
    ])
