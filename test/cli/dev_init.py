#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""dev init: a private token, a key, a configuration; nothing else, and nothing twice."""
import re
import stat
import subprocess
import time

import ground
from ground import CLI, CONFIG, DOWN, EXISTS, OK, USAGE, equal, expect


def files_below(path):
    return sorted(str(each.relative_to(path)) for each in path.rglob('*'))


def everything_lies_in_the_users_folders():
    """Token, PIN and configuration lie in the user's folders, readable by him alone."""
    place = ground.with_token('home')
    data = place / '.local/share/hsmpool'
    for path in place.config, place.pin, data / 'softhsm2.conf', data / 'tokens':
        expect(path.exists(), f'{path} is missing')
    for path in place.path.rglob('*'):
        mode = stat.S_IMODE(path.stat().st_mode)
        expect(mode & 0o077 == 0, f'{path} has mode {mode:o}')


def next_commands_work():
    """The commands that it names work."""
    place = ground.Place('next')
    said = place.ok('dev', 'init', '--module', ground.SOFTHSM).out
    place.file('FILE', b'data')
    commands = re.findall(r'^  hsmpool-cli (.*)$', said, re.MULTILINE)
    expect(len(commands) >= 3, said)
    for command in commands:
        place.ok(*command.split())
    equal((place / 'FILE.back').read_bytes(), b'data')


def xdg_folders_are_used():
    """XDG_DATA_HOME and XDG_CONFIG_HOME are used."""
    place = ground.Place('xdg')
    place.env |= {'XDG_DATA_HOME': str(place / 'd'), 'XDG_CONFIG_HOME': str(place / 'c')}
    place.ok('dev', 'init', '--module', ground.SOFTHSM)
    equal(place.names(), ['c', 'd'], 'folders')
    expect((place / 'c/hsmpool/hsmpool.conf').exists(), 'no configuration')
    place.ok('keys')


def one_folder_with_dir():
    """--dir puts everything into one folder, which --config and HSMPOOL_CONF name."""
    place = ground.Place('dir')
    made = place.ok('dev', 'init', '--module', ground.SOFTHSM, '--dir', 'a/b', '--json').json
    equal(made['configuration'], str(place / 'a/b/hsmpool.conf'))
    equal([path.name for path in place.path.iterdir()], ['a'], 'folders')
    place.ok('--config', 'a/b/hsmpool.conf', 'keys')
    place.ok('keys', env={'HSMPOOL_CONF': made['configuration']})
    place.fails(CONFIG, 'no configuration', 'keys')


def second_time_is_refused():
    """A second dev init is refused and changes nothing."""
    place = ground.with_token('twice')
    before = {path: path.read_bytes() for path in place.path.rglob('*') if path.is_file()}
    place.fails(EXISTS, 'exists already; nothing was changed', 'dev', 'init')
    after = {path: path.read_bytes() for path in place.path.rglob('*') if path.is_file()}
    equal(after, before, 'files')


def foreign_configuration_stays():
    """A configuration of the user's is not replaced."""
    place = ground.Place('foreign')
    place.config.parent.mkdir(parents=True)
    place.config.write_text('mine')
    place.fails(EXISTS, 'hsmpool.conf exists already', 'dev', 'init')
    equal(place.config.read_text(), 'mine')
    expect(not (place / '.local').exists(), 'something was made')


def failure_leaves_nothing():
    """A failure takes away what was made."""
    place = ground.Place('failure')
    place.fails(CONFIG, 'nowhere.so', 'dev', 'init', '--module', '/nowhere.so', '--dir', 'd')
    equal(files_below(place / 'd'), [], 'files')
    place.ok('dev', 'init', '--module', ground.SOFTHSM, '--dir', 'd')


def interrupt_leaves_nothing():
    """A signal takes away what was made, or comes too late."""
    for delay in 0.0, 0.01, 0.03, 0.06:
        place = ground.Place(f'interrupt-{delay}')
        child = subprocess.Popen([CLI, 'dev', 'init', '--module', ground.SOFTHSM, '--dir', 'd'],
                                 env=place.env, cwd=place.path, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        child.terminate()
        code = child.wait()
        if code == OK:
            place.ok('--config', 'd/hsmpool.conf', 'keys')
        elif code in (128 + 15, -15):  # -15: before main() could say otherwise
            left = files_below(place / 'd') if (place / 'd').exists() else []
            equal(left, [], f'{delay}: files')
        else:
            expect(False, f'exit code {code}')


def only_one_of_several_at_once_succeeds():
    """Of several at once one succeeds, the others are refused."""
    place = ground.Place('race')
    command = [CLI, 'dev', 'init', '--module', ground.SOFTHSM, '--dir', 'd']
    children = [subprocess.Popen(command, env=place.env, cwd=place.path,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                for _ in range(4)]
    codes = sorted(child.wait() for child in children)
    for child in children:
        child.stderr.close()
    equal(codes, [OK, EXISTS, EXISTS, EXISTS], 'exit codes')
    place.ok('--config', 'd/hsmpool.conf', 'keys')


def the_callers_store_is_not_touched():
    """Another SoftHSM2 store in the environment is left alone, and a note tells of it."""
    place = ground.Place('store')
    (place / 'other').mkdir()
    place.file('other.conf', f'directories.tokendir = {place.path}/other\n')
    result = place.run('dev', 'init', '--module', ground.SOFTHSM,
                       env={'SOFTHSM2_CONF': str(place / 'other.conf')})
    equal(result.code, OK, 'exit code')
    expect('SOFTHSM2_CONF is set' in result.err, result)
    equal(files_below(place / 'other'), [], 'files')
    place.ok('keys')


def no_pin_is_shown():
    """Neither PIN appears in what is printed."""
    place = ground.Place('pin')
    result = place.run('-vv', 'dev', 'init', '--module', ground.SOFTHSM)
    equal(result.code, OK, result)
    for name in 'pin', 'so-pin':
        pin = (place / '.local/share/hsmpool' / name).read_text()
        expect(len(pin) == 24, 'no PIN of 24 digits')
        expect(pin not in result.out + result.err, f'{name} was printed')
    files = [path.read_text() for path in place.path.rglob('*.conf')]
    expect(not any(pin in text for text in files), 'a PIN is in a configuration')


def places_that_cannot_be_written_in_a_file_are_refused():
    """A folder whose name a configuration cannot hold is refused."""
    place = ground.Place('odd')
    place.fails(USAGE, 'a character', 'dev', 'init', '--dir', 'a#b')
    place.fails(USAGE, '--dir', 'dev', 'init', '--config', 'x')


def a_module_without_free_slots_is_told():
    """A module that has no free slot is told, and no token is erased."""
    place = ground.Place('mock')
    place.fails(DOWN, '', 'dev', 'init', '--module', ground.mock_module(), '--dir', 'd')
    equal(files_below(place / 'd'), [], 'files')


if __name__ == '__main__':
    ground.run([
        everything_lies_in_the_users_folders,
        next_commands_work,
        xdg_folders_are_used,
        one_folder_with_dir,
        second_time_is_refused,
        foreign_configuration_stays,
        failure_leaves_nothing,
        interrupt_leaves_nothing,
        only_one_of_several_at_once_succeeds,
        the_callers_store_is_not_touched,
        no_pin_is_shown,
        places_that_cannot_be_written_in_a_file_are_refused,
        a_module_without_free_slots_is_told,
    ])
