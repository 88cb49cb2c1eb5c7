#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The program of README, built against what `meson install` puts in place.

install.py CC...
"""
import os
import shutil
import subprocess
import sys

import ground
import tap

CC = sys.argv[1:] or ['cc']
STAGE = ground.PLACE / 'stage'
PROGRAM = ground.PLACE / 'program'


def installed(pattern):
    return sorted(STAGE.rglob(pattern))


def pkg_config(*arguments):
    where = installed('hsmpool.pc')[0].parent
    env = os.environ | {'PKG_CONFIG_PATH': str(where), 'PKG_CONFIG_SYSROOT_DIR': str(STAGE)}
    return ground.run('pkg-config', *arguments, 'hsmpool', env=env).decode().split()


def everything_is_installed():
    """meson install puts library, headers, command, manual in place."""
    ground.run('meson', 'install', '-C', ground.BUILD, '--no-rebuild', '--quiet',
               '--destdir', STAGE, env=os.environ)
    wanted = ['libhsmpool.so', 'libhsmpool.so.0', 'hsmpool.pc', 'bin/hsmpool-cli',
              'monitoring/alerts.yml', 'monitoring/dashboard.json']
    wanted += [f'include/hsmpool/{path.name}'
               for path in (ground.SOURCE / 'include/hsmpool').glob('*.h')]
    if shutil.which('scdoc'):
        wanted += ['man1/hsmpool-cli.1', 'man5/hsmpool.conf.5', 'man3/libhsmpool.3']
    for name in wanted:
        if not installed(name):
            yield f'{name}: not installed'


def program_of_readme_is_built():
    """The program of README is built against the installed library by pkg-config."""
    source = ground.private('program.c', ground.readme_block('c'))
    done = subprocess.run([*CC, '-std=c11', '-Wall', '-Wextra', '-Werror', source, '-o', PROGRAM,
                           *pkg_config('--cflags', '--libs')],
                          capture_output=True, text=True, check=False)
    yield from done.stderr.splitlines()


def program_of_readme_is_linked_to_the_shared_library():
    """It needs libhsmpool.so.0 and brings no copy of it."""
    needed = ground.run('objdump', '-p', PROGRAM).decode()
    if 'NEEDED               libhsmpool.so.0' not in needed:
        yield needed


def program_of_readme_signs():
    """It signs with the configuration of README, and the signature is good."""
    ground.cli('keygen', '--type', 'ec', '--label', 'payments')
    library = installed('libhsmpool.so')[0].parent
    signature = ground.run(PROGRAM, env=ground.ENVIRONMENT | {'LD_LIBRARY_PATH': str(library)})
    (ground.PLACE / 'signature').write_bytes(signature)
    ground.private('message', 'hello')
    ground.run(installed('bin/hsmpool-cli')[0], 'verify', '--key', 'pkcs11:object=payments',
               '--scheme', 'ecdsa-sha256', '--in', ground.PLACE / 'message',
               '--signature', ground.PLACE / 'signature')
    yield from ()


def nothing_else_is_needed_to_build_with_it():
    """pkg-config answers where what the library itself was built with is not installed."""
    env = os.environ | {'PKG_CONFIG_LIBDIR': str(installed('hsmpool.pc')[0].parent)}
    env.pop('PKG_CONFIG_PATH', None)
    told = ground.run('pkg-config', '--cflags', '--libs', 'hsmpool', env=env).decode().split()
    if [word for word in told if word.startswith('-l')] != ['-lhsmpool']:
        yield ' '.join(told)


if __name__ == '__main__':
    tap.run([
        everything_is_installed,
        program_of_readme_is_built,
        program_of_readme_is_linked_to_the_shared_library,
        program_of_readme_signs,
        nothing_else_is_needed_to_build_with_it,
    ])
