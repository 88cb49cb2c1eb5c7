#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""inspect and rewrap: what a container tells without a key, and who opens it afterwards."""
import fcntl
import os
import re
import resource
import shutil
import stat
import struct
import subprocess

import ground
from ground import (DATA, EXISTS, KEY, SYSTEM, UNSUPPORTED, USAGE, equal, expect)

MIB = 1024 * 1024
BUSY = 75
PLACE = ground.with_token('containers')
TEXT = os.urandom(3 * MIB + 17)
PLACE.file('text', TEXT)
NEW, RSA, OLD = 'pkcs11:object=new', 'pkcs11:object=rsa', 'default'
PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'new')
PLACE.ok('keygen', '--for', 'rsa-oaep', '--bits', '2048', '--label', 'rsa')
NOTE = 'who was taken out can have kept'


def container(name, *options):
    """A fresh container of the text, for the key OLD unless told otherwise."""
    PLACE.ok('encrypt', '--force', *options, '--in', 'text', '--out', name)
    return PLACE / name


def header_len(path):
    return PLACE.ok('inspect', path, '--json').json['header-bytes']


def opens(path, key):
    return PLACE.ok('decrypt', '--key', key, '--in', path).raw == TEXT


def rewrapped(*arguments, **options):
    """rewrap that removes somebody: it succeeds with the note."""
    result = PLACE.run('rewrap', *arguments, **options)
    equal(result.code, 0, result)
    equal(len(result.err.splitlines()), 1, result)
    expect(NOTE in result.err, result)
    return result


# --- inspect

def a_container_is_shown_without_a_key():
    """inspect needs no key, no HSM and no configuration."""
    path = container('shown', '--key', OLD, '--key', RSA, '--context', 'x')
    bare = ground.Place('bare')
    told = bare.ok('inspect', path, '--json').json
    for name, value in {'structure': 'whole', 'verified': False, 'version': 1,
                        'mode': 'envelope', 'suite': 1, 'compression': 'none',
                        'chunk-size': MIB, 'needs-context': True, 'chunks': 4,
                        'plaintext-bytes': len(TEXT), 'encrypted-bytes': len(TEXT),
                        'container-bytes': path.stat().st_size}.items():
        equal(told[name], value, name)
    shown = PLACE.ok('key', 'show', OLD, '--json').json
    first, second = told['recipients']
    equal((first['number'], first['kind'], first['label']), (1, 'aes-gcm', 'default'))
    equal((first['key-id'], first['check']), (shown['id'], shown['check-value'][:6]))
    equal((second['number'], second['label']), (2, 'rsa'))
    expect(second['kind'].startswith('rsa-oaep-'), second)


def the_text_says_what_is_needed():
    """As text it names every part, and says that nothing is verified."""
    path = container('text.hsm', '--mode', 'direct')
    text = PLACE.ok('inspect', path).out
    for word in ('direct', "label='default'", 'structure    whole', 'nothing of this',
                 'chunks       49', 'context      none'):
        expect(word in text, f'{word}: {text}')


def a_pipe_is_read_through():
    """From a pipe the same is shown as from a file."""
    path = container('piped')
    equal(PLACE.ok('inspect', '--json', stdin=path.read_bytes()).json,
          PLACE.ok('inspect', '--in', path, '--json').json)
    with open(path, 'rb') as file:
        equal(PLACE.ok('inspect', '-', '--json', stdin=file).json['chunks'], 4)


def what_is_not_whole_is_told():
    """Exit code 65 tells what is cut, too long or altered; what could be read is shown."""
    whole = container('broken').read_bytes()
    length = header_len('broken')
    for data, structure, chunks in [
            (whole[:-1], 'truncated', 3), (whole[:length + 2 * MIB + 60], 'truncated', 2),
            (whole[:length], 'truncated', 0), (whole + b'x', 'trailing bytes', 4),
            (whole[:length] + b'\xff' + whole[length + 1:], 'damaged', 0)]:
        PLACE.file('hurt', data)
        for source in ['hurt'], []:
            result = PLACE.fails(DATA, 'container', 'inspect', *source, '--json', stdin=data)
            equal((result.json['structure'], result.json['chunks']), (structure, chunks))
            equal(len(result.json['recipients']), 1, structure)
    result = PLACE.fails(DATA, 'cut', 'inspect', stdin=whole[:length - 1])
    expect('envelope' in result.out, result.out)


