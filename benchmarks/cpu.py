"""What a message costs: CPU beside the SQS client's, calls, memory."""

from __future__ import annotations

import cProfile
import pstats
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

from benchmarks.bench import Bench, alone, interleaved, this_origin
from benchmarks.figures import Figure, Section, Table, absolute, growth, number
from benchmarks.throughput import compared, drain_and_merge, on_any_core, run
from include import pipeline
from include.batches.drain import drain_and_mask
from include.batches.merge import merge_user_logins
from include.connections import AWS
from include.sensor import SqsBacklogSensor
from include.sqs.calls import Queue
from sandbox.events import sample_events

MESSAGES = 20_000
BACKLOG = 10_000
FEW, MANY = 10_000, 1_000_000  # for the memory they take
THREADS = 1  # more would count what threads cost each other where none of them waits for a server
MANY_THREADS, THREADS_MESSAGES = 16, 16_000  # at which calls to a server are counted in
SHOWN = 12  # functions of the profile
INCLUDE = Path(pipeline.__file__).parent


class MemoryClient:
    """An SQS client's two calls, answered without HTTP; as if every message were deleted."""

    def __init__(self, answers: Iterator[list[dict[str, Any]]]) -> None:
        self.answers = answers

    def receive_message(self, **_: Any) -> dict[str, Any]:
        return {"Messages": messages} if (messages := next(self.answers, None)) else {}

    def delete_message_batch(self, **call: Any) -> dict[str, Any]:
        return {"Successful": call["Entries"]}


def answers(messages: int) -> Iterator[list[dict[str, Any]]]:
    """The answers to as many receive calls as bring so many messages, made when they are asked for."""
    bodies = list(sample_events(MESSAGES, seed=2))
    sent = str(int(time.time() * 1000))

    def ten(start: int) -> list[dict[str, Any]]:
        return [
            {
                "MessageId": str(uuid.uuid4()),
                "ReceiptHandle": f"{index:0360}",
                "Body": bodies[index % MESSAGES],
                "Attributes": {"SentTimestamp": sent, "ApproximateReceiveCount": "1"},
            }
            for index in range(start, min(start + 10, messages))
        ]

    return map(ten, range(0, messages, 10))  # threads may share a map


@contextmanager
def without_sqs(
    bench: Bench, messages: int, *, made_before: bool = True, profile: Path | None = None
) -> Iterator[Callable[[], object]]:
    """Drain and merge messages that come from memory."""
    taken = answers(messages)
    client = cast(Any, MemoryClient(iter(list(taken)) if made_before else taken))
    keyring = bench.keyring()

    def work() -> None:
        drain_and_mask(
            Queue(client, "memory://"),
            warehouse,
            keyring,
            origin=this_origin(),
            messages=messages,
            seconds=600,
            threads=THREADS,
        )
        merge_user_logins(warehouse, "benchmark")

    with bench.connect() as warehouse:
        yield partial(profiled, work, profile) if profile else work


def profiled(work: Callable[[], None], path: Path) -> None:
    """Do the work under a profiler for each thread, which counts the thread's CPU time; write one profile."""
    profilers: list[cProfile.Profile] = []

    def start(*_: object) -> None:
        profilers.append(cProfile.Profile(time.thread_time))
        profilers[-1].enable()

    threading.setprofile(start)  # called in each new thread, where `enable` takes its place
    start()
    work()
    profilers[0].disable()
    threading.setprofile(None)
    stats = pstats.Stats(profilers[0])
    for profiler in profilers[1:]:
        profiler.create_stats()
        if cast(Any, profiler).stats:
            stats.add(profiler)
    stats.dump_stats(path)


