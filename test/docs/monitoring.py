#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""docs/monitoring: Prometheus takes the rules and the dashboard, and knows their names."""
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import tap

ROOT = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
PLACE = ROOT / 'docs/monitoring'
ALERTS = PLACE / 'alerts.yml'
DASHBOARD = json.loads((PLACE / 'dashboard.json').read_text())
PANELS = [panel for panel in DASHBOARD['panels'] if panel['type'] != 'row']
# What Grafana puts in before Prometheus sees it.
MACROS = {'$__rate_interval': '5m', '$__range': '3h'}
# A sample's name without these is the family's.
ENDINGS = ('_total', '_bucket', '_count', '_sum', '_info')


def promtool(*arguments):
    """The lines that promtool complains with."""
    tool = shutil.which('promtool')
    if not tool:
        raise tap.Skip('no promtool')
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    said = (done.stdout + done.stderr).splitlines()
    return [line for line in said if line.strip()] if done.returncode else []


def alerts():
    return re.findall(r'^\s+- alert: (\w+)', ALERTS.read_text(), re.MULTILINE)


def expressions():
    """(where, expression) of the whole dashboard, as Prometheus gets them."""
    for panel in PANELS:
        for target in panel['targets']:
            text = target['expr']
            for macro, value in MACROS.items():
                text = text.replace(macro, value)
            yield panel['title'], text


def rules_are_valid():
    """promtool accepts the alert rules."""
    yield from promtool('check', 'rules', ALERTS)


def rules_fire_when_they_shall():
    """Each rule fires on what it is for, and on nothing else."""
    yield from promtool('test', 'rules', PLACE / 'alerts.test.yml')


def every_rule_is_tested():
    """Each rule has its test."""
    tests = (PLACE / 'alerts.test.yml').read_text()
    for name in alerts():
        if not re.search(rf'\b{name}\b', tests):
            yield f'{name}: no test'


def expressions_are_valid():
    """Prometheus can read every expression of the dashboard."""
    rules = [{'record': f'panel:{number}', 'expr': text}
             for number, (_, text) in enumerate(expressions())]
    with tempfile.NamedTemporaryFile('w', suffix='.yml') as file:
        json.dump({'groups': [{'name': 'dashboard', 'rules': rules}]}, file)
        file.flush()
        yield from promtool('check', 'rules', file.name)


def families_are_documented():
    """The rules and the dashboard use families that there are."""
    documents = (ROOT / 'docs/metrics.md', PLACE / 'README.md')
    known = {name for path in documents
             for name in re.findall(r'\bhsmpool_\w+', path.read_text())}
    used = [(where, text) for where, text in expressions()]
    used.append(('alerts.yml', ALERTS.read_text()))
    used += [('variables', item['definition'])
             for item in DASHBOARD['templating']['list'] if 'definition' in item]
    for where, text in used:
        for name in set(re.findall(r'\bhsmpool_\w+', text)):
            names = {name, *(name.removesuffix(ending) for ending in ENDINGS)}
            if not names & known:
                yield f'{where}: {name} is in no document'


def panels_have_a_place_each():
    """No two panels of the dashboard have the same number or overlap."""
    numbers = [panel['id'] for panel in DASHBOARD['panels']]
    if len(numbers) != len(set(numbers)):
        yield 'numbers of panels occur twice'
    for one, other in itertools.combinations(DASHBOARD['panels'], 2):
        a, b = one['gridPos'], other['gridPos']
        if (a['x'] < b['x'] + b['w'] and b['x'] < a['x'] + a['w']
                and a['y'] < b['y'] + b['h'] and b['y'] < a['y'] + a['h']):
            yield f"{one['title']} and {other['title']} overlap"
    for panel in DASHBOARD['panels']:
        if panel['gridPos']['x'] + panel['gridPos']['w'] > 24:
            yield f"{panel['title']}: beyond the right edge"


def dashboard_has_what_grafana_needs():
    """The dashboard has a title, a schema, and its data from a variable."""
    for name in 'title', 'uid', 'schemaVersion', 'templating', 'time':
        if name not in DASHBOARD:
            yield f'{name} is missing'
    for panel in PANELS:
        sources = [panel['datasource'], *(each['datasource'] for each in panel['targets'])]
        if any(each != {'type': 'prometheus', 'uid': '${datasource}'} for each in sources):
            yield f"{panel['title']}: another source of data"
    variables = {item['name'] for item in DASHBOARD['templating']['list']}
    used = set(re.findall(r'\$(\w+)', json.dumps(PANELS))) - {name[1:] for name in MACROS}
    for name in sorted(used - variables):
        yield f'${name}: no such variable'


if __name__ == '__main__':
    tap.run([
        rules_are_valid,
        rules_fire_when_they_shall,
        every_rule_is_tested,
        expressions_are_valid,
        families_are_documented,
        panels_have_a_place_each,
        dashboard_has_what_grafana_needs,
    ])
