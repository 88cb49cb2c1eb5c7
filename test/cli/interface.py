#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The command line's face: verbs, options, help, exit codes, manual and completion agree."""
import re
import subprocess

import ground
from ground import EXISTS, OK, USAGE, equal, expect

PLACE = ground.Place('interface')
MANUAL = (ground.SOURCE / 'docs/man/hsmpool-cli.1.scd').read_text()
COMPLETION = ground.SOURCE / 'tools/cli/hsmpool-cli.bash'


def verbs():
    """The verbs of `hsmpool-cli help`, without help itself."""
    text = PLACE.ok('help').out
    listed = re.search(r'Verbs:\n(.*?)\n\n', text, re.DOTALL)[1]
    names = [re.match(r'  ([a-z]+(?: [a-z]+)?) ', line)[1] for line in listed.split('\n')]
    return [name for name in names if name != 'help']


def options_of(help_text):
    return sorted(set(re.findall(r'^  (?:-\w, |    )--([a-z-]+)', help_text, re.MULTILINE)))


def global_options():
    return options_of(PLACE.ok('--help').out)


def own_options(verb):
    listed = PLACE.ok(*verb.split(), '--help').out.split('\nGlobal options:')[0]
    return options_of(listed)


def help_is_printed():
    """help, --help and -h print the same, on standard output."""
    equal(PLACE.ok('--help').out, PLACE.ok('help').out)
    equal(PLACE.ok('-h').out, PLACE.ok('help').out)
    equal(PLACE.run().code, USAGE, 'without arguments')


def every_verb_has_help():
    """Every verb prints its help, in lines that fit a terminal, without a configuration."""
    for verb in verbs():
        text = PLACE.ok(*verb.split(), '--help').out
        expect(text.startswith(f'Usage: hsmpool-cli {verb}'), text)
        equal(PLACE.ok('help', *verb.split()).out, text, verb)
        too_long = [line for line in text.splitlines() if len(line) > 90]
        equal(too_long, [], verb)


def unknown_words_are_told():
    """Unknown verbs, options and superfluous words are told, with where to look."""
    PLACE.fails(USAGE, "unknown verb 'nonsense'", 'nonsense')
    PLACE.fails(USAGE, 'show, export, import, destroy', 'key')
    PLACE.fails(USAGE, 'show, export, import, destroy', 'key', 'nonsense')
    PLACE.fails(USAGE, "'--nonsense'.*--help", '--nonsense', 'keys')
    for verb in verbs():
        words = verb.split()
        PLACE.fails(USAGE, f"{verb}: .*'--nonsense'.*{verb} --help", *words, '--nonsense')
        PLACE.fails(USAGE, f"{verb}: .*'-x'", *words, '-x')
        PLACE.fails(USAGE, f"{verb}: .*'(too|many|words)'", *words, 'too', 'many', 'words')
    PLACE.fails(USAGE, "missing after '--in'", 'encrypt', '--in')
    PLACE.fails(USAGE, '--timeout', '--timeout', '5', 'keys')


def global_options_stand_anywhere():
    """Global options stand before or after the verb."""
    equal(PLACE.ok('--json', 'version').json, PLACE.ok('version', '--json').json)


def version_is_the_projects():
    """version prints the project's version."""
    project = (ground.SOURCE / 'meson.build').read_text()
    version = re.search(r"version: '([^']+)'", project)[1]
    expect(PLACE.ok('version').out.startswith(f'hsmpool-cli {version} '), 'another version')
    equal(PLACE.ok('version', '--json').json['version'], version)
    equal(PLACE.ok('--version').out, PLACE.ok('version').out)


def status_map():
    header = (ground.SOURCE / 'include/hsmpool/status.h').read_text()
    rows = re.findall(r'X\((\w+), \d+, (\d+), "([^"]*)"\)', header)
    return {name.removeprefix('ERR_'): (int(code), text) for name, code, text in rows}


def exit_codes_are_those_of_the_header():
    """The exit codes are those of the status table, and the manual lists all of them."""
    codes = {name: code for name, (code, _) in status_map().items()}
    for name in ('OK', 'USAGE', 'DATA', 'KEY', 'DOWN', 'UNSUPPORTED', 'SYSTEM', 'TIMEOUT',
                 'EXISTS', 'AUTH', 'CONFIG'):
        equal(getattr(ground, name), codes[name], name)
    section = re.search(r'^# EXIT STATUS\n(.*?)^# ', MANUAL, re.MULTILINE | re.DOTALL)[1]
    for name, (code, text) in status_map().items():
        expect(re.search(rf'^\*{code}\*\n\t.*{re.escape(text)}', section, re.MULTILINE),
               f'{name}: {code} "{text}" is not in EXIT STATUS')


