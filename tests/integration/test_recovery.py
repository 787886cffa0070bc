"""The warehouse is lost in the middle of the day, and restored from a dump by the commands of docs/recovery.md."""

import json
import re
import secrets
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from include import pipeline
from include.batches.rejected import Selection
from include.batches.staging import stage
from include.connections import masking_keyring, warehouse_connection
from include.events.login import RejectedMessage
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.page.metrics import exposition
from include.privacy.install import fault_of_privacy, install, members
from include.privacy.reveal import check_key
from sandbox.events import send
from tests.integration.test_failing_sqs import DELETE, Fault, keep_the_first
from tests.support.privacy import PEOPLE, login, originals, prepared_warehouse, recipient
from tests.support.queues import MESSAGES, left_on, send_events, show_again
from tests.support.recovery import (
    DUMP,
    EVA,
    LEAVE,
    RESTORE,
    RESTORE_AS_DBA,
    anchor,
    ask,
    connect_to,
    erase_eva,
    users,
    verify,
)
from tests.support.runs import A_RUN
from tests.support.worker import rotate

KEEP_ONE_OF_TEN = Fault(DELETE, keep_the_first("InternalError", sender_fault=False))


def deleted(host):
    """As Prometheus scrapes it."""
    with login(host, "pipeline") as warehouse:
        return int(re.search(r'user_logins_deleted_total\{dag="user_logins"\} (\d+)', exposition(warehouse))[1])


def replay():
    """Replay what was rejected and is valid; how many messages."""
    origin = Origin(Run("replay_rejected", f"{uuid4()}"), -1, 1, datetime.now(UTC), source="rejected_messages")
    staged = pipeline.replay_messages(Selection(limit=100), origin=origin, dry_run=False)["staged"]
    pipeline.merge_user_logins(origin.run)
    return staged


def until_the_dump(operator, host):
    """Messages are landed, of which some cannot be deleted; one was rejected by an early version of the parser."""
    operator.proxies.sqs.fault = KEEP_ONE_OF_TEN
    send_events(operator.sqs, operator.queue_url, "before")
    assert operator.runs("before")["deleted"] == MESSAGES - 3
    early = Message(uuid4(), datetime.now(UTC), 1, '{"user_id": "early"}')
    with warehouse_connection() as warehouse:
        rejects = [(early, RejectedMessage([("user_id", "too_new")]))]
        stage(warehouse, [], rejects, keyring=masking_keyring(), origin=Origin(A_RUN, 0, 1, datetime.now(UTC)))
    operator.must(DUMP, host)
    return anchor()


def from_then_on(operator, host, keys):
    """More is landed, beside a replay, an erasure and a rotation; how many messages are deleted."""
    before = deleted(host)
    send_events(operator.sqs, operator.queue_url, "since")
    operator.runs("since")
    operator.proxies.undisturbed()
    assert replay() == 1
    assert erase_eva(operator, host)["user_logins"] == 1
    keys(2)
    rotate()
    send_events(operator.sqs, operator.queue_url, "later")
    operator.runs("later")
    return deleted(host) - before


def on_the_queue(operator):
    """What SQS has when the warehouse is lost: messages that wait or are in flight, one of Eva's, and a dead letter."""
    sqs, url = operator.sqs, operator.queue_url
    send(sqs, f"{url}-dead", iter(['{"user_id": "dead letter"}']))
    send_events(sqs, url, "waiting")
    send(sqs, url, iter([json.dumps({"user_id": EVA, "ip": "192.0.2.7"})]))
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    return [message["ReceiptHandle"] for message in received]


def refuse_what_lacks_a_key(operator, host, private_key, keys, monkeypatch):
    """With another masking key, or another officer's key, the restored database is worth nothing."""
    other = {"conn_type": "generic", "password": secrets.token_urlsafe(32)}
    monkeypatch.setenv("AIRFLOW_CONN_PII_MASKING", json.dumps(other))
    for step in (lambda: pipeline.check_setup(A_RUN, operator.queue_url, source="queue", window=None), replay):
        with pytest.raises(SetupError, match="put the missing key back"):
            step()
    keys(2)
    with login(host, "postgres") as superuser:
        assert originals(superuser, X25519PrivateKey.generate()) == {}
        with pytest.raises(SetupError, match="not one of those that originals are sealed to"):
            check_key(superuser, X25519PrivateKey.generate())
        assert len(originals(superuser, private_key)) == MESSAGES - 3


