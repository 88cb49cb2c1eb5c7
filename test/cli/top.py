#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""top: what all processes do, on a terminal, as lines, as JSON."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import ground
import peers
from ground import OK, SYSTEM, USAGE, equal, expect
from peers import Speaker

ENTER, LEAVE = '\x1b[?1049h\x1b[?25l', '\x1b[?25h\x1b[?1049l'
POOL = '''\
# TYPE hsmpool_sessions gauge
hsmpool_sessions{{{whose},state="idle"}} 9
hsmpool_sessions{{{whose},state="used"}} 4
hsmpool_sessions{{{whose},state="stuck"}} 1
# TYPE hsmpool_sessions_limit gauge
hsmpool_sessions_limit{{{whose}}} 16
# TYPE hsmpool_waiters gauge
hsmpool_waiters{{{whose}}} {waiters}
# TYPE hsmpool_paused gauge
hsmpool_paused{{{whose}}} {paused}
# TYPE hsmpool_breaker_state gauge
hsmpool_breaker_state{{{whose}}} {breaker}
# TYPE hsmpool_pin_latched gauge
hsmpool_pin_latched{{{whose}}} {latched}
# TYPE hsmpool_op_seconds histogram
hsmpool_op_seconds_bucket{{{whose},op="C_Sign",le="0.001"}} {fast}
hsmpool_op_seconds_bucket{{{whose},op="C_Sign",le="0.002"}} {all}
hsmpool_op_seconds_bucket{{{whose},op="C_Sign",le="+Inf"}} {all}
hsmpool_op_seconds_count{{{whose},op="C_Sign"}} {all}
hsmpool_op_seconds_bucket{{{whose},op="C_Encrypt",le="0.001"}} 7
hsmpool_op_seconds_bucket{{{whose},op="C_Encrypt",le="0.002"}} 7
hsmpool_op_seconds_bucket{{{whose},op="C_Encrypt",le="+Inf"}} 7
hsmpool_op_seconds_count{{{whose},op="C_Encrypt"}} 7
# TYPE hsmpool_op_errors counter
hsmpool_op_errors_total{{{whose},ckr="CKR_DEVICE_ERROR"}} {errors}
# EOF
'''
PLAIN = {'waiters': 2, 'paused': 0, 'breaker': 0, 'latched': 0, 'fast': 100, 'all': 200,
         'errors': 3}


def metrics(pool='default', token='payments', **figures):
    whose = f'pool="{pool}",token="{token}"'
    return 'ok\n' + POOL.format(whose=whose, **(PLAIN | figures))


def once(place, *options):
    return place.ok('top', '--once', '--interval', '100ms', '--json', *options).json


def process_of(shown, speaker):
    (found,) = [each for each in shown['processes'] if each['pid'] == speaker.pid]
    return found


def heard(place, speaker):
    """What top shows of a process that answers: on a busy machine it may be late."""
    for _ in range(20):
        found = process_of(once(place), speaker)
        if not found['silent'] and all(pool['operations-per-second'] is not None
                                       for pool in found['pools']):
            return found
    raise AssertionError('it was never heard')


