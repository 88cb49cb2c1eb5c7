#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Java's SunPKCS11: one session for each operation that is half done."""
from pathlib import Path

from ground import PIN, Skip, compare, expect, needs, run, sides

PROGRAM = Path(__file__).with_name('SunPkcs11.java')


def what_java_does_comes_to_the_same():
    """A key store is listed; 300 operations at a time sign, digest and decrypt."""
    needs('java')

    def story(side):
        side.file('java.cfg', f'name = mine\nlibrary = {side.module}\nslotListIndex = 0\n')
        done = side.run('java', '-XX:TieredStopAtLevel=1', '-Xshare:auto', PROGRAM, 'java.cfg',
                        PIN if side.needs_pin else '-')
        if 'jdk.compiler' in done.err:
            raise Skip('there is java, but no compiler')
        expect(done.code == 0, done)
        return done.out
    told = compare(story, sides())
    for line in ('rsa interleaved 300', 'ec in threads 300', 'decrypted a part'):
        expect(line in told, told)


run([what_java_does_comes_to_the_same])
