#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Erasure by key: a key for each person, and what is left when it is destroyed."""
import subprocess

import ground
from ground import KEY, equal, expect

PLACE = ground.with_token('erasure')
SUBJECTS = 'ann', 'bob'
FILES = 'letter', 'invoice'


def uri(subject):
    return f'pkcs11:object=subject-{subject}'


def store(name, *keys, mode='envelope'):
    options = [word for key in keys for word in ('--key', key)]
    PLACE.ok('encrypt', '--mode', mode, *options, '--out', name, stdin=name.encode())


def is_readable(name):
    return PLACE.ok('decrypt', '--in', name).raw == name.encode()


def destroying_a_key_erases_all_of_one_person():
    """After key destroy every container of that key is unreadable, and no other is."""
    for subject in SUBJECTS:
        PLACE.ok('keygen', '--for', 'aes-gcm', '--label', f'subject-{subject}')
        for file in FILES:
            store(f'{subject}-{file}', uri(subject))
        store(f'{subject}-direct', uri(subject), mode='direct')
    names = [f'{subject}-{file}' for subject in SUBJECTS for file in (*FILES, 'direct')]
    expect(all(is_readable(name) for name in names), 'not stored')
    told = PLACE.ok('key', 'destroy', uri('ann'), '--yes', '--json').json
    equal([one['label'] for one in told['objects']], ['subject-ann'])
    for name in names:
        if name.startswith('bob'):
            expect(is_readable(name), name)
        else:
            PLACE.fails(KEY, "no key of this token opens.*label='subject-ann'", 'decrypt',
                        '--in', name, '--out', 'x')
    expect(not (PLACE / 'x').exists(), 'a file was left')


def a_pair_is_erased_as_well():
    """An RSA key's containers are gone with its private half."""
    PLACE.ok('keygen', '--for', 'rsa-oaep', '--bits', '2048', '--label', 'subject-rsa')
    store('rsa', uri('rsa'))
    expect(is_readable('rsa'), 'not stored')
    equal(len(PLACE.ok('key', 'destroy', uri('rsa'), '--yes', '--json').json['objects']), 2)
    PLACE.fails(KEY, 'subject-rsa', 'decrypt', '--in', 'rsa')


def another_recipient_still_reads():
    """A container with another recipient stays readable: inspect tells beforehand."""
    PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'subject-carol')
    store('shared', uri('carol'), 'default')
    labels = [one['label'] for one in
              PLACE.ok('inspect', 'shared', '--json').json['recipients']]
    equal(labels, ['subject-carol', 'default'])
    PLACE.ok('key', 'destroy', uri('carol'), '--yes')
    expect(is_readable('shared'), 'gone')
    # the entry of a key that is gone can be taken out by its name
    PLACE.run('rewrap', 'shared', '--remove', uri('carol'))
    equal(len(PLACE.ok('inspect', 'shared', '--json').json['recipients']), 1)
    expect(is_readable('shared'), 'gone')


def a_new_key_of_the_same_name_opens_nothing():
    """The name can be given again: what the old key closed stays closed."""
    for turn in 'first', 'second':
        PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'subject-dora')
        store(turn, uri('dora'))
        if turn == 'first':
            PLACE.ok('key', 'destroy', uri('dora'), '--yes')
    expect(is_readable('second'), 'not stored')
    PLACE.fails(KEY, 'subject-dora', 'decrypt', '--in', 'first')
    PLACE.fails(KEY, 'subject-dora', 'decrypt', '--key', uri('dora'), '--in', 'first')


def the_documents_commands_work():
    """The commands of privacy.md do what it says."""
    text = (ground.SOURCE / 'docs/privacy.md').read_text()
    section = text.split('\n## Erasure by key\n')[1].split('\n## ')[0]
    blocks = [block.split('```')[0] for block in section.split('```sh\n')[1:]]
    expect(len(blocks) >= 3, 'few commands')
    place = ground.with_token('document')
    place.file('letter.pdf', b'a letter')
    script = f'hsmpool-cli() {{ {ground.CLI} "$@"; }}\n' + '\n'.join(blocks)
    done = subprocess.run(['bash', '-euc', script], env=place.env, cwd=place.path, check=False,
                          capture_output=True, text=True, timeout=ground.TIME_LIMIT)
    equal(done.returncode, 0, done.stderr)
    place.fails(KEY, '', 'decrypt', '--in', 'letter.pdf.hsm')


if __name__ == '__main__':
    ground.run([
        destroying_a_key_erases_all_of_one_person,
        a_pair_is_erased_as_well,
        another_recipient_still_reads,
        a_new_key_of_the_same_name_opens_nothing,
        the_documents_commands_work,
    ])
