"""From the queue to `user_logins`, by the logic alone: real Postgres, real SQS, no Airflow."""

import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from include.batches import drain as drain_module
from include.batches import interpreter
from include.batches.drain import drain_and_mask
from include.batches.merge import Merged
from include.batches.rebuild import rebuild
from include.batches.reconciliation import FailedCheck, check_run
from include.batches.staging import stage
from include.batches.window import Window
from include.events.message import Origin, Run
from include.failures import SetupError
from include.privacy.fence import Masking, masking, pass_fence, switch_masking
from include.privacy.masking import Keyring
from include.privacy.sealing import unseal
from include.sqs.calls import Deletes, Queue, backlog
from include.sqs.chunk import ChunkBounds
from include.warehouse.locks import WAITS, take_turn
from include.warehouse.setup import prepare_warehouse
from sandbox.events import SHARED_ADDRESSES, SHARED_DEVICES, sample_events, send
from tests.support.merging import REBUILD, merge
from tests.support.queues import left_on

CORES = os.sched_getaffinity(0) if sys.platform == "linux" else set()
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
RUN = Origin(Run("user_logins", "a run"), 0, 1, datetime(2026, 1, 1, tzinfo=UTC))
COLUMNS = "user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id"


INSERT_BATCH = (
    "insert into login_etl.batches (run_id, map_index, try_number, kid, received, staged, rejected, oldest_sent_at, "
    "newest_sent_at, started_at) values ('a run', 0, 1, 'k', 1, 1, 0, now(), now(), now())"
)


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


@pytest.fixture
def drain(sqs, queue_url, ready, keyring):
    def run(**options):
        arguments = {"origin": RUN, "messages": 1000, "seconds": 60, "threads": 1} | options
        return drain_and_mask(Queue(sqs, queue_url), ready, keyring, **arguments)

    return run


def rows(warehouse):
    return warehouse.execute(f"select {COLUMNS} from public.user_logins order by message_id").fetchall()


def history(warehouse, columns):
    return warehouse.execute(f"select {columns} from login_etl.history where run_id = 'a run'").fetchone()


def show_again(sqs, queue_url, receipts):
    """What SQS does when a visibility timeout passes: the messages can be received again."""
    for receipt in receipts:
        sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=receipt.handle, VisibilityTimeout=0)


@pytest.fixture
def crash_before_delete(monkeypatch, sqs, queue_url):
    """Let the next delete die, once the messages are back on the queue."""

    def arm():
        def crash(queue, receipts, *, threads, pool):
            show_again(sqs, queue_url, receipts)
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(drain_module, "delete", crash)

    return arm


def test_two_hundred_events_become_their_rows(sqs, queue_url, ready, keyring, drain):
    bodies = list(sample_events(200, 1))
    send(sqs, queue_url, iter(bodies))
    counts = drain()
    assert counts == {"received": 200, "staged": 198, "rejected": 2, "deleted": 200, "delete_failed": 0, "expired": 0}
    assert merge(ready).inserted == 198
    check_run(ready, RUN.run, "queue", counts)

    events = [event for event in map(json.loads, bodies) if "user_id" in event]
    expected = Counter(
        (
            event["user_id"],
            keyring.mask(event["ip"], field="ip"),
            keyring.mask(event["device_id"], field="device_id"),
            event["locale"],
        )
        for event in events
    )
    assert Counter((row[0], row[2], row[3], row[4]) for row in rows(ready)) == expected
    assert {row[6] for row in rows(ready)} <= {datetime.now(UTC).date(), datetime.now(UTC).date() - timedelta(days=1)}
    assert backlog(Queue(sqs, queue_url)) == 0


def test_several_threads_load_the_same_rows(sqs, queue_url, ready, drain):
    bodies = list(sample_events(200, 1))
    send(sqs, queue_url, iter(bodies))
    counts = drain(threads=8)
    merge(ready)
    check_run(ready, RUN.run, "queue", counts)
    users = {json.loads(body).get("user_id") for body in bodies} - {None}
    assert sorted(row[0] for row in rows(ready)) == sorted(users)
    assert backlog(Queue(sqs, queue_url)) == 0


