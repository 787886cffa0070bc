"""The stack of deploy/aws/queue.yaml, made on the local AWS server, and used by the pipeline.

That server accepts queue policies, subscriptions and alarms in a template, and makes none: cfn-lint checks those.
"""

import pytest
from botocore.exceptions import ClientError

from tests.support.cloudformation import properties
from tests.support.queues import MESSAGES, left_on, send_events


def test_a_run_drains_the_queue_of_a_new_stack(stack, caplog):
    users = send_events(stack.client("sqs"), stack.queue_url, "user")
    assert stack.run()["deleted"] == MESSAGES
    assert stack.loaded() == users
    assert left_on(stack.client("sqs"), stack.queue_url) == 0
    assert not [text for text in caplog.messages if "redrive" in text or "visibility" in text or "for 14 days" in text]


def test_what_is_received_too_often_is_drained_from_the_dead_letters(stack):
    stack.let_die(stack.queue_url, "poison")
    assert left_on(stack.client("sqs"), stack.dead_letters_url) == 1
    assert stack.run("dead_letter_queue")["deleted"] == 1
    assert stack.loaded() == ["poison"]
    assert left_on(stack.client("sqs"), stack.dead_letters_url) == 0


def test_messages_are_encrypted_with_a_key_that_is_rotated(stack):
    kms, key = stack.client("kms"), stack.outputs["KeyArn"]
    for url in (stack.queue_url, stack.dead_letters_url):
        attributes = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["KmsMasterKeyId"] == key
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    [alias] = [alias for alias in kms.list_aliases()["Aliases"] if alias["AliasName"] == f"alias/{stack.name}"]
    assert key.endswith(f"key/{alias['TargetKeyId']}")


def test_a_login_that_is_published_to_a_topic_is_loaded(stack):
    sns, subscription = stack.client("sns"), properties("Subscription")
    topic = sns.create_topic(Name=stack.name)["TopicArn"]
    stack.update(TopicArn=topic)
    sns.subscribe(  # as the template has it, since the server does not make it
        TopicArn=topic,
        Protocol=subscription["Protocol"],
        Endpoint=stack.arn(stack.queue_url),
        Attributes={"RawMessageDelivery": str(subscription["RawMessageDelivery"]).lower()},
    )
    sns.publish(TopicArn=topic, Message='{"user_id": "published"}')
    stack.run()
    assert stack.loaded() == ["published"]


def test_a_stack_is_updated_with_a_rule_used_and_deleted(stack):
    queue_url = stack.queue_url
    stack.update(EventSource="com.example", EventDetailType="login")
    assert stack.queue_url == queue_url
    event = {"Source": "com.example", "DetailType": "login", "Detail": '{"user_id": "by rule"}'}
    others = [event | {"DetailType": "logout"}, event | {"Source": "com.example.other"}]
    stack.client("events").put_events(Entries=[event, *others])
    assert stack.run()["received"] == 1
    assert stack.loaded() == ["by rule"]
    stack.delete()
    with pytest.raises(ClientError, match="does not exist"):
        stack.read_outputs()
    assert stack.client("events").list_rules(NamePrefix=stack.name)["Rules"] == []
