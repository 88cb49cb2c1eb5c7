#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""status, doctor, config check: what they find, and what they leave alone."""
import ground
from ground import AUTH, CONFIG, DENIED, DOWN, KEY, OK, USAGE, equal, expect

PLACE = ground.with_token('health')


def examine(place, *options, code=OK):
    """doctor's report as {check: entry}."""
    result = place.run('doctor', '--json', *options)
    equal(result.code, code, result)
    equal(result.json['healthy'], code == OK, 'healthy')
    return {check['check']: check for check in result.json['checks']}


def status_shows_token_and_pool():
    """status shows the token, its limits and the pool's figures."""
    shown = PLACE.ok('status', '--json').json
    equal(shown['token']['label'], 'hsmpool-dev')
    equal(shown['token']['logged-in'], True)
    equal(shown['pool']['logins'], 1, 'logins')
    equal(shown['pool']['limit'], 16, 'limit')
    equal(shown['pool']['borrowed-direct'], shown['pool']['returned'], 'borrows')
    equal([use['count'] for use in shown['pool']['operations']
           if use['function'] == 'C_GenerateRandom'], [1], 'uses')
    text = PLACE.ok('status').out
    for word in 'hsmpool-dev', 'SoftHSM', 'login-required', 'limit', 'borrowed-direct':
        expect(word in text, f'{word} is missing: {text}')


def status_shows_the_latch():
    """status and doctor tell of a PIN that the token refused, also if it was another's."""
    place = ground.with_mock('foreign', 'pin=1234')
    expect('no PIN is latched' in place.ok('status').out, 'latched')
    equal(examine(place)['PIN latch']['finding'], 'ok')
    place.file('pin', 'wrong')
    place.fails(AUTH, 'refused the PIN', 'random', '8')
    place.file('pin', '1234')
    token = place.ok('status', '--json').json['token']
    equal((token['latched-pins'], token['latch-damaged']), (1, False))
    expect('1 PIN is not tried any more' in place.ok('status').out, 'not shown')
    (latch,) = (place / 'state').glob('*.latch')
    latch.write_bytes(b'\xff' * 100)
    equal(examine(place, code=AUTH)['PIN latch']['advice'], 'hsmpool-cli pin release --all')


def status_shows_limits():
    """status shows the session limits that the token reports."""
    place = ground.with_mock('limits', 'report-sessions=7')
    equal(place.ok('status', '--json').json['token']['max-sessions'], 7)
    equal(place.ok('status', '--json').json['pool']['limit'], 7)


def pin_is_latched_and_released():
    """A refused PIN is shown by pin status, and tried again after pin release."""
    place = ground.with_mock('latched', 'pin=another')
    equal(place.ok('pin', 'status').out, 'no PIN is latched\n')
    place.fails(AUTH, 'refused the PIN', 'random', '8')
    place.fails(AUTH, 'refused this PIN before', 'random', '8')
    equal(ground.counters(place)['logins'], 0, 'tries of the second run')
    shown = place.ok('pin', 'status').out
    expect("token 'mock', serial 0001: latched" in shown, shown)
    expect('CKR_PIN_INCORRECT' in shown, shown)
    listed = place.ok('pin', 'status', '--json').json
    equal([pin['state'] for pin in listed[0]['pins']], ['refused'])
    expect('1234' not in str(listed), 'the PIN is shown')

    found = examine(place, code=AUTH)['PIN latch']
    equal((found['finding'], found['text'][:10]), ('warning', '1 PIN is n'), found)
    expect('pin status' in found['advice'], found)

    equal(place.ok('pin', 'status', '--token', 'pkcs11:token=other', '--json').json, [])
    place.ok('pin', 'release', '--token', 'pkcs11:serial=0002')
    place.fails(AUTH, 'refused this PIN before', 'random', '8')
    equal(place.ok('pin', 'release', '--json').json, {'released': 1, 'others': 0})
    place.env['HSMPOOL_MOCK'] = f'report={place.report}'
    place.ok('random', '8')


def damaged_latch_is_released_by_all():
    """A damaged latch refuses every PIN, and pin release --all removes it."""
    place = ground.with_mock('damaged', 'pin=another')
    place.fails(AUTH, 'refused the PIN', 'random', '8')
    place.env['HSMPOOL_MOCK'] = f'report={place.report}'
    (latch,) = (place / 'state').glob('*.latch')
    latch.write_bytes(b'\xff' * 100)
    place.fails(AUTH, 'pin release --all', 'random', '8')
    equal(place.ok('pin', 'release', '--json').json, {'released': 0, 'others': 1})
    place.fails(AUTH, 'pin release --all', 'random', '8')
    expect('damaged' in place.ok('pin', 'status', '--all').out, 'not shown')
    place.fails(USAGE, 'not both', 'pin', 'release', '--all', '--token', 'pkcs11:')
    place.ok('pin', 'release', '--all')
    place.ok('random', '8')


