#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""encrypt and decrypt: files and pipes there and back, and what is left behind."""
import json
import os
import re
import resource
import stat
import subprocess
import time
from pathlib import Path

import ground
from ground import CLI, DATA, EXISTS, KEY, OK, SYSTEM, USAGE, equal, expect

MIB = 1024 * 1024
PLACE = ground.with_token('files')
TEXT = os.urandom(3 * MIB + 17)
PLACE.file('text', TEXT)


def container(name, *options):
    """The text, encrypted with these options."""
    path = PLACE / name
    if not path.exists():
        PLACE.ok('encrypt', *options, '--in', 'text', '--out', name)
    return path


def opened(path, *options):
    return PLACE.ok('decrypt', *options, stdin=path.read_bytes()).raw


def envelope_there_and_back():
    """A file goes through envelope mode and comes back the same."""
    container('envelope')
    PLACE.ok('decrypt', '--in', 'envelope', '--out', 'envelope.back')
    equal((PLACE / 'envelope.back').read_bytes(), TEXT, 'files')


def direct_there_and_back():
    """A file goes through direct mode and comes back the same."""
    equal(opened(container('direct', '--mode', 'direct')), TEXT, 'files')


def pipes_there_and_back():
    """Standard input and output are the default, and - stands for them."""
    encrypted = PLACE.ok('encrypt', stdin=TEXT).raw
    equal(PLACE.ok('decrypt', stdin=encrypted).raw, TEXT, 'data')
    encrypted = PLACE.ok('encrypt', '--in', '-', '--out', '-', stdin=b'x').raw
    equal(PLACE.ok('decrypt', '--in', '-', '--out', '-', stdin=encrypted).raw, b'x', 'data')


def nothing_there_and_back():
    """Empty input makes a container that opens to nothing."""
    for mode in 'envelope', 'direct':
        encrypted = PLACE.ok('encrypt', '--mode', mode).raw
        expect(len(encrypted) > 0, 'the container is empty too')
        equal(PLACE.ok('decrypt', stdin=encrypted).raw, b'', 'data')


def chunk_sizes():
    """Any chunk size opens again, wherever the input ends."""
    for size in '1KiB', '4KiB', '64KiB':
        for length in 0, 1, 1023, 1024, 1025, 65536, 65537:
            encrypted = PLACE.ok('encrypt', '--chunk-size', size, stdin=TEXT[:length]).raw
            equal(PLACE.ok('decrypt', stdin=encrypted).raw, TEXT[:length], f'{size}, {length}')


def compression_there_and_back():
    """--compress makes the container smaller where it can, in both modes."""
    rows = b''.join(b'%d,patient %d,ward %d\n' % (i, i * 7919 % 1000, i % 12)
                    for i in range(20000))
    for mode in 'envelope', 'direct':
        for method in 'zstd', 'zstd:1', 'zstd:9':
            packed = PLACE.ok('encrypt', '--mode', mode, '--compress', method, stdin=rows).raw
            expect(len(packed) < len(rows) / 2, f'{method}: {len(packed)} of {len(rows)}')
            equal(PLACE.ok('decrypt', stdin=packed).raw, rows, method)
    for method in 'zstd', 'none':
        packed = PLACE.ok('encrypt', '--compress', method, stdin=TEXT).raw
        expect(len(TEXT) < len(packed) < len(TEXT) + 1024, 'random data grew or shrank')
        equal(PLACE.ok('decrypt', stdin=packed).raw, TEXT, method)


def unknown_compression_is_refused():
    """A method or level that does not exist is refused before anything is opened."""
    for method in 'gzip', 'zstd-3', 'zst', '', 'ZSTD':
        PLACE.fails(USAGE, '--compress is none, zstd or zstd:LEVEL', 'encrypt',
                    '--compress', method, '--in', 'nowhere')
    for level in '0', '20', '-1', '', 'best', '3x':
        PLACE.fails(USAGE, 'a number from 1 to 19', 'encrypt', '--compress', f'zstd:{level}')