class Screen:
    """top on a terminal of its own."""

    def __init__(self, place, columns=160, rows=30, interval='100ms'):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = ''
        self.process = subprocess.Popen(
            [ground.CLI, 'top', '--interval', interval], env=place.env | {'TERM': 'xterm'},
            cwd=place.path, stdin=slave, stdout=slave, stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))

    def read(self):
        if select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 65536).decode(errors='replace')

    def wait_for(self, pattern, from_here=False):
        """Until the pattern is shown; with from_here, shown from now on."""
        begun = len(self.text) if from_here else 0
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.text[begun:]):
            expect(time.monotonic() < deadline, f'no {pattern} in {self.text[-3000:]!r}')
            self.read()

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        """The exit code, once all that was written is read."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            expect(time.monotonic() < deadline, 'it does not end')
            self.read()
        self.read()
        return self.process.returncode

    def is_given_back(self):
        expect(self.text.startswith(ENTER), 'the alternate screen was not entered')
        expect(self.text.endswith(LEAVE), f'not left: {self.text[-100:]!r}')
        equal(self.text.count(LEAVE), 1, 'times')
        equal(termios.tcgetattr(self.slave), self.before, 'settings')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self.master)
        os.close(self.slave)


def figures_are_shown():
    """Sessions by state, waiters, operations and errors of each pool are shown."""
    place = peers.place_of_processes('figures')
    with Speaker(place, metrics()) as speaker:
        shown = heard(place, speaker)
        equal((shown['program'], shown['silent'], shown['copy']), ('sleep', False, 1))
        (pool,) = shown['pools']
        equal((pool['name'], pool['token'], pool['state']), ('default', 'payments', 'up'))
        equal(pool['sessions'], {'idle': 9, 'used': 4, 'attached': 0, 'testing': 0,
                                 'opening': 0, 'closing': 0, 'stuck': 1, 'limit': 16})
        equal((pool['waiters'], pool['operations']), (2, 207))
        equal(pool['operations-per-second'], 0, 'rate')
        equal(pool['p99'], None, 'p99 without operations')
        equal(pool['errors'], {'CKR_DEVICE_ERROR': {'count': 3, 'per-second': 0}})
        equal(set(speaker.requests), {'metrics'}, 'requests')


def rates_are_differences():
    """Rates and times are of what came between two looks, not since the beginning."""
    place = peers.place_of_processes('rates')

    def answer(number):
        # 90 of 100 within 1 ms, all within 2 ms; 5 errors.
        return metrics(fast=1000 + 90 * number, all=2000 + 100 * number,
                       errors=7 + 5 * number)
    with Speaker(place, answer) as speaker:
        (pool,) = heard(place, speaker)['pools']
        rate = pool['operations-per-second']
        expect(0 < rate <= 1000, f'rate {rate}')
        equal(round(pool['errors-per-second'] / rate, 3), 0.05, 'share of errors')
        equal(round(pool['p50'], 6), round(0.001 * 50 / 90, 6), 'p50')
        equal(round(pool['p99'], 6), 0.0019, 'p99')


def state_is_one_word():
    """A refused PIN, a token that is down, a pause are told, the worst of them."""
    place = peers.place_of_processes('states')
    for figures, word in [({'breaker': 1}, 'down'), ({'breaker': 2}, 'probing'),
                          ({'paused': 1}, 'paused'), ({'paused': 1, 'breaker': 1}, 'down'),
                          ({'latched': 1, 'breaker': 1}, 'PIN')]:
        with Speaker(place, metrics(**figures)) as speaker:
            (pool,) = heard(place, speaker)['pools']
            equal(pool['state'], word)


def hung_process_is_silent():
    """A process that does not answer is shown as silent, beside the others."""
    place = peers.place_of_processes('hung')
    with Speaker(place, None) as hung, Speaker(place, metrics()) as other:
        shown = once(place)
        equal((process_of(shown, hung)['silent'], process_of(shown, hung)['pools']), (True, []))
        equal(heard(place, other)['silent'], False)
        text = place.ok('top', '--once', '--interval', '100ms').out
        expect(re.search(rf'{hung.pid} sleep +- +silent', text), text)


def nonsense_does_no_harm():
    """Whatever a process says, top goes on."""
    place = peers.place_of_processes('nonsense')
    for text in ['', '\n\n', 'hsmpool_waiters', 'hsmpool_waiters{pool="x"} NaN',
                 'hsmpool_waiters{pool="x"} 1e308\n' * 2, 'hsmpool_sessions{pool="x"} -1',
                 'hsmpool_op_seconds_bucket{pool="x"} 1', 'x' * 100000,
                 ''.join(f'hsmpool_op_errors_total{{pool="x",ckr="E{n}"}} 1\n'
                         for n in range(100)),
                 ''.join(f'hsmpool_op_seconds_bucket{{pool="x",le="{n}"}} 1\n'
                         for n in range(100)),
                 ''.join(f'hsmpool_waiters{{pool="{n}"}} 1\n' for n in range(1000))]:
        with Speaker(place, f'ok\n{text}\n# EOF\n') as speaker:
            expect(len(process_of(once(place), speaker)['pools']) <= 256, 'pools')


def lines_where_there_is_no_terminal():
    """Elsewhere than on a terminal a line is printed for each pool and interval."""
    place = peers.place_of_processes('lines')
    with Speaker(place, metrics()) as speaker, \
            subprocess.Popen([ground.CLI, 'top', '--interval', '100ms'], env=place.env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        lines = [process.stdout.readline().decode()]
        for pattern in 2 * [' default  up ', ' CKR_DEVICE_ERROR ']:
            while f' {speaker.pid} sleep ' not in lines[-1] or pattern not in lines[-1]:
                lines.append(process.stdout.readline().decode())
                expect(lines[-1], 'it ended')
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=60)[1]
        equal((process.returncode, err), (128 + signal.SIGTERM, b''), 'end')
    expect(re.match(r' +PID PROGRAM +POOL +STATE +USED', lines[0]), lines[0])
    expect(all(re.match(r'\d\d:\d\d:\d\d ', line) for line in lines[1:]), lines)
    expect('\x1b' not in ''.join(lines), 'escape sequences')


def json_is_a_line_each():
    """--json prints an object per interval and line."""
    place = peers.place_of_processes('json')
    with Speaker(place, metrics()) as speaker, \
            subprocess.Popen([ground.CLI, 'top', '--interval', '100ms', '--json'],
                             env=place.env, stdout=subprocess.PIPE) as process:
        for _ in range(3):
            shown = json.loads(process.stdout.readline())
            expect(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', shown['time']), shown)
            equal(process_of(shown, speaker)['program'], 'sleep')
        process.terminate()


def names_are_harmless():
    """A name with control characters does not reach the terminal."""
    place = peers.place_of_processes('names')
    token = '\u202eevil\x1b[2J\x9b2J\u00fc'
    with Speaker(place, metrics(token=token)) as speaker:
        text = place.ok('top', '--once', '--interval', '100ms').out
        expect('?evil?[2J?2J?' in text, text)
        (pool,) = heard(place, speaker)['pools']
        equal(pool['token'], token, 'in JSON')


def screen_is_drawn():
    """On a terminal the screen is drawn again and again, and given back with q."""
    place = peers.place_of_processes('screen')
    with Speaker(place, lambda number: metrics(waiters=number % 7)) as speaker, \
            Screen(place) as screen:
        for waiters in 3, 6:
            screen.wait_for(rf'{speaker.pid} sleep +default +up +4 +9 +16 +{waiters} ')
        screen.wait_for(r'CKR_DEVICE_ERROR')
        screen.press('q')
        equal(screen.end(), OK, 'exit code')
        screen.is_given_back()


def keys_work():
    """s sorts by the next column, p holds the picture and lets it go; others do nothing."""
    place = peers.place_of_processes('keys')
    with Speaker(place, lambda number: metrics(waiters=number)) as speaker, \
            Screen(place) as screen:
        for word in 'operations', 'waiters', 'errors', 'process':
            screen.press('s')
            screen.wait_for(f'by {word}', from_here=True)
        screen.press('p')
        screen.wait_for('held', from_here=True)
        screen.press('xyz\x1a')
        row = rf'{speaker.pid} sleep +default +up +4 +9 +16 +(\d+) '
        waiting = re.findall(row, screen.text)[-1]
        screen.press('s')
        screen.wait_for('by operations, held', from_here=True)
        screen.wait_for(row, from_here=True)
        equal(re.findall(row, screen.text)[-1], waiting, 'waiters while held')
        screen.press('sssp')
        screen.wait_for(r'by process\x1b', from_here=True)
        screen.press('q')
        equal(screen.end(), OK, 'exit code')


def size_is_followed():
    """Lines are cut to the terminal, also when it changes its size."""
    place = peers.place_of_processes('size')
    with Speaker(place, metrics()), Screen(place, columns=40, rows=4,
                                           interval='1h') as screen:
        screen.wait_for('PID PROGRAM')
        expect('TOKEN' not in screen.text, 'wider than the terminal')
        equal(screen.text.count('\n'), 3, 'line ends')
        screen.resize(200, 50)
        screen.wait_for('TOKEN')
        screen.press('q')
        screen.end()
        screen.is_given_back()


def signals_give_the_terminal_back():
    """A signal, or ^C, ends it with the terminal as it was."""
    place = peers.place_of_processes('signals')
    with Speaker(place, metrics()):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            with Screen(place) as screen:
                screen.wait_for('PROGRAM')
                screen.process.send_signal(number)
                equal(screen.end(), 128 + number, 'exit code')
                screen.is_given_back()
        with Screen(place) as screen:
            screen.wait_for('PROGRAM')
            screen.press('\x03')
            equal(screen.end(), 128 + signal.SIGINT, 'exit code')
            screen.is_given_back()


def second_signal_gives_it_back_too():
    """A second signal while a process is waited for leaves the terminal as it was."""
    place = peers.place_of_processes('twice')
    with Speaker(place, None) as hung, Screen(place, interval='1h') as screen:
        screen.wait_for(re.escape(ENTER))
        while not hung.requests:
            time.sleep(0.01)
        screen.process.send_signal(signal.SIGTERM)
        screen.process.send_signal(signal.SIGINT)
        expect(screen.end() in (128 + signal.SIGTERM, 128 + signal.SIGINT), 'exit code')
        screen.is_given_back()


def wrong_arguments_are_told():
    """Wrong arguments, and an output that is full, are told."""
    place = peers.place_of_processes('arguments')
    for text in '', '0', '1', '-1s', '99ms', '2h', 'soon':
        place.fails(USAGE, '--interval', 'top', '--interval', text)
    place.fails(USAGE, 'operand|argument', 'top', 'extra')
    with open('/dev/full', 'w', encoding='utf-8') as full:
        place.fails(SYSTEM, 'standard output', 'top', '--once', '--interval', '100ms',
                    stdout=full)


if __name__ == '__main__':
    ground.run([
        figures_are_shown,
        rates_are_differences,
        state_is_one_word,
        hung_process_is_silent,
        nonsense_does_no_harm,
        lines_where_there_is_no_terminal,
        json_is_a_line_each,
        names_are_harmless,
        screen_is_drawn,
        keys_work,
        size_is_followed,
        signals_give_the_terminal_back,
        second_signal_gives_it_back_too,
        wrong_arguments_are_told,
    ])
