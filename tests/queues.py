"""What a test does to a queue, and asks of it."""


def show_again(sqs, queue_url, handles):
    """What SQS does when visibility timeouts pass: messages that were received, and not deleted, can be again."""
    for handle in handles:
        entry = {"Id": "0", "ReceiptHandle": handle, "VisibilityTimeout": 0}
        sqs.change_message_visibility_batch(QueueUrl=queue_url, Entries=[entry])  # a deleted one is in its `Failed`


def left_on(sqs, queue_url):
    """How many messages a queue has, whether they can be received now or are hidden."""
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])
