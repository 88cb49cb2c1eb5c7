# SPDX-License-Identifier: Apache-2.0
"""OpenSSL's pkcs11 engine, and clients of TLS servers whose key is in the token."""
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

from ground import PIN, TOKEN, Skip, found_file, needs

CLIENTS = 16


def key(name):
    return f'pkcs11:token={TOKEN};object={name};type=private'


def engine(side):
    """The environment in which openssl has the engine with the side's module."""
    needs('openssl')
    if not found_file('lib/*/engines-3/pkcs11.so', 'lib*/engines-3/pkcs11.so'):
        raise Skip('libengine-pkcs11-openssl is not installed')
    pin = f'PIN = {PIN}\n' if side.needs_pin else ''
    path = side.file('openssl.cnf', f'''openssl_conf = start
[start]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = {side.module}
{pin}init = 1
[req]
distinguished_name = name
[name]
''')
    return {'OPENSSL_CONF': str(path)}


def ask(side, port, name, version):
    """One handshake and one request; what was answered."""
    context = ssl.create_default_context(cafile=str(side / f'{name}.crt'))
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(('127.0.0.1', port), timeout=20) as plain, \
            context.wrap_socket(plain, server_hostname='localhost') as secured:
        secured.sendall(b'GET / HTTP/1.0\r\n\r\n')
        with secured.makefile('rb') as answer:
            return answer.read()


def ask_often(side, port, name, times):
    """Many handshakes, CLIENTS at a time, of two versions of TLS."""
    versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(lambda i: ask(side, port, name, versions[i % 2]),
                                range(times)))