def with_sqs(bench: Bench) -> list[Figure]:
    """The CPU of a message and its calls, and against what it was before calls were lean and threads shared a core."""
    messages = bench.size(THREADS_MESSAGES, 100)
    ours = partial(drain_and_merge, bench, messages, MANY_THREADS)
    by_boto3 = partial(ours, lean=False)
    variants = (ours, by_boto3, partial(on_any_core, ours), partial(on_any_core, by_boto3))
    runs = compared(bench, *(partial(run, bench, messages, 0, each) for each in variants))
    micros, by_boto3_micros, any_core_micros, before_micros = (each.client * 1e6 for each in runs)
    what = f"CPU per message, the SQS client's included, 0 ms, {MANY_THREADS} threads"
    return [
        absolute(what, None, micros, "µs", at_most=95),
        growth("the same against a drain by boto3", by_boto3_micros, micros, "µs", at_most=0.6),
        growth("the same against threads on any core", any_core_micros, micros, "µs", at_most=0.75),
        growth("the same against a drain by boto3, threads on any core", before_micros, micros, "µs", at_most=0.5),
    ]


def section(bench: Bench) -> Section:
    """CPU beside the client's and its profile, API calls, peak memory."""
    messages = bench.size(MESSAGES, 200)

    def measure() -> float:
        bench.empty()
        return alone(partial(without_sqs, bench, messages)).cpu / messages * 1e6

    micros = interleaved(bench.size(5, 1), ours=measure)["ours"]
    bench.empty()
    path = bench.local.home / "profile"
    alone(partial(without_sqs, bench, messages, profile=path))
    rows = profile_rows(path, messages, micros)
    per_thousand, calls = api_calls(bench)
    few, many = (_peak(bench, messages) / 1024 for messages in (bench.size(FEW, 100), bench.size(MANY, 1_000)))
    return Section(
        [
            *with_sqs(bench),
            absolute("CPU per message outside the SQS client", None, micros, "µs", at_most=12),
            absolute("API calls per 1 000 messages", 200, per_thousand, "calls", at_most=205),
            growth("peak memory, draining 1 000 000 messages against 10 000", few, many, "MiB", at_most=1.1),
        ],
        [
            Table(("function", "µs per message", "calls per message"), rows),
            Table(("operation", "calls"), [[name, str(times)] for name, times in sorted(calls.items())]),
        ],
    )


def profile_rows(path: Path, messages: int, micros: float) -> list[list[str]]:
    """The functions of `include/` in which most time is spent, themselves or what they call."""
    stats = cast(Any, pstats.Stats(str(path)))
    scale = micros / stats.total_tt
    ours = [
        (cumulative, calls, f"{Path(file).stem}.{name}")
        for (file, _, name), (_, calls, _, cumulative, _) in stats.stats.items()
        if INCLUDE in Path(file).parents
    ]
    return [
        [f"`{name}`", number(cumulative * scale), number(calls / messages)]
        for cumulative, calls, name in sorted(ours, reverse=True)[:SHOWN]
    ]


def api_calls(bench: Bench) -> tuple[float, dict[str, int]]:
    """Calls per 1 000 messages of a run's tasks, and the calls by operation."""
    backlog = bench.size(BACKLOG, 100)
    bench.empty()
    bench.stub.load(backlog)

    @contextmanager
    def tasks() -> Iterator[Callable[[], object]]:
        yield partial(_tasks, bench.stub.queue_url)

    alone(tasks)
    calls: dict[str, int] = bench.stub.state()["calls"]
    return sum(calls.values()) / backlog * 1000, calls


def _tasks(configured: str) -> None:
    queue_url = pipeline.check_setup(this_origin().run, configured, source="queue", window=None)
    if queue_url is None or not SqsBacklogSensor(task_id="wait", aws_conn_id=AWS, sqs_queue=queue_url).poke({}):
        raise RuntimeError("the sensor does not see the backlog")
    shares = pipeline.plan_drain(queue_url, max_messages=100_000, max_workers=4)
    for index, share in zip(count(), shares, strict=False):
        pipeline.drain_and_mask(share, queue_url, origin=this_origin(index), seconds=180)


def _peak(bench: Bench, messages: int) -> int:
    bench.empty()
    return alone(partial(without_sqs, bench, messages, made_before=False), method="spawn").peak
