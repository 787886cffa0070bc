"""The conversation with SQS, against a real server; a stub only answers what that server never does."""

import json
import logging
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count
from time import monotonic, sleep

import boto3
import pytest
from botocore.stub import Stubber

from include.failures import SetupError
from include.sqs import calls as conversation
from include.sqs.calls import Deletes, Queue, Receipt, backlog, delete, left_on
from include.sqs.check import check_queue, warn_of_dead_letters
from include.sqs.chunk import ChunkBounds
from include.sqs.consumer import Consumer
from include.sqs.receiver import receive
from sandbox.events import sample_events, send
from sandbox.servers import free_port
from tests.support.queues import give_dead_letter_queue


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def stubbed(sqs):
    with Stubber(sqs) as stubber:
        yield stubber


def take(sqs, queue_url, pool, **bounds):
    bounds = {"limit": 1000, "deadline": monotonic() + 60, "threads": 1, "pool": pool} | bounds
    return [message for chunk in receive(Consumer(Queue(sqs, queue_url)), **bounds) for message in chunk]


def delete_all(sqs, queue_url, receipts, pool):
    return sum(delete(Queue(sqs, queue_url), receipts, threads=2, pool=pool), start=Deletes())


def test_looking_takes_nothing(sqs, queue_url, pool):
    send(sqs, queue_url, iter(["a", "b"]))
    for _ in range(5):
        assert backlog(Queue(sqs, queue_url)) == 2
    assert [message.receive_count for message in take(sqs, queue_url, pool)] == [1, 1]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_message_is_received(sqs, queue_url, pool, threads):
    bodies = [f"body {number}" for number in range(57)]
    send(sqs, queue_url, iter(bodies))
    messages = take(sqs, queue_url, pool, threads=threads)
    assert sorted(message.body for message in messages) == sorted(bodies)
    assert backlog(Queue(sqs, queue_url)) == 0


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 25])
def test_never_more_than_the_limit(sqs, queue_url, pool, limit):
    send(sqs, queue_url, iter(["x"] * 40))
    assert len(take(sqs, queue_url, pool, limit=limit)) == limit
    assert backlog(Queue(sqs, queue_url)) == 40 - limit


def test_a_chunk_is_bounded_in_messages_and_bytes(sqs, queue_url, pool):
    send(sqs, queue_url, iter(["x" * 1000] * 40))
    call = {"limit": 20, "deadline": monotonic() + 60, "threads": 1, "pool": pool}
    consumer = Consumer(Queue(sqs, queue_url))
    assert [len(chunk) for chunk in receive(consumer, **call, bounds=ChunkBounds(messages=10))] == [10, 10]
    assert [len(chunk) for chunk in receive(consumer, **call, bounds=ChunkBounds(bytes=9_000))] == [10, 10]


def test_a_chunk_is_handed_over_before_it_is_old(sqs, queue_url, pool):
    class Slow:
        def receive_message(self, **call):
            sleep(0.5)
            return sqs.receive_message(**call)

    send(sqs, queue_url, iter(["x"] * 20))
    call = {"limit": 20, "deadline": monotonic() + 60, "threads": 1, "pool": pool}
    consumer = Consumer(Queue(Slow(), queue_url))
    assert [len(chunk) for chunk in receive(consumer, **call, bounds=ChunkBounds(seconds=0.4))] == [
        10,
        10,
    ]


def test_receiving_stops_at_the_deadline(sqs, queue_url, pool):
    send(sqs, queue_url, iter(["x"]))
    assert take(sqs, queue_url, pool, deadline=monotonic()) == []
    assert backlog(Queue(sqs, queue_url)) == 1


def test_an_empty_queue_ends_it_after_one_long_poll(sqs, queue_url, pool):
    started = monotonic()
    assert take(sqs, queue_url, pool) == []
    assert monotonic() - started < 2 * conversation.WAIT_SECONDS + 1


def test_a_receive_asks_for_all_that_is_needed(sqs, queue_url, pool, stubbed):
    expected = {
        "QueueUrl": queue_url,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 1,
        "VisibilityTimeout": 120,
        "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        "MessageAttributeNames": ["All"],
    }
    stubbed.add_response("receive_message", {}, expected)
    assert take(sqs, queue_url, pool) == []
    stubbed.assert_no_pending_responses()