def test_a_lost_warehouse_is_restored_and_what_is_lost_is_counted(operator, local, keys, another, monkeypatch):
    lost_host, host = local.postgres, another.folder
    with prepared_warehouse(lost_host):
        private_key = recipient(lost_host)
    at_the_dump = until_the_dump(operator, lost_host)
    deleted_since = from_then_on(operator, lost_host, keys)
    last = anchor()
    handles = on_the_queue(operator)
    with local.connect("postgres") as superuser:
        superuser.execute("drop database warehouse with (force)")

    another.make()
    another.start()
    operator.must(RESTORE, host)
    connect_to(host, monkeypatch)
    assert operator.counts_what_is_lost(host) == (4, deleted_since, 6, 1)
    assert deleted_since == 2 * MESSAGES - 3
    refuse_what_lacks_a_key(operator, host, private_key, keys, monkeypatch)

    code, said = verify(operator, host, last)
    ends, ended = (each.split(":")[0] for each in (at_the_dump, last))
    assert (code, said.strip()) == (1, f"entry {ended}, which was anchored, is gone: the trail ends at {ends}")
    assert users(host)[EVA] == 1
    assert erase_eva(operator, host) == {"erased": 1, "user_logins": 1, "staging": 1, "bodies": 0, "originals": 1}
    rotate()
    assert verify(operator, host, at_the_dump)[0] == 0
    assert "the trail was rewritten" in verify(operator, host, last)[1]

    show_again(operator.sqs, operator.queue_url, [*operator.proxies.sqs.handles(), *handles])
    counts = operator.runs("restored")
    assert (counts["already_there"], counts["inserted"], counts["rejected"]) == (3, 31, 3)
    assert operator.runs("dead letters", source="dead_letter_queue")["inserted"] == 1
    assert replay() == 1
    all_is_there_but_what_is_lost(operator, host, keys(2), private_key, lost=deleted_since)


def all_is_there_but_what_is_lost(operator, host, keyring, private_key, *, lost):
    found = users(host)
    assert found[EVA] == 0
    assert {user: found[user] for user in (None, "early", "dead letter")} == {None: 2, "early": 1, "dead letter": 1}
    assert Counter(user.split("-")[0] for user in found if user) == {
        "before": 26,
        "since": 3,
        "waiting": 27,
        "early": 1,
        "dead letter": 1,
    }
    [(rejected,)] = ask(host, "select count(*) from login_etl.rejected_messages where replayed_in is null")
    assert found.total() + rejected == 4 * MESSAGES + 3 - lost
    assert left_on(operator.sqs, operator.queue_url) == left_on(operator.sqs, f"{operator.queue_url}-dead") == 0
    same_device = (
        "select count(*), min(left(early.masked_device_id, 8)), max(left(early.masked_device_id, 8)) "
        "from public.user_logins as early inner join public.user_logins as late using (masked_device_id) "
        "where late.user_id = replace(early.user_id, 'before', 'waiting') and early.user_id like 'before%'"
    )
    assert ask(host, same_device) == [(26, keyring.kid, keyring.kid)]
    with login(host, "postgres") as superuser:
        assert len(originals(superuser, private_key)) == 26 + 3 + 27
    numbers = [int(line.split(",")[0]) for line in (operator.folder / "landed.csv").read_text().splitlines()]
    [(first,)] = ask(host, "select min(batch_id) from login_etl.batches where run_id = 'restored'")
    assert first == max(numbers) + 1001
    assert ask(host, "select * from login_etl.history where unbalanced_batches is not null") == []


def test_a_dba_who_is_no_superuser_restores_it_too_and_never_without_owners(operator, local, another, monkeypatch):
    host = another.folder
    with prepared_warehouse(local.postgres):
        recipient(local.postgres)
    send_events(operator.sqs, operator.queue_url, "before")
    operator.runs("before")
    operator.must(DUMP, local.postgres)
    another.make()
    another.start()
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as superuser:
        superuser.execute("create role rds login createrole createdb")
    said = operator.must(RESTORE_AS_DBA, host, user="rds")
    refused = re.findall(
        "^ERROR:  (.*)$", said, re.MULTILINE
    )  # a superuser's lines, which the document says are no error
    assert refused == ['role "postgres" already exists', "permission denied to alter role"]
    assert operator.counts_what_is_lost(host, user="rds") == (0, 0, 0, 0)
    operator.must(LEAVE, host, user="rds")
    connect_to(host, monkeypatch)
    with login(host, "rds") as dba:
        assert install(dba, login="pipeline") == []
        assert {role: members(dba)[role] for role in PEOPLE.values()} == {role: name for name, role in PEOPLE.items()}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            dba.execute("select from login_etl.batches")
    assert pipeline.check_setup(A_RUN, operator.queue_url, source="queue", window=None)
    for person in ("olga", "uwe", "ann"):
        login(host, person).close()

    operator.must("dropdb warehouse; createdb warehouse; pg_restore --no-owner --dbname=warehouse warehouse.dump", host)
    with pytest.raises(SetupError, match="permission denied for schema login_etl"):
        pipeline.check_setup(A_RUN, operator.queue_url, source="queue", window=None)
    with login(host, "pipeline") as warehouse:
        assert fault_of_privacy(warehouse).startswith("it is not installed")
