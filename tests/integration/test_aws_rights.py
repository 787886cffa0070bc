"""The policy of deploy/aws/queue.yaml is enough for the pipeline, and nothing in it can be left out.

The local AWS server enforces it for a user of IAM, but encrypts nothing: that `kms:Decrypt` is needed is not shown.
What it asks for otherwise than AWS does is granted beside the policy, and only where the policy has the action. It
denies in a form of which botocore cannot read the code, so the errors here are botocore's, not the pipeline's sentence.
"""

import json
import logging
import urllib.request
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from include.connections import sqs_client
from sandbox.queues import MAX_RECEIVES
from tests.support.cloudformation import actions
from tests.support.queues import left_on, send_events
from tests.support.stacks import REGION

# AWS allows these calls by the action of the single one; the local server asks for an action of their own.
BATCHES = {
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}
UNKNOWN_QUEUE = "sqs:GetQueueUrl"  # the local server does not see which queue this is about, and asks for all
DENIED = "is not authorized to perform: "


@contextmanager
def enforcing(local):
    """Let the local server ask policies what a user may do."""

    def allow_without(calls):
        request = urllib.request.Request(f"{local.sqs}/moto-api/reset-auth", calls, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()

    allow_without(b"0")
    try:
        yield
    finally:
        allow_without(b"inf")


@pytest.fixture
def worker(stack, monkeypatch):
    """The pipeline logs in as a user of IAM; call it to give the user these statements instead of those before."""
    iam = stack.client("iam")
    iam.create_user(UserName=stack.name)
    key = iam.create_access_key(UserName=stack.name)["AccessKey"]
    extra = {"endpoint_url": stack.local.sqs, "region_name": REGION}
    connection = {"conn_type": "aws", "login": key["AccessKeyId"], "password": key["SecretAccessKey"], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_SQS", json.dumps(connection))

    def may(statements):
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=stack.name, PolicyName="of_the_test", PolicyDocument=document)

    yield may
    for policy in iam.list_attached_user_policies(UserName=stack.name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=stack.name, PolicyArn=policy["PolicyArn"])


@pytest.fixture
def theirs(stack):
    """Another queue, which shares the dead letters of the stack's."""
    redrive = {"deadLetterTargetArn": stack.arn(stack.dead_letters_url), "maxReceiveCount": MAX_RECEIVES}
    attributes = {"RedrivePolicy": json.dumps(redrive)}
    url = stack.client("sqs").create_queue(QueueName=f"{stack.name}-theirs", Attributes=attributes)["QueueUrl"]
    yield url
    stack.client("sqs").delete_queue(QueueUrl=url)


def statements_of(stack):
    """The statements of the policy, as the stack has made it."""
    version = stack.client("iam").get_policy_version(PolicyArn=stack.outputs["PolicyArn"], VersionId="v1")
    return version["PolicyVersion"]["Document"]["Statement"]


def of_the_server(statements):
    """What the local server asks for beside the actions of the statements."""
    return [
        {"Effect": "Allow", "Action": BATCHES.get(action, action), "Resource": resource}
        for statement in statements
        for action in actions(statement)
        for resource in ["*" if action == UNKNOWN_QUEUE else statement["Resource"]]
        if action in {*BATCHES, UNKNOWN_QUEUE}
    ]


def test_the_policy_allows_what_runs_do_and_nothing_else(stack, worker, theirs, caplog):
    caplog.set_level(logging.INFO)
    stack.client("iam").attach_user_policy(UserName=stack.name, PolicyArn=stack.outputs["PolicyArn"])
    worker(of_the_server(statements_of(stack)))
    stack.let_die(theirs, "theirs")
    stack.let_die(stack.queue_url, "dead")
    users = send_events(stack.client("sqs"), stack.queue_url, "user")
    with enforcing(stack.local):
        stack.run()
        assert stack.run("dead_letter_queue")["deleted"] == 1
        denied = sqs_client()
        for url in (stack.queue_url, stack.dead_letters_url):
            for call in (
                lambda url: denied.send_message(QueueUrl=url, MessageBody="{}"),
                lambda url: denied.purge_queue(QueueUrl=url),
                lambda url: denied.delete_queue(QueueUrl=url),
                lambda url: denied.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"}),
            ):
                with pytest.raises(ClientError, match=DENIED):
                    call(url)
        for call in (denied.receive_message, denied.get_queue_attributes):
            with pytest.raises(ClientError, match=DENIED):
                call(QueueUrl=theirs)
    assert stack.loaded() == sorted(["dead", *users])
    assert left_on(stack.client("sqs"), stack.dead_letters_url) == 1
    assert not [text for text in caplog.messages if "not counted" in text or "stay hidden" in text]


def test_without_any_one_action_of_the_policy_a_run_fails_for_want_of_it(stack, worker, theirs):
    statements = statements_of(stack)
    needed = [(each["Sid"], action) for each in statements for action in actions(each) if action != "kms:Decrypt"]
    assert len(needed) == 9
    stack.let_die(stack.queue_url, "dead")
    send_events(stack.client("sqs"), stack.queue_url, "user")
    for sid, missing in needed:
        left = [without(missing, each) if each["Sid"] == sid else each for each in statements]
        worker(left + of_the_server(left))
        with enforcing(stack.local), pytest.raises(ClientError, match=f"{DENIED}{missing}(Batch)?<"):
            stack.run("queue" if sid == "DrainQueue" else "dead_letter_queue")
    worker(statements + of_the_server(statements))
    with enforcing(stack.local):
        assert stack.run("dead_letter_queue")["deleted"] == 1


def without(action, statement):
    return statement | {"Action": [each for each in actions(statement) if each != action]}