def limits_on_what_comes_out():
    """--max-size and --max-ratio stop a decryption, and leave no file."""
    zeros = bytes(3 * MIB)
    PLACE.file('bomb', PLACE.ok('encrypt', '--compress', 'zstd', stdin=zeros).raw)
    for limit in ('--max-size', '2MiB'), ('--max-ratio', '100'):
        PLACE.fails(DATA, 'stopped', 'decrypt', *limit, '--in', 'bomb', '--out', 'zeros')
        expect(not (PLACE / 'zeros').exists(), 'a file was left')
    part = PLACE.run('decrypt', '--max-size', '2MiB', '--in', 'bomb')
    equal(part.raw, zeros[:2 * MIB], 'what came before the limit')
    equal(PLACE.ok('decrypt', '--max-size', '3MiB', '--max-ratio', '1024', '--in', 'bomb').raw,
          zeros, 'data')
    for limit in ('--max-size', '0'), ('--max-size', 'x'), ('--max-ratio', '0'):
        PLACE.fails(USAGE, limit[0], 'decrypt', *limit, '--in', 'bomb')


def context_is_needed_again():
    """A context opens only with the same context."""
    encrypted = PLACE.ok('encrypt', '--context', 'invoice 7', stdin=b'data').raw
    equal(PLACE.ok('decrypt', '--context', 'invoice 7', stdin=encrypted).raw, b'data')
    PLACE.fails(DATA, '', 'decrypt', '--context', 'invoice 8', stdin=encrypted)
    PLACE.fails(DATA, '', 'decrypt', stdin=encrypted)


def context_from_a_file():
    """--context-file is the same as --context, one newline at its end cut."""
    PLACE.file('context', 'invoice 7\n')
    encrypted = PLACE.ok('encrypt', '--context-file', 'context', stdin=b'data').raw
    equal(PLACE.ok('decrypt', '--context', 'invoice 7', stdin=encrypted).raw, b'data')
    PLACE.fails(USAGE, 'not both', 'encrypt', '--context', 'x', '--context-file', 'context')


def several_recipients():
    """Each of several keys alone opens a container."""
    PLACE.ok('keygen', '--for', 'rsa-oaep', '--bits', '2048', '--label', 'rsa')
    PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'other')
    rsa, other = 'pkcs11:object=rsa', 'pkcs11:object=other'
    encrypted = PLACE.ok('encrypt', '--key', 'default', '--key', rsa, '--key', other,
                         stdin=b'data').raw
    for key in 'default', rsa, other:
        equal(PLACE.ok('decrypt', '--key', key, stdin=encrypted).raw, b'data', key)
    single = PLACE.ok('encrypt', '--key', rsa, stdin=b'data').raw
    equal(PLACE.ok('decrypt', stdin=single).raw, b'data', 'found from the header')
    PLACE.run('decrypt', '--key', other, stdin=single)
    expect(PLACE.run('decrypt', '--key', other, stdin=single).code in (KEY, DATA), 'opened')


def useless_recipient_is_refused():
    """A key pair that may not decrypt is refused as recipient."""
    PLACE.ok('keygen', '--type', 'rsa', '--bits', '2048', '--label', 'signer')
    PLACE.fails(KEY, 'may not decrypt', 'encrypt', '--key', 'pkcs11:object=signer',
                '--in', 'text', '--out', 'useless')
    expect(not (PLACE / 'useless').exists(), 'a file was left')


def output_is_private():
    """Files are written with mode 0600, whatever the umask."""
    old = os.umask(0)
    try:
        PLACE.ok('encrypt', '--in', 'text', '--out', 'private')
        PLACE.ok('decrypt', '--in', 'private', '--out', 'private.back')
    finally:
        os.umask(old)
    for name in 'private', 'private.back':
        equal(stat.S_IMODE((PLACE / name).stat().st_mode), 0o600, name)


def existing_output_stays():
    """An existing file is replaced only with --force."""
    PLACE.file('kept', b'old')
    PLACE.fails(EXISTS, 'kept exists already; use --force', 'encrypt', '--in', 'text',
                '--out', 'kept')
    equal((PLACE / 'kept').read_bytes(), b'old', 'content')
    PLACE.ok('encrypt', '--force', '--in', 'text', '--out', 'kept')
    equal(opened(PLACE / 'kept'), TEXT)


