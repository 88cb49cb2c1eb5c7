#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""OpenSSL with the pkcs11 engine of libp11: signatures, requests, and a TLS server."""
import tls
from ground import TOKEN, compare, end, equal, expect, free_port, listens, run, sides, wait_until

BY_ENGINE = ('-engine', 'pkcs11', '-keyform', 'engine')


def signatures_are_made_and_verified():
    """Signatures of both keys are accepted, with the token's public key too."""
    def story(side):
        env = tls.engine(side)
        side.file('data', b'x' * 5000)
        told = []
        for name in ('rsa', 'ec'):
            side.ok('openssl', 'dgst', '-sha256', *BY_ENGINE, '-sign', tls.key(name), '-out',
                    'signature', 'data', env=env)
            told.append(side.ok('openssl', 'dgst', '-sha256', '-verify',
                                side.public_key(name), '-signature', 'signature', 'data').out)
            told.append(side.ok('openssl', 'dgst', '-sha256', *BY_ENGINE, '-verify',
                                f'pkcs11:token={TOKEN};object={name};type=public',
                                '-signature', 'signature', 'data', env=env).out)
            if name == 'rsa':  # the same each time; the others are not
                told.append((side / 'signature').read_bytes())
        return told
    compare(story, sides())


def what_was_encrypted_is_decrypted():
    """What was encrypted for the key comes back."""
    def story(side):
        env = tls.engine(side)
        side.file('data', b'a secret')
        side.ok('openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', side.public_key('rsa'),
                '-in', 'data', '-out', 'encrypted')
        side.ok('openssl', 'pkeyutl', '-decrypt', *BY_ENGINE, '-inkey', tls.key('rsa'),
                '-in', 'encrypted', '-out', 'decrypted', env=env)
        return (side / 'decrypted').read_bytes()
    equal(compare(story, sides()), b'a secret')


def certificates_are_requested_and_signed():
    """Requests and certificates are signed by the token's keys."""
    def story(side):
        env = tls.engine(side)
        told = []
        for name in ('rsa', 'ec'):
            side.ok('openssl', 'req', '-new', '-subj', '/CN=example', *BY_ENGINE, '-key',
                    tls.key(name), '-out', 'request', env=env)
            told.append(side.ok('openssl', 'req', '-verify', '-noout', '-subject', '-pubkey',
                                '-in', 'request').out)
            side.ok('openssl', 'req', '-x509', '-days', '10', '-subj', '/CN=example',
                    *BY_ENGINE, '-key', tls.key(name), '-out', 'own.crt', env=env)
            side.ok('openssl', 'verify', '-CAfile', 'own.crt', 'own.crt')
        return told
    compare(story, sides())


def serve(name):
    def story(side):
        port = free_port()
        server = side.start('openssl', 's_server', '-accept', f'127.0.0.1:{port}', '-cert',
                            f'{name}.crt', *BY_ENGINE, '-key', tls.key(name), '-www',
                            '-quiet', env=tls.engine(side))
        wait_until(lambda: listens(port), 'openssl s_server')
        answers = tls.ask_often(side, port, name, 48)
        end(server)
        return [answer.splitlines()[0] for answer in answers]
    return story


def a_server_shakes_many_hands():
    """A TLS server, its key in the token, answers clients that come at the same time."""
    for name in ('rsa', 'ec'):
        answers = compare(serve(name), sides())
        expect(len(answers) == 48 and b'200' in answers[0], answers[0])


run([signatures_are_made_and_verified, what_was_encrypted_is_decrypted,
     certificates_are_requested_and_signed, a_server_shakes_many_hands])