@pytest.mark.parametrize("size", [2**4, 2**16])
def test_what_waits_for_the_caller_is_bounded(queue_url, pool, size):
    """A stand-in for an endless queue, and a caller that lands nothing until no more is received."""
    given = Counter()
    attributes = {"SentTimestamp": "0", "ApproximateReceiveCount": "1"}

    class Endless:
        def receive_message(self, **call):
            given["messages"] += call["MaxNumberOfMessages"]
            message = {"Body": "x" * size, "ReceiptHandle": "", "Attributes": attributes}
            return {"Messages": [message | {"MessageId": str(uuid.uuid4())}] * call["MaxNumberOfMessages"]}

    bounds = ChunkBounds(messages=200, bytes=80 * 2**16)
    call = {"limit": 10**6, "deadline": monotonic() + 60, "threads": 4, "pool": pool, "bounds": bounds}
    with closing(receive(Consumer(Queue(Endless(), queue_url)), **call)) as chunks:
        taken = 0
        for _ in range(3):
            taken += len(next(chunks))
            before = None
            while before != (before := given["messages"]):
                sleep(0.1)
            waiting = given["messages"] - taken
            assert 40 <= waiting <= 2 * bounds.messages
            assert waiting * size <= 2 * bounds.bytes


def test_a_message_shows_neither_body_nor_handle(sqs, queue_url, pool):
    send(sqs, queue_url, iter(["203.0.113.77"]))
    [message] = take(sqs, queue_url, pool)
    assert message.body not in repr(message)
    assert message.receipt.handle not in repr(message)


def test_deleted_messages_are_gone(sqs, queue_url, pool, monkeypatch):
    monkeypatch.setattr(conversation, "sleep", pytest.fail)  # there is nothing to try again
    send(sqs, queue_url, iter(["x"] * 25))
    receipts = [message.receipt for message in take(sqs, queue_url, pool)]
    assert delete_all(sqs, queue_url, receipts, pool) == Deletes(deleted=25)
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_handle_past_its_visibility_timeout_is_counted_and_not_tried(sqs, queue_url, pool):
    send(sqs, queue_url, iter(["x"] * 3))
    first, *others = (message.receipt for message in take(sqs, queue_url, pool))
    late = replace(first, expires_at=monotonic() - 1)
    assert delete_all(sqs, queue_url, [late, *others], pool) == Deletes(deleted=2, expired=1)


def test_dead_handles_are_counted_and_other_failures_tried_again(sqs, queue_url, pool, stubbed, monkeypatch):
    monkeypatch.setattr(conversation, "sleep", lambda seconds: None)
    receipts = [Receipt(monotonic() + 60, f"handle {number}") for number in range(3)]

    def failed(number, code, *, sender):
        return {"Id": str(number), "Code": code, "SenderFault": sender}

    dead, alive = failed(0, "ReceiptHandleIsInvalid", sender=True), failed(1, "InternalError", sender=False)
    answers = [
        [dead, alive, failed(2, "InternalError", sender=False)],
        [failed(0, "InternalError", sender=False)],  # handle 1; handle 2 is deleted now
        [failed(0, "InternalError", sender=False)],
    ]  # fmt: skip
    asked = [["handle 0", "handle 1", "handle 2"], ["handle 1", "handle 2"], ["handle 1"]]
    deleted = [[], ["1"], []]
    for failures, handles, done in zip(answers, asked, deleted, strict=True):
        entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
        stubbed.add_response(
            "delete_message_batch",
            {"Successful": [{"Id": name} for name in done], "Failed": failures},
            {"QueueUrl": queue_url, "Entries": entries},
        )
    assert delete_all(sqs, queue_url, receipts, pool) == Deletes(deleted=1, delete_failed=1, expired=1)
    stubbed.assert_no_pending_responses()


