"""How deep the queue was when a run began: what a page and an alert know of the queue."""

from dataclasses import asdict

import psycopg

from include.events.message import Run
from include.sqs.dead_letters import Depth
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

UNKNOWN = Depth()


def record_depth(connection: psycopg.Connection, run: Run, queue: str | None, depth: Depth = UNKNOWN) -> None:
    """Record that the run has begun, and what it saw on the queue with this URL; the newest try of it counts."""
    seen = {"dag_id": run.dag_id, "run_id": run.run_id, "queue": queue} | asdict(depth)
    with transaction(connection):
        connection.execute(statement("batches/record_depth"), seen)
