"""The stack of deploy/aws/queue.yaml, made on the local AWS server, and a run of the pipeline on its queue."""

import functools
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import boto3
import pytest

from include import pipeline
from include.events.message import Origin, Run
from include.sensor import SqsBacklogSensor
from include.sqs import calls
from sandbox.queues import MAX_RECEIVES
from sandbox.servers import Servers
from tests.support.cloudformation import TEMPLATE

REGION = "us-east-1"


@functools.cache
def client(service, endpoint):
    keys = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"}
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys)


@dataclass
class Stack:
    """A stack, and the clients of somebody who may do everything; its outputs, with queues at the local server."""

    local: Servers
    name: str

    def client(self, service):
        return client(service, self.local.sqs)

    def arguments(self, **parameters):
        return {
            "StackName": self.name,
            "TemplateBody": TEMPLATE.read_text(),
            "Capabilities": ["CAPABILITY_IAM"],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        }

    def create(self):
        self.client("cloudformation").create_stack(**self.arguments())
        self.read_outputs()

    def update(self, **parameters):
        self.client("cloudformation").update_stack(**self.arguments(**parameters))
        self.read_outputs()

    def delete(self):
        self.client("cloudformation").delete_stack(StackName=self.name)

    def read_outputs(self):
        [stack] = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        assert stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        self.queue_url = self.local.sqs + urlsplit(self.outputs["QueueUrl"]).path
        self.dead_letters_url = self.local.sqs + urlsplit(self.outputs["DeadLetterQueueUrl"]).path

    def arn(self, url):
        answer = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]

    def let_die(self, url, user):
        """Send a login, and receive it as often as it may be without being deleted; the next call moves it.

        No other message may be on the queue.
        """
        sqs = self.client("sqs")
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"user_id": user}))
        for _ in range(MAX_RECEIVES):
            assert len(sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]) == 1
        assert "Messages" not in sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)

    def run(self, source="queue"):
        """All tasks of a run, by the pipeline's own functions and sensor; what the drain counted."""
        run = Run("user_logins", uuid.uuid4().hex)
        url = pipeline.check_setup(run, self.queue_url, source=source, window=None)
        assert SqsBacklogSensor(task_id="wait_for_messages", sqs_queue=url).poke({})
        [share] = pipeline.plan_drain(url, max_messages=100, max_workers=1)
        origin = Origin(run, 0, 1, datetime.now(UTC), source, url)
        counts = pipeline.drain_and_mask(share, url, self.queue_url, origin=origin, seconds=30)
        pipeline.merge_user_logins(run)
        pipeline.check_run(run, source, url, drained=[counts])
        return counts

    def loaded(self):
        """The users in `user_logins`."""
        with self.local.connect() as warehouse:
            return sorted(user for (user,) in warehouse.execute("select user_id from public.user_logins"))


@pytest.fixture
def stack(empty_warehouse, connected, monkeypatch):
    """A new stack; nothing waits for messages that do not come."""
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0)
    stack = Stack(empty_warehouse, f"logins-{uuid.uuid4().hex[:8]}")
    stack.create()
    yield stack
    stack.delete()
