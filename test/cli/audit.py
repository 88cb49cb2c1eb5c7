#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""audit: what is shown of a trail, and that every change of one is found."""
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess

import ground
import tap
from ground import CONFIG, DATA, KEY, OK, SYSTEM, USAGE, equal, expect


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
    place = ground.Place('spoken-to')
    label = 'a\x9b31m\u202eb\u2067c\u00e9'
    place.file('chain-0001.000000000001.jsonl',
               record(1, '08:00:00.000000', key={'label': label}).encode())
    shown = place.ok('audit', 'show', place.path).out
    expect('key=a?31m?b?c\u00e9 ' in shown or 'key=a?31m?b?c\u00e9\n' in shown, repr(shown))


def what_is_no_plain_file_is_named():
    """A file that cannot be read is no reason to wait, and its records are missed."""
    place = ground.Place('pipe')
    place.file('chain-0001.000000000001.jsonl', record(1, '08:00:00.000000').encode())
    os.mkfifo(place / 'chain-0002.000000000001.jsonl')
    result = place.fails(SYSTEM, 'chain-0002.000000000001.jsonl cannot be read',
                         'audit', 'show', place.path)
    equal(len(result.out.splitlines()), 1, 'records')


def records_of_the_trail_itself_are_told():
    """What was lost, and what was brought in, is shown with its number."""
    place = ground.Place('own')
    place.file('chain-0001.000000000001.jsonl', (
        record(1, '08:00:00.000000', event='lost', count=17) +
        record(2, '08:00:01.000000', event='recovered', written=3, unknown=1, torn=0,
               missing=5)).encode())
    first, second = place.ok('audit', 'show', place.path).out.splitlines()
    expect(' lost ' in first and ' count=17' in first, first)
    expect(' written=3 unknown=1 torn=0 missing=5' in second, second)


def who_wraps_a_key_uses_it():
    """--key finds the uses in which a key is what is wrapped."""
    place = ground.Place('wrapped')
    place.file('chain-0001.000000000001.jsonl', (
        record(1, '08:00:00.000000', function='C_WrapKey', key={'label': 'kek'},
               target='invoices') +
        record(2, '08:00:01.000000', function='C_Sign', key={'label': 'kek'})).encode())
    (shown,) = place.ok('audit', 'show', place.path, '--key', 'invoices').out.splitlines()
    expect(' key=kek target=invoices ' in shown, shown)


def what_is_no_record_is_counted():
    """Lines that are no records are left out, and told."""
    place = ground.Place('broken')
    place.file('chain-0000.000000000000.jsonl',
               b'garbage\n' + record(0, '08:00:00.000000').encode() + b'{"seq":1,"ti')
    result = place.run('audit', 'show', place.path)
    equal(result.code, OK, result)
    equal(len(result.out.splitlines()), 1, 'lines')
    expect('2 lines are no records' in result.err, result)


def the_folder_is_the_configured_one():
    """Without a folder the verbs take the configured one, and say if there is none."""
    place = ground.Place('configured')
    place.env['HSMPOOL_CONF'] = str(place.file(
        'hsmpool.conf', f'[pool]\nmodule = m.so\naudit = {TRAIL}\n'))
    equal(len(place.ok('audit', 'show').out.splitlines()), 4, 'records')
    place.file('hsmpool.conf', '[pool]\nmodule = m.so\n')
    for verb in 'show', 'verify', 'status':
        place.fails(USAGE, 'which trail', 'audit', verb)
        place.fails(SYSTEM, 'No such file', 'audit', verb, '/nonexistent')
    place.fails(CONFIG, 'no trail', 'audit', 'verify', place.path)
    place.fails(USAGE, 'no user', 'audit', 'show', TRAIL, '--user', 'nobody-of-that-name')


# --- a real trail -----------------------------------------------------------------------

