#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Real processes, the exporter, top, and a real Prometheus that scrapes them."""
import contextlib
import functools
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import ground
import peers
import tap
from ground import equal, expect

PATIENCE = 60
OPERATION = 'C_GenerateRandom'


def eventually(what, condition):
    """The first answer of condition that is true."""
    until = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        expect(time.monotonic() < until, f'never: {what}')
        time.sleep(0.05)


@contextlib.contextmanager
def running(words, env=None, **streams):
    """A process until the block ends."""
    with subprocess.Popen([str(word) for word in words], env=env, **streams) as process:
        try:
            yield process
        finally:
            process.terminate()
            for stream in process.stdout, process.stderr:
                if stream:
                    stream.close()


@contextlib.contextmanager
def busy_process(place):
    """One that uses its token as fast as it can."""
    with running([ground.CLI, 'random', '1000000000000'], env=place.env,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process


@contextlib.contextmanager
def exporter(place):
    """The address of its metrics."""
    with running([ground.CLI, 'exporter', '--listen', '127.0.0.1:0'], env=place.env,
                 stdout=subprocess.PIPE) as process:
        yield process.stdout.readline().decode().strip()


def fetch(address):
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return answer.read().decode()


def answers(address):
    try:
        return fetch(address)
    except urllib.error.HTTPError:
        return None


@contextlib.contextmanager
def prometheus(place, target):
    """The address of a private one that scrapes target, with our rules."""
    program = shutil.which('prometheus')
    if not program:
        raise tap.Skip('no prometheus')
    rules = ground.SOURCE / 'docs/monitoring/alerts.yml'
    config = place.file('prometheus.yml', json.dumps({
        'global': {'scrape_interval': '250ms', 'evaluation_interval': '250ms',
                   'scrape_timeout': '250ms'},
        'rule_files': [str(rules)],
        'scrape_configs': [{'job_name': 'hsmpool', 'scrape_interval': '1s',
                            'scrape_timeout': '1s',
                            'static_configs': [{'targets': [target]}]}]}))
    log = place / 'prometheus.log'
    with log.open('wb') as file, running(
            [program, f'--config.file={config}', f'--storage.tsdb.path={place / "data"}',
             '--web.listen-address=127.0.0.1:0'], stdout=file, stderr=file,
            env={'PATH': '/usr/bin:/bin', 'HOME': str(place.path)}) as process:
        def address():
            expect(process.poll() is None, log.read_text())
            found = re.search(r'Listening on.*address=(127\.0\.0\.1:[1-9]\d*)', log.read_text())
            return found and f'http://{found[1]}'
        server = eventually('Prometheus listens', address)
        eventually('it is ready', lambda: answers(f'{server}/-/ready'))
        yield server


def ask(server, page, **parameters):
    return json.loads(fetch(f'{server}/api/v1/{page}?{urllib.parse.urlencode(parameters)}'))['data']


def value(server, expression):
    """The value of the only series, None while there is none."""
    result = ask(server, 'query', query=expression)['result']
    return float(result[0]['value'][1]) if len(result) == 1 else None


@contextlib.contextmanager
def everything(name):
    """(place, busy process, address of the exporter)"""
    place = peers.with_runtime(ground.with_token(name))
    place.config.write_text(place.config.read_text().replace(
        '[pool]\n', f'[pool]\naudit = {place / "trail"}\n'))
    with busy_process(place) as process, exporter(place) as address:
        def is_there():
            expect(process.poll() is None, 'the busy process ended')
            return f'hsmpool_sessions_limit{{pid="{process.pid}"' in fetch(address)
        eventually('the process tells its metrics', is_there)
        yield place, process, address


def real_process_is_exported(_, process, address):
    """promtool accepts what a working process tells, and it is what it does."""
    text = fetch(address)
    whose = f'pid="{process.pid}",program="hsmpool-cli"'
    expect(f'hsmpool_process_up{{{whose},user="' in text, text)
    expect(re.search(rf'hsmpool_op_seconds_count{{{whose},pool="default",'
                     rf'token="hsmpool-dev",op="{OPERATION}"}} [1-9]', text), text)
    expect(re.search(rf'hsmpool_audit_records_total{{{whose}}} [1-9]', text), text)
    if not shutil.which('promtool'):
        raise tap.Skip('no promtool')
    done = subprocess.run(['promtool', 'check', 'metrics'], input=text, text=True,
                          capture_output=True, check=False)
    equal((done.returncode, done.stdout + done.stderr), (0, ''), 'promtool')


def real_process_is_in_top(place, process, _):
    """top shows the rates of a working process."""
    shown = place.ok('top', '--once', '--interval', '1s', '--json').json
    (found,) = [each for each in shown['processes'] if each['pid'] == process.pid]
    equal((found['program'], found['silent']), ('hsmpool-cli', False))
    (pool,) = found['pools']
    equal((pool['state'], pool['token'], pool['sessions']['limit']),
          ('up', 'hsmpool-dev', 16))
    expect(pool['operations-per-second'] > 0, pool)
    expect(0 < pool['p50'] <= pool['p99'], pool)
    equal((pool['errors-per-second'], pool['errors']), (0, {}))


def prometheus_scrapes_it(place, process, address):
    """A real Prometheus scrapes the exporter, computes rates, and runs the rules."""
    target = urllib.parse.urlsplit(address).netloc
    with prometheus(place, target) as server:
        mine = f'pid="{process.pid}",program="hsmpool-cli",job="hsmpool"'
        count = f'hsmpool_op_seconds_count{{{mine},op="{OPERATION}"}}'
        eventually('the count is there', lambda: value(server, count))
        eventually('a rate', lambda: value(server, f'rate({count}[30s])'))
        quantile = ('histogram_quantile(0.99, sum by (le) '
                    f'(rate(hsmpool_op_seconds_bucket{{{mine}}}[30s])))')
        expect(0 < eventually('a quantile', lambda: value(server, quantile)) < 100, 'p99')
        eventually('the process is up', lambda: value(server, f'hsmpool_process_up{{{mine}}}'))
        metadata = ask(server, 'metadata', metric='hsmpool_op_seconds')
        equal([each['type'] for each in metadata['hsmpool_op_seconds']], ['histogram'])
        eventually('the target is up', lambda: [target['health'] for target in ask(
            server, 'targets')['activeTargets']] == ['up'])
        eventually('all rules are evaluated', lambda: {
            rule['health'] for group in ask(server, 'rules')['groups']
            for rule in group['rules']} == {'ok'})


if __name__ == '__main__':
    with everything('real') as at_work:
        checks = real_process_is_exported, real_process_is_in_top, prometheus_scrapes_it
        ground.run([functools.update_wrapper(functools.partial(check, *at_work), check)
                    for check in checks])
