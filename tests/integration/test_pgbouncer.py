"""Through PgBouncer in transaction mode, where each transaction may have another server connection."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from include import maintenance, pipeline
from include.batches.rejected import Selection
from include.batches.window import Window
from include.connections import warehouse_connection
from include.events.login import Login
from include.events.message import Origin, Run
from include.failures import SetupError
from include.warehouse.locks import WAITS, take_turn
from include.warehouse.transactions import transaction
from sandbox.events import sample_events, send
from sandbox.servers import free_port
from tests.support.programs import running
from tests.support.queues import left_on
from tests.support.runs import A_RUN

AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
SETTINGS = """
[databases]
warehouse = host={postgres} user=pipeline

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
"""


@pytest.fixture
def pooled(empty_warehouse, connected, monkeypatch, tmp_path):
    """Lets connection `warehouse` lead through a PgBouncer with so many server connections."""

    @contextmanager
    def start(size, **extra):
        port, settings = free_port(), tmp_path / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(postgres=empty_warehouse.postgres, port=port, size=size))
        # It refuses to run as root; the embedded Postgres's owner may reach its socket.
        user = ["-u", Path(empty_warehouse.postgres).owner()] if os.geteuid() == 0 else []
        warehouse = {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "schema": "warehouse", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
        with running("pgbouncer", *user, str(settings), port=port, log=tmp_path / "pgbouncer.log"):
            yield

    return start


def test_the_whole_pipeline_with_four_drains_on_two_connections(
    pooled, empty_warehouse, sqs, queue_url, monkeypatch, caplog
):
    send(sqs, queue_url, sample_events(200, 1))

    def take(number):
        share = {"messages": 60, "threads": 2}
        return pipeline.drain_and_mask(share, url, origin=Origin(run, number, 1, datetime.now(UTC)), seconds=30)

    run = Run("user_logins", "a run")

    with pooled(2):
        url = pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
        assert len(pipeline.plan_drain(url, max_messages=200, max_workers=4)) == 1
        with ThreadPoolExecutor(4) as pool:
            drained = list(pool.map(take, range(4)))
        assert all(counts["received"] for counts in drained)
        assert pipeline.merge_user_logins(run)["inserted"] == 198
        pipeline.check_run(run, "queue", url, drained=drained)

        with empty_warehouse.connect() as owner:
            owner.execute("delete from public.user_logins where user_id < '8'")
            lost = 198 - owner.execute("select count(*) from public.user_logins").fetchone()[0]
        assert lost > 50
        pipeline.check_setup(A_RUN, queue_url, source="queue", window=AGES)
        assert pipeline.merge_user_logins(Run("user_logins", "a rebuild"), window=AGES)["rebuilt"] == lost

        monkeypatch.setattr("include.batches.rejected.parse", lambda body: Login("valid now"))
        replay = Origin(Run("user_logins", "a replay"), -1, 1, datetime.now(UTC), source="rejected_messages")
        replayed = pipeline.replay_messages(Selection(limit=1), origin=replay, dry_run=False)
        assert pipeline.merge_user_logins(replay.run)["inserted"] == 1
        pipeline.check_run(replay.run, "rejected_messages", drained=[replayed])
        with empty_warehouse.connect() as owner:
            owner.execute("update login_etl.rejected_messages set rejected_at = now() - interval '31 days'")
        assert maintenance.forget_rejected_bodies(days=30) == {"bodies": "1 forgotten"}

    assert left_on(sqs, queue_url) == 0
    with empty_warehouse.connect() as owner:
        assert owner.execute("select count(*), count(distinct message_id) from public.user_logins").fetchone() == (
            199,
            199,
        )


def test_a_lock_that_takes_too_long_leaves_nothing_on_the_shared_connection(pooled, empty_warehouse, monkeypatch):
    monkeypatch.setitem(WAITS, "turn", "200ms")
    server = "select pg_backend_pid(), current_setting('lock_timeout')"
    with pooled(1), empty_warehouse.connect() as somebody, somebody.transaction():
        take_turn(somebody, "login_etl.merge")
        with warehouse_connection() as waiting, warehouse_connection() as next_one:
            with transaction(waiting):
                used, wait = waiting.execute(server).fetchone()
            assert wait == "200ms"
            with pytest.raises(psycopg.errors.LockNotAvailable), transaction(waiting):
                take_turn(waiting, "login_etl.merge")
            assert next_one.execute(server).fetchone() == (used, "0")


def test_an_option_in_the_connections_extra_is_refused_in_one_sentence(pooled):
    with (
        pooled(1, options="-c statement_timeout=60s"),
        pytest.raises(SetupError, match="unsupported startup parameter: options"),
        warehouse_connection(),
    ):
        pass