def what_is_no_container_is_told():
    """Something else is no container."""
    for data in b'', b'x', TEXT, whole_of_zeros():
        told = PLACE.fails(DATA, 'not an hsmpool container', 'inspect', '--json', stdin=data)
        equal(told.json, {'structure': 'no container', 'verified': False})
    PLACE.fails(SYSTEM, 'nowhere', 'inspect', 'nowhere')
    PLACE.fails(SYSTEM, 'folder', 'inspect', '.')


def whole_of_zeros():
    return bytes(100000)


def hostile_names_stay_text():
    """Escape sequences in a label do not reach the terminal."""
    data = bytearray(container('hostile').read_bytes())
    at = data.index(b'default')
    data[at:at + 7] = b"\x1b[2J'\n\xff"
    text = PLACE.ok('inspect', stdin=bytes(data)).out
    expect("label='\\x1b[2J\\x27\\x0a\\xff'" in text, text)
    expect('\x1b' not in text, 'an escape came through')


def compression_is_shown():
    """How much smaller compression made a container is shown, and survives a new recipient."""
    data = b'abcdefgh' * (3 * MIB // 8)
    PLACE.ok('encrypt', '--compress', 'zstd', '--out', 'squeezed', stdin=data)
    told = PLACE.ok('inspect', 'squeezed', '--json').json
    equal((told['compression'], told['compressed-chunks'], told['plaintext-bytes']),
          ('zstd', 3, len(data)))
    expect(told['encrypted-bytes'] < len(data) / 10, told)
    expect(re.search(r', \d+\.\d\d to 1$', PLACE.ok('inspect', 'squeezed').out, re.MULTILINE),
           'no ratio')
    PLACE.ok('rewrap', 'squeezed', '--add', NEW)
    equal(PLACE.ok('decrypt', '--key', NEW, '--in', 'squeezed').raw, data, 'data')


def a_big_file_is_passed_over():
    """In a file the bodies are not read: a sparse container of 4 GiB takes no time."""
    path = container('sparse', '--chunk-size', '64MiB')
    head = path.read_bytes()[:header_len('sparse')]
    body = 64 * MIB
    count = 64
    with open(path, 'wb') as file:
        file.write(head)
        for index in range(count):
            file.write(struct.pack('>BII', index == count - 1, body, body))
            file.seek(body + 16 - 1, os.SEEK_CUR)
            file.write(b'\0')
    told = PLACE.ok('inspect', path, '--json').json
    equal((told['chunks'], told['plaintext-bytes']), (count, count * body))
    path.unlink()


# --- rewrap

def a_key_is_replaced_in_place():
    """The new key opens the file then, the old one does not, and the data is the same."""
    path = container('rotated')
    before = path.read_bytes()[header_len('rotated'):]
    rewrapped(path, '--add', NEW, '--remove', OLD)
    expect(opens(path, NEW), 'other data')
    PLACE.fails(KEY, '', 'decrypt', '--key', OLD, '--in', path)
    equal(path.read_bytes()[header_len('rotated'):], before, 'the data part')


def recipients_come_and_go():
    """Keys are added and removed by URI, by configured name and by number."""
    path = container('many')
    PLACE.ok('rewrap', path, '--add', NEW, '--add', RSA)
    expect(all(opens(path, key) for key in (OLD, NEW, RSA)), 'other data')
    rewrapped(path, '--remove', '#2')
    rewrapped(path, '--remove', OLD)
    equal([one['label'] for one in PLACE.ok('inspect', path, '--json').json['recipients']],
          ['rsa'])
    expect(opens(path, RSA), 'other data')


def a_copy_is_written():
    """With --in and --out, and as a filter, the input stays as it is."""
    path = container('source')
    before = path.read_bytes()
    told = PLACE.ok('rewrap', '--in', path, '--out', 'copy', '--add', NEW, '--json').json
    equal((told['recipients'], told['added'], told['removed']), (2, 1, 0))
    equal(told['written-bytes'], (PLACE / 'copy').stat().st_size)
    piped = PLACE.ok('rewrap', '--add', NEW, stdin=before).raw
    PLACE.file('piped-copy', piped)
    for name in 'copy', 'piped-copy':
        expect(opens(name, NEW), name)
        equal(stat.S_IMODE((PLACE / name).stat().st_mode), 0o600, name)
    equal(path.read_bytes(), before, 'the input')
    PLACE.fails(EXISTS, '--force', 'rewrap', '--in', path, '--out', 'copy', '--add', NEW)
    PLACE.ok('rewrap', '--in', path, '--out', 'copy', '--add', NEW, '--force')


def mode_and_owner_stay():
    """A file that is replaced keeps its mode, and its owner where that is allowed."""
    path = container('owned')
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    PLACE.ok('rewrap', path, '--add', NEW)
    after = path.stat()
    equal(stat.S_IMODE(after.st_mode), 0o640)
    equal((after.st_uid, after.st_gid), (before.st_uid, before.st_gid))
    expect(after.st_ino != before.st_ino, 'written in place')


def links_are_minded():
    """A symbolic link stays one; a file with several names is refused without --force."""
    path = container('linked')
    (PLACE / 'link').symlink_to('linked')
    PLACE.ok('rewrap', 'link', '--add', NEW)
    expect((PLACE / 'link').is_symlink() and opens(path, NEW), 'the link is gone')
    os.link(path, PLACE / 'second-name')
    old = path.read_bytes()
    PLACE.fails(USAGE, '2 names', 'rewrap', path, '--add', RSA)
    PLACE.ok('rewrap', path, '--add', RSA, '--force')
    equal((PLACE / 'second-name').read_bytes(), old, 'the other name')


def unchanged(path, code, pattern, *arguments, **options):
    """It is refused, and the folder and the file stay as they were."""
    names, data = PLACE.names(), path.read_bytes()
    PLACE.fails(code, pattern, 'rewrap', path, *arguments, **options)
    equal(PLACE.names(), names, 'folder')
    equal(path.read_bytes(), data, 'the file')


def wrong_changes_are_refused():
    """Nothing is changed by a change that cannot be."""
    path = container('stubborn')
    unchanged(path, USAGE, '--add KEY')
    unchanged(path, USAGE, 'nobody would be left', '--remove', OLD)
    unchanged(path, EXISTS, 'recipient already', '--add', OLD)
    unchanged(path, EXISTS, 'twice', '--add', NEW, '--add', NEW)
    unchanged(path, KEY, "label='default'", '--remove', RSA, '--add', NEW)
    unchanged(path, KEY, '#2', '--remove', '#2', '--add', NEW)
    unchanged(path, KEY, 'nobody', '--add', 'pkcs11:object=nobody')
    unchanged(path, KEY, '', '--add', NEW, '--key', RSA)
    unchanged(path, USAGE, 'not both', '--add', NEW, '--out', 'x')
    PLACE.fails(USAGE, 'standard input', 'rewrap', '-', '--add', NEW)
    unchanged(container('direct', '--mode', 'direct'), UNSUPPORTED, 'direct', '--add', NEW)


def a_useless_recipient_is_refused():
    """A pair that may not decrypt is no recipient here either."""
    PLACE.ok('keygen', '--type', 'rsa', '--bits', '2048', '--label', 'signer')
    unchanged(container('useful'), KEY, 'may not decrypt', '--add', 'pkcs11:object=signer')


def a_pipe_that_is_not_whole_is_refused():
    """Of a pipe the structure is seen in passing: the exit code tells, and no file is left."""
    path = container('piped', '--compress', 'zstd', '--chunk-size', '64KiB')
    whole, length = path.read_bytes(), header_len('piped')
    PLACE.file('added', PLACE.ok('rewrap', '--add', NEW, stdin=whole).raw)
    expect(opens('added', NEW) and opens('added', OLD), 'not whole')
    before = PLACE.names()
    for wrong in whole[:-1], whole[:-40], whole[:length], whole + b'!':
        for output in (), ('--out', 'never'):
            PLACE.fails(DATA, 'the container (is cut|has bytes after)', 'rewrap', '--add', NEW,
                        *output, stdin=wrong)
    equal(PLACE.names(), before, 'folder')


def what_is_not_whole_is_not_rewrapped():
    """A container that is cut, altered or too long stays as it is."""
    path = container('whole')
    whole, length = path.read_bytes(), header_len('whole')
    altered = bytearray(whole)
    altered[length - 1] ^= 1  # the header's MAC
    for data in (whole[:-1], whole + b'x', whole[:50], b'', b'text', bytes(altered)):
        path.write_bytes(data)
        unchanged(path, DATA, '', '--add', NEW)
        if len(data) > 0 and data[:length] != whole[:length]:
            PLACE.fails(DATA, '', 'rewrap', '--add', NEW, stdin=data)


def a_locked_file_waits_for_its_turn():
    """A file that another rewrap works on is refused."""
    path = container('busy')
    with open(path, 'rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unchanged(path, BUSY, 'another program', '--add', NEW)
    PLACE.ok('rewrap', path, '--add', NEW)


def a_full_disk_changes_nothing():
    """A write that fails leaves the old file and nothing else."""
    unchanged(container('big'), SYSTEM, 'File too large', '--add', NEW,
              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)))


