#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Bad input and bad ground: one line, the documented exit code, no partial file."""
import os
import pwd
import re
import resource
import subprocess

import ground
from ground import (AUTH, CLI, CONFIG, DATA, DOWN, KEY, SYSTEM, TIMEOUT, USAGE, equal, expect)

MIB = 1024 * 1024
PLACE = ground.with_token('bad-input')
PLACE.file('text', os.urandom(MIB))
PLACE.ok('encrypt', '--in', 'text', '--out', 'container')


def refuses(place, code, pattern, *arguments, **options):
    """It fails so, and the folder stays as it was."""
    before = place.names()
    place.fails(code, pattern, *arguments, **options)
    equal(place.names(), before, 'folder')


def wrong_pin_is_tried_once():
    """A wrong PIN is tried once, told so, and not told to anyone."""
    place = ground.with_mock('wrong-pin')
    place.file('pin', 'wrong-pin-4711')
    result = place.fails(AUTH, "token 'mock' refused the PIN.* not tried again", 'random', '8')
    expect('4711' not in result.err, 'the PIN is in the message')
    equal(ground.counters(place)['logins'], 1, 'tries')


def wrong_pin_on_softhsm():
    """SoftHSM2's refusal of a PIN is told in one line."""
    place = ground.with_token('wrong-softhsm-pin')
    place.pin.write_text('nonsense')
    refuses(place, AUTH, 'refused the PIN', 'random', '8')
    refuses(place, AUTH, 'refused this PIN before', 'encrypt', '--in', '/etc/passwd', '--out', 'x')


def warnings_wait_for_success():
    """A warning is printed after success; a failure stays one line."""
    place = ground.with_token('warning')
    right = place.pin.read_text()
    place.pin.write_text('wrong')
    place.fails(AUTH, 'refused', 'random', '8')
    place.pin.write_text(right)  # SoftHSM2 remembers the failure until a good login
    result = place.run('random', '8')
    equal(result.code, 0, result)
    equal(len(result.err.splitlines()), 1, result)
    expect(re.match('hsmpool-cli: random: warning: .*wrong PIN', result.err), result)
    place.ok('random', '8')


def last_try_is_not_spent():
    """When the token says that one try is left, it is not spent."""
    place = ground.with_mock('last-try', 'pin-tries=1')
    place.file('pin', 'wrong')
    place.fails(AUTH, 'one PIN try left', 'random', '8')
    equal(ground.counters(place)['logins'], 0, 'tries')


def unreadable_pin():
    """A PIN file that is missing, or that others may read, is told by name."""
    place = ground.with_token('unreadable-pin')
    place.pin.chmod(0o644)
    refuses(place, AUTH, str(place.pin), 'random', '8')
    place.pin.unlink()
    refuses(place, AUTH, str(place.pin), 'random', '8')


def changed(place, old, new):
    place.config.write_text(place.config.read_text().replace(old, new))


def missing_module():
    """A module that is not there is told by name."""
    place = ground.with_token('no-module')
    changed(place, ground.SOFTHSM, '/nowhere/module.so')
    refuses(place, CONFIG, '/nowhere/module.so', 'keys')


def module_that_is_none():
    """A file that is no PKCS#11 module is told by name."""
    place = ground.with_token('not-a-module')
    changed(place, ground.SOFTHSM, '/etc/passwd')
    refuses(place, CONFIG, '/etc/passwd', 'keys')


def no_token():
    """A token that is not there is told, with those that are."""
    place = ground.with_token('no-token')
    changed(place, 'token=hsmpool-dev', 'token=nobody')
    refuses(place, DOWN, 'hsmpool-dev', 'keys')


def two_tokens():
    """Two tokens of the same name are told, with both serials."""
    place = ground.with_token('two-tokens')
    subprocess.run(['softhsm2-util', '--module', ground.SOFTHSM, '--init-token', '--free',
                    '--label', 'hsmpool-dev', '--so-pin', '12345678', '--pin', '12345678'],
                   check=True, capture_output=True,
                   env=place.env | {'SOFTHSM2_CONF': str(place.pin.parent / 'softhsm2.conf')})
    result = place.fails(DOWN, 'serial', 'keys')
    expect(result.err.count('serial') >= 2, result)


def unknown_key():
    """A key that is not there is told by name, and leaves no file."""
    for verb in 'encrypt', 'sign', 'mac':
        refuses(PLACE, KEY, 'nobody', verb, '--key', 'pkcs11:object=nobody', '--in', 'text',
                '--out', 'x')
    refuses(PLACE, USAGE, 'nobody', 'encrypt', '--key', 'nobody', '--in', 'text', '--out', 'x')
    refuses(PLACE, CONFIG, 'nobody', '--pool', 'nobody', 'keys')


def no_default_key():
    """Without --key and [key default] the user is asked which key."""
    place = ground.with_token('no-default')
    text = place.config.read_text()
    place.config.write_text(text[:text.index('[key default]')])
    refuses(place, USAGE, 'which key', 'encrypt', '--in', '/etc/passwd', '--out', 'x')


