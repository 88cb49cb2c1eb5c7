#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""bench: figures of every scenario, and a token as clean as before."""
import signal
import subprocess

import ground
from ground import CLI, USAGE, equal, expect

PLACE = ground.with_token('bench')
SCENARIOS = 'borrow', 'overhead', 'throughput', 'copies', 'reopen', 'wait', 'file', 'direct'


def keys():
    return sorted(key['label'] for key in PLACE.ok('keys', '--json').json)


def every_scenario_reports():
    """Every scenario reports its figures, and the keys made for it are destroyed."""
    before = keys()
    figures = PLACE.ok('bench', '--pairs', '1', '--seconds', '0.01', '--json').json
    equal({figure['scenario'] for figure in figures}, set(SCENARIOS))
    for figure in figures:
        expect(figure['min'] <= figure['median'] <= figure['max'], figure)
        equal(figure['runs'], 1, figure['what'])
    equal(keys(), before)


def only_what_is_named():
    """Scenarios that are named are run, and no others."""
    figures = PLACE.ok('bench', '--pairs', '1', '--seconds', '0.01', '--json', 'borrow').json
    equal({figure['scenario'] for figure in figures}, {'borrow'})


def unknown_scenario():
    """An unknown scenario is refused, and the help tells which there are."""
    PLACE.fails(USAGE, "no scenario 'speed'", 'bench', 'speed')
    about = PLACE.ok('bench', '--help').out
    for name in SCENARIOS:
        expect(name in about, name)


def signals_end_it():
    """A signal ends a long run at once, and the keys are destroyed all the same."""
    before = keys()
    for scenario in 'throughput', 'direct':
        child = subprocess.Popen([CLI, 'bench', '--seconds', '60', scenario], env=PLACE.env,
                                 cwd=PLACE.path, stderr=subprocess.PIPE)
        while keys() == before:
            equal(child.poll(), None, 'exit code')
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=ground.TIME_LIMIT)[1].decode()
        equal(child.returncode, 128 + signal.SIGTERM, said)
        equal(said, '')
        equal(keys(), before)


if __name__ == '__main__':
    ground.run([every_scenario_reports, only_what_is_named, unknown_scenario, signals_end_it])
