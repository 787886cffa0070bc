"""Send sample events to the queue of the containers: python -m sandbox.compose.seed [NUMBER] [--seed SEED]."""

import argparse
from random import SystemRandom

from sandbox.events import sample_events, send
from sandbox.queues import QUEUE, client

ENDPOINT = "http://sqs:4566"  # never that of .env, which may be a real queue


def main() -> None:
    """New events each time, unless the seed is given."""
    parser = argparse.ArgumentParser(prog="docker compose run --rm seed", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=100, metavar="NUMBER", help="how many; 100 unless given")
    parser.add_argument("--seed", type=int, help="the same seed gives the same events")
    arguments = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    sqs = client(ENDPOINT)
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    print(f"Sent {send(sqs, url, sample_events(arguments.events, seed)):,} sample events (seed {seed})")


main()
