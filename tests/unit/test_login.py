import json
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.events import login
from include.events.login import Login, RejectedMessage
from include.events.message import Message

EVENT = {
    "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
    "app_version": "2.3.0",
    "device_type": "android",
    "ip": "199.172.111.135",
    "locale": "RU",
    "device_id": "593-47-5928",
}
LENGTHS = {"user_id": 128, "device_type": 32, "ip": 256, "locale": 32, "device_id": 256}
OPTIONAL = [name for name in EVENT if name != "user_id"]


def parse(body):
    return login.parse(Message(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), 1, body))


def rejected(body):
    with pytest.raises(RejectedMessage) as caught:
        parse(body)
    return caught.value


def test_the_flat_event():
    assert parse(json.dumps(EVENT)) == Login(**EVENT)


def test_the_event_inside_an_sns_notification():
    assert parse(json.dumps({"Type": "Notification", "Message": json.dumps(EVENT)})) == Login(**EVENT)


def test_the_event_inside_an_eventbridge_event():
    assert parse(json.dumps({"detail-type": "Login", "source": "app", "detail": EVENT})) == Login(**EVENT)


ENVELOPES = {
    "notification": lambda text: json.dumps({"Type": "Notification", "Message": text}),
    "event": lambda text: f'{{"detail-type": "Login", "detail": {text}}}',
    "event with a text": lambda text: json.dumps({"detail-type": "Login", "detail": text}),
}


@pytest.mark.parametrize("names", [names for layers in (1, 2, 3) for names in product(ENVELOPES, repeat=layers)])
def test_the_event_in_up_to_three_envelopes(names):
    body = json.dumps(EVENT)
    for name in names:
        body = ENVELOPES[name](body)
    assert parse(body) == Login(**EVENT)
    if len(names) == 3:
        for envelope in ENVELOPES.values():
            assert rejected(envelope(body)).reason == "body: unknown_envelope"


@pytest.mark.parametrize("name", OPTIONAL)
def test_all_but_the_user_may_be_null_or_absent(name):
    absent = {key: value for key, value in EVENT.items() if key != name}
    for event in (absent, absent | {name: None}):
        assert getattr(parse(json.dumps(event)), name) is None


def test_unknown_fields_are_ignored():
    assert parse(json.dumps(EVENT | {"password": "hunter2"})) == Login(**EVENT)


def test_text_that_is_no_address_is_accepted():
    assert parse(json.dumps(EVENT | {"ip": "unknown"})).ip == "unknown"


@pytest.mark.parametrize("name", [name for name in EVENT if name != "app_version"])
@pytest.mark.parametrize("value", [5, 5.5, True, [], {}, ["a"], {"a": 1}])
def test_a_value_of_another_type_is_rejected(name, value):
    reject = rejected(json.dumps(EVENT | {name: value}))
    assert reject.fields == [name]
    assert reject.reason == f"{name}: string_type"


@pytest.mark.parametrize(("name", "length"), LENGTHS.items())
def test_a_value_longer_than_its_column_is_rejected(name, length):
    assert parse(json.dumps(EVENT | {name: "1" * length}))
    assert rejected(json.dumps(EVENT | {name: "1" * (length + 1)})).reason == f"{name}: string_too_long"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((text, text) for text in ("1.2.3.4", "2147.0.0", "2.3.0-beta.1", "2.3.0 (456)", "v2.3.0", "1" * 32)),
        *((value, None) for value in ("", "1.2\0", 5, 5.5, True, [], {"a": 1}, None)),
        ("1" * 33, "1" * 32),
        ("x" * 100_000, "x" * 32),
    ],
)
def test_a_login_is_never_rejected_for_its_version(value, text):
    assert parse(json.dumps(EVENT | {"app_version": value})).app_version == text


@pytest.mark.parametrize("name", [name for name in EVENT if name != "app_version"])
def test_nul_is_rejected(name):
    assert rejected(json.dumps(EVENT | {name: "a\0b"})).reason == f"{name}: nul_character"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "body: json_invalid"),
        ("nonsense", "body: json_invalid"),
        ("\ufeff{}", "user_id: missing"),
        ("\ufeff\ufeff{}", "body: json_invalid"),
        ("null", "body: not_an_object"),
        ("[]", "body: not_an_object"),
        ("{}", "user_id: missing"),
        ('{"foo": "oops_wrong_msg_type", "bar": "123"}', "user_id: missing"),
        ('{"user_id": ""}', "user_id: string_too_short"),
        ('{"user_id": null}', "user_id: string_type"),
        ('{"user_id": "\\ud800"}', "body: json_invalid"),
        ('{"user_id": "\ud800"}', "body: lone_surrogate"),
        ('{"user_id": "u", "ip": 1, "locale": 2}', "ip: string_type; locale: string_type"),
        ("[" * 100_000, "body: json_invalid"),
        ('{"user_id":' * 10_000, "body: json_invalid"),
        ('{"x": ' + "9" * 5_000 + "}", "body: json_invalid"),
        ('{"Type": "Notification", "Message": "nonsense"}', "Message: json_invalid"),
        ('{"Type": "Notification", "Message": 5}', "Message: not_an_object"),
        ('{"Type": "Notification", "Message": "{\\"user_id\\": 5}"}', "user_id: string_type"),
        ('{"detail-type": "x", "detail": "y"}', "detail: json_invalid"),
        ('{"detail-type": "x", "detail": ["y"]}', "detail: not_an_object"),
        ('{"Records": [{"body": {"user_id": "u"}}]}', "body: unknown_envelope"),
        ('{"detail-type": "x", "detail": {"ip": 1}}', "ip: string_type; user_id: missing"),
    ],
)
def test_the_reason_names_field_and_rule(body, reason):
    assert rejected(body).reason == reason


def test_neither_the_reason_nor_what_hangs_on_the_error_holds_a_value():
    secret = "203.0.113.77"
    reject = rejected(json.dumps({"user_id": "u" * 200, "ip": [secret], "device_id": {secret: secret}}))
    assert secret not in f"{reject!r} {reject.reason} {reject.fields}"
    assert reject.__cause__ is None
    assert reject.__context__ is None


def test_a_login_does_not_show_personal_data():
    shown = repr(Login(**EVENT))
    assert EVENT["ip"] not in shown
    assert EVENT["device_id"] not in shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*EVENT, "detail", "x"]), inner),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {}, optional=dict.fromkeys([*EVENT, "Type", "Message", "detail", "detail-type"], json_values)
)


@given(st.text(st.characters(codec=None)) | st.builds(json.dumps, json_values | events))
@example('{"Type": "Notification", "Message": null}')
@example('{"detail-type": {}, "detail": []}')
def test_nothing_but_a_login_or_a_rejection_comes_of_any_text(body):
    try:
        event = parse(body)
    except RejectedMessage as reject:
        assert reject.reason
        assert set(reject.fields) <= {*EVENT, "Message", "detail", "Type"}
    else:
        assert 1 <= len(event.user_id) <= 128
        for name, length in LENGTHS.items():
            text = getattr(event, name) or ""
            assert len(text) <= length
            assert "\0" not in text
            text.encode()


def test_values_do_not_outlive_their_message():
    """pydantic would keep short strings in a cache of the process, where a second parse would find them."""
    event = '{"user_id": "a", "ip": "203.0.113.77", "device_id": "593-47-5928"}'
    for body in (event, f'{{"detail-type": "login", "detail": {event}}}'):
        first, second = parse(body), parse(body)
        assert first.ip == second.ip
        assert first.ip is not second.ip
        assert first.device_id is not second.device_id
