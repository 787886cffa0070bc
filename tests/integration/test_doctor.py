"""The mistakes that people make, and the one sentence that each gets, from the doctor and from `check_setup` alike."""

import json
import os
import secrets
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include import pipeline
from include.doctor import examine
from include.events.message import Origin, Run
from include.failures import SetupError
from include.warehouse.migrations import read_migrations
from include.warehouse.setup import prepare_warehouse
from sandbox.events import sample_events, send
from tests.support.documents import documented
from tests.support.queues import give_dead_letter_queue
from tests.support.runs import A_RUN

PROJECT = Path(__file__).parents[2]
VARIABLE = "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL"


@pytest.fixture
def set_up(empty_warehouse, environment, monkeypatch):
    """This process's connections and variables are the sandbox's; call it to change one, by its variable's name.

    A dict changes fields of the connection; a text takes its place; None takes it away.
    """

    def change(name, value):
        if value is None:
            return monkeypatch.delenv(name, raising=False)
        if isinstance(value, dict):
            value = json.dumps(json.loads(environment[name]) | value)
        return monkeypatch.setenv(name, value)

    for name, value in environment.items():
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__CORE__FERNET_KEY")):
            monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return change


def faults():
    return [each.finding for each in examine().checked if not each.is_well]


def said_by_check_setup():
    with pytest.raises((SetupError, ConnectionError)) as caught:
        pipeline.check_setup(A_RUN, os.environ.get(VARIABLE, ""), source="queue", window=None)
    return str(caught.value)


def test_before_the_first_run_it_says_what_that_will_do_and_changes_nothing(set_up, warehouse):
    examination = examine()
    assert [each.finding for each in examination.checked if not each.is_well] == []
    findings = {each.what: each.finding for each in examination.checked}
    assert findings["tables and rights"] == f"the next run applies {len(read_migrations())} migrations"
    assert warehouse.execute("select to_regnamespace('login_etl'), to_regclass('public.user_logins')").fetchall() == [
        (None, None)
    ]


def test_after_a_run_all_is_checked_and_nothing_is_changed(set_up, warehouse, sqs, queue_url):
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    send(sqs, queue_url, sample_events(10, 1))
    before = counts(warehouse)
    assert faults() == []
    assert {each.what for each in examine().checked} >= {"tables and rights", "masking", "staging"}
    assert counts(warehouse) == before
    [number] = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"])[
        "Attributes"
    ].values()
    assert number == "10"


def counts(warehouse):
    tables = warehouse.execute(
        "select pg_class.oid::regclass::text from pg_class where relkind in ('r', 'p') and not relispartition and "
        "(relnamespace = 'login_etl'::regnamespace or relname = 'user_logins') order by 1"
    ).fetchall()
    return {table: warehouse.execute(f"select count(*) from {table}").fetchone() for (table,) in tables}


CONN = "AIRFLOW_CONN_"
NOBODY = "127.0.0.1:1"
MISTAKES = [
    (CONN + "PII_MASKING", None, "connection pii_masking is not defined: add it under Admin"),
    (CONN + "PII_MASKING", {"password": ""}, "the password holds no masking key; make one with"),
    (CONN + "PII_MASKING", {"password": "short"}, "key 1 is not base64url; make one with"),
    (CONN + "WAREHOUSE", None, "connection warehouse is not defined: add it under Admin"),
    (CONN + "WAREHOUSE", '{"conn_type": "postgres", "database": "x"}', "there is no field database, use schema"),
    (CONN + "WAREHOUSE", {"port": "x"}, "AIRFLOW_CONN_WAREHOUSE is malformed: port is not a number"),
    (CONN + "WAREHOUSE", '{"conn_type": "postgres"', "AIRFLOW_CONN_WAREHOUSE is malformed: it is not JSON"),
    (CONN + "WAREHOUSE", {"conn_type": "mysql"}, "connection warehouse has type mysql: set it to postgres"),
    (CONN + "WAREHOUSE", {"schema": "elsewhere"}, 'database "elsewhere" does not exist; check host, port, schema'),
    (CONN + "WAREHOUSE", {"login": "nobody"}, 'role "nobody" does not exist; check host, port, schema, login'),
    (CONN + "WAREHOUSE", f"postgres://x:y@{NOBODY}/x", "Connection refused"),
    (CONN + "AWS_SQS", None, "connection aws_sqs is not defined: add it under Admin"),
    (CONN + "AWS_SQS", {"conn_type": "http"}, "connection aws_sqs has type http: set it to aws"),
    (
        CONN + "AWS_SQS",
        {"extra": {"region_name": "x", "endpoint_url": "localhost:4566"}},
        "Invalid endpoint: localhost:4566: begin it",
    ),
    (CONN + "AWS_SQS", {"extra": {}}, "You must specify a region. Check region_name"),
    (CONN + "AWS_SQS", {"login": None, "password": None}, "no credentials found: set login and password"),
    (CONN + "AWS_SQS", {"extra": {"region_name": "x", "endpoint_url": f"http://{NOBODY}"}}, "does not answer: check"),
    ("AWS_PROFILE", "of-last-year", "profile (of-last-year) could not be found: correct AWS_PROFILE"),
    (VARIABLE, None, f"{VARIABLE[12:].lower()} is not set to the URL of a queue: set it to, for example, https"),
    (VARIABLE, "arn:aws:sqs:x:1:q", "is an ARN, not the URL of a queue: set it to, for example, https"),
    (VARIABLE, "http://127.0.0.1:1/123456789012/login-queue ", "has white space around the queue's URL: remove it"),
    (VARIABLE, "http://127.0.0.1:1/123456789012/elsewhere", "check the queue's URL in its variable"),
]


