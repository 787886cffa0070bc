"""What is wrong with a connection or the variable is one sentence, before any message is taken."""

import json
import secrets
import traceback
from datetime import UTC, datetime, timedelta

import boto3
import psycopg
import pytest
from botocore.exceptions import ProxyConnectionError

from include import maintenance, pipeline
from include.batches.reconciliation import FailedCheck
from include.batches.window import Window
from include.connections import AWS, BOTOCORE, sqs_client, warehouse_connection
from include.events.message import Origin, Run
from include.failures import SetupError
from include.sensor import SqsBacklogSensor
from include.sqs.calls import Queue, backlog
from include.sqs.dead_letters import Depth, depth_of
from sandbox.events import sample_events, send
from sandbox.servers import free_port
from tests.support.queues import MESSAGES, give_dead_letter_queue, send_events
from tests.support.runs import A_RUN


@pytest.fixture
def connections(environment, monkeypatch):
    """Set this process's connections to the sandbox's; call it to change some, None to remove one."""

    def change(**changed):
        for name, value in changed.items():
            if value is None:
                monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
            else:
                monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(value))

    for name, value in environment.items():
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(name, value)
    return change


RUN = Origin(Run("user_logins", "a run"), 0, 1, datetime.now(UTC))


def check(queue_url, **options):
    return pipeline.check_setup(A_RUN, queue_url, **{"source": "queue", "window": None} | options)


def test_a_good_set_up_names_the_queue(empty_warehouse, connections, queue_url):
    assert check(queue_url) == queue_url


def test_the_connections_are_as_the_logic_needs_them(empty_warehouse, connections):
    with warehouse_connection() as warehouse:
        assert warehouse.autocommit
        assert warehouse.prepare_threshold is None


def test_a_swapped_key_stops_a_run_and_a_cleared_drain(empty_warehouse, connections, sqs, queue_url):
    check(queue_url)
    send(sqs, queue_url, sample_events(20, 1))
    pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60)
    connections(pii_masking={"password": secrets.token_urlsafe(32)})
    for step in (
        lambda: check(queue_url),
        lambda: pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60),
    ):
        with pytest.raises(SetupError, match="which is not in this keyring's chain"):
            step()
    assert backlog(Queue(sqs, queue_url)) == 10


def test_tasks_cleared_after_a_deploy_bring_the_schema_up_to_date(warehouse, connections, sqs, queue_url):
    check(queue_url)
    send(sqs, queue_url, sample_events(20, 1))

    def back_to_an_earlier_version():
        warehouse.execute(
            "drop view login_etl.history; drop index login_etl.rejected_messages_with_body;"
            "alter table login_etl.batches drop column source;"
            "alter table login_etl.rejected_messages drop column rejected_at, drop column replayed_in;"
            "delete from login_etl.schema_migrations where version = 5"
        )

    back_to_an_earlier_version()
    assert pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60)["received"] == 10
    back_to_an_earlier_version()
    assert pipeline.merge_user_logins(RUN.run)["merged_batches"] == 1
    back_to_an_earlier_version()
    assert maintenance.forget_rejected_bodies(days=1) == {"bodies": "0 forgotten"}


def test_a_drain_cleared_on_another_day_makes_its_partition(warehouse, connections, sqs, queue_url):
    check(queue_url)
    for (name,) in warehouse.execute(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'login_etl.staging_logins'::regclass"
    ).fetchall():
        warehouse.execute(f"drop table {name}")
    send(sqs, queue_url, sample_events(10, 1))
    assert pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60)["staged"] == 10


def test_a_run_that_does_not_add_up_fails(warehouse, connections, sqs, queue_url):
    check(queue_url)
    send(sqs, queue_url, sample_events(10, 1))
    counts = pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60)
    warehouse.execute("delete from login_etl.staging_logins where user_id < '8'")
    assert pipeline.merge_user_logins(RUN.run)["merged_batches"] == 0
    with pytest.raises(FailedCheck, match=r"batch 1: \d+ of its 10 staged rows are gone from staging"):
        pipeline.check_run(RUN.run, "queue", drained=[counts])