def configure(place, **options):
    """Add options to [pool], or change them."""
    text = place.config.read_text()
    for name, value in options.items():
        name = name.replace('_', '-')
        text = re.sub(rf'^{name} = .*\n', '', text, flags=re.MULTILINE)
        text = text.replace('[pool]\n', f'[pool]\n{name} = {value}\n', 1)
    place.config.write_text(text)


def audited(name, runs=5, **options):
    """A place with a token, a key for checkpoints, and a trail of so many runs."""
    place = ground.with_token(name)
    place.ok('keygen', '--for', 'hmac-sha256', '--label', 'audit')
    place.trail = place / 'trail'
    configure(place, audit=place.trail, audit_key='pkcs11:object=audit', **options)
    for _ in range(runs):
        place.ok('random', '8')
    return place


def verify(place, *options, code=OK):
    result = place.run('audit', 'verify', '--json', *options)
    equal(result.code, code, result)
    equal(result.json['valid'], code == OK, 'valid')
    return result.json


def kinds(place, *options):
    """What verify finds, as a set of kinds."""
    found = verify(place, *options, code=DATA)['findings']
    return {finding['kind'] for finding in found}


def files(place):
    return sorted(place.trail.glob('chain-*.jsonl'))


def lines(place):
    return files(place)[0].read_text().splitlines(keepends=True)


def copy_of(place, name):
    """The same with a trail of its own, to be spoilt."""
    copy = ground.Place(name)
    copy.env = place.env
    copy.trail = copy / 'trail'
    shutil.copytree(place.trail, copy.trail)
    return copy


def spoil(name, change):
    """A copy of the trail whose first file has other lines."""
    copy = copy_of(AUDITED, name)
    files(copy)[0].write_text(''.join(change(lines(copy))))
    return copy


def rehash(text_lines, first):
    """Chain the lines anew from one on: what who has the files can do."""
    before = bytes(32) if first == 0 else bytes.fromhex(json.loads(text_lines[first - 1])['hash'])
    for i in range(first, len(text_lines)):
        body = text_lines[i][:text_lines[i].rindex(',"hash":')]
        before = hashlib.sha256(before + body.encode()).digest()
        text_lines[i] = f'{body},"hash":"{before.hex()}"}}\n'
    return text_lines


AUDITED = audited('audited')


def an_untouched_trail_is_valid():
    """verify finds nothing in a trail as it was written, and everything authenticated."""
    report = verify(AUDITED)
    (chain,) = report['chains']
    equal((report['findings'], report['notes']), ([], []))
    equal(chain['records'], len(lines(AUDITED)), 'records')
    equal((chain['authentic'], chain['unauthenticated']), (True, 0))
    equal(report['key'], 'pkcs11:object=audit')
    expect(AUDITED.ok('audit', 'verify').out.endswith('OK\n'), 'no OK')
    equal(verify(AUDITED, AUDITED.trail), report, 'named')


def without_the_key_it_says_so():
    """--no-key verifies the chain alone, and says that nobody was asked."""
    report = verify(AUDITED, '--no-key')
    equal(report['chains'][0]['authentic'], False)
    expect('--no-key' in report['key'], report)
    expect('not verified; unauthenticated, 0' in AUDITED.ok('audit', 'verify', '--no-key').out,
           'not said')


def an_altered_record_is_named():
    """An altered record is named with its file, line and number."""
    for number in range(len(lines(AUDITED))):
        copy = spoil(f'altered-{number}', lambda all_lines, at=number: [
            line.replace('"uid":', '"uid":1') if i == at else line
            for i, line in enumerate(all_lines)])
        found = verify(copy, copy.trail, code=DATA)['findings']
        expect({'kind': 'altered', 'file': files(copy)[0].name, 'line': number + 1,
                'seq': number + 1}.items() <= found[0].items(), found)


