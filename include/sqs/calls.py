"""The conversation with SQS: look at a queue, receive from it, delete what is safely staged."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from pydantic_core import SchemaValidator, core_schema

from include.events.message import Message
from include.failures import SetupError
from include.sqs.errors import DENIED, error_name, raising_setup_errors, setup_error

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        ChangeMessageVisibilityBatchResultTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        DeleteMessageBatchResultTypeDef,
        MessageAttributeValueOutputTypeDef,
        MessageTypeDef,
        ReceiveMessageRequestTypeDef,
    )

log = logging.getLogger(__name__)

CALL_SIZE = 10  # SQS takes and gives at most ten messages a call
WAIT_SECONDS = 1  # long polling asks all of SQS's servers, so that an empty answer means an empty queue
# Covers staging and deleting a chunk and those before it, and no more, so that what a crashed run held is back on the
# queue in two minutes. What has waited for half of it is not staged any more.
VISIBILITY_SECONDS = 120
DELETE_TRIES = 3
MADE_UP_HANDLE = "made-up-handle"  # with which a call shows whether it is allowed
UUID_OF = SchemaValidator(core_schema.uuid_schema())  # a fifth of what UUID() takes


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, and the client that asks it. Threads may share both.

    `only_from` is the ARN of the queue whose dead letters are ours, of a dead-letter queue that others share.
    """

    client: SQSClient
    url: str
    hidden_seconds: int = VISIBILITY_SECONDS
    only_from: str | None = None

    @property
    def is_fifo(self) -> bool:
        """Whether it shows nothing more of a message group until what it has shown is deleted; SQS fixes the name."""
        return self.url.endswith(".fifo")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What deletes a message, until SQS shows it to others at `expires_at`, on the monotonic clock."""

    expires_at: float
    handle: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received(Message):
    """A message as it comes from a queue.

    `moved_from` is the ARN of the queue from which SQS moved it to this one, where that was asked for.
    """

    receipt: Receipt
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class Deletes:
    """What became of a chunk's deletes: done, failed after retries, too late for the receipt handle."""

    deleted: int = 0
    delete_failed: int = 0
    expired: int = 0

    def __add__(self, other: Deletes) -> Deletes:
        return Deletes(
            deleted=self.deleted + other.deleted,
            delete_failed=self.delete_failed + other.delete_failed,
            expired=self.expired + other.expired,
        )


def backlog(queue: Queue) -> int:
    """About how many messages can be received now. Takes none, and raises no receive count."""
    with raising_setup_errors(queue.url):
        answer = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def left_on(queue: Queue) -> int | None:
    """About how many messages can be received now; None where SQS does not say, since nothing depends on it."""
    try:
        return backlog(queue)
    except (SetupError, ClientError, BotoCoreError) as error:
        log.info("what is left on the queue is not counted: %s", error_name(error))
        return None


def receive_once(queue: Queue, size: int) -> list[Received]:
    """At most `size` messages, ten at most; none where a long poll finds none."""
    call: ReceiveMessageRequestTypeDef = {
        "QueueUrl": queue.url,
        "MaxNumberOfMessages": size,
        "WaitTimeSeconds": WAIT_SECONDS,
        "VisibilityTimeout": queue.hidden_seconds,
        "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        "MessageAttributeNames": ["All"],
    }
    if queue.only_from:
        call["MessageSystemAttributeNames"] = ["SentTimestamp", "ApproximateReceiveCount", "DeadLetterQueueSourceArn"]
    if queue.is_fifo:
        # When the answer is lost, botocore's next try gets the same messages, instead of a group that is locked
        # until they time out.
        call["ReceiveRequestAttemptId"] = str(uuid4())
    messages = _received(queue, call)
    if messages is None:  # raised here, because a traceback that shows local variables shows no body here
        raise SetupError(
            f"{queue.url} gives messages without a UUID, SentTimestamp or ApproximateReceiveCount: "
            "check that endpoint_url in connection aws_sqs points to an SQS server"
        )
    return messages


def _received(queue: Queue, call: ReceiveMessageRequestTypeDef) -> list[Received] | None:
    """The messages of one receive call; None where the answer cannot be read."""
    expires_at = monotonic() + queue.hidden_seconds  # SQS starts to hide a message no earlier than now
    with raising_setup_errors(queue.url):
        try:
            return [_message(raw, expires_at) for raw in queue.client.receive_message(**call).get("Messages", [])]
        except (KeyError, ValueError):
            return None


