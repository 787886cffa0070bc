"""Sample login events, with the shape of the real ones and duplicates that are known."""

import json
import random
import uuid
from argparse import ArgumentTypeError
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MOST_EVENTS = 5_000  # the local SQS server slows down with the depth of its queue
BLOCK = 100
WITHOUT_LOCALE = 30
# Of every full hundred: how many logins share one device, another device, one address, another address.
SHARED_DEVICES = (5, 3)
SHARED_ADDRESSES = (6, 2)
LOCALES = ("RU", "FR", "ID", "CN", "PT", "PH", "BR", "KR", "DE", "US")


def number_of_events(text: str) -> int:
    """What a command line says; ArgumentTypeError, with a sentence for the user, where that cannot be."""
    if not (text.isascii() and text.isdecimal()) or int(text) > MOST_EVENTS:
        raise ArgumentTypeError(
            f"{text} is not a number from 0 to {MOST_EVENTS:,}, the most that the local SQS server handles well"
        )
    return int(text)


def sample_events(count: int, seed: int) -> Iterator[str]:
    """Yield `count` message bodies; the same seed gives the same ones.

    Of every full hundred one is of a wrong type and 99 are logins, 30 of them without a locale.
    Addresses come from all of IPv4, class E and multicast included, as producers do send them.
    """
    randomness = random.Random(seed)
    while count > 0:
        block = _block(randomness)[:count]
        randomness.shuffle(block)
        yield from block
        count -= len(block)


def _block(randomness: random.Random) -> list[str]:
    devices = [_device(randomness) for _ in range(BLOCK - 1)]
    addresses = [_address(randomness) for _ in range(BLOCK - 1)]
    start = 0
    for values, groups in ((devices, SHARED_DEVICES), (addresses, SHARED_ADDRESSES)):
        for size in groups:
            values[start : start + size] = [values[start]] * size
            start += size
    logins = [
        {
            "user_id": str(uuid.UUID(int=randomness.getrandbits(128), version=4)),
            "app_version": _version(randomness),
            "device_type": randomness.choice(("android", "ios")),
            "ip": address,
            "locale": None if number >= BLOCK - WITHOUT_LOCALE - 1 else randomness.choice(LOCALES),
            "device_id": device,
        }
        for number, (device, address) in enumerate(zip(devices, addresses, strict=True))
    ]
    return [json.dumps(login) for login in logins] + ['{"foo": "oops_wrong_msg_type", "bar": "123"}']


def _device(randomness: random.Random) -> str:
    digits = f"{randomness.randrange(10**9):09}"
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"


def _address(randomness: random.Random) -> str:
    return str(IPv4Address(randomness.getrandbits(32)))


def _version(randomness: random.Random) -> str:
    major, minor, patch = randomness.randrange(9), randomness.randrange(100), randomness.randrange(10)
    return randomness.choice((f"{major}.{minor:02}", f"{major}.{minor % 10}.{patch}"))


def send(sqs: "SQSClient", queue_url: str, bodies: Iterator[str]) -> int:
    """Send the bodies, ten a call, and return how many were sent."""
    sent = 0
    while ten := [body for _, body in zip(range(10), bodies, strict=False)]:
        answer = sqs.send_message_batch(
            QueueUrl=queue_url,
            Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(ten)],
        )
        if answer.get("Failed"):
            raise RuntimeError(f"SQS refused {len(answer['Failed'])} of {len(ten)} sample events")
        sent += len(ten)
    return sent
