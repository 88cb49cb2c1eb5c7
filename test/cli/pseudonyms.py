#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""pseudonymize and depseudonymize: what comes out, what is refused, what a failure leaves."""
import csv
import fcntl
import io
import json
import os
import random
import re
import signal
import stat
import subprocess
import threading
import time

import ground
from ground import CLI, DATA, EXISTS, KEY, OK, SYSTEM, USAGE, equal, expect

PLACE = ground.with_token('pseudonyms')
PLACE.ok('keygen', '--for', 'hmac-sha256', '--label', 'pseudonyms')
PLACE.config.write_text(PLACE.config.read_text() +
                        '[key pseudonyms]\nuri = pkcs11:object=pseudonyms\n')
KEYED = '--key', 'pseudonyms'
TABLE = (b'id,name,phone,note\r\n'
         b'1,Ann,0123456789,"a, ""b"""\n'
         b'2,"Bob",,x\r\n'
         b'3,"",9876543210,""\n'
         b'\n'
         b'4,Ann,"0123456789","two\nlines"\n'
         b'5,,0123456789,last')


def transformed(*columns, table=TABLE, verb='pseudonymize', options=()):
    words = [word for column in columns for word in ('--column', column)]
    return PLACE.ok(verb, *KEYED, *words, *options, stdin=table).raw


def rows(data, delimiter=','):
    return list(csv.reader(io.StringIO(data.decode(), newline=''), delimiter=delimiter))


def refused(code, pattern, *columns, table=TABLE, options=(), verb='pseudonymize'):
    words = [word for column in columns for word in ('--column', column)]
    return PLACE.fails(code, pattern, verb, *KEYED, *words, *options, stdin=table)


def tokens_replace_values():
    """hmac replaces equal values by equal tokens, and nothing else is touched."""
    out = transformed('name=hmac')
    token = re.search(rb'1,(\w+),', out)[1]
    equal(len(token), 32)
    bob = re.search(rb'2,"(\w+)"', out)[1]
    expect(bob != token, 'two names, one token')
    equal(out.replace(token, b'Ann').replace(bob, b'Bob'), TABLE, 'the rest')
    equal(transformed('name=hmac'), out, 'the next run')


def untouched_bytes_stay():
    """What no column names stays byte for byte, a byte order mark and CR included."""
    table = b'\xef\xbb\xbf"id","x\ty"\r \xff,\0\r"q""q", trailing \r\n\n\r\n"",\n,""'
    out = PLACE.ok('pseudonymize', '--no-header', '--column', '#2=redact:text=R', stdin=table)
    expect(out.raw.startswith(b'\xef\xbb\xbf"id",'), out.raw)
    equal(out.raw, b'\xef\xbb\xbf"id","R"\r \xff,R\r"q""q",R\r\n\n\r\n"",\n,""')


def byte_order_mark_stays_without_its_row():
    """A byte order mark stays in front, though the first row is left out."""
    out = PLACE.run('pseudonymize', *KEYED, '--no-header', '--column', '#1=fpe:domain=d',
                    '--bad-rows', 'skip', '--rejects', 'marked', stdin=b'\xef\xbb\xbf1\n\n').raw
    equal(out, b'\xef\xbb\xbf\n')
    equal((PLACE / 'marked').read_bytes(), b'1\n')
    PLACE.run('pseudonymize', *KEYED, '--column', 'a=fpe', '--bad-rows', 'skip',
              '--rejects', 'marked', '--force', stdin=b'\xef\xbb\xbfa\n1\n')
    equal((PLACE / 'marked').read_bytes(), b'\xef\xbb\xbfa\n1\n')


def null_and_empty_stay_apart():
    """An empty field and the empty string stay what they are, whatever the method."""
    table = b'a,b,c\n,"",\n"",,""\n'
    equal(transformed('a=hmac', 'b=fpe', 'c=redact', table=table), table)


