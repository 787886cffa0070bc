"""Dead-letter queues: which is a queue's own, how full it is, and whether other queues share it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from include.failures import SetupError
from include.sqs.calls import MADE_UP_HANDLE, VISIBILITY_SECONDS, Queue, show_again
from include.sqs.errors import error_name, raising_setup_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Depth:
    """About how many messages a queue has: to be received, received and not deleted, in its dead-letter queue.

    None is what SQS did not say. A queue without a dead-letter queue has 0 there.
    """

    waiting: int | None = None
    in_flight: int | None = None
    dead_letters: int | None = None


def attributes_of(queue: Queue) -> dict[str, str]:
    """All of the queue's attributes, by name."""
    with raising_setup_errors(queue.url):
        answer = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    return {str(name): value for name, value in answer["Attributes"].items()}


def dead_letter_queue(queue: Queue, attributes: dict[str, str]) -> Queue:
    """The queue that the redrive policy names; SetupError where there is none, or none that can be drained."""
    if queue.is_fifo or attributes.get("FifoQueue") == "true":
        raise SetupError(
            "param source: the dead-letter queue of a FIFO queue cannot be drained, because SQS resets the sent "
            "time there, and what was loaded already would not be recognised: run with source=queue"
        )
    if "RedrivePolicy" not in attributes:
        raise SetupError(
            f"param source: {queue.url} has no redrive policy, so there is no dead-letter queue to drain: "
            "run with source=queue"
        )
    return _redrive_target(queue, attributes)


def _redrive_target(queue: Queue, attributes: dict[str, str]) -> Queue:
    """The queue to which the redrive policy moves messages."""
    # arn:aws:sqs:region:account:name
    account, name = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].split(":")[-2:]
    with raising_setup_errors(name):
        answer = queue.client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
    return Queue(queue.client, answer["QueueUrl"])


def warn_of_dead_letters(queue: Queue, attributes: dict[str, str] | None = None) -> dict[str, str]:
    """Log how many messages are in the queue's dead-letter queue, and what to do; return that queue's attributes.

    None of those, and no error, where it has no such queue or may not ask: the run needs no right on it.
    """
    try:
        attributes = attributes or attributes_of(queue)
        if "RedrivePolicy" not in attributes:
            return {}
        target = _redrive_target(queue, attributes)
        found = attributes_of(target)
    except (SetupError, ClientError, BotoCoreError) as error:
        log.info("dead letters are not counted: %s", error_name(error))
        return {}
    if waiting := int(found["ApproximateNumberOfMessages"]):
        log.warning(
            "about %d messages are in the dead-letter queue %s, because they were received too often without being "
            "deleted: fix what failed, then %s",
            waiting,
            target.url,
            "see docs/runbook.md" if queue.is_fifo else "run with source=dead_letter_queue",
        )
    return found


def depth_of(attributes: dict[str, str], of_dead_letters: dict[str, str]) -> Depth:
    """What the attributes of a queue, and of its dead-letter queue, say of their depth."""
    has_dead_letters = "RedrivePolicy" in attributes
    return Depth(
        waiting=_count(attributes, "ApproximateNumberOfMessages"),
        in_flight=_count(attributes, "ApproximateNumberOfMessagesNotVisible"),
        dead_letters=_count(of_dead_letters, "ApproximateNumberOfMessages") if has_dead_letters else 0,
    )


def _count(attributes: dict[str, str], name: str) -> int | None:
    return int(attributes[name]) if name in attributes else None


def only_ours(dead_letters: Queue, source: Queue, *, seconds: int) -> Queue:
    """The dead-letter queue as a drain of so many seconds uses it: for the source's only, where other queues share it.

    SetupError where SQS does not say who shares it, or does not let us show again what is another's.
    """
    with raising_setup_errors(dead_letters.url):
        pages = dead_letters.client.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=dead_letters.url)
        sources = [url for page in pages for url in page.get("queueUrls", [])]
    if len(sources) <= 1:
        return dead_letters
    show_again(dead_letters, [MADE_UP_HANDLE])  # a policy that forbids it says so before any message is taken
    log.info("%s is shared by %d queues: what is another's stays there", dead_letters.url, len(sources))
    arn = attributes_of(source)["QueueArn"]
    return replace(dead_letters, only_from=arn, hidden_seconds=seconds + VISIBILITY_SECONDS)
