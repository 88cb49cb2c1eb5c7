#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""What the headers declare, what the library exports, what the manual describes.

interface.py LIBRARY.SO: the three must be one and the same.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import tap

ROOT = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
LIBRARY = sys.argv[1] if len(sys.argv) > 1 else None
HEADERS = sorted((ROOT / 'include/hsmpool').glob('*.h'))
MANUAL = ROOT / 'docs/man/libhsmpool.3.scd'


def header_text(path):
    return re.sub(r'/\*.*?\*/', ' ', path.read_text(), flags=re.DOTALL)


def declared():
    """The functions of the headers, by HSMPOOL_API."""
    found = {}
    for path in HEADERS:
        for text in re.findall(r'^HSMPOOL_API\b([^;{]*);', header_text(path), re.MULTILINE):
            found[re.search(r'\b(hsmpool_\w+)\s*\(', text)[1]] = path.name
    return found


def exported():
    """The symbols of the library, without the version's own."""
    lines = subprocess.run(['nm', '-D', '--defined-only', LIBRARY], check=True, text=True,
                           capture_output=True).stdout.split('\n')
    names = (line.split()[-1].split('@')[0] for line in lines if line)
    return {name for name in names if name != 'HSMPOOL_0'}


def manual():
    return MANUAL.read_text()


def every_declared_function_is_exported():
    """Every function of the headers is exported."""
    for name in sorted(set(declared()) - exported()):
        yield f'{name}: declared in {declared()[name]}, not exported'


def nothing_else_is_exported():
    """Nothing is exported that the headers do not declare."""
    for name in sorted(exported() - set(declared())):
        yield f'{name}: exported, not declared'


def every_function_is_marked():
    """Every function that a header declares is marked HSMPOOL_API."""
    prototype = re.compile(r'\b(hsmpool_\w+)\s*\([^;{()]*(?:\([^()]*\)[^;{()]*)*\)\s*;')
    for path in HEADERS:
        for statement in re.split(r'(?<=[;{}])', header_text(path)):
            found = prototype.search(statement)
            if found and 'HSMPOOL_API' not in statement and 'typedef' not in statement:
                yield f'{path.name}: {found[1]}'


def every_header_is_reached():
    """hsmpool.h includes every other public header."""
    everything = (ROOT / 'include/hsmpool/hsmpool.h').read_text()
    for path in HEADERS:
        if path.name != 'hsmpool.h' and f'<hsmpool/{path.name}>' not in everything:
            yield path.name


def every_function_is_described():
    """Every function is described in libhsmpool(3)."""
    words = set(re.findall(r'\bhsmpool_\w+', manual().replace('\\_', '_')))
    for name in sorted(set(declared()) - words):
        yield f'{name}: not in {MANUAL.name}'
    types = set(re.findall(r'\}\s*(hsmpool_\w+);|typedef struct \w+ (hsmpool_\w+);',
                           ''.join(map(header_text, HEADERS))))
    known = set(declared()) | {name for pair in types for name in pair} | {'hsmpool_deadline'}
    known |= set(re.findall(r'\(\*(hsmpool_\w+)\)', ''.join(map(header_text, HEADERS))))
    for name in sorted(words - known):
        yield f'{name}: in {MANUAL.name}, but in no header'


def every_constant_is_described():
    """Every status code, verdict and flag is described in libhsmpool(3)."""
    text = ''.join(map(header_text, HEADERS))
    names = {f'HSMPOOL_{name}' for name in re.findall(r'\bX\((\w+), \d+', text)}
    names |= set(re.findall(r'^\s*(HSMPOOL_[A-Z_0-9]+)\s*=', text, re.MULTILINE))
    described = set(re.findall(r'\bHSMPOOL_\w+', manual().replace('\\_', '_')))
    for name in sorted(names - described):
        yield f'{name}: not in {MANUAL.name}'


if __name__ == '__main__':
    tap.run([
        every_declared_function_is_exported,
        nothing_else_is_exported,
        every_function_is_marked,
        every_header_is_reached,
        every_function_is_described,
        every_constant_is_described,
    ])
