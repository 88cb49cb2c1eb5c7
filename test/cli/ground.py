# SPDX-License-Identifier: Apache-2.0
"""The ground of the command line's tests: private folders, one command, what came of it.

Every test program has a place of its own below a temporary folder; nothing of the
caller's home, configuration or SoftHSM2 store is read or written. A behaviour is a
function whose first line of documentation is the sentence that the report shows.
"""
import atexit
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / 'docs'))
import tap  # noqa: E402

SOURCE = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
BUILD = Path(os.environ['HSMPOOL_TEST_BUILD'])
CLI = BUILD / 'tools/cli/hsmpool-cli'
SOFTHSM = os.environ.get('HSMPOOL_TEST_SOFTHSM', '/usr/lib/softhsm/libsofthsm2.so')
IS_SANITIZED = '--sanitized' in sys.argv
TIME_LIMIT = 120

# Who starts the tests by nohup, or behind a script's back, has them ignored.
for number in signal.SIGINT, signal.SIGQUIT, signal.SIGHUP:
    signal.signal(number, signal.SIG_DFL)

ROOT = Path(tempfile.mkdtemp(prefix='hsmpool-cli-'))
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)

# Exit codes, by the names of the statuses; test/cli/interface.py compares them with the
# header.
OK, USAGE, DATA, KEY, DOWN, UNSUPPORTED, SYSTEM, TIMEOUT, EXISTS, AUTH, CONFIG, DENIED = (
    0, 64, 65, 67, 69, 70, 71, 72, 73, 77, 78, 81)


class Result:
    """What a command did."""

    def __init__(self, arguments, code, out, err):
        self.arguments = arguments
        self.code = code
        self.raw = out
        self.err = err.decode(errors='replace')

    @property
    def out(self):
        return self.raw.decode(errors='replace')

    @property
    def json(self):
        return json.loads(self.raw)

    def __str__(self):
        words = ' '.join(self.arguments)
        return f'hsmpool-cli {words}: exit code {self.code}, standard error: {self.err.strip()}'


class Place:
    """A home of its own."""

    def __init__(self, name):
        self.path = ROOT / name
        self.path.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(('HSMPOOL_', 'XDG_', 'SOFTHSM2_', 'MALLOC_PERTURB_'))}
        self.env = kept | {'HOME': str(self.path)}
        self.config = self.path / '.config/hsmpool/hsmpool.conf'
        self.pin = self.path / '.local/share/hsmpool/pin'

    def __truediv__(self, name):
        return self.path / name

    def run(self, *arguments, stdin=b'', env=None, timeout=TIME_LIMIT, **options):
        """Run hsmpool-cli in this place; whatever comes of it is the Result."""
        words = [str(word) for word in arguments]
        streams = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE} | options
        source = {'input': stdin} if isinstance(stdin, bytes) else {'stdin': stdin}
        done = subprocess.run([CLI, *words], env=self.env | (env or {}), cwd=self.path,
                              timeout=timeout, check=False, **source, **streams)
        return Result(words, done.returncode, done.stdout or b'', done.stderr or b'')

    def ok(self, *arguments, **options):
        """Run it; it must succeed and say nothing on standard error."""
        result = self.run(*arguments, **options)
        expect(result.code == OK and not result.err, result)
        return result

    def fails(self, code, pattern, *arguments, **options):
        """Run it; it must end with code and one line that matches the pattern."""
        result = self.run(*arguments, **options)
        expect(result.code == code, f'{result}; expected {code}')
        lines = result.err.splitlines()
        expect(len(lines) == 1, f'{result}; expected one line')
        expect(lines[0].startswith('hsmpool-cli: '), result)
        expect(re.search(pattern, lines[0]), f'{result}; expected {pattern}')
        return result

    def file(self, name, content=b''):
        """A file that only we may read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def names(self):
        """Every file and folder here, but those that dev init made, and state-dir."""
        return sorted(path.name for path in self.path.iterdir()
                      if path.name not in ('.config', '.local', 'state'))


def forgiving_environment():
    """SoftHSM2 2.6.1 leaks the point of an Ed25519 key at each C_SignInit. A leak in the
    module, and nothing else, is forgiven; to see that it is there the sanitizer must
    unwind the whole stack, which is too slow to do it everywhere."""
    if not IS_SANITIZED:
        return {}
    forgiven = ROOT / 'forgiven-leaks'
    forgiven.write_text('leak:libsofthsm2.so\n')
    mine = {'ASAN_OPTIONS': 'fast_unwind_on_malloc=0',
            'LSAN_OPTIONS': f'suppressions={forgiven}:print_suppressions=0'}
    return {name: ':'.join(filter(None, [os.environ.get(name), value]))
            for name, value in mine.items()}


def with_token(name):
    """A place with what `dev init` makes."""
    place = Place(name)
    place.ok('dev', 'init', '--module', SOFTHSM)
    return place


def with_mock(name, script='', **options):
    """A place whose configuration names the mock, and the file of its counters."""
    place = Place(name)
    place.file('pin', '1234')
    place.report = place / 'report'
    place.env['HSMPOOL_MOCK'] = ';'.join(filter(None, [script, f'report={place.report}']))
    lines = {'module': mock_module(), 'token': 'pkcs11:token=mock',
             'pin-source': f'file:{place.path}/pin', 'state-dir': f'{place.path}/state'}
    lines |= {key.replace('_', '-'): value for key, value in options.items()}
    place.config = place.file('hsmpool.conf', '[pool]\n' + ''.join(
        f'{key} = {value}\n' for key, value in lines.items() if value is not None))
    place.env['HSMPOOL_CONF'] = str(place.config)
    return place


def counters(place):
    """What the mock counted in the last run; what was opened must have been closed."""
    line = place.report.read_text().splitlines()[-1]
    counted = {name: int(value) for name, value in (word.split('=') for word in line.split())}
    equal(counted['closed'] + counted['killed'], counted['opened'], 'sessions')
    return counted


def mock_module():
    found = sorted(BUILD.glob('test/mock/*hsmpool-mock.so'))
    if not found:
        raise tap.Skip('the mock module is not built')
    return found[0]


def expect(condition, text):
    if not condition:
        raise AssertionError(str(text))


def equal(left, right, what='values'):
    expect(left == right, f'{what} differ: {str(left)[:200]} != {str(right)[:200]}')


def run(behaviours):
    """Report on each; a behaviour complains by raising."""
    def as_check(behaviour):
        @functools.wraps(behaviour)
        def check():
            behaviour()
            return ()
        return check
    tap.run([as_check(behaviour) for behaviour in behaviours])