def test_duplicates_stay_identifiable(sqs, queue_url, ready, drain):
    send(sqs, queue_url, sample_events(100, 1))
    drain()
    merge(ready)
    for column, groups in (("masked_device_id", SHARED_DEVICES), ("masked_ip", SHARED_ADDRESSES)):
        counts = ready.execute(
            f"select count(*) from public.user_logins group by {column} having count(*) > 1 order by 1 desc"
        ).fetchall()
        assert [count for (count,) in counts] == list(groups)


def test_values_that_say_nothing_are_counted(sqs, queue_url, ready, drain):
    """A producer that has begun to send another form is seen."""
    addresses = ["192.0.2.1", "192.0.2.1:80", "[2001:db8::7]:443", "192.0.2.1, 198.51.100.2", "unknown", "host", None]
    versions = ["2.3.0", "v2.3.0", "2.3.0-beta.1", "10.2.1234", "", None, 5]
    events = [{"user_id": "u", "ip": ip, "app_version": text} for ip, text in zip(addresses, versions, strict=True)]
    send(sqs, queue_url, map(json.dumps, events))
    drain()
    assert history(ready, "staged, unknown_addresses, unknown_versions") == (7, 2, 2)
    stored = "select count(distinct masked_ip), count(*) filter (where masked_ip is null) from login_etl.staging_logins"
    assert ready.execute(stored).fetchone() == (4, 2)


def test_an_event_that_is_sent_twice_is_two_rows_that_the_runbook_finds(sqs, queue_url, ready, drain):
    """SNS, EventBridge and producers repeat events under new message ids; nothing tells these from two logins."""
    event = {"user_id": "a", "ip": "192.0.2.1", "device_id": "d"}
    bodies = [json.dumps(event), json.dumps(event | {"ip": "192.0.2.2"})]
    twice = sqs.send_message(QueueUrl=queue_url, MessageBody=bodies[0])["MessageId"]
    send(sqs, queue_url, iter(bodies))
    drain()
    assert merge(ready).inserted == 3
    ready.execute(  # a redelivery of the first, which is no second event
        "insert into login_etl.staging_logins select * from login_etl.staging_logins where message_id = %s", [twice]
    )
    [query] = re.findall(r"```sql\n(select message_id.*?)```", RUNBOOK.read_text(), re.DOTALL)
    [(message_id, sent_at, user, after)] = ready.execute(query.encode()).fetchall()
    assert timedelta(0) <= after < timedelta(minutes=1)
    alike = [row for row in rows(ready) if row[2] == next(row[2] for row in rows(ready) if row[7] == message_id)]
    assert len(alike) == 2
    assert alike[0][:7] == alike[1][:7]
    assert (user, sent_at.date()) == (alike[0][0], alike[0][6])


def test_only_bad_messages(sqs, queue_url, ready, keyring, drain):
    bodies = ["nonsense", '{"user_id": 5}', '{"user_id": "u", "ip": "1.2.3.4", "locale": []}']
    send(sqs, queue_url, iter(bodies))
    assert drain() == {"received": 3, "staged": 0, "rejected": 3, "deleted": 3, "delete_failed": 0, "expired": 0}
    assert merge(ready) == Merged(batches=1)
    assert rows(ready) == []
    stored = ready.execute(
        "select message_id, reason, fields, kid, sealed_body from login_etl.rejected_messages"
    ).fetchall()
    assert {(reason, tuple(fields)) for _, reason, fields, _, _ in stored} == {
        ("body: json_invalid", ()),
        ("user_id: string_type", ("user_id",)),
        ("locale: string_type", ("locale",)),
    }
    opened = [unseal(sealed, key=keyring.key(kid), message_id=message_id) for message_id, _, _, kid, sealed in stored]
    assert {body for body, _ in opened} == set(bodies)


def test_values_that_postgres_reads_in_a_way_of_its_own(sqs, queue_url, ready, drain):
    users = [
        "\\N",
        "\\.",
        "a\tb\nc\\",
        "'; drop table public.user_logins; --",
        "{{ params }} %s %(x)s",
        "émigré 用户 \u202e",
        "\r\n",
    ]
    send(sqs, queue_url, iter([json.dumps({"user_id": user}) for user in users]))
    drain()
    merge(ready)
    assert sorted(row[0] for row in rows(ready)) == sorted(users)


