#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Tables of PostgreSQL through pseudonymize and back: docs/postgresql.md, for real."""
import re
import subprocess

import ground
from cluster import Cluster
from ground import CLI, equal, expect

ROWS = 3000
# What a text may hold: all that CSV, psql and COPY take for something special.
TEXTS = ('plain', '', None, 'a,b;c|d', '"quoted"', '""', "it's", 'two\nlines', 'two\r\nlines',
         '\r', '\n', ' around ', '\t', '\\N', '\\', '\\x', '\\.', 'NULL', 'null', '\u00fc\u00f1\u4e2d',
         '\U0001f3e5', 'e\u0301', '\ufeff', '\u00a0', '\x01\x7f', 'x' * 9000, '=1+1')

PLACE = ground.with_token('postgres')
CLUSTER = Cluster()
PSQL = 'psql -X -q -v ON_ERROR_STOP=1'


def cluster():
    """The cluster with its tables, made once."""
    if not CLUSTER.server:
        CLUSTER.start()
        PLACE.ok('keygen', '--for', 'hmac-sha256', '--label', 'pseudonyms')
        CLUSTER.query('create table patient (id int, name text, insurance text, city text)')
        CLUSTER.query(f"""insert into patient select i, 'Name ' || i,
            lpad((i * 7919)::text, 10, '0'), 'City' from generate_series(1, {ROWS}) i""")
        CLUSTER.query('create table visit (id int, patient text, day date)')
        CLUSTER.query(f"""insert into visit select i, lpad((i % 500 * 7919)::text, 10, '0'),
            date '2024-01-01' + i % 365 from generate_series(1, {ROWS}) i""")
    return CLUSTER


def shell(script):
    """A script of bash, as a user writes it: its exit code and what it said."""
    done = subprocess.run(['bash', '-c', 'set -o pipefail\n' + script],
                          env=cluster().environment(PLACE.env), cwd=PLACE.path,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=ground.TIME_LIMIT, check=False)
    return done.returncode, done.stderr


def exported(source, *columns, verb='pseudonymize', form='format csv, header'):
    """The half that reads; source is a table or a query in parentheses."""
    words = ' '.join(f"--column '{column}'" for column in columns)
    return (f'{PSQL} -c "\\copy {source} to stdout ({form})" | '
            f"{CLI} {verb} --key pkcs11:object=pseudonyms {words}")


def program(name, script):
    """The script as a program of its own, for `\\copy from program`."""
    path = PLACE.file(name, f'#!/bin/bash\nset -euo pipefail\n{script}\n')
    path.chmod(0o700)
    return f'./{name}'


def load(target, script):
    """The script's output into a table, all or nothing, as the document says."""
    return shell(f'{PSQL} -1 -c "\\copy {target} from program '
                 f"'{program('export', script)}' (format csv, header match)\"")


def load_by_pipe(target, script):
    return shell(f'{script} | {PSQL} -c "\\copy {target} from stdin '
                 '(format csv, header match)"')


def loaded(target, *arguments, **options):
    equal(load(target, exported(*arguments, **options)), (0, ''), target)


def refused(target, pattern, *result):
    """Nothing may have come into the table."""
    code, said = result
    expect(code != 0 and re.search(pattern, said), f'{code}, {said}; expected {pattern}')
    equal(cluster().query(f'select count(*) from {target}'), [('0',)], 'rows')


def table_like(name, original='patient'):
    cluster().query(f'drop table if exists {name}')
    cluster().query(f'create table {name} (like {original})')
    return name


def same_rows(left, right, columns='*'):
    """Row for row, NULL equal to NULL only."""
    for one, other in (left, right), (right, left):
        rows = cluster().query(f'select {columns} from {one} except all '
                               f'select {columns} from {other} limit 1')
        equal(rows, [], f'{left} and {right}')


