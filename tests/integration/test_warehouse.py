import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from include.batches.shared import count_shared
from include.failures import SetupError
from include.privacy.check import check_kids
from include.warehouse import check as warehouse_check
from include.warehouse.migrations import MIGRATIONS, migrate
from include.warehouse.partitions import make_partitions, needed
from include.warehouse.setup import prepare_warehouse
from tests.support.privacy import as_dba, install_privacy, login

PROJECT = Path(__file__).parents[2]
RUNBOOK = PROJECT / "docs" / "runbook.md"
EXERCISE_TABLE = """
create table public.user_logins (
    user_id varchar(128), device_type varchar(32), masked_ip varchar(256), masked_device_id varchar(256),
    locale varchar(32), app_version integer, create_date date
)
"""
LEGACY_ROW = ("legacy", "ios", "aaa", "bbb", None, 230, date(2020, 1, 1))


def partitions(warehouse, table):
    rows = warehouse.execute(
        "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass order by 1", [table]
    )
    return [name.split(".")[-1] for (name,) in rows]


@pytest.fixture
def adopted(local, warehouse):
    """The exercise's own table, with a row in it, given to the pipeline."""
    with local.connect() as owner:
        owner.execute(EXERCISE_TABLE)
        owner.execute("insert into public.user_logins values (%s, %s, %s, %s, %s, %s, %s)", LEGACY_ROW)
        owner.execute("alter table public.user_logins owner to pipeline")
    return warehouse


def test_a_fresh_database_is_made_ready_and_a_ready_one_is_left_alone(warehouse):
    prepare_warehouse(warehouse)
    assert len(partitions(warehouse, "login_etl.staging_logins")) == 2
    assert len(partitions(warehouse, "public.user_logins")) == 4  # last, this and next month; the default one
    before = warehouse.execute("select max(oid::bigint) from pg_class").fetchone()
    prepare_warehouse(warehouse)
    assert warehouse.execute("select max(oid::bigint) from pg_class").fetchone() == before


@pytest.mark.parametrize(
    ("server", "client", "fault"),
    [
        ("LATIN1", "UTF8", "server_encoding is LATIN1"),
        ("SQL_ASCII", "UTF8", "server_encoding is SQL_ASCII"),
        ("UTF8", "LATIN1", "client_encoding is LATIN1"),
    ],
)
def test_an_encoding_that_lacks_alphabets_is_refused(local, server, client, fault):
    with local.connect("postgres") as owner:
        owner.execute("drop database if exists narrow")
        owner.execute(f"create database narrow encoding '{server}' locale 'C' template template0".encode())
        owner.execute(f"alter database narrow set client_encoding = '{client}'".encode())
    with local.connect("narrow") as connection, pytest.raises(SetupError, match=fault):
        prepare_warehouse(connection)


def test_a_server_that_is_too_old_is_refused_before_anything_is_made(warehouse, monkeypatch):
    monkeypatch.setattr(warehouse_check, "OLDEST_POSTGRES", 99)
    with pytest.raises(SetupError, match=r"server is Postgres \d\d, which .*: use Postgres 99 or newer"):
        prepare_warehouse(warehouse)
    assert warehouse.execute("select count(*) from pg_tables where schemaname = 'login_etl'").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("today", "months"),
    [
        (date(2026, 1, 31), ["2025_12", "2026_01", "2026_02"]),
        (date(2026, 12, 1), ["2026_11", "2026_12", "2027_01"]),
        (date(2028, 2, 29), ["2028_01", "2028_02", "2028_03"]),
    ],
)
def test_months_are_the_last_this_and_the_next(today, months):
    assert [partition.name.removeprefix("user_logins_") for partition in needed(today)[2:]] == months


def test_a_row_in_the_default_partition_does_not_block_its_month(warehouse):
    prepare_warehouse(warehouse)
    warehouse.execute(
        "insert into public.user_logins (user_id, create_date, message_id, batch_id) "
        "values ('early', '2031-05-05', gen_random_uuid(), 1), ('other', '2033-05-05', gen_random_uuid(), 1)"
    )
    assert "user_logins_2031_05" in make_partitions(warehouse, date(2031, 5, 1))
    rows = warehouse.execute("select user_id, tableoid::regclass::text from public.user_logins order by 1").fetchall()
    assert rows == [("early", "user_logins_2031_05"), ("other", "user_logins_default")]


def test_a_table_that_is_locked_is_left_to_the_next_run(empty_warehouse, warehouse, caplog):
    prepare_warehouse(warehouse)
    with empty_warehouse.connect() as analyst, analyst.transaction():
        analyst.execute("select count(*) from public.user_logins")
        made = make_partitions(warehouse, date(2031, 5, 1))
        assert made == ["staging_logins_2031_05_01", "staging_logins_2031_05_02"]
        assert "user_logins_2031_05 could not be created: user_logins is locked" in caplog.text
    assert "user_logins_2031_05" in make_partitions(warehouse, date(2031, 5, 1))


