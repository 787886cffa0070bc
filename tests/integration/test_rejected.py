"""Rejected messages: replayed when the parser has learnt to read them, forgotten after a while, dead letters."""

import base64
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from include import maintenance, pipeline
from include.batches import reconciliation, rejected
from include.batches.drain import drain_and_mask
from include.batches.merge import Merged
from include.batches.reconciliation import FailedCheck, check_run
from include.batches.rejected import Selection, forget_rejected_bodies, replay_messages
from include.batches.staging import stage
from include.events.login import RejectedMessage, parse
from include.events.message import Message, Origin, Run
from include.privacy.fence import switch_masking
from include.privacy.masking import Keyring
from include.sqs.calls import Deletes, Queue
from include.sqs.check import check_queue
from include.warehouse.partitions import make_partitions
from include.warehouse.setup import prepare_warehouse
from sandbox.events import send
from tests.support.merging import merge
from tests.support.queues import left_on, show_again

RUN = Origin(Run("user_logins", "a run"), 0, 1, datetime(2026, 1, 1, tzinfo=UTC))
REPLAY = Origin(Run("user_logins", "a replay"), -1, 1, datetime(2026, 1, 1, tzinfo=UTC), source="rejected_messages")
ALL = Selection(limit=1000)
ROWS = "select user_id, message_id, create_date from public.user_logins order by user_id"


def yesterday(message):
    """A parser that did not know versions of three parts yet."""
    login = parse(message)
    if login.app_version and login.app_version.count(".") == 2:
        raise RejectedMessage([("app_version", "version")])
    return login


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


@pytest.fixture
def drain(sqs, queue_url, ready, keyring, monkeypatch):
    """Send bodies and drain them with yesterday's parser, or with the one of today."""

    def run(bodies=(), parser=yesterday, keys=keyring):
        send(sqs, queue_url, iter(bodies))
        monkeypatch.setattr("include.batches.drain.parse", parser)
        return drain_and_mask(Queue(sqs, queue_url), ready, keys, origin=RUN, messages=100, seconds=30, threads=1)

    return run


def login(user, version="1.2.3", locale=None):
    return json.dumps({"user_id": user, "app_version": version, "ip": "192.0.2.1", "locale": locale})


BODIES = [login("a"), login("b"), login("c", "1.2"), login("d", locale=5), "nonsense"]


def state(warehouse):
    return [
        warehouse.execute(f"select * from {table} order by 1").fetchall()
        for table in ("login_etl.batches", "login_etl.rejected_messages", "login_etl.staging_logins")
    ]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(ready, keyring, drain, caplog):
    drain(BODIES)
    before = state(ready)
    caplog.set_level("INFO")
    counts = replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=True)
    assert counts == {"opened": 4, "valid": 2, "unreadable": 0, "still_rejected": 2, "received": 0, "staged": 0}
    assert state(ready) == before
    assert [line.split() for line in caplog.text.splitlines() if ":" in line][-3:] == [
        ["app_version:", "version", "valid", "now", "2"],
        ["body:", "json_invalid", "body:", "json_invalid", "1"],
        ["locale:", "string_type", "locale:", "string_type", "1"],
    ]


def test_what_is_valid_now_is_loaded_once_and_the_rest_stays(ready, keyring, drain):
    drain(BODIES)
    merge(ready)
    counts = replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)
    assert counts == {"opened": 4, "valid": 2, "unreadable": 0, "still_rejected": 2, "received": 2, "staged": 2}
    assert merge(ready) == Merged(batches=1, inserted=2)
    again = replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)
    assert again == {"opened": 2, "valid": 0, "unreadable": 0, "still_rejected": 2, "received": 0, "staged": 0}
    assert merge(ready) == Merged()

    rows = ready.execute(ROWS).fetchall()
    assert [user for user, _, _ in rows] == ["a", "b", "c"]
    replayed = ready.execute(
        "select message_id, (sent_at at time zone 'UTC')::date, replayed_in, sealed_body is null, reason "
        "from login_etl.rejected_messages where replayed_in is not null"
    ).fetchall()
    assert {row[:2] for row in replayed} == {(message_id, day) for user, message_id, day in rows if user != "c"}
    assert {row[2:] for row in replayed} == {(2, True, "app_version: version")}
    history = ready.execute("select source, received, inserted, unbalanced_batches from login_etl.history order by 1")
    assert history.fetchall() == [("queue", 5, 1, None), ("rejected_messages", 2, 2, None)]


