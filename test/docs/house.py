#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that no compiler knows, checked by reading the source."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import tap

ROOT = Path(os.environ.get('HSMPOOL_TEST_SOURCE', Path(__file__).parents[2]))
TOP_LEVEL = {'lib', 'include', 'tools', 'test', 'docs', 'meson.build', 'meson_options.txt',
             'README.md', 'LICENSE'}
FORBIDDEN = {
    'strcpy': 'memcpy with a checked size, or snprintf', 'strcat': 'snprintf',
    'sprintf': 'snprintf', 'vsprintf': 'vsnprintf', 'gets': 'fgets',
    'strtok': 'strchr, or strtok_r', 'atoi': 'strtol', 'atol': 'strtol', 'atoll': 'strtoll',
    'rand': 'the token or RAND_bytes', 'srand': 'the token or RAND_bytes',
    'random': 'the token or RAND_bytes', 'system': 'posix_spawn', 'popen': 'posix_spawn',
    'alloca': 'malloc',
}
# What a library must not do, though a command may: it may find itself in a set-user-id
# program, or among threads of others.
FORBIDDEN_IN_LIBRARY = {'getenv': 'secure_getenv', 'exit': 'a status', 'signal': 'nothing',
                        'strerror': 'strerror_r', 'localtime': 'localtime_r'}
# Tests compare what goes through us with bare calls; so does the benchmark.
CALLS_MODULES_ITSELF = ('lib/p11/', 'test/', 'docs/examples/', 'tools/cli/bench')


def sources(*folders, endings=('.c', '.h')):
    for folder in folders:
        yield from sorted(path for path in (ROOT / folder).rglob('*')
                          if path.suffix in endings and path.is_file())


def name_of(path):
    return str(path.relative_to(ROOT))


def code_lines(path):
    """(number, line) without comments and the insides of strings."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                         re.DOTALL)

    def blank(match):
        text = match[0]
        return '""' if text[0] == '"' else '\n' * text.count('\n') or ' '
    return enumerate(pattern.sub(blank, path.read_text()).split('\n'), 1)


def tracked_top_level():
    try:
        listed = subprocess.run(['git', '-C', ROOT, 'ls-files'], check=True, text=True,
                                capture_output=True).stdout.split('\n')
        return {name.split('/')[0] for name in listed if name}
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return {name for name in os.listdir(ROOT) if not name.startswith('build')}


def top_level_is_as_planned():
    """The top level holds what it shall, and nothing else."""
    found = {name for name in tracked_top_level() if not name.startswith('.')}
    for name in sorted(found - TOP_LEVEL):
        yield f'{name}: not part of the plan'
    for name in sorted(TOP_LEVEL - found):
        yield f'{name}: missing'


def rooms_use_only_rooms_below():
    """A room includes headers of rooms below it only."""
    lines = (ROOT / 'lib/meson.build').read_text()
    rooms = re.findall(r"^subdir\('(\w+)'\)", lines, re.MULTILINE)
    include = re.compile(r'^\s*#\s*include\s+"(\w+)/')
    for path in sources('lib'):
        room = path.relative_to(ROOT / 'lib').parts[0]
        for number, line in enumerate(path.read_text().split('\n'), 1):
            found = include.match(line)
            if not found:
                continue
            if found[1] not in rooms:
                yield f'{name_of(path)}:{number}: {found[1]} is no room of lib'
            elif rooms.index(found[1]) > rooms.index(room):
                yield f'{name_of(path)}:{number}: {room} lies below {found[1]}'


def public_headers_stand_alone():
    """Public headers include only public and standard headers."""
    allowed = re.compile(r'#\s*include\s+<(hsmpool/\w+\.h|std\w+\.h)>')
    for path in sources('include'):
        for number, line in code_lines(path):
            if '#' in line and 'include' in line and not allowed.search(line):
                yield f'{name_of(path)}:{number}: {line.strip()}'


def modules_are_called_from_p11_only():
    """Only lib/p11 calls through a vendor's function list."""
    call = re.compile(r'(->|\.)\s*(C_[A-Z]\w*)\s*\(')
    for path in sources('lib', 'tools', 'include'):
        if name_of(path).startswith(CALLS_MODULES_ITSELF):
            continue
        for number, line in code_lines(path):
            for found in call.finditer(line):
                yield f'{name_of(path)}:{number}: {found[2]}'


def calls_of(forbidden, *folders):
    call = re.compile(r'(?<![\w.>])(' + '|'.join(forbidden) + r')\s*\(')
    for path in sources(*folders):
        for number, line in code_lines(path):
            for found in call.finditer(line):
                yield f'{name_of(path)}:{number}: {found[1]}: use {forbidden[found[1]]}'


def forbidden_functions_are_not_used():
    """No function that invites accidents is called."""
    yield from calls_of(FORBIDDEN, 'lib', 'tools', 'include', 'docs')
    yield from calls_of(FORBIDDEN_IN_LIBRARY, 'lib')


def nothing_is_left_open():
    """No note of work to be done is left in a file."""
    marker = re.compile(r'\b(TO' r'DO|FIX' r'ME|X' r'XX|HA' r'CK)\b')
    texts = ('.c', '.h', '.py', '.sh', '.md', '.scd', '.build', '.map', '.ini', '')
    for path in sources('lib', 'include', 'tools', 'test', 'docs', endings=texts):
        for number, line in enumerate(path.read_text(errors='replace').split('\n'), 1):
            if marker.search(line):
                yield f'{name_of(path)}:{number}: {line.strip()}'