def key_of_the_wrong_type():
    """A key of the wrong type is told, and leaves no file."""
    PLACE.ok('keygen', '--type', 'ec', '--label', 'ec')
    PLACE.ok('keygen', '--type', 'generic', '--label', 'generic')
    for key in 'ec', 'generic':
        uri = f'pkcs11:object={key}'
        refuses(PLACE, KEY, '', 'encrypt', '--key', uri, '--in', 'text', '--out', 'x')
        refuses(PLACE, KEY, '', 'decrypt', '--key', uri, '--in', 'container', '--out', 'x')
    refuses(PLACE, KEY, '', 'sign', '--in', 'text', '--out', 'x')


def not_a_container():
    """What is no container is refused."""
    for data in b'', b'x', b'\0' * 100, b'hello world' * 1000, os.urandom(MIB):
        refuses(PLACE, DATA, '', 'decrypt', '--out', 'x', stdin=data)


def damaged_container():
    """A container that is cut, changed or too long is refused, wherever it is hurt."""
    whole = (PLACE / 'container').read_bytes()
    places = [*range(0, 400, 7), len(whole) // 2, len(whole) - 1]
    for at in places:
        hurt = bytearray(whole)
        hurt[at] ^= 0x40
        result = PLACE.run('decrypt', '--out', 'x', stdin=bytes(hurt))
        expect(result.code in (DATA, KEY), f'byte {at}: {result}')
        expect(len(result.err.splitlines()) == 1, f'byte {at}: {result}')
    for cut in [*range(0, 400, 13), len(whole) // 2, len(whole) - 1]:
        refuses(PLACE, DATA, '', 'decrypt', '--out', 'x', stdin=whole[:cut])
    refuses(PLACE, DATA, '', 'decrypt', '--out', 'x', stdin=whole + b'\0')
    expect(not (PLACE / 'x').exists(), 'a file was left')


def foreign_container():
    """A container for another token's key is told so."""
    other = ground.with_token('foreign')
    refuses(other, KEY, '', 'decrypt', '--in', PLACE / 'container', '--out', 'x')


def unreadable_input():
    """Input that is missing, a folder, or forbidden is told by name."""
    for verb in 'encrypt', 'decrypt', 'mac':
        refuses(PLACE, SYSTEM, 'cannot open nowhere: No such file', verb, '--in', 'nowhere',
                '--out', 'x', *(['--key', 'pkcs11:object=generic'] if verb == 'mac' else []))
    refuses(PLACE, SYSTEM, 'it is a folder', 'encrypt', '--in', '.', '--out', 'x')
    if os.geteuid() != 0:
        forbidden = PLACE.file('forbidden')
        forbidden.chmod(0)
        refuses(PLACE, SYSTEM, 'forbidden: Permission denied', 'encrypt', '--in', 'forbidden')


def input_that_breaks_off():
    """Input that cannot be read on is an error, not an end."""
    with open('/proc/self/mem', 'rb') as memory:  # address 0 cannot be read
        refuses(PLACE, SYSTEM, 'cannot read standard input', 'encrypt', '--out', 'x',
                stdin=memory)


def unwritable_output():
    """Output into a folder that is not there, or forbidden, is told by name."""
    refuses(PLACE, SYSTEM, 'nowhere', 'encrypt', '--in', 'text', '--out', 'nowhere/x')
    refuses(PLACE, USAGE, 'folder', 'encrypt', '--in', 'text', '--out', '.')
    refuses(PLACE, SYSTEM, '', 'encrypt', '--in', 'text', '--out', '/proc/x')


def full_disk():
    """A full disk is a write error and leaves nothing."""
    refuses(PLACE, SYSTEM, 'File too large', 'decrypt', '--in', 'container', '--out', 'x',
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)))
    refuses(PLACE, SYSTEM, 'No space left', 'encrypt', '--in', 'text', '--out', '/dev/full')
    with open('/dev/full', 'wb') as full:
        PLACE.fails(SYSTEM, 'standard output: No space left', 'encrypt', '--in', 'text',
                    stdout=full)
        PLACE.fails(SYSTEM, 'standard output: No space left', 'keys', stdout=full)
        PLACE.fails(SYSTEM, 'standard output: No space left', 'random', '8', stdout=full)


def full_file_system():
    """A full file system is a write error and leaves nothing."""
    mount = PLACE / 'tiny'
    mount.mkdir(exist_ok=True)
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'none', mount],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        raise ground.tap.Skip('mounting a file system is not allowed here')
    try:
        PLACE.fails(SYSTEM, 'No space left', 'encrypt', '--in', 'text', '--out', 'tiny/x')
        equal(os.listdir(mount), [], 'folder')
    finally:
        subprocess.run(['umount', mount], check=True)


