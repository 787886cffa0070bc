"""SQS fails in each way it can: the run recovers or fails with a sentence; nothing is lost, nothing is there twice."""

import random
import time

import pytest
from airflow.sdk import RetryAction
from botocore.exceptions import BotoCoreError, ClientError

from include import pipeline
from include.events.message import Run
from include.failures import SetupError
from include.retries import FAIL_FAST
from tests.support.queues import show_again

RECEIVE, DELETE = "ReceiveMessage", "DeleteMessageBatch"
ALWAYS = range(10**6)


class Fault:
    """Do this to those calls of an operation, counted from 0."""

    def __init__(self, operation, do, calls=ALWAYS):
        self.operation, self.do, self.calls = operation, do, calls
        self.seen = self.done = 0

    def __call__(self, call):
        number = self.seen
        self.seen += call.operation == self.operation
        if call.operation == self.operation and number in self.calls:
            self.done += 1
            self.do(call)
        else:
            call.forward()


def refuse(code, status=400):
    return lambda call: call.refuse(code, status)


def garble(call):
    call.reply("<html>502 Bad Gateway</html>", 502)


def reset(call):
    call.reset()


def lose_the_answer(call):
    call.forward()
    call.reset()


def answer_too_late(call):
    call.forward()
    time.sleep(1.5)


def keep_the_first(code, *, sender_fault):
    """Delete all but the first message of the call, and say this of it."""

    def do(call):
        first, *call.request["Entries"] = call.request["Entries"]
        if call.request["Entries"]:
            call.forward()
        else:
            call.reply({"Successful": []})
        call.answer["Failed"] = [{"Id": first["Id"], "Code": code, "SenderFault": sender_fault, "Message": "made up"}]

    return do


def keep_all(code, *, sender_fault):
    return lambda call: call.reply(
        {
            "Failed": [
                {"Id": entry["Id"], "Code": code, "SenderFault": sender_fault} for entry in call.request["Entries"]
            ]
        }
    )


def without(name):
    """Messages that lack a part."""

    def do(call):
        call.forward()
        for message in call.answer.get("Messages", []):
            del message[name]

    return do


def twice(call):
    """Half of the messages, each twice in one answer, with a receipt handle of its own."""
    call.forward()
    messages = call.answer.get("Messages", [])[:5]
    copies = [message | {"ReceiptHandle": message["ReceiptHandle"][::-1]} for message in messages]
    call.answer["Messages"] = messages + copies


def shuffle(call):
    call.forward()
    random.Random(1).shuffle(call.answer.get("Messages", []))


def again_and_again():
    """Every answer repeats the messages of the one before."""
    before = []

    def do(call):
        call.forward()
        fresh = call.answer.get("Messages", [])
        call.answer["Messages"] = [*before, *fresh][:10]
        before[:] = fresh

    return do


