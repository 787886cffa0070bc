"""What a scrape of the metrics says, whatever has happened to the batches; and what Airflow's own metrics are told."""

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
from airflow.sdk._shared.observability.metrics.otel_logger import get_otel_logger
from airflow.sdk.observability import stats
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from include import maintenance, metrics, pipeline
from include.batches.depth import record_depth
from include.batches.drain import record_deletes
from include.batches.rejected import Selection, forget_rejected_bodies
from include.batches.staging import stage
from include.batches.totals import add_up_batches
from include.events.login import Login, RejectedMessage
from include.events.message import Message, Origin, Run
from include.page.metrics import METRICS, authorised, exposition
from include.page.reading import reading
from include.sqs.calls import Deletes
from include.sqs.dead_letters import Depth
from include.warehouse.setup import prepare_warehouse
from include.warehouse.statements import statement
from tests.support.merging import merge
from tests.support.queues import send_events
from tests.support.runs import A_RUN
from tests.support.scraping import scrape

COUNTERS = {metric.name for metric in METRICS if metric.type == "counter"}
BY_DAG = ("received", "staged", "rejected", "inserted", "already_there", "deleted", "delete_failed", "expired")
BROKEN = [[("user_id", "missing")], [("ip", "string_too_long"), ("user_id", "missing")], [("body", "json_invalid")]]
OLD = timedelta(days=2)
REFUSES = "alter table public.user_logins add constraint no_{0} check (user_id <> '{0}') not valid"


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


@pytest.fixture
def reader(empty_warehouse):
    """A connection for scrapes, which can only read from the first one on."""
    with empty_warehouse.connect(user="pipeline") as connection:
        yield connection


@pytest.fixture
def ask(ready):
    return lambda query, *values: ready.execute(query, values).fetchall()


@pytest.fixture
def batch(ready, keyring):
    """A batch of logins, and of messages that broke these rules; whose messages are these, if given."""

    def stage_one(users=("anna",), broken=(), *, dag="user_logins", source="queue", age=timedelta(), ids=None):
        ids, sent = iter(ids or [uuid4() for _ in (*users, *broken)]), datetime.now(UTC) - age
        logins = [(Message(next(ids), sent, 1, ""), Login(user)) for user in users]
        rejects = [(Message(next(ids), sent, 1, "no login"), RejectedMessage(rules)) for rules in broken]
        origin = Origin(Run(dag, "a run"), 0, 1, sent, source)
        return stage(ready, logins, rejects, keyring=keyring, origin=origin)

    return stage_one


def grow_old(connection, age=OLD):
    """What is merged was merged so much earlier."""
    connection.execute("update login_etl.batches set merged_at = merged_at - %s", [age])


# Counters.


