"""The local SQS server, asked by many at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sandbox.events import sample_events, send


def test_each_message_is_given_once_and_no_deletion_is_forgotten(local, queue_url):
    """Without the server's own locks, about one deletion in a hundred was forgotten here."""

    def drain(_):
        sqs = local.client()
        while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            given.update(message["MessageId"] for message in messages)
            handles = [message["ReceiptHandle"] for message in messages]
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]
            assert len(sqs.delete_message_batch(QueueUrl=queue_url, Entries=entries)["Successful"]) == len(handles)

    given = Counter()
    send(local.client(), queue_url, sample_events(2_000, 1))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(drain, range(16)))
    assert len(given) == given.total() == 2_000
    counts = local.client().get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"