def a_context_is_not_needed():
    """A container with a context is rewrapped without it, and still needs it to open."""
    path = container('with-context', '--context', 'invoice 7')
    PLACE.ok('rewrap', path, '--add', NEW)
    PLACE.fails(DATA, 'context', 'decrypt', '--key', NEW, '--in', path)
    equal(PLACE.ok('decrypt', '--key', NEW, '--in', path, '--context', 'invoice 7').raw, TEXT)


def the_kernel_copies():
    """The kernel copies from file to file; a pipe is read and written."""
    path = container('kernel')
    told = PLACE.ok('rewrap', path, '--add', NEW, '--json').json
    expect(told['copied-by-kernel'] in (0, path.stat().st_size - header_len('kernel')), told)
    told = rewrapped('--json', '--out', 'by-hand', '--remove', '#2', stdin=path.read_bytes()).json
    equal(told['copied-by-kernel'], 0)
    expect(opens('by-hand', OLD), 'other data')


def mounted_btrfs(name):
    """A small Btrfs of our own, if one can be made and mounted here."""
    image, mount = PLACE / f'{name}.image', PLACE / name
    image.touch()
    os.truncate(image, 128 * MIB)
    mount.mkdir()
    for command in ['mkfs.btrfs', '-q', image], ['mount', '-o', 'loop', image, mount]:
        if not shutil.which(command[0]) or subprocess.run(
                command, capture_output=True, check=False).returncode != 0:
            raise ground.tap.Skip(f'{command[0]} is not possible here')
    return mount


