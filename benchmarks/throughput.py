"""How fast: queue → `user_logins`, against loops that only receive and delete, or that do it all one by one."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.config import Config

from benchmarks.bench import ROUND_TRIP, Bench, Prepare, alone, side_by_side, this_origin
from benchmarks.figures import Chart, Section, Series, Table, number, speed
from include.batches.drain import drain_and_mask
from include.batches.interpreter import Core
from include.batches.merge import merge_user_logins
from include.sqs.calls import CALL_SIZE, VISIBILITY_SECONDS, Queue
from include.sqs.plan import MAX_THREADS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef, MessageTypeDef

ROUNDS = 3
# Round trip in seconds, threads, as many messages as take one to four seconds, and the goal.
CASES = (
    (0.0, 1, 8_000, 1.5),
    (0.0, 4, 8_000, 1.5),
    (0.0, 16, 16_000, 2.0),
    (0.0, 32, 16_000, 1.5),
    (ROUND_TRIP, 1, 500, 0.85),  # a thread only waits, and a drain lands its first ten alone
    (ROUND_TRIP, 4, 2_000, 0.85),
    (ROUND_TRIP, 16, 8_000, 1.0),
    (ROUND_TRIP, 32, 16_000, 1.5),
)
SEQUENTIAL_MESSAGES = 200
WORKERS_MESSAGES = 16_000
QUICK = 100
CPU_HEADERS = (
    "round trip",
    "threads",
    "bare loop",
    "ours, by boto3",
    "ours",
    "stand-in (bare)",
    "stand-in (ours)",
    "Postgres (ours)",
)
CREATE = """
create table if not exists sequential_logins (
    user_id varchar(128), device_type varchar(32), masked_ip varchar(256), masked_device_id varchar(256),
    locale varchar(32), app_version integer, create_date date
)
"""
INSERT = "insert into sequential_logins values (%s, %s, %s, %s, %s, %s, current_date)"


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement, per message: wall seconds, and CPU seconds of the client's processes, the stub, Postgres."""

    seconds: float
    client: float
    stub: float
    postgres: float

    @property
    def speed(self) -> float:
        """Messages per second."""
        return 1 / self.seconds


def section(bench: Bench) -> Section:
    """Every thread count at both round trips, then the sequential loop and two workers."""
    figures, rows = [], []
    speeds: dict[str, list[float]] = defaultdict(list)
    for delay, threads, full, goal in CASES:
        messages = bench.size(full, QUICK)
        bare, ours, by_boto3 = compared(
            bench,
            partial(run, bench, messages, delay, partial(bare_loop, bench, messages, threads)),
            partial(run, bench, messages, delay, partial(drain_and_merge, bench, messages, threads)),
            partial(run, bench, messages, delay, partial(drain_and_merge, bench, messages, threads, lean=False)),
        )
        trip = f"{delay * 1000:.0f} ms"
        name = f"queue → user_logins against a bare loop, {trip}, {threads} thread{'s' * (threads > 1)}"
        figures.append(speed(name, bare.speed, ours.speed, "msg/s", at_least=goal))
        costs = (bare.client, by_boto3.client, ours.client, bare.stub, ours.stub, ours.postgres)
        rows.append([trip, str(threads), *(number(cost * 1e6) for cost in costs)])
        speeds[f"bare loop, {trip}"].append(bare.speed)
        speeds[f"ours, {trip}"].append(ours.speed)
    messages = bench.size(SEQUENTIAL_MESSAGES, 20)
    [floor] = compared(bench, partial(run, bench, messages, ROUND_TRIP, partial(sequential_loop, bench, messages)))
    one, two, by_boto3 = compared(
        bench, partial(_workers, bench, 1), partial(_workers, bench, 2), partial(_workers, bench, 2, lean=False)
    )
    sequential = "queue → user_logins against a sequential loop, 15 ms"
    figures.append(speed(sequential, floor.speed, one.speed, "msg/s", at_least=15))
    figures.append(speed("two mapped workers against one, 15 ms", one.speed, two.speed, "msg/s", at_least=1.2))
    beside = "two mapped workers against two by boto3, 15 ms"
    figures.append(speed(beside, by_boto3.speed, two.speed, "msg/s", at_least=1.4))
    threads_of_cases = [str(threads) for delay, threads, _, _ in CASES if not delay]
    lines = [Series(name, values, dashed=name.startswith("bare")) for name, values in speeds.items()]
    chart = Chart("performance-throughput", "Messages per second", "threads", threads_of_cases, lines)
    return Section(figures, [Table(CPU_HEADERS, rows)], chart)


