"""Send sample events to the queue of the containers, and say what is on it: python -m deploy.compose.seed [NUMBER]."""

import argparse
from random import SystemRandom

from sandbox.events import MOST_EVENTS, number_of_events, sample_events, send
from sandbox.forms import forms
from sandbox.queues import CONTAINERS, QUEUE, client


def main() -> None:
    """New events each time, unless the seed is given."""
    parser = argparse.ArgumentParser(prog="docker compose run --rm seed", description="Send sample events.")
    range_ = f"0 to {MOST_EVENTS:,}; 100 unless given"
    parser.add_argument("NUMBER", nargs="?", type=number_of_events, default=100, help=range_)
    parser.add_argument("--seed", type=int, help="the same seed gives the same events")
    parser.add_argument("--forms", action="store_true", help="also send a login in each form that is known")
    arguments = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    sqs = client(CONTAINERS)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    sent = send(sqs, url, sample_events(arguments.NUMBER, seed))
    if arguments.forms:
        sent += send(sqs, url, forms())
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    waiting = int(counts["ApproximateNumberOfMessages"])
    in_flight = int(counts["ApproximateNumberOfMessagesNotVisible"])
    print(f"Sent {sent:,} sample events (seed {seed}). On the queue: {waiting:,} waiting, {in_flight:,} in flight.")


if __name__ == "__main__":
    main()