def test_a_rebuild_needs_neither_queue_nor_key(empty_warehouse, connections):
    connections(aws_sqs=None, pii_masking=None)
    assert check("", window=Window(None, None)) is None


@pytest.mark.parametrize(
    ("table", "error", "text"),
    [
        ("login_etl.staging_logins", psycopg.errors.CheckViolation, 'violates check constraint "nobody"'),
        ("public.user_logins", FailedCheck, "refuses 1 rows"),
    ],
)
def test_a_database_error_quotes_no_row(warehouse, connections, sqs, queue_url, table, error, text, caplog):
    check(queue_url)
    send(sqs, queue_url, iter(['{"user_id": "somebody", "ip": "192.0.2.1"}']))
    warehouse.execute(f"alter table {table} add constraint nobody check (user_id <> 'somebody')")
    with pytest.raises(error, match=text) as caught:  # noqa: PT012
        pipeline.drain_and_mask({"messages": 1, "threads": 1}, queue_url, origin=RUN, seconds=60)
        pipeline.merge_user_logins(RUN.run)
        pipeline.check_run(RUN.run, "queue", drained=[])
    assert "somebody" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"schema": "elsewhere"}, 'database "elsewhere" does not exist'), ({"login": "no"}, 'role "no" does not exist')],
)
def test_a_database_that_refuses_us_is_not_worth_a_retry(empty_warehouse, connections, queue_url, change, sentence):
    good = {"conn_type": "postgres", "host": empty_warehouse.postgres, "login": "pipeline", "schema": "warehouse"}
    connections(warehouse=good | change)
    with pytest.raises(SetupError, match=f"connection warehouse: .*{sentence}"):
        check(queue_url)


WAREHOUSE = {"conn_type": "postgres", "login": "x", "schema": "x", "host": "127.0.0.1", "port": free_port()}


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"pii_masking": None}, SetupError, "connection pii_masking is not defined: add it"),
        ({"pii_masking": {"password": "secret-key"}}, SetupError, "connection pii_masking: key 1 is not base64url"),
        ({"warehouse": None}, SetupError, "connection warehouse is not defined: add it"),
        ({"warehouse": {"conn_type": "mysql"}}, SetupError, "connection warehouse has type mysql: set it to postgres"),
        ({"warehouse": WAREHOUSE}, ConnectionError, "connection warehouse: connection failed: .* refused"),
        ({"aws_sqs": None}, SetupError, "connection aws_sqs is not defined: add it"),
        ({"aws_sqs": {"conn_type": "http"}}, SetupError, "connection aws_sqs has type http: set it to aws"),
        (
            {"aws_sqs": {"conn_type": "aws", "login": "x", "password": "secret-key"}},
            SetupError,
            "connection aws_sqs: You must specify a region",
        ),
        (
            {"aws_sqs": {"conn_type": "aws", "login": "x", "extra": {"region_name": "eu-west-1"}}},
            SetupError,
            "connection aws_sqs: no credentials found",
        ),
        (
            {"aws_sqs": {"conn_type": "aws", "extra": {"region_name": "eu-west-1", "endpoint_url": "localhost:4566"}}},
            SetupError,
            "connection aws_sqs: endpoint_url in extra: Invalid endpoint: localhost:4566: begin it with http",
        ),
    ],
)
def test_each_failure_names_what_to_fix(
    empty_warehouse, connections, sqs, queue_url, monkeypatch, changed, error, sentence
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    send(sqs, queue_url, sample_events(10, 1))
    connections(**changed)
    with pytest.raises(error, match=sentence) as caught:
        check(queue_url)
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert backlog(Queue(sqs, queue_url)) == 10


MALFORMED = "AIRFLOW_CONN_WAREHOUSE is malformed: "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"conn_type": "postgres" "password": "secret-key"}', MALFORMED + "it is not JSON .Expecting ',' delimiter"),
        ('{"conn_type": "postgres", "port": "secret-key"}', MALFORMED + "port is not a number"),
        ('{"conn_type": "postgres", "password": 5}', MALFORMED + "password is not text"),
        ('{"conn_type": "postgres", "database": "x"}', MALFORMED + "there is no field database, use schema"),
        ('{"conn_type": "postgres", "user": "x", "hots": "y"}', "no field user, use login; there is no field hots"),
        ('{"conn_type": "postgres", "sslmode": "require"}', MALFORMED + "there is no field sslmode, use extra"),
        ("""'{"conn_type": "postgres", "password": "secret-key"}'""", MALFORMED + "it begins with a quotation mark"),
        ("[1]", MALFORMED + "it is neither JSON nor a URI"),
        ("postgres://x:secret-key@host:abc/x", MALFORMED + "it is not a URI: check its port, and percent-encode"),
        ("postgres://x:secret#key@host:5432/x", MALFORMED + "it is not a URI: check its port, and percent-encode"),
        ('{"host": "x"}', "connection warehouse has type None: set it to postgres"),
        ('{"conn_type": "postgres", "extra": "secret-key"}', "its extra is not a JSON object"),
        ('{"conn_type": "postgres", "extra": ["secret-key"]}', "its extra is not a JSON object"),
        ("", "connection warehouse is not defined"),
    ],
)
def test_a_malformed_connection_is_called_that_and_not_shown(
    empty_warehouse, environment, queue_url, monkeypatch, text, sentence
):
    for name, value in (environment | {"AIRFLOW_CONN_WAREHOUSE": text}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=sentence) as caught:
        check(queue_url)
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    assert "\n" not in str(caught.value)