@pytest.mark.parametrize(
    ("disturbance", "counts", "repeated"),
    [
        pytest.param(Fault(RECEIVE, refuse("ThrottlingException"), range(1, 4)), {}, 0, id="throttled receives"),
        pytest.param(Fault(DELETE, refuse("ThrottlingException"), range(1, 4)), {}, 0, id="throttled deletes"),
        pytest.param(Fault(RECEIVE, refuse("InternalError", 500), range(3)), {}, 0, id="receives answered 500"),
        pytest.param(Fault(DELETE, refuse("ServiceUnavailable", 503), range(3)), {}, 0, id="deletes answered 503"),
        pytest.param(Fault(RECEIVE, garble, range(2)), {}, 0, id="an answer that is no SQS's"),
        pytest.param(Fault(RECEIVE, reset, range(1, 3)), {}, 0, id="receives reset"),
        pytest.param(Fault(DELETE, reset, range(1, 3)), {}, 0, id="deletes reset"),
        pytest.param(
            Fault(RECEIVE, lose_the_answer, range(1, 2)),
            {"received": 20, "deleted": 20},
            10,
            id="a receive whose answer is lost",
        ),
        pytest.param(
            Fault(RECEIVE, answer_too_late, range(1, 2)),
            {"received": 20, "deleted": 20},
            10,
            id="a receive answered too late",
        ),
        pytest.param(Fault(DELETE, lose_the_answer, range(1, 2)), {}, 0, id="a delete whose answer is lost"),
        pytest.param(Fault(DELETE, answer_too_late, range(1, 2)), {}, 0, id="a delete answered too late"),
        pytest.param(
            Fault(DELETE, keep_the_first("ReceiptHandleIsInvalid", sender_fault=True), range(1, 2)),
            {"deleted": 29, "expired": 1},
            1,
            id="a handle that has expired",
        ),
        pytest.param(
            Fault(DELETE, keep_the_first("InternalError", sender_fault=False), range(1, 2)),
            {"deleted": 30},
            0,
            id="a delete that fails once",
        ),
        pytest.param(
            Fault(DELETE, keep_the_first("InternalError", sender_fault=False), range(1, 4)),
            {"deleted": 29, "delete_failed": 1},
            1,
            id="a delete that keeps failing",
        ),
        pytest.param(Fault(RECEIVE, shuffle), {}, 0, id="shuffled deliveries"),
        pytest.param(
            Fault(RECEIVE, twice, range(1, 2)),
            {"received": 30, "inserted": 22, "already_there": 5, "expired": 5},
            5,
            id="twice in an answer",
        ),
        pytest.param(Fault(RECEIVE, again_and_again()), {}, 0, id="every message again"),
    ],
)
def test_the_run_recovers(load, disturbance, counts, repeated):
    """`counts` are those of the disturbed run, `repeated` how many messages the next one is given again."""
    load.proxies.sqs.fault = disturbance
    happened = load.run()
    assert disturbance.done == len(disturbance.calls) or disturbance.calls is ALWAYS
    assert disturbance.done
    assert {name: happened[name] for name in counts} == counts
    assert load.settle()["received"] == repeated


def failure(load, disturbance, error, sentence, landed):
    """The error that the disturbed run ends with, once so many messages are landed; nothing is lost by it."""
    load.proxies.sqs.fault = disturbance
    with pytest.raises(error, match=sentence) as caught:
        load.run()
    assert load.ask("select sum(received) from login_etl.batches") == [(landed,)]
    load.settle()
    return caught.value


@pytest.mark.parametrize(
    ("disturbance", "error", "sentence", "landed"),
    [
        pytest.param(
            Fault(RECEIVE, refuse("InternalError", 500), ALWAYS[1:]),
            ClientError,
            r"\(InternalError\) when calling the ReceiveMessage",
            10,
            id="receives keep failing",
        ),
        pytest.param(
            Fault(RECEIVE, refuse("ThrottlingException"), ALWAYS[1:]),
            ClientError,
            r"\(ThrottlingException\) when calling the ReceiveMessage",
            10,
            id="throttling does not end",
        ),
        pytest.param(
            Fault(RECEIVE, refuse("OverLimit"), ALWAYS[1:]),
            ClientError,
            r"\(OverLimit\) when calling the ReceiveMessage",
            10,
            id="too many messages in flight",
        ),
        pytest.param(Fault(RECEIVE, reset, ALWAYS[1:]), BotoCoreError, "Connection was closed", 10, id="only resets"),
        pytest.param(
            Fault(RECEIVE, answer_too_late, ALWAYS[2:]), BotoCoreError, "Read timeout on endpoint", 20, id="no answers"
        ),
        pytest.param(
            Fault(RECEIVE, refuse("ExpiredToken", 403), ALWAYS[1:]),
            ClientError,
            "ExpiredToken",
            10,
            id="a token expires",
        ),
        pytest.param(
            Fault(DELETE, refuse("ServiceUnavailable", 503)),
            RuntimeError,
            r"batch 1 is staged, but none of its 10 messages was deleted from the queue \(10 failed, 0 too late\)",
            10,
            id="deletes keep failing",
        ),
        pytest.param(Fault(DELETE, reset), RuntimeError, "10 failed, 0 too late", 10, id="deletes are reset"),
        pytest.param(
            Fault(DELETE, keep_all("InternalError", sender_fault=False)),
            RuntimeError,
            "10 failed, 0 too late",
            10,
            id="each delete fails",
        ),
        pytest.param(
            Fault(DELETE, keep_all("ReceiptHandleIsInvalid", sender_fault=True)),
            RuntimeError,
            "0 failed, 10 too late",
            10,
            id="each handle has expired",
        ),
        pytest.param(
            Fault(DELETE, lambda call: call.reply({})),
            RuntimeError,
            "10 failed, 0 too late",
            10,
            id="a delete's answer says nothing",
        ),
    ],
)
def test_the_run_fails_and_a_retry_fixes_it(load, disturbance, error, sentence, landed):
    met = failure(load, disturbance, error, sentence, landed)
    assert FAIL_FAST.evaluate(met, 1, 3).action is RetryAction.DEFAULT


