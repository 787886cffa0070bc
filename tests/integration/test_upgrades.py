"""A database of each earlier version, with rows in each of its tables, comes to today's, and goes on from there."""

import os
import shutil
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from include import maintenance
from include.batches.staging import stage
from include.events.login import Login
from include.events.message import Message, Origin, Run
from include.privacy import install as privacy
from include.privacy.check import check_kids
from include.privacy.erasures import ask_erasure, waiting
from include.privacy.install import fault_of_privacy, install
from include.privacy.originals import make_days
from include.privacy.trail import head, note, verify
from include.warehouse.migrations import MIGRATIONS, migrate
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_adoption import table
from tests.integration.test_migrations import NAMES
from tests.support.earlier import ROWS, contents, fill
from tests.support.merging import merge
from tests.support.privacy import login, prepared_warehouse, recipient
from tests.support.schema import SCHEMA
from tests.support.warehouses import make_empty

NOW = datetime.now(UTC)
ORIGIN = Origin(Run("user_logins", "today's run"), 0, 1, NOW)
# Two files were edited after databases had them.
FIRST_FORMS = {
    "0005_rejected_replay": {
        "    source,\n": "    min(source) as source,\n",
        "group by run_id, source": "group by run_id",
    },
    "0006_day_first": {
        "(create_date, message_id);": "(create_date, message_id); drop index if exists public.user_logins_message_key;"
    },
}
EVERYTHING = "SOAK_SECONDS" in os.environ
# In `make test` those that brought something of which there are rows.
VERSIONS = [version for version in range(1, len(NAMES)) if EVERYTHING or version in ROWS]
# The exercise's table, with rows of before; an early version's migrations adopted it by themselves.
LEGACY = [table(), "insert into public.user_logins (user_id) select 'legacy ' || n from generate_series(1, 2) as n"]
WAITING = """
select count(*) from login_etl.staging_logins where message_id not in
(select message_id from public.user_logins where message_id is not null)
"""
UNBALANCED = "select run_id, unbalanced_batches from login_etl.history where unbalanced_batches is not null"