def healthy_place():
    """doctor finds nothing wrong after dev init, and times the operations."""
    found = examine(PLACE)
    for name in 'configuration', 'module', 'token', 'mechanisms', 'PIN', 'sessions', 'key':
        equal(found[name]['finding'], 'ok', name)
    for name in 'borrow and return', 'random 32 bytes', 'encrypt aes-gcm':
        expect(0 < found[name]['median-seconds'] < 10, found[name])
    expect('18, 16 are needed' in found['sessions']['text'], found['sessions'])
    PLACE.ok('doctor')


def no_signature_unless_the_key_was_named():
    """doctor signs with a key only if it was named."""
    PLACE.ok('keygen', '--type', 'ec', '--label', 'signer')
    expect('sign' not in examine(PLACE), 'signed')
    expect('sign' in examine(PLACE, '--key', 'pkcs11:object=signer'), 'not signed')


def counted_key_is_not_used():
    """A key that is counted is not used by doctor."""
    place = ground.with_token('counted')
    place.config.write_text(place.config.read_text() + 'counting = yes\n')
    found = examine(place)
    equal(found['key']['finding'], 'skipped')
    expect('encrypt aes-gcm' not in found, 'encrypted')


def every_failure_has_an_advice():
    """Each failure is told with what to do, and the steps after it are left out."""
    place = ground.with_token('failures')
    good = place.config.read_text()
    for old, new, name, code in [
            ('module = ', 'modul = ', 'configuration', CONFIG),
            (ground.SOFTHSM, '/nowhere.so', 'module', CONFIG),
            ('token=hsmpool-dev', 'token=nobody', 'token', DOWN),
            ('object=default', 'object=nobody', 'key', KEY)]:
        place.config.write_text(good.replace(old, new))
        found = examine(place, code=code)
        equal(found[name]['finding'], 'failure', name)
        expect(found[name].get('advice'), f'{name}: no advice')
        others = [check for check in found.values() if check['finding'] == 'failure']
        equal(len(others), 1, 'failures')
        place.fails(code, f'1 check failed, the first: {name}', 'doctor')


def failing_operation_is_told():
    """An operation that fails is told by name, with what to do."""
    place = ground.with_mock('sick', 'fail=C_GenerateRandom:1+:CKR_DEVICE_ERROR')
    found = examine(place, code=DOWN)['random 32 bytes']
    equal(found['finding'], 'failure')
    expect('CKR_DEVICE_ERROR' in found['text'] and found['advice'], found)


def wrong_pin_costs_one_try():
    """doctor spends one try of a wrong PIN, and tells what is left."""
    place = ground.with_mock('wrong', 'pin-tries=3')
    place.file('pin', 'wrong')
    found = examine(place, code=AUTH)
    equal(found['PIN']['finding'], 'failure')
    expect('fewer' in found['PIN tries left']['text'], found['PIN tries left'])
    equal(ground.counters(place)['logins'], 1, 'tries')


def last_try_is_left_alone():
    """doctor does not touch the last try."""
    place = ground.with_mock('last', 'pin-tries=1')
    found = examine(place, code=AUTH)
    equal(found['PIN']['finding'], 'failure')
    expect('one' in found['PIN tries left']['text'], found['PIN tries left'])
    equal(ground.counters(place)['logins'], 0, 'tries')


def good_pin_is_tried_once():
    """doctor logs in once, whatever it examines."""
    place = ground.with_mock('good')
    examine(place)
    counted = ground.counters(place)
    equal(counted['logins'], 1, 'logins')


def real_session_limit_is_found():
    """doctor finds how many sessions the token really gives, and warns."""
    place = ground.with_mock('real', 'sessions=5;report-sessions=none', min_sessions='1')
    found = examine(place)['sessions']
    equal(found['finding'], 'warning')
    expect('gave 5 ' in found['text'] and 'CKR_SESSION_COUNT' in found['text'], found)


def processes_are_counted():
    """doctor warns when the processes together need more than the token gives."""
    place = ground.with_mock('processes', 'sessions=40;report-sessions=none')
    equal(examine(place)['sessions']['finding'], 'ok')
    equal(examine(place, '--processes', '2')['sessions']['finding'], 'ok')
    found = examine(place, '--processes', '3')['sessions']
    equal(found['finding'], 'warning')
    expect('48' in found['text'], found)
    place = ground.with_mock('reported', 'report-sessions=40')
    equal(examine(place, '--processes', '3')['sessions']['finding'], 'warning')
    for text in '0', '-1', 'many':
        PLACE.fails(USAGE, '--processes', 'doctor', '--processes', text)


def valid_configuration_is_printed():
    """config check prints the options in force and marks the defaults."""
    shown = PLACE.ok('config', 'check', '--json').json
    equal(shown['file'], str(PLACE.config))
    equal(shown['pool']['max-sessions'], {'value': '16', 'default': True})
    equal(shown['pool']['token'], {'value': 'pkcs11:token=hsmpool-dev', 'default': False})
    expect(shown['key default']['uri']['value'].startswith('pkcs11:'), shown)
    text = PLACE.ok('config', 'check').out
    expect('max-sessions         = 16   ; default' in text, text)


