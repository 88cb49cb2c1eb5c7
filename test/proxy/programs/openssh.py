#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""OpenSSH: ssh-keygen reads the keys, an agent signs with them."""
from pathlib import Path

from ground import PIN, compare, end, equal, listens_at, needs, run, sides, wait_until


def ssh_keys(text):
    """Type and key of each line, in an order of our own."""
    return sorted(tuple(line.split()[:2]) for line in text.splitlines())


def keys_are_listed():
    """ssh-keygen -D shows the keys."""
    needs('ssh-keygen')
    found = compare(lambda side: ssh_keys(side.ok('ssh-keygen', '-D', side.module).out),
                    sides())
    equal([kind for kind, _ in found], ['ecdsa-sha2-nistp256', 'ssh-rsa'])


def sign_and_verify(side, key, env):
    kind, text = key
    side.file('key.pub', f'{kind} {text}\n')
    side.file('allowed', f'me {kind} {text}\n')
    side.file('data', 'text')
    (side / 'data.sig').unlink(missing_ok=True)
    side.ok('ssh-keygen', '-Y', 'sign', '-f', 'key.pub', '-n', 'file', 'data', env=env)
    good = side.ok('ssh-keygen', '-Y', 'verify', '-f', 'allowed', '-I', 'me', '-n', 'file',
                   '-s', 'data.sig', stdin=b'text')
    return good.out


def with_agent(side):
    """An agent takes the keys, signs with them, and gives them up."""
    real = Path(side.module).resolve()
    agent = side.start('ssh-agent', '-D', '-a', side / 'agent', '-P', f'{side.module},{real}')
    wait_until(lambda: listens_at(side / 'agent'), 'agent')
    # ssh-add asks for the PIN by a program; the agent takes no token without one.
    side.file('ask', f'#!/bin/sh\necho {PIN}\n').chmod(0o700)
    env = {'SSH_AUTH_SOCK': str(side / 'agent'), 'SSH_ASKPASS': str(side / 'ask'),
           'SSH_ASKPASS_REQUIRE': 'force'}
    side.ok('ssh-add', '-s', side.module, env=env)
    held = ssh_keys(side.ok('ssh-add', '-L', env=env).out)
    told = [sign_and_verify(side, key, env) for key in held for _ in range(3)]
    side.ok('ssh-add', '-e', side.module, env=env)
    left = side.run('ssh-add', '-L', env=env).out
    end(agent)
    return [held, told, left]


def an_agent_signs():
    """An agent signs with both keys, and gives them up."""
    needs('ssh-agent', 'ssh-add', 'ssh-keygen')
    equal(len(compare(with_agent, sides())[0]), 2, 'numbers of keys')


run([keys_are_listed, an_agent_signs])
