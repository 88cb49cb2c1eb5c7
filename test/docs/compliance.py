#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What docs/compliance.md and docs/security.md name is there: options, verbs, tests."""
import os
import re
from pathlib import Path

import tap

ROOT = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
DOCUMENTS = 'compliance.md', 'security.md'
OPTIONS, TESTS = 'option or verb', 'test'


def rows():
    """(place, {column: cell}) of every table that has a column of tests."""
    for name in DOCUMENTS:
        columns = None
        for number, line in enumerate((ROOT / 'docs' / name).read_text().split('\n'), 1):
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            if not line.startswith('|'):
                columns = None
            elif columns is None:
                columns = cells
            elif TESTS in columns and not line.startswith('|---'):
                yield f'{name}:{number}', dict(zip(columns, cells))


def names_in(column):
    for place, row in rows():
        for name in re.findall(r'`([^`]+)`', row.get(column, '')):
            yield place, name


def options():
    text = (ROOT / 'lib/config/options.c').read_text()
    return set(re.findall(r'\{ \{ "(?:pool|proxy|policy|key)", "([\w-]+)"', text))


def verbs():
    text = (ROOT / 'tools/cli/main.c').read_text()
    return {f'hsmpool-cli {verb}' for verb in re.findall(r'\{ "([a-z ]+)", verb_', text)}


def tests():
    """Functions in C that are listed as tests, and behaviours of Python."""
    found = set()
    for path in (ROOT / 'test').rglob('*.c'):
        text = path.read_text()
        found |= set(re.findall(r'^static void (\w+)\(void \*\*state\)', text, re.MULTILINE))
    for path in (ROOT / 'test').rglob('*.py'):
        text = path.read_text()
        listed = text.rpartition('ground.run(')[2] + text.rpartition('tap.run(')[2]
        defined = re.findall(r'^def (\w+)\(\):', text, re.MULTILINE)
        found |= {name for name in defined if re.search(rf'\b{name}\b', listed)}
    return found


def every_named_option_and_verb_exists():
    """Every option and verb that is named exists."""
    known = options() | verbs()
    for place, name in names_in(OPTIONS):
        if name not in known:
            yield f'{place}: {name}'
    if not options() or not verbs():
        yield 'no options, or no verbs, were found'


def every_named_test_exists():
    """Every test that is named exists."""
    known = tests()
    named = list(names_in(TESTS))
    for place, name in named:
        if name not in known:
            yield f'{place}: {name}'
    if len(named) < 50:
        yield f'only {len(named)} tests are named'


def every_obligation_has_its_test():
    """Every row that names an option, or says that there is none, names a test."""
    for place, row in rows():
        if not re.search(r'`\w+`', row[TESTS]):
            yield place


if __name__ == '__main__':
    tap.run([
        every_named_option_and_verb_exists,
        every_named_test_exists,
        every_obligation_has_its_test,
    ])
