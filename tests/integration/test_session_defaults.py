"""Databases whose roles have other defaults than those of a fresh server: the promises do not depend on them."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from include import maintenance, pipeline
from include.batches.rejected import Selection
from include.batches.window import Window
from include.connections import NETWORK, warehouse_connection
from include.events.message import Origin, Run
from include.failures import SetupError
from include.warehouse.transactions import transaction
from tests.integration.test_failing_postgres import crash, wait_until_it_answers
from tests.support.queues import MESSAGES, left_on, send_events
from tests.support.runs import A_RUN

AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, datetime.now(UTC))
REPLAY = Origin(Run("user_logins", "a replay"), -1, 1, datetime.now(UTC), source="rejected_messages")
DEFAULTS = {
    "nothing": {},
    "repeatable read": {"default_transaction_isolation": "repeatable read"},
    "serializable": {"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on"},
    "German dates": {"DateStyle": "German, DMY"},
    "SQL dates": {"DateStyle": "SQL, DMY"},
    "Postgres dates": {"DateStyle": "Postgres, MDY", "IntervalStyle": "sql_standard"},
    "no path": {"search_path": ""},
    "another path": {"search_path": "elsewhere, pg_catalog"},
    "short statements": {"statement_timeout": "1s"},
    "another zone": {"TimeZone": "Pacific/Kiritimati"},
    "lazy commits": {"synchronous_commit": "off"},
    "quotes": {"quote_all_identifiers": "on", "bytea_output": "escape", "extra_float_digits": "-15"},
    "everything": {
        "default_transaction_isolation": "serializable",
        "DateStyle": "German, DMY",
        "search_path": "elsewhere",
        "statement_timeout": "1s",
        "TimeZone": "Pacific/Kiritimati",
        "synchronous_commit": "off",
    },
}


# A landing and a merge that take longer than a role is given.
SLOW = """
create function public.slow() returns trigger language plpgsql as 'begin perform pg_sleep(1.5); return null; end';
create trigger slow after insert on login_etl.staging_logins for each statement execute function public.slow();
create trigger slow after insert on public.user_logins for each statement execute function public.slow();
"""


@contextmanager
def role_settings(local, settings):
    with local.connect() as owner:
        for name, value in settings.items():
            text = value if name == "search_path" and value else repr(value)
            owner.execute(f"alter role pipeline set {name} = {text}")
    try:
        yield
    finally:
        with local.connect() as owner:
            owner.execute("alter role pipeline reset all")


def load(queue_url):
    """Everything that the DAGs do, once."""
    url = pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    counts = pipeline.drain_and_mask({"messages": 100, "threads": 2}, url, origin=ORIGIN, seconds=30)
    merged = pipeline.merge_user_logins(ORIGIN.run)
    pipeline.check_run(ORIGIN.run, "queue", url, drained=[counts])
    with warehouse_connection() as warehouse, transaction(warehouse):
        warehouse.execute("delete from public.user_logins where user_id = 'user-0'")
    rebuilt = pipeline.merge_user_logins(Run("user_logins", "a rebuild"), window=AGES)
    replayed = pipeline.replay_messages(Selection(limit=100), origin=REPLAY, dry_run=True)
    maintenance.make_partitions()
    maintenance.drop_staging_days(days=1)
    maintenance.forget_rejected_bodies(days=1)
    maintenance.report({})
    return merged["inserted"], rebuilt["rebuilt"], replayed["opened"]


@pytest.mark.parametrize("settings", DEFAULTS.values(), ids=DEFAULTS)
def test_a_roles_defaults_change_nothing(local, empty_warehouse, connected, sqs, queue_url, settings):
    users = send_events(sqs, queue_url, "user")
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    with local.connect() as owner:
        if "statement_timeout" in settings:
            owner.execute(SLOW)
    with role_settings(local, settings):
        assert load(queue_url) == (len(users), 1, MESSAGES - len(users))
    with local.connect() as owner:
        rows = owner.execute("select user_id, create_date from public.user_logins order by user_id").fetchall()
    assert sorted(rows) == sorted((user, datetime.now(UTC).date()) for user in users)
    assert left_on(sqs, queue_url) == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"cursor": "dictcursor"},
        {"cursor": "namedtuplecursor"},
        {"row_factory": "dict_row"},
        {"options": "-c default_transaction_isolation=serializable -c DateStyle=German"},
        {"application_name": "logins", "connect_timeout": 3},
    ],
    ids=json.dumps,
)
def test_nor_does_the_connections_extra(
    local, empty_warehouse, connected, airflow_connections, monkeypatch, sqs, queue_url, extra
):
    warehouse = json.loads(airflow_connections["AIRFLOW_CONN_WAREHOUSE"]) | {"extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    users = send_events(sqs, queue_url, "user")
    assert load(queue_url) == (len(users), 1, MESSAGES - len(users))


def test_an_extra_that_libpq_does_not_know_is_one_sentence(connected, airflow_connections, monkeypatch):
    warehouse = json.loads(airflow_connections["AIRFLOW_CONN_WAREHOUSE"]) | {"extra": {"sslmod": "require"}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    with (
        pytest.raises(SetupError, match=r'connection warehouse: its extra is refused \(.*"sslmod"'),
        warehouse_connection(),
    ):
        pass


def test_a_network_that_vanishes_is_noticed_and_the_extra_says_when(connected, airflow_connections, monkeypatch):
    with warehouse_connection() as connection:
        parameters = connection.info.get_parameters()
    assert {name: int(parameters[name]) for name in NETWORK} == NETWORK
    warehouse = json.loads(airflow_connections["AIRFLOW_CONN_WAREHOUSE"]) | {"extra": {"keepalives_idle": 7}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    with warehouse_connection() as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "7"


@pytest.mark.parametrize(
    ("default", "durable"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_a_durable_commit_is_never_weaker_than_the_roles(local, warehouse, default, durable):
    asked = "select current_setting('synchronous_commit')"
    with role_settings(local, {"synchronous_commit": default}), local.connect(user="pipeline") as connection:
        with transaction(connection):
            assert connection.execute(asked).fetchone() == (default,)
        with transaction(connection, durable=True):
            assert connection.execute(asked).fetchone() == (durable,)
        with transaction(connection), transaction(connection, durable=True):
            pass
        assert connection.execute(asked).fetchone() == (default,)


def test_a_server_that_commits_lazily_and_crashes_loses_nothing(local, empty_warehouse, connected, sqs, queue_url):
    """It would lose all that it had not written when it crashed, which is all of the last seconds here."""
    with local.connect() as owner:
        owner.execute("alter system set wal_writer_delay = '10s'")
        owner.execute("select pg_reload_conf()")
    try:
        with role_settings(local, {"synchronous_commit": "off"}):
            pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
            for number in range(5):
                users = send_events(sqs, queue_url, f"user-{number}")
                counts = pipeline.drain_and_mask({"messages": 100, "threads": 1}, queue_url, origin=ORIGIN, seconds=30)
                assert counts["deleted"] == MESSAGES
                crash(local)
                wait_until_it_answers(local)
                with local.connect() as owner:
                    staged = owner.execute(
                        "select user_id from login_etl.staging_logins where starts_with(user_id, %s) order by 1",
                        [f"user-{number}-"],
                    ).fetchall()
                    rejected = owner.execute("select count(*) from login_etl.rejected_messages").fetchone()
                assert [user for (user,) in staged] == users
                assert rejected == ((number + 1) * (MESSAGES - len(users)),)
    finally:
        with local.connect() as owner:
            owner.execute("alter system reset wal_writer_delay")
            owner.execute("select pg_reload_conf()")


def lazy_commit_survives_a_crash(local):
    """Whether it does: autovacuum, or whoever else commits in these milliseconds, writes it too."""
    with local.connect() as owner:
        owner.execute("create table public.lazy (number integer)")
        owner.execute("set synchronous_commit = off")
        owner.execute("insert into public.lazy values (1)")
    crash(local)
    wait_until_it_answers(local)
    with local.connect() as owner:
        [(there,)] = owner.execute("select count(*) from public.lazy").fetchall()
        owner.execute("drop table public.lazy")
    return bool(there)


def test_the_crash_would_lose_a_lazy_commit(local, warehouse):
    """So that the test above can fail."""
    with local.connect() as owner:
        owner.execute("alter system set wal_writer_delay = '10s'")
        owner.execute("select pg_reload_conf(), pg_sleep(1)")  # which wakes the WAL writer
    try:
        assert not all(lazy_commit_survives_a_crash(local) for _ in range(5))
    finally:
        with local.connect() as owner:
            owner.execute("alter system reset wal_writer_delay")
            owner.execute("select pg_reload_conf()")