def existing_output_survives_a_failure():
    """With --force the old file stays until the new one is whole."""
    PLACE.file('survivor', b'old')
    damaged = bytearray(container('envelope').read_bytes())
    damaged[-1] ^= 1
    PLACE.fails(DATA, '', 'decrypt', '--force', '--out', 'survivor', stdin=bytes(damaged))
    equal((PLACE / 'survivor').read_bytes(), b'old', 'content')


def link_is_not_followed():
    """A symbolic link to nowhere is not written through."""
    (PLACE / 'link').symlink_to(PLACE / 'target')
    PLACE.fails(EXISTS, 'exists already', 'encrypt', '--in', 'text', '--out', 'link')
    expect(not (PLACE / 'target').exists(), 'written through the link')


def link_stays_with_force():
    """With --force the file that a symbolic link leads to is replaced, not the link."""
    (PLACE / 'elsewhere').mkdir()
    PLACE.file('elsewhere/led-to', b'old')
    (PLACE / 'leads').symlink_to('elsewhere/led-to')
    PLACE.ok('encrypt', '--force', '--in', 'text', '--out', 'leads')
    expect((PLACE / 'leads').is_symlink(), 'the link is gone')
    equal(opened(PLACE / 'elsewhere/led-to'), TEXT)
    PLACE.fails(SYSTEM, 'cannot find where the link link leads to', 'encrypt', '--force', '--in',
                'text', '--out', 'link')
    (PLACE / 'to-folder').symlink_to('elsewhere')
    PLACE.fails(USAGE, 'to-folder is a folder', 'encrypt', '--force', '--in', 'text', '--out',
                'to-folder')


def link_to_standard_output_stays():
    """A link like /dev/stdout stays one, also if standard output is a file."""
    (PLACE / 'stdout').symlink_to('/proc/self/fd/1')
    with open(PLACE / 'redirected', 'wb') as out:
        subprocess.run([ground.CLI, 'encrypt', '--force', '--in', 'text', '--out', 'stdout'],
                       env=PLACE.env, cwd=PLACE.path, stdout=out, check=True)
    expect((PLACE / 'stdout').is_symlink(), 'the link is gone')
    equal(opened(PLACE / 'redirected'), TEXT)


def file_of_sysfs_is_read():
    """Files of /sys claim to have a page, whatever is in them."""
    path = '/sys/class/net/lo/address'
    if not os.path.exists(path):
        raise ground.tap.Skip('no /sys')
    PLACE.ok('encrypt', '--in', path, '--out', 'address')
    equal(opened(PLACE / 'address'), open(path, 'rb').read())


def in_place_with_force():
    """Input and output may be the same file, with --force."""
    PLACE.file('same', TEXT)
    PLACE.ok('encrypt', '--force', '--in', 'same', '--out', 'same')
    equal(opened(PLACE / 'same'), TEXT)


def only_verified_data_reaches_a_pipe():
    """Of a damaged container only verified chunks reach a pipe, and the exit code tells."""
    damaged = bytearray(container('small-chunks', '--chunk-size', '64KiB').read_bytes())
    damaged[2 * MIB] ^= 1
    result = PLACE.fails(DATA, '', 'decrypt', stdin=bytes(damaged))
    expect(TEXT.startswith(result.raw), 'unverified data came out')
    expect(0 < len(result.raw) < 2 * MIB, f'{len(result.raw)} bytes came out')


def no_file_of_a_damaged_container():
    """A damaged container leaves no file, not even a temporary one."""
    whole = container('envelope').read_bytes()
    before = PLACE.names()
    for damaged in whole[:-1], whole[:100], whole + b'x', whole[:5000] + b'x' + whole[5001:]:
        PLACE.fails(DATA, '', 'decrypt', '--out', 'bad', stdin=damaged)
    equal(PLACE.names(), before, 'folder')


