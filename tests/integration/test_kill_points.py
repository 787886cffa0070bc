"""The worker is SIGKILLed at exact points of what it says to SQS and to Postgres; the next run finds all in order."""

import json
import os
import re
from datetime import UTC, datetime
from uuid import uuid4

from include.batches.merge import merged_by_run
from include.batches.staging import stage
from include.connections import warehouse_connection
from include.events.login import RejectedMessage
from include.events.message import Message, Origin, Run
from include.privacy.masking import read_keyring
from include.warehouse.setup import prepare_warehouse
from sandbox.events import send
from tests.support.fixtures import TENS
from tests.support.merging import merge
from tests.support.queues import MESSAGES, left_on, send_events, show_again
from tests.support.schema import SCHEMA
from tests.support.warehouses import make_empty
from tests.support.worker import Conversation, exit_code, replay_all, run, run_in_small_chunks

# What leaves a trace on a server. A kill at any other point is the same as one at the next or the last of these; the
# soak takes them all.
CHANGES = re.compile(r"SQS (Receive|Delete)|Postgres (copy|insert|update|create|alter|do|with moved|with wanted)")
EVERY_POINT = "SOAK_SECONDS" in os.environ
FEW = 20
INSERTED = "select (select sum(inserted) from login_etl.history), (select count(*) from public.user_logins)"

OF_PARTNERS = (
    "select sum(received), sum(inserted) from login_etl.history where dag_id = 'partner_logins' and queue = %s"
)


def points(said):
    """Where to kill: a point of what is said, with its number, and whether before the server has done it or after.

    The soak kills at each point before and after; a test at every other point, unless they are few, and of these at
    every other one before and at the rest after.
    """
    numbered, changed = [], False
    for number, point in enumerate(said):
        ends_a_change = changed and point[0].startswith("Postgres COMMIT")
        if EVERY_POINT or CHANGES.match(point[0]) or ends_a_change:
            numbered.append((number, point))
        changed = not ends_a_change and (changed or bool(re.match("Postgres", point[0]) and CHANGES.match(point[0])))
    return [
        (number, point, done)
        for place, (number, point) in enumerate(numbered if EVERY_POINT or len(numbered) <= FEW else numbered[::2])
        for done in (False, True)
        if EVERY_POINT or done == bool(place % 2)
    ]


def name(point, done):
    label, occurrence = point
    return f"{'after' if done else 'before'} {label} {occurrence}"


def test_a_run_killed_anywhere_loses_and_doubles_nothing(
    warehouse, proxies, connected, impatient, sqs, queue_url, subtests
):
    prepare_warehouse(warehouse)
    send_events(sqs, queue_url, "undisturbed")
    proxies.let(undisturbed := Conversation())
    assert exit_code(proxies.environment, run_in_small_chunks, queue_url, "undisturbed", MESSAGES) == 0
    kill_points = points(undisturbed.said)
    assert len(kill_points) >= 10
    partners = sqs.create_queue(QueueName=f"{queue_url.rsplit('/', 1)[1]}-partners")["QueueUrl"]
    of_partners = 0

    for number, point, done in kill_points:
        with subtests.test(point=name(point, done)):
            users = send_events(sqs, queue_url, f"{number}-{done}")
            proxies.sqs.received.clear()
            warehouse.execute("truncate login_etl.masking")  # the first batch of all says which key masks are made with
            proxies.let(Conversation(kill_at=point, done=done))
            run_id = f"killed {number}-{done}"
            assert exit_code(proxies.environment, run_in_small_chunks, queue_url, run_id, MESSAGES) == -9
            show_again(sqs, queue_url, proxies.sqs.handles())
            if EVERY_POINT or not number % 8:  # a DAG for another queue merges what was left, in a run of the same name
                send(sqs, partners, (json.dumps({"user_id": f"partner {each}"}) for each in range(3)))
                run(partners, run_id, 3, dag_id="partner_logins")
                of_partners += 3

            run(queue_url, f"next {number}-{done}", max(1, left_on(sqs, queue_url)), bounds=TENS)
            rows = warehouse.execute(
                "select user_id from public.user_logins where starts_with(user_id, %s)", [f"{number}-{done}-"]
            )
            assert sorted(user for (user,) in rows) == users
            assert left_on(sqs, queue_url) == 0

    assert (
        warehouse.execute("select run_id from login_etl.history where unbalanced_batches is not null").fetchall() == []
    )
    [(inserted, there)] = warehouse.execute(INSERTED).fetchall()
    assert inserted == there
    [(received, inserted)] = warehouse.execute(OF_PARTNERS, [partners]).fetchall()
    assert received == inserted == of_partners > 0
    runs = warehouse.execute("select distinct merged_by from login_etl.batches").fetchall()
    assert sum(merged_by_run(warehouse, run).inserted for (run,) in runs) == there  # each row in one account
    [(bad,)] = warehouse.execute("select count(*) from login_etl.rejected_messages").fetchall()
    assert bad == (len(kill_points) + 1) * MESSAGES // 10
    print(f"\n{len(kill_points)} kill points of a run")


def reject(local, prefix):
    """Ten rejected messages that today's parser takes; returns their users."""
    keyring, now = read_keyring(local.masking_key()), datetime.now(UTC)
    users = [f"{prefix}-{number}" for number in range(10)]
    messages = [Message(uuid4(), now, 1, json.dumps({"user_id": user})) for user in users]
    rejects = [(message, RejectedMessage([("user_id", "made_up")])) for message in messages]
    with local.connect(user="pipeline") as warehouse:
        stage(
            warehouse, [], rejects, keyring=keyring, origin=Origin(Run("user_logins", f"rejected {prefix}"), 0, 1, now)
        )
        merge(warehouse)
    return users


def test_a_replay_killed_anywhere_loads_each_message_once(warehouse, local, proxies, connected, subtests):
    prepare_warehouse(warehouse)
    reject(local, "undisturbed")
    proxies.let(undisturbed := Conversation())
    assert exit_code(proxies.environment, replay_all, "undisturbed") == 0
    kill_points = points(undisturbed.said)
    assert len(kill_points) >= 7

    for number, point, done in kill_points:
        with subtests.test(point=name(point, done)):
            users = reject(local, f"{number}-{done}")
            proxies.let(Conversation(kill_at=point, done=done))
            assert exit_code(proxies.environment, replay_all, f"killed {number}-{done}") == -9
            replay_all(f"next {number}-{done}")
            rows = warehouse.execute(
                "select user_id from public.user_logins where starts_with(user_id, %s)", [f"{number}-{done}-"]
            )
            assert sorted(user for (user,) in rows) == users
            left = warehouse.execute("select count(*) from login_etl.rejected_messages where sealed_body is not null")
            assert left.fetchone() == (0,)
    print(f"\n{len(kill_points)} kill points of a replay")


def prepare():
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)


def test_a_set_up_killed_anywhere_is_finished_by_the_next_one(local, empty_warehouse, proxies, connected, subtests):
    def schema():
        with local.connect() as owner:
            return owner.execute(SCHEMA).fetchall()

    proxies.let(undisturbed := Conversation())
    assert exit_code(proxies.environment, prepare) == 0
    expected = schema()
    kill_points = points(undisturbed.said)
    assert len(kill_points) >= 10

    for _, point, done in kill_points:
        with subtests.test(point=name(point, done)):
            make_empty(local)
            proxies.let(Conversation(kill_at=point, done=done))
            assert exit_code(proxies.environment, prepare) == -9
            prepare()
            assert schema() == expected
    print(f"\n{len(kill_points)} kill points of a set-up")
