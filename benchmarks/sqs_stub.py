"""A stand-in for SQS that costs so little that the client is what a benchmark measures.

One standard queue, kept in memory, that answers the calls of SQS's JSON protocol which a drain makes.
Visibility timeouts, receive counts, receipt handles and long polls are as in SQS; each answer can be
delayed, as a round trip to AWS is. Bodies repeat after POOL messages, message ids never do. It closes the
connection on a call that it does not know. A process of its own, on 127.0.0.1, that ends with the process
that started it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import heapq
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import httptools
import uvloop

from sandbox.events import sample_events

POOL = 20_000
SPREAD = 86_400_000  # the messages were sent within the last day, in milliseconds
RETRY = 0.05  # how often a long poll looks again, in seconds
MESSAGE = '{"MessageId":"%s","ReceiptHandle":"%s","MD5OfBody":"%s","Body":%s%s}'
ATTRIBUTES = ',"Attributes":{"SentTimestamp":"%d","ApproximateReceiveCount":"%d"}'


Reply = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Stub:
    """A running stand-in, as seen by the process that started it."""

    endpoint: str

    @property
    def queue_url(self) -> str:
        """The URL of the queue."""
        return f"{self.endpoint}/123456789012/login-queue"

    def load(self, messages: int, *, delay: float = 0, large: int = 0, body: str = "") -> None:
        """Forget everything, and hold so many new messages, and `large` ones behind them that all have one body.

        Each answer comes `delay` seconds later.
        """
        self._control("Load", messages=messages, delay=delay, large=large, body=body)

    def show_again(self) -> None:
        """End all visibility timeouts: what was received, and not deleted, can be received again."""
        self._control("ShowAgain")

    def state(self) -> dict[str, Any]:
        """`visible` and `hidden` messages, `calls` by operation since `load`, and the process's `cpu` seconds."""
        return self._control("State")

    def _control(self, operation: str, **values: float | str) -> dict[str, Any]:
        request = urllib.request.Request(
            self.endpoint, json.dumps(values).encode(), {"X-Amz-Target": f"Stub.{operation}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            state: dict[str, Any] = json.load(answer)
            return state


@contextmanager
def sqs_stub() -> Iterator[Stub]:
    """Start the stand-in on a free port, and end it."""
    command = [sys.executable, "-m", "benchmarks.sqs_stub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not (port := process.stdout.readline().strip()):
            raise RuntimeError("the stand-in for SQS does not start")
        yield Stub(f"http://127.0.0.1:{int(port)}")
        process.communicate()  # closes its standard input, which ends it


class Queue:
    """The messages: each is a number, from which all that SQS says of it is derived when it is received."""

    def __init__(self) -> None:
        bodies = list(sample_events(POOL, seed=1))
        self.bodies = [(hashlib.md5(body.encode()).hexdigest(), json.dumps(body)) for body in bodies]
        self.load(0, 0, "")

    def load(self, messages: int, large: int, body: str) -> None:
        """Hold `messages` new ones, `large` ones of one body behind them, and nothing else."""
        self.small = messages
        self.large = (hashlib.md5(body.encode()).hexdigest(), json.dumps(body, ensure_ascii=False))
        self.salt = os.urandom(32)
        self.handle = base64.b64encode(os.urandom(240)).decode()  # as long as those of SQS
        self.newest_sent_at = int(time.time() * 1000)
        self.total, self.fresh = messages + large, 0  # numbers from `fresh` on were never received
        self.again: deque[int] = deque()  # were received, and can be again
        self.receives: dict[int, int] = {}  # of each message that was received and is not deleted
        self.hidden: set[int] = set()
        self.timeouts: list[tuple[float, list[tuple[int, int]]]] = []  # a heap; holds number and receive count

    def visible(self) -> int:
        """How many can be received now."""
        return self.total - self.fresh + len(self.again)

    def show_again(self, now: float) -> None:
        """Make what was hidden until `now` visible, unless it is deleted or was received again meanwhile."""
        while self.timeouts and self.timeouts[0][0] <= now:
            for number, receives in heapq.heappop(self.timeouts)[1]:
                if number in self.hidden and self.receives[number] == receives:
                    self.hidden.remove(number)
                    self.again.append(number)

    def receive(self, count: int, visibility: float, *, attributes: bool) -> list[str]:
        """At most `count` messages as JSON, hidden from now on for `visibility` seconds."""
        now = time.monotonic()
        self.show_again(now)
        numbers = [self.again.popleft() for _ in range(min(count, len(self.again)))]
        stop = min(self.total, self.fresh + count - len(numbers))
        numbers += range(self.fresh, stop)
        self.fresh = stop
        if not numbers:
            return []
        for number in numbers:
            self.receives[number] = self.receives.get(number, 0) + 1
        self.hidden.update(numbers)
        heapq.heappush(self.timeouts, (now + visibility, [(number, self.receives[number]) for number in numbers]))
        return [self._message(number, attributes=attributes) for number in numbers]

    def _message(self, number: int, *, attributes: bool) -> str:
        digest = hashlib.blake2b(number.to_bytes(8, "big"), key=self.salt, digest_size=16).hexdigest()
        message_id = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"
        receives = self.receives[number]
        md5, body = self.bodies[number % POOL] if number < self.small else self.large
        told = ATTRIBUTES % (self.newest_sent_at - number * 7919 % SPREAD, receives) if attributes else ""
        return MESSAGE % (message_id, f"{self.handle}{number:012}{receives:04}", md5, body, told)

    def delete(self, handle: str) -> bool:
        """Whether the handle is valid. One that is not the message's latest deletes nothing, as in SQS."""
        if not handle.startswith(self.handle):
            return False
        number, receives = int(handle[-16:-4]), int(handle[-4:])
        if self.receives.get(number) == receives:
            del self.receives[number]
            if number in self.hidden:
                self.hidden.remove(number)
            else:
                self.again.remove(number)
        return True


class Server:
    """Answers the calls: each operation gets the request's JSON, and a function that takes the answer's."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.delay = 0.0
        self.calls: Counter[str] = Counter()
        self.loop = asyncio.get_running_loop()
        self.operations = {
            b"AmazonSQS.GetQueueAttributes": self.get_queue_attributes,
            b"AmazonSQS.ReceiveMessage": self.receive_message,
            b"AmazonSQS.DeleteMessage": self.delete_message,
            b"AmazonSQS.DeleteMessageBatch": self.delete_message_batch,
            b"Stub.Load": self.load,
            b"Stub.ShowAgain": self.show_again,
            b"Stub.State": self.state,
        }

    def handle(self, target: bytes, body: bytes, reply: Reply) -> None:
        """Do what the call says now; reply after the delay, to control calls at once."""

        def reply_late(text: str) -> None:
            self.loop.call_later(self.delay, reply, text)

        service, _, operation = target.partition(b".")
        if service == b"AmazonSQS":
            self.calls[operation.decode()] += 1
        late = self.delay and service == b"AmazonSQS"
        self.operations[target](json.loads(body), reply_late if late else reply)

    def get_queue_attributes(self, request: dict[str, Any], reply: Reply) -> None:
        self.queue.show_again(time.monotonic())
        attributes = {
            "ApproximateNumberOfMessages": str(self.queue.visible()),
            "ApproximateNumberOfMessagesNotVisible": str(len(self.queue.hidden)),
            "VisibilityTimeout": "30",
        }
        asked = attributes if "All" in request["AttributeNames"] else request["AttributeNames"]
        reply(json.dumps({"Attributes": {name: attributes[name] for name in asked}}))

    def receive_message(self, request: dict[str, Any], reply: Reply) -> None:
        deadline = self.loop.time() + request.get("WaitTimeSeconds", 0)
        self._receive(request, reply, deadline)

    def _receive(self, request: dict[str, Any], reply: Reply, deadline: float) -> None:
        messages = self.queue.receive(
            request.get("MaxNumberOfMessages", 1),
            request.get("VisibilityTimeout", 30),
            attributes="MessageSystemAttributeNames" in request,
        )
        if messages:
            reply(f'{{"Messages":[{",".join(messages)}]}}')
        elif (left := deadline - self.loop.time()) > 0:
            self.loop.call_later(min(left, RETRY), self._receive, request, reply, deadline)
        else:
            reply("{}")

    def delete_message(self, request: dict[str, Any], reply: Reply) -> None:
        if not self.queue.delete(request["ReceiptHandle"]):
            raise ValueError("not a receipt handle")
        reply("{}")

    def delete_message_batch(self, request: dict[str, Any], reply: Reply) -> None:
        answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            if self.queue.delete(entry["ReceiptHandle"]):
                answer["Successful"].append({"Id": entry["Id"]})
            else:
                failure = {"SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "not a receipt handle"}
                answer["Failed"].append({"Id": entry["Id"], **failure})
        reply(json.dumps(answer))

    def load(self, request: dict[str, Any], reply: Reply) -> None:
        self.queue.load(request["messages"], request["large"], request["body"])
        self.delay = request["delay"]
        self.calls.clear()
        reply("{}")

    def show_again(self, _: dict[str, Any], reply: Reply) -> None:
        self.queue.show_again(float("inf"))
        reply("{}")

    def state(self, _: dict[str, Any], reply: Reply) -> None:
        self.queue.show_again(time.monotonic())
        visible, hidden = self.queue.visible(), len(self.queue.hidden)
        reply(json.dumps({"visible": visible, "hidden": hidden, "calls": self.calls, "cpu": time.process_time()}))


class Connection(asyncio.Protocol):
    """One client's connection, kept alive; its calls come one after another."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.target, self.body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-amz-target":
            self.target = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.server.handle(self.target, body, self.reply)

    def reply(self, text: str) -> None:
        if self.transport.is_closing():
            return  # the client is gone
        body = text.encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"x-amzn-RequestId: 5f2ff2a5-2ba6-5d2d-8f7a-9250df7d8f76\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


async def main() -> None:
    """Serve until standard input ends, which it does with the process that holds its other end."""
    server = Server()
    listener = await server.loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    server.loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main())