def a_removed_record_is_named():
    """A record that was removed is named, at the end of the file too."""
    count = len(lines(AUDITED))
    for number in range(count):
        copy = spoil(f'removed-{number}', lambda all_lines, at=number:
                     all_lines[:at] + all_lines[at + 1:])
        found = verify(copy, copy.trail, code=DATA)['findings']
        expect(any(finding['kind'] == 'removed' and finding['seq'] == number + 1
                   for finding in found), f'{number}: {found}')


def inserted_and_moved_records_are_named():
    """A line that was put in, and records that changed places, are named."""
    copy = spoil('inserted', lambda all_lines: all_lines[:3] + [all_lines[1]] + all_lines[3:])
    expect('inserted' in kinds(copy, copy.trail), 'not found')
    copy = spoil('nonsense', lambda all_lines: all_lines[:2] + ['nonsense\n'] + all_lines[2:])
    expect('inserted' in kinds(copy, copy.trail), 'not found')
    copy = spoil('moved', lambda all_lines: all_lines[:2] + [all_lines[3], all_lines[2]]
                 + all_lines[4:])
    expect('reordered' in kinds(copy, copy.trail), 'not found')


def a_torn_end_is_named():
    """A line without an end is named, if it is not in the ring."""
    copy = spoil('torn', lambda all_lines: all_lines + ['{"seq":'])
    equal(kinds(copy, copy.trail), {'torn-end'})


def a_missing_file_is_named():
    """A file that is gone is named, whichever it is."""
    for name in (files(AUDITED)[0].name, 'chains.jsonl'):
        copy = copy_of(AUDITED, f'without-{name}')
        (copy.trail / name).unlink()
        found = verify(copy, copy.trail, code=DATA)['findings']
        expect(any(finding['kind'] == 'missing-file' and finding['file'] == name
                   for finding in found), found)


def a_forged_history_has_no_authentic_checkpoint():
    """Who chains the records anew cannot authenticate them."""
    def forge(all_lines):
        all_lines[0] = all_lines[0].replace('"uid":', '"uid":1')
        return rehash(all_lines, 0)
    copy = spoil('forged', forge)
    (copy.trail / 'chain-0001.ring').unlink()
    report = verify(copy, copy.trail, code=DATA)
    equal(report['chains'][0]['authentic'], False)
    expect(any(finding['kind'] == 'checkpoint' for finding in report['findings']), report)


def what_follows_the_last_checkpoint_is_counted():
    """Records after the last checkpoint are reported as unauthenticated, and no finding."""
    place = audited('tail', runs=2)
    configure(place, audit_checkpoint='0')
    before = len(lines(place))
    place.ok('random', '8')
    (chain,) = verify(place)['chains']
    equal((chain['authentic'], chain['unauthenticated']), (True, len(lines(place)) - before))


def strict_is_not_content_with_unauthenticated_records():
    """--strict finds records that no authentic checkpoint vouches for."""
    verify(AUDITED, '--strict')
    place = audited('strict', runs=1)
    configure(place, audit_checkpoint='0')
    place.ok('random', '8')
    verify(place)
    equal(kinds(place, '--strict'), {'unauthenticated'})
    place.fails(USAGE, 'leave out --no-key', 'audit', 'verify', '--strict', '--no-key')
    place.config.write_text(re.sub('^audit-key.*\n', '', place.config.read_text(),
                                   flags=re.MULTILINE))
    equal(kinds(place, '--strict'), {'unauthenticated'})


def an_old_checkpoint_again_vouches_for_no_less():
    """Who appends a copy of an old checkpoint does not take away what a later one proves."""
    def repeat(all_lines):
        (old, *_) = [line for line in all_lines if '"checkpoint"' in line]
        again = re.sub(r'"seq":[0-9]+', f'"seq":{len(all_lines) + 1}', old, count=1)
        return rehash(all_lines + [again], len(all_lines))
    (before,) = verify(AUDITED)['chains']
    copy = spoil('repeated', repeat)
    report = json.loads(AUDITED.ok('audit', 'verify', '--json', copy.trail).out)
    (chain,) = report['chains']
    equal((chain['checkpoint-of'], chain['authentic']), (before['checkpoint-of'], True))
    equal(chain['unauthenticated'], 1)