def summary_as_json():
    """--json prints a summary of what was done."""
    summary = PLACE.ok('encrypt', '--json', '--in', 'text', '--out', 'summarised').json
    size = (PLACE / 'summarised').stat().st_size
    told = {'out': 'summarised', 'mode': 'envelope', 'chunk-size': MIB, 'chunks': 4,
            'plaintext-bytes': len(TEXT), 'read-bytes': len(TEXT), 'written-bytes': size,
            'retries': 0}
    equal({name: summary[name] for name in told}, told)
    expect(summary['sessions-peak'] >= 1 and summary['threads'] >= 1, summary)
    equal((summary['compression'], summary['compressed-chunks']), ('none', 0))
    rate = len(TEXT) / summary['seconds']
    expect(abs(summary['plaintext-bytes-per-second'] - rate) <= rate / 100, summary)
    back = PLACE.ok('decrypt', '--json', '--in', 'summarised', '--out', 'again').json
    equal({name: back[name] for name in told},
          told | {'out': 'again', 'read-bytes': size, 'written-bytes': len(TEXT)})
    mixed = PLACE.file('mixed', bytes(2 * MIB) + TEXT[:MIB])
    for verb, source, target in ('encrypt', mixed, 'packed'), ('decrypt', 'packed', 'unpacked'):
        words = ['--compress', 'zstd'] if verb == 'encrypt' else []
        told = PLACE.ok(verb, *words, '--json', '--in', source, '--out', target).json
        equal((told['chunks'], told['compression'], told['compressed-chunks']),
              (3, 'zstd', 2), verb)


def summary_beside_the_data():
    """With the data on standard output the summary is a line of standard error."""
    done = PLACE.run('encrypt', '--json', '--mode', 'direct', '--chunk-size', '1KiB',
                     stdin=TEXT[:2500])
    equal(done.code, OK, done)
    summary = json.loads(done.err)
    equal((summary['mode'], summary['chunks'], summary['written-bytes'], done.err.count('\n')),
          ('direct', 3, len(done.raw), 1))
    equal(PLACE.ok('decrypt', stdin=done.raw).raw, TEXT[:2500], 'data')
    done = PLACE.run('pseudonymize', '--json', '--column', 'a=redact', stdin=b'a,b\n1,2\n')
    equal((done.code, done.raw), (OK, b'a,b\nREDACTED,2\n'), done)
    summary = json.loads(done.err)
    equal((summary['rows'], summary['sessions-peak'], done.err.count('\n')), (1, 0, 1))


def limited_rate():
    """--limit-rate bounds how much is read in a second."""
    start = time.monotonic()
    encrypted = PLACE.ok('encrypt', '--limit-rate', '256KiB', stdin=bytes(384 * 1024)).raw
    # A tenth of a second's worth may go ahead of time.
    expect(time.monotonic() - start > 1.3, 'faster than allowed')
    equal(PLACE.ok('decrypt', '--limit-rate', '1GiB', stdin=encrypted).raw,
          bytes(384 * 1024), 'data')
    PLACE.ok('keygen', '--for', 'aes-gcm', '--label', 'more')
    start = time.monotonic()
    rewrapped = PLACE.ok('rewrap', '--add', 'pkcs11:object=more', '--limit-rate', '256KiB',
                         stdin=encrypted).raw
    expect(time.monotonic() - start > 1.3, 'faster than allowed')
    equal(PLACE.ok('decrypt', stdin=rewrapped).raw, bytes(384 * 1024), 'data')
    start = time.monotonic()
    PLACE.ok('pseudonymize', '--column', 'a=redact', '--limit-rate', '256KiB',
             stdin=b'a\n' + b'1234567\n' * (48 * 1024))
    expect(time.monotonic() - start > 1.3, 'faster than allowed')
    for wrong in '0', '', '-1', '1XB', '9999999GiB':
        PLACE.fails(USAGE, 'bytes per second', 'encrypt', '--limit-rate', wrong)