@pytest.mark.parametrize(
    ("name", "value", "sentence"), MISTAKES, ids=[f"{name}={value}" for name, value, _ in MISTAKES]
)
def test_a_mistake_is_one_sentence_that_names_the_thing_and_the_cure(set_up, environment, name, value, sentence):
    set_up(name, value)
    [said] = faults()
    assert sentence in said
    assert "\n" not in said
    assert said_by_check_setup() == said


IN_THE_DATABASE = [
    ("create view public.user_logins as select 1", "public.user_logins is a view, not a table: rename what has"),
    ("create table public.user_logins (user_id text)", "table public.user_logins is not as expected (column"),
    ("revoke create on database warehouse from pipeline", "grant create on database warehouse to pipeline"),
    ("revoke create on schema public from pipeline", "grant create on schema public to pipeline"),
    ("THEIRS", "alter table user_logins owner to pipeline"),
    ("THEIRS; create unique index first on public.user_logins (user_id)", "another unique key, first"),
]
THEIRS = (
    "create table public.user_logins (user_id varchar(128) not null, device_type varchar(32), masked_ip varchar(256), "
    "masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date not null)"
)


@pytest.mark.parametrize(("sql", "sentence"), IN_THE_DATABASE, ids=[sql for sql, _ in IN_THE_DATABASE])
def test_so_is_one_in_the_database_and_its_cure_helps(set_up, empty_warehouse, sql, sentence):
    with empty_warehouse.connect() as owner:
        owner.execute(sql.replace("THEIRS", THEIRS))
    [said] = faults()
    assert sentence in said
    assert "\n" not in said
    if "run, as their owner: " in said:
        said_by_check_setup()
        with empty_warehouse.connect() as owner:
            owner.execute(said.split("run, as their owner: ")[1])
        assert faults() == []
        pipeline.check_setup(A_RUN, os.environ[VARIABLE], source="queue", window=None)
        assert faults() == []
    else:
        assert said_by_check_setup() == said


def test_a_right_that_is_lost_after_the_first_run_is_named(set_up, empty_warehouse, queue_url):
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    with empty_warehouse.connect() as owner:
        owner.execute(
            "alter table public.user_logins owner to postgres; revoke all on public.user_logins from pipeline"
        )
    [said] = faults()
    cures = said.split("run, as their owner: ")[1].split("; ")
    assert cures == [
        *(f"grant {right} on public.user_logins to pipeline" for right in ("select", "insert", "update")),
        "alter table user_logins owner to pipeline",
    ]


def test_alerts_are_checked_where_they_are_wanted(set_up):
    findings = {each.what: each.finding for each in examine().checked}
    assert findings["connection user_logins_alerts"] == "not defined, so nobody is told of failed runs"
    alerts = {"conn_type": "smtp", "host": "mail", "extra": {"from_email": "a@example.com", "to": "b@example.com, c@x"}}
    set_up("AIRFLOW_CONN_USER_LOGINS_ALERTS", json.dumps(alerts))
    findings = {each.what: each.finding for each in examine().checked}
    assert findings["connection user_logins_alerts"] == "failed runs are told by mail, to b@example.com, c@x"
    set_up("AIRFLOW_CONN_USER_LOGINS_ALERTS", json.dumps(alerts | {"extra": {"from_email": "a@example.com"}}))
    [said] = faults()
    assert said.startswith("connection user_logins_alerts names no recipient: add to its extra")
    set_up("AIRFLOW_CONN_USER_LOGINS_ALERTS", '{"conn_type": "smtp", "to": "b@example.com"}')
    [said] = faults()
    assert said.endswith("AIRFLOW_CONN_USER_LOGINS_ALERTS is malformed: there is no field to")