def a_number_without_a_next_is_no_record():
    """The largest number is none of a record, and counts nothing up."""
    def forge(all_lines):
        last = re.sub(r'"seq":[0-9]+', f'"seq":{2**64 - 1}', all_lines[-1], count=1)
        return rehash(all_lines + [last], len(all_lines))
    copy = spoil('largest', forge)
    report = verify(copy, copy.trail, '--no-key', code=DATA)
    equal({finding['kind'] for finding in report['findings']}, {'altered'}, report)
    expect(report['chains'][0]['unauthenticated'] <= report['chains'][0]['records'], report)


def so_many_findings_are_counted():
    """A file full of nonsense is told in bounded memory, and counted."""
    copy = spoil('nonsense-much', lambda all_lines: ['nonsense\n'] * 15000 + all_lines)
    report = verify(copy, copy.trail, '--no-key', code=DATA)
    expect(len(report['findings']) + len(report['notes']) == 10000, len(report['findings']))
    expect(report['omitted'] >= 5000, report['omitted'])


def another_key_vouches_for_nothing():
    """Checkpoints by a key that is not the configured one do not count."""
    place = audited('rekeyed', runs=2)
    place.ok('keygen', '--for', 'hmac-sha256', '--label', 'audit-2')
    configure(place, audit_key='pkcs11:object=audit-2', audit_checkpoint='0')
    (chain,) = verify(place)['chains']
    equal((chain['authentic'], chain['unauthenticated']), (False, chain['records']))
    configure(place, audit_key='pkcs11:object=nowhere')
    place.fails(KEY, 'nowhere', 'audit', 'verify')


def a_noted_head_is_found_again():
    """--head finds the record that a head was noted of, and tells if there is none."""
    record_of_head = json.loads(lines(AUDITED)[2])
    report = verify(AUDITED, '--head', record_of_head['hash'])
    equal((report['head']['seq'], report['head']['line']), (3, 3))
    equal(kinds(AUDITED, '--head', '0' * 64), {'head'})
    AUDITED.fails(USAGE, '64 hex digits', 'audit', 'verify', '--head', 'abc')


def a_head_goes_to_the_log():
    """The head of a checkpoint goes to the log, and is found again by verify."""
    place = audited('told', runs=0)
    configure(place, log=f'file:{place.path}/log', log_level='notice')
    place.ok('random', '8')
    found = re.search(r'NOTICE audit-checkpoint: head=([0-9a-f]{64}) seq=\d+ chain=[0-9a-f]+ '
                      r'trail=\S+ authenticated', (place / 'log').read_text())
    expect(found, (place / 'log').read_text())
    verify(place, '--head', found[1])


def a_key_that_is_missing_stops_nothing():
    """A checkpoint that cannot be made is logged; the operation succeeds."""
    place = audited('keyless', runs=0)
    configure(place, audit_key='pkcs11:object=nowhere', log=f'file:{place.path}/log')
    place.ok('random', '8')
    expect('audit-checkpoint-failed: audit-key pkcs11:object=nowhere' in
           (place / 'log').read_text(), 'not logged')
    (chain,) = verify(place, '--no-key')['chains']
    equal((chain['checkpoints'], chain['unauthenticated']), (0, chain['records']))


