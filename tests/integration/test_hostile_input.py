"""Whatever comes: no body fails a run, none loads a row that it should not, and each reason holds no value."""

import hmac
import ipaddress
import itertools
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import process_time
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from include.batches.drain import drain_and_mask, parse_all
from include.batches.merge import Merged
from include.batches.reconciliation import check_run
from include.batches.staging import stage
from include.events.message import Message, Origin, Run
from include.privacy.masking import Keyring
from include.privacy.sealing import unseal
from include.sqs.calls import Queue, backlog
from include.warehouse.setup import prepare_warehouse
from tests.support.hostile import CORPUS, FIELDS, LONGEST, recipes
from tests.support.merging import merge

BODIES = int(os.environ.get("FUZZED_BODIES", "25000"))
BATCH = 500
KEY = bytes(range(100, 132))
RUN = Origin(Run("user_logins", "a run"), 0, 1, datetime(2026, 1, 1, tzinfo=UTC))

LENGTHS = {"user_id": 128, "device_type": 32, "ip": 256, "locale": 32, "device_id": 256}
RULES = {
    *(
        "json_invalid",
        "unknown_envelope",
        "lone_surrogate",
        "not_an_object",
        "missing",
        "string_type",
        "string_too_short",
    ),
    *("string_too_long", "nul_character"),
}
BROKEN = rf"({'|'.join([*FIELDS, 'body', 'Message', 'detail'])}): ({'|'.join(RULES)})"

STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
LEVELS = 201  # of arrays and objects
LONG_INTEGER = re.compile(r"(?<![.eE+0-9])(?<![eE]-)[0-9]{4301}")  # the whole part of a float included


@dataclass
class Refused(Exception):
    reason: str


def expected(body):
    """The row of a body, before masking, or the reason: README's contract in json and plain Python."""
    try:
        event, where, text = opened(read(body, "body"), "body", body)
    except Refused as refused:
        return refused.reason
    if not isinstance(event, dict):
        return f"{where}: not_an_object"
    if "user_id" not in event and re.search(r'"user_id"\s*:', text.replace("\\", "")):
        return "body: unknown_envelope"
    broken = [f"{name}: {rule}" for name in sorted(FIELDS) if (rule := fault(name, event))]
    if broken:
        return "; ".join(broken)
    fields = {name: event.get(name) for name in FIELDS}
    fields["app_version"] = packed(fields["app_version"])
    return fields | {name: canonical(fields[name], name) for name in ("ip", "device_id")}


def opened(event, where, text, layers=0):
    """What is in an envelope, in which part and as text, after so many layers of them."""
    if not isinstance(event, dict) or "user_id" in event:
        return event, where, text
    if event.get("Type") == "Notification" and "Message" in event:
        where = "Message"
    elif {"detail-type", "detail"} <= event.keys():
        where = "detail"
    else:
        return event, where, text
    if layers == 3:
        raise Refused("body: unknown_envelope")
    content = event[where]
    text = content if isinstance(content, str) else json.dumps(content)
    return opened(read(text, where) if isinstance(content, str) else content, where, text, layers + 1)


def read(text, where):
    """Stricter than Python's json: nowhere a lone surrogate, endless nesting or an endless number."""
    text = text.removeprefix("\ufeff")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(f"{where}: lone_surrogate") from None
    try:
        value = json.loads(text)
        if "\\u" in text:
            for literal in STRING.findall(text):
                json.loads(literal).encode()
    except (ValueError, RecursionError):
        raise Refused(f"{where}: json_invalid") from None
    if len(text) > LEVELS:
        bare = STRING.sub("", text)
        steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", bare))
        if max(itertools.accumulate(steps), default=0) > LEVELS or LONG_INTEGER.search(bare):
            raise Refused(f"{where}: json_invalid")
    return value


def fault(name, event):  # noqa: PLR0911
    value = event.get(name)
    if name == "app_version":
        return None
    if value is None:
        return None if name != "user_id" else "string_type" if name in event else "missing"
    if not isinstance(value, str):
        return "string_type"
    if len(value) > LENGTHS[name]:
        return "string_too_long"
    if name == "user_id" and not value:
        return "string_too_short"
    if "\0" in value:
        return "nul_character"
    return None


def packed(version):
    if not isinstance(version, str):
        return None
    parts = version[:32].removeprefix("v" if version.startswith("v") else "V").split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return None
    major, minor, patch = map(int, [*parts, 0, 0][:3])
    return int(f"{major}{minor:03}{patch:03}") if major <= 2146 and minor <= 999 and patch <= 999 else None


def canonical(value, name):
    value = (value or "").strip()
    if name == "ip":
        value = address_in(value) or value
    elif [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12] and set(value) <= set("-0123456789abcdefABCDEF"):
        value = value.lower()
    nothing = {"", "null", "none", "undefined", "unknown", "nan", "n/a", "0.0.0.0", "::", str(UUID(int=0))}
    return None if value.lower() in nothing else value


def address_in(text):
    """The address in a text, which may have a port, brackets and a zone; None where there is none."""
    host, port = text, "0"
    if ":" in text and text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = (port[1:] if port.startswith(":") else "no port") if port else "0" if bracket else "no bracket"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or ("%" in host and ":" not in text):
        return None
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def masked(fields):
    """The row as it is loaded; docs/masking.md has the formula."""
    kid = hmac.digest(KEY, b"key-id", "sha256").hex()[:8]
    raw = {name: fields[name] for name in ("ip", "device_id") if fields[name] is not None}
    masks = {name: hmac.digest(KEY, b"%s\0%s" % (name.encode(), raw[name].encode()), "sha256").hex() for name in raw}
    return fields | {name: f"{kid}:{mask}" for name, mask in masks.items()}