def random_tables_pass_unchanged():
    """Of random tables everything but the chosen column is what it was."""
    draw = random.Random(1)
    pieces = [b'', b'""', b'a', b'"a,b"', b'"q""r"', b'"line\nend"', b'"\r\n"', b' x ', b'\xc3\xa4']
    for _ in range(20):
        lines = [b'k,1,2,3'] + [b','.join([b'key', *draw.choices(pieces, k=3)])
                                for _ in range(draw.randrange(40))]
        table = b''.join(line + draw.choice([b'\n', b'\r\n', b'\n\n']) for line in lines)
        out = PLACE.ok('pseudonymize', '--column', 'k=redact:text=key', stdin=table).raw
        equal(out, table)


def order_is_kept_whatever_the_sessions():
    """One session or many, few batches or many: the output is the same."""
    table = b'id,name,phone\n' + b''.join(
        b'%d,name %d,%010d\n' % (i, i % 700, i * 7919) for i in range(6000))
    one = transformed('name=hmac', 'phone=fpe', table=table, options=['--threads', '1'])
    for threads in '2', '7':
        equal(transformed('name=hmac', 'phone=fpe', table=table,
                          options=['--threads', threads]), one, threads)
    equal([row[0] for row in rows(one)][1:], [str(i) for i in range(6000)])
    equal(len({row[1] for row in rows(one)[1:]}), 700)
    place = ground.with_token('one-session')
    place.config.write_text(PLACE.config.read_text().replace('[pool]', '[pool]\nmax-sessions = 1\n'
                                                             'min-sessions = 1'))
    equal(place.ok('pseudonymize', *KEYED, '--column', 'name=hmac', '--column', 'phone=fpe',
                   stdin=table).raw, one, 'one session')


def domains_join_and_separate():
    """Equal domains keep joins, other columns do not match."""
    table = b'a,b,c\nx,x,x\n'
    a, b, c = rows(transformed('a=hmac:domain=person', '#2=hmac:domain=person', 'c=hmac',
                               table=table))[1]
    equal(a, b)
    expect(a != c, 'two domains, one token')
    other = rows(transformed('a=hmac:domain=person', table=b'a\nx\n'))[1][0]
    equal(other, a, 'another table')


def token_forms():
    """Length, alphabet and prefix of a token are as asked for."""
    table = b'a\nx\n'
    for options, pattern in (('length=20', '[0-9a-f]{20}'),
                             ('alphabet=base32,prefix=P-', 'P-[A-Z2-7]{26}'),
                             ('alphabet="chars:,;",length=64,prefix="a""b"', 'a"b[,;]{64}')):
        value = rows(transformed(f'a=hmac:{options}', table=table))[1][0]
        expect(re.fullmatch(pattern, value), f'{options}: {value}')


def short_tokens_need_permission():
    """Tokens under 64 bits need --force or --allow-short-tokens."""
    refused(USAGE, '--force', 'name=hmac:length=15')
    for option in '--force', '--allow-short-tokens':
        out = transformed('name=hmac:length=8', options=[option])
        expect(re.search(rb'1,[0-9a-f]{8},', out), out)
    PLACE.file('there', b'old')
    PLACE.fails(EXISTS, 'use --force', 'pseudonymize', *KEYED, '--column', 'name=hmac:length=8',
                '--allow-short-tokens', '--out', 'there', stdin=TABLE)


def there_and_back():
    """depseudonymize gives back what fpe replaced, and hmac is refused."""
    columns = 'phone=fpe', 'note=fpe:alphabet="chars:ab, wxtolines\n""",domain=n'
    out = transformed(columns[0])
    expect(b'0123456789' not in out and b'9876543210' not in out, out)
    equal(transformed(columns[0], table=out, verb='depseudonymize'), TABLE)
    expect(transformed('phone=fpe:domain=other', table=out, verb='depseudonymize') != TABLE,
           'another domain opened it')
    refused(USAGE, r"column 'name'.*hmac.*cannot be undone", 'name=hmac', verb='depseudonymize')
    refused(USAGE, 'cannot be undone', 'name=drop', verb='depseudonymize')


