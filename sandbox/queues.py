"""The sample queue and its dead-letter queue, on a local SQS server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
from botocore.session import Session

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE = "login-queue"
DEAD_LETTERS = "login-queue-dead-letters"
MAX_RECEIVES = 5
LONGEST = str(14 * 86_400)  # seconds; a dead letter's age counts from when it was sent
CONTAINERS = "http://sqs:4566"  # where sample events go; never to a queue of .env, which may be a real one


def client(endpoint: str) -> SQSClient:
    """A client for a local SQS server, which takes any credentials; a profile of this machine's does not count."""
    no_profile = Session(session_vars={"profile": (None, None, None, None)})  # one that is gone would be an error
    return boto3.Session(botocore_session=no_profile).client(
        "sqs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 - it takes any
    )


def make_queues(sqs: SQSClient) -> None:
    """Make both queues."""
    dead_letters = sqs.create_queue(QueueName=DEAD_LETTERS, Attributes={"MessageRetentionPeriod": LONGEST})["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]
    redrive = {"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": MAX_RECEIVES}
    sqs.create_queue(QueueName=QUEUE, Attributes={"RedrivePolicy": json.dumps(redrive)})
