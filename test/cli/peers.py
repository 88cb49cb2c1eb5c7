# SPDX-License-Identifier: Apache-2.0
"""Processes that use hsmpool, played: their control sockets, and what they say there.

A folder stands in for the runtime directory, so that no process but ours is seen (the
tests pick out their own all the same: root sees everybody's). A speaker is a thread
that answers every connection to one socket in one way.
"""
import socket
import subprocess
import threading

import ground

METRICS = '''\
# HELP hsmpool_waiters Threads waiting for a session.
# TYPE hsmpool_waiters gauge
hsmpool_waiters{{pool="{pool}",token="t"}} {waiters}
# HELP hsmpool_borrow Requests for a session, by how they ended.
# TYPE hsmpool_borrow counter
hsmpool_borrow_total{{pool="{pool}",token="t",result="direct"}} 5
# HELP hsmpool_op_seconds How long uses took.
# TYPE hsmpool_op_seconds histogram
# UNIT hsmpool_op_seconds seconds
hsmpool_op_seconds_bucket{{pool="{pool}",token="t",op="C_Sign",le="0.001"}} 3
hsmpool_op_seconds_bucket{{pool="{pool}",token="t",op="C_Sign",le="+Inf"}} 5
hsmpool_op_seconds_sum{{pool="{pool}",token="t",op="C_Sign"}} 0.25
hsmpool_op_seconds_count{{pool="{pool}",token="t",op="C_Sign"}} 5
# HELP hsmpool_build The release.
# TYPE hsmpool_build info
hsmpool_build_info{{version="1.2"}} 1
# EOF
'''


def metrics(pool='default', waiters=0):
    return METRICS.format(pool=pool, waiters=waiters)


class Speaker:
    """A process (a sleep, unless its number is given) with a socket; answer is what it
    says to every request, or a function that says it for the n-th one, from 0 on. None:
    nothing, and it keeps the connection."""

    def __init__(self, place, answer, pid=None, copy=1):
        self.answer = answer
        self.requests = []
        self.held = []
        self.process = None
        if pid is None:
            self.process = subprocess.Popen(['sleep', '1000'])
            pid = self.process.pid
        self.pid = pid
        folder = runtime(place)
        self.path = folder / (f'{pid}.sock' if copy == 1 else f'{pid}-{copy}.sock')
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(0o600)
        self.listener.listen(16)
        threading.Thread(target=self.speak, daemon=True).start()

    def speak(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.requests.append(connection.makefile().readline().strip())
            if self.answer is None:
                self.held.append(connection)
                continue
            answer = self.answer
            if callable(answer):
                answer = answer(len(self.requests) - 1)
            try:
                connection.sendall(answer.encode())
            except OSError:
                pass
            connection.close()

    def end(self):
        """The process goes; what listened there listens no more."""
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        if self.process:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def runtime(place):
    """The folder of control sockets of this place."""
    folder = place / 'run/hsmpool'
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def place_of_processes(name):
    """A place whose commands see the sockets of its own runtime directory."""
    return with_runtime(ground.Place(name))


def with_runtime(place):
    """The place, with a runtime directory of its own."""
    runtime(place)
    (place / 'run').chmod(0o700)
    place.env['XDG_RUNTIME_DIR'] = str(place / 'run')
    return place
