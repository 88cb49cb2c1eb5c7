#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""ctl: running processes are found, asked and controlled, and nobody else's are."""
import contextlib
import os
import signal
import subprocess
import sys
import time

import ground
import peers
from ground import CONFIG, DOWN, OK, TIMEOUT, USAGE, equal, expect
from peers import Speaker

PLACE = peers.with_runtime(ground.with_token('ctl'))
PATIENCE = 60


# C_Initialize, a session on the first slot, until the input ends, C_Finalize.
PROGRAM = '''
import ctypes, sys
ulong, pointer = ctypes.c_ulong, ctypes.POINTER
module = ctypes.CDLL(sys.argv[1])
functions = pointer(ctypes.c_void_p)()
assert module.C_GetFunctionList(ctypes.byref(functions)) == 0
def call(number, *arguments):  # functions[0] is the version
    rv = ctypes.CFUNCTYPE(ulong, *map(type, arguments))(functions[1 + number])(*arguments)
    assert rv == 0, (number, rv)
slots, count, session = (ulong * 8)(), pointer(ulong)(ulong(8)), pointer(ulong)(ulong())
nothing = ctypes.c_void_p()
call(0, nothing)
call(4, ctypes.c_ubyte(1), ctypes.cast(slots, pointer(ulong)), count)
call(12, ulong(slots[0]), ulong(4), nothing, nothing, session)
sys.stdin.read()
call(1, nothing)
'''


def socket_of(process):
    return peers.runtime(PLACE) / f'{process.pid}.sock'


