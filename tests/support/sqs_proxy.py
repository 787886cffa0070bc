"""Stands between a client and an SQS server, sees every call, and decides what becomes of it."""

import json
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import psutil

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}


class GoneError(Exception):
    """This call gets no answer."""


class Call:
    """One call of a client: `operation`, its `request` and, once forwarded, its `answer`, as dictionaries."""

    def __init__(self, handler, upstream):
        self._handler, self._upstream = handler, upstream
        self.operation = handler.headers["X-Amz-Target"].split(".")[1]
        body = handler.rfile.read(length := int(handler.headers["Content-Length"]))
        if len(body) < length:
            raise GoneError  # the client was killed while it said this
        self.request = json.loads(body)
        self.label = f"SQS {self.operation}"
        self.answer = None

    def forward(self):
        """Let the server do it, and give the client its answer."""
        connection = HTTPConnection(self._upstream, timeout=60)
        body = json.dumps(self.request).encode()
        headers = {**self._handler.headers, "Content-Length": str(len(body))}
        connection.request("POST", self._handler.path, body, headers)
        reply = connection.getresponse()
        self.reply(json.loads(reply.read() or "{}"), reply.status)
        connection.close()
        if self.operation == "ReceiveMessage":
            self._handler.server.proxy.received += self.answer.get("Messages", [])

    def reply(self, answer, status=200):
        """Give the client this answer: a dictionary, or text that is no answer of SQS's."""
        self.answer, self.status = answer, status

    def refuse(self, code, status=400):
        """Answer with an error, as SQS does."""
        self.reply({"__type": f"com.amazonaws.sqs#{code}", "message": f"made up: {code}"}, status)

    def reset(self):
        """Break the connection off instead of answering."""
        linger = struct.pack("ii", 1, 0)
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise GoneError

    def kill(self):
        """SIGKILL the client, which gets no answer."""
        port, own = self._handler.client_address[1], self._handler.server.server_port
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                for connection in process.net_connections("tcp4"):
                    if connection.raddr and (connection.laddr.port, connection.raddr.port) == (port, own):
                        process.kill()
                        raise GoneError
        raise LookupError("the client of this call was not found")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        proxy = self.server.proxy
        try:
            with proxy.in_progress():
                call = Call(self, proxy.upstream)
                proxy.fault(call)
        except GoneError:
            self.close_connection = True
            return
        except Exception as error:
            proxy.mistakes.append(error)  # a fault that is wrong itself must not pass for one of the server's
            raise
        content = (call.answer if isinstance(call.answer, str) else json.dumps(call.answer)).encode()
        self.send_response(call.status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that is gone is what this is for."""


class SqsProxy:
    """`endpoint` is its URL. `fault` is called with each Call, and forwards it unless told otherwise."""

    def __init__(self, upstream, server):
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        self.fault = Call.forward
        self.mistakes = []
        self.received = []  # the messages that the server gave, whatever became of its answer
        self._calls, self._changed = 0, threading.Condition()

    @contextmanager
    def in_progress(self):
        """Around what is done about a call."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def handles(self):
        """The receipt handles of all received messages, once the server has done what dead clients asked for last."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._calls, 60)
            return [message["ReceiptHandle"] for message in self.received]


@contextmanager
def sqs_proxy(upstream):
    """A proxy of the server at this URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.proxy = SqsProxy(upstream, server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
