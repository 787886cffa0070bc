"""A message, and what a batch of them comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

QueueSource = Literal["queue", "dead_letter_queue"]  # the queue that a run drains: its param `source`
Source = QueueSource | Literal["rejected_messages"]  # where a batch's messages are from
ENOUGH_MESSAGES = 20  # for a percentage of them to tell a producer that has changed from a single bad message
# By name: DataType, and StringValue or, in base64, BinaryValue, as SQS sends them.
Attributes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Message:
    """What of a message is staged. `message_id` and `sent_at` stay the same over redeliveries.

    Senders say in `attributes` how a body is to be read, such as its encoding; a login needs none.
    """

    message_id: UUID
    sent_at: datetime
    receive_count: int
    body: str = field(repr=False)
    attributes: Attributes = field(default_factory=dict, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a DAG; as text, its name in the columns `merged_by`.

    A run that was done and is done again as a backfill, which rebuilds, has an account of its own.
    """

    dag_id: str
    run_id: str
    rebuilds: bool = False

    def __str__(self) -> str:
        return f"{self.dag_id}/{self.run_id}" + (" (rebuild)" if self.rebuilds else "")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a batch comes from: one try of a task, since when that has been running, and where its messages are from.

    `map_index` is -1 for a task that is not mapped, `queue` None for messages that are not from a queue, else its URL.
    """

    run: Run
    map_index: int
    try_number: int
    started_at: datetime
    source: Source = "queue"
    queue: str | None = None
