"""The daily maintenance: partitions ahead of need, an empty default partition, old days of staging dropped."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from include import maintenance, pipeline
from include.batches.merge import Merged
from include.batches.rebuild import rebuild
from include.batches.staging import stage
from include.batches.window import Window
from include.events.login import Login
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.partitions import (
    logins_month,
    make_partition,
    make_partitions,
    needed,
    staging_day,
    staging_days,
)
from include.warehouse.report import outcome_table, size_table
from include.warehouse.retention import drop_login_months, drop_staging_days
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_kill_points import name, points
from tests.support.merging import REBUILD, merge
from tests.support.worker import Conversation, exit_code

AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
DAY = timedelta(days=1)
TODAY = date(2026, 12, 15)


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


@pytest.fixture
def ask(ready):
    return lambda query, *values: ready.execute(query, values).fetchall()


def today(warehouse):
    [(day,)] = warehouse.execute("select (now() at time zone 'UTC')::date").fetchall()
    return day


@pytest.fixture
def stage_days_ago(ready, keyring):
    """A batch, merged or not, that was staged so many days ago."""

    def stage_one(days, *, rows=3, merged=True):
        day = today(ready) - days * DAY
        make_partition(ready, staging_day(day))
        sent = datetime.now(UTC) - days * DAY
        logins = [(Message(uuid4(), sent, 1, ""), Login(f"{days} days ago")) for _ in range(rows)]
        batch = stage(
            ready, logins, [], keyring=keyring, origin=Origin(Run("user_logins", "a run"), 0, 1, sent)
        ).batch_id
        if merged:
            merge(ready)
        ready.execute("update login_etl.staging_logins set staged_on = %s where batch_id = %s", [day, batch])
        ready.execute(
            "update login_etl.batches set staged_at = staged_at - %s where batch_id = %s", [days * DAY, batch]
        )
        return batch

    return stage_one


def held(warehouse):
    return [day.age for day in staging_days(warehouse) if day.age >= 0]


def insert(warehouse, *days):
    for day in days:
        warehouse.execute(
            "insert into public.user_logins (user_id, create_date, message_id, batch_id) "
            "values (%s, %s, gen_random_uuid(), 1)",
            [f"of {day}", day],
        )


def where(ask):
    return ask("select create_date::text, tableoid::regclass::text from public.user_logins order by create_date")


# Ahead of need.


@pytest.mark.parametrize(
    ("start", "months"),
    [
        (date(2026, 10, 31), ["2026_09", "2026_10", "2026_11", "2026_12", "2027_01"]),
        (date(2026, 12, 1), ["2026_11", "2026_12", "2027_01", "2027_02", "2027_03"]),
        (date(2028, 1, 31), ["2027_12", "2028_01", "2028_02", "2028_03", "2028_04"]),
    ],
)
def test_months_and_days_ahead(start, months):
    ahead = needed(start, months=3, days=7)
    assert [part.name.removeprefix("user_logins_") for part in ahead if part.table == "user_logins"] == months
    assert [part.start for part in ahead if part.table == "staging_logins"] == [start + n * DAY for n in range(8)]
    assert set(needed(start)) <= set(ahead)


def test_what_is_made_ahead_spares_the_runs_of_a_week_all_ddl(ready, connected):
    made = maintenance.make_partitions()
    assert list(made.values()) == ["created"] * 8 + ["empty"]
    for days in range(7):
        assert make_partitions(ready, today(ready) + days * DAY) == []
    assert maintenance.make_partitions() == {"default partition": "empty"}
    assert make_partitions(ready, today(ready) + 40 * DAY, days=0) == [staging_day(today(ready) + 40 * DAY).name]


# The default partition.


def test_rows_in_the_default_partition_get_their_months(ready, ask):
    insert(ready, "2019-12-31", "2020-01-01", "2020-01-31", "2024-02-29", "2027-03-31")
    done = empty_default_partition(ready, TODAY, months=3)
    assert done == {
        f"user_logins_{month}": f"created, {rows} rows moved from the default partition"
        for month, rows in (("2019_12", 1), ("2020_01", 2), ("2024_02", 1), ("2027_03", 1))
    }
    assert where(ask) == [
        ("2019-12-31", "user_logins_2019_12"),
        ("2020-01-01", "user_logins_2020_01"),
        ("2020-01-31", "user_logins_2020_01"),
        ("2024-02-29", "user_logins_2024_02"),
        ("2027-03-31", "user_logins_2027_03"),
    ]
    assert empty_default_partition(ready, TODAY, months=3) == {"default partition": "empty"}


def test_rows_of_impossible_dates_are_named_and_stop_no_other(ready, ask, caplog):
    insert(ready, "1970-01-01", "2016-11-30", "2016-12-01", "2027-04-01", "9999-12-31", "infinity", "-infinity")
    with pytest.raises(SetupError, match="6 rows dated -infinity to infinity, for which no month is created"):
        empty_default_partition(ready, TODAY, months=3)
    assert [day for day, table in where(ask) if table == "user_logins_2016_12"] == ["2016-12-01"]
    ready.execute("delete from public.user_logins_default where create_date <> '1970-01-01'")
    with pytest.raises(SetupError, match="1 rows dated 1970-01-01 to 1970-01-01"):
        empty_default_partition(ready, TODAY, months=3)
    assert "still in public.user_logins_default: 1 rows dated 1970-01-01" in caplog.text


def test_rows_without_a_date_are_named(ready):
    """Those of a table that an early version made; now its primary key allows none."""
    ready.execute("alter table public.user_logins drop constraint user_logins_pkey")
    for part in ("user_logins", "user_logins_default"):
        ready.execute(f"alter table public.{part} alter column create_date drop not null".encode())
    insert(ready, None)
    with pytest.raises(SetupError, match="1 rows without a date, for which no month is created"):
        empty_default_partition(ready, TODAY, months=3)


def test_a_table_with_a_months_name_is_named_and_stops_no_other(ready, ask):
    ready.execute("create table public.user_logins_2020_05 ()")
    insert(ready, "2020-05-05", "2020-06-06")
    with pytest.raises(SetupError, match="1 rows of 2020-05, because a table user_logins_2020_05 exists"):
        empty_default_partition(ready, TODAY, months=3)
    assert where(ask) == [("2020-05-05", "user_logins_default"), ("2020-06-06", "user_logins_2020_06")]


def test_a_locked_table_is_tried_again_later(local, ready, ask):
    """And not once for each month: whoever else reads the table waits behind each try."""
    insert(ready, "2020-05-05", "2020-06-06")
    with local.connect() as analyst, analyst.transaction():
        analyst.execute("select count(*) from public.user_logins")
        with pytest.raises(
            TimeoutError, match="locked by somebody: rows from 2020-05 on are still in the default partition"
        ):
            empty_default_partition(ready, TODAY, months=3)
    assert where(ask) == [("2020-05-05", "user_logins_default"), ("2020-06-06", "user_logins_default")]
    assert {"user_logins_2020_05", "user_logins_2020_06"} <= empty_default_partition(ready, TODAY, months=3).keys()


def test_adopted_tables_are_left_alone(local, warehouse, connected):
    with local.connect() as owner:
        owner.execute(
            "create table public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256), "
            "masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date) "
            "partition by range (create_date)"
        )
        owner.execute("create table public.others partition of public.user_logins default")
        owner.execute("insert into public.user_logins (user_id, create_date) values ('legacy', '2020-01-01')")
        for table in ("user_logins", "others"):
            owner.execute(f"alter table public.{table} owner to pipeline".encode())
    made = maintenance.make_partitions()
    assert made.pop("default partition") == "none: public.user_logins is not partitioned by this project"
    assert {name[:15] for name in made} == {"staging_logins_"}
    assert warehouse.execute("select tableoid::regclass::text from public.user_logins").fetchall() == [("others",)]


def test_a_merge_on_its_way_into_the_default_partition_is_not_refused(local, ready, keyring, ask):
    """It either comes before the month is made, and is moved, or after, and finds the month."""
    old = datetime(2020, 5, 5, tzinfo=UTC)
    for _ in range(40):
        logins = [(Message(uuid4(), old, 1, ""), Login("old")) for _ in range(50)]
        stage(ready, logins, [], keyring=keyring, origin=Origin(Run("user_logins", "a run"), 0, 1, old))
    insert(ready, "2020-05-05")

    def with_one(step):
        with local.connect(user="pipeline") as connection:
            return step(connection)

    with ThreadPoolExecutor(2) as pool:
        merged = pool.submit(with_one, merge)
        made = pool.submit(with_one, lambda connection: empty_default_partition(connection, TODAY, months=3))
        assert merged.result() == Merged(batches=40, inserted=2000)
        assert "user_logins_2020_05" in made.result()
    assert ask("select tableoid::regclass::text, count(*) from public.user_logins group by 1") == [
        ("user_logins_2020_05", 2001)
    ]


# Staging's retention.


def test_old_days_are_dropped_and_young_ones_stay(ready, stage_days_ago):
    for days in (0, 1, 2, 3, 10):
        stage_days_ago(days, rows=days + 1)
    dropped = drop_staging_days(ready, days=2)
    assert list(dropped.values()) == ["dropped, 11 rows", "dropped, 4 rows"]
    assert held(ready) == [2, 1, 0]
    assert drop_staging_days(ready, days=2) == {}


def test_the_shortest_retention_keeps_today_and_yesterday(ready, stage_days_ago):
    for days in (0, 1, 2):
        stage_days_ago(days)
    assert len(drop_staging_days(ready, days=1)) == 1
    assert held(ready) == [1, 0]


def test_a_day_with_a_batch_that_is_not_merged_stays_and_is_named(ready, stage_days_ago, caplog):
    for days in (10, 9):
        stage_days_ago(days)
    waiting = [stage_days_ago(10, merged=False) for _ in range(7)]
    named = f"batch {', '.join(map(str, waiting[:5]))} and 2 more"
    assert list(drop_staging_days(ready, days=5).values()) == [f"kept, not all merged: {named}", "dropped, 3 rows"]
    assert f"is kept, because not all of its rows are merged: {named}" in caplog.text
    assert merge(ready) == Merged(batches=7, inserted=21)
    assert list(drop_staging_days(ready, days=5).values()) == ["dropped, 24 rows"]


def test_a_day_with_rows_that_user_logins_refuses_stays(ready, stage_days_ago):
    """They are nowhere else."""
    ready.execute("alter table public.user_logins add constraint nobody check (user_id <> '10 days ago')")
    stage_days_ago(9)
    batch = stage_days_ago(10)
    assert ready.execute("select sum(refused) from login_etl.batches").fetchone() == (3,)
    assert sorted(drop_staging_days(ready, days=5).values()) == [
        "dropped, 3 rows",
        f"kept, not all merged: batch {batch}",
    ]
    ready.execute("alter table public.user_logins drop constraint nobody")
    assert merge(ready).inserted == 3
    assert list(drop_staging_days(ready, days=5).values()) == ["dropped, 3 rows"]


def test_a_day_with_rows_of_a_batch_that_nobody_knows_stays(ready, stage_days_ago):
    stage_days_ago(10)
    unknown = stage_days_ago(10)
    ready.execute("delete from login_etl.batches where batch_id = %s", [unknown])
    assert list(drop_staging_days(ready, days=5).values()) == [f"kept, not all merged: batch {unknown}"]


def test_an_unmerged_batch_without_rows_keeps_its_day(ready, stage_days_ago):
    batch = stage_days_ago(10, merged=False)
    ready.execute("delete from login_etl.staging_logins where batch_id = %s", [batch])
    assert list(drop_staging_days(ready, days=5).values()) == [f"kept, not all merged: batch {batch}"]


def test_a_partition_that_somebody_else_attached_stays(ready, ask):
    ready.execute("""
    create table login_etl.years partition of login_etl.staging_logins for values from ('1999-01-01') to ('2001-01-01');
    create table login_etl.a_day partition of login_etl.staging_logins for values from ('2002-01-01') to ('2002-01-02');
    create table login_etl.staging_logins_2003_01_01 ();
    """)
    assert drop_staging_days(ready, days=1) == {}
    there = ask("select tablename from pg_tables where schemaname = 'login_etl' and tablename ~ 'years|a_day|2003'")
    assert len(there) == 3


def test_days_are_known_whatever_the_date_style(ready, stage_days_ago):
    stage_days_ago(40)
    ready.execute("set datestyle to 'German, DMY'")
    assert len(drop_staging_days(ready, days=30)) == 1


def test_history_a_merge_and_a_rebuild_after_the_drop(ready, connected, stage_days_ago, ask, caplog):
    caplog.set_level(logging.INFO)
    stage_days_ago(10)
    stage_days_ago(1)
    before = ask("select * from login_etl.history")
    drop_staging_days(ready, days=5)
    ready.execute("delete from public.user_logins")
    assert ask("select * from login_etl.history") == before
    assert rebuild(ready, AGES, run=REBUILD) == 3
    assert "staging begins on" in caplog.text
    assert ask("select distinct user_id from public.user_logins") == [("1 days ago",)]
    counts = pipeline.merge_user_logins(Run("user_logins", "a run"))
    assert counts["merged_batches"] == 0
    caplog.clear()
    rebuild(ready, Window(datetime.now(UTC), AGES.stop), run=REBUILD)
    assert "staging begins on" not in caplog.text


def test_two_maintenances_at_once_drop_each_day_once(local, ready, stage_days_ago):
    for days in range(5, 12):
        stage_days_ago(days)

    def one(_):
        with local.connect(user="pipeline") as connection:
            return drop_staging_days(connection, days=4)

    with ThreadPoolExecutor(3) as pool:
        dropped = [name for done in pool.map(one, range(3)) for name in done]
    assert len(dropped) == len(set(dropped)) == 7


def test_staging_that_is_locked_is_an_error_and_everything_stays(local, ready, stage_days_ago):
    stage_days_ago(10)
    with local.connect() as analyst, analyst.transaction():
        analyst.execute("select count(*) from login_etl.staging_logins")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            drop_staging_days(ready, days=5)
    assert 10 in held(ready)
    assert len(drop_staging_days(ready, days=5)) == 1


def test_drains_merges_and_rebuilds_go_on_while_days_are_dropped(local, ready, keyring, stage_days_ago):
    for days in range(5, 25):
        stage_days_ago(days, rows=200)
    over = threading.Event()

    def until_over(step):
        with local.connect(user="pipeline") as connection:
            rounds = 0
            while not over.is_set() or not rounds:
                step(connection)
                rounds += 1
        return rounds

    def drain_one(connection):
        now = datetime.now(UTC)
        logins = [(Message(uuid4(), now, 1, ""), Login("now")) for _ in range(20)]
        stage(connection, logins, [], keyring=keyring, origin=Origin(Run("user_logins", "meanwhile"), 0, 1, now))

    with ThreadPoolExecutor(3) as pool:
        steps = (drain_one, merge, lambda connection: rebuild(connection, AGES, run=REBUILD))
        rounds = [pool.submit(until_over, step) for step in steps]
        try:
            dropped = drop_staging_days(ready, days=4)
        finally:
            over.set()
        drained, *_ = (round_.result() for round_ in rounds)
    assert set(dropped.values()) == {"dropped, 200 rows"}
    assert len(dropped) == 20
    merge(ready)
    assert ready.execute("select count(*) from public.user_logins where user_id = 'now'").fetchall() == [
        (20 * drained,)
    ]
    assert ready.execute("select * from login_etl.history where unbalanced_batches is not null").fetchall() == []


# All of it.


def maintain():
    parts = {
        "make": maintenance.make_partitions(),
        "drop": maintenance.drop_staging_days(days=5),
        "forget": maintenance.forget_rejected_bodies(days=5),
    }
    maintenance.report(parts)


def test_a_maintenance_killed_anywhere_is_finished_by_the_next_one(
    ready, proxies, connected, stage_days_ago, subtests, ask
):
    maintenance.make_partitions()
    kept = stage_days_ago(8)

    def disorder():
        for days in (6, 7):
            stage_days_ago(days)
        for table in (
            "public.user_logins_2020_05",
            *(f"login_etl.{day.name}" for day in staging_days(ready) if day.age < -1),
        ):
            ready.execute(f"drop table if exists {table}".encode())
        insert(ready, "2020-05-05")
        ready.execute("update login_etl.batches set merged_at = null where batch_id = %s", [kept])
        return ask("select count(*) from public.user_logins")

    def order():
        [(made,)] = ask("select count(*) from pg_inherits where inhparent = 'login_etl.staging_logins'::regclass")
        return (
            made,
            ask("select count(*) from only public.user_logins_default"),
            ask("select distinct batch_id from login_etl.staging_logins"),
        )

    disorder()
    proxies.let(undisturbed := Conversation())
    assert exit_code(proxies.environment, maintain) == 0
    expected = order()
    assert expected == (9, [(0,)], [(kept,)])
    kill_points = points(undisturbed.said)
    assert len(kill_points) >= 15

    for _, point, done in kill_points:
        with subtests.test(point=name(point, done)):
            logins = disorder()
            proxies.let(Conversation(kill_at=point, done=done))
            assert exit_code(proxies.environment, maintain) == -9
            maintain()
            assert order() == expected
            assert ask("select count(*) from public.user_logins") == logins
    print(f"\n{len(kill_points)} kill points of a maintenance")


def test_the_tables_say_what_was_done_and_what_is_there(ready, stage_days_ago):
    stage_days_ago(1)
    table = outcome_table({"drop": {"a day": "dropped, 3 rows"}, "make": None, "forget": {"bodies": "0 forgotten"}})
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["drop", "a", "day", "dropped,", "3", "rows"],
        ["make", "failed:", "see", "its", "log"],
        ["forget", "bodies", "0", "forgotten"],
    ]
    ready.execute("analyze")
    sizes = {line.split()[0]: line.split()[1:] for line in size_table(ready).splitlines()[2:]}
    assert sizes["public.user_logins"][:2] == ["4", "3"]
    assert sizes["login_etl.staging_logins"][:2] == ["3", "3"]
    assert set(sizes) == {
        "public.user_logins", "login_etl.staging_logins", "login_etl.batches", "login_etl.rejected_messages"
    }  # fmt: skip
    assert float(sizes["login_etl.staging_logins"][2]) >= 0.1


# The retention of logins.


def month_ago(warehouse, months):
    """The first day of the month so many months ago, by the database's clock."""
    query = "select (date_trunc('month', now() at time zone 'UTC') - make_interval(months => %s))::date"
    [(day,)] = warehouse.execute(query, [months]).fetchall()
    return day