def messages_of(bodies, numbers=None):
    """Messages a minute apart, so that they are of many days."""
    return [
        Message(UUID(int=number), RUN.started_at + timedelta(minutes=number), 1, body)
        for body, number in zip(bodies, numbers or itertools.count(), strict=False)
    ]


def outcome(message, result):
    """What is to be found in the warehouse: the row and its day, or the reason, its fields and the body."""
    if isinstance(result, dict):
        return masked(result), message.sent_at.date()
    fields = sorted({broken.split(":")[0] for broken in result.split("; ")} - {"body"})
    body = message.body.encode("utf-8", "surrogatepass")
    if len(body) > 256 * 1024:
        return f"body: too_large; {result}", fields, (len(body), sha256(body).digest())
    return result, fields, message.body


def found(connection, message_ids):
    """What is in the warehouse, by message id."""
    loaded = connection.execute(
        "select message_id, create_date, user_id, app_version, device_type, masked_ip, locale, masked_device_id "
        "from public.user_logins where message_id = any(%s)",
        [message_ids],
    ).fetchall()
    rejected = connection.execute(
        "select message_id, reason, fields, sealed_body, body_bytes, body_sha256 "
        "from login_etl.rejected_messages where message_id = any(%s)",
        [message_ids],
    ).fetchall()
    outcomes = {message_id: (dict(zip(FIELDS, row, strict=True)), day) for message_id, day, *row in loaded}
    for message_id, reason, fields, sealed, *described in rejected:
        body = unseal(sealed, key=KEY, message_id=message_id)[0] if sealed else tuple(described)
        outcomes[message_id] = reason, fields, body
    assert len(outcomes) == len(loaded) + len(rejected)
    return outcomes


def load(connection, messages):
    parsed = parse_all(messages)
    for _, reject in parsed.rejects:
        assert reject.__cause__ is reject.__context__ is reject.__traceback__ is None
    batch = stage(connection, parsed.logins, parsed.rejects, keyring=Keyring([KEY]), origin=RUN)
    merged = merge(connection)
    assert merged == Merged(batches=1, inserted=batch.staged)
    assert batch.received == len(messages)
    return batch


def travels(body):
    """Whether SQS takes it: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""
    return re.fullmatch(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+", body) is not None


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


@pytest.mark.parametrize("name", CORPUS)
def test_the_oracle_knows_the_corpus(name):
    body, result = CORPUS[name]
    assert expected(body) == result


def test_each_body_of_the_corpus_becomes_its_row_or_its_reason(ready):
    messages = messages_of(body for body, _ in CORPUS.values())
    load(ready, messages)
    outcomes = found(ready, [message.message_id for message in messages])
    for message, (name, (_, result)) in zip(messages, CORPUS.items(), strict=True):
        assert outcomes[message.message_id] == outcome(message, result), name


def test_each_body_that_sqs_takes_comes_through_the_drain(sqs, queue_url, ready):
    cases = {name: case for name, case in CORPUS.items() if travels(case[0])}
    names = {
        UUID(sqs.send_message(QueueUrl=queue_url, MessageBody=cases[name][0])["MessageId"]): name for name in cases
    }
    counts = drain_and_mask(
        Queue(sqs, queue_url), ready, Keyring([KEY]), origin=RUN, messages=len(cases) + 1, seconds=60, threads=1
    )
    merge(ready)
    check_run(ready, RUN.run, "queue", counts)
    assert backlog(Queue(sqs, queue_url)) == 0
    assert counts["received"] == counts["deleted"] == len(cases) > len(CORPUS) * 0.9

    sent_at = dict(ready.execute("select message_id, sent_at from login_etl.staging_logins").fetchall())
    outcomes = found(ready, list(names))
    for message_id, name in names.items():
        body, result = cases[name]
        message = Message(message_id, sent_at.get(message_id, RUN.started_at), 1, body)
        assert outcomes[message_id] == outcome(message, result), name


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_body_takes_no_time(name):
    started = process_time()
    parse_all(messages_of([LONGEST[name][0]]))
    assert process_time() - started < 0.5


def test_fuzzed_bodies(ready):
    counts, reasons = Counter(), Counter()
    numbers = itertools.count()  # on and on, since hypothesis repeats what failed

    @settings(
        max_examples=-(-BODIES // BATCH),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a smaller recipe is not a smaller body: the shortest wrong one is shown
        suppress_health_check=list(HealthCheck),
    )
    @given(recipes)
    def check(recipe):
        messages = messages_of(recipe.bodies(BATCH), numbers)
        results = [expected(message.body) for message in messages]
        batch = load(ready, messages)
        outcomes = found(ready, [message.message_id for message in messages])
        wrong = [
            (message.body, result, outcomes.get(message.message_id))
            for message, result in zip(messages, results, strict=True)
            if outcomes.get(message.message_id) != outcome(message, result)
        ]
        shortest = min(wrong, key=lambda case: len(case[0]), default=())
        assert not wrong, f"{len(wrong)} of {BATCH}; body, what it should be, what it is: {shortest!a}"
        counts.update(received=batch.received, staged=batch.staged, rejected=batch.rejected)
        reasons.update(result for result in results if isinstance(result, str))

    check()
    check_run(ready, RUN.run, "queue", {})
    print(f"{dict(counts)}, {len(reasons)} reasons: {reasons.most_common(12)}")
    assert counts["received"] >= BODIES
    assert min(counts["staged"], counts["rejected"]) > 0.1 * counts["received"]
    for reason in reasons:
        assert re.fullmatch(rf"{BROKEN}(; {BROKEN})*", reason)
    assert {rule for reason in reasons for _, rule in re.findall(BROKEN, reason)} == RULES
