"""How much memory a drain takes when small messages are followed by the largest that SQS takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, alone, this_origin
from benchmarks.figures import Section, Table, absolute, number
from include import pipeline
from include.sqs.plan import MAX_THREADS, Share

SMALL, LARGE = 20_000, 500
LARGEST = 2**20  # bytes of a body
FILLINGS = {
    "one-byte characters": ("", "x"),
    "four-byte characters": ("", "😀"),
    "one-byte characters and an emoji": ("😀", "x"),  # for which Python takes four bytes a character
}


def section(bench: Bench) -> Section:
    """Peak memory of a process that drains both, with as many threads as a drain may have."""
    figures, rows = [], []
    small, large = bench.size(SMALL, 100), bench.size(LARGE, 20)
    for name, (first, others) in FILLINGS.items():
        bench.empty()
        bench.stub.load(small, large=large, body=largest_login(first, others))
        cost = alone(partial(drain, bench, small + large), method="spawn")
        peak = cost.peak / 1024
        what = f"peak memory, small messages, then some of 1 MiB of {name}"
        figures.append(absolute(what, None, peak, "MiB", at_most=400))
        rows.append([name, number(large / cost.seconds)])
    return Section(figures, [Table((f"small messages, then {large} of 1 MiB of", "large ones a second"), rows)])


def largest_login(first: str, others: str) -> str:
    """A login of 1 MiB: as large as SQS takes a message."""
    start, end = '{"user_id": "u", "ignored": "' + first, '"}'
    return start + others * ((LARGEST - len((start + end).encode())) // len(others.encode())) + end


@contextmanager
def drain(bench: Bench, messages: int) -> Iterator[Callable[[], object]]:
    """Drain so many messages, as the task does."""

    def work() -> None:
        share: Share = {"messages": messages, "threads": MAX_THREADS}
        counts = pipeline.drain_and_mask(share, bench.stub.queue_url, origin=this_origin(), seconds=600)
        if counts["deleted"] != messages:
            raise RuntimeError(json.dumps(counts))

    yield work