def eventually(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        expect(time.monotonic() < until, f'never: {what}')
        time.sleep(0.02)


@contextlib.contextmanager
def running_words(words, env=None):
    """A program with a pool, which goes on until its input ends."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=PLACE.env | (env or {}),
                          cwd=PLACE.path) as process:
        try:
            eventually(socket_of(process).exists, 'a control socket')
            yield process
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait(PATIENCE)


def running():
    return running_words([ground.CLI, 'encrypt', '--mode', 'direct', '--out', '/dev/null'],
                         {'HSMPOOL_CONF': str(PLACE.config)})


def ask(process, *words):
    """The reply of one process."""
    (entry,) = PLACE.ok('ctl', '--json', '--pid', process.pid, *words).json
    equal((entry['pid'], entry['ok']), (process.pid, True))
    return entry['reply']


def processes_and_pools_are_listed():
    """list shows each pool of each process, and a process that ended no more."""
    with running() as one, running() as other:
        lines = PLACE.ok('ctl', 'list').out.splitlines()
        for process in one, other:
            (line,) = [line for line in lines if line.startswith(f'{process.pid} ')]
            for word in 'hsmpool-cli', 'default', 'hsmpool-dev', ' in':
                expect(word in line, f'{word} is missing: {line}')
    for process in one, other:
        expect(not socket_of(process).exists(), 'the socket is left')
    expect(f'{one.pid} ' not in PLACE.ok('ctl', 'list').out, 'listed after its end')


def a_process_tells_its_state():
    """status tells of the process, its pools, their sessions and the token."""
    with running() as process:
        state = ask(process, 'status')
        equal(state['process']['pid'], process.pid)
        equal(state['process']['face'], 'library')
        (pool,) = state['pools']
        equal(pool['token']['label'], 'hsmpool-dev')
        equal((pool['login'], pool['breaker'], pool['paused']), ('in', 'closed', False))
        equal(pool['sessions']['limit'], 16)
        logins = [use for use in pool['operations'] if use['function'] == 'C_Login']
        equal([use['count'] for use in logins], [1])
        expect(0 < logins[0]['p50'] <= logins[0]['p99'], logins)
        equal((pool['errors'], pool['audit']), ({}, None))
        expect(ask(process, 'metrics').endswith('# EOF\n'), 'no OpenMetrics')


def a_pool_is_paused_from_outside():
    """pause and resume work on a running process, by name and without."""
    with running() as process:
        equal(PLACE.ok('ctl', '--pid', process.pid, 'pause', 'default').out, 'OK\n')
        expect('in, paused' in PLACE.ok('ctl', '--pid', process.pid, 'list').out, 'not shown')
        ask(process, 'resume')
        equal(ask(process, 'status')['pools'][0]['paused'], False)
        ask(process, 'validate')
        PLACE.fails(USAGE, "no pool 'two'", 'ctl', '--pid', process.pid, 'pause', 'two')


def a_changed_configuration_is_taken_over():
    """reload takes over what can change, and names what needs a restart."""
    text = PLACE.config.read_text()
    with running() as process:
        try:
            PLACE.config.write_text(text.replace(
                '[pool]\n', '[pool]\nmax-sessions = 3\nmax-waiters = 7\nprobe = random\n', 1))
            (pool,) = ask(process, 'reload')['pools']
            equal(pool['changed'], ['max-sessions', 'max-waiters'])
            equal(pool['needs-restart'], ['probe'])
            equal(PLACE.ok('ctl', '--pid', process.pid, 'reload').out,
                  f'process {process.pid}, pool default: changed: nothing; '
                  'needs a restart: probe\n')
            equal(ask(process, 'status')['pools'][0]['sessions']['limit'], 3)
        finally:
            PLACE.config.write_text(text)


def a_wrong_configuration_changes_nothing():
    """reload of a file with a mistake fails, says where it is, and changes nothing."""
    text = PLACE.config.read_text()
    with running() as process:
        try:
            PLACE.config.write_text(text.replace(
                '[pool]\n', '[pool]\nmax-sessions = 3\nmax-sesions = 4\n', 1))
            PLACE.fails(CONFIG, "unknown key 'max-sesions'.*did you mean", 'ctl', '--pid',
                        process.pid, 'reload')
            equal(ask(process, 'status')['pools'][0]['sessions']['limit'], 16)
            expect('config_reload_total{result="failed"} 1\n' in ask(process, 'metrics'),
                   'not counted')
        finally:
            PLACE.config.write_text(text)


def one_of_several_must_be_chosen():
    """Of several processes one has to be named, or all; a number that is none is refused."""
    with Speaker(PLACE, 'ok\n') as one, Speaker(PLACE, 'ok\n') as other:
        PLACE.fails(USAGE, f'which process.*{one.pid}', 'ctl', 'validate')
        PLACE.ok('ctl', '--pid', other.pid, 'validate')
        PLACE.fails(USAGE, 'exclude', 'ctl', '--all', '--pid', one.pid, 'status')
        PLACE.fails(DOWN, 'process 1 has no control socket', 'ctl', '--pid', '1', 'status')
        PLACE.fails(USAGE, 'which command', 'ctl', '--pid', one.pid)
        equal((one.requests.count('validate'), other.requests.count('validate')), (0, 1))


def what_a_killed_process_left_is_removed():
    """The socket of a process that was killed is removed by who finds it."""
    with running() as process:
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        expect(socket_of(process).exists(), 'nothing was left')
        PLACE.run('ctl', '--pid', process.pid, 'status')
        expect(not socket_of(process).exists(), 'the socket is left')


def a_program_of_the_module_is_found():
    """A program that uses the PKCS#11 module is shown and controlled like any other."""
    if ground.IS_SANITIZED:
        raise ground.tap.Skip('the interpreter is not sanitized')
    with running_words([sys.executable, '-c', PROGRAM,
                        str(ground.BUILD / 'lib/proxy/hsmpool-pkcs11.so')],
                       {'HSMPOOL_CONF': str(PLACE.config)}) as process:
        state = ask(process, 'status')
        equal(state['process']['face'], 'proxy')
        equal([pool['login'] for pool in state['pools']], ['none'])
        (pool,) = ask(process, 'reload')['pools']
        equal((pool['changed'], pool['needs-restart']), ([], []))
        ask(process, 'pause')
        ask(process, 'resume')
    equal(process.returncode, 0)
    expect(not socket_of(process).exists(), 'C_Finalize left the socket')


def strangers_answers_are_only_text():
    """What a process answers reaches no terminal as it is, and may take its time once."""
    with Speaker(PLACE, 'ok\n\x1b[2Jhello\x07\n') as rude:
        equal(PLACE.ok('ctl', '--pid', rude.pid, 'metrics').out, '?[2Jhello?\n')
    with Speaker(PLACE, 'ok\n{"pools":[7,{"name":"\\u001b[2J","changed":["\\u0007",[]]}]}') as odd:
        equal(PLACE.ok('ctl', '--pid', odd.pid, 'reload').out.splitlines(),
              [f'process {odd.pid}, pool ?: changed: nothing; needs a restart: nothing',
               f'process {odd.pid}, pool ?[2J: changed: ? [ ]; needs a restart: nothing'])
    with Speaker(PLACE, None) as silent:
        PLACE.fails(TIMEOUT, f'process {silent.pid}', '--timeout', '200ms', 'ctl', '--pid',
                    silent.pid, 'status')
    with Speaker(PLACE, 'error 78 it is \x1b[31mwrong\n') as wrong:
        PLACE.fails(CONFIG, 'it is .*wrong', 'ctl', '--pid', wrong.pid, 'reload')


def no_process_is_no_failure_to_list():
    """list without any process is an empty table."""
    result = PLACE.run('ctl', 'list')
    equal(result.code, OK, result)
    expect(result.out.startswith('PID '), result.out)
    if os.geteuid() != 0:
        PLACE.fails(DOWN, 'no process', 'ctl', 'status')


if __name__ == '__main__':
    ground.run([
        processes_and_pools_are_listed,
        a_process_tells_its_state,
        a_pool_is_paused_from_outside,
        a_changed_configuration_is_taken_over,
        a_wrong_configuration_changes_nothing,
        one_of_several_must_be_chosen,
        what_a_killed_process_left_is_removed,
        a_program_of_the_module_is_found,
        strangers_answers_are_only_text,
        no_process_is_no_failure_to_list,
    ])