def closed_pipe():
    """A reader that goes away is a write error, not a signal's death."""
    for words in ['decrypt', '--in', 'container'], ['random', '1MiB'], ['keys']:
        child = subprocess.Popen([CLI, *words], env=PLACE.env, cwd=PLACE.path,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.close()
        said = child.stderr.read().decode()
        child.stderr.close()
        equal(child.wait(), SYSTEM, words[0])
        equal(len(said.splitlines()), 1, said)
        expect('Broken pipe' in said, said)


def closed_standard_streams():
    """Started with its standard streams closed it harms no file."""
    done = subprocess.run(['sh', '-c', 'exec "$0" encrypt --in text --out closed >&- 2>&- <&-',
                           CLI], env=PLACE.env, cwd=PLACE.path, check=False)
    equal(done.returncode, 0)
    equal(PLACE.ok('decrypt', '--in', 'closed').raw, (PLACE / 'text').read_bytes(), 'data')


def closed_data_streams():
    """A closed standard input is not empty, a closed standard output takes nothing."""
    for command, said in [('encrypt <&-', 'standard input'), ('keys >&-', 'standard output'),
                          ('encrypt --in text >&-', 'standard output')]:
        done = subprocess.run(['sh', '-c', f'exec "$0" {command}', CLI], env=PLACE.env,
                              cwd=PLACE.path, capture_output=True, check=False)
        equal(done.returncode, SYSTEM, command)
        expect(said in done.stderr.decode(), done.stderr)


def unknown_configuration_key():
    """An unknown configuration key is told with file, line and the nearest known one."""
    place = ground.with_token('unknown-option')
    changed(place, 'state-dir', 'max-sesions = 3\nstate-dir')
    commands = [['keys'], ['config', 'check'], ['encrypt', '--in', '/etc/passwd', '--out', 'x']]
    for verb in commands:
        refuses(place, CONFIG, r'hsmpool\.conf:7: .*max-sesions.*max-sessions', *verb)


def configuration_of_others():
    """A configuration that others may write to is refused."""
    place = ground.with_token('loose')
    place.config.chmod(0o666)
    refuses(place, CONFIG, 'writ', 'keys')


def no_configuration():
    """No configuration at all is told with where it was looked for."""
    place = ground.Place('none')
    place.fails(CONFIG, 'hsmpool.conf', 'keys')
    place.fails(CONFIG, 'nowhere', '--config', 'nowhere', 'keys')
    place.fails(CONFIG, 'nowhere', 'keys', env={'HSMPOOL_CONF': 'nowhere'})


def exhausted_sessions():
    """A token that gives no session is told when the time is up."""
    place = ground.with_mock('exhausted', 'fail=C_OpenSession:1+:CKR_SESSION_COUNT')
    result = place.run('--timeout', '200ms', 'random', '8')
    expect(result.code in (TIMEOUT, DOWN) and len(result.err.splitlines()) == 1, result)


def failing_device():
    """A device that fails is told in one line."""
    place = ground.with_mock('sick', 'fail=C_GenerateRandom:1+:CKR_DEVICE_ERROR')
    place.fails(DOWN, 'CKR_DEVICE_ERROR', 'random', '8')


def control_characters_are_not_printed():
    """Names with control characters do not reach the terminal as such."""
    result = PLACE.fails(SYSTEM, '', 'encrypt', '--in', 'a\x1b[31mb\nc')
    expect('\x1b' not in result.err, repr(result.err))


def works_for_anybody():
    """An ordinary user can do all of it."""
    if os.geteuid() != 0:
        raise ground.tap.Skip('the other tests are run by an ordinary user already')
    nobody = pwd.getpwnam('nobody')
    place = ground.Place('nobody')
    os.chown(place.path, nobody.pw_uid, nobody.pw_gid)
    os.chmod(ground.ROOT, 0o711)

    def become_nobody():
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    if subprocess.run([CLI, 'version'], preexec_fn=become_nobody, check=False,
                      capture_output=True).returncode != 0:
        raise ground.tap.Skip('nobody may not enter the build folder')
    place.ok('dev', 'init', '--module', ground.SOFTHSM, preexec_fn=become_nobody)
    encrypted = place.ok('encrypt', stdin=b'data', preexec_fn=become_nobody).raw
    equal(place.ok('decrypt', stdin=encrypted, preexec_fn=become_nobody).raw, b'data')


if __name__ == '__main__':
    ground.run([
        wrong_pin_is_tried_once,
        wrong_pin_on_softhsm,
        warnings_wait_for_success,
        last_try_is_not_spent,
        unreadable_pin,
        missing_module,
        module_that_is_none,
        no_token,
        two_tokens,
        unknown_key,
        no_default_key,
        key_of_the_wrong_type,
        not_a_container,
        damaged_container,
        foreign_container,
        unreadable_input,
        input_that_breaks_off,
        unwritable_output,
        full_disk,
        full_file_system,
        closed_pipe,
        closed_standard_streams,
        closed_data_streams,
        unknown_configuration_key,
        configuration_of_others,
        no_configuration,
        exhausted_sessions,
        failing_device,
        control_characters_are_not_printed,
        works_for_anybody,
    ])
