"""A sensor that looks at an SQS queue and takes nothing from it."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk import Context

from include.connections import AWS, sqs_client
from include.sqs.calls import Queue, backlog


class SqsBacklogSensor(SqsSensor):
    """Wait until a queue has messages that can be received.

    The parent receives messages, deletes them before anybody has stored them, and pushes their
    bodies to XCom; in deferrable mode the triggerer logs them too. Even with a visibility timeout
    of 0 each of its looks counts as a receive, and moves good messages towards the dead-letter
    queue. This one asks for the queue's approximate number of messages, by the client of all other steps.

    Between looks it takes no worker's place; a queue that stays empty is no failure, but the tasks behind it are
    skipped. Without a queue (`sqs_queue` is None) there is nothing to wait for.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Pinned: [operators] default_deferrable would bring the parent's trigger back.
        arguments: dict[str, Any] = {"mode": "reschedule", "soft_fail": True} | kwargs
        super().__init__(**arguments | {"aws_conn_id": AWS, "deferrable": False})

    def poke(self, context: Context) -> bool:  # noqa: ARG002 - the parent's signature
        """Whether the queue has messages; the parent's `poke` is what takes and deletes them."""
        if self.sqs_queue is None:
            self.log.info("this run rebuilds from staging and takes nothing from a queue")
            return True
        waiting = backlog(Queue(sqs_client(), self.sqs_queue))
        self.log.info("about %d messages on %s", waiting, self.sqs_queue)
        return waiting > 0