def dropped_columns():
    """A dropped column is gone, its header and one delimiter with it."""
    table = b'a,b,c\r\n1,"2,2",3\r\n,,\r\n'
    for columns, expected in ((['a'], b'b,c\r\n"2,2",3\r\n,\r\n'), (['b'], b'a,c\r\n1,3\r\n,\r\n'),
                              (['c'], b'a,b\r\n1,"2,2"\r\n,\r\n'), (['a', 'b'], b'c\r\n3\r\n\r\n'),
                              (['b', 'c'], b'a\r\n1\r\n\r\n'),
                              (['c', 'a'], b'b\r\n"2,2"\r\n\r\n')):
        equal(transformed(*[f'{name}=drop' for name in columns], table=table), expected, columns)
    refused(USAGE, 'all 3 columns would be dropped', 'a=drop', 'b=drop', 'c=drop', table=table)


def end_of_data_is_not_made_by_dropping():
    r"""A field \. that is left alone on its line is quoted, and no other."""
    table = b'\\.,b\n\\.,x\r\n\\.a,x\n"\\.",\n\\.,y\r\\.,z'
    equal(transformed('b=drop', table=table),
          b'"\\."\n"\\."\r\n\\.a\n"\\."\n"\\."\r"\\."')
    equal(transformed('c=drop', table=b'a,b,c\n\\.,,\n,\\.,\n'), b'a,b\n\\.,\n,\\.\n')


def redacted_columns():
    """A redacted column has its text in every row, quoted where it must be."""
    table = b'a\nx\n"y"\n'
    equal(transformed('a=redact', table=table), b'a\nREDACTED\n"REDACTED"\n')
    equal(transformed('a=redact:text="x,""y"', table=table), b'a\n"x,""y"\n"x,""y"\n')
    equal(transformed('a=redact:text=', table=table), b'a\n""\n""\n')


def no_key_for_what_needs_none():
    """redact and drop need no key and no configuration."""
    place = ground.Place('bare')
    equal(place.ok('pseudonymize', '--column', 'a=redact', stdin=b'a\nx\n').raw, b'a\nREDACTED\n')


def delimiters():
    """Other delimiters, the tab among them."""
    equal(transformed('b=redact', table=b'a;b\n1,5;x\n', options=['--delimiter', ';']),
          b'a;b\n1,5;REDACTED\n')
    for tab in 'tab', '\\t', '\t':
        equal(transformed('b=redact:text="x\ty"', table=b'a\tb\n"1\t"\tz\n',
                          options=['--delimiter', tab]), b'a\tb\n"1\t"\t"x\ty"\n')
    for bad in ',,', '"', '\n', '':
        refused(USAGE, '--delimiter is one', 'b=redact', options=['--delimiter', bad])


def names_in_quotes():
    """A name with = or # in it is put in quotes."""
    table = b'#1,a=b,"q""r"\nx,y,z\n'
    equal(transformed('"#1"=redact:text=1', '"a=b"=redact:text=2', '"q""r"=redact:text=3',
                      table=table), b'#1,a=b,"q""r"\n1,2,3\n')


def numbers():
    """Columns by number, with and without a header row."""
    equal(transformed('#2=redact', table=b'a,b\n1,2\n'), b'a,b\n1,REDACTED\n')
    equal(transformed('#2=redact', table=b'a,b\n1,2\n', options=['--no-header']),
          b'a,REDACTED\n1,REDACTED\n')
    equal(transformed('#2=redact', table=b'', options=['--no-header']), b'')
    refused(USAGE, 'needs a domain', '#2=hmac')
    refused(USAGE, 'there is no header row', 'a=redact', options=['--no-header'])
    refused(USAGE, 'there is no column 5: line 1 has 4', '#5=redact')


def columns_that_are_not_there():
    """Unknown, ambiguous and doubled columns are told."""
    refused(USAGE, "no column 'nmae'; did you mean 'name'", 'nmae=hmac')
    refused(USAGE, "no column 'NOTE'; did you mean 'note'", 'NOTE=hmac')
    refused(USAGE, "no column 'salary'$", 'salary=hmac')
    refused(USAGE, "no column 'a'; it has one only: is the delimiter", 'a=drop', table=b'a;b\n')
    refused(USAGE, "two columns 'a', #1 and #3: choose by number", 'a=drop',
            table=b'a,b,a\n1,2,3\n')
    refused(USAGE, 'column #2 is chosen twice', 'name=hmac', '#2=drop')
    refused(DATA, 'the input is empty', 'name=drop', table=b'')
    refused(DATA, 'line 1, the header row: field 2: a quote inside', 'a=drop', table=b'a,b"\n')


