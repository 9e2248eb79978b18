"""An echo server of several processes: several.py KIND WORKERS. Says its pid and its port when all are up.

prefork    the parent listens, its children accept from its listener
reuseport  each child has a listener of its own on the port (SO_REUSEPORT)
passing    the parent accepts and hands each connection to one of its children in turn (SCM_RIGHTS)
twofold    one child listens on 127.0.0.1, another on 0.0.0.0 at the same port
restless   the parent serves alone, and forks WORKERS children, each of which has all that it has for a few milliseconds
late       the parent accepts so many by itself as WORKERS says, and then forks a child, which accepts all others
"""

import array
import errno
import os
import selectors
import signal
import socket
import sys
import time

kind, workers = sys.argv[1], int(sys.argv[2])


def listener(port=0, alone=True, at="127.0.0.1"):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not alone:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((at, port))
    return sock


class Echo:
    """Takes connections, echoes, and pauses accepting as long as it has no descriptor left."""

    def __init__(self, source, take):
        self.poll, self.source, self.take, self.paused = selectors.DefaultSelector(), source, take, False
        self.patience = None
        source.setblocking(False)
        self.poll.register(source, selectors.EVENT_READ)

    def serve(self, enough=lambda: False):
        while not enough():
            for key, _ in self.poll.select(self.patience):
                if key.fileobj is self.source:
                    self.accept()
                else:
                    self.answer(key.fileobj)

    def accept(self):
        try:
            peer = self.take(self.source)
        except OSError as error:
            if error.errno == errno.EMFILE:
                self.poll.unregister(self.source)
                self.paused = True
            return
        peer.setblocking(True)
        self.poll.register(peer, selectors.EVENT_READ)

    def answer(self, peer):
        try:
            data = peer.recv(65536)
            if data:
                return peer.sendall(data)
        except OSError:
            pass
        self.poll.unregister(peer)
        peer.close()
        if self.paused:
            self.poll.register(self.source, selectors.EVENT_READ)
            self.paused = False


def accepted(sock):
    return sock.accept()[0]


def handed_over(channel):
    _, extra, _, _ = channel.recvmsg(1, socket.CMSG_LEN(4))
    descriptor = array.array("i")
    for _, _, data in extra:
        descriptor.frombytes(data[:4])
    if not descriptor:
        raise BlockingIOError
    return socket.socket(fileno=descriptor[0])


ready, up = os.pipe()


def child(serve):
    if os.fork() == 0:
        os.close(ready)
        serve()
        os._exit(0)


def serve_at(sock):
    echo = Echo(sock, accepted)
    os.write(up, b".")
    os.close(up)
    echo.serve()


def await_children(port, count):
    for _ in range(count):
        os.read(ready, 1)
    print(os.getpid(), port, flush=True)


if kind == "prefork":
    shared = listener()
    shared.listen(1024)
    for _ in range(workers):
        child(lambda: serve_at(shared))
    await_children(shared.getsockname()[1], workers)
    signal.pause()
elif kind == "reuseport":
    first = listener(alone=False)
    port = first.getsockname()[1]

    def own():
        first.close()
        sock = listener(port, alone=False)
        sock.listen(1024)
        serve_at(sock)

    for _ in range(workers):
        child(own)
    for _ in range(workers):
        os.read(ready, 1)
    first.close()
    print(os.getpid(), port, flush=True)
    signal.pause()
elif kind == "passing":
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]

    def serve_from(channel):
        echo = Echo(channel, handed_over)
        os.write(up, b".")
        echo.serve()

    for _, far in pairs:
        child(lambda far=far: serve_from(far))
    shared = listener()
    shared.listen(1024)
    await_children(shared.getsockname()[1], workers)
    turn = 0
    while True:
        peer = shared.accept()[0]
        near = pairs[turn % workers][0]
        near.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [peer.fileno()]))])
        peer.close()
        turn += 1
elif kind == "twofold":
    first = listener(alone=False)
    port = first.getsockname()[1]

    def at(address):
        sock = listener(port, alone=False, at=address)
        sock.listen(1024)
        first.close()
        serve_at(sock)

    for address in ("127.0.0.1", "0.0.0.0"):
        child(lambda address=address: at(address))
    await_children(port, 2)
    first.close()
    signal.pause()
elif kind == "restless":
    shared = listener()
    shared.listen(1024)
    print(os.getpid(), shared.getsockname()[1], flush=True)
    own = Echo(shared, accepted)
    own.patience = 0.005
    left = workers
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def fork_one():
        global left
        left -= 1
        if left >= 0 and os.fork() == 0:
            time.sleep(0.01)
            os._exit(0)
        return False

    own.serve(enough=fork_one)
else:
    shared = listener()
    shared.listen(1024)
    print(os.getpid(), shared.getsockname()[1], flush=True)
    own = Echo(shared, accepted)
    own.serve(enough=lambda: len(own.poll.get_map()) > workers)
    own.poll.unregister(shared)
    if os.fork() == 0:
        for key in list(own.poll.get_map().values()):
            key.fileobj.close()
        Echo(shared, accepted).serve()
    while True:
        for key, _ in own.poll.select():
            own.answer(key.fileobj)
