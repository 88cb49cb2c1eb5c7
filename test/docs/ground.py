# SPDX-License-Identifier: Apache-2.0
"""A private place with a SoftHSM2 token, set up as README tells a newcomer to.

The configuration and the program are taken from README.md, so that what stands there
is what works.
"""
import atexit
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
BUILD = Path(os.environ['HSMPOOL_TEST_BUILD'])
SOFTHSM = os.environ['HSMPOOL_TEST_SOFTHSM']
CLI = BUILD / 'tools/cli/hsmpool-cli'
PIN = '2468-abcd'
TOKEN = 'payments'

PLACE = Path(tempfile.mkdtemp(prefix='hsmpool-docs-'))
atexit.register(shutil.rmtree, PLACE, ignore_errors=True)


def readme_block(language):
    """The first block of that language in README.md."""
    text = (SOURCE / 'README.md').read_text(encoding='utf-8')
    return re.search(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)[1]


def private(name, text):
    """A file that only we may read."""
    path = PLACE / name
    path.touch(mode=0o600)
    path.write_text(text, encoding='utf-8')
    return path


def run(*command, env=None, **options):
    """Run to its end, within a minute; fail with what it said on standard error."""
    done = subprocess.run([str(word) for word in command], env=env or ENVIRONMENT, check=False,
                          stdin=options.pop('stdin', subprocess.DEVNULL), timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode != 0:
        said = done.stderr.decode(errors='replace').strip()
        raise AssertionError(f'{Path(str(command[0])).name}: exit code {done.returncode}: {said}')
    return done.stdout


def cli(*arguments):
    return run(CLI, *arguments)


def make_token():
    (PLACE / 'tokens').mkdir(mode=0o700)
    private('softhsm2.conf', f'directories.tokendir = {PLACE}/tokens\nlog.level = ERROR\n')
    private('pin', PIN + '\n')
    configuration = readme_block('ini')
    configuration = re.sub(r'(?m)^(module\s*=\s*)\S+', rf'\g<1>{SOFTHSM}', configuration)
    configuration = configuration.replace('file:/etc/hsmpool/pin', f'file:{PLACE}/pin\n'
                                          # root's default is the machine's own folder
                                          f'state-dir = {PLACE}/state')
    private('hsmpool.conf', configuration)
    run('softhsm2-util', '--module', SOFTHSM, '--init-token', '--free', '--label', TOKEN,
        '--so-pin', 'so-' + PIN, '--pin', PIN)


ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith(('HSMPOOL_CONF', 'HSMPOOL_DEBUG', 'XDG_', 'MALLOC_PERTURB_'))}
ENVIRONMENT |= {'SOFTHSM2_CONF': f'{PLACE}/softhsm2.conf', 'HOME': str(PLACE),
                'HSMPOOL_CONF': f'{PLACE}/hsmpool.conf', 'XDG_STATE_HOME': f'{PLACE}/state'}
make_token()