def wrong_specifications():
    """What --column cannot mean is told, with what it can."""
    for column, pattern in (
            ('name', 'COLUMN=METHOD'), ('=hmac', 'a column has a name'), ('#0=drop', "'0' is not"),
            ('#x=drop', "'x' is not a number"), ('name=hmca', "no method 'hmca': hmac, fpe"),
            ('name=', "no method ''"), ('"name=hmac', 'not closed'), ('"name"x=drop', 'quote comes'),
            ('name=hmac:size=3', "no option 'size': domain"), ('name=hmac:length', 'OPTION=VALUE'),
            ('name=hmac:length=x', "'x' is not a number"), ('name=hmac:', 'OPTION=VALUE'),
            ('name=hmac:domain=a,domain=b', "'domain' is said twice"),
            ('name=drop:text=x', 'no use for a text'), ('name=fpe:length=5', 'no use for a length'),
            ('name=hmac:alphabet=klingon', 'klingon'), ('name=hmac:length=500', 'at most')):
        refused(USAGE, pattern, column)
    PLACE.fails(USAGE, 'which columns', 'pseudonymize', *KEYED, stdin=TABLE)
    PLACE.fails(KEY, '', 'pseudonymize', '--key', 'default', '--column', 'name=hmac', stdin=TABLE)


BAD = (b'id,phone,name\n'
       b'1,0123456789,good\n'
       b'2,12,short\n'
       b'3,0123456789,"multi\nline" x\n'
       b'4,01234x6789,letter\n'
       b'5,0123456789\n'
       b'6,0123456789,goo"d\n'
       b'7,0123456789,fine\n'
       b'8,0123456789,"open\n')
FAULTS = [(3, 'phone', 'it has 2 characters, at least 6'), (4, None, 'field 3: text behind the quote'),
          (6, 'phone', 'character 6 is not in the alphabet'), (7, None, 'it has 2 fields, the header row has 3'),
          (8, None, 'field 3: a quote inside'), (10, None, 'field 3: a field is opened')]


def told(err):
    """(line, column, reason) of each bad row that was reported."""
    found = re.findall(r"^hsmpool-cli: \w+: line (\d+)(?:, column '([^']*)')?: (.*)$", err, re.MULTILINE)
    return [(int(line), column or None, reason) for line, column, reason in found]


def expect_faults(result, expected=None):
    reports = told(result.err)
    wanted = FAULTS if expected is None else expected
    equal([fault[:2] for fault in reports], [fault[:2] for fault in wanted], result)
    for (_, _, reason), (_, _, pattern) in zip(reports, wanted):
        expect(pattern in reason, f'{reason}; expected {pattern}')
    for value in 'short', 'letter', '01234x', 'goo"d', 'multi':
        expect(value not in result.err, f'{value} is in {result.err}')


def first_row_of_data_is_not_told():
    """If the first row was no header, a column by number is told by its number."""
    result = PLACE.run('pseudonymize', *KEYED, '--column', '#1=fpe:domain=a', stdin=b'Ann,1\nBob,2\n')
    equal((result.code, told(result.err)[0][:2]), (DATA, (2, '#1')), result)
    expect('Ann' not in result.err, result)


def bad_rows_fail_the_run():
    """Bad rows are told with line, column and reason; nothing is written."""
    before = PLACE.names()
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', '--column', 'name=hmac',
                       '--out', 'bad-out', stdin=BAD)
    equal(result.code, DATA, result)
    expect_faults(result)
    expect('6 bad rows of 8, the first: line 3' in result.err, result)
    equal(PLACE.names(), before, 'folder')