def test_a_locked_staging_table_is_an_error_since_nothing_else_would_catch_its_rows(empty_warehouse, warehouse):
    prepare_warehouse(warehouse)
    with empty_warehouse.connect() as other, other.transaction():
        other.execute("lock table login_etl.staging_logins in share row exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            make_partitions(warehouse, date(2031, 5, 1))


def test_an_adopted_partitioned_table_gets_no_partitions(local, warehouse):
    with local.connect() as owner:
        owner.execute(f"{EXERCISE_TABLE} partition by range (create_date)".encode())
        owner.execute(
            "create table public.years partition of public.user_logins for values from ('2020-01-01') to ('2099-01-01')"
        )
        owner.execute("alter table public.user_logins owner to pipeline")
        owner.execute("alter table public.years owner to pipeline")
    prepare_warehouse(warehouse)
    assert partitions(warehouse, "public.user_logins") == ["years"]


def test_a_lost_table_is_one_sentence_whose_advice_works(warehouse):
    prepare_warehouse(warehouse)
    warehouse.execute("drop table public.user_logins cascade")
    with pytest.raises(SetupError, match="user_logins is gone") as caught:
        prepare_warehouse(warehouse)
    advice = "delete from login_etl.schema_migrations where version in (4, 6, 7, 12, 15, 17, 18)"
    assert advice in str(caught.value)
    warehouse.execute(advice)
    prepare_warehouse(warehouse)
    keys = warehouse.execute("select indexname from pg_indexes where tablename = 'user_logins'").fetchall()
    assert keys == [("user_logins_pkey",)]


def test_the_exercises_table_is_adopted_and_its_rows_stay(adopted):
    prepare_warehouse(adopted)
    assert adopted.execute("select * from public.user_logins").fetchall() == [(*LEGACY_ROW, None, None)]
    prepare_warehouse(adopted)


@pytest.mark.parametrize(
    "cure",
    ["alter table public.user_logins owner to pipeline", "grant somebody_else to pipeline"],
    ids=["own", "member"],
)
def test_a_table_of_somebody_elses_is_adopted_after_what_the_sentence_says(local, adopted, cure):
    """All rights that can be granted are not enough to alter it."""
    with local.connect() as owner:
        owner.execute("drop role if exists somebody_else")
        owner.execute("create role somebody_else")
        owner.execute("grant create, usage on schema public to somebody_else")
        owner.execute("alter table public.user_logins owner to somebody_else")
        owner.execute("grant all on public.user_logins to pipeline")
    sentence = (
        r"must be owner of table user_logins\): make the role of connection warehouse its owner .*, or a member of"
    )
    for _ in range(2):
        with pytest.raises(SetupError, match=sentence):
            prepare_warehouse(adopted)
    with local.connect() as owner:
        owner.execute(cure.encode())
    prepare_warehouse(adopted)
    assert adopted.execute("select * from public.user_logins").fetchall() == [(*LEGACY_ROW, None, None)]
    with local.connect() as owner:
        owner.execute("drop owned by somebody_else cascade")
        owner.execute("drop role somebody_else")


def test_each_table_and_column_says_what_it_is(warehouse):
    prepare_warehouse(warehouse)
    silent = warehouse.execute(
        "select attrelid::regclass::text, attname from pg_attribute join pg_class on pg_class.oid = attrelid "
        "where (relnamespace = 'login_etl'::regnamespace or relname = 'user_logins') and not relispartition "
        "and relkind in ('r', 'p', 'v') and attnum > 0 and not attisdropped "
        "and col_description(attrelid, attnum) is null "
        "union all select oid::regclass::text, '' from pg_class "
        "where (relnamespace = 'login_etl'::regnamespace or relname = 'user_logins') and not relispartition "
        "and relkind in ('r', 'p', 'v') and obj_description(oid, 'pg_class') is null"
    )
    assert silent.fetchall() == []


def test_the_shared_devices_and_addresses_are_those_of_several_users(warehouse):
    prepare_warehouse(warehouse)
    logins = [
        ("a", "d1", "i1"),
        ("b", "d1", "i2"),
        ("a", "d1", "i2"),
        ("c", "d2", None),
        ("c", "d2", None),
        ("d", None, None),
    ]
    for user, device, address in logins:
        warehouse.execute(
            "insert into public.user_logins (user_id, masked_device_id, masked_ip, create_date, message_id, batch_id) "
            "values (%s, %s, %s, current_date, gen_random_uuid(), 1)",
            [user, device, address],
        )
    assert warehouse.execute("select * from login_etl.shared_devices").fetchall() == []
    assert count_shared(warehouse) == {"devices": 1, "addresses": 1}
    assert warehouse.execute("select * from login_etl.shared_devices").fetchall() == [("d1", 2, 3)]
    assert warehouse.execute("select * from login_etl.shared_addresses").fetchall() == [("i2", 2, 2)]


def test_an_analyst_sees_the_view_and_nothing_else(local, warehouse):
    """With the grants that docs/configuration.md gives her."""
    prepare_warehouse(warehouse)
    warehouse.execute(
        "insert into public.user_logins (user_id, masked_ip, create_date, message_id, batch_id) "
        "values ('u', 'm', current_date, gen_random_uuid(), 1)"
    )
    text = " ".join((PROJECT / "docs" / "configuration.md").read_text().split())
    [grants] = re.findall(
        r"`(grant usage on schema login_etl to analyst; grant select on login_etl.logins to analyst)`", text
    )
    with local.connect() as owner:
        owner.execute("drop role if exists analyst; create role analyst login")
        owner.execute(grants.encode())
    try:
        with local.connect(user="analyst") as analyst:
            assert analyst.execute("select user_id, masked_ip from login_etl.logins").fetchall() == [("u", "m")]
            [columns] = analyst.execute("select to_jsonb(logins) from login_etl.logins as logins").fetchone()
            assert set(columns) == set(warehouse_check.EXERCISE_COLUMNS)
            for table in (
                "public.user_logins",
                "login_etl.staging_logins",
                "login_etl.rejected_messages",
                "login_etl.masking",
                "login_etl.batches",
                "login_etl.shared_devices",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    analyst.execute(f"select * from {table}")
    finally:
        with local.connect() as owner:
            owner.execute("drop owned by analyst; drop role analyst")


def test_the_queries_of_the_runbook_run(local):
    as_dba(local.postgres)
    install_privacy(local.postgres)
    queries = re.findall(r"```sql\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    assert len(queries) == 7
    with login(local.postgres, "pipeline") as warehouse:
        prepare_warehouse(warehouse)
        for query in queries:
            assert warehouse.execute(query.encode()).fetchall() == []


def test_a_database_of_an_earlier_version_is_brought_up_to_date(warehouse, tmp_path):
    for path in sorted(MIGRATIONS.glob("*.sql"))[:4]:
        shutil.copy(path, tmp_path)
    migrate(warehouse, tmp_path)
    prepare_warehouse(warehouse)
    assert warehouse.execute("select count(*) from login_etl.schema_migrations").fetchone() == (
        len(list(MIGRATIONS.glob("*.sql"))),
    )


def test_a_foreign_table_is_refused_before_it_is_altered(local, warehouse):
    with local.connect() as owner:
        owner.execute(
            "create table public.user_logins (user_id varchar(64), device_type text, masked_ip varchar(256) not null, "
            "masked_device_id varchar(256), locale varchar(32), app_version text, extra text not null)"
        )
        owner.execute("alter table public.user_logins owner to pipeline")
    faults = (
        r"column user_id holds 64 characters, not 128; "
        r"column masked_ip does not allow null, but an event may lack it; column app_version is text, not integer; "
        r"column create_date is missing; column extra, which is not ours, does not allow null"
    )
    with pytest.raises(SetupError, match=faults):
        prepare_warehouse(warehouse)
    assert warehouse.execute("select to_regnamespace('login_etl')").fetchone() == (None,)


def test_a_lost_key_or_right_is_found(local, warehouse):
    prepare_warehouse(warehouse)
    warehouse.execute("alter table public.user_logins drop constraint user_logins_pkey")
    with pytest.raises(SetupError, match=r"create unique index on public.user_logins \(create_date, message_id\)"):
        prepare_warehouse(warehouse)
    warehouse.execute("create unique index on public.user_logins (message_id, create_date)")
    prepare_warehouse(warehouse)
    with local.connect() as owner:
        owner.execute("alter table public.user_logins owner to postgres")
    with pytest.raises(SetupError, match="grant select, insert, update"):
        prepare_warehouse(warehouse)


def test_a_view_in_the_tables_place_is_refused(local, warehouse):
    prepare_warehouse(warehouse)
    with local.connect() as owner:
        owner.execute("alter table public.user_logins rename to elsewhere")
        owner.execute("create view public.user_logins as select * from elsewhere")
    with pytest.raises(SetupError, match="is a view, not a table"):
        prepare_warehouse(warehouse)


def test_a_swapped_key_is_refused_and_a_rotated_one_is_not(warehouse, keyring):
    prepare_warehouse(warehouse)
    check_kids(warehouse, keyring)
    now = datetime.now(UTC)
    for kid in (keyring.kid, "0badc0de", keyring.kid, "0badc0de"):
        warehouse.execute(
            "insert into login_etl.batches (run_id, map_index, try_number, kid, received, staged, rejected, "
            "oldest_sent_at, newest_sent_at, started_at) values ('r', 0, 1, %s, 1, 1, 0, %s, %s, %s)",
            [kid, now, now, now],
        )
    with pytest.raises(SetupError, match=f"key id 0badc0de, which is not in this keyring's chain \\({keyring.kid}\\)"):
        check_kids(warehouse, keyring)
    warehouse.execute("delete from login_etl.batches where kid = '0badc0de'")
    check_kids(warehouse, keyring)