@pytest.mark.parametrize("whole_call", [True, False])
def test_a_denied_delete_is_a_setup_error(sqs, queue_url, pool, stubbed, whole_call):
    if whole_call:
        stubbed.add_client_error(
            "delete_message_batch", "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized"
        )
    else:
        failure = {"Id": "0", "Code": "AccessDenied", "SenderFault": True}
        stubbed.add_response("delete_message_batch", {"Successful": [], "Failed": [failure]})
    receipt = Receipt(monotonic() + 60, "handle")
    with pytest.raises(SetupError, match="allow sqs:DeleteMessage"):
        delete_all(sqs, queue_url, [receipt], pool)


def test_a_good_queue_passes_and_a_missing_dead_letter_queue_is_a_warning(local, queue_url, caplog):
    assert check_queue(local.client(), local.queue_url, "queue").url == local.queue_url
    assert not caplog.records
    check_queue(local.client(), queue_url, "queue")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no dead-letter queue" in caplog.text


def test_dead_letters_are_counted_in_a_warning(sqs, queue_url, caplog):
    give_dead_letter_queue(sqs, queue_url)
    warn_of_dead_letters(Queue(sqs, queue_url))
    assert caplog.text == ""
    send(sqs, f"{queue_url}-dead", sample_events(3, seed=1))
    check_queue(sqs, queue_url, "queue")
    assert f"about 3 messages are in the dead-letter queue {queue_url}-dead" in caplog.text
    assert "fix what failed, then run with source=dead_letter_queue" in caplog.text


@pytest.mark.parametrize("code", ["AccessDenied", "InternalError"])
def test_what_is_left_stops_nothing_where_it_is_not_known(sqs, queue_url, stubbed, caplog, code):
    caplog.set_level(logging.INFO)
    stubbed.add_client_error("get_queue_attributes", code)
    assert left_on(Queue(sqs, queue_url)) is None
    assert "what is left on the queue is not counted: " in caplog.text
    assert code in caplog.text


@pytest.mark.parametrize("code", ["AccessDenied", "InternalError"])
def test_dead_letters_that_cannot_be_counted_stop_nothing(sqs, queue_url, stubbed, caplog, code):
    """A run needs no right on that queue."""
    caplog.set_level(logging.INFO)
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5})
    stubbed.add_response("get_queue_attributes", {"Attributes": {"RedrivePolicy": policy}})
    stubbed.add_client_error("get_queue_url", code)
    warn_of_dead_letters(Queue(sqs, queue_url))
    assert "dead letters are not counted: " in caplog.text
    assert code in caplog.text


def test_a_low_receive_count_and_a_zero_visibility_timeout_are_warnings(sqs, queue_url, caplog):
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})
    check_queue(sqs, queue_url, "queue")
    assert "maxReceiveCount 1" in caplog.text
    assert "visibility timeout is 0" in caplog.text


def test_the_dead_letter_queue_is_found_through_the_redrive_policy(local, queue_url):
    sqs = local.client()
    assert check_queue(sqs, local.queue_url, "dead_letter_queue").url.endswith("/login-queue-dead-letters")
    with pytest.raises(SetupError, match="no redrive policy"):
        check_queue(sqs, queue_url, "dead_letter_queue")


