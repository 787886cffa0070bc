"""Is the queue as it must be? Asked before the first message is taken."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionError as EndpointError
from botocore.exceptions import HTTPClientError

from include.events.message import Source
from include.failures import SetupError
from include.sqs.calls import delete_once
from include.sqs.errors import explained

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

FEWEST_RECEIVES = 3  # a message is received again after a crash and after a failed delete
PROBE = "made-up-handle"


def check_queue(sqs: SQSClient, configured: str, source: Source) -> str:
    """The URL of the queue that this run drains, once it is known to exist and to allow deletes.

    `configured` is the variable user_logins_queue_url. Raises SetupError for what somebody has to
    mend and ConnectionError for an endpoint that does not answer; warns of a redrive policy that
    is missing or that would dead-letter good messages.
    """
    if not configured.startswith(("http://", "https://")):
        raise SetupError(
            "variable user_logins_queue_url is not set to the URL of a queue: set it to, for example, "
            "https://sqs.eu-west-1.amazonaws.com/123456789012/login-queue"
        )
    try:
        attributes = _attributes(sqs, configured)
        queue_url = configured
        if source == "dead_letter_queue":
            queue_url = _dead_letter_url(sqs, configured, attributes)
        else:
            _warn(attributes)
        delete_once(sqs, queue_url, [PROBE])  # a policy that forbids it says so before any message is taken
    except (EndpointError, HTTPClientError):
        raise ConnectionError(
            f"connection aws_sqs: {sqs.meta.endpoint_url} does not answer: check region_name and endpoint_url, "
            "and the way there"
        ) from None
    return queue_url


def _attributes(sqs: SQSClient, queue_url: str) -> dict[str, str]:
    with explained(queue_url):
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])
    return {str(name): value for name, value in answer["Attributes"].items()}


def _dead_letter_url(sqs: SQSClient, queue_url: str, attributes: dict[str, str]) -> str:
    if attributes.get("FifoQueue") == "true":
        raise SetupError(
            "param source: the dead-letter queue of a FIFO queue cannot be drained, because SQS resets the sent "
            "time there, and what was loaded already would not be recognised; run with source=queue"
        )
    if "RedrivePolicy" not in attributes:
        raise SetupError(
            f"param source: {queue_url} has no redrive policy, so there is no dead-letter queue to drain; "
            "run with source=queue"
        )
    # arn:aws:sqs:region:account:name
    account, name = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].split(":")[-2:]
    with explained(name):
        return sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]


def _warn(attributes: dict[str, str]) -> None:
    if "RedrivePolicy" not in attributes:
        log.warning(
            "the queue has no dead-letter queue: a message that makes its consumers crash stays until it expires; "
            "give it a redrive policy"
        )
    elif (receives := int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])) < FEWEST_RECEIVES:
        log.warning(
            "the queue's redrive policy has maxReceiveCount %d: a crash or two dead-letters good messages; set %d",
            receives,
            FEWEST_RECEIVES,
        )
    if attributes.get("VisibilityTimeout") == "0":
        log.warning(
            "the queue's visibility timeout is 0: this pipeline sets its own, but other consumers receive every "
            "message again at once; set 30 seconds or more"
        )