def pipe_there_and_back():
    """A table goes through a plain pipe, and fpe columns come back."""
    there, back = table_like('there'), table_like('back')
    columns = 'insurance=fpe', 'name=hmac'
    equal(load_by_pipe(there, exported('patient', *columns)), (0, ''))
    loaded(back, there, 'insurance=fpe', verb='depseudonymize')
    same_rows('patient', back, 'id, insurance, city')
    equal(cluster().query(f'select count(*), count(distinct t.name), count(distinct '
                          f"t.insurance), bool_or(t.name = p.name), bool_and(t.name ~ "
                          f"'^[0-9a-f]{{32}}$'), bool_and(t.insurance ~ '^[0-9]{{10}}$') "
                          f'from {there} t join patient p using (id)'),
          [(str(ROWS), str(ROWS), str(ROWS), 'f', 't', 't')])


def nothing_else_changes():
    """Every text that is special to somebody survives in columns that stay."""
    cluster().query('create table texts (id int, secret text, kept text, kept2 text)')
    for number, text in enumerate(TEXTS):
        literal = 'null' if text is None else "'" + text.replace("'", "''") + "'"
        cluster().query(f"insert into texts values ({number}, 'x', {literal}, {literal})")
    for form in ('format csv, header', "format csv, header, force_quote *",
                 "format csv, header, force_quote (kept)"):
        table_like('kept', 'texts')
        loaded('kept', 'texts', 'secret=redact', form=form)
        same_rows('texts', 'kept', 'id, kept, kept2')
        equal(cluster().query('select distinct secret from kept'), [('REDACTED',)])
    equal(cluster().query('select kept from kept order by id'), [(text,) for text in TEXTS])


def column_that_is_left_alone_keeps_its_rows():
    """Where all others are dropped no text is taken for the end of the table."""
    cluster().query('create table lone (kept text)')
    loaded('lone', '(select * from texts order by id)', 'id=drop', 'secret=drop', 'kept2=drop')
    equal(cluster().query('select kept from lone'), [(text,) for text in TEXTS])


def null_is_not_the_empty_string():
    """NULL and the empty string stay what they are in columns that change."""
    cluster().query('create table gaps (id int, token text, number text)')
    cluster().query("insert into gaps values (1, null, null), (2, '', ''), "
                    "(3, 'name', '1234567')")
    for form in 'format csv, header', 'format csv, header, force_quote *':
        table_like('gaps_there', 'gaps')
        loaded('gaps_there', 'gaps', 'token=hmac', 'number=fpe', form=form)
        equal(cluster().query('select id, token, number from gaps_there where id < 3 '
                              'order by id'), [('1', None, None), ('2', '', '')])


def special_values_get_tokens_of_their_own():
    """Whatever a value holds, its token is text that loads, equal for equal values."""
    cluster()
    table_like('tokens', 'texts')
    loaded('tokens', 'texts', 'kept=hmac:domain=d', 'kept2=hmac:domain=d')
    equal(cluster().query("select bool_and(kept = kept2), bool_and(kept ~ '^[0-9a-f]{32}$'), "
                          "count(distinct kept) from tokens where kept <> ''"),
          [('t', 't', str(len({text for text in TEXTS if text})))])


def tokens_are_uuids():
    """A column of type uuid takes tokens, and typed columns beside it stay."""
    cluster().query('create table people (id uuid, born date, more jsonb)')
    cluster().query("""insert into people select gen_random_uuid(), date '1970-01-01' + i,
        jsonb_build_object('n', i, 't', E'a,"b"\n') from generate_series(1, 50) i""")
    loaded(table_like('people_there', 'people'), 'people', 'id=hmac')
    same_rows('people', 'people_there', 'born, more')
    equal(cluster().query('select count(distinct id), count(p.id) from people_there '
                          'left join people p using (id)'), [('50', '0')])


