#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The programs of docs/examples, run; what they make is checked by another library.

examples.py SIGN SERVER FILE
"""
import os
import re
import socket
import subprocess
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import ground
import tap

SIGN, SERVER, FILE = sys.argv[1:4]
CLIENTS = 32
REQUESTS = 640


def public_key():
    return serialization.load_pem_public_key(
        ground.cli('key', 'export', '--key', 'pkcs11:object=payments'))


def verify(key, signature, message):
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def sign_makes_a_good_signature():
    """sign makes a signature that another library accepts."""
    message = 'pay 10 to Alice'
    signature = ground.run(SIGN, 'pkcs11:object=payments', 'ecdsa-sha256', message)
    verify(public_key(), signature, message.encode())
    try:
        verify(public_key(), signature, b'pay 99 to Alice')
        yield 'the signature fits another message too'
    except InvalidSignature:
        pass


def sign_tells_what_is_wrong():
    """sign ends with the documented exit code when the key is not there."""
    done = subprocess.run([SIGN, 'pkcs11:object=nobody', 'ecdsa-sha256', 'x'], check=False,
                          env=ground.ENVIRONMENT, capture_output=True, text=True, timeout=60)
    if done.returncode != 67 or done.stdout or done.stderr.count('\n') != 1:
        yield f'exit code {done.returncode}, {done.stdout!r}, {done.stderr!r}'


def connect(connection, path):
    """A socket is in its folder a moment before anybody listens to it."""
    end_of_patience = time.monotonic() + 30
    while connection.connect_ex(path) != 0:
        if time.monotonic() > end_of_patience:
            raise TimeoutError(f'nobody listens at {path}')
        time.sleep(0.01)


def client(path, number, answers):
    """One connection: every answer to its requests, as (request, answer)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connect(connection, path)
        connection.settimeout(30)
        lines = connection.makefile('rw', encoding='ascii')
        for request in range(REQUESTS // CLIENTS):
            text = f'request {request} of client {number}'
            lines.write(text + '\n')
            lines.flush()
            answers.append((text, lines.readline().strip()))


def serve_under_load(path):
    """Start the server, load it, wait for its end: its report and all answers."""
    answers = []
    server = subprocess.Popen(
        [SERVER, 'pkcs11:object=payments', path, str(CLIENTS), str(REQUESTS)],
        env=ground.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not os.path.exists(path) and server.poll() is None:
            time.sleep(0.01)
        clients = [threading.Thread(target=client, args=(path, number, answers), daemon=True)
                   for number in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(60)
        report, _ = server.communicate(timeout=30)
    finally:
        server.kill()
    return server.returncode, report, answers


def server_answers_every_request():
    """server signs every request of many clients on a bounded number of sessions."""
    code, report, answers = serve_under_load(str(ground.PLACE / 'socket'))
    key = public_key()
    good = 0
    for request, answer in answers:
        try:
            verify(key, bytes.fromhex(answer), request.encode())
            good += 1
        except (ValueError, InvalidSignature):
            yield f'{request}: {answer}'
    if good != REQUESTS:
        yield f'{good} good answers, not {REQUESTS}'
    told = re.search(r'answered (\d+), sessions at most (\d+) of (\d+),.* timeouts (\d+)', report)
    if code != 0 or not told:
        yield f'exit code {code}: {report}'
    elif int(told[1]) != REQUESTS or not 1 <= int(told[2]) <= int(told[3]) or told[4] != '0':
        yield report


def file_is_encrypted_as_it_says():
    """file writes what another library decrypts with the same key."""
    secret = os.urandom(32)
    plain = os.urandom(1_000_003)
    (ground.PLACE / 'plain').write_bytes(plain)
    ground.cli('key', 'import', '--type', 'aes', '--label', 'files', '--format', 'hex',
               '--secret-file', ground.private('secret', secret.hex()))
    ground.run(FILE, 'files', ground.PLACE / 'plain', ground.PLACE / 'cipher')
    cipher = (ground.PLACE / 'cipher').read_bytes()
    if AESGCM(secret).decrypt(cipher[:12], cipher[12:], None) != plain:
        yield 'it decrypts to something else'


def file_leaves_nothing_behind_when_it_fails():
    """file leaves no output when the key is not there."""
    done = subprocess.run([FILE, 'nobody', ground.PLACE / 'softhsm2.conf', ground.PLACE / 'none'],
                          env=ground.ENVIRONMENT, capture_output=True, check=False, timeout=60)
    if done.returncode == 0 or (ground.PLACE / 'none').exists():
        yield f'exit code {done.returncode}, output exists: {(ground.PLACE / "none").exists()}'


if __name__ == '__main__':
    ground.cli('keygen', '--type', 'ec', '--label', 'payments')
    tap.run([
        sign_makes_a_good_signature,
        sign_tells_what_is_wrong,
        server_answers_every_request,
        file_is_encrypted_as_it_says,
        file_leaves_nothing_behind_when_it_fails,
    ])