def signatures_are_verified_without_the_hsm():
    """Checkpoints are signatures with a private key; --public-key verifies them alone."""
    for kind in 'ec', 'rsa', 'ed25519':
        place = audited(f'signed-{kind}', runs=0)
        place.env |= ground.forgiving_environment()
        key = f'pkcs11:object=signer-{kind}'
        place.ok('keygen', '--type', kind, '--label', f'signer-{kind}')
        configure(place, audit_key=key)
        place.ok('random', '8')
        equal(verify(place)['chains'][0]['authentic'], True, kind)
        place.ok('key', 'export', key, '--out', 'public.pem')
        bare = copy_of(place, f'elsewhere-{kind}')
        bare.env = ground.Place(f'stranger-{kind}').env
        public = place / 'public.pem'
        report = verify(bare, bare.trail, '--public-key', public)
        equal(report['chains'][0]['authentic'], True, kind)
        spoilt = lines(bare)
        spoilt[-1] = spoilt[-1].replace('"mac":"', '"mac":"00')
        files(bare)[0].write_text(''.join(spoilt))
        equal(kinds(bare, bare.trail, '--public-key', public) & {'checkpoint'}, {'checkpoint'})
    bare.fails(DATA, 'no public key', 'audit', 'verify', bare.trail, '--public-key', CONF_FILE)
    bare.fails(USAGE, 'not both', 'audit', 'verify', '--no-key', '--public-key', 'x')


CONF_FILE = AUDITED.config


def files_are_rotated_and_deleted_in_good_order():
    """Rotation carries the chain over; what retention deleted is not missed."""
    place = audited('kept', runs=8, audit_rotate_size='4KiB')
    expect(len(files(place)) > 1, files(place))
    equal(verify(place)['chains'][0]['records'],
          sum(len(file.read_text().splitlines()) for file in files(place)))
    configure(place, audit_keep_size='5KiB')
    for _ in range(8):
        place.ok('random', '8')
    expect(files(place)[0].name != 'chain-0001.000000000001.jsonl', 'nothing was deleted')
    (chain,) = verify(place)['chains']
    first = json.loads(lines(place)[0])['seq']
    equal((chain['authentic'], chain['deleted']), (True, first - 1))
    expect(f'; {first - 1} deleted by retention; ' in place.ok('audit', 'verify').out, 'text')
    files(place)[0].unlink()
    expect('missing-file' in kinds(place), 'not found')


def status_shows_the_size_of_the_trail():
    """status shows chains, files, bytes, records, and since when."""
    shown = AUDITED.ok('audit', 'status', '--json').json
    equal((shown['chains'], shown['writers'], shown['files'], shown['findings']), (1, 0, 1, 0))
    equal(shown['bytes'], files(AUDITED)[0].stat().st_size)
    equal(shown['records'], len(lines(AUDITED)))
    equal(shown['since'], json.loads(lines(AUDITED)[0])['time'])
    expect('records          ' in AUDITED.ok('audit', 'status').out, 'text')


def uses_are_recorded_with_their_key():
    """Each use is a record, with its function, mechanism, key, sizes and request."""
    place = audited('uses', runs=0)
    letter = place.file('letter', 'hello')
    place.ok('mac', '--key', 'pkcs11:object=audit', '--in', letter)
    (shown,) = place.ok('audit', 'show', '--json', '--key', 'audit',
                        '--function', 'C_Sign').out.splitlines()
    found = json.loads(shown)
    expect({'event': 'operation', 'mechanism': 'CKM_SHA256_HMAC', 'in': 5, 'out': 32,
            'result': 'CKR_OK', 'uid': os.getuid()}.items() <= found.items(), found)
    expect(re.fullmatch('[0-9a-f]{16}', found['request']), found)
    equal(len(found['key']['fingerprint']), 64)
    expect('hello' not in ''.join(lines(place)), 'data is in the trail')
    verify(place)


def a_command_is_one_request():
    """All that a command does, in whatever thread, has one request id, as its log lines."""
    place = audited('request', runs=0)
    commands = (('C_Encrypt', 64, 'encrypt', '--mode', 'direct', '--chunk-size', '1KiB'),
                ('C_GenerateRandom', 1, 'random', '8'))
    for function, count, *arguments in commands:
        said = place.run('-v', *arguments, stdin=bytes(64 * 1024))
        equal(said.code, OK, said)
        shown = place.ok('audit', 'show', '--json', '--function', function).out.splitlines()
        requests = [json.loads(line)['request'] for line in shown]
        equal((len(requests), len(set(requests))), (count, 1), function)
        expect(f'req={requests[0]}' in said.err, said.err)


