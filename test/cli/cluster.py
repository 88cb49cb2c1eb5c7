# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL cluster: made for one test program, gone with it.

It listens on a Unix socket in a folder that only its owner enters, never on TCP; the one
user has no password. The machine's own clusters, their services and users' ~/.psqlrc
and ~/.pgpass play no part. initdb refuses root, so for root it is run as another user.
"""
import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ground import TIME_LIMIT, expect, tap

USER = 'hsmpool'
# Nothing is worth keeping here, and little of the machine is needed.
SETTINGS = {'listen_addresses': '', 'fsync': 'off', 'full_page_writes': 'off',
            'synchronous_commit': 'off', 'autovacuum': 'off', 'max_connections': '20',
            'shared_buffers': '16MB', 'logging_collector': 'off'}


def programs():
    """The folder of PostgreSQL's programs: the newest of Debian's, else one in PATH."""
    versions = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'),
                      key=lambda path: [int(part) for part in path.parts[4].split('.')])
    found = versions[-1] if versions else shutil.which('initdb')
    if not found or not shutil.which('psql'):
        raise tap.Skip('PostgreSQL is not installed (Debian: postgresql)')
    return Path(found).parent


def unprivileged():
    """Whom PostgreSQL runs as, as options of subprocess: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in 'postgres', 'nobody':
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {'user': account.pw_uid, 'group': account.pw_gid, 'extra_groups': []}
    raise tap.Skip('no user that PostgreSQL could run as: it refuses root')


class Cluster:
    """Started by its first use; a behaviour that needs it is skipped where it cannot be."""

    def __init__(self):
        self.folder = self.server = None

    def start(self):
        if self.server:
            return
        self.programs = programs()
        self.owner = unprivileged()
        # Below /tmp and not below TMPDIR: the name of a socket has 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix='hsmpool-pg-', dir='/tmp'))
        atexit.register(self.stop)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if self.owner:
            os.chown(self.folder, self.owner['user'], self.owner['group'])
        self.run('initdb', '--no-sync', '--auth=trust', f'--username={USER}',
                 '--encoding=UTF8', '--locale=C.UTF-8', '--pgdata', self.folder / 'data')
        (self.folder / 'data/pg_hba.conf').write_text(f'local all {USER} trust\n')
        self.serve()

    def run(self, program, *arguments):
        """One of PostgreSQL's programs, as the owner."""
        done = subprocess.run([self.programs / program, *arguments], cwd=self.folder,
                              env=self.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=TIME_LIMIT,
                              check=False, **self.owner)
        expect(done.returncode == 0, f'{program}: {done.stdout}')

    def serve(self):
        settings = SETTINGS | {'unix_socket_directories': self.folder}
        words = [f'--{name}={value}' for name, value in settings.items()]
        # setpriv: should we be killed, the server does not outlive us.
        with open(self.folder / 'log', 'wb') as log:
            self.server = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'QUIT', self.programs / 'postgres',
                 '-D', self.folder / 'data', *words], cwd=self.folder,
                env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, **self.owner)
        end = time.monotonic() + TIME_LIMIT
        while not self.is_ready():
            expect(self.server.poll() is None and time.monotonic() < end,
                   (self.folder / 'log').read_text())
            time.sleep(0.02)

    def is_ready(self):
        return subprocess.run([self.programs / 'pg_isready', '-q', '-h', self.folder],
                              env=self.environment(), check=False).returncode == 0

    def stop(self):
        if self.server:
            self.server.send_signal(signal.SIGINT)  # a fast shutdown
            try:
                self.server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.server.send_signal(signal.SIGQUIT)
                self.server.wait()
        self.server = None
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, kept=None):
        """What a client needs, beside what is kept of other things; nothing of the
        caller's own PostgreSQL settings."""
        kept = {'PATH': os.environ['PATH'], 'HOME': str(self.folder)} | (kept or {})
        kept = {name: value for name, value in kept.items() if not name.startswith('PG')}
        return kept | {'LC_ALL': 'C.UTF-8', 'PGHOST': str(self.folder), 'PGUSER': USER,
                       'PGDATABASE': 'postgres', 'PGCLIENTENCODING': 'UTF8'}

    def query(self, sql):
        """The answer's rows as tuples of strings; a NULL is None."""
        done = subprocess.run(
            ['psql', '-X', '-q', '-A', '-t', '-F', '\x1f', '-R', '\x1e', '-P', 'null=\x1d',
             '-v', 'ON_ERROR_STOP=1', '-c', sql],
            env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=TIME_LIMIT, check=False)
        expect(done.returncode == 0, f'{sql}: {done.stderr.decode()}')
        text = done.stdout.decode().removesuffix('\n').removesuffix('\x1e')
        return [tuple(None if field == '\x1d' else field for field in row.split('\x1f'))
                for row in text.split('\x1e')] if text else []
