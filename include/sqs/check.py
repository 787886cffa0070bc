"""Is the queue as it must be? Asked before the first message is taken."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as EndpointError

from include.events.message import QueueSource
from include.failures import SetupError
from include.sqs.calls import Queue, backlog, delete_once
from include.sqs.errors import error_name, raising_setup_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

MIN_RECEIVES = 3  # a message is received again after a crash and after a failed delete
MADE_UP_HANDLE = "made-up-handle"


def check_queue(sqs: SQSClient, configured: str, source: QueueSource) -> str:
    """The URL of the queue that this run drains, once it is known to exist and to allow deletes.

    `configured` is the variable user_logins_queue_url. Raises SetupError for what somebody has to
    fix and ConnectionError for an endpoint that does not answer; warns of a redrive policy that
    is missing or that would dead-letter good messages.
    """
    if not configured.startswith(("http://", "https://")):
        raise SetupError(
            "variable user_logins_queue_url is not set to the URL of a queue: set it to, for example, "
            "https://sqs.eu-west-1.amazonaws.com/123456789012/login-queue"
        )
    try:
        queue = Queue(sqs, configured)
        attributes = _attributes(queue)
        if source == "dead_letter_queue":
            queue = _dead_letter_queue(queue, attributes)
        else:
            _warn_of_risks(attributes)
            warn_of_dead_letters(queue, attributes)
        delete_once(queue, [MADE_UP_HANDLE])  # a policy that forbids it says so before any message is taken
    except (EndpointError, HTTPClientError):
        raise ConnectionError(
            f"connection aws_sqs: {sqs.meta.endpoint_url} does not answer: check region_name, endpoint_url "
            "and config_kwargs, and the network between"
        ) from None
    return queue.url


def _attributes(queue: Queue) -> dict[str, str]:
    """All of the queue's attributes, by name."""
    with raising_setup_errors(queue.url):
        answer = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    return {str(name): value for name, value in answer["Attributes"].items()}


def _dead_letter_queue(queue: Queue, attributes: dict[str, str]) -> Queue:
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


def warn_of_dead_letters(queue: Queue, attributes: dict[str, str] | None = None) -> None:
    """Log how many messages are in the queue's dead-letter queue, and what to do, where there are any.

    No error where they cannot be counted: the run needs no right on that queue.
    """
    try:
        attributes = attributes or _attributes(queue)
        if "RedrivePolicy" not in attributes:
            return
        target = _redrive_target(queue, attributes)
        waiting = backlog(target)
    except (SetupError, ClientError, BotoCoreError) as error:
        log.info("dead letters are not counted: %s", error if isinstance(error, SetupError) else error_name(error))
        return
    if waiting:
        log.warning(
            "about %d messages are in the dead-letter queue %s, because they were received too often without being "
            "deleted: fix what failed, then %s",
            waiting,
            target.url,
            "see docs/runbook.md" if queue.is_fifo else "run with source=dead_letter_queue",
        )


def _warn_of_risks(attributes: dict[str, str]) -> None:
    """Warn of settings with which good messages end in the dead letters, or bad ones nowhere."""
    if "RedrivePolicy" not in attributes:
        log.warning(
            "the queue has no dead-letter queue: a message that crashes its consumers stays until its retention ends; "
            "give the queue a redrive policy"
        )
    elif (receives := int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])) < MIN_RECEIVES:
        log.warning(
            "the queue's redrive policy has maxReceiveCount %d: after a crash or two, good messages move to the "
            "dead-letter queue; set it to %d or more",
            receives,
            MIN_RECEIVES,
        )
    if attributes.get("VisibilityTimeout") == "0":
        log.warning(
            "the queue's visibility timeout is 0: this pipeline sets its own, but other consumers receive every "
            "message again at once; set it to 30 seconds or more"
        )
