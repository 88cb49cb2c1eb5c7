#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""p11-kit: the module among registered ones, and its remoting on top of us."""
import os
import re

from ground import (PIN, ROOT, TOKEN, Skip, compare, end, equal, expect, find, found_file,
                    listens_at, needs, run, sides, wait_until)


def as_somebody(side):
    """p11-kit reads a user's configuration unless the user is root."""
    if os.geteuid() != 0:
        return []
    needs('setpriv')
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    ROOT.chmod(0o711)
    side.ok('chown', '-R', '65534:65534', side.path)
    if side.run(*nobody, 'test', '-r', side.module).code != 0:
        raise Skip('only root can read the module, and p11-kit ignores its home')
    return nobody


def a_registered_module_shows_its_tokens():
    """A module registered in the user's own folder shows its token, once."""
    needs('p11-kit')

    def story(side):
        folder = side / '.config/pkcs11/modules'
        folder.mkdir(parents=True)
        (folder.parent / 'pkcs11.conf').write_text('user-config: only\n')
        (folder / 'mine.module').write_text(f'module: {side.module}\n')
        told = side.ok(*as_somebody(side), 'p11-kit', 'list-modules').out
        mine = side.told(told[told.index('mine:'):]) if 'mine:' in told else told
        equal(len(re.findall(rf'token: {TOKEN}\b', mine)), 1, 'tokens')
        return mine
    compare(story, sides()[:2])


def client(side, *words):
    module = found_file('lib/*/pkcs11/p11-kit-client.so', 'lib/pkcs11/p11-kit-client.so')
    if not module:
        raise Skip('p11-kit-client.so is not installed')
    env = {'P11_KIT_SERVER_ADDRESS': f'unix:path={side.path}/socket'}
    pin = ('--pin', PIN) if side.needs_pin else ()
    return side.ok('pkcs11-tool', '--module', module, '--login', *pin, *words, env=env)


def a_server_passes_calls_on():
    """p11-kit-client.so works through p11-kit server, client after client."""
    needs('p11-kit', 'pkcs11-tool')
    if not found_file('libexec/p11-kit/p11-kit-server', 'lib/p11-kit/p11-kit-server',
                      'lib/*/p11-kit/p11-kit-server'):
        raise Skip('p11-kit server is not installed')

    def story(side):
        server = side.start(find('p11-kit'), 'server', '-f', '-n', side / 'socket',
                            '--provider', side.module, f'pkcs11:token={TOKEN}')
        wait_until(lambda: listens_at(side / 'socket'), 'socket of p11-kit server')
        side.file('data', b'd' * 32)
        signatures = []
        for _ in range(3):
            client(side, '--sign', '--mechanism', 'RSA-PKCS', '--id', '01',
                   '--input-file', 'data', '--output-file', 'signature')
            signatures.append((side / 'signature').read_bytes())
        listed = client(side, '--list-objects').out
        end(server)
        return [signatures, sorted(re.findall(r'^(\w.* Object.*)', listed, re.MULTILINE))]
    signatures, listed = compare(story, sides())
    equal(len(set(signatures)), 1, 'signatures')
    expect(len(listed) == 6, listed)


run([a_registered_module_shows_its_tokens, a_server_passes_calls_on])