def printed_configuration_is_one():
    """What config check prints is a configuration that means the same."""
    PLACE.file('printed.conf', PLACE.ok('config', 'check').out)
    again = PLACE.ok('--config', 'printed.conf', 'config', 'check').out
    first = PLACE.ok('config', 'check').out
    equal(again.splitlines()[1:], first.splitlines()[1:], 'lines')


def another_pool_is_used():
    """--pool uses [pool NAME], which inherits what it does not say."""
    place = ground.with_token('pools')
    text = place.config.read_text()
    place.config.write_text(text + '[pool small]\nmax-sessions = 3\n')
    equal(place.ok('--pool', 'small', 'status', '--json').json['pool']['limit'], 3)
    equal(place.ok('status', '--json').json['pool']['limit'], 16)
    shown = place.ok('--pool', 'small', 'config', 'check', '--json').json['pool small']
    equal(shown['max-sessions'], {'value': '3', 'default': False})
    equal(shown['token']['value'], 'pkcs11:token=hsmpool-dev')


def log_lines_are_let_through():
    """-v, HSMPOOL_DEBUG and log-level let the library's log lines through."""
    place = ground.with_token('log')
    expect(place.run('-vv', 'random', '8').err.count('\n') > 2, '-vv')
    expect(place.run('random', '8', env={'HSMPOOL_DEBUG': '1'}).err.count('\n') > 2, 'debug')
    place.config.write_text(place.config.read_text().replace('[pool]', '[pool]\nlog-level = debug'))
    result = place.run('random', '8')
    expect(result.err.count('\n') > 2, 'log-level')
    expect(place.pin.read_text() not in result.err, 'the PIN is in the log')


def wrong_values_are_told():
    """config check tells a wrong value with its file, line and key."""
    for line, word in [('max-sessions = 0', 'max-sessions'), ('max-sessions = x', 'max-sessions'),
                       ('borrow-timeout = 5', 'borrow-timeout'), ('fair = maybe', 'fair'),
                       ('min-sessions = 20', 'min-sessions'),
                       ('token = pkcs11:pin-value=1', 'pin-value'),
                       ('pin-source = 1234', 'pin-source'), ('probe = canary:x', 'probe')]:
        key = line.split(' =', maxsplit=1)[0]
        lines = [each for each in PLACE.config.read_text().splitlines()
                 if not each.startswith(f'{key} ')]
        PLACE.file('wrong.conf', '\n'.join([lines[0], lines[1], line, *lines[2:], '']))
        result = PLACE.fails(CONFIG, word, '--config', 'wrong.conf', 'config', 'check')
        expect('1234' not in result.err, 'the PIN is in the message')


def policies_are_printed_and_checked():
    """config check prints policies, and looks at their URIs as a pool does."""
    text = PLACE.config.read_text()
    section = '[policy payments]\nkey = pkcs11:object=a%20b !pkcs11:id=%01\nfunctions = sign\n'
    PLACE.file('policy.conf', text + section)
    shown = PLACE.ok('--config', 'policy.conf', 'config', 'check', '--json').json['policy payments']
    equal(shown['functions'], {'value': 'sign', 'default': False})
    equal(shown['mechanisms'], {'value': 'all', 'default': True})
    PLACE.file('wrong.conf', text + section.replace('%01', '%0'))
    PLACE.fails(CONFIG, r'\[policy payments\] key', '--config', 'wrong.conf', 'config', 'check')


def a_policy_refuses_with_its_own_exit_code():
    """What a policy refuses ends with 81, and the message names key, section and reason."""
    place = ground.with_token('policy')
    text = place.config.read_text()
    place.config.write_text(text + '[policy no-digests]\nfunctions = !digest !random\n')
    result = place.fails(DENIED, r'\[policy no-digests\]', 'random', '8')
    expect("do not include 'random'" in result.err, result.err)
    place.config.write_text(text + '[policy no-digests]\nmode = dry-run\nfunctions = none\n')
    result = place.run('random', '8')
    equal(result.code, OK)
    expect('would refuse C_GenerateRandom' in result.err, result.err)


def config_check_touches_nothing():
    """config check loads no module and reads no PIN."""
    place = ground.with_mock('untouched')
    (place / 'pin').unlink()
    place.ok('config', 'check')
    expect(not place.report.exists(), 'the module was loaded')


if __name__ == '__main__':
    ground.run([
        status_shows_token_and_pool,
        status_shows_the_latch,
        status_shows_limits,
        pin_is_latched_and_released,
        damaged_latch_is_released_by_all,
        healthy_place,
        no_signature_unless_the_key_was_named,
        counted_key_is_not_used,
        every_failure_has_an_advice,
        failing_operation_is_told,
        wrong_pin_costs_one_try,
        last_try_is_left_alone,
        good_pin_is_tried_once,
        real_session_limit_is_found,
        processes_are_counted,
        valid_configuration_is_printed,
        printed_configuration_is_one,
        another_pool_is_used,
        log_lines_are_let_through,
        wrong_values_are_told,
        policies_are_printed_and_checked,
        a_policy_refuses_with_its_own_exit_code,
        config_check_touches_nothing,
    ])
