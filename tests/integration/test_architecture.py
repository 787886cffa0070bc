"""The picture in docs/architecture.md: who takes messages, which task writes which table, and who outside reads it."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from include import pipeline
from include.batches.reconciliation import FailedCheck
from include.events.message import Origin
from include.sensor import SqsBacklogSensor
from tests.support.mermaid import flowchart
from tests.support.privacy import PEOPLE, login, prepared_warehouse, recipient
from tests.support.queues import send_events
from tests.support.runs import A_RUN

PICTURE = flowchart("architecture.md")
# Drawn with another, or of no message: what a run notes of itself and its queue, and the key id in use.
NOT_DRAWN = {"privacy.data_keys", "login_etl.queue_depths", "login_etl.masking"}
TABLES = """
select nspname || '.' || relname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
where nspname in ('public', 'login_etl', 'privacy') and relkind in ('r', 'p') and not relispartition
"""
# What a role may select, and what is behind a view or a function that it may use.
READABLE = """
with tables as (
    select pg_class.oid, nspname || '.' || relname as name
    from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where nspname || '.' || relname = any(%(tables)s)
)
select name from tables where has_any_column_privilege(%(role)s, oid, 'select')
union
select name from tables
inner join pg_depend on refobjid = tables.oid
inner join pg_rewrite on pg_rewrite.oid = objid
where has_any_column_privilege(%(role)s, ev_class, 'select')
union
select name from tables
inner join pg_proc on prosrc ~ ('(from|join) ' || name || '\\M')
where pronamespace = 'privacy'::regnamespace and has_function_privilege(%(role)s, pg_proc.oid, 'execute')
"""


@pytest.fixture
def owner(local):
    """A warehouse with schema `privacy` and a registered key, whose table refuses one user; as a superuser."""
    with prepared_warehouse(local.postgres):
        recipient(local.postgres)
    with psycopg.connect(host=local.postgres, user="postgres", dbname="warehouse", autocommit=True) as owner:
        owner.execute("alter table public.user_logins add check (user_id <> 'user-1')")
        yield owner


def rows(owner, tables):
    """The rows of each of these tables, as text."""
    query = "select coalesce(array_agg(rows::text order by rows::text), '{{}}') from {} as rows"
    return {
        table: owner.execute(sql.SQL(query).format(sql.Identifier(*table.split(".")))).fetchone()[0] for table in tables
    }


def waiting(sqs, queue_url):
    """What the queue shows and hides."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=counts)["Attributes"]


def fails(step, *arguments, **options):
    with pytest.raises(FailedCheck):
        step(*arguments, **options)


def test_each_task_takes_and_writes_what_the_picture_says(owner, connected, impatient, sqs, queue_url):
    """One run with good messages, bad ones, and one that the table refuses; after each task, what has changed."""
    send_events(sqs, queue_url, "user")
    origin = Origin(A_RUN, 0, 1, datetime.now(UTC), queue=queue_url)
    share = {"messages": 100, "threads": 1}
    tasks = {
        "check_setup": lambda: pipeline.check_setup(A_RUN, queue_url, source="queue", window=None),
        "wait_for_messages": lambda: SqsBacklogSensor(task_id="wait_for_messages", sqs_queue=queue_url).poke({}),
        "plan_drain": lambda: pipeline.plan_drain(queue_url, max_messages=100, max_workers=1),
        "drain_and_mask": lambda: pipeline.drain_and_mask(share, queue_url, origin=origin, seconds=30),
        "merge_user_logins": lambda: pipeline.merge_user_logins(A_RUN),
        "check_run": lambda: fails(pipeline.check_run, A_RUN, "queue", queue_url),
    }
    tables = [table for (table,) in owner.execute(TABLES)]
    writes, takes, before, on_queue = set(), set(), rows(owner, tables), waiting(sqs, queue_url)
    for name, task in tasks.items():
        task()
        after, left = rows(owner, tables), waiting(sqs, queue_url)
        writes |= {(name, table) for table in tables if after[table] != before[table]}
        takes |= {("SQS queue", name)} if left != on_queue else set()
        before, on_queue = after, left
    assert PICTURE.nodes["airflow"] == tasks.keys()
    assert PICTURE.between({"SQS queue"}, tasks) == takes
    assert {table for _, table in writes} >= NOT_DRAWN
    assert PICTURE.between(tasks, tables) == {pair for pair in writes if pair[1] not in NOT_DRAWN}
    assert PICTURE.nodes["postgres"] <= set(tables)


def test_who_outside_of_airflow_reads_which_table_is_what_the_database_grants(local, owner):
    tables = sorted(PICTURE.nodes["postgres"])
    with login(local.postgres, "pipeline") as warehouse:
        warehouse.execute("grant usage on schema login_etl to privacy_analyst")
        warehouse.execute("grant select on login_etl.logins to privacy_analyst")  # as maintain_user_logins does
    granted = {
        (table, role)
        for role in PEOPLE.values()
        for (table,) in owner.execute(READABLE, {"role": role, "tables": tables})
    }
    assert PICTURE.between(tables, PEOPLE.values()) == granted