@pytest.mark.parametrize(
    ("disturbance", "sentence"),
    [
        pytest.param(
            Fault(RECEIVE, without("Attributes"), ALWAYS[1:]),
            "gives messages without a UUID, SentTimestamp or ApproximateReceiveCount: check that endpoint_url",
            id="a server that is no SQS",
        ),
        pytest.param(
            Fault(DELETE, refuse("AccessDenied", 403)),
            "AccessDenied to DeleteMessageBatch on .*: allow sqs:DeleteMessage on it",
            id="deletes are denied",
        ),
        pytest.param(
            Fault(DELETE, keep_all("AccessDenied", sender_fault=True)),
            "AccessDenied to DeleteMessageBatch on .*: allow sqs:DeleteMessage on it",
            id="each delete is denied",
        ),
        pytest.param(
            Fault(RECEIVE, refuse("AccessDeniedException"), ALWAYS[1:]),
            "AccessDeniedException to ReceiveMessage on .*: allow sqs:ReceiveMessage on it",
            id="receives are denied",
        ),
        pytest.param(
            Fault(RECEIVE, refuse("KmsAccessDenied"), ALWAYS[1:]),
            "kms:Decrypt on its key",
            id="the key is denied",
        ),
        pytest.param(
            Fault(RECEIVE, refuse("KmsDisabled"), ALWAYS[1:]),
            "the key that encrypts it",
            id="the key is disabled",
        ),
    ],
)
def test_the_run_fails_at_once_and_says_what_to_fix(load, disturbance, sentence):
    met = failure(load, disturbance, SetupError, sentence, landed=10)
    assert FAIL_FAST.evaluate(met, 1, 3).action is RetryAction.FAIL


def test_a_failure_that_lasts_is_met_again_by_the_retry(load):
    """Which comes when SQS shows the messages again; until then the queue looks empty."""
    load.proxies.sqs.fault = Fault(DELETE, refuse("ServiceUnavailable", 503))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="10 failed, 0 too late"):
            load.run()
        show_again(load.client, load.queue_url, load.proxies.sqs.handles())
    load.settle()


def test_what_the_other_threads_received_is_landed_when_one_of_them_fails(load):
    load.proxies.sqs.fault = Fault(RECEIVE, refuse("OverLimit"), range(2, 3))
    with pytest.raises(ClientError, match="OverLimit"):
        load.run(threads=4)
    [(received, deleted)] = load.ask("select sum(received), sum(deleted) from login_etl.batches")
    assert received == deleted == len({message["MessageId"] for message in load.proxies.sqs.received})
    load.settle()


def test_a_queue_that_is_deleted_during_the_run(load):
    """What had been received is landed; the rest went with the queue."""

    def delete_the_queue(call):
        load.client.delete_queue(QueueUrl=load.queue_url)
        call.forward()

    load.proxies.sqs.fault = Fault(RECEIVE, delete_the_queue, range(1, 2))
    with pytest.raises(SetupError, match="such as user_logins_queue_url"):
        load.run()
    load.client.create_queue(QueueName=load.queue_url.rsplit("/", 1)[1])
    pipeline.merge_user_logins(Run("user_logins", "the next run"))
    [(rows,)] = load.ask("select count(*) from public.user_logins")
    [(bad,)] = load.ask("select count(*) from login_etl.rejected_messages")
    assert rows + bad == len(load.proxies.sqs.received) == 10