def months_there(ask):
    months = ask("select relname::text from pg_class where relname ~ '^user_logins_[0-9]{4}_[0-9]{2}$' order by 1")
    return {name for (name,) in months}


def test_old_months_are_dropped_and_young_ones_stay(ready, ask):
    old = [month_ago(ready, months) for months in (30, 14, 13)]
    kept = [month_ago(ready, months) for months in (12, 2, 1, 0)]
    for day in (*old, *kept):
        make_partition(ready, logins_month(day))
        insert(ready, day)
    assert drop_login_months(ready, months=None) == {"old months": "kept for ever: user_logins_keep_months is not set"}
    assert drop_login_months(ready, months=12) == {logins_month(day).name: "dropped" for day in old}
    assert drop_login_months(ready, months=12) == {"old months": "none"}
    assert months_there(ask) >= {logins_month(day).name for day in kept}
    assert ask("select create_date from public.user_logins order by 1") == [(day,) for day in sorted(kept)]


def test_a_month_that_staging_has_messages_of_stays(ready, keyring, ask):
    """A rebuild would bring it back in part."""
    for months in (5, 4):
        sent = datetime.combine(month_ago(ready, months), datetime.min.time(), UTC)
        make_partition(ready, logins_month(sent.date()))
        if months == 4:
            logins = [(Message(uuid4(), sent, 1, ""), Login("u"))]
            stage(ready, logins, [], keyring=keyring, origin=Origin(Run("user_logins", "a run"), 0, 1, sent))
            merge(ready)
    old, staged = (logins_month(month_ago(ready, months)).name for months in (5, 4))
    assert drop_login_months(ready, months=1) == {old: "dropped", staged: "kept: staging has messages of it"}
    assert ask("select count(*) from public.user_logins") == [(1,)]


def test_months_of_others_and_an_adopted_table_are_left_alone(local, empty_warehouse, ready, ask):
    ready.execute("create table public.user_logins_1999_01 (); create table public.theirs (like public.user_logins)")
    ready.execute(
        "alter table public.user_logins attach partition public.theirs for values from ('1998-01-01') to ('1998-02-01')"
    )
    assert drop_login_months(ready, months=1) == {"old months": "none"}
    assert "user_logins_1999_01" in months_there(ask)
    ready.execute("drop table public.user_logins cascade; create table public.user_logins (user_id text)")
    assert drop_login_months(ready, months=1) == {
        "old months": "kept: public.user_logins is not partitioned by this project"
    }


def test_a_month_that_somebody_reads_is_dropped_by_the_retry(local, ready):
    old = month_ago(ready, 40)
    make_partition(ready, logins_month(old))
    with local.connect() as reader, reader.transaction():
        reader.execute("select count(*) from public.user_logins")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            drop_login_months(ready, months=12)
    assert drop_login_months(ready, months=12) == {logins_month(old).name: "dropped"}