def not_deleted(sqs, queue_url):
    """A delete that SQS confirms, after which the messages are there again all the same."""

    def delete(queue, receipts, *, threads, pool):
        show_again(sqs, queue_url, [receipt.handle for receipt in receipts])
        return iter([Deletes(deleted=len(receipts))])

    return delete


def test_a_message_that_came_again_meanwhile_is_recognised(sqs, queue_url, ready, keyring, drain, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("include.batches.drain.delete", not_deleted(sqs, queue_url))
        drain([login("a")])
    drain(parser=parse)
    assert merge(ready).inserted == 1
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)["staged"] == 1
    assert merge(ready) == Merged(batches=1, already_there=1)
    assert len(ready.execute(ROWS).fetchall()) == 1


def test_a_replayed_message_that_is_rejected_again_stays_replayed(sqs, queue_url, ready, keyring, drain, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("include.batches.drain.delete", not_deleted(sqs, queue_url))
        drain([login("a")])
    replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)
    drain()
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)["opened"] == 0
    assert merge(ready).inserted == 1


def test_reasons_times_and_a_limit_select(ready, keyring, drain):
    drain([*BODIES, '{"user_id": "e", "app_version": "1.2.3", "ip": 5}', '{"user_id": 5, "ip": 5}'])

    def read(**selected):
        return replay_messages(ready, keyring, Selection(**{"limit": 1000} | selected), origin=REPLAY, dry_run=True)[
            "opened"
        ]

    assert read() == 6
    assert read(rules=["app_version: version"]) == 2
    assert read(rules=["ip: string_type"]) == 2
    assert read(rules=["user_id: string_type", "body: json_invalid"]) == 2
    assert read(rules=["made: up"]) == 0
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    assert read(start=now - hour, stop=now + hour) == 6
    assert read(stop=now - hour) == read(start=now + hour) == 0


def test_pages_are_bounded_in_messages_and_bytes_and_none_is_left_out(ready, keyring, drain, monkeypatch):
    drain([login(f"user {number}", locale=5 if number % 3 else None) for number in range(20)])
    pages = []
    page = rejected.next_page
    monkeypatch.setattr(rejected, "next_page", lambda *arguments: pages.append(found := page(*arguments)) or found)
    for bounds, sizes in (({"PAGE_MESSAGES": 8}, [8, 8, 4, 0]), ({"PAGE_BYTES": 1}, [1] * 20 + [0])):
        with monkeypatch.context() as patch:
            for name, value in bounds.items():
                patch.setattr(rejected, name, value)
            assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=True)["opened"] == 20
        assert [len(found) for found in pages] == sizes
        pages.clear()


def test_the_limit_is_what_is_loaded_however_many_hopeless_ones_come_first(ready, keyring, drain, caplog):
    drain(["nonsense"] * 9 + [login("hopeless", locale=5)] * 9)
    drain([login(f"user {number}") for number in range(7)])
    few = Selection(limit=3)
    assert replay_messages(ready, keyring, few, origin=REPLAY, dry_run=True)["valid"] == 3
    assert [replay_messages(ready, keyring, few, origin=REPLAY, dry_run=False)["staged"] for _ in range(4)] == [
        3,
        3,
        1,
        0,
    ]
    assert caplog.text.count("stopped at the param limit") == 3
    assert merge(ready).inserted == 7


def test_a_forgotten_message_that_comes_again_is_kept_again(sqs, queue_url, ready, keyring, drain, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("include.batches.drain.delete", not_deleted(sqs, queue_url))
        drain([login("a")])
    ready.execute("update login_etl.rejected_messages set rejected_at = now() - interval '31 days'")
    forget_rejected_bodies(ready, days=30)
    drain()
    assert forget_rejected_bodies(ready, days=30) == 0
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)["staged"] == 1


def test_attributes_come_with_a_rejected_message_to_the_parser_that_can_read_it(
    sqs, queue_url, ready, keyring, drain, monkeypatch
):
    packed = base64.b64encode(gzip.compress(login("a").encode())).decode()
    attributes = {
        "content-encoding": {"DataType": "String", "StringValue": "gzip, base64"},
        "trace": {"DataType": "Binary.id", "BinaryValue": b"\x00\xff"},
        "age": {"DataType": "Number", "StringValue": "5"},
    }
    sqs.send_message(QueueUrl=queue_url, MessageBody=packed, MessageAttributes=attributes)
    drain([login("b", "1.2")], parser=parse)
    assert ready.execute("select count(*) from login_etl.rejected_messages").fetchone() == (1,)

    def tomorrow(message):
        assert message.attributes == attributes | {"trace": {"DataType": "Binary.id", "BinaryValue": "AP8="}}
        if message.attributes["content-encoding"]["StringValue"] == "gzip, base64":
            message = replace(message, body=gzip.decompress(base64.b64decode(message.body)).decode())
        return parse(message)

    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=True)["still_rejected"] == 1
    monkeypatch.setattr(rejected, "parse", tomorrow)
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=False)["staged"] == 1
    merge(ready)
    assert [user for user, _, _ in ready.execute(ROWS)] == ["a", "b"]