def _workers(bench: Bench, workers: int, *, lean: bool = True) -> Run:
    messages = bench.size(WORKERS_MESSAGES, 2 * QUICK)
    drains = [partial(drain, bench, messages // workers, MAX_THREADS, each, lean=lean) for each in range(workers)]
    return run(bench, messages, ROUND_TRIP, *drains, then=partial(merge, bench))


def compared(bench: Bench, *variants: Callable[[], Run]) -> list[Run]:
    """Each variant once a round; of each the run whose time is the median."""
    runs: list[list[Run]] = [[] for _ in variants]
    for _ in range(bench.size(ROUNDS, 1)):
        for variant, taken in zip(variants, runs, strict=True):
            taken.append(variant())
    return [sorted(taken, key=lambda run: run.seconds)[len(taken) // 2] for taken in runs]


def run(bench: Bench, messages: int, delay: float, *works: Prepare, then: Prepare | None = None) -> Run:
    """Do the works side by side, on a full queue and an empty warehouse, and what comes after them alone."""
    bench.empty()
    bench.stub.load(messages, delay=delay)
    stub, postgres = bench.stub.state()["cpu"], bench.postgres_cpu()
    costs = side_by_side(*works)
    seconds = max(cost.ended for cost in costs) - min(cost.started for cost in costs)
    if then:
        costs.append(alone(then))
        seconds += costs[-1].seconds
    state = bench.stub.state()
    if state["visible"] or state["hidden"]:
        raise RuntimeError(f"{state['visible'] + state['hidden']} of {messages} messages are left on the queue")
    took = (seconds, sum(cost.cpu for cost in costs), state["cpu"] - stub, bench.postgres_cpu() - postgres)
    return Run(*(value / messages for value in took))


@contextmanager
def drain_and_merge(bench: Bench, messages: int, threads: int, *, lean: bool = True) -> Iterator[Callable[[], object]]:
    """The pipeline, from the queue to `user_logins`."""
    with drain(bench, messages, threads, lean=lean) as draining, merge(bench) as merging:
        yield lambda: (draining(), merging())


@contextmanager
def drain(
    bench: Bench, messages: int, threads: int, map_index: int = 0, *, lean: bool = True
) -> Iterator[Callable[[], object]]:
    """One drain, of so many messages; `lean` or by boto3."""
    client, keyring = bench.client(lean=lean), bench.keyring()
    with bench.connect() as warehouse:
        yield lambda: drain_and_mask(
            Queue(client, bench.stub.queue_url),
            warehouse,
            keyring,
            origin=this_origin(map_index),
            messages=messages,
            seconds=600,
            threads=threads,
        )


@contextmanager
def merge(bench: Bench) -> Iterator[Callable[[], object]]:
    """The merge of all that is staged."""
    with bench.connect() as warehouse:
        yield lambda: merge_user_logins(warehouse, "benchmark")


@contextmanager
def on_any_core(prepare: Prepare) -> Iterator[Callable[[], object]]:
    """The same work by threads that run wherever the kernel lets them."""
    with patch.object(Core, "choose"), prepare() as work:
        yield work


@contextmanager
def bare_loop(bench: Bench, messages: int, threads: int) -> Iterator[Callable[[], object]]:
    """Receive and delete, ten a call, with boto3 as it comes."""
    client, url = bench.client(Config(), lean=False), bench.stub.queue_url
    calls = iter(range(0, messages, CALL_SIZE))

    def receive_and_delete(_: int) -> None:
        for _ in calls:
            received = receive(client, url)
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]} for number, each in enumerate(received)
            ]
            client.delete_message_batch(QueueUrl=url, Entries=entries)

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(receive_and_delete, range(threads)))

    yield work


@contextmanager
def sequential_loop(bench: Bench, messages: int) -> Iterator[Callable[[], object]]:
    """Receive ten; hash, insert, commit and delete each; with boto3 as it comes."""
    client, url = bench.client(Config(), lean=False), bench.stub.queue_url

    def work() -> None:
        for _ in range(0, messages, CALL_SIZE):
            for message in receive(client, url):
                event = json.loads(message["Body"])
                if "user_id" in event:
                    warehouse.execute(INSERT, _columns(event))
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    with bench.connect() as warehouse:
        warehouse.execute(CREATE)
        yield work


def receive(client: SQSClient, url: str) -> list[MessageTypeDef]:
    """One receive call as the pipeline makes it, but without waiting."""
    return client.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=CALL_SIZE,
        VisibilityTimeout=VISIBILITY_SECONDS,
        MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
    )["Messages"]


def _columns(event: dict[str, Any]) -> tuple[object, ...]:
    ip, device_id = (hashlib.sha256(event[field].encode()).hexdigest() for field in ("ip", "device_id"))
    version = int(event["app_version"].replace(".", ""))
    return event["user_id"], event["device_type"], ip, device_id, event["locale"], version