def manual_section(verb):
    """The manual's lines about a verb."""
    found = re.search(rf'^## {verb}\b.*?(?=^#)', MANUAL, re.MULTILINE | re.DOTALL)
    expect(found, f'{verb} has no section in the manual')
    return found[0].replace('\\', '')


def every_verb_and_option_is_in_the_manual():
    """The manual describes every verb with every option, and no other."""
    for verb in verbs():
        described = sorted(set(re.findall(r'(?<![\w-])--([a-z][a-z-]+)', manual_section(verb))))
        missing = [name for name in own_options(verb) if name not in described]
        equal(missing, [], f'{verb}: options missing in the manual')
        unknown = set(described) - set(own_options(verb)) - set(global_options())
        equal(sorted(unknown), [], f'{verb}: options that only the manual has')
    for name in global_options():
        expect(f'--{name}' in MANUAL, f'--{name} is not in the manual')
    described = re.findall(r'^## ([a-z]+(?: [a-z]+)?)$', MANUAL, re.MULTILINE)
    equal(sorted(described), sorted(verbs()), 'verbs')


def complete(*words):
    """What the completion offers after these words; the last is being typed."""
    script = ('source "$0"; COMP_WORDS=(hsmpool-cli "$@"); COMP_CWORD=$#; _hsmpool_cli; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(['bash', '-c', script, COMPLETION, *words], check=True, text=True,
                          capture_output=True, cwd=PLACE.path)
    return sorted(done.stdout.split())


def every_verb_is_completed():
    """The completion offers every verb, and the second words of groups."""
    first = {verb.split()[0] for verb in verbs()} | {'help'}
    equal(complete(''), sorted(first), 'verbs')
    for group in {verb.split()[0] for verb in verbs() if ' ' in verb}:
        equal(complete(group, ''), sorted(verb.split()[1] for verb in verbs()
                                          if verb.startswith(group + ' ')), group)


def every_option_is_completed():
    """The completion offers every option of every verb, and no other."""
    for verb in verbs():
        equal(complete(*verb.split(), '--'),
              sorted(f'--{name}' for name in {*own_options(verb), *global_options()}), verb)


def values_are_completed():
    """The completion offers the values of options, and file names."""
    PLACE.file('letter')
    equal(complete('encrypt', '--mode', ''), ['direct', 'envelope'])
    equal(complete('keygen', '--type', 'e'), ['ec', 'ed25519'])
    equal(complete('encrypt', '--in', 'let'), ['letter'])
    equal(complete('--config', 'x', 'key', 'e'), ['export'])


def no_pin_option():
    """No option takes a PIN or a key's bytes on the command line."""
    for verb in verbs():
        for name in own_options(verb):
            expect('pin' not in name and name not in ('secret', 'password'), f'{verb} --{name}')


def the_manuals_examples_work():
    """The commands of the manual's EXAMPLES work, in their order."""
    place = ground.Place('examples')
    section = re.search(r'^# EXAMPLES\n(.*?)^# ', MANUAL, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r'^\t?```\n(.*?)^\t?```', section, re.MULTILINE | re.DOTALL)
    script = '\n'.join(re.sub(r'(?m)^\t*\$ ', '', block) for block in blocks)
    expect(script.count('hsmpool-cli') > 8, 'few examples')
    place.file('report.pdf', b'a report')
    place.file('backup.tar', b'a backup')
    done = subprocess.run(['bash', '-euc', f'hsmpool-cli() {{ {ground.CLI} "$@"; }}\n' + script],
                          env=place.env, cwd=place.path, capture_output=True, text=True,
                          check=False, timeout=ground.TIME_LIMIT)
    equal((done.returncode, done.stderr), (OK, ''), 'script')
    place.fails(EXISTS, '', 'dev', 'init')


if __name__ == '__main__':
    ground.run([
        help_is_printed,
        every_verb_has_help,
        unknown_words_are_told,
        global_options_stand_anywhere,
        version_is_the_projects,
        exit_codes_are_those_of_the_header,
        every_verb_and_option_is_in_the_manual,
        every_verb_is_completed,
        every_option_is_completed,
        values_are_completed,
        no_pin_option,
        the_manuals_examples_work,
    ])
