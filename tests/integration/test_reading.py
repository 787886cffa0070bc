"""Answers are read when there is room for them: large messages behind small ones, which nobody sees coming."""

from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Lock
from time import monotonic, sleep
from types import SimpleNamespace

import pytest
from botocore.exceptions import HTTPClientError
from urllib3.exceptions import ProtocolError

from benchmarks.sqs_stub import sqs_stub
from include.sqs.calls import CALL_SIZE, Queue
from include.sqs.chunk import ChunkBounds
from include.sqs.consumer import Consumer
from include.sqs.reading import UNKNOWN_LENGTH, read_in_turn, waiting_for_room
from include.sqs.receiver import receive
from include.sqs.receiver_state import CHUNKS_AHEAD

SMALL, LARGE, LARGE_BYTES = 400, 200, 100_000
BOUNDS = ChunkBounds(messages=100, bytes=200_000)
THREADS = 8


@pytest.fixture
def stub():
    with sqs_stub() as stub:
        yield stub


@pytest.fixture
def client(local, stub):
    client = replace(local, sqs=stub.endpoint).client()
    read_in_turn(client)
    return client


class Counting(Consumer):
    """How many bytes of bodies were received and not taken by the caller, at most; the lock is the class's."""

    __slots__ = ()
    lock, waiting, most, arrived = Lock(), 0, 0, 0

    def receive(self, size):
        messages = super().receive(size)
        with self.lock:
            Counting.arrived += len(messages)
            Counting.waiting += sum(len(message.body) for message in messages)
            Counting.most = max(self.most, self.waiting)
        return messages

    def take(self, chunk):
        with self.lock:
            Counting.waiting -= sum(len(message.body) for message in chunk)


@pytest.mark.parametrize("waits", [True, False])
def test_large_answers_behind_small_ones_wait_for_their_turn(local, stub, client, waits):
    """Calls that were made for small messages bring large ones, all at once."""
    if not waits:  # what this is about
        client = replace(local, sqs=stub.endpoint).client()
    stub.load(SMALL, delay=0.02, large=LARGE, body="x" * LARGE_BYTES)
    Counting.waiting = Counting.most = Counting.arrived = 0
    consumer = Counting(Queue(client, stub.queue_url))
    call = {"limit": SMALL + LARGE, "deadline": monotonic() + 60, "threads": THREADS, "bounds": BOUNDS}
    received = 0
    with ThreadPoolExecutor(THREADS) as pool, closing(receive(consumer, pool=pool, **call)) as chunks:
        for chunk in chunks:
            consumer.take(chunk)
            received += len(chunk)
            sleep(0.05)
    assert received == SMALL + LARGE
    one_answer = CALL_SIZE * LARGE_BYTES
    assert (Counting.most <= CHUNKS_AHEAD * BOUNDS.bytes + one_answer) is waits


def test_who_waits_for_room_is_let_go_when_nobody_takes_any_more(stub, client):
    stub.load(20, large=LARGE, body="x" * LARGE_BYTES)
    consumer = Consumer(Queue(client, stub.queue_url))
    call = {"limit": LARGE, "deadline": monotonic() + 60, "threads": THREADS, "bounds": BOUNDS}
    started = monotonic()
    with ThreadPoolExecutor(THREADS) as pool, closing(receive(consumer, pool=pool, **call)) as chunks:
        next(chunks)
        sleep(0.5)
    assert monotonic() - started < 10


class Session:
    """A stand-in for botocore's, whose answer breaks off or does not say how long it is."""

    def __init__(self, headers, content=b"{}"):
        self.headers, self.answer = headers, content
        self.raw, self.closed = self, False

    def close(self):
        self.closed = True

    def send(self, request):
        assert request.stream_output
        return self

    @property
    def content(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def sender(session):
    registered = {}
    events = SimpleNamespace(register=registered.__setitem__)
    read_in_turn(SimpleNamespace(_endpoint=SimpleNamespace(http_session=session), meta=SimpleNamespace(events=events)))
    return registered["before-send.sqs.ReceiveMessage"]


@pytest.mark.parametrize(("headers", "bytes_"), [({"Content-Length": "7"}, 7), ({}, UNKNOWN_LENGTH)])
def test_an_answer_waits_with_its_length_or_with_the_most(headers, bytes_):
    asked = []
    session = Session(headers)
    with waiting_for_room(asked.append):
        assert sender(session)(SimpleNamespace()) is session
    assert asked == [bytes_]


def test_a_call_that_need_not_wait_is_left_to_botocore():
    assert sender(Session({}))(SimpleNamespace()) is None


def test_an_answer_that_breaks_off_is_an_error_that_botocore_tries_again():
    with waiting_for_room(lambda size: None), pytest.raises(HTTPClientError):
        sender(Session({}, ProtocolError("broken")))(SimpleNamespace())


def test_who_is_let_go_reads_nothing():
    def cancel(size):
        raise CancelledError

    session = Session({}, AssertionError("read"))
    with waiting_for_room(cancel), pytest.raises(CancelledError):
        sender(session)(SimpleNamespace())
    assert session.closed
