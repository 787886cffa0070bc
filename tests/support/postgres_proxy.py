"""Stands between a client and Postgres, on Unix sockets, sees every statement, and decides what becomes of it.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import os
import re
import signal
import socket
import struct
import sys
import threading
from contextlib import contextmanager

QUERY, SYNC, COPY_DATA, COPY_DONE, PARSE, TERMINATE = b"Q", b"S", b"d", b"c", b"P", b"X"
READY, COPY_IN = b"Z", b"G"
SOCKET = ".s.PGSQL.5432"


class GoneError(Exception):
    """The other side has closed the connection, or is to be told nothing more."""


class Said:
    """One step of a client's conversation: a statement, a block of COPY data, or the end of it."""

    def __init__(self, session, kind, message, sql):
        self._session, self._kind, self._message = session, kind, message
        name = {COPY_DATA: " (data)", COPY_DONE: " (end)"}.get(kind, "")
        self.sql = " ".join(re.sub(rb"--.*", b"", sql).decode().split())
        self.label = f"Postgres {self.sql[:60]}{name}"

    def forward(self):
        """Let the server do it; the client is told what it answers when the fault is over."""
        try:
            self._session.server.sendall(self._message)
            if self._kind != COPY_DATA:
                self._session.await_answer()
        except OSError:
            raise GoneError from None

    def kill(self):
        """SIGKILL the client, which is told nothing."""
        # Its process id comes first. On a Mac: the socket's own level, LOCAL_PEERPID.
        level, option = (0, 2) if sys.platform == "darwin" else (socket.SOL_SOCKET, socket.SO_PEERCRED)
        os.kill(struct.unpack_from("i", self._session.client.getsockopt(level, option, 12))[0], signal.SIGKILL)
        raise GoneError

    def drop(self):
        """Close the connection instead of answering."""
        raise GoneError


class _Session:
    """One connection. A client waits for each answer, so one thread is enough for both directions."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(proxy.upstream)
        self.answer = []

    def serve(self):
        try:
            length = _receive(self.client, 4)
            self.server.sendall(length + _receive(self.client, int.from_bytes(length) - 4))
            self.await_answer()
            self._tell_answer()
            sql = b""
            while True:
                kind, message = _message(self.client)
                if kind in (QUERY, PARSE):
                    sql = message[5:].split(b"\0")[0 if kind == QUERY else 1]
                if kind in (QUERY, SYNC, COPY_DATA, COPY_DONE):
                    self._disturb(Said(self, kind, message, sql))
                    self._tell_answer()
                else:
                    self.server.sendall(message)
        except (GoneError, OSError):
            pass
        finally:
            self.server.close()
            self.client.close()

    def _disturb(self, said):
        try:
            self.proxy.fault(said)
        except GoneError:
            raise
        except Exception as error:
            self.proxy.mistakes.append(error)  # a fault that is wrong itself must not pass for one of the server's
            raise GoneError from error

    def await_answer(self):
        """Read what the server says until it waits for the client."""
        kind = b""
        try:
            while kind not in (READY, COPY_IN):
                kind, message = _message(self.server)
                self.answer.append(message)
        except (GoneError, OSError):
            self._tell_answer()
            raise

    def _tell_answer(self):
        self.client.sendall(b"".join(self.answer))
        self.answer.clear()


def _message(sender):
    kind, length = _receive(sender, 1), _receive(sender, 4)
    return kind, kind + length + _receive(sender, int.from_bytes(length) - 4)


def _receive(sender, size):
    parts = b""
    while len(parts) < size:
        part = sender.recv(size - len(parts))
        if not part:
            raise GoneError
        parts += part
    return parts


class PostgresProxy:
    """`host` is what a client connects to. `fault` is called with each Said, and forwards it unless told otherwise."""

    def __init__(self, upstream, folder):
        self.host = str(folder)
        self.upstream = f"{upstream}/{SOCKET}"
        self.fault = Said.forward
        self.mistakes = []


@contextmanager
def postgres_proxy(upstream, folder):
    """A proxy, in this folder, of the server whose socket is in the folder `upstream`."""
    proxy = PostgresProxy(upstream, folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{proxy.host}/{SOCKET}")
    listener.listen()

    def accept():
        while True:
            client, _ = listener.accept()
            if stopping.is_set():
                client.close()
                return
            threading.Thread(target=_Session(proxy, client).serve, daemon=True).start()

    stopping = threading.Event()
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield proxy
    finally:
        stopping.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(f"{proxy.host}/{SOCKET}")
        thread.join()
        listener.close()