def test_a_crash_before_delete_repeats_nothing(sqs, queue_url, ready, drain, crash_before_delete):
    send(sqs, queue_url, iter([*sample_events(9, 1), "nonsense"]))
    crash_before_delete()
    with pytest.raises(KeyboardInterrupt):
        drain()
    assert backlog(Queue(sqs, queue_url)) == 10
    assert merge(ready).inserted == 9
    before = rows(ready)

    again = drain()
    assert again["received"] == 10
    assert merge(ready) == Merged(batches=1, inserted=0, already_there=9)
    assert rows(ready) == before
    assert ready.execute("select count(*) from login_etl.rejected_messages").fetchone() == (1,)
    assert history(ready, "received, deletes_unknown, deleted") == (20, 10, 10)
    check_run(ready, RUN.run, "queue", again)


def test_both_copies_in_one_merge_are_one_row(sqs, queue_url, ready, drain, crash_before_delete):
    send(sqs, queue_url, iter([*sample_events(9, 1), "nonsense"]))
    crash_before_delete()
    with pytest.raises(KeyboardInterrupt):
        drain()
    drain()
    assert merge(ready) == Merged(batches=2, inserted=9, already_there=9)
    assert len(rows(ready)) == 9


def test_a_crash_before_commit_leaves_the_messages(sqs, queue_url, ready, drain, monkeypatch):
    send(sqs, queue_url, iter([*sample_events(9, 1), "nonsense"]))
    monkeypatch.setattr("include.batches.staging.seal", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drain()
    assert ready.execute("select count(*) from login_etl.batches").fetchone() == (0,)
    assert ready.execute("select count(*) from login_etl.staging_logins").fetchone() == (0,)
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "10"


def test_nothing_is_deleted_while_a_transaction_is_open(empty_warehouse, sqs, queue_url, keyring):
    send(sqs, queue_url, sample_events(10, 1))
    with empty_warehouse.connect(user="pipeline") as connection:
        prepare_warehouse(connection)
        connection.autocommit = False
        connection.execute("select 1")  # makes the staging transaction a savepoint
        with pytest.raises(RuntimeError, match="not committed"):
            drain_and_mask(Queue(sqs, queue_url), connection, keyring, origin=RUN, messages=10, seconds=60, threads=1)
        connection.rollback()
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "10"


def test_a_denied_delete_fails_after_the_rows_are_safe(sqs, queue_url, ready, drain, monkeypatch):
    def denied(*args, **kwargs):
        raise SetupError("denied")

    send(sqs, queue_url, sample_events(10, 1))
    monkeypatch.setattr(drain_module, "delete", denied)
    with pytest.raises(SetupError):
        drain()
    assert merge(ready).batches == 1
    assert history(ready, "received, deletes_unknown") == (10, 10)


def test_failed_and_expired_deletes_are_recorded(sqs, queue_url, ready, drain, monkeypatch):
    send(sqs, queue_url, sample_events(10, 1))
    monkeypatch.setattr(
        drain_module, "delete", lambda *args, **kwargs: iter([Deletes(deleted=7, delete_failed=2, expired=1)])
    )
    counts = drain()
    assert (counts["deleted"], counts["delete_failed"], counts["expired"]) == (7, 2, 1)
    merge(ready)
    check_run(ready, RUN.run, "queue", counts)


def test_a_drain_that_can_delete_nothing_does_not_go_on(sqs, queue_url, ready, drain, monkeypatch):
    send(sqs, queue_url, sample_events(10, 1))
    monkeypatch.setattr(drain_module, "delete", lambda *args, **kwargs: iter([Deletes(delete_failed=9, expired=1)]))
    with pytest.raises(RuntimeError, match=r"batch 1 is staged, .* none of its 10 .* \(9 failed, 1 too late\)"):
        drain()
    assert history(ready, "staged, deleted, delete_failed, expired") == (10, 0, 9, 1)


def test_a_fifo_queue_is_drained_to_its_end(sqs, ready, keyring):
    url = sqs.create_queue(QueueName=f"{uuid4().hex}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number, body in enumerate(sample_events(45, 1)):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="one", MessageDeduplicationId=str(number))
    counts = drain_and_mask(Queue(sqs, url), ready, keyring, origin=RUN, messages=1000, seconds=60, threads=4)
    assert counts["received"] == counts["deleted"] == 45


@pytest.mark.skipif(len(CORES) < 2, reason="needs Linux and two cores")
def test_all_threads_of_a_drain_follow_the_one_that_lands_to_its_core(sqs, queue_url, drain, monkeypatch):
    def seen(*args, **kwargs):
        threads = [thread for thread in threading.enumerate() if thread.name.startswith(("receive", "delete"))]
        where.append((os.sched_getaffinity(0), [os.sched_getaffinity(thread.native_id) for thread in threads]))
        return stage(*args, **kwargs)

    where, woken_on = [], cycle(sorted(CORES))
    send(sqs, queue_url, sample_events(200, 1))
    monkeypatch.setattr(drain_module, "stage", seen)
    monkeypatch.setattr(interpreter, "STAY_SECONDS", -1)  # chosen at each chunk but one
    monkeypatch.setattr(psutil.Process, "cpu_num", lambda _: next(woken_on))
    drain(threads=4, bounds=ChunkBounds(messages=20))
    bound = [(landing, others) for landing, others in where if landing != CORES]
    assert len(where) > len(bound) > 3
    (first, _), (second, others) = bound[-2:]  # all threads have started long ago
    assert len(first) == len(second) == 1
    assert first != second
    assert len(others) > 4  # of those that receive and those that delete
    assert all(each == second for each in others)
    assert os.sched_getaffinity(0) == CORES


def test_the_bounds_of_a_share(sqs, queue_url, drain):
    send(sqs, queue_url, sample_events(50, 1))
    assert drain(messages=20)["received"] == 20
    assert drain(seconds=0)["received"] == 0
    assert backlog(Queue(sqs, queue_url)) == 30


def test_leftovers_of_an_earlier_run_are_merged(sqs, queue_url, ready, drain):
    send(sqs, queue_url, sample_events(10, 1))
    drain()
    send(sqs, queue_url, sample_events(10, 2))
    drain(origin=Origin(Run("user_logins", "another run"), 0, 1, RUN.started_at))
    merged = merge(ready)
    assert merged.batches == 2
    assert merge(ready) == Merged()
    for run in ("a run", "another run"):
        check_run(ready, Run("user_logins", run), "queue", {})


def test_merges_at_the_same_time_take_turns(local, sqs, queue_url, ready, drain):
    for seed in range(8):
        send(sqs, queue_url, sample_events(10, seed % 4))
        drain(messages=10)

    def merge_once(_):
        with local.connect(user="pipeline") as connection:
            return merge(connection)

    with ThreadPoolExecutor(4) as pool:
        merged = list(pool.map(merge_once, range(4)))
    assert sum(part.batches for part in merged) == 8
    assert sum(part.inserted for part in merged) == 80
    check_run(ready, RUN.run, "queue", {})


def test_a_merge_and_a_rebuild_wait_for_another_merge(local, ready, monkeypatch):
    monkeypatch.setitem(WAITS, "turn", "200ms")
    ready.execute(INSERT_BATCH)
    ready.execute(
        "insert into login_etl.staging_logins (batch_id, staged_on, message_id, sent_at, user_id) "
        "values (1, (now() at time zone 'UTC')::date, gen_random_uuid(), now(), 'u')"
    )
    with local.connect(user="pipeline") as other, other.transaction():
        take_turn(other, "login_etl.merge")
        for step in (merge, lambda connection: rebuild(connection, AGES, run=REBUILD)):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                step(ready)
    assert merge(ready) == Merged(batches=1, inserted=1)


def test_a_rebuild_leaves_to_the_merge_what_is_not_merged(sqs, queue_url, ready, drain):
    send(sqs, queue_url, sample_events(10, 1))
    drain()
    assert rebuild(ready, AGES, run=REBUILD) == 0
    assert merge(ready).inserted == 10


def test_another_key_on_the_table_is_an_error_and_not_a_lost_login(sqs, queue_url, ready, drain):
    send(sqs, queue_url, iter(['{"user_id": "u", "locale": "a"}', '{"user_id": "u", "locale": "b"}']))
    drain()
    ready.execute("create unique index on public.user_logins (user_id, create_date)")
    assert merge(ready) == Merged(batches=1, inserted=1, refused=1)
    reason = "UniqueViolation (constraint user_logins_%_user_id_create_date_idx)"
    assert ready.execute("select count(*) from login_etl.refused_rows where reason like %s", [reason]).fetchone() == (
        1,
    )
    with pytest.raises(SetupError, match="another unique key, user_logins_user_id_create_date_idx"):
        prepare_warehouse(ready)


def test_a_row_that_vanished_from_staging_is_noticed(sqs, queue_url, ready, drain):
    send(sqs, queue_url, sample_events(10, 1))
    counts = drain()
    ready.execute(
        "delete from login_etl.staging_logins where user_id = (select min(user_id) from login_etl.staging_logins)"
    )
    assert merge(ready) == Merged()  # it would be recorded as complete
    with pytest.raises(FailedCheck, match=r"batch 1: 1 of its 10 staged rows are gone from staging"):
        check_run(ready, RUN.run, "queue", counts)


def test_a_table_that_refuses_a_whole_batch_takes_the_others(sqs, queue_url, ready, drain):
    for seed in (1, 2):
        send(sqs, queue_url, sample_events(10, seed))
        drain()
    ready.execute("alter table public.user_logins add constraint no_second_batch check (batch_id <> 2) not valid")
    assert merge(ready) == Merged(batches=2, inserted=10, refused=10)
    assert len(rows(ready)) == 10
    ready.execute("alter table public.user_logins drop constraint no_second_batch")
    assert merge(ready) == Merged(inserted=10)


def test_an_adopted_table_is_loaded_and_its_own_rows_stay(local, sqs, queue_url, warehouse, keyring):
    with local.connect() as owner:
        owner.execute(
            "create table public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256), "
            "masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date)"
        )
        owner.execute("insert into public.user_logins (user_id) values ('legacy'), ('legacy')")
        owner.execute("alter table public.user_logins owner to pipeline")
    prepare_warehouse(warehouse)
    send(sqs, queue_url, sample_events(100, 1))
    drain_and_mask(Queue(sqs, queue_url), warehouse, keyring, origin=RUN, messages=100, seconds=60, threads=1)
    assert merge(warehouse).inserted == 99
    assert len(rows(warehouse)) == 101
    warehouse.execute("delete from public.user_logins where message_id is not null")
    assert rebuild(warehouse, AGES, run=REBUILD) == 99
    assert len(rows(warehouse)) == 101


def test_a_rebuild_restores_exactly_what_is_missing_or_wrong_in_its_range(sqs, queue_url, ready, drain):
    send(sqs, queue_url, sample_events(100, 1))
    drain()
    merge(ready)
    # Let half of the messages have been sent forty days ago.
    ready.execute("update login_etl.staging_logins set sent_at = sent_at - interval '40 days' where user_id < '8'")
    ready.execute("update public.user_logins set create_date = create_date - 40 where user_id < '8'")
    whole = rows(ready)
    batches = ready.execute("select message_id, batch_id, xmin::text from public.user_logins").fetchall()
    early = [row for row in whole if row[0] < "8"]
    now = datetime.now(UTC)
    window = Window(now - timedelta(days=41), now - timedelta(days=39))

    ready.execute("delete from public.user_logins where message_id = any(%s)", [[early[0][7], early[1][7]]])
    ready.execute("update public.user_logins set app_version = -1, locale = null where message_id = %s", [early[2][7]])
    late = next(row for row in whole if row[0] >= "8")
    ready.execute("delete from public.user_logins where message_id = %s", [late[7]])

    assert rebuild(ready, window, run=REBUILD) == 3
    assert rows(ready) == [row for row in whole if row != late]
    touched = set(batches) - set(
        ready.execute("select message_id, batch_id, xmin::text from public.user_logins").fetchall()
    )
    assert {message_id for message_id, _, _ in touched} == {early[0][7], early[1][7], early[2][7], late[7]}
    assert rebuild(ready, window, run=Run("user_logins", "another rebuild")) == 0


OLD, NEW = bytes(range(100, 132)), bytes(range(150, 182))


def stage_one(sqs, queue_url, ready, keys):
    send(sqs, queue_url, iter(['{"user_id": "u", "ip": "192.0.2.1"}', '{"ip": 5}']))
    drain_and_mask(Queue(sqs, queue_url), ready, Keyring(keys), origin=RUN, messages=2, seconds=60, threads=1)


def kids(ready):
    batches = ready.execute("select kid from login_etl.batches order by batch_id").fetchall()
    masks = ready.execute("select left(masked_ip, 8) from login_etl.staging_logins order by batch_id").fetchall()
    rejected = ready.execute("select kid from login_etl.rejected_messages order by batch_id").fetchall()
    assert batches == masks == rejected
    return [kid for (kid,) in batches]


def test_a_key_that_is_appended_changes_nothing_until_the_switch(sqs, queue_url, ready):
    old, new = Keyring([OLD, NEW]).kids
    for keys in ([OLD], [OLD, NEW]):
        stage_one(sqs, queue_url, ready, keys)
    assert kids(ready) == [old, old]

    assert switch_masking(ready, Keyring([OLD, NEW])) == old
    assert switch_masking(ready, Keyring([OLD, NEW])) == new
    with pytest.raises(SetupError, match="whose key this worker's connection lacks"):
        switch_masking(ready, Keyring([OLD]))
    stage_one(sqs, queue_url, ready, [OLD, NEW])
    assert kids(ready) == [old, old, new]
    with pytest.raises(SetupError, match=f"masks are made with key id {new}, whose key this worker's connection lacks"):
        stage_one(sqs, queue_url, ready, [OLD])
    assert kids(ready) == [old, old, new]


def test_masks_are_first_made_with_the_newest_key_that_is_there_or_was_used(sqs, queue_url, ready):
    old, new = Keyring([OLD, NEW]).kids
    stage_one(sqs, queue_url, ready, [OLD, NEW])
    assert kids(ready) == [new]
    ready.execute("delete from login_etl.masking")
    ready.execute("update login_etl.batches set kid = %s", [old])
    stage_one(sqs, queue_url, ready, [OLD, NEW])  # a database of before the migration that brought the table
    assert ready.execute("select kid from login_etl.masking").fetchall() == [(old,)]


def test_a_switch_waits_for_what_is_being_staged_and_the_next_batch_for_the_switch(local, sqs, queue_url, ready):
    old, new = Keyring([OLD, NEW]).kids
    stage_one(sqs, queue_url, ready, [OLD])
    with local.connect(user="pipeline") as switching, ThreadPoolExecutor(1) as pool:
        with ready.transaction():
            pass_fence(ready)
            switched = pool.submit(switch_masking, switching, Keyring([OLD, NEW]))
            with pytest.raises(TimeoutError):
                switched.result(0.3)
            assert masking(ready) == Masking(old, is_complete=True)
        assert switched.result(10) == old
    assert masking(ready) == Masking(new, is_complete=False)


def test_a_time_out_in_the_middle_of_a_landing_is_what_the_drain_raises(sqs, queue_url, ready, drain, monkeypatch):
    """Airflow's time-out is a signal: it leaves the connection in the middle of a statement."""

    class TimeOutError(BaseException):
        """Not one of those on which psycopg cancels the statement."""

    def ring(*_):
        raise TimeOutError

    def first_well_then_slowly(connection, *args, **kwargs):
        if next(calls):
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            connection.execute("select pg_sleep(5)")
        return stage(connection, *args, **kwargs)

    send(sqs, queue_url, sample_events(30, 1))
    before = signal.signal(signal.SIGALRM, ring)
    calls = count()
    monkeypatch.setattr(drain_module, "stage", first_well_then_slowly)
    try:
        with pytest.raises(TimeOutError):
            drain(bounds=ChunkBounds(messages=10))
    finally:
        signal.signal(signal.SIGALRM, before)
        ready.close()  # it still waits for its answer
    assert left_on(sqs, queue_url) == 20


def test_messages_that_waited_too_long_are_not_landed(sqs, queue_url, ready, drain, monkeypatch, caplog):
    """The warehouse was slow: they come again by themselves, and are landed then."""
    send(sqs, queue_url, sample_events(10, 1))
    monkeypatch.setattr(drain_module, "VISIBILITY_SECONDS", 10**6)
    assert drain()["received"] == 0
    assert "10 messages waited too long for the warehouse" in caplog.text
    assert left_on(sqs, queue_url) == 10
