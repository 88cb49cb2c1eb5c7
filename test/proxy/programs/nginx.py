#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""nginx: the master loads the key, workers are forked and sign with it."""
import tls
from ground import compare, end, equal, find, free_port, listens, needs, run, sides, wait_until

WORKERS, REQUESTS = 4, 96


def configuration(side, port, name):
    """nginx.conf; whatever nginx writes goes below the side's folder."""
    kept = ' '.join(f'env {name};' for name in ('OPENSSL_CONF', 'HSMPOOL_CONF', 'SOFTHSM2_CONF'))
    folders = ' '.join(f'{kind}_temp_path {side.path}/{kind};' for kind in
                       ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    return side.file('nginx.conf', f'''
daemon off;
user root;
pid {side.path}/nginx.pid;
error_log {side.path}/error.log info;
worker_processes {WORKERS};
{kept}
events {{ worker_connections 64; }}
http {{
	access_log off;
	{folders}
	server {{
		listen 127.0.0.1:{port} ssl;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_certificate {side.path}/{name}.crt;
		ssl_certificate_key "engine:pkcs11:{tls.key(name)}";
		location / {{ return 200 "served"; }}
	}}
}}
''')


def serve(name):
    def story(side):
        port = free_port()
        nginx = side.start(find('nginx'), '-p', side.path, '-e', side / 'error.log', '-c',
                           configuration(side, port, name), env=tls.engine(side))
        wait_until(lambda: listens(port), 'nginx')
        try:
            answers = tls.ask_often(side, port, name, REQUESTS)
        except OSError as error:
            told = (side / 'error.log').read_text()
            wrong = [line for line in told.splitlines() if '[notice]' not in line]
            raise AssertionError('\n'.join([str(error), *wrong[-10:]])) from None
        finally:
            end(nginx)
        return {answer.splitlines()[-1] for answer in answers}
    return story


def workers_serve(name):
    needs('nginx')
    equal(compare(serve(name), sides()), {b'served'})


def workers_serve_with_an_rsa_key():
    """Several workers shake hands with an RSA key."""
    workers_serve('rsa')


def workers_serve_with_an_ec_key():
    """Several workers shake hands with an EC key."""
    workers_serve('ec')


run([workers_serve_with_an_rsa_key, workers_serve_with_an_ec_key])
