# SPDX-License-Identifier: Apache-2.0
"""The Test Anything Protocol, for the checks that are written in Python.

A check is a function that yields one line per complaint; its first line of
documentation is its name in the report.
"""
import sys


class Skip(Exception):
    """Raised by a check that cannot be done here; says why."""


def run(checks):
    """Run every check; exit 1 if one complained."""
    failed = False
    print(f'1..{len(checks)}')
    for number, check in enumerate(checks, 1):
        name = check.__doc__.splitlines()[0].rstrip('.')
        try:
            complaints = list(check())
        except Skip as reason:
            print(f'ok {number} - {name} # SKIP {reason}')
            continue
        except Exception as error:  # whatever happened: the others shall still run
            complaints = f'{type(error).__name__}: {error}'.split('\n')
        print(f"{'not ok' if complaints else 'ok'} {number} - {name}", flush=True)
        for complaint in complaints:
            print(f'# {complaint}')
        failed = failed or bool(complaints)
    sys.exit(1 if failed else 0)