def test_a_right_that_is_lost_later_is_one_sentence(empty_warehouse, connections, queue_url):
    connections()
    check(queue_url)
    with empty_warehouse.connect() as owner:
        owner.execute("revoke usage on schema login_etl from pipeline; alter schema login_etl owner to postgres")
    try:
        with pytest.raises(
            SetupError, match="connection warehouse: permission denied for schema login_etl: grant its role"
        ):
            pipeline.merge_user_logins(RUN.run)
    finally:
        with empty_warehouse.connect() as owner:
            owner.execute("alter schema login_etl owner to pipeline; grant usage on schema login_etl to pipeline")


def test_white_space_around_the_url_is_named(empty_warehouse, connections, queue_url):
    connections()
    for url in (f"{queue_url} ", f"\n{queue_url}"):
        with pytest.raises(SetupError, match="variable user_logins_queue_url has white space around the queue's URL"):
            check(url)


def test_who_assumes_a_role_has_the_connections_own_client_settings_and_our_bounds(
    connections, environment, monkeypatch
):
    class SeenError(Exception):
        pass

    def client(_, service_name, config, **__):
        raise SeenError(service_name, config.connect_timeout, config.proxies)

    aws = json.loads(environment["AIRFLOW_CONN_AWS_SQS"])
    aws["extra"] |= {"role_arn": "arn:aws:iam::1:role/drains", "config_kwargs": {"proxies": {"https": "http://own"}}}
    connections(aws_sqs=aws)
    monkeypatch.setattr(boto3.session.Session, "client", client)
    with pytest.raises(SeenError) as seen:
        sqs_client()
    assert seen.value.args == ("sts", BOTOCORE.connect_timeout, {"https": "http://own"})