def test_the_dead_letter_queue_of_a_fifo_queue_is_refused(sqs):
    url = sqs.create_queue(QueueName=f"{uuid.uuid4().hex}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    with pytest.raises(SetupError, match="FIFO queue cannot be drained"):
        check_queue(sqs, url, "dead_letter_queue")
    assert check_queue(sqs, url, "queue").url == url


@pytest.mark.parametrize("configured", ["", "login-queue", "arn:aws:sqs:eu-west-1:1:login-queue"])
def test_a_variable_that_is_no_url_is_refused(sqs, configured):
    with pytest.raises(
        SetupError, match=r"variable user_logins_queue_url is (not set to|an ARN, not) the URL of a queue"
    ):
        check_queue(sqs, configured, "queue")


def test_a_queue_that_is_not_there_is_a_setup_error(sqs, queue_url):
    with pytest.raises(SetupError, match="such as user_logins_queue_url"):
        check_queue(sqs, queue_url + "-not-there", "queue")


def test_a_slow_delete_holds_up_no_other(pool):
    """Its thread's next ones are done by the others, whose handles would otherwise be too old."""

    class OneSlow:
        def __init__(self):
            self.calls, self.done = count(), []

        def delete_message_batch(self, *, QueueUrl, Entries):  # noqa: N803 - as botocore has them
            if next(self.calls) == 0:
                sleep(1)
            self.done.append(monotonic())
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    now = monotonic()
    receipts = [Receipt(now + 120, str(number)) for number in range(400)]
    client = OneSlow()
    deletes = sum(delete(Queue(client, "made-up"), receipts, threads=4, pool=pool), start=Deletes())
    assert deletes == Deletes(deleted=400)
    assert len(client.done) == 40
    assert client.done[-2] < now + 0.9  # all but the slow one


def test_a_forbidden_delete_is_found_before_the_first_receive(sqs, queue_url, stubbed):
    stubbed.add_response("get_queue_attributes", {"Attributes": {}})
    stubbed.add_client_error("delete_message_batch", "AccessDeniedException")
    with pytest.raises(SetupError, match="allow sqs:DeleteMessage"):
        check_queue(sqs, queue_url, "queue")


def test_an_endpoint_that_does_not_answer_is_worth_a_retry(queue_url):
    endpoint = f"http://127.0.0.1:{free_port()}"
    client = boto3.client(
        "sqs", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with pytest.raises(ConnectionError, match=f"connection aws_sqs: {endpoint} does not answer"):
        check_queue(client, queue_url, "queue")


class Scripted:
    """A stand-in for an SQS client: `answer` says how many messages of which size a call gets, by its number."""

    def __init__(self, answer):
        self.answer, self.calls = answer, count()

    def receive_message(self, **call):
        messages, size = self.answer(next(self.calls), call["MaxNumberOfMessages"])
        attributes = {"SentTimestamp": "0", "ApproximateReceiveCount": "1"}
        return {
            "Messages": [
                {"MessageId": str(uuid.uuid4()), "Body": "x" * size, "ReceiptHandle": "", "Attributes": attributes}
                for _ in range(messages)
            ]
        }


def receive_all(client, pool, **options):
    call = {"limit": 2_000, "deadline": monotonic() + 60, "threads": 4, "pool": pool} | options
    return sum(len(chunk) for chunk in receive(Consumer(Queue(client, "made-up")), **call))


def test_an_empty_answer_while_others_find_messages_is_not_the_end(pool):
    def now_and_then_none(number, asked):
        nothing = number in (20, 70)  # of 200: the others find messages for longer than these take
        sleep(0.2 if nothing else 0.01)
        return (0 if nothing else asked), 10

    assert receive_all(Scripted(now_and_then_none), pool) == 2_000


def test_an_answer_of_large_messages_holds_up_no_small_ones(pool):
    started = monotonic()
    large_first = Scripted(lambda number, asked: (asked, 10 if number else 2**20))
    assert receive_all(large_first, pool) == 2_000
    assert monotonic() - started < ChunkBounds().seconds


def test_the_first_answer_is_awaited_before_others_are_asked_for(pool):
    """How large the messages are is not known before; as many calls as there are threads might not fit into memory."""
    began, ended = {}, {}

    def slow(number, asked):
        began[number] = monotonic()
        sleep(0.1)
        ended[number] = monotonic()
        return asked, 10

    assert receive_all(Scripted(slow), pool, limit=100) == 100
    assert all(began[number] >= ended[0] for number in range(1, 10))
    assert began[2] < ended[1]


def test_closing_ends_the_receiving(pool):
    client = Scripted(lambda number, asked: (asked, 10))
    with closing(
        receive(Consumer(Queue(client, "made-up")), limit=10**6, deadline=monotonic() + 60, threads=4, pool=pool)
    ) as chunks:
        next(chunks)
    sleep(0.2)
    asked = next(client.calls)
    sleep(0.2)
    assert next(client.calls) == asked + 1


def test_whatever_ends_a_call_ends_the_receiving(pool):
    def interrupted(number, asked):
        if number == 20:
            raise SystemExit
        return asked, 10

    with pytest.raises(SystemExit):
        receive_all(Scripted(interrupted), pool)