def test_of_a_rejected_message_above_256_kib_only_size_and_hash_are_kept(sqs, queue_url, ready, keyring, drain):
    """A queue that is flooded does not fill the warehouse; a login of that size is a login."""
    limit = 256 * 1024
    attribute = {"note": {"DataType": "String", "StringValue": "v" * limit}}
    sqs.send_message(QueueUrl=queue_url, MessageBody="small", MessageAttributes=attribute)
    large_login = json.dumps({"user_id": "a", "x": "x" * limit})
    counts = drain(["x" * limit, "é" * (limit // 2) + "x", large_login], parser=parse)
    assert (counts["staged"], counts["rejected"], counts["deleted"]) == (1, 3, 4)
    stored = ready.execute(
        "select reason, fields, body_bytes, body_sha256, octet_length(sealed_body) / 1024 "
        "from login_etl.rejected_messages order by body_bytes nulls first"
    ).fetchall()
    large = ("é" * (limit // 2) + "x").encode()
    assert stored == [
        ("body: json_invalid", [], None, None, 256),
        ("body: too_large; body: json_invalid", [], 5, sha256(b"small").digest(), None),
        ("body: too_large; body: json_invalid", [], limit + 1, sha256(large).digest(), None),
    ]
    assert reconciliation.reasons_of_run(ready, RUN.run, "queue") == [
        ("body: too_large; body: json_invalid", 2),
        ("body: json_invalid", 1),
    ]
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=True)["opened"] == 1
    today = datetime.now(UTC).date()
    assert rejected.sealed_by_day(ready) == {f"rejected on {today}": "1 kept, 0.3 MiB"}


def test_a_message_that_is_too_large_and_comes_again_is_left_as_it_is(ready, keyring):
    message = Message(uuid4(), datetime.now(UTC), 1, "x" * 300_000)
    for _ in range(2):
        stage(ready, [], [(message, RejectedMessage([("body", "made_up")]))], keyring=keyring, origin=RUN)
    [(batch_id, size)] = ready.execute("select batch_id, body_bytes from login_etl.rejected_messages")
    assert (batch_id, size) == (1, 300_000)


def test_two_drains_that_hold_the_same_rejects_do_not_deadlock(local, ready, keyring):
    now = datetime.now(UTC)
    rejects = [(Message(uuid4(), now, 1, "x"), RejectedMessage([("body", "made_up")])) for _ in range(800)]

    def one(pairs):
        with local.connect(user="pipeline") as connection:
            return stage(connection, [], pairs, keyring=keyring, origin=RUN).rejected

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            assert list(pool.map(one, (rejects, rejects[::-1]))) == [800, 800]


def test_two_replays_at_once_load_each_message_once(local, ready, keyring, drain, monkeypatch):
    drain([login(f"user {number}") for number in range(60)])
    monkeypatch.setattr(rejected, "PAGE_MESSAGES", 5)

    def one(_):
        with local.connect(user="pipeline") as connection:
            return replay_messages(connection, keyring, ALL, origin=REPLAY, dry_run=False)["staged"]

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(one, range(3))) == 60
    assert merge(ready).inserted == 60


def test_a_body_sealed_under_an_earlier_key_is_opened_and_a_damaged_one_harms_no_other(ready, drain):
    old, new = bytes(range(100, 132)), bytes(range(150, 182))
    drain(BODIES, keys=Keyring([old]))
    ready.execute(
        "update login_etl.rejected_messages set sealed_body = sealed_body || '\\x00'::bytea where reason like 'body%'"
    )
    chain = Keyring([old, new])
    switch_masking(ready, chain)
    counts = replay_messages(ready, chain, ALL, origin=REPLAY, dry_run=False)
    assert counts == {"opened": 4, "valid": 2, "unreadable": 1, "still_rejected": 1, "received": 2, "staged": 2}
    masks = ready.execute("select distinct left(masked_ip, 8) from login_etl.staging_logins where batch_id = 2")
    assert masks.fetchall() == [(chain.kid,)]


def test_bodies_are_forgotten_after_a_while_and_their_account_stays(ready, keyring, drain):
    drain(BODIES)
    ready.execute(
        "update login_etl.rejected_messages set rejected_at = now() - interval '31 days' where reason !~ 'body'"
    )
    assert forget_rejected_bodies(ready, days=30) == 3
    assert forget_rejected_bodies(ready, days=30) == 0
    assert replay_messages(ready, keyring, ALL, origin=REPLAY, dry_run=True)["opened"] == 1
    assert ready.execute("select count(*), count(sealed_body) from login_etl.rejected_messages").fetchall() == [(4, 1)]


def test_a_replay_needs_no_run_before_it_today(ready, connected, drain, keyring, local, monkeypatch):
    """It makes the day's partition itself."""
    monkeypatch.setenv("AIRFLOW_CONN_PII_MASKING", json.dumps({"password": local.masking_key()}))
    for (name,) in ready.execute(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'login_etl.staging_logins'::regclass"
    ).fetchall():
        ready.execute(f"drop table {name}".encode())
    assert pipeline.replay_messages(ALL, origin=REPLAY, dry_run=False)["opened"] == 0
    assert make_partitions(ready) == []
    assert pipeline.merge_user_logins(Run("user_logins", "a replay"))["merged_batches"] == 0


def test_bodies_that_are_forgotten_next_are_in_a_warning(ready, drain, connected, caplog):
    drain(BODIES)
    for days, warned in ((22, False), (24, True)):
        age = f"rejected_at = now() - interval '{days} days'"
        ready.execute(f"update login_etl.rejected_messages set {age}".encode())
        outcome = maintenance.forget_rejected_bodies(days=30)
        assert outcome["bodies"] == ("0 forgotten, 4 within a week" if warned else "0 forgotten")
        assert ("the bodies of 4 rejected messages that were never replayed" in caplog.text) is warned


def test_a_run_warns_of_what_it_rejected_and_fails_of_too_much(ready, drain, caplog):
    """A producer that renames a field is seen at once, and not when the bodies are forgotten."""
    counts = drain(['{"user": "u"}'] * 30 + ['{"user_id": 5}', '{"user_id": "u"}'], parser=parse)
    merge(ready)
    check_run(ready, RUN.run, "queue", counts)
    assert "messages were rejected, and are kept in login_etl.rejected_messages" in caplog.text
    lines = [line.split() for line in caplog.text.splitlines()]
    reasons = lines.index(["rejected", "for", "messages"])
    assert lines[reasons + 2 : reasons + 4] == [["user_id:", "missing", "30"], ["user_id:", "string_type", "1"]]
    assert "rejected 31 (user_id: missing 30, user_id: string_type 1)" in caplog.text
    share = "31 of 32 messages were rejected, more than max_rejected_percent, 50, most of them for user_id: missing"
    with pytest.raises(FailedCheck, match=share):
        check_run(ready, RUN.run, "queue", counts, max_rejected_percent=50)


def test_forgetting_does_not_depend_on_the_state_of_the_table(ready, connected, drain):
    drain(BODIES)
    ready.execute("update login_etl.rejected_messages set rejected_at = now() - interval '31 days'")
    ready.execute("create unique index on public.user_logins (user_id, create_date)")
    assert maintenance.forget_rejected_bodies(days=30) == {"bodies": "4 forgotten"}


def test_dead_letters_that_were_loaded_but_never_deleted_are_recognised(
    sqs, queue_url, ready, keyring, drain, monkeypatch
):
    dead_letters = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"RedrivePolicy": policy})
    monkeypatch.setattr("include.batches.drain.delete", not_deleted(sqs, queue_url))
    drain(BODIES, parser=parse)
    monkeypatch.undo()
    assert merge(ready).inserted == 3
    before = ready.execute(ROWS).fetchall()
    send(sqs, queue_url, iter([login("late")]))
    sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)  # each is received once too often now
    assert left_on(sqs, dead_letters) == len(BODIES)

    source = check_queue(sqs, queue_url, "dead_letter_queue").url
    counts = drain_and_mask(Queue(sqs, source), ready, keyring, origin=RUN, messages=100, seconds=30, threads=1)
    assert (counts["received"], counts["staged"], counts["rejected"], counts["deleted"]) == (5, 3, 2, 5)
    assert merge(ready) == Merged(batches=1, already_there=3)
    assert ready.execute(ROWS).fetchall() == before
    assert ready.execute("select count(*) from login_etl.rejected_messages").fetchone() == (2,)
    assert left_on(sqs, dead_letters) == 0