def _message(raw: MessageTypeDef, expires_at: float) -> Received:
    """A message as botocore gives it; KeyError or ValueError where it lacks what SQS always sends."""
    attributes = raw["Attributes"]
    return Received(
        message_id=UUID_OF.validate_python(raw["MessageId"]),
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        body=raw["Body"],
        attributes={name: _attribute(value) for name, value in raw.get("MessageAttributes", {}).items()},
        receipt=Receipt(expires_at, raw["ReceiptHandle"]),
        moved_from=attributes.get("DeadLetterQueueSourceArn"),
    )


def _attribute(raw: MessageAttributeValueOutputTypeDef) -> dict[str, str]:
    """An attribute as SQS sends it: botocore has decoded its base64."""
    if "BinaryValue" in raw:
        return {"DataType": raw["DataType"], "BinaryValue": b64encode(raw["BinaryValue"]).decode()}
    return {"DataType": raw["DataType"], "StringValue": raw.get("StringValue", "")}


def delete(queue: Queue, receipts: Sequence[Receipt], *, threads: int, pool: Executor) -> Iterator[Deletes]:
    """Start to delete staged messages, ten a call, in at most `threads` of the pool's; give what became of them.

    Handles past their visibility timeout are not tried: SQS may answer success and delete nothing.
    What stays on the queue is received again and recognised by its message id, so a call that fails,
    after botocore's retries, is counted and no error. SetupError where deleting is not allowed.
    """
    tens = deque(receipts[start : start + CALL_SIZE] for start in range(0, len(receipts), CALL_SIZE))
    # Each thread takes the next ten, so that none waits behind another's slow call until its handles are too old. A
    # future for each ten would cost more than the rest of this.
    return pool.map(partial(_delete_tens, queue), [tens] * min(threads, len(tens)))


def _delete_tens(queue: Queue, tens: deque[Sequence[Receipt]]) -> Deletes:
    """Delete ten after ten until none is left; several threads take from one deque."""
    done = Deletes()
    with suppress(IndexError):  # another thread took the last one
        while tens:
            done += _delete_ten(queue, tens.popleft())
    return done


def _delete_ten(queue: Queue, receipts: Sequence[Receipt]) -> Deletes:
    """Delete at most ten messages; SQS answers 200 and says of each whether it is deleted, which is read here."""
    done = Deletes()
    for attempt in range(DELETE_TRIES):
        if attempt:
            sleep(0.2 * 2**attempt)
        now = monotonic()
        alive = [receipt for receipt in receipts if receipt.expires_at > now]
        done += Deletes(expired=len(receipts) - len(alive))
        receipts = alive
        if not receipts:
            break
        try:
            answer = delete_once(queue, [receipt.handle for receipt in receipts])
        except (ClientError, BotoCoreError) as error:
            log.warning("%d messages could not be deleted from the queue: %s", len(receipts), error_name(error))
            break
        deleted = {entry["Id"] for entry in answer.get("Successful", [])}
        dead = {failure["Id"] for failure in answer.get("Failed", []) if failure.get("SenderFault")}
        done += Deletes(deleted=len(deleted), expired=len(dead))
        receipts = [receipt for number, receipt in enumerate(receipts) if str(number) not in deleted | dead]
        if not receipts:
            break
    return done + Deletes(delete_failed=len(receipts))


def delete_once(queue: Queue, handles: list[str]) -> DeleteMessageBatchResultTypeDef:
    """Ask once to delete at most ten messages, whose ids are 0, 1, …; SetupError where deleting is not allowed."""
    entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
        {"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(handles)
    ]
    with raising_setup_errors(queue.url):
        answer = queue.client.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    _raise_if_denied(queue, "DeleteMessageBatch", answer)
    return answer


def show_again(queue: Queue, handles: list[str]) -> None:
    """Ask once to let at most ten messages be received again at once; SetupError where that is not allowed."""
    entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
        {"Id": str(index), "ReceiptHandle": handle, "VisibilityTimeout": 0} for index, handle in enumerate(handles)
    ]
    with raising_setup_errors(queue.url):
        answer = queue.client.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    _raise_if_denied(queue, "ChangeMessageVisibilityBatch", answer)


def _raise_if_denied(
    queue: Queue, operation: str, answer: DeleteMessageBatchResultTypeDef | ChangeMessageVisibilityBatchResultTypeDef
) -> None:
    """Raise SetupError where SQS answered 200 and denied it for an entry."""
    for failure in answer.get("Failed", []):
        if failure["Code"] in DENIED:
            raise setup_error(queue.url, operation, failure["Code"])