def a_program_on_the_module_is_audited():
    """pkcs11-tool on the PKCS#11 module leaves a trail, authenticated by another token."""
    tool = shutil.which('pkcs11-tool')
    if not tool or ground.IS_SANITIZED:
        raise tap.Skip('pkcs11-tool is not there, or does not run with the sanitizers')
    place = audited('module', runs=0)
    store = place.path / '.local/share/hsmpool/softhsm2.conf'
    place.env |= {'SOFTHSM2_CONF': str(store), 'HSMPOOL_CONF': str(place.config)}
    subprocess.run(['softhsm2-util', '--init-token', '--free', '--label', 'audit', '--pin',
                    '9876', '--so-pin', '5555'], env=place.env, check=True,
                   capture_output=True)
    pin = place.file('audit-pin', '9876\n')
    configure(place, audit_pool='audit', audit_key='pkcs11:object=vault')
    with place.config.open('a') as config:
        config.write(f'\n[pool audit]\ntoken = pkcs11:token=audit\npin-source = file:{pin}\n')
    place.ok('keygen', '--pool', 'audit', '--for', 'hmac-sha256', '--label', 'vault')
    module = ground.BUILD / 'lib/proxy/hsmpool-pkcs11.so'
    done = subprocess.run([tool, '--module', module, '--login', '--pin',
                           place.pin.read_text().strip(), '--generate-random', '8'],
                          env=place.env, check=True, capture_output=True)
    equal(len(done.stdout), 8, 'random bytes')
    (chain,) = verify(place)['chains']
    equal((chain['authentic'], chain['unauthenticated']), (True, 0))
    shown = [json.loads(line) for line in
             place.ok('audit', 'show', '--json').out.splitlines()]
    expect(any(os.path.basename(record['program']) == 'pkcs11-tool' for record in shown), shown)
    expect({'C_Login', 'C_GenerateRandom', 'C_Logout'} <=
           {record.get('function') for record in shown}, shown)
    slots = subprocess.run([tool, '--module', module, '--list-slots'], env=place.env,
                           check=True, capture_output=True, text=True).stdout
    expect('hsmpool-dev' in slots and 'token label        : audit' not in slots, slots)


ground.run([
    records_of_all_chains_are_merged_by_time,
    json_is_the_line_as_it_stands,
    records_are_chosen_by_their_members,
    records_are_chosen_by_time,
    no_record_commands_the_terminal,
    what_is_no_plain_file_is_named,
    records_of_the_trail_itself_are_told,
    who_wraps_a_key_uses_it,
    what_is_no_record_is_counted,
    the_folder_is_the_configured_one,
    an_untouched_trail_is_valid,
    without_the_key_it_says_so,
    an_altered_record_is_named,
    a_removed_record_is_named,
    inserted_and_moved_records_are_named,
    a_torn_end_is_named,
    a_missing_file_is_named,
    a_forged_history_has_no_authentic_checkpoint,
    what_follows_the_last_checkpoint_is_counted,
    strict_is_not_content_with_unauthenticated_records,
    an_old_checkpoint_again_vouches_for_no_less,
    a_number_without_a_next_is_no_record,
    so_many_findings_are_counted,
    another_key_vouches_for_nothing,
    a_noted_head_is_found_again,
    a_head_goes_to_the_log,
    a_key_that_is_missing_stops_nothing,
    signatures_are_verified_without_the_hsm,
    files_are_rotated_and_deleted_in_good_order,
    status_shows_the_size_of_the_trail,
    uses_are_recorded_with_their_key,
    a_command_is_one_request,
    a_program_on_the_module_is_audited,
])