def peak_memory(verb, source, target):
    """Peak of resident KiB, asked when all but the last MiB has come out."""
    with open(PLACE / source, 'rb') as data, open(PLACE / target, 'wb') as out:
        child = subprocess.Popen([CLI, verb], env=PLACE.env, stdin=data, stdout=subprocess.PIPE)
        left = (PLACE / source).stat().st_size - MIB
        while left > 0:
            part = child.stdout.read(min(left, MIB))
            expect(part, f'{verb}: ended early')
            out.write(part)
            left -= len(part)
        status = Path(f'/proc/{child.pid}/status').read_text()
        out.write(child.stdout.read())
        equal(child.wait(), OK, verb)
    return int(re.search(r'VmHWM:\s*(\d+) kB', status)[1])


def big_file_in_little_memory():
    """96 MiB go through in less than 32 MiB of memory."""
    if ground.IS_SANITIZED:
        raise ground.tap.Skip('a sanitizer needs memory of its own')
    with open(PLACE / 'big', 'wb') as big:
        big.truncate(96 * MIB)
    for verb, source, target in ('encrypt', 'big', 'big.hsm'), ('decrypt', 'big.hsm', 'big.back'):
        peak = peak_memory(verb, source, target)
        expect(peak < 32 * 1024, f'{verb}: {peak} KiB')
    equal(subprocess.run(['cmp', PLACE / 'big', PLACE / 'big.back'], check=False).returncode, 0)
    for name in 'big', 'big.hsm', 'big.back':
        (PLACE / name).unlink()


def input_that_is_the_output_is_refused():
    """A file as input and standard output at once would grow without end."""
    path = PLACE.file('same', TEXT)
    for arguments in ('encrypt',), ('decrypt',), ('rewrap', '--add', 'default'), \
            ('pseudonymize', '--column', '#1=drop'):
        with open(path, 'rb') as source, open(path, 'ab') as target:
            PLACE.fails(USAGE, 'the input is the output', *arguments, stdin=source,
                        stdout=target)
    equal(path.read_bytes(), TEXT)


def impossible_names_are_refused_first():
    """A name that no file can have is refused before the work, not after it."""
    PLACE.fails(USAGE, 'new/ is a folder', 'encrypt', '--in', '/dev/null', '--out', 'new/')
    for name, why in ('n' * 300, 'File name too long'), ('text/file', 'Not a directory'):
        PLACE.fails(SYSTEM, why, 'encrypt', '--key', 'none', '--in', 'text', '--out', name)


def file_size_limit():
    """An output that grows beyond its limit is a write error, and leaves nothing."""
    before = PLACE.names()
    PLACE.fails(SYSTEM, 'File too large', 'encrypt', '--in', 'text', '--out', 'limited',
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)))
    equal(PLACE.names(), before, 'folder')


def devices_are_written_directly():
    """A device or FIFO as --out is written to, not replaced."""
    PLACE.ok('encrypt', '--in', 'text', '--out', '/dev/null')
    expect(stat.S_ISCHR(os.stat('/dev/null').st_mode), '/dev/null is gone')
    PLACE.fails(SYSTEM, 'No space left', 'encrypt', '--in', 'text', '--out', '/dev/full')


if __name__ == '__main__':
    ground.run([
        envelope_there_and_back,
        direct_there_and_back,
        pipes_there_and_back,
        nothing_there_and_back,
        chunk_sizes,
        compression_there_and_back,
        unknown_compression_is_refused,
        limits_on_what_comes_out,
        context_is_needed_again,
        context_from_a_file,
        several_recipients,
        useless_recipient_is_refused,
        output_is_private,
        existing_output_stays,
        existing_output_survives_a_failure,
        link_is_not_followed,
        link_stays_with_force,
        link_to_standard_output_stays,
        file_of_sysfs_is_read,
        in_place_with_force,
        only_verified_data_reaches_a_pipe,
        no_file_of_a_damaged_container,
        summary_as_json,
        summary_beside_the_data,
        limited_rate,
        big_file_in_little_memory,
        input_that_is_the_output_is_refused,
        impossible_names_are_refused_first,
        file_size_limit,
        devices_are_written_directly,
    ])
