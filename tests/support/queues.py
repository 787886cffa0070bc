"""What a test does to a queue, and asks of it."""

import json

from sandbox.events import sample_events, send

MESSAGES = 30


def send_events(sqs, queue_url, prefix):
    """Send MESSAGES events, every tenth a bad one; return the users of the good ones, who are all different."""
    events = map(json.loads, sample_events(MESSAGES, 1))
    logins = {f"{prefix}-{number}": event for number, event in enumerate(events) if number % 10 != 9}
    bodies = [json.dumps(event | {"user_id": user}) for user, event in logins.items()]
    send(sqs, queue_url, iter(bodies + ['{"no": "login"}'] * (MESSAGES - len(bodies))))
    return sorted(logins)


def show_again(sqs, queue_url, handles):
    """What SQS does when visibility timeouts pass: messages that were received, and not deleted, can be again."""
    for handle in handles:
        entry = {"Id": "0", "ReceiptHandle": handle, "VisibilityTimeout": 0}
        sqs.change_message_visibility_batch(QueueUrl=queue_url, Entries=[entry])  # a deleted one is in its `Failed`


def left_on(sqs, queue_url):
    """How many messages a queue has, whether they can be received now or are hidden."""
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def give_dead_letter_queue(sqs, queue_url, receives=3, days=14):
    """Let the queue move messages that are received more often than that to one of its name with `-dead` behind it.

    That one keeps messages for so many days.
    """
    name = f"{queue_url.rsplit('/', 1)[1]}-dead"
    kept = {"MessageRetentionPeriod": str(days * 86_400)}
    dead_letters = sqs.create_queue(QueueName=name, Attributes=kept)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy})