def bad_rows_are_skipped():
    """--bad-rows skip leaves them out, and --rejects gets them as they were."""
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', '--bad-rows', 'skip',
                       '--rejects', 'rejects', '--out', 'good', '--json', stdin=BAD)
    equal(result.code, OK, result)
    expect_faults(result)
    expect('6 bad rows of 8 left out' in result.err, result)
    equal([row[0] for row in rows((PLACE / 'good').read_bytes())], ['id', '1', '7'])
    lines = BAD.splitlines(keepends=True)
    equal((PLACE / 'rejects').read_bytes(),
          b''.join([lines[0], lines[2], *lines[3:5], lines[5], lines[6], lines[7], lines[9]]))
    for name in 'good', 'rejects':
        equal(stat.S_IMODE((PLACE / name).stat().st_mode), 0o600, name)
    summary = result.json
    equal((summary['rows'], summary['bad-rows'], summary['rejects'], summary['out']),
          (8, 6, 'rejects', 'good'))
    equal(summary['written-bytes'], (PLACE / 'good').stat().st_size)


def rejects_are_whole_or_not_there():
    """--rejects appears with the table, or neither does."""
    before = PLACE.names()
    refused(USAGE, '--rejects needs --bad-rows skip', 'name=drop', options=['--rejects', 'r'])
    for same in 'r', './r', PLACE / 'r':
        refused(USAGE, 'name the same file', 'name=drop',
                options=['--bad-rows', 'skip', '--rejects', same, '--out', 'r'])
    PLACE.file('kept', b'old')
    refused(EXISTS, 'kept exists already', 'name=drop',
            options=['--bad-rows', 'skip', '--rejects', 'kept', '--out', 'r'])
    table = BAD[:40] + b'9,"' + b'x' * (5 << 20)
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', '--bad-rows', 'skip',
                       '--rejects', 'r', '--out', 'o', stdin=table)
    equal(result.code, DATA, result)
    expect('more than 4 MiB' in result.err, result)
    (PLACE / 'kept').unlink()
    equal(PLACE.names(), before, 'folder')


def many_bad_rows_are_not_all_listed():
    """A hundred bad rows are listed; then the run ends, or goes on counting."""
    table = b'phone\n' + b'1\n' * 300
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', stdin=table)
    equal((result.code, len(told(result.err))), (DATA, 100), result)
    expect('what follows line 101 was not looked at' in result.err, result)
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', '--bad-rows', 'skip',
                       stdin=table)
    equal((result.code, len(told(result.err)), result.raw), (OK, 100, b'phone\n'), result)
    expect('300 bad rows of 300 left out' in result.err, result)


def ends_inside_quotes(data):
    return data.count(b'"') % 2 == 1


def failed_pipe_ends_with_an_open_quote():
    """What goes to a pipe before a failure ends inside quotes, so that no loader takes it."""
    table = b'id,phone\n' + b'1,"0123456789"\n' * 3000 + b'2,12\n'
    for rest in b'', b'3,0123456789\n' * 3000:
        result = PLACE.run('pseudonymize', *KEYED, '--column', 'phone=fpe', stdin=table + rest)
        equal(result.code, DATA, result)
        expect(result.raw.startswith(b'id,phone\n1,"') and result.raw.endswith(b'\n"'),
               result.raw[-40:])
        expect(ends_inside_quotes(result.raw), 'the quotes are even')
    result = PLACE.run('pseudonymize', *KEYED, '--column', 'nobody=fpe', stdin=table)
    equal((result.code, result.raw), (USAGE, b'"'))
    whole = PLACE.ok('pseudonymize', *KEYED, '--column', 'phone=fpe', stdin=table[:-5])
    expect(not ends_inside_quotes(whole.raw), 'a good table ends inside quotes')


def start(*arguments, place=PLACE, **options):
    return subprocess.Popen([CLI, *arguments], env=place.env, cwd=place.path,
                            stderr=subprocess.PIPE, **options)


def until(condition, what):
    end = time.monotonic() + ground.TIME_LIMIT
    while not condition():
        expect(time.monotonic() < end, f'{what} did not come about')
        time.sleep(0.005)


def ends_by(child, number):
    said = child.stderr.read().decode()
    child.stderr.close()
    equal((child.wait(timeout=ground.TIME_LIMIT), said), (128 + number, ''))