def test_every_step_has_the_connections_own_client_settings_and_our_bounds(
    empty_warehouse, connections, environment, sqs, queue_url
):
    """A proxy that nobody is behind: whoever goes round it would succeed."""
    check(queue_url)
    send(sqs, queue_url, sample_events(10, 1))
    proxy = f"http://127.0.0.1:{free_port()}"
    aws = json.loads(environment["AIRFLOW_CONN_AWS_SQS"])
    aws["extra"]["config_kwargs"] = {"proxies": {"http": proxy}, "read_timeout": 1_000}
    connections(aws_sqs=aws)
    assert sqs_client().meta.config.read_timeout == BOTOCORE.read_timeout
    with pytest.raises(ConnectionError, match="does not answer: check region_name, endpoint_url and config_kwargs"):
        check(queue_url)
    sensor = SqsBacklogSensor(task_id="wait", aws_conn_id=AWS, sqs_queue=queue_url)
    for step in (
        lambda: sensor.poke({}),
        lambda: pipeline.plan_drain(queue_url, max_messages=10, max_workers=1),
        lambda: pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=RUN, seconds=60),
    ):
        with pytest.raises(ProxyConnectionError):
            step()
    assert backlog(Queue(sqs, queue_url)) == 10


def test_a_client_setting_that_there_is_not_is_one_sentence(empty_warehouse, connections, environment, queue_url):
    aws = json.loads(environment["AIRFLOW_CONN_AWS_SQS"])
    aws["extra"]["config_kwargs"] = {"proxy": "http://127.0.0.1"}
    connections(aws_sqs=aws)
    with pytest.raises(SetupError, match=r"connection aws_sqs: config_kwargs in extra: .*'proxy'"):
        check(queue_url)


def test_a_run_records_how_deep_its_queue_is(empty_warehouse, connections, sqs, queue_url):
    """Null is what is not known yet, or what a rebuild has none of."""
    give_dead_letter_queue(sqs, queue_url)
    send_events(sqs, queue_url, "user")
    sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=3)
    sqs.send_message(QueueUrl=f"{queue_url}-dead", MessageBody="{}")

    def seen(run):
        with empty_warehouse.connect() as warehouse:
            query = "select queue, waiting, in_flight, dead_letters from login_etl.queue_depths where run_id = %s"
            return warehouse.execute(query, [run.run_id]).fetchone()

    for _ in range(2):  # the second time as a task that is cleared
        check(queue_url)
        assert seen(A_RUN) == (queue_url, MESSAGES - 3, 3, 1)
    drains_dead_letters, rebuilds, fails = (Run("user_logins", name) for name in ("dead letters", "rebuild", "fails"))
    pipeline.check_setup(drains_dead_letters, queue_url, source="dead_letter_queue", window=None)
    assert seen(drains_dead_letters) == (queue_url, MESSAGES - 3, 3, 1)
    now = datetime.now(UTC)
    pipeline.check_setup(rebuilds, "", source="queue", window=Window(now - timedelta(1), now))
    assert seen(rebuilds) == (None, None, None, None)
    with pytest.raises(SetupError):
        pipeline.check_setup(fails, f"{queue_url}-not-there", source="queue", window=None)
    assert seen(fails) == (f"{queue_url}-not-there", None, None, None)


def test_dead_letters_are_none_without_a_queue_of_them_and_unknown_without_the_right_to_ask():
    redrive = {"RedrivePolicy": "{}", "ApproximateNumberOfMessages": "4"}
    assert depth_of({}, {}) == Depth(waiting=None, in_flight=None, dead_letters=0)
    assert depth_of(redrive, {}) == Depth(waiting=4, in_flight=None, dead_letters=None)
    assert depth_of(redrive, {"ApproximateNumberOfMessages": "2"}) == Depth(waiting=4, dead_letters=2)


def test_tables_of_newer_code_are_warned_of_and_stop_nothing(empty_warehouse, connections, queue_url, caplog):
    check(queue_url)
    assert "newer code" not in caplog.text
    with empty_warehouse.connect() as owner:
        owner.execute("insert into login_etl.schema_migrations (version, name) values (9999, '9999_later')")
    assert check(queue_url) == queue_url
    assert "its tables have migration 9999" in caplog.text
