#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""exporter: the metrics of all processes over HTTP, as Prometheus reads them."""
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection

import ground
import peers
import tap
from ground import EXISTS, SYSTEM, USAGE, equal, expect
from peers import Speaker, metrics

OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
PLAIN = 'text/plain; version=0.0.4; charset=utf-8'
PROMETHEUS_ACCEPTS = ('application/openmetrics-text;version=1.0.0,'
                      'application/openmetrics-text;version=0.0.1;q=0.75,'
                      'text/plain;version=0.0.4;q=0.5,*/*;q=0.1')


class Exporter:
    """A running exporter, until the block ends."""

    def __init__(self, place, *options, env=None):
        words = [ground.CLI, 'exporter', *(options or ('--listen', '127.0.0.1:0'))]
        self.process = subprocess.Popen(words, env=place.env | (env or {}), cwd=place.path,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.where = self.process.stdout.readline().decode().strip()
        expect(self.where, 'it did not start')

    def get(self, path='/metrics', accept=None, method='GET', body=None):
        """(headers, text) of a page."""
        url = self.where.removesuffix('/metrics') + path
        request = urllib.request.Request(url, method=method, data=body)
        if accept is not None:
            request.add_header('Accept', accept)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers, answer.read().decode()

    def refuses(self, code, *arguments, **options):
        try:
            self.get(*arguments, **options)
        except urllib.error.HTTPError as error:
            equal(error.code, code, 'status')
            return error.headers
        raise AssertionError(f'{arguments} {options} was not refused')

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out.decode(), err.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def samples(text):
    """{sample: value} without the comments."""
    return dict(line.rsplit(' ', 1) for line in text.splitlines()
                if line and not line.startswith('#'))


def labels_of(speaker, copy=1):
    more = f',copy="{copy}"' if copy > 1 else ''
    return f'pid="{speaker.pid}",program="sleep"{more}'


def check_metrics(text):
    """promtool must have nothing to say of it."""
    tool = shutil.which('promtool')
    if not tool:
        raise tap.Skip('no promtool')
    done = subprocess.run([tool, 'check', 'metrics'], input=text, capture_output=True,
                          text=True, check=False)
    equal((done.returncode, done.stdout + done.stderr), (0, ''), 'promtool')


@contextlib.contextmanager
def some_processes(name):
    """Three that answer, and an exporter."""
    place = peers.place_of_processes(name)
    with contextlib.ExitStack() as stack:
        speakers = [stack.enter_context(Speaker(place, 'ok\n' + metrics(waiters=number)))
                    for number in range(3)]
        yield place, speakers, stack.enter_context(Exporter(place))


def processes_are_told_apart():
    """Every process is there, with its number and program on each sample."""
    with some_processes('several') as (_, speakers, exporter):
        found = samples(exporter.get()[1])
        for number, speaker in enumerate(speakers):
            whose = labels_of(speaker)
            equal(found[f'hsmpool_waiters{{{whose},pool="default",token="t"}}'], str(number))
            equal(found[f'hsmpool_build_info{{{whose},version="1.2"}}'], '1')
            up = [sample for sample in found if sample.startswith(
                f'hsmpool_process_up{{{whose},user="')]
            equal([found[sample] for sample in up], ['1'], 'up')
            equal(speaker.requests, ['metrics'], 'requests')


def families_stand_together():
    """A family is named once, and all its samples follow."""
    with some_processes('together') as (_, _, exporter):
        seen = []
        for line in exporter.get(accept=OPENMETRICS)[1].splitlines():
            if line.startswith('# TYPE '):
                seen.append(line.split()[2])
            elif not line.startswith('#'):
                expect(line.startswith(seen[-1]), f'{line} is not of {seen[-1]}')
        equal(len(seen), len(set(seen)), 'families')


def promtool_accepts_it():
    """promtool check metrics has nothing to say."""
    with some_processes('promtool') as (_, _, exporter):
        check_metrics(exporter.get()[1])


def format_is_negotiated():
    """OpenMetrics for who asks for it, the older format for everybody else."""
    with some_processes('formats') as (_, _, exporter):
        for accept, kind in [
                (None, PLAIN), ('', PLAIN), ('*/*', PLAIN), ('text/plain', PLAIN),
                (PROMETHEUS_ACCEPTS, OPENMETRICS), ('application/openmetrics-text', OPENMETRICS),
                ('application/openmetrics-text;version="1.0.0"', OPENMETRICS),
                ('application/openmetrics-text;version=2.0.0', PLAIN),
                ('application/openmetrics-text;q=0', PLAIN), ('nonsense,,;;q=', PLAIN),
                ('application/openmetrics-text;q=0.3, text/plain;q=0.9', PLAIN),
                ('text/plain;q=0.3 , Application/OpenMetrics-Text; q=0.9', OPENMETRICS)]:
            headers, text = exporter.get(accept=accept)
            equal(headers['Content-Type'], kind, f'type for {accept}')
            equal(text.endswith('# EOF\n'), kind == OPENMETRICS, f'end for {accept}')
        _, text = exporter.get(accept=OPENMETRICS)
        expect('# TYPE hsmpool_borrow counter\n' in text, text)
        expect('# UNIT hsmpool_op_seconds seconds\n' in text, text)
        expect('# TYPE hsmpool_build info\n' in text, text)
        _, text = exporter.get()
        expect('# TYPE hsmpool_borrow_total counter\n' in text, text)
        expect('# TYPE hsmpool_build_info gauge\n' in text, text)


def hung_process_costs_only_time():
    """A process that does not answer is not up, and the others are there."""
    with some_processes('hung') as (place, speakers, exporter), Speaker(place, None) as hung:
        begun = time.monotonic()
        found = samples(exporter.get()[1])
        expect(time.monotonic() - begun < 20, 'the scrape was not bounded')
        up = {sample: value for sample, value in found.items() if 'process_up' in sample}
        equal([value for sample, value in up.items() if f'"{hung.pid}"' in sample], ['0'])
        for speaker in speakers:
            equal([value for sample, value in up.items() if f'"{speaker.pid}"' in sample],
                  ['1'])
        expect(float(found['hsmpool_exporter_process_errors_total']) >= 1, found)
        code, _, err = exporter.stop()
        expect(f'process {hung.pid} did not answer in time' in err, err)
        equal(code, 0, 'exit code')


def nonsense_is_kept_out():
    """What is none of hsmpool's text is left out whole, and the process is not up."""
    good = metrics()
    family = '# TYPE hsmpool_x gauge\n'
    for answer in [
            '', 'ok', 'ok\n', 'error 70 no\n', 'what?\n', 'ok\n' + good[:-6],
            'ok\n' + good + 'hsmpool_waiters 1\n',
            'ok\n' + good.replace('hsmpool_waiters{', 'up{'),
            'ok\n' + good.replace('hsmpool_waiters', 'node_load1'),
            'ok\n' + good.replace('pool="default"', 'pid="1"', 1),
            'ok\n' + good.replace('pool="default"', 'pool="a" b="c"', 1),
            'ok\n' + good.replace('"default"', '"a\\x"', 1),
            'ok\n' + good.replace('"default"', '"a', 1),
            'ok\n' + good.replace(' 5\n', ' five\n', 1),
            'ok\n' + good.replace(' 5\n', ' 0x5\n', 1),
            'ok\n' + good.replace(' 5\n', ' 5 # {} 1\n', 1),
            'ok\n' + good.replace(' 5\n', ' 5 1700000000\n', 1),
            'ok\n' + good.replace('gauge', 'gouge', 1),
            'ok\n' + good.replace('default', 'a\x07b', 1),
            'ok\n' + good.replace('borrow_total', 'borrow_most', 1),
            'ok\n' + good.replace('op_seconds seconds', 'op_seconds bytes', 1),
            'ok\n' + good.replace('waiting for', 'waiting \\for', 1),
            'ok\n' + good.replace('hsmpool_waiters', 'hsmpool_borrow_total'),
            'ok\n' + family + 'hsmpool_x 1\n' + good.replace('# EOF', family + '# EOF'),
            'ok\n' + family + family + '# EOF\n',
            'ok\nhsmpool_x 1\n# EOF\n',
            'ok\n\n# EOF\n']:
        with contextlib.ExitStack() as stack:
            place = peers.place_of_processes(f'nonsense-{time.monotonic_ns()}')
            bad = stack.enter_context(Speaker(place, answer))
            other = stack.enter_context(Speaker(place, 'ok\n' + good))
            exporter = stack.enter_context(Exporter(place))
            text = exporter.get()[1]
            mine = [line for line in text.splitlines() if f'pid="{bad.pid}"' in line]
            equal([line.split()[-1] for line in mine], ['0'], f'{answer!r}: lines')
            equal(len([line for line in text.splitlines() if f'"{other.pid}"' in line]), 8,
                  f'{answer!r}: lines of the other')


def types_may_not_differ():
    """A process that calls a family another type than the first is not up."""
    place = peers.place_of_processes('types')
    other = metrics().replace('hsmpool_waiters gauge', 'hsmpool_waiters unknown')
    with Speaker(place, 'ok\n' + metrics()) as one, Speaker(place, 'ok\n' + other) as two, \
            Exporter(place) as exporter:
        text = exporter.get()[1]
        first, second = sorted([one.pid, two.pid])
        expect(re.search(f'process_up{{pid="{first}".*}} 1', text), text)
        expect(re.search(f'process_up{{pid="{second}".*}} 0', text), text)
        check_metrics(text)


def copies_are_told_apart():
    """Two copies of the library in one process have a label each."""
    place = peers.place_of_processes('copies')
    with Speaker(place, 'ok\n' + metrics()) as one, \
            Speaker(place, 'ok\n' + metrics(), pid=one.pid, copy=2), \
            Exporter(place) as exporter:
        text = exporter.get()[1]
        for copy in 1, 2:
            expect(f'hsmpool_waiters{{{labels_of(one, copy)},pool=' in text, text)
        check_metrics(text)


def ended_process_disappears():
    """A process that ended is gone from the metrics, and its socket from the folder."""
    with some_processes('ended') as (_, speakers, exporter):
        gone = speakers[1]
        expect(f'"{gone.pid}"' in exporter.get()[1], 'not there')
        gone.end()
        text = exporter.get()[1]
        expect(f'"{gone.pid}"' not in text, text)
        expect(not gone.path.exists(), 'the socket is still there')
        expect(str(gone.pid) not in exporter.stop()[2], 'that it ended was complained of')


def process_that_ends_while_it_is_asked_is_no_failure():
    """A process that goes away instead of answering is gone, and not one that failed."""
    with some_processes('ending') as (_, speakers, exporter):
        def end_instead(_):
            speakers[1].path.unlink()
            return ''
        speakers[1].answer = end_instead
        text = exporter.get()[1]
        expect(f'"{speakers[0].pid}"' in text, 'the other is missing')
        expect(f'"{speakers[1].pid}"' not in text, text)
        expect('hsmpool_exporter_process_errors_total 0' in text, 'counted as an error')
        expect(str(speakers[1].pid) not in exporter.stop()[2], 'complained of')


def program_names_are_escaped():
    """A program may be called anything."""
    place = peers.place_of_processes('names')
    name = 'a"b\\c\nd\x1b\xff'
    script = f'import ctypes, time\nctypes.CDLL(None).prctl(15, {name.encode("latin-1")!r})\n' \
             'print(flush=True)\ntime.sleep(1000)'
    with subprocess.Popen(['/usr/bin/python3', '-c', script],
                          stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with Speaker(place, 'ok\n' + metrics(), pid=process.pid), \
                Exporter(place) as exporter:
            text = exporter.get()[1]
        process.kill()
    expect(f'pid="{process.pid}",program="a\\"b\\\\c' in text, text)
    expect('\x1b' not in text, 'a control character')
    check_metrics(text)


def only_pages_that_there_are():
    """/, /metrics and /-/healthy are there for GET and HEAD; nothing else is."""
    with some_processes('pages') as (_, _, exporter):
        headers, text = exporter.get('/')
        expect('href="metrics"' in text, text)
        equal(headers['Content-Type'], 'text/html; charset=utf-8')
        equal(exporter.get('/-/healthy')[1], 'healthy\n')
        equal(exporter.get('/metrics?name=x')[1][:1], '#', 'with a query')
        headers, text = exporter.get(method='HEAD')
        equal(text, '')
        expect(int(headers['Content-Length']) > 100, headers)
        for path in '/metrics/', '//metrics', '/../etc/passwd', '/favicon.ico', '/-/quit':
            exporter.refuses(404, path)
        for method in 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH':
            headers = exporter.refuses(405, method=method, body=b'x' * 100000)
            equal(headers['Allow'], 'GET, HEAD')


def many_scrapes_at_once():
    """Scrapes at the same time all get the whole answer."""
    with some_processes('crowd') as (_, speakers, exporter):
        clients = [HTTPConnection(exporter.where.split('/')[2], timeout=60)
                   for _ in range(20)]
        for client in clients:
            client.request('GET', '/metrics')
        for client in clients:
            text = client.getresponse().read().decode()
            for speaker in speakers:
                expect(f'"{speaker.pid}"' in text, 'a process is missing')
            client.close()


def slow_clients_block_nobody():
    """Clients that connect and say nothing keep no other from its answer."""
    with some_processes('idle') as (_, _, exporter):
        host, port = exporter.where.split('/')[2].split(':')
        idle = [socket.create_connection((host, int(port))) for _ in range(10)]
        idle[0].sendall(b'GET /metr')
        equal(exporter.get('/-/healthy')[1], 'healthy\n')
        for client in idle:
            client.close()


def unix_socket_is_served():
    """unix:PATH is served, in place of a stale one, and is removed in the end."""
    place = peers.place_of_processes('unix')
    path = place / 'exporter.sock'
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with Speaker(place, 'ok\n' + metrics()) as speaker, \
            Exporter(place, '--listen', f'unix:{path}') as exporter:
        equal(exporter.where, f'unix:{path}')
        equal(stat.S_IMODE(path.stat().st_mode), 0o660, 'mode')
        client = HTTPConnection('localhost')
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(path))
        client.request('GET', '/metrics')
        expect(f'"{speaker.pid}"' in client.getresponse().read().decode(), 'not there')
        place.fails(EXISTS, 'somebody listens', 'exporter', '--listen', f'unix:{path}')
        client.close()
        equal(exporter.stop()[0], 0, 'exit code')
        expect(not path.exists(), 'the socket is still there')
    place.file('exporter.sock', 'mine')
    place.fails(EXISTS, 'is no socket', 'exporter', '--listen', f'unix:{path}')
    equal(path.read_text(), 'mine')


def addresses_are_checked():
    """A wrong address is told; one that others use too."""
    place = peers.place_of_processes('addresses')
    for where in ['', 'here', '127.0.0.1', '127.0.0.1:', ':', ':x', ':65536', ':-1', '::1:80',
                  'localhost:80', '[::1]', '[::1]:0x50', '1.2.3.4.5:80', 'unix:',
                  'unix:' + 'x' * 108]:
        place.fails(USAGE, '--listen', 'exporter', '--listen', where)
    place.fails(SYSTEM, 'cannot make', 'exporter', '--listen', 'unix:/nowhere/at/all')
    place.fails(USAGE, 'operand|argument', 'exporter', 'extra')
    with Exporter(place) as exporter:
        taken = exporter.where.split('/')[2]
        place.fails(SYSTEM, 'cannot listen on', 'exporter', '--listen', taken)
    with Exporter(place, '--listen', ':0') as exporter:
        expect(exporter.where.startswith('http://127.0.0.1:'), exporter.where)


def other_machines_are_warned_of():
    """An address that other machines reach is served, with a warning."""
    place = peers.place_of_processes('remote')
    with Exporter(place, '--listen', '0.0.0.0:0') as exporter:
        expect('reached from other machines' in exporter.stop()[2], 'no warning')
    with Exporter(place) as exporter:
        equal(exporter.stop()[2], '', 'standard error')


def signals_end_it():
    """SIGTERM and SIGINT end it, and that is a success."""
    place = peers.place_of_processes('signals')
    for number in signal.SIGTERM, signal.SIGINT:
        with Exporter(place) as exporter:
            equal(exporter.stop(number), (0, '', ''), 'end')


def service_manager_is_told():
    """systemd is told when it is ready, and when it stops."""
    place = peers.place_of_processes('notify')
    for address in str(place / 'notify'), f'\0hsmpool-notify-{os.getpid()}':
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(address)
        manager.settimeout(30)
        with Exporter(place, env={'NOTIFY_SOCKET': address.replace('\0', '@')}) as exporter:
            equal(manager.recv(100), b'READY=1')
            exporter.stop()
            equal(manager.recv(100), b'STOPPING=1')
        manager.close()


if __name__ == '__main__':
    ground.run([
        processes_are_told_apart,
        families_stand_together,
        promtool_accepts_it,
        format_is_negotiated,
        hung_process_costs_only_time,
        nonsense_is_kept_out,
        types_may_not_differ,
        copies_are_told_apart,
        ended_process_disappears,
        process_that_ends_while_it_is_asked_is_no_failure,
        program_names_are_escaped,
        only_pages_that_there_are,
        many_scrapes_at_once,
        slow_clients_block_nobody,
        unix_socket_is_served,
        addresses_are_checked,
        other_machines_are_warned_of,
        signals_end_it,
        service_manager_is_told,
    ])
