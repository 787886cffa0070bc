"""Is the queue as it must be? Asked before the first message is taken."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ConnectionError as EndpointError
from botocore.exceptions import HTTPClientError

from include.events.message import QueueSource
from include.failures import SetupError
from include.sqs.calls import MADE_UP_HANDLE, Queue, delete_once
from include.sqs.dead_letters import (
    Depth,
    attributes_of,
    dead_letter_queue,
    depth_of,
    only_ours,
    warn_of_dead_letters,
)

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

SECONDS_A_DAY = 86_400
MIN_RECEIVES = 3  # a message is received again after a crash and after a failed delete


@dataclass(frozen=True, slots=True)
class CheckedQueue:
    """The URL of the queue to drain, and the depth of the queue that is configured."""

    url: str
    depth: Depth


def check_queue(
    sqs: SQSClient, configured: str, source: QueueSource, named: str = "user_logins_queue_url"
) -> CheckedQueue:
    """The queue that this run drains, once it is known to exist and to allow deletes.

    `configured` is its URL, or that of the queue whose dead letters are drained, in the variable `named`. Raises
    SetupError for what somebody has to fix and ConnectionError for an endpoint that does not answer; warns of a
    redrive policy that is missing or that would dead-letter good messages.
    """
    if configured != configured.strip():
        raise SetupError(f"variable {named} has white space around the queue's URL: remove it")
    if not configured.startswith(("http://", "https://")):
        fault = "is an ARN, not" if configured.startswith("arn:") else "is not set to"
        raise SetupError(
            f"variable {named} {fault} the URL of a queue: set it to, for example, "
            "https://sqs.eu-west-1.amazonaws.com/123456789012/login-queue"
        )
    try:
        queue = Queue(sqs, configured)
        attributes = attributes_of(queue)
        if source == "dead_letter_queue":
            queue = only_ours(dead_letter_queue(queue, attributes), queue, seconds=0)
            of_dead_letters = attributes_of(queue)
        else:
            _warn_of_another_server(queue, named)
            _warn_of_risks(attributes)
            of_dead_letters = warn_of_dead_letters(queue, attributes)
            _warn_of_retention(attributes, of_dead_letters)
        delete_once(queue, [MADE_UP_HANDLE])  # a policy that forbids it says so before any message is taken
    except (EndpointError, HTTPClientError):
        raise ConnectionError(
            f"connection aws_sqs: {sqs.meta.endpoint_url} does not answer: check region_name, endpoint_url "
            "and config_kwargs, and the network between"
        ) from None
    return CheckedQueue(queue.url, depth_of(attributes, of_dead_letters))


def _warn_of_another_server(queue: Queue, named: str) -> None:
    """Warn where the URL is AWS's and the endpoint is not, or the other way round: the endpoint is asked, not the URL.

    Other differences may be aliases of one server.
    """
    asked = queue.client.meta.endpoint_url
    hosts = (urlsplit(url).hostname or "" for url in (queue.url, asked))
    if len({host.endswith((".amazonaws.com", ".amazonaws.com.cn")) for host in hosts}) > 1:
        log.warning(
            "variable %s names %s, but connection aws_sqs asks %s, which may have another queue of that name: correct "
            "one of them",
            named,
            queue.url,
            asked,
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


def _warn_of_retention(attributes: dict[str, str], of_dead_letters: dict[str, str]) -> None:
    """Warn where dead letters are kept no longer than the queue's messages; where that is not known, of nothing.

    In a standard queue their age counts from when they were sent. In a FIFO queue it counts anew.
    """
    queue, dead_letters = (
        int(each.get("MessageRetentionPeriod", 0)) / SECONDS_A_DAY for each in (attributes, of_dead_letters)
    )
    if attributes.get("FifoQueue") != "true" and 0 < dead_letters <= queue:
        log.warning(
            "the dead-letter queue keeps messages for %.3g days, the queue for %.3g, and their age counts from when "
            "they were sent: old ones are gone soon after they arrive there; let the first be the longer one",
            dead_letters,
            queue,
        )
