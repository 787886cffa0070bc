import json
from argparse import ArgumentTypeError
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest

from include.events.login import RejectedMessage, parse
from include.events.message import Message
from sandbox.events import SHARED_ADDRESSES, SHARED_DEVICES, number_of_events, sample_events
from sandbox.forms import forms


def test_the_same_seed_gives_the_same_events():
    assert list(sample_events(250, 7)) == list(sample_events(250, 7))
    assert list(sample_events(250, 7)) != list(sample_events(250, 8))


@pytest.mark.parametrize("text", ["-1", "5001", "1e3", "", "many", "٣"])
def test_a_wrong_number_is_refused_in_one_short_sentence(text):
    with pytest.raises(ArgumentTypeError, match=r"^.{0,4} is not a number from 0 to 5,000, .{,60}$"):
        number_of_events(text)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000])
def test_any_number_of_events(count):
    assert len(list(sample_events(count, 1))) == count


def test_a_hundred_events_have_the_known_shape():
    logins, rejects = [], []
    for body in sample_events(100, 1):
        try:
            logins.append(parse(Message(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 1, body)))
        except RejectedMessage as reject:
            rejects.append(reject.reason)
    assert rejects == ["user_id: missing"]
    assert sum(login.locale is None for login in logins) == 30
    assert len({login.user_id for login in logins}) == 99
    for field, groups in (("device_id", SHARED_DEVICES), ("ip", SHARED_ADDRESSES)):
        counts = Counter(getattr(login, field) for login in logins)
        assert sorted((size for size in counts.values() if size > 1), reverse=True) == list(groups)


def test_forms_are_logins_of_few_clients_or_are_rejected_with_a_reason(keyring):
    logins, rejects = [], []
    for body in forms():
        try:
            logins.append(parse(Message(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 1, body)))
        except RejectedMessage as reject:
            rejects.append(reject.reason)
    masks = Counter(keyring.mask(login.ip, field="ip") for login in logins if login.ip is not None)
    assert sorted(masks.values()) == [1, 1, 5, 5, 11]
    ids = [login.device_id for login in logins if login.device_id is not None]
    devices = Counter(keyring.mask(device, field="device_id") for device in ids)
    assert sorted(devices.values()) == [2, 11]
    assert masks[None] == devices[None] == 11
    assert rejects == [
        "body: unknown_envelope",
        "body: unknown_envelope",
        "user_id: missing",
        "ip: string_type",
        "body: json_invalid",
        "body: not_an_object",
    ]


def test_an_event_has_the_exercises_fields():
    names = {"user_id", "app_version", "device_type", "ip", "locale", "device_id"}
    assert {frozenset(json.loads(body)) for body in sample_events(100, 1)} == {
        frozenset(names),
        frozenset({"foo", "bar"}),
    }
