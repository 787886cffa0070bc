"""Move the exercise's messages from its own LocalStack to the queue of the containers: python -m deploy.compose.relay.

That LocalStack, of 2022, speaks only SQS's Query protocol, whose answers are XML, and boto3 only its later one. The
messages get ids and sent times of their own, as if they were sent now.
"""

import time
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen
from xml.etree import ElementTree as ET

from sandbox.queues import CONTAINERS, QUEUE, client

SOURCE = "http://takehome-localstack:4566/000000000000/login-queue"
START = 90  # seconds that the image may take until its queue answers


def ask(action: str, **parameters: str) -> ET.Element:
    """One call of the Query protocol, and its answer."""
    with urlopen(SOURCE, urlencode({"Action": action} | parameters).encode(), timeout=30) as answer:
        return ET.fromstring(answer.read())  # noqa: S314 - it comes from a container of ours


def wait() -> None:
    """Until the queue answers."""
    deadline = time.monotonic() + START
    while True:
        try:
            ask("GetQueueAttributes")
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def main() -> None:
    """A message is deleted there after it is here."""
    wait()
    sqs = client(CONTAINERS)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    moved = 0
    while messages := ask("ReceiveMessage", MaxNumberOfMessages="10", WaitTimeSeconds="1").findall(".//{*}Message"):
        for message in messages:
            sqs.send_message(QueueUrl=url, MessageBody=message.findtext("{*}Body", ""))
            ask("DeleteMessage", ReceiptHandle=message.findtext("{*}ReceiptHandle", ""))
            moved += 1
    print(f"Moved {moved:,} messages from the exercise's queue")


if __name__ == "__main__":
    main()
