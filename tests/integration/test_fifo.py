"""FIFO queues: a message group is never blocked for longer than it must be."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from include import pipeline
from include.events.message import Origin, Run
from tests.support.fixtures import TENS
from tests.support.merging import merge
from tests.support.queues import left_on, show_again
from tests.support.runs import A_RUN

EVENTS = 45


@pytest.fixture
def fifo(warehouse, connected_through_proxies, impatient, sqs):
    """A FIFO queue with three message groups."""
    url = sqs.create_queue(QueueName=f"{uuid4().hex}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    pipeline.check_setup(A_RUN, url, source="queue", window=None)
    for number in range(EVENTS):
        sqs.send_message(
            QueueUrl=url,
            MessageBody=f'{{"user_id": "user-{number}"}}',
            MessageGroupId=f"group {number % 3}",
            MessageDeduplicationId=str(number),
        )
    return url


def take(url):
    origin = Origin(Run("user_logins", "a run"), 0, 1, datetime.now(UTC))
    return pipeline.drain_and_mask({"messages": 100, "threads": 1}, url, origin=origin, seconds=30, bounds=TENS)


def all_there_once(warehouse):
    merge(warehouse)
    [(rows, users)] = warehouse.execute("select count(*), count(distinct user_id) from public.user_logins").fetchall()
    return rows == users == EVENTS


def as_sqs_remembers(lost):
    """What SQS does and the local server does not: a receive that is tried again gets the same messages again.

    The answers whose numbers are in `lost` do not arrive.
    """
    answers = {}

    def fault(call):
        if call.operation != "ReceiveMessage":
            call.forward()
            return
        attempt = call.request.pop("ReceiveRequestAttemptId")
        if attempt in answers:
            call.reply(answers[attempt])
            return
        call.forward()
        answers[attempt] = call.answer
        if len(answers) - 1 in lost:
            call.reset()

    return fault


def test_a_lost_receive_answer_does_not_block_its_groups(warehouse, fifo, proxies, sqs):
    proxies.sqs.fault = as_sqs_remembers(lost={0, 2})
    counts = take(fifo)
    assert (counts["received"], counts["deleted"]) == (EVENTS, EVENTS)
    assert all_there_once(warehouse)
    assert left_on(sqs, fifo) == 0


def test_each_receive_is_an_attempt_of_its_own(fifo, proxies):
    attempts = []

    def watch(call):
        attempts.append(call.request.get("ReceiveRequestAttemptId"))
        call.forward()

    proxies.sqs.fault = watch
    take(fifo)
    named = [attempt for attempt in attempts if attempt]
    assert len(named) == len(set(named)) >= EVENTS // 10


def test_deletes_after_expiry_are_counted_and_their_messages_come_again(warehouse, fifo, proxies, sqs):
    """SQS refuses such a delete on a FIFO queue."""

    def expired(call):
        if call.operation == "DeleteMessageBatch":
            failed = {"Code": "ReceiptHandleIsInvalid", "SenderFault": True}
            call.reply({"Failed": [failed | {"Id": entry["Id"]} for entry in call.request["Entries"]]})
        else:
            call.forward()

    proxies.sqs.fault = expired
    with pytest.raises(RuntimeError, match="0 failed, 10 too late"):
        take(fifo)
    proxies.undisturbed()
    show_again(sqs, fifo, proxies.sqs.handles())
    assert take(fifo)["deleted"] == EVENTS
    assert warehouse.execute("select sum(expired) from login_etl.batches").fetchone() == (10,)
    assert all_there_once(warehouse)


def test_a_delete_that_fails_blocks_its_own_group_only(warehouse, fifo, proxies, sqs):
    def keep_the_first(call):
        if call.operation == "DeleteMessageBatch" and not kept:
            first, *call.request["Entries"] = call.request["Entries"]
            kept.append(first["ReceiptHandle"])
            call.forward()
            failed = {"Id": first["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True}
            call.answer.setdefault("Failed", []).append(failed)
        else:
            call.forward()

    kept = []
    proxies.sqs.fault = keep_the_first
    counts = take(fifo)
    assert counts["expired"] == 1
    assert counts["deleted"] >= EVENTS * 2 // 3
    show_again(sqs, fifo, kept)
    take(fifo)
    assert left_on(sqs, fifo) == 0
    assert all_there_once(warehouse)