@pytest.fixture(scope="module")
def today(local, airflow_home):
    """Whether adopted → what a fresh database has after a set-up, and the maintenance, of today."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in airflow_home.items():
            patch.setenv(name, value)
        for adopted in (False, True):
            make_empty(local)
            with local.connect(user="pipeline") as warehouse:
                make_legacy(warehouse, adopted=adopted)
                prepare_warehouse(warehouse)
                maintenance.make_partitions()
                found[adopted] = set(warehouse.execute(SCHEMA))
    return found


def make_legacy(warehouse, *, adopted):
    """The table that was there before this project, with its rows, where one was."""
    for statement in LEGACY if adopted else []:
        warehouse.execute(statement)


def old_files(folder, version, edits):
    """The first so many migrations, as they were."""
    for path in sorted(MIGRATIONS.glob("*.sql"))[:version]:
        text = path.read_text()
        for new, old in edits.get(path.stem, {}).items():
            assert new in text
            text = text.replace(new, old)
        (folder / path.name).write_text(text)
    return folder


def has_all(rows, earlier):
    """Whether each row of before is among those of now, which may have more columns."""
    return all(any(row.items() >= each.items() for row in rows) for each in earlier)


@pytest.mark.parametrize(
    ("version", "edits", "adopted"),
    [
        *((version, {}, False) for version in VERSIONS),
        *((version, FIRST_FORMS, False) for version in ((5, 6, 7) if EVERYTHING else (6,))),
        *((version, {}, True) for version in (VERSIONS[3:] if EVERYTHING else (4, 20))),
    ],
)
def test_a_database_of_each_earlier_version_is_brought_up_to_date_with_its_rows(
    warehouse, tmp_path, connected, keyring, today, version, edits, adopted
):
    make_legacy(warehouse, adopted=adopted)
    assert migrate(warehouse, old_files(tmp_path, version, edits)) == NAMES[:version]
    fill(warehouse, version, keyring.kid)
    earlier = contents(warehouse)
    assert [name for name, rows in earlier.items() if not rows] == []

    prepare_warehouse(warehouse)
    now = contents(warehouse)
    assert [name for name, rows in earlier.items() if not has_all(now[name], rows)] == []
    assert [name for name, rows in earlier.items() if len(rows) != len(now[name]) and "migrations" not in name] == []
    maintenance.make_partitions()
    assert set(warehouse.execute(SCHEMA)) ^ today[adopted] == set()

    check_kids(warehouse, keyring)
    sent = [(Message(uuid4(), NOW, 1, ""), Login(f"new user {number}", ip="192.0.2.1")) for number in range(5)]
    stage(warehouse, sent, [], keyring=keyring, origin=ORIGIN)
    [(waiting,)] = warehouse.execute(WAITING).fetchall()
    merged = merge(warehouse)
    assert (merged.inserted, merged.refused) == (waiting, 0)
    for step in (
        lambda: maintenance.drop_staging_days(days=30),
        lambda: maintenance.drop_login_months(months=24),
        maintenance.count_shared,
        lambda: maintenance.forget_rejected_bodies(days=30),
        maintenance.privacy_upkeep,
        maintenance.add_up_batches,
    ):
        step()
    assert maintenance.count_shared() == {"devices": "0 shared", "addresses": "1 shared"}
    loaded, staged = (
        {row["message_id"] for row in contents(warehouse)[name] if row["message_id"]}
        for name in ("user_logins", "login_etl.staging_logins")
    )
    assert loaded >= staged
    assert warehouse.execute(UNBALANCED).fetchall() == []


def test_schema_privacy_of_each_earlier_version_is_brought_up_to_date_with_its_rows(
    local, keyring, tmp_path, monkeypatch, subtests
):
    files = sorted(privacy.MIGRATIONS.glob("*.sql"))
    with prepared_warehouse(local.postgres), local.connect() as owner:
        today = privacys_schema(owner)
    for version in range(1, len(files)):
        with subtests.test(version=version), monkeypatch.context() as patch:
            folder = tmp_path / str(version)
            folder.mkdir()
            for path in files[:version]:
                shutil.copy(path, folder)
            patch.setattr(privacy, "MIGRATIONS", folder)
            with prepared_warehouse(local.postgres) as warehouse:
                fill_privacy(local, warehouse, version, keyring)
                anchor = head(warehouse)
                patch.undo()
                names = [path.stem for path in files[version:]]
                assert fault_of_privacy(warehouse).startswith(f"it lacks {', '.join(names)}: let a DBA run")
                with local.connect() as owner:
                    earlier = contents(owner, "privacy")
                    assert [name for name, rows in earlier.items() if not rows] == []
                    with login(local.postgres, "dba") as dba:
                        assert install(dba, login="pipeline") == names
                    now = contents(owner, "privacy")
                    assert privacys_schema(owner) ^ today == set()
                assert [name for name, rows in earlier.items() if not has_all(now[name], rows)] == []
                assert fault_of_privacy(warehouse) == ""
                with login(local.postgres, "uwe") as auditor:
                    verify(auditor, [anchor])
                assert [each.case_number for each in waiting(warehouse)] == (["C-2"] if version > 1 else [])


def privacys_schema(owner):
    """What an installation has made, without the days of the originals, which runs make."""
    return {row for row in owner.execute(SCHEMA) if not row[1].startswith("privacy.originals_")}


def fill_privacy(local, warehouse, version, keyring):
    """What was done with a schema of so many migrations: noted, asked and erased, kept."""
    note(warehouse, "masks under one key", {"rows": 1})
    if version >= 2:
        with login(local.postgres, "olga") as officer:
            for case, user in (("C-1", "ann"), ("C-2", "bob")):
                assert ask_erasure(officer, case_number=case, user_id=user) == "queued"
        assert warehouse.execute("select privacy.erase(1, '{}')").fetchone() == ("erased",)
    if version >= 3:
        recipient(local.postgres)
        make_days(warehouse)
        logins = [(Message(uuid4(), NOW, 1, ""), Login("ann", ip="192.0.2.1"))]
        stage(warehouse, logins, [], keyring=keyring, origin=ORIGIN)
