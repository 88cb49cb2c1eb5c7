#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""GnuTLS: p11tool and certtool."""
import re

from ground import PIN, TOKEN, compare, expect, needs, run, sides

URL = f'pkcs11:token={TOKEN}'


def tool(side, *words, program='p11tool', check=True):
    needs(program)
    call = side.ok if check else side.run
    return call(program, '--provider', side.module, *words, env={'GNUTLS_PIN': PIN})


def objects(listing):
    """The objects of a listing, in an order of our own, without their numbers."""
    return sorted(re.sub(r'^Object \d+:', '', entry)
                  for entry in re.split(r'\n\n(?=Object)', listing.strip()))


def tokens_and_mechanisms_are_listed():
    """Tokens and mechanisms look as they do without the proxy."""
    # p11tool does not clear the flags that SoftHSM2 adds its own to; we do.
    compare(lambda side: re.sub(r'(keysize range \(.*?\)|CKM_\w+).*', r'\1',
                                tool(side, '--list-mechanisms', URL).out), sides())
    compare(lambda side: tool(side, '--list-tokens').out, sides()[:2])


def objects_are_listed():
    """Objects are listed with the same URLs, private ones after a login."""
    compare(lambda side: objects(tool(side, '--login', '--list-all', URL).out), sides())
    compare(lambda side: objects(tool(side, '--list-all', URL).out), sides()[:2])


def signatures_are_tested():
    """Signatures of both keys pass p11tool's own test."""
    def story(side):
        return [tool(side, '--login', '--test-sign', f'{URL};object={name};type=private').err
                for name in ('rsa', 'ec')]
    expect('ok' in compare(story, sides())[0], 'no signature')


def keys_come_and_go():
    """A key is generated, a certificate written; both can be deleted."""
    def story(side):
        tool(side, '--login', '--generate-privkey', 'ecc', '--curve', 'secp256r1', '--label',
             'new', '--id', '0a', '--outfile', 'new.pub', URL)
        tool(side, '--login', '--write', '--load-certificate', 'ec.crt', '--label',
             'written', '--id', '0b', URL)
        before = objects(tool(side, '--login', '--list-all', URL).out)
        told = [tool(side, '--login', '--batch', '--delete', f'{URL};object={name}').out
                for name in ('written', 'new')]
        return [len(before), told, objects(tool(side, '--login', '--list-all', URL).out)]
    compare(story, sides())


def certificates_are_signed():
    """certtool signs a certificate and a request; openssl accepts them."""
    def story(side):
        side.file('template', 'cn = "example"\nserial = 7\nexpiration_days = 10\n'
                  'signing_key\nca\ncert_signing_key\n')
        for name in ('rsa', 'ec'):
            keys = ['--load-privkey', f'{URL};object={name};type=private', '--load-pubkey',
                    f'{URL};object={name};type=public', '--template', 'template']
            tool(side, '--generate-self-signed', *keys, '--outfile', 'own.crt',
                 program='certtool')
            side.ok('openssl', 'verify', '-CAfile', 'own.crt', 'own.crt')
            tool(side, '--generate-request', *keys, '--outfile', 'own.csr',
                 program='certtool')
            side.ok('openssl', 'req', '-verify', '-noout', '-in', 'own.csr')
    compare(story, sides())


def wrong_pins_are_refused():
    """A wrong PIN is refused as it is without the proxy."""
    def story(side):
        done = side.run('p11tool', '--provider', side.module, '--login', '--list-privkeys',
                        '--batch', URL, env={'GNUTLS_PIN': 'wrong'})
        return [done.code, objects(done.out)]
    needs('p11tool')
    compare(story, sides()[:2])


run([tokens_and_mechanisms_are_listed, objects_are_listed, signatures_are_tested,
     keys_come_and_go, certificates_are_signed, wrong_pins_are_refused])
