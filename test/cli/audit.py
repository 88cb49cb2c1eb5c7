#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""audit: what is shown of a trail."""
import json
import pwd

import ground
from ground import OK, SYSTEM, USAGE, equal, expect


def record(seq, time, **members):
    """One line, as far as showing it needs its members."""
    return json.dumps({'seq': seq, 'time': f'2026-11-21T{time}Z', 'host': 'h', 'pid': 7,
                       'uid': 1000, 'program': 'p', 'event': 'operation'} | members,
                      separators=(',', ':')) + '\n'


def two_chains():
    """A folder with two chains, one of them of two files."""
    place = ground.Place('shown')
    trail = place / 'trail'
    trail.mkdir()
    files = {
        'chain-0000.000000000000.jsonl':
            record(0, '08:00:00.000001', function='C_Sign', result='CKR_OK',
                   key={'label': 'invoices', 'id': '0a', 'fingerprint': 'ff01'}) +
            record(1, '08:00:03.000000', function='C_Login', uid=0,
                   result='CKR_PIN_INCORRECT'),
        'chain-0000.000000000002.jsonl':
            record(2, '08:00:05.000000', function='C_Sign', result='CKR_OK',
                   key={'label': 'a\x1b[31mb', 'id': '0b', 'fingerprint': 'ff02'}),
        'chain-0001.000000000000.jsonl':
            record(0, '08:00:02.000000', function='C_Encrypt', result='CKR_DEVICE_ERROR',
                   key={'label': 'invoices', 'id': '0a', 'fingerprint': 'ff01'}),
        'chains.jsonl': '{"not": "shown"}\n',
    }
    for name, text in files.items():
        (trail / name).write_text(text)
    return place, trail


PLACE, TRAIL = two_chains()


def seconds(*options):
    """The seconds of the records that are shown, in their order."""
    shown = PLACE.ok('audit', 'show', TRAIL, '--json', *options).out.splitlines()
    return [json.loads(line)['time'][17:19] for line in shown]


def records_of_all_chains_are_merged_by_time():
    """audit show merges the records of all chains and files by their times."""
    equal(seconds(), ['00', '02', '03', '05'])


def json_is_the_line_as_it_stands():
    """--json prints the lines as they stand in the files."""
    shown = PLACE.ok('audit', 'show', TRAIL, '--json').out.splitlines()
    expect((TRAIL / 'chain-0000.000000000002.jsonl').read_text().strip() in shown, shown)


def records_are_chosen_by_their_members():
    """audit show chooses by key, user, function and result."""
    for name in 'invoices', '0a', 'ff01':
        equal(seconds('--key', name), ['00', '02'], name)
    equal(seconds('--key', 'invoice'), [])
    equal(seconds('--user', '0'), ['03'])
    equal(seconds('--user', pwd.getpwuid(0).pw_name), ['03'])
    equal(seconds('--result', 'CKR_DEVICE_ERROR'), ['02'])
    equal(seconds('--result', 'failed'), ['02', '03'])
    equal(seconds('--function', 'C_Sign'), ['00', '05'])
    equal(seconds('--function', 'C_Sign', '--key', 'invoices'), ['00'])


def records_are_chosen_by_time():
    """audit show takes dates, times with and without a zone, and spans."""
    equal(seconds('--since', '2026-11-21T08:00:02Z'), ['02', '03', '05'])
    equal(seconds('--since', '2026-11-21 08:00:02.5'), ['03', '05'])
    equal(seconds('--since', '2026-11-21T09:00:02.5+01:00'), ['03', '05'])
    equal(seconds('--until', '2026-11-21T08:00:02'), ['00', '02'])
    equal(seconds('--until', '2026-11-21T08:00'), [])
    equal(seconds('--until', '2026-11-21'), ['00', '02', '03', '05'])
    equal(seconds('--until', '2026-11-20'), [])
    equal(seconds('--since', '2026-11-22'), [])
    equal(len(seconds('--since', '7300d')), 4)
    for text in 'yesterday', '2026-13-01', '2026-11-21T25:00', '2026-11-21T08:00+1', '':
        PLACE.fails(USAGE, f"--since: '{text.replace('+', '.')}' is none of", 'audit', 'show',
                    TRAIL, '--since', text)


def no_record_commands_the_terminal():
    """What a record holds reaches the terminal without control characters."""
    shown = PLACE.ok('audit', 'show', TRAIL).out
    expect('\x1b' not in shown, 'an escape sequence came through')
    expect('key=a?[31mb' in shown, shown)
    expect(shown.startswith('2026-11-21T08:00:00.000001Z h p/7 operation C_Sign'), shown)


def what_is_no_record_is_counted():
    """Lines that are no records are left out, and told."""
    place = ground.Place('broken')
    place.file('chain-0000.000000000000.jsonl',
               b'garbage\n' + record(0, '08:00:00.000000').encode() + b'{"seq":1,"ti')
    result = place.run('audit', 'show', place.path)
    equal(result.code, OK, result)
    equal(len(result.out.splitlines()), 1, 'lines')
    expect('2 lines are no records' in result.err, result)


def a_missing_folder_is_told():
    """audit show says if no folder is named or configured, or it is not there."""
    place = ground.Place('configured')
    place.env['HSMPOOL_CONF'] = str(place.file('hsmpool.conf', '[pool]\nmodule = m.so\n'))
    place.fails(USAGE, 'which trail', 'audit', 'show')
    place.fails(SYSTEM, 'No such file', 'audit', 'show', '/nonexistent')
    place.fails(USAGE, 'no user', 'audit', 'show', TRAIL, '--user', 'nobody-of-that-name')


ground.run([
    records_of_all_chains_are_merged_by_time,
    json_is_the_line_as_it_stands,
    records_are_chosen_by_their_members,
    records_are_chosen_by_time,
    no_record_commands_the_terminal,
    what_is_no_record_is_counted,
    a_missing_folder_is_told,
])
