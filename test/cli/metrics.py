#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""metrics-file: what a process writes, as promtool and node_exporter read it."""
import contextlib
import re
import shutil
import subprocess
import time
import urllib.request

import ground
import tap
from ground import equal, expect, with_mock

PATIENCE = 60


def tool(name):
    found = shutil.which(name)
    if not found:
        raise tap.Skip(f'no {name}')
    return found


def eventually(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        expect(time.monotonic() < until, f'never: {what}')
        time.sleep(0.01)


def samples(text):
    """{'name{labels}': 'value'}"""
    return dict(line.rsplit(' ', 1) for line in text.splitlines()
                if line and not line.startswith('#'))


@contextlib.contextmanager
def busy_command(place):
    """A process whose pool is open until the block ends: nobody reads what it writes."""
    process = subprocess.Popen([ground.CLI, 'random', '100000000'], env=place.env,
                               cwd=place.path, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(timeout=PATIENCE)


@contextlib.contextmanager
def node_exporter(folder):
    """The address of one that reads that folder, and nothing else."""
    words = [tool('prometheus-node-exporter'), '--web.listen-address=127.0.0.1:0',
             '--collector.disable-defaults', '--collector.textfile',
             f'--collector.textfile.directory={folder}']
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            found = re.search(r'address=(127\.0\.0\.1:\d+)', line)
            if found and not found[1].endswith(':0'):
                break
        else:
            raise AssertionError('node_exporter did not start')
        yield f'http://{found[1]}/metrics'
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(timeout=PATIENCE)


def promtool_finds_nothing_to_complain_of():
    """promtool check metrics accepts the file without a word"""
    promtool = tool('promtool')
    place = with_mock('promtool', metrics_file=ground.ROOT / 'promtool/m.prom')
    place.ok('random', '16')
    text = (place / 'm.prom').read_bytes()
    expect(b'op_seconds_count' in text, 'no operation in it')
    done = subprocess.run([promtool, 'check', 'metrics'], input=text, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal((done.returncode, done.stdout), (0, b''), 'promtool')


def every_family_is_documented():
    """docs/metrics.md has every family that a file has"""
    place = with_mock('documented', metrics_file=ground.ROOT / 'documented/m.prom')
    place.ok('random', '16')
    manual = (ground.SOURCE / 'docs/metrics.md').read_text()
    families = re.findall(r'^# TYPE (\w+)', (place / 'm.prom').read_text(), re.MULTILINE)
    expect(len(families) > 25, families)
    for family in families:
        expect(re.search(rf'`{family}[`{{]', manual), f'{family} is not there')


def the_last_figures_stay():
    """The file of a command that is over says what it did"""
    place = with_mock('last', metrics_file=ground.ROOT / 'last/m.prom')
    place.ok('random', '16')
    found = samples((place / 'm.prom').read_text())
    labels = 'pool="default",token="mock"'
    equal(found[f'hsmpool_op_seconds_count{{{labels},op="C_GenerateRandom"}}'], '1')
    equal(found[f'hsmpool_login_total{{{labels},result="ok"}}'], '1')
    equal(found[f'hsmpool_sessions{{{labels},state="idle"}}'], '0')


def node_exporter_tells_processes_apart():
    """node_exporter tells the figures of two processes, and none that is over"""
    place = with_mock('textfile', metrics_file=ground.ROOT / 'textfile/m-%p.prom',
                      metrics_interval='50ms')
    with busy_command(place) as one, busy_command(place) as other:
        for process in (one, other):
            name = place / f'm-{process.pid}.prom'
            eventually(name.exists, f'{name} is there')
        with node_exporter(place.path) as address:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                found = samples(answer.read().decode())
    equal(found['node_textfile_scrape_error'], '0', 'scrape errors')
    for process in (one, other):
        expect(any(f'pid="{process.pid}",' in name and name.startswith('hsmpool_sessions{')
                   for name in found), f'nothing of process {process.pid}')
    expect(all('program="hsmpool-cli"' in name for name in found
               if name.startswith('hsmpool_')), 'a sample without its program')
    equal(list(place.path.glob('*.prom*')), [], 'files left')


if __name__ == '__main__':
    ground.run([
        promtool_finds_nothing_to_complain_of,
        every_family_is_documented,
        the_last_figures_stay,
        node_exporter_tells_processes_apart,
    ])
