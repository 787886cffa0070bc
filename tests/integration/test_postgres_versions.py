"""What a run and the maintenance ask of Postgres, asked of the versions that this machine has besides the sandbox's."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from include.batches import erasure, rotation
from include.batches.merge import Merged
from include.batches.rebuild import rebuild
from include.batches.shared import count_shared
from include.batches.staging import stage
from include.batches.window import Window
from include.events.login import Login, RejectedMessage
from include.events.message import Message, Origin, Run
from include.page.messages import find_message
from include.page.metrics import exposition
from include.page.reading import reading
from include.page.view import look
from include.privacy.erasures import ask_erasure
from include.privacy.masking import Keyring, read_keyring
from include.privacy.trail import verify
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.primary_key import add_primary_key
from include.warehouse.retention import drop_staging_days
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_adoption import table
from tests.support.merging import REBUILD, merge
from tests.support.postgres_versions import VERSIONS, postgres
from tests.support.privacy import as_dba, install_privacy, login

NOW = datetime.now(UTC)
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture(params=VERSIONS)
def connection(request):
    """A connection to a new server of this version."""
    with postgres(request.param) as host, psycopg.connect(host=host, user="postgres", autocommit=True) as connection:
        yield connection


def load(connection, keyring, days_ago=0):
    """Stage ten logins and a rejected message."""
    sent = NOW - timedelta(days=days_ago)
    pairs = [(Message(uuid4(), sent, 1, ""), Login(f"user-{index}", ip=f"192.0.2.{index}")) for index in range(10)]
    rejects = [(Message(uuid4(), sent, 1, "{}"), RejectedMessage([("user_id", "missing")]))]
    stage(connection, pairs, rejects, keyring=keyring, origin=Origin(Run("user_logins", "a run"), 0, 1, NOW))


@pytest.mark.parametrize("adopted", [False, True], ids=["ours", "adopted"])
def test_a_run_and_the_maintenance(connection, keyring, adopted):
    if adopted:
        connection.execute(table().encode())
    prepare_warehouse(connection)
    connection.execute("alter table public.user_logins add column day date generated always as (create_date) stored")
    load(connection, keyring)
    load(connection, keyring, days_ago=900)
    connection.execute("alter table public.user_logins add constraint nobody check (user_id <> 'user-3')")
    assert merge(connection) == Merged(batches=2, inserted=18, refused=2)
    connection.execute("alter table public.user_logins drop constraint nobody")
    assert merge(connection) == Merged(inserted=2)
    assert len(empty_default_partition(connection, months=3)) == 1
    if not adopted:
        connection.execute("alter table public.user_logins drop constraint user_logins_pkey")
        connection.execute("create unique index user_logins_key on public.user_logins (create_date, message_id)")
        assert add_primary_key(connection)
    prepare_warehouse(connection)
    assert "user_logins_inserted_total" in exposition(connection)
    assert look(connection, "24h").panels["tables"].data
    for (message_id,) in connection.execute("select message_id from public.user_logins limit 3").fetchall():
        with reading(connection):
            assert [step.name for step in find_message(connection, message_id).steps][-1] == "merged"
    connection.read_only = False
    connection.execute("delete from public.user_logins where user_id > 'user-5'")
    assert rebuild(connection, AGES, run=REBUILD) == 8
    assert drop_staging_days(connection, days=1) == {}
    assert connection.execute("select count(*) from public.user_logins").fetchone() == (20,)
    assert count_shared(connection) == {"devices": 0, "addresses": 0}
    connection.execute("update public.user_logins set masked_device_id = masked_ip, user_id = message_id")
    assert count_shared(connection) == {"devices": 10, "addresses": 10}
    assert connection.execute("select sum(inserted), sum(refused) from login_etl.history").fetchone() == (20, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rotation_and_an_erasure(version):
    old = read_keyring(secrets.token_urlsafe(32))
    new = Keyring([old.key(old.kid), secrets.token_bytes(32)])
    with postgres(version) as host:
        as_dba(host)
        install_privacy(host)
        with login(host, "pipeline") as warehouse:
            prepare_warehouse(warehouse)
            load(warehouse, old)
            load(warehouse, old, days_ago=900)
            merge(warehouse)
            assert rotation.plan_rotation(warehouse, new)
            rotation.switch_masking_key(warehouse, new)
            assert rotation.rewrap_staging(warehouse, new) == rotation.rewrap_user_logins(warehouse, new) == 20
            assert rotation.reseal_rejected_bodies(warehouse, new)["resealed"] == 2
            with login(host, "olga") as officer:
                assert ask_erasure(officer, case_number="C-1", user_id="user-3") == "queued"
            ids = erasure.plan_erasure(warehouse, new)
            assert erasure.raise_tombstones(warehouse, new, ids) == 1
            bodies = erasure.forget_bodies(warehouse, new, ids)
            assert erasure.erase_rows(warehouse, new, ids, bodies)["user_logins"] == 2
            masks = "select count(masked_ip), count(*) filter (where left(masked_ip, 8) = %s) from public.user_logins"
            assert warehouse.execute(masks, [new.kid]).fetchone() == (18, 18)
        with login(host, "uwe") as auditor:
            assert verify(auditor).seq == 4
