#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""NSS: modutil takes the module, certutil uses its token."""
import re

from ground import PIN, TOKEN, compare, expect, needs, run, sides


def database(side):
    """A database of certificates that knows the module."""
    needs('certutil', 'modutil')
    (side / 'nss').mkdir()
    side.file('pin-for-nss', f'{PIN}\n')
    side.ok('certutil', '-N', '-d', 'sql:nss', '--empty-password')
    side.ok('modutil', '-dbdir', 'sql:nss', '-force', '-add', 'mine', '-libfile', side.module)
    return ['-d', 'sql:nss', '-h', TOKEN, '-f', 'pin-for-nss']


def the_module_is_registered():
    """modutil adds the module and shows its slots and tokens."""
    def story(side):
        database(side)
        return side.told(side.ok('modutil', '-dbdir', 'sql:nss', '-list', 'mine').out)
    compare(story, sides()[:2])


def rows(result):
    """A table, in an order of our own: without the numbers of rows."""
    return sorted(re.sub(r'^<\s*\d+>', '', line) for line in result.out.splitlines())


def keys_and_certificates_are_listed():
    """certutil lists keys and certificates of the token."""
    def story(side):
        options = database(side)
        return [rows(side.ok('certutil', '-L', *options)),
                rows(side.ok('certutil', '-K', *options))]
    certificates, _ = compare(story, sides())
    expect(any('u,u,u' in line for line in certificates), certificates)


def a_certificate_is_requested():
    """certutil signs a request for a certificate with a key of the token."""
    def story(side):
        options = database(side)
        side.ok('certutil', '-R', *options, '-k', '01', '-s', 'CN=example', '-a',
                '-o', 'request')
        side.ok('openssl', 'req', '-verify', '-noout', '-in', 'request')
        return side.ok('openssl', 'req', '-pubkey', '-noout', '-in', 'request').out
    compare(story, sides())


run([the_module_is_registered, keys_and_certificates_are_listed, a_certificate_is_requested])