def expected(connection):
    """The counters, summed from the batches and rejects themselves."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in BY_DAG)
    rows = connection.execute(f"select dag_id, {sums} from login_etl.batches group by dag_id").fetchall()
    counted = {
        (f"{name}_total", dag): value for dag, *values in rows for name, value in zip(BY_DAG, values, strict=True)
    }
    rules = connection.execute(
        "select split_part(rule, ': ', 1), split_part(rule, ': ', 2), count(*) "
        "from login_etl.rejected_messages, unnest(string_to_array(reason, '; ')) as rule group by 1, 2"
    ).fetchall()
    return counted | {("broken_rules_total", field, rule): number for field, rule, number in rules}


def counters(found):
    return {key: value for key, value in found.items() if key[0] in COUNTERS}


@pytest.mark.parametrize("seed", range(4))
def test_no_counter_ever_falls_or_counts_twice(ready, reader, batch, seed):
    """Whatever the pipeline does, in any order: each scrape equals the sums, and none is below the one before."""
    choose = random.Random(seed)
    ids, staged = [uuid4() for _ in range(12)], []

    def stage_some():
        users, broken = choose.choices(["anna", "olga"], k=choose.randrange(3)), choose.choices(BROKEN, k=2)
        dag = choose.choice(["user_logins", "partner_logins"])
        staged.append(batch(users, broken, dag=dag, ids=choose.sample(ids, len(users) + len(broken))))

    def record_some_deletes():
        if staged:
            done = staged.pop(choose.randrange(len(staged)))
            failed = choose.randrange(done.received + 1)
            record_deletes(ready, done, Deletes(done.received - failed, delete_failed=failed))

    def replay_some():
        with ready.transaction():
            rows = ready.execute(
                "select message_id from login_etl.rejected_messages where sealed_body is not null limit 2"
            )
            replayed = [message_id for (message_id,) in rows]
            if replayed:
                new = batch(["anna"] * len(replayed), dag="replay_rejected", source="rejected_messages", ids=replayed)
                values = {"batch_id": new.batch_id, "message_ids": replayed}
                ready.execute(statement("batches/mark_replayed"), values)

    def days_go_by():
        staged.clear()  # a task that has not recorded its deletes by then is dead
        grow_old(ready)

    def refuse():
        ready.execute("alter table public.user_logins drop constraint if exists no_olga")
        ready.execute(REFUSES.format("olga"))

    acts = [
        *[stage_some] * 4, record_some_deletes, record_some_deletes, replay_some,
        lambda: merge(ready), lambda: merge(ready), lambda: add_up_batches(ready), lambda: add_up_batches(ready),
        days_go_by, lambda: forget_rejected_bodies(ready, days=0), refuse,
        lambda: ready.execute(statement("privacy/forget_bodies"), {"message_ids": ids[:3]}),
        lambda: ready.execute("alter table public.user_logins drop constraint if exists no_olga"),
    ]  # fmt: skip
    before = {}
    for _ in range(120):
        choose.choice(acts)()
        now = counters(scrape(reader))
        assert now == expected(ready)
        assert all(now[key] >= value for key, value in before.items())
        before = now
    assert ready.execute("select count(*) from login_etl.totals").fetchone() > (0,)


def test_what_nothing_changes_any_more_is_added_up_once(ready, reader, batch, ask):
    for _ in range(3):
        batch(["anna", "olga"], BROKEN)
    merge(ready)
    assert add_up_batches(ready) == 0  # their deletes may still be recorded
    grow_old(ready)
    batch(["anna"])
    merge(ready)
    before = scrape(reader)
    assert add_up_batches(ready) == 3
    assert add_up_batches(ready) == 0
    assert ask("select up_to, received, inserted from login_etl.totals") == [(3, 15, 6)]
    assert ask("select rule, messages from login_etl.rejected_totals order by rule") == [
        ("body: json_invalid", 3), ("ip: string_too_long", 3), ("user_id: missing", 6),
    ]  # fmt: skip
    assert counters(scrape(reader)) == counters(before)


@pytest.mark.parametrize("waits", ["unmerged", "refused", "fresh"])
def test_the_totals_stop_before_a_batch_that_something_may_still_change(ready, reader, batch, ask, waits):
    batch(["anna"])
    merge(ready)
    grow_old(ready)
    if waits == "refused":
        ready.execute(REFUSES.format("olga"))
    batch(["olga", "anna"])
    if waits != "unmerged":
        merge(ready)
    batch(["anna"])
    if waits != "fresh":
        grow_old(ready)
    assert add_up_batches(ready) == 1
    assert ask("select up_to from login_etl.totals") == [(1,)]
    assert counters(scrape(reader)) == expected(ready)


def test_two_maintenances_at_once_add_a_batch_once(ready, empty_warehouse, batch, ask):
    batch(["anna"])
    merge(ready)
    grow_old(ready)
    with empty_warehouse.connect(user="pipeline") as other, ThreadPoolExecutor(1) as pool:
        with ready.transaction():
            ready.execute(statement("warehouse/take_turn"), {"turn": "login_etl.merge"})
            second = pool.submit(add_up_batches, other)
            ready.execute(statement("batches/add_up_batches"))
        assert second.result(10) == 0
    assert ask("select received from login_etl.totals") == [(1,)]


def test_the_maintenance_adds_up(ready, batch, connected):
    batch(["anna"])
    merge(ready)
    grow_old(ready)
    assert maintenance.add_up_batches() == {"totals": "1 batches added"}


@pytest.mark.parametrize(
    ("reason", "labels"),
    [
        ('ip: a"b\n\\{}', ("ip", "a_b____")),
        ("no rule", ("no_rule", "unknown")),
        ("", ()),
        ("; ; ", ("unknown", "unknown")),
        ("поле: правило", ("____", "_______")),
        ("ip: x; ip: x", ("ip", "x")),
    ],
)
def test_labels_of_hostile_reasons_are_slugs(ready, reader, batch, ask, reason, labels):
    batch([], BROKEN[:1])
    ready.execute("update login_etl.rejected_messages set reason = %s", [reason])
    assert [key[1:] for key in scrape(reader) if key[0] == "broken_rules_total"] == ([labels] if labels else [])


def test_a_dag_s_name_is_escaped_and_an_unknown_one_is_called_so(ready, reader, batch):
    batch(dag='a"b\\c\nd')
    batch()
    ready.execute("update login_etl.batches set dag_id = null where batch_id = 2")
    assert 'user_logins_received_total{dag="a\\"b\\\\c\\nd"} 1\n' in exposition(reader)
    assert 'user_logins_received_total{dag="unknown"} 1\n' in exposition(reader)


# Gauges.


def test_before_the_first_run_there_is_nothing_but_the_help(ready, reader):
    assert scrape(reader) == {("default_partition_rows",): 0}
    assert exposition(reader).count("# HELP") == exposition(reader).count("# TYPE") == len(METRICS)


def test_every_metric_has_a_value_where_there_is_something_to_tell(ready, reader, batch):
    batch(["anna"], BROKEN)
    merge(ready)
    record_depth(ready, A_RUN, "u", Depth(7, 2, 1))
    assert {key[0] for key in scrape(reader)} == {metric.name for metric in METRICS}


def test_the_lag_is_of_what_came_from_the_queue_and_was_merged_of_late(ready, reader, batch):
    batch(age=timedelta(seconds=90))
    batch(age=timedelta(days=10), source="dead_letter_queue")
    assert ("lag_seconds", "user_logins") not in scrape(reader)
    merge(ready)
    assert scrape(reader)["lag_seconds", "user_logins"] == pytest.approx(90, abs=10)
    grow_old(ready, timedelta(minutes=16))
    assert ("lag_seconds", "user_logins") not in scrape(reader)


def test_what_is_not_merged_ages(ready, reader, batch):
    batch(age=timedelta(hours=1))
    ready.execute("update login_etl.batches set staged_at = staged_at - interval '30 minutes'")
    found = scrape(reader)
    ready.execute("update login_etl.batches set staged_at = staged_at + interval '30 minutes'")
    assert found["oldest_unmerged_seconds", "user_logins"] == pytest.approx(3600, abs=10)
    assert found["oldest_unmerged_batch_seconds", "user_logins"] == pytest.approx(1800, abs=10)
    assert ("last_merge_timestamp_seconds", "user_logins") not in found
    merge(ready)
    found = scrape(reader)
    assert found["oldest_unmerged_seconds", "user_logins"] == found["oldest_unmerged_batch_seconds", "user_logins"] == 0
    assert found["last_merge_timestamp_seconds", "user_logins"] == pytest.approx(datetime.now(UTC).timestamp(), abs=10)
    merged_at = found["last_merge_timestamp_seconds", "user_logins"] - OLD.total_seconds()
    grow_old(ready)
    assert add_up_batches(ready) == 1
    assert scrape(reader)["last_merge_timestamp_seconds", "user_logins"] == pytest.approx(merged_at, abs=0.001)


def test_refused_rows_are_counted_while_they_wait(ready, reader, batch):
    ready.execute(REFUSES.format("olga"))
    batch(["anna", "olga", "olga"])
    merge(ready)
    assert scrape(reader)["refused_rows", "user_logins"] == 2
    ready.execute("alter table public.user_logins drop constraint no_olga")
    merge(ready)
    assert scrape(reader)["refused_rows", "user_logins"] == 0


def test_the_queue_is_as_the_last_run_saw_it(ready, reader):
    def depths():
        names = ("backlog_messages", "in_flight_messages", "dead_letter_messages")
        found = scrape(reader)
        return [found.get((name, "user_logins")) for name in names]

    def later(minutes):
        ready.execute(
            "update login_etl.queue_depths set observed_at = observed_at - make_interval(mins => %s)", [minutes]
        )

    record_depth(ready, Run("user_logins", "first"), "u", Depth(500, 20, 3))
    later(5)
    record_depth(ready, Run("user_logins", "second"), "u", Depth(7, 2))
    assert depths() == [7, 2, None]
    later(5)
    record_depth(ready, Run("user_logins", "a rebuild, or one that has just begun"), None)
    assert depths() == [7, 2, None]
    later(60)
    assert depths() == [None, None, None]


def test_a_scheduler_that_stands_still_is_seen_and_a_dag_that_is_no_more_is_not(ready, reader):
    record_depth(ready, Run("gone", "a run"), "u")
    ready.execute("update login_etl.queue_depths set observed_at = now() - interval '31 days'")
    record_depth(ready, A_RUN, "u")
    ready.execute("update login_etl.queue_depths set observed_at = observed_at - interval '90 days'")
    last = datetime.now(UTC) - timedelta(days=90)
    assert scrape(reader) == {
        ("last_run_timestamp_seconds", "user_logins"): pytest.approx(last.timestamp(), abs=10),
        ("default_partition_rows",): 0,
    }


def test_rows_without_a_month_are_counted_up_to_a_thousand(ready, reader, ask):
    query = (
        "insert into public.user_logins (create_date, message_id, batch_id) "
        "select '1999-01-01', gen_random_uuid(), 1 from generate_series(1, %s)"
    )
    for added, counted in ((2, 2), (1500, 1000)):
        ready.execute(query, [added])
        assert scrape(reader)[("default_partition_rows",)] == counted


def test_an_adopted_table_has_no_default_partition(warehouse, reader):
    warehouse.execute(
        "create table public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256), "
        "masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date)"
    )
    prepare_warehouse(warehouse)
    assert scrape(reader) == {}


# How it is asked.


def test_a_reader_cannot_write_and_does_not_wait(ready, reader, batch):
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), reading(reader):
        reader.execute("create table public.mine ()")
    batch()
    with ready.transaction():
        ready.execute("lock table login_etl.batches")
        with pytest.raises(psycopg.errors.QueryCanceled):
            exposition(reader)
    assert scrape(reader)["received_total", "user_logins"] == 1


@pytest.mark.parametrize(
    ("header", "secret", "passes"),
    [
        ("Bearer correct", "correct", True),
        ("bearer  correct ", "correct", True),
        ("Bearer gehört".encode().decode("latin-1"), "gehört", True),
        ("Bearer wrong", "correct", False),
        ("Bearer correctly", "correct", False),
        ("Bearer", "correct", False),
        ("Basic correct", "correct", False),
        ("correct", "correct", False),
        ("Bearer \u0416\udcff", "correct", False),
        ("Bearer x", "\udcff", False),
        ("", "correct", False),
        (None, "correct", False),
        ("Bearer ", "", False),
        (None, "", False),
    ],
)
def test_only_the_secret_passes(header, secret, passes):
    assert authorised(header, secret) is passes


# Airflow's own metrics.


@contextmanager
def collector():
    """An OpenTelemetry collector, over HTTP: what it was sent."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield SimpleNamespace(port=server.server_port, received=received)
        server.shutdown()