def blocks_are_shared():
    """Where the file system can, both files share the blocks of the data."""
    if not shutil.which('filefrag'):
        raise ground.tap.Skip('filefrag is not installed')
    mount = mounted_btrfs('btrfs')
    try:
        PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'aslong7')  # as long as "default"
        PLACE.ok('encrypt', '--in', 'text', '--out', mount / 'one')
        rewrapped('--in', mount / 'one', '--out', mount / 'two', '--add', 'pkcs11:object=aslong7',
                  '--remove', OLD)
        expect(opens(mount / 'two', 'pkcs11:object=aslong7'), 'other data')
        extents = subprocess.run(['filefrag', '-v', mount / 'two'], check=True, text=True,
                                 capture_output=True).stdout
        expect('shared' in extents, extents)
    finally:
        subprocess.run(['umount', mount], check=True)


if __name__ == '__main__':
    ground.run([
        a_container_is_shown_without_a_key,
        the_text_says_what_is_needed,
        a_pipe_is_read_through,
        what_is_not_whole_is_told,
        what_is_no_container_is_told,
        hostile_names_stay_text,
        compression_is_shown,
        a_big_file_is_passed_over,
        a_key_is_replaced_in_place,
        recipients_come_and_go,
        a_copy_is_written,
        mode_and_owner_stay,
        links_are_minded,
        wrong_changes_are_refused,
        a_useless_recipient_is_refused,
        a_pipe_that_is_not_whole_is_refused,
        what_is_not_whole_is_not_rewrapped,
        a_locked_file_waits_for_its_turn,
        a_full_disk_changes_nothing,
        a_context_is_not_needed,
        the_kernel_copies,
        blocks_are_shared,
    ])
