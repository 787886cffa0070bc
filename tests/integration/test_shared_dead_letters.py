"""A dead-letter queue that several queues share: ours are drained, what is another's stays there."""

import json
import logging
from contextlib import closing
from datetime import UTC, datetime

import pytest

from include import pipeline
from include.events.message import Origin, Run
from include.failures import SetupError
from include.sqs import consumer as consumer_module
from include.sqs.calls import CALL_SIZE, Queue, backlog
from include.sqs.check import check_queue
from include.sqs.consumer import Consumer
from sandbox.events import send
from tests.support.queues import left_on
from tests.support.runs import A_RUN

RUN = Run("user_logins", "a run")


def logins(prefix, count):
    return (json.dumps({"user_id": f"{prefix} {number}"}) for number in range(count))


class Shared:
    """Two queues, `ours` and `theirs`, and the dead-letter queue of both."""

    def __init__(self, sqs, ours):
        self.sqs, self.ours = sqs, ours
        name = ours.rsplit("/", 1)[1]
        self.dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.theirs = sqs.create_queue(QueueName=f"{name}-theirs")["QueueUrl"]
        for url in (self.ours, self.theirs):
            policy = {"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": 1}
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})

    def arn(self, url):
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def die(self, url, bodies):
        """Send messages to a queue, and let SQS move them to the dead letters."""
        send(self.sqs, url, bodies)
        while self.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, MaxNumberOfMessages=10).get("Messages"):
            pass

    def drain(self, messages=100, threads=1):
        origin = Origin(RUN, 0, 1, datetime.now(UTC), "dead_letter_queue", self.dead)
        share = {"messages": messages, "threads": threads}
        return pipeline.drain_and_mask(share, self.dead, origin=origin, seconds=30, configured=self.ours)


@pytest.fixture
def shared(sqs, queue_url, empty_warehouse, connected):
    shared = Shared(sqs, queue_url)
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    return shared


def users(warehouse):
    return {user for (user,) in warehouse.execute("select user_id from login_etl.staging_logins")}


@pytest.mark.parametrize("threads", [1, 4])
def test_only_ours_are_drained(shared, sqs, warehouse, caplog, threads):
    for number in range(3):  # in turns, so that one call brings some of each
        shared.die(shared.theirs, logins(f"theirs {number}", 12))
        shared.die(shared.ours, logins(f"ours {number}", 5))
        send(sqs, shared.dead, logins("nobody's", 2))
    assert pipeline.check_setup(A_RUN, shared.ours, source="dead_letter_queue", window=None) == shared.dead
    counts = shared.drain(threads=threads)
    assert counts["received"] == counts["staged"] == counts["deleted"] == 15
    assert users(warehouse) == {f"ours {number} {each}" for number in range(3) for each in range(5)}
    assert "42 messages in the dead-letter queue are another queue's, or do not say whose, and stay" in caplog.text
    assert backlog(Queue(sqs, shared.dead)) == 42  # nothing of it is hidden any longer


def test_all_are_drained_where_nobody_shares_it(shared, sqs, warehouse):
    sqs.set_queue_attributes(QueueUrl=shared.theirs, Attributes={"RedrivePolicy": ""})
    shared.die(shared.ours, logins("ours", 3))
    send(sqs, shared.dead, logins("nobody's", 2))
    assert shared.drain()["deleted"] == 5
    assert left_on(sqs, shared.dead) == 0


def test_a_drain_gives_up_on_a_sea_of_others(shared, sqs, warehouse, caplog, monkeypatch):
    monkeypatch.setattr(consumer_module, "MOST_OF_OTHERS", 20)
    shared.die(shared.theirs, logins("theirs", 40))
    shared.die(shared.ours, logins("ours", 1))
    assert shared.drain()["received"] == 0
    assert "; a drain looks at no more of them" in caplog.text
    assert backlog(Queue(sqs, shared.dead)) == 41


def test_others_are_given_back_when_the_drain_fails(shared, sqs, warehouse, monkeypatch):
    shared.die(shared.theirs, logins("theirs", 8))
    shared.die(shared.ours, logins("ours", 2))

    def fail(*_, **__):
        raise ConnectionError("made up")

    monkeypatch.setattr("include.batches.drain.stage", fail)
    with pytest.raises(ConnectionError):
        shared.drain()
    assert backlog(Queue(sqs, shared.dead)) == 8


def test_they_stay_hidden_as_long_as_the_drain_may_take(shared, sqs):
    shared.die(shared.theirs, logins("theirs", 3))
    queue = Queue(sqs, shared.dead, only_from=shared.arn(shared.ours), hidden_seconds=150)
    with closing(Consumer(queue)) as consumer:
        assert consumer.receive(CALL_SIZE) == []
        assert len(consumer.of_others) == 3
        assert backlog(queue) == 0
    assert backlog(queue) == 3


@pytest.mark.parametrize(
    ("operation", "right"),
    [
        ("list_dead_letter_source_queues", "sqs:ListDeadLetterSourceQueues"),
        ("change_message_visibility_batch", "sqs:ChangeMessageVisibility"),
    ],
)
def test_a_right_that_is_missing_is_one_sentence_before_any_message_is_taken(shared, sqs, operation, right):
    client = Denying(sqs, operation)
    with pytest.raises(SetupError, match=f"AWS answered AccessDenied to .* on {shared.dead}: allow {right} on it"):
        check_queue(client, shared.ours, "dead_letter_queue")


class Denying:
    """A client to which AWS denies one operation; the local server knows no policies."""

    def __init__(self, client, operation):
        self.client, self.operation = client, operation

    def __getattr__(self, name):
        if name == "get_paginator":
            return lambda operation: self if operation == self.operation else self.client.get_paginator(operation)
        return self.deny if name == self.operation else getattr(self.client, name)

    def paginate(self, **_):
        self.deny()

    def deny(self, **_):
        operation = "".join(part.title() for part in self.operation.split("_"))
        raise self.client.exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, operation)


def test_what_cannot_be_shown_again_is_a_warning(shared, sqs, caplog):
    shared.die(shared.theirs, logins("theirs", 3))
    client = Denying(sqs, "change_message_visibility_batch")
    caplog.set_level(logging.INFO)
    with closing(Consumer(Queue(client, shared.dead, only_from="arn", hidden_seconds=150))) as consumer:
        consumer.receive(CALL_SIZE)
    assert "they stay hidden for 150 seconds at most: AWS answered AccessDenied" in caplog.text