def readme_shows_every_document_and_every_room():
    """README leads to every document, and its tree has every folder of lib and test."""
    text = (ROOT / 'README.md').read_text()
    contents = (ROOT / 'docs/README.md').read_text()
    tree = text.partition('## The tree')[2].partition('\n## ')[0]
    for path in sources('docs', endings=('.md',)):
        if path.parent.name == 'docs' and path.name != 'README.md':
            if f'(docs/{path.name})' not in text:
                yield f'README.md: no link to docs/{path.name}'
            if f'({path.name})' not in contents:
                yield f'docs/README.md: no link to {path.name}'
    for folder in sorted([*ROOT.glob('lib/*/meson.build'), *ROOT.glob('test/*/meson.build')]):
        place, room = folder.parts[-3:-1]
        if not re.search(rf'lib/{room}\b' if place == 'lib' else rf'\b{room}\b', tree):
            yield f'README.md: no {place}/{room} in the tree'


def links_lead_somewhere():
    """Every link of the documents leads to a file that is there."""
    link = re.compile(r'\]\(([^)#:\s]+)(?:#[^)]*)?\)')
    for path in [ROOT / 'README.md', *sources('docs', endings=('.md',))]:
        for target in link.findall(path.read_text()):
            if not (path.parent / target).exists():
                yield f'{name_of(path)}: {target}'


def files_open_with_licence_and_charter():
    """Every source file opens with its licence and says what it is for."""
    for path in sources('lib', 'include', 'tools', 'test', 'docs'):
        lines = path.read_text().split('\n')
        if lines[0] != '/* SPDX-License-Identifier: Apache-2.0 */':
            yield f'{name_of(path)}: the first line is not the SPDX line'
        elif len(lines) < 3 or not lines[1].startswith('/*'):
            yield f'{name_of(path)}: no comment says what the file is for'


def every_source_file_is_built():
    """Every C file belongs to a target of the build."""
    info = Path(os.environ.get('HSMPOOL_TEST_BUILD', '')) / 'meson-info/intro-targets.json'
    if not info.exists():
        raise tap.Skip('no build to look at')
    built = {os.path.realpath(name)
             for target in json.loads(info.read_text())
             for group in target['target_sources'] for name in group.get('sources', ())}
    for path in sources('lib', 'tools', 'test', 'docs', endings=('.c',)):
        if os.path.realpath(path) not in built:
            yield f'{name_of(path)}: not built'


def every_package_has_its_reason():
    """What the two commands install is in docs/dependencies.md, with its reason."""
    script = (ROOT / 'tools/prepare.sh').read_text()
    cells = re.findall(r'^\| ([^|]+) \| \S', (ROOT / 'docs/dependencies.md').read_text(),
                       re.MULTILINE)
    explained = set(re.split(r'[\s,()]+', ' '.join(cells)))
    lists = re.findall(r'^(?:test_)?packages=\(([^)]*)\)', script, re.MULTILINE)
    for package in ' '.join(lists).split():
        if package not in explained:
            yield f'docs/dependencies.md: no {package}'
    if len(lists) != 2:
        yield 'tools/prepare.sh: not two lists of packages'


def differences_are_documented():
    """The differences that the random calls are allowed are those of docs/proxy.md."""
    source = (ROOT / 'test/proxy/differential/explained.c').read_text()
    titles = set(re.findall(r'^static const char \w+\[\] =\s+"(.*)";', source, re.MULTILINE))
    table = (ROOT / 'docs/proxy.md').read_text().split('| where |')[1].split('\n\n')[0]
    rows = set(re.findall(r'^\| (\w.*?) \|', table, re.MULTILINE))
    for title in titles ^ rows:
        yield f'{title}: not both in docs/proxy.md and in explained.c'
    if not titles:
        yield 'explained.c: no titles found'


def source_is_formatted():
    """The source is as clang-format 14 leaves it."""
    tool = shutil.which('clang-format-14') or shutil.which('clang-format')
    if not tool:
        raise tap.Skip('no clang-format')
    version = subprocess.run([tool, '--version'], capture_output=True, text=True, check=True)
    if not re.search(r'version 14\.', version.stdout):
        raise tap.Skip('clang-format is not version 14')
    files = list(sources('lib', 'include', 'tools', 'test', 'docs'))
    result = subprocess.run([tool, '--dry-run', '--Werror', *files], cwd=ROOT,
                            capture_output=True, text=True, check=False)
    seen = set()
    for line in result.stderr.split('\n'):
        found = re.match(r'(\S+?):\d+:\d+: error:', line)
        if found and found[1] not in seen:
            seen.add(found[1])
            yield f'{os.path.relpath(found[1], ROOT)}: run clang-format -i on it'


if __name__ == '__main__':
    tap.run([
        top_level_is_as_planned,
        rooms_use_only_rooms_below,
        public_headers_stand_alone,
        modules_are_called_from_p11_only,
        forbidden_functions_are_not_used,
        nothing_is_left_open,
        readme_shows_every_document_and_every_room,
        links_lead_somewhere,
        files_open_with_licence_and_charter,
        every_source_file_is_built,
        every_package_has_its_reason,
        differences_are_documented,
        source_is_formatted,
    ])
