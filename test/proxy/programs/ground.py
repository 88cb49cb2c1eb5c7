# SPDX-License-Identifier: Apache-2.0
"""The ground of the tests with real programs: sides, and what a program did on each.

A side is a place below a temporary folder with a token of its own and the module that a
program is given there: SoftHSM2 itself, or hsmpool-pkcs11.so on two real sessions, once
for each way of logging in. The tokens are copies of one: serial numbers, keys and so most
output are the same to the byte. Nothing of the caller's home, configuration or SoftHSM2
store is read or written, nothing listens but on 127.0.0.1, and what was started is ended.

A story is a function that does something on a side and returns what came of it; the test
is that it comes to the same on every side.
"""
import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / 'docs'))
import tap  # noqa: E402

Skip = tap.Skip
BUILD = Path(os.environ['HSMPOOL_TEST_BUILD'])
PROXY = BUILD / 'lib/proxy/hsmpool-pkcs11.so'
SOFTHSM = os.environ.get('HSMPOOL_TEST_SOFTHSM', '/usr/lib/softhsm/libsofthsm2.so')
PIN, SO_PIN, TOKEN = 'user-1234', 'so-12345678', 'programs'
TIME_LIMIT = 60
# What the token holds: label of a pair, id, how openssl makes it.
KEYS = {'rsa': ('01', ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048']),
        'ec': ('02', ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'])}

ROOT = Path(tempfile.mkdtemp(prefix='hsmpool-programs-'))
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
started = []


@atexit.register
def end_what_was_started():
    for process in started:
        end(process)


def end(process):
    """End a program and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Result:
    """What a command did."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.raw, self.err = words, code, out, err

    @property
    def out(self):
        return self.raw.decode(errors='replace')

    def __str__(self):
        return (f'{" ".join(self.words)}: exit code {self.code}\n'
                f'{self.out.strip()[-2000:]}\n{self.err.strip()[-2000:]}')


class Side:
    """A place with a token, and the module through which programs see it."""

    def __init__(self, name, module=SOFTHSM, login=None):
        self.name = name
        self.module = str(module)
        # With automatic login no program need know the PIN.
        self.needs_pin = login != 'automatic'
        self.path = ROOT / f'{name}-{len(list(ROOT.iterdir()))}'
        shutil.copytree(template(), self.path)
        (self.path / 'softhsm2.conf').write_text(
            f'directories.tokendir = {self.path}/tokens\nlog.level = ERROR\n')
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(('HSMPOOL_', 'XDG_', 'SOFTHSM2_', 'MALLOC_PERTURB_',
                                        'SSH_', 'P11_KIT_', 'OPENSSL_', 'PKCS11_',
                                        'GNUTLS_', 'LD_PRELOAD'))}
        self.env = kept | {'HOME': str(self.path), 'LC_ALL': 'C',
                           'SOFTHSM2_CONF': f'{self.path}/softhsm2.conf',
                           'XDG_RUNTIME_DIR': str(self.path)}
        if login:
            self.configure(login)

    def configure(self, login):
        """hsmpool.conf: the token as everybody may see it, on two real sessions."""
        lines = ['[pool]', f'module = {SOFTHSM}', 'max-sessions = 2',
                 f'state-dir = {self.path}/state', f'log = file:{self.path}/hsmpool.log']
        if login == 'automatic':
            lines += [f'token = pkcs11:token={TOKEN}', f'pin-source = file:{self.path}/pin']
            self.file('pin', PIN)
        lines += ['[proxy]', f'login = {login}', '']
        self.env['HSMPOOL_CONF'] = str(self.file('hsmpool.conf', '\n'.join(lines)))

    def __truediv__(self, name):
        return self.path / name

    def file(self, name, content=''):
        """A file that only we may read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *words, stdin=b'', env=None, timeout=TIME_LIMIT):
        """Run a program here; whatever comes of it is the Result."""
        words = [str(word) for word in words]
        done = subprocess.run(words, env=self.env | (env or {}), cwd=self.path, check=False,
                              timeout=timeout, capture_output=True, input=stdin)
        return Result(words, done.returncode, done.stdout, done.stderr.decode(errors='replace'))

    def ok(self, *words, **options):
        """Run a program, which must succeed."""
        result = self.run(*words, **options)
        expect(result.code == 0, result)
        return result

    def start(self, *words, env=None):
        """Start a program; it ends with `end`, and with us at the latest."""
        log = open(self.path / f'{Path(str(words[0])).name}.log', 'ab')
        with log:
            process = subprocess.Popen([str(word) for word in words], cwd=self.path,
                                       env=self.env | (env or {}), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    def told(self, text):
        """Output, without what must differ between sides."""
        for found, shown in ((self.module, 'MODULE'), (str(self.path), 'PLACE')):
            text = text.replace(found, shown)
        return text

    def public_key(self, name):
        """The public part of a key of the token, as openssl wants it."""
        return self.path / f'{name}.pub'


@functools.lru_cache
def template():
    """A token that is copied for every side; made with SoftHSM2 alone."""
    needs('softhsm2-util', 'pkcs11-tool', 'openssl')
    if not Path(SOFTHSM).exists():
        raise Skip(f'there is no {SOFTHSM}')
    place = ROOT / 'template'
    (place / 'tokens').mkdir(parents=True, mode=0o700)
    conf = place / 'softhsm2.conf'
    conf.write_text(f'directories.tokendir = {place}/tokens\n')

    def do(*words):
        subprocess.run(words, check=True, cwd=place, capture_output=True, timeout=TIME_LIMIT,
                       env=os.environ | {'SOFTHSM2_CONF': str(conf), 'HOME': str(place)})
    do('softhsm2-util', '--module', SOFTHSM, '--init-token', '--free', '--label', TOKEN,
       '--so-pin', SO_PIN, '--pin', PIN)
    for name, (number, how) in KEYS.items():
        do('openssl', 'genpkey', '-algorithm', *how, '-out', f'{name}.key')
        do('openssl', 'pkey', '-in', f'{name}.key', '-pubout', '-out', f'{name}.pub')
        do('openssl', 'req', '-x509', '-new', '-key', f'{name}.key', '-days', '30', '-subj',
           f'/CN={name}.example', '-addext', 'subjectAltName=DNS:localhost', '-out',
           f'{name}.crt')
        do('openssl', 'x509', '-in', f'{name}.crt', '-outform', 'DER', '-out', f'{name}.der')
        do('softhsm2-util', '--module', SOFTHSM, '--token', TOKEN, '--pin', PIN, '--import',
           f'{name}.key', '--label', name, '--id', number)
        do('pkcs11-tool', '--module', SOFTHSM, '--login', '--pin', PIN, '--write-object',
           f'{name}.der', '--type', 'cert', '--label', name, '--id', number)
        (place / f'{name}.key').unlink()
    return place


def sides():
    """SoftHSM2 itself, and the ways through the proxy."""
    return [Side('direct'), Side('application', PROXY, 'application'),
            Side('automatic', PROXY, 'automatic')]


def compare(story, over):
    """The story must come to the same on all sides; returns what it came to."""
    first, *others = over
    expected = story(first)
    for side in others:
        try:
            equal(story(side), expected, f'what came of it ({side.name} and {first.name})')
        except AssertionError as complaint:
            raise AssertionError(f'{side.name}: {complaint}\n{log_of(side)}') from None
    return expected


def log_of(side):
    """The end of what hsmpool told the administrator."""
    path = side / 'hsmpool.log'
    return path.read_text()[-1500:] if path.exists() else ''


def needs(*programs):
    """Skip where they are not installed."""
    for program in programs:
        if not find(program):
            raise Skip(f'{program} is not installed')


def find(program):
    """Its path; also those that only root has in its PATH."""
    return shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')


def found_file(*patterns):
    """The first file that matches below /usr, or None."""
    for pattern in patterns:
        for path in sorted(Path('/usr').glob(pattern)):
            return path
    return None


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def wait_until(condition, what, seconds=15):
    """Wait for another program, whose readiness can only be asked for."""
    end_of_patience = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end_of_patience, f'no {what} within {seconds} s')
        time.sleep(0.02)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


def listens_at(path):
    """A socket is in its folder a moment before anybody listens to it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def expect(condition, text):
    if not condition:
        raise AssertionError(str(text))


def equal(left, right, what='values'):
    if left == right:
        return
    if isinstance(left, str) and isinstance(right, str):
        lines, others = left.splitlines(), right.splitlines()
        differing = [f'  {ours!r} instead of {theirs!r}'
                     for ours, theirs in zip(lines, others) if ours != theirs]
        tail = lines[len(others):] or others[len(lines):]
        raise AssertionError('\n'.join([f'{what} differ:', *differing[:10],
                                        *(f'  only one has {line!r}' for line in tail[:10])]))
    if isinstance(left, (list, tuple)) and len(left) == len(right):
        for ours, theirs in zip(left, right):
            equal(ours, theirs, what)
    raise AssertionError(f'{what} differ: {str(left)[:600]} instead of {str(right)[:600]}')


def without(pattern, text):
    """The text without the lines in which the pattern is found."""
    return ''.join(line for line in text.splitlines(True) if not re.search(pattern, line))


def run(behaviours):
    """Report on each; a behaviour complains by raising."""
    def as_check(behaviour):
        @functools.wraps(behaviour)
        def check():
            behaviour()
            return ()
        return check
    tap.run([as_check(behaviour) for behaviour in behaviours])