def test_a_swapped_key_is_named(set_up, sqs, queue_url):
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    send(sqs, queue_url, sample_events(10, 1))
    origin = Origin(Run("user_logins", "a run"), 0, 1, datetime.now(UTC))
    pipeline.drain_and_mask({"messages": 10, "threads": 1}, queue_url, origin=origin, seconds=60)
    set_up("AIRFLOW_CONN_PII_MASKING", {"password": secrets.token_urlsafe(32)})
    [said] = faults()
    assert "put the missing key back, oldest key first" in said
    assert not [said for said in examine().not_yet if "keep a copy" in said]  # not of the wrong key
    assert said_by_check_setup() == said


def test_each_thing_that_is_wrong_is_in_the_table(set_up):
    for name, value, _ in (MISTAKES[0], MISTAKES[3], MISTAKES[11]):
        set_up(name, value)
    set_up("AIRFLOW_VAR_USER_LOGINS_KEEP_STAGING_DAYS", "thirty")
    said = faults()
    assert [sentence.split(" is not ")[0] for sentence in said] == [
        "connection pii_masking",
        "connection warehouse",
        "connection aws_sqs",
        "variable user_logins_keep_staging_days",
    ]


@pytest.mark.parametrize(
    ("redrive", "visibility", "sentence"),
    [
        (None, 30, "the queue has no dead-letter queue"),
        ({"receives": 1}, 30, "maxReceiveCount 1: after a crash or two"),
        ({}, 0, "the queue's visibility timeout is 0"),
        ({"days": 4}, 30, "the dead-letter queue keeps messages for 4 days, the queue for 4"),
    ],
)
def test_what_is_not_wrong_yet_comes_after(set_up, sqs, queue_url, redrive, visibility, sentence):
    if redrive is not None:
        give_dead_letter_queue(sqs, queue_url, **redrive)
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"VisibilityTimeout": str(visibility)})
    examination = examine()
    assert examination.faults == 0
    assert [said for said in examination.not_yet if sentence in said]
    assert "keep a copy outside of Airflow" in examination.not_yet[0]


def test_a_queue_of_aws_that_a_local_server_is_asked_for_is_not_well_for_long(set_up, sqs, queue_url):
    name = queue_url.rsplit("/", 1)[1]
    set_up(VARIABLE, f"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}")
    assert [said for said in examine().not_yet if "but connection aws_sqs asks http://127.0.0.1" in said]


def test_a_good_queue_has_no_warning(set_up, sqs, queue_url):
    give_dead_letter_queue(sqs, queue_url)
    [key_backup] = examine().not_yet
    assert "keep a copy" in key_backup


def doctor(environment, *arguments):
    _, *command = documented("docs/configuration.md", "python -m include.doctor").split()
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=PROJECT,
        env=os.environ | environment | {"COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_finds_connections_in_airflows_database(empty_warehouse, environment, tmp_path):
    """As a production installation has them; and it says nothing but its table."""
    names = [name for name in environment if name.startswith(CONN)]
    stored = {name.removeprefix(CONN).lower(): json.loads(environment.pop(name)) for name in names}
    missing = doctor(environment)
    assert missing.returncode == 1
    assert "3 to correct before a run" in missing.stdout
    (tmp_path / "connections.json").write_text(json.dumps(stored))
    command = ["airflow", "connections", "import", str(tmp_path / "connections.json")]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    try:
        found = doctor(environment)
    finally:
        with empty_warehouse.connect("airflow") as metadata:
            metadata.execute("delete from connection where conn_id = any(%s)", [list(stored)])
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.splitlines()[-1] == "A run would find all it needs."
    assert found.stderr == ""


def test_a_masking_key_that_airflow_would_not_encrypt_is_not_wrong_yet(set_up):
    set_up("AIRFLOW__CORE__FERNET_KEY", "")
    assert [said for said in examine().not_yet if "Airflow has no core.fernet_key" in said]


def test_the_command_checks_the_queues_that_it_is_given(empty_warehouse, environment):
    done = doctor(environment, "user_logins_queue_url", "partner_queue_url")
    assert done.returncode == 1
    assert "variable partner_queue_url is not set to the URL of a queue" in done.stdout
    assert done.stdout.count("✗") == 1


def test_code_that_is_older_than_the_tables_is_not_wrong_yet(set_up, warehouse):
    prepare_warehouse(warehouse)
    assert not [said for said in examine().not_yet if "older" in said]
    warehouse.execute("insert into login_etl.schema_migrations (version, name) values (9999, '9999_later')")
    examination = examine()
    assert examination.faults == 0
    assert [said for said in examination.not_yet if "its tables have migration 9999, but this code ends at" in said]
