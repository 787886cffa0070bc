"""One login in each form in which producers, load balancers and envelopes hand it on, and what is none."""

import json
from collections.abc import Iterator

ONE_ADDRESS = ("203.0.113.7", " 203.0.113.7\n", "203.0.113.7:51234", "::ffff:203.0.113.7", "[::FFFF:203.0.113.7]:443")
ANOTHER_ADDRESS = ("2001:db8::7", "2001:DB8:0:0::7", "[2001:db8::7]", "[2001:db8::7]:443", "2001:db8::7%eth0")
NO_ADDRESS = ("203.0.113.7, 198.51.100.2", "localhost:80")  # masked as they are, and counted
ONE_DEVICE = ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7C9E6679-7425-40DE-944B-E07FC1F90AE7")
NOTHING = (
    *("", " ", "null", "None", "undefined", "Unknown", "NaN", "n/a"),
    *("0.0.0.0", "::", "00000000-0000-0000-0000-000000000000"),  # noqa: S104 - nothing listens there
)
VERSIONS = ("2.3.0", "v2.3.0", "2.3", "10.2.1234", "16.2.34.0", "2.3.0-beta.1", "2.3.0 (456)", "", 2.3, None)


def forms() -> Iterator[str]:
    """Yield message bodies: logins, whose users say what is special about them, and six that are rejected."""
    addresses = (*ONE_ADDRESS, *ANOTHER_ADDRESS, *NO_ADDRESS, *NOTHING)
    events: list[tuple[str, object]] = [("ip", text) for text in addresses]
    events += [("device_id", text) for text in (*ONE_DEVICE, *NOTHING)]
    events += [("app_version", text) for text in VERSIONS]
    for name, value in events:
        yield _login(f"{name} {value!r}", **{name: value})
    yield "\ufeff" + _login("byte order mark")
    yield _notification(_login("SNS"))
    yield _event(_login("EventBridge"))
    yield _event(json.dumps(_login("EventBridge, detail as a text")))
    yield _notification(_event(_login("EventBridge in SNS")))
    yield _notification(_notification(_event(_login("EventBridge in SNS in SNS"))))
    # rejected
    yield _notification(_notification(_notification(_event(_login("one envelope too many")))))
    yield json.dumps({"data": json.loads(_login("unknown envelope"))})
    yield json.dumps({"foo": "oops_wrong_msg_type", "bar": "123"})
    yield _login("a number for an address", ip=5)
    yield _login("cut off")[:-1]
    yield json.dumps([_login("too large")] * 3_000)


def _login(user: str, **fields: object) -> str:
    return json.dumps({"user_id": user, "app_version": "2.3.0", "device_type": "ios", "locale": "RU"} | fields)


def _notification(message: str) -> str:
    return json.dumps(
        {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:123456789012:logins", "Message": message}
    )


def _event(detail: str) -> str:
    return f'{{"version": "0", "detail-type": "Login", "source": "app", "detail": {detail}}}'
