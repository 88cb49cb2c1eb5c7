#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Signals and terminals: a clean end with 128 + signal, and a bar where one can be seen."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import ground
from ground import AUTH, CLI, OK, USAGE, equal, expect

MIB = 1024 * 1024
PLACE = ground.with_token('interruption')
STOPPING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def start(*arguments, place=PLACE, **options):
    return subprocess.Popen([CLI, *arguments], env=place.env, cwd=place.path,
                            stderr=subprocess.PIPE, **options)


def until(condition, what):
    """Wait for something that will come about."""
    end = time.monotonic() + ground.TIME_LIMIT
    while not condition():
        expect(time.monotonic() < end, f'{what} did not come about')
        time.sleep(0.005)


def has_temporary_file():
    return any(name.startswith('.hsmpool-') for name in PLACE.names())


def ends_with(child, number):
    said = child.stderr.read().decode()
    child.stderr.close()
    equal(child.wait(timeout=ground.TIME_LIMIT), 128 + number, said)
    equal(said, '', 'standard error')


def signals_leave_no_file():
    """SIGINT, SIGTERM and SIGHUP end with 128 + signal and leave no file."""
    before = PLACE.names()
    for number in STOPPING:
        child = start('encrypt', '--out', 'stopped', stdin=subprocess.PIPE)
        child.stdin.write(bytes(3 * MIB))
        child.stdin.flush()
        until(has_temporary_file, 'a temporary file')
        child.send_signal(number)
        ends_with(child, number)
        child.stdin.close()
        equal(PLACE.names(), before, 'folder')


def signals_leave_no_rewrapped_file():
    """A signal while a container's data is copied leaves no file either."""
    before = PLACE.names()
    container = PLACE.ok('encrypt', stdin=bytes(3 * MIB)).raw
    for number in STOPPING:
        child = start('rewrap', '--add', 'default', '--remove', '#1', '--out', 'stopped',
                      stdin=subprocess.PIPE)
        child.stdin.write(container)
        child.stdin.flush()
        until(has_temporary_file, 'a temporary file')
        child.send_signal(number)
        ends_with(child, number)
        child.stdin.close()
        equal(PLACE.names(), before, 'folder')


def signal_ends_a_blocked_write():
    """A signal ends a write that nobody reads."""
    child = start('random', '64MiB', stdout=subprocess.PIPE)
    select.select([child.stdout], [], [])
    child.send_signal(signal.SIGTERM)
    ends_with(child, signal.SIGTERM)
    child.stdout.close()


def sessions_are_closed():
    """After a signal the sessions are closed in order."""
    place = ground.with_mock('closed', 'latency=C_GenerateRandom:2ms')
    child = start('random', '64MiB', place=place, stdout=subprocess.PIPE)
    expect(child.stdout.read(1), 'nothing came')
    child.send_signal(signal.SIGINT)
    ends_with(child, signal.SIGINT)
    child.stdout.close()
    expect(ground.counters(place)['opened'] > 0, 'no session was opened')


def has_grown(place, size):
    """The unfinished file has more than so many bytes."""
    found = [path for path in place.path.glob('.hsmpool-*') if path.is_file()]
    return bool(found) and found[0].stat().st_size > size


def limit_does_not_hold_a_signal():
    """A signal ends the wait of --limit-rate at once, sessions closed in order."""
    place = ground.with_mock('limited')
    child = start('encrypt', '--key', 'pkcs11:object=aes', '--limit-rate', '1B', '--out',
                  'stopped', place=place, stdin=subprocess.PIPE)
    child.stdin.write(bytes(1000))
    child.stdin.flush()
    until(lambda: has_grown(place, 0), 'the header')  # which needs the HSM: it is open
    child.send_signal(signal.SIGTERM)
    ends_with(child, signal.SIGTERM)
    child.stdin.close()
    ground.counters(place)  # written by the last C_Finalize: not ended by the handler