def signals_leave_no_file():
    """A signal leaves neither table nor rejects."""
    before = PLACE.names()
    for number in signal.SIGINT, signal.SIGTERM:
        child = start('pseudonymize', *KEYED, '--column', 'phone=fpe', '--bad-rows', 'skip',
                      '--out', 'o', '--rejects', 'r', stdin=subprocess.PIPE)
        child.stdin.write(BAD + b'1,0123456789,x\n' * 20000)
        child.stdin.flush()
        until(lambda: sum(name.startswith('.hsmpool-') for name in PLACE.names()) == 2, 'files')
        child.send_signal(number)
        child.stderr.read()
        equal(child.wait(timeout=ground.TIME_LIMIT), 128 + number)
        child.stderr.close()
        child.stdin.close()
        equal(PLACE.names(), before, 'folder')


def feed_for_ever(stream, row):
    """Until the reader is gone."""
    try:
        stream.write(b'phone\n')
        while True:
            stream.write(row * 1000)
    except BrokenPipeError:
        pass
    try:
        stream.close()
    except BrokenPipeError:
        pass


def signal_ends_a_pipe_inside_quotes():
    """After a signal the pipe ends inside quotes, wherever the writing was."""
    for value in b'0123456789', b'"0123456789"':
        child = start('pseudonymize', *KEYED, '--column', 'phone=fpe', stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
        feeder = threading.Thread(target=feed_for_ever, args=(child.stdin, value + b'\n'))
        feeder.start()
        out = child.stdout.read(200000)  # it writes; the input goes on
        child.send_signal(signal.SIGTERM)
        out += child.stdout.read()
        ends_by(child, signal.SIGTERM)
        child.stdout.close()
        feeder.join()
        expect(ends_inside_quotes(out), f'even quotes in {len(out)} bytes: {out[-40:]}')


def signal_to_a_run_that_waits_to_open_the_quote():
    """A bad row's open quote waits for a slow reader, and no signal takes it back."""
    for times in 1, 2:
        child = start('pseudonymize', *KEYED, '--column', 'a=fpe', stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 4096)  # full with the header row
        child.stdin.write(b'a\nx\n')
        child.stdin.close()
        expect(b'line 2' in child.stderr.readline(), 'no bad row')
        for _ in range(times):
            time.sleep(0.1)  # into the wait; too early only makes the test easier
            child.send_signal(signal.SIGTERM)
        if times == 2:
            child.wait(timeout=ground.TIME_LIMIT)
        equal(child.stdout.read(), b'a\n"')
        ends_by(child, signal.SIGTERM)
        child.stdout.close()


def hanging_hsm_ends_a_pipe_inside_quotes():
    """A signal that must not wait for a hanging HSM ends the pipe inside quotes too."""
    place = ground.with_mock('hanging', 'hang=C_Sign:4')
    place.file('table', b'a\n' + b''.join(b'%d\n' % i for i in range(3000)))
    with open(place / 'out', 'wb') as out:
        child = start('pseudonymize', '--key', 'pkcs11:object=hmac', '--column', 'a=hmac',
                      '--in', 'table', '--threads', '1', place=place, stdout=out)
        until(lambda: (place / 'out').stat().st_size > 0, 'the header')
        time.sleep(0.1)  # into the hang; too early only makes the test easier
        child.send_signal(signal.SIGINT)
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        ends_by(child, signal.SIGINT)
    expect(ends_inside_quotes((place / 'out').read_bytes()), 'the quotes are even')


def lost_hsm_fails_the_run():
    """An HSM that is lost half-way fails the run and leaves no file."""
    place = ground.with_mock('lost', 'fail=C_Sign:40+:CKR_DEVICE_REMOVED')
    place.file('table', b'a\n' + b''.join(b'%d\n' % i for i in range(3000)))
    before = place.names()
    result = place.run('pseudonymize', '--key', 'pkcs11:object=hmac', '--column', 'a=hmac',
                       '--in', 'table', '--out', 'o', '--timeout', '2s')
    expect(result.code not in (OK, DATA), result)
    expect(re.search(r"column 'a'", result.err), result)
    equal([name for name in place.names() if name != 'report'],
          [name for name in before if name != 'report'], 'folder')


def full_disk_fails_the_run():
    """A full disk is told, and leaves no file."""
    PLACE.fails(SYSTEM, 'No space left', 'pseudonymize', *KEYED, '--column', 'phone=fpe',
                '--out', '/dev/full', stdin=TABLE)


def summary_counts():
    """--json counts rows, HMACs and those that were known already."""
    table = b'a,b\n' + b'x,y\n' * 500
    summary = PLACE.ok('pseudonymize', *KEYED, '--column', 'a=hmac', '--column', 'b=hmac',
                       '--threads', '1', '--out', 'counted', '--json', stdin=table).json
    equal((summary['rows'], summary['bad-rows'], summary['read-bytes'], summary['hsm-macs'],
           summary['cached-macs']), (500, 0, len(table), 2, 998))
    result = PLACE.run('pseudonymize', '--column', 'name=drop', '--json', stdin=TABLE)
    equal((result.code, json.loads(result.err)['rows']), (OK, 5), result)
    refused(USAGE, '--threads is a number', 'name=drop', options=['--threads', '0'])


def peak(blocks, *arguments, place=PLACE, header=b'a,b\n'):
    """How many KiB of memory it takes at most to pseudonymise them."""
    child = start('pseudonymize', *arguments, '--out', '/dev/null', place=place,
                  stdin=subprocess.PIPE)
    child.stdin.write(header)
    for block in blocks:
        child.stdin.write(block)
    child.stdin.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    equal(child.returncode, OK)
    return usage.ru_maxrss


def memory_is_bounded():
    """Memory does not grow with the table."""
    block = b'"some value, quoted",and another one\n' * 1000
    small, large = (peak([block] * count, '--column', 'a=redact') for count in (30, 600))
    expect(ground.IS_SANITIZED or large < small + 4096, f'{small} KiB grew to {large} KiB')


def memory_is_bounded_for_long_rows():
    """Many sessions that wait for the HSM, each with the longest row: less than 64 MiB."""
    place = ground.with_mock('long', 'latency=C_Sign:400ms')
    text = b'x' * (4 * 1024 * 1024 - 10) + b'\n'
    taken = peak((b'%d,' % i + text for i in range(12)), '--key', 'pkcs11:object=hmac',
                 '--column', 'a=hmac', '--threads', '16', place=place)
    expect(ground.IS_SANITIZED or taken < 64 * 1024, f'{taken} KiB')


def memory_is_bounded_for_wide_rows():
    """The same with thousands of chosen columns, whose values are short."""
    place = ground.with_mock('wide', 'latency=C_Sign:100ms')
    columns = [word for i in range(2, 8001) for word in ('--column', f'#{i}=drop')]
    taken = peak((b'%d' % i + b',1' * 7999 + b'\n' for i in range(400)), *columns,
                 '--key', 'pkcs11:object=hmac', '--column', '#1=hmac:domain=a',
                 '--threads', '64', place=place, header=b'a' + b',b' * 7999 + b'\n')
    expect(ground.IS_SANITIZED or taken < 64 * 1024, f'{taken} KiB')


if __name__ == '__main__':
    ground.run([
        tokens_replace_values,
        untouched_bytes_stay,
        byte_order_mark_stays_without_its_row,
        null_and_empty_stay_apart,
        random_tables_pass_unchanged,
        order_is_kept_whatever_the_sessions,
        domains_join_and_separate,
        token_forms,
        short_tokens_need_permission,
        there_and_back,
        dropped_columns,
        end_of_data_is_not_made_by_dropping,
        redacted_columns,
        no_key_for_what_needs_none,
        delimiters,
        names_in_quotes,
        numbers,
        columns_that_are_not_there,
        wrong_specifications,
        first_row_of_data_is_not_told,
        bad_rows_fail_the_run,
        bad_rows_are_skipped,
        rejects_are_whole_or_not_there,
        many_bad_rows_are_not_all_listed,
        failed_pipe_ends_with_an_open_quote,
        signals_leave_no_file,
        signal_ends_a_pipe_inside_quotes,
        signal_to_a_run_that_waits_to_open_the_quote,
        hanging_hsm_ends_a_pipe_inside_quotes,
        lost_hsm_fails_the_run,
        full_disk_fails_the_run,
        summary_counts,
        memory_is_bounded,
        memory_is_bounded_for_long_rows,
        memory_is_bounded_for_wide_rows,
    ])
