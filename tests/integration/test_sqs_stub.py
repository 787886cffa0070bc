"""The benchmarks' stand-in for SQS answers what the pipeline asks as the test server does."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import md5
from time import monotonic
from uuid import UUID

import pytest

from benchmarks.sqs_stub import sqs_stub
from include.sqs.calls import Queue, backlog
from include.sqs.check import check_queue
from sandbox.events import sample_events, send

ATTRIBUTES = ["SentTimestamp", "ApproximateReceiveCount"]


@pytest.fixture(scope="module")
def stub():
    with sqs_stub() as stub:
        yield stub


@pytest.fixture
def stub_client(local, stub):
    return replace(local, sqs=stub.endpoint).client()


def receive(client, queue_url, **call):
    call = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 120, "MessageSystemAttributeNames": ATTRIBUTES} | call
    return client.receive_message(QueueUrl=queue_url, **call)


def delete(client, queue_url, *handles):
    entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
    return client.delete_message_batch(QueueUrl=queue_url, Entries=entries)


def shape(value):
    """The types and names of an answer, whatever the values; a text of digits is one of its own."""
    match value:
        case dict():
            return {name: shape(part) for name, part in value.items() if name != "ResponseMetadata"}
        case list():
            return [shape(part) for part in value]
        case str():
            return "digits" if value.isdigit() else "text"
        case _:
            return type(value)


def conversation(client, queue_url):
    """The calls of a run, one after another, and the answers' shapes."""
    yield (
        "attributes",
        client.get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages", "VisibilityTimeout"]
        ),
    )
    yield "probe", delete(client, queue_url, "made-up-handle")
    received = receive(client, queue_url, WaitTimeSeconds=1, MaxNumberOfMessages=2)
    yield "received", received
    yield "without attributes", client.receive_message(QueueUrl=queue_url)
    handles = [message["ReceiptHandle"] for message in received["Messages"]]
    yield "deleted", delete(client, queue_url, *handles)
    yield "partly deleted", delete(client, queue_url, "made-up-handle", handles[0])
    yield "nothing left", receive(client, queue_url)
    yield "nothing came", receive(client, queue_url, WaitTimeSeconds=1)


def test_it_answers_as_the_test_server_does(sqs, queue_url, stub, stub_client):
    send(sqs, queue_url, sample_events(3, seed=1))
    stub.load(3)
    real = {name: shape(answer) for name, answer in conversation(sqs, queue_url)}
    ours = {name: shape(answer) for name, answer in conversation(stub_client, stub.queue_url)}
    assert ours == real


def test_the_pipelines_own_checks_pass(stub, stub_client):
    stub.load(7)
    assert check_queue(stub_client, stub.queue_url, "queue").url == stub.queue_url
    assert backlog(Queue(stub_client, stub.queue_url)) == 7
    assert stub.state()["calls"] == {"GetQueueAttributes": 2, "DeleteMessageBatch": 1}


def test_messages_are_login_events_with_ids_of_their_own(stub, stub_client):
    stub.load(200)
    messages = [message for _ in range(20) for message in receive(stub_client, stub.queue_url)["Messages"]]
    assert len({UUID(message["MessageId"]) for message in messages}) == 200
    assert sum("user_id" in json.loads(message["Body"]) for message in messages) == 198
    assert all(md5(message["Body"].encode()).hexdigest() == message["MD5OfBody"] for message in messages)


def test_a_message_that_is_not_deleted_comes_again_and_its_old_handle_deletes_nothing(stub, stub_client):
    stub.load(1)
    [first] = receive(stub_client, stub.queue_url, VisibilityTimeout=1)["Messages"]
    [second] = receive(stub_client, stub.queue_url, WaitTimeSeconds=3)["Messages"]
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"] == first["Attributes"] | {"ApproximateReceiveCount": "2"}
    assert delete(stub_client, stub.queue_url, first["ReceiptHandle"])["Successful"]
    stub.show_again()
    assert stub.state()["visible"] == 1
    [third] = receive(stub_client, stub.queue_url)["Messages"]
    delete(stub_client, stub.queue_url, third["ReceiptHandle"])
    stub.show_again()
    assert (stub.state()["visible"], stub.state()["hidden"]) == (0, 0)


def test_delayed_answers_overlap(stub, stub_client):
    stub.load(100, delay=0.3)
    started = monotonic()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: receive(stub_client, stub.queue_url)["Messages"], range(10)))
    assert 0.3 <= monotonic() - started < 1.5
    assert len({message["MessageId"] for messages in answers for message in messages}) == 100


def test_it_ends_with_the_block():
    with sqs_stub() as stub:
        stub.load(1)
    with pytest.raises(OSError, match="refused"):
        stub.state()