def joins_survive():
    """Two tables that join still join, where their domains are equal, and not otherwise."""
    for method in 'hmac', 'fpe':
        patients, visits = table_like('patients'), table_like('visits', 'visit')
        loaded(patients, 'patient', f'insurance={method}', 'name=redact')
        loaded(visits, 'visit', f'patient={method}:domain=insurance')
        joined = 'select count(*) from {} p join {} v on p.insurance = v.patient'
        expected = cluster().query(joined.format('patient', 'visit'))
        expect(int(expected[0][0]) > ROWS / 2, expected)
        equal(cluster().query(joined.format(patients, visits)), expected, method)
        table_like('visits', 'visit')
        loaded(visits, 'visit', f'patient={method}:domain=other')
        equal(cluster().query(joined.format(patients, visits)), [('0',)], method)


def columns_are_dropped():
    """A dropped column is missing in the target."""
    cluster().query('create table fewer (id int, city text)')
    loaded('fewer', 'patient', 'name=drop', 'insurance=drop')
    same_rows('patient', 'fewer', 'id, city')
    refused(table_like('wrong'), 'column name mismatch|wrong number of fields',
            *load('wrong', exported('patient', 'name=drop')))


def queries_are_exported():
    """What is exported may be a query, and empty."""
    some = table_like('few')
    loaded(some, '(select * from patient where id <= 10)', 'insurance=fpe')
    equal(cluster().query('select count(*) from few'), [('10',)])
    loaded(some, '(select * from patient where false)', 'insurance=fpe')
    equal(cluster().query('select count(*) from few'), [('10',)])


def bad_rows_load_nothing():
    """A value that cannot be pseudonymised, deep in the table: nothing is loaded."""
    query = (f"(select id, name, case id when {ROWS - 10} then 'none' else insurance end as "
             f'insurance, city from patient order by id)')
    target = table_like('target')
    script = exported(query, 'insurance=fpe')
    line = f'line {ROWS - 10 + 1}'
    refused(target, line, *load(target, script))
    # Not even without the transaction: the last field is never closed.
    refused(target, line, *load_by_pipe(target, script))


def failing_query_loads_nothing():
    """A query that fails half-way ends like a table that ends: nothing is loaded."""
    query = f'(select id, name, insurance, (1 / ({ROWS - 10} - id))::text as city from patient)'
    target = table_like('target')
    refused(target, 'division by zero', *load(target, exported(query, 'insurance=fpe')))


def stopped(number):
    """An export in which pseudonymize gets a signal when much of the table is out."""
    many = '(select p.* from patient p, generate_series(1, 10))'
    return (f'{{ {PSQL} -c "\\copy {many} to stdout (format csv, header)"; '
            f'kill -{number} $(cat pid); while kill -0 $(cat pid); do sleep 0.05; done; }} '
            f"2>/dev/null | bash -c 'echo $$ >pid; exec {CLI} pseudonymize "
            "--key pkcs11:object=pseudonyms --column insurance=fpe'")


def killed_run_loads_nothing():
    """pseudonymize killed half-way, without a last word: nothing is loaded."""
    target = table_like('target')
    refused(target, 'exit code 137', *load(target, stopped('KILL')))


def interrupted_run_loads_nothing():
    """pseudonymize stopped by a signal half-way: nothing is loaded, by a pipe neither."""
    target = table_like('target')
    refused(target, 'exit code 143', *load(target, stopped('TERM')))
    refused(target, 'unterminated CSV quoted field', *load_by_pipe(target, stopped('TERM')))


if __name__ == '__main__':
    ground.run([
        pipe_there_and_back,
        nothing_else_changes,
        column_that_is_left_alone_keeps_its_rows,
        null_is_not_the_empty_string,
        special_values_get_tokens_of_their_own,
        tokens_are_uuids,
        joins_survive,
        columns_are_dropped,
        queries_are_exported,
        bad_rows_load_nothing,
        failing_query_loads_nothing,
        killed_run_loads_nothing,
        interrupted_run_loads_nothing,
    ])