def hanging_call_does_not_hold_a_signal():
    """A second signal ends a command whose module hangs, and leaves no file."""
    place = ground.with_mock('hanging', 'hang=C_GenerateRandom:2')
    before = place.names()
    child = start('random', '64KiB', '--out', 'stopped', place=place)
    until(lambda: any(name.startswith('.hsmpool-') for name in place.names()), 'a file')
    time.sleep(0.1)  # into the hang; too early only makes the test easier
    child.send_signal(signal.SIGINT)
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    ends_with(child, signal.SIGINT)
    # Before the hang the first signal is enough, and the mock is closed and reports.
    equal([name for name in place.names() if name != 'report'], before, 'folder')


def one_signal_ends_a_hanging_command_too():
    """One signal is enough even then, after a few seconds."""
    place = ground.with_mock('patient', 'hang=C_GenerateRandom:1')
    child = start('random', '8', '--out', 'stopped', place=place)
    until(lambda: any(name.startswith('.hsmpool-') for name in place.names()), 'a file')
    time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    ends_with(child, signal.SIGTERM)


def ignored_signal_stays_ignored():
    """A signal that was ignored at the start (nohup) stays ignored."""
    child = start('encrypt', stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    child.stdin.write(b'data')
    child.stdin.flush()
    child.send_signal(signal.SIGHUP)
    out, said = child.communicate(timeout=ground.TIME_LIMIT)
    equal((child.returncode, said), (OK, b''))
    equal(PLACE.ok('decrypt', stdin=out).raw, b'data')


def feed(stream, is_enough):
    """Give a command its input slowly until it was enough."""
    end = time.monotonic() + ground.TIME_LIMIT
    while not is_enough.wait(0.05) and time.monotonic() < end:
        stream.write(bytes(MIB))
    stream.close()


def on_terminal(*arguments, fed_until=None, place=PLACE, columns=80):
    """What a command writes to a terminal; with fed_until it gets input until it writes
    that."""
    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    source = subprocess.PIPE if fed_until else subprocess.DEVNULL
    child = subprocess.Popen([CLI, *arguments], env=place.env | {'TERM': 'vt100'},
                             cwd=place.path, stdin=source, stdout=follower, stderr=follower)
    os.close(follower)
    is_enough = threading.Event()
    feeder = threading.Thread(target=feed, args=(child.stdin, is_enough))
    if fed_until:
        feeder.start()
    written = b''
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        written += part
        if fed_until and fed_until in written:
            is_enough.set()
    os.close(leader)
    is_enough.set()
    if fed_until:
        feeder.join()
    return child.wait(), written.decode(errors='replace')


def long_work_shows_its_rate():
    """Long work on a terminal shows its rate, and clears it at the end."""
    code, written = on_terminal('encrypt', '--out', 'slow', '--force', fed_until=b'/s')
    equal(code, OK, written)
    expect('/s' in written and 'MiB' in written, repr(written))
    expect(written.endswith('\r\x1b[K'), repr(written))


def long_file_shows_the_time_left():
    """A long file shows how far it is, the time left and the sessions at work."""
    slow = ground.with_token('slow')
    slow.config.write_text(slow.config.read_text().replace(ground.SOFTHSM,
                                                           str(ground.mock_module())))
    slow.env |= {'HSMPOOL_MOCK_WRAPS': ground.SOFTHSM, 'HSMPOOL_MOCK': 'latency=C_Encrypt:60ms'}
    slow.file('file', bytes(4 * MIB))
    code, written = on_terminal('encrypt', '--mode', 'direct', '--threads', '2',
                                '--in', 'file', '--out', 'out', place=slow)
    equal(code, OK, written)
    line = (r'\d+% \[=+>? *\] [\d.]+ MiB of 4.0 MiB  [\d.]+ [KM]iB/s  ETA 0:\d\d  '
            r'[12] sessions?\x1b')
    expect(re.search(line, written), repr(written))


def log_lines_keep_the_bar_away():
    """With -v the terminal belongs to the log lines."""
    PLACE.file('long', bytes(2 * MIB))
    code, written = on_terminal('-v', 'encrypt', '--limit-rate', '1MiB', '--in', 'long',
                                '--out', 'logged', '--force')
    equal(code, OK, written)
    expect('pool-opened' in written and 'ETA' not in written, repr(written))


def ask_for_pin(place, typed):
    """Run a command that asks on its own terminal; (exit code, what the terminal showed,
    whether it echoes at the end)."""
    leader, follower = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
    child = subprocess.Popen([CLI, 'random', '8', '--format', 'hex'], env=place.env,
                             cwd=place.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, preexec_fn=take_terminal,
                             pass_fds=[follower])
    shown = b''
    while b'PIN' not in shown or not shown.endswith(b': '):
        shown += os.read(leader, 1024)
    os.write(leader, typed)
    out, said = child.communicate(timeout=ground.TIME_LIMIT)
    shown += os.read(leader, 1024)
    echoes = bool(termios.tcgetattr(follower)[3] & termios.ECHO)
    os.close(leader)
    os.close(follower)
    return child.returncode, out, said.decode(), shown.decode(), echoes


def asking_place(name):
    place = ground.with_token(name)
    place.config.write_text(re.sub(r'pin-source = .*', 'pin-source = prompt',
                                   place.config.read_text()))
    return place


def pin_is_asked_without_echo():
    """pin-source = prompt asks on the terminal and does not show what is typed."""
    place = asking_place('asked')
    pin = place.pin.read_text()
    code, out, said, shown, echoes = ask_for_pin(place, pin.encode() + b'\n')
    equal((code, said, len(out)), (OK, '', 17))
    expect('hsmpool-dev' in shown and pin not in shown, repr(shown))
    expect(echoes, 'the terminal was left without echo')


def interrupted_question_restores_the_terminal():
    """Control-C at the question ends the command and restores the echo."""
    code, _, said, _, echoes = ask_for_pin(asking_place('asked-in-vain'), b'\x03')
    equal((code, said), (128 + signal.SIGINT, ''))
    expect(echoes, 'the terminal was left without echo')


def no_terminal_to_ask_on():
    """Without a terminal the question fails and says so."""
    asking_place('unasked').fails(AUTH, 'no terminal', 'random', '8', start_new_session=True)


def short_work_shows_no_bar():
    """Work that ends within a second shows nothing."""
    PLACE.file('short', b'data')
    for _ in range(10):
        begun = time.monotonic()
        seen = on_terminal('encrypt', '--in', 'short', '--out', 'short.hsm', '--force')
        if time.monotonic() - begun < 1:
            equal(seen, (OK, ''))
            return
    raise ground.tap.Skip('on a machine this busy no work is short')


def containers_do_not_reach_a_terminal():
    """A container is not written to a terminal, unless forced."""
    PLACE.file('short', b'data')
    code, written = on_terminal('encrypt', '--in', 'short')
    equal(code, USAGE, written)
    expect('binary data' in written, written)
    equal(on_terminal('encrypt', '--force', '--in', 'short')[0], OK)


def hex_on_a_terminal():
    """Random bytes and signatures are shown in hex on a terminal."""
    code, written = on_terminal('random', '16')
    equal((code, len(written.strip())), (OK, 32), written)
    int(written, 16)


if __name__ == '__main__':
    ground.run([
        signals_leave_no_file,
        signals_leave_no_rewrapped_file,
        signal_ends_a_blocked_write,
        sessions_are_closed,
        limit_does_not_hold_a_signal,
        hanging_call_does_not_hold_a_signal,
        one_signal_ends_a_hanging_command_too,
        ignored_signal_stays_ignored,
        long_work_shows_its_rate,
        long_file_shows_the_time_left,
        log_lines_keep_the_bar_away,
        short_work_shows_no_bar,
        pin_is_asked_without_echo,
        interrupted_question_restores_the_terminal,
        no_terminal_to_ask_on,
        containers_do_not_reach_a_terminal,
        hex_on_a_terminal,
    ])
