"""The warehouse is lost with its disk, and recovered from a base backup and its WAL as docs/recovery.md says."""

import shutil
import time
from pathlib import Path

import pytest

from tests.support.privacy import prepared_warehouse
from tests.support.queues import MESSAGES, send_events
from tests.support.recovery import (
    ARCHIVING,
    BASE_BACKUP,
    EVA,
    RECOVERING,
    anchor,
    ask,
    connect_to,
    erase_eva,
    users,
    verify,
)


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