@pytest.fixture
def airflows_metrics():
    """Where Airflow's metrics go, for this test."""

    def go_to(factory):
        stats.initialize(factory=factory, export_legacy_names=False)

    yield go_to
    go_to(None)


def test_airflow_is_told_what_the_tasks_return(
    connected, empty_warehouse, sqs, queue_url, airflows_metrics, monkeypatch
):
    origin = Origin(A_RUN, 0, 1, datetime.now(UTC))
    replay = Origin(Run("replay_rejected", "a run"), -1, 1, datetime.now(UTC), source="rejected_messages")
    with collector() as otel:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{otel.port}/v1/metrics")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setattr("atexit.register", lambda *args: None)
        logger = get_otel_logger(host="127.0.0.1", port=otel.port)
        airflows_metrics(lambda: logger)
        pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
        send_events(sqs, queue_url, "user")
        drained = pipeline.drain_and_mask({"messages": 100, "threads": 1}, queue_url, origin=origin, seconds=30)
        merged = pipeline.merge_user_logins(A_RUN)
        replayed = pipeline.replay_messages(Selection(limit=10), origin=replay, dry_run=True)
        logger.otel.shutdown()
    told = {
        (metric.name, attribute.value.string_value): point.as_int
        for request in otel.received
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.sum.data_points
        for attribute in point.attributes
        if attribute.key == "dag"
    }
    returned = {("user_logins", name): number for name, number in (drained | merged).items()}
    returned |= {("replay_rejected", name): number for name, number in replayed.items()}
    assert told == {(f"airflow.user_logins.{name}", dag): number for (dag, name), number in returned.items() if number}
    assert told["airflow.user_logins.received", "user_logins"] > 0


@pytest.mark.parametrize("error", [OSError, ValueError, socket.gaierror, RuntimeError])
def test_metrics_that_fail_fail_no_task(airflows_metrics, caplog, error):
    def incr(*args, **kwargs):
        raise error("no metrics today")

    airflows_metrics(lambda: SimpleNamespace(incr=incr))
    metrics.count({"received": 1}, dag_id="user_logins")
    assert "were not told to Airflow's metrics" in caplog.text
