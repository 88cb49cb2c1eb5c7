#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Much data: bounded memory, many threads and sessions, a clean end when it is cut off."""
import os
import resource
import select
import signal
import subprocess
import time

import ground
from ground import CLI, DOWN, OK, SYSTEM, USAGE, equal, expect

KIB, MIB = 1024, 1024 * 1024
PLACE = ground.with_token('bulk')


def over_softhsm(name, script):
    """A place with the mock in front of SoftHSM2."""
    place = ground.with_token(name)
    place.config.write_text(place.config.read_text().replace(ground.SOFTHSM,
                                                             str(ground.mock_module())))
    place.report = place / 'report'
    place.env |= {'HSMPOOL_MOCK_WRAPS': ground.SOFTHSM,
                  'HSMPOOL_MOCK': f'{script};report={place.report}'}
    return place


def start(*arguments, place=PLACE, **options):
    return subprocess.Popen([CLI, *arguments], env=place.env, cwd=place.path, **options)


def peak_of(child):
    """Its resident memory at most, in MiB; it must have succeeded."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    equal(child.returncode, OK)
    return usage.ru_maxrss / KIB


def memory_is_bounded():
    """A long stream takes less than 64 MiB of memory, in both modes and directions."""
    if ground.IS_SANITIZED:
        raise ground.tap.Skip('sanitizers take memory of their own')
    for mode, method, size in (('envelope', 'none', 256 * MIB), ('direct', 'none', 96 * MIB),
                               ('envelope', 'zstd:19', 96 * MIB)):
        pipe = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
        encrypting = start('encrypt', '--mode', mode, '--compress', method, **pipe)
        decrypting = start('decrypt', stdin=encrypting.stdout, stdout=subprocess.PIPE)
        counting = subprocess.Popen(['wc', '-c'], stdin=decrypting.stdout,
                                    stdout=subprocess.PIPE)
        encrypting.stdout.close()
        decrypting.stdout.close()
        block = bytes(MIB)
        for _ in range(size // MIB):
            encrypting.stdin.write(block)
        encrypting.stdin.close()
        equal(int(counting.communicate()[0]), size)
        peaks = peak_of(encrypting), peak_of(decrypting)
        expect(max(peaks) < 64, f'{mode}, {method}: {peaks} MiB')


def threads_are_chosen():
    """--threads is a number from 1 to 64, and changes nothing but the speed."""
    plain = bytes(range(256)) * (5 * KIB)
    PLACE.file('plain', plain)
    for mode in 'envelope', 'direct':
        for threads in 1, 2, 64:
            PLACE.ok('encrypt', '--mode', mode, '--threads', threads, '--chunk-size', '8KiB',
                     '--in', 'plain', '--out', 'sealed', '--force')
            expect(PLACE.ok('decrypt', '--threads', 65 - threads, '--in', 'sealed').raw
                   == plain, f'{mode}, {threads}')
    for wrong in '0', '65', '-1', 'many', '':
        PLACE.fails(USAGE, '--threads is a number', 'encrypt', '--threads', wrong)


def written_to(place):
    """The size of the unfinished output."""
    return sum(path.stat().st_size for path in place.path.glob('.hsmpool-*'))


def signal_ends_a_busy_stream():
    """A signal ends a stream on many sessions; they are closed, and no file is left."""
    place = over_softhsm('signalled', 'latency=C_Encrypt:20ms')
    os.truncate(place.file('plain'), 1024 * MIB)  # of holes; would take half a minute
    before = place.names()
    child = start('encrypt', '--mode', 'direct', '--in', 'plain', '--out', 'out', place=place,
                  stderr=subprocess.PIPE)
    while written_to(place) < 4 * MIB:
        equal(child.poll(), None, 'exit code')
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    said = child.communicate()[1]
    equal((child.returncode, said), (128 + signal.SIGINT, b''))
    equal([name for name in place.names() if name != 'report'], before, 'folder')
    expect(ground.counters(place)['peak'] > 4, 'few sessions')


def signal_ends_a_stream_that_nobody_reads():
    """A signal ends a stream into a pipe that is full."""
    for mode in 'envelope', 'direct':
        PLACE.file('plain', bytes(8 * MIB))
        child = start('encrypt', '--mode', mode, '--in', 'plain', stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE)
        select.select([child.stdout], [], [])
        child.send_signal(signal.SIGTERM)
        equal((child.wait(timeout=ground.TIME_LIMIT), child.stderr.read()),
              (128 + signal.SIGTERM, b''))
        child.stdout.close()
        child.stderr.close()


def token_that_fails_half_way():
    """A token that fails half-way is an error; sessions are closed, no file is left."""
    place = over_softhsm('failing', 'fail=C_Encrypt:40+:CKR_DEVICE_ERROR')
    place.file('plain', bytes(8 * MIB))
    before = place.names()
    result = place.run('encrypt', '--mode', 'direct', '--in', 'plain', '--out', 'out')
    equal(result.code, DOWN, result)
    expect('CKR_DEVICE_ERROR' in result.err, result)
    equal([name for name in place.names() if name != 'report'], before, 'folder')
    ground.counters(place)


def disk_that_fills_half_way():
    """A disk that fills half-way is an error, in both modes, and no file is left."""
    PLACE.file('plain', bytes(8 * MIB))
    for mode in 'envelope', 'direct':
        PLACE.ok('encrypt', '--mode', mode, '--in', 'plain', '--out', 'sealed', '--force')
        before = PLACE.names()
        for arguments in ('encrypt', '--mode', mode, '--in', 'plain'), ('decrypt', '--in', 'sealed'):
            PLACE.fails(SYSTEM, 'cannot write out: File too large', *arguments, '--out', 'out',
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                              (5 * MIB, 5 * MIB)))
            equal(PLACE.names(), before, 'folder')


if __name__ == '__main__':
    ground.run([
        memory_is_bounded,
        threads_are_chosen,
        signal_ends_a_busy_stream,
        signal_ends_a_stream_that_nobody_reads,
        token_that_fails_half_way,
        disk_that_fills_half_way,
    ])
