"""How a backlog is shared out among drain tasks."""

from typing import TypedDict

# Measured (docs/performance.md): a drain moves some 8,000 messages a second, and starting a task takes one and a half
# seconds of CPU; the work of two seconds or so is worth a task. At a round trip of 15 ms a thread moves 500 in two
# seconds; it may end with a call that finds nothing. With more than 32, threads wait for the interpreter, not for SQS.
WORKER_MESSAGES = 15_000
THREAD_MESSAGES = 500
MAX_THREADS = 32


class Share(TypedDict):
    """The bounds of one drain task: how many messages it may take, over how many threads."""

    messages: int
    threads: int


def plan_drain(backlog: int, *, max_messages: int, max_workers: int) -> list[Share]:
    """Shares for 1 to `max_workers` drain tasks, none for an empty queue.

    - One worker for each 15,000 messages that wait, at most `max_workers`.
    - One thread for each 500 of a worker's, at most 32.
    - Each may take an equal part of `max_messages`, however many wait: the backlog is approximate.

    >>> plan_drain(4_000, max_messages=100_000, max_workers=4)
    [{'messages': 100000, 'threads': 8}]
    """
    if backlog < 1:
        return []
    expected = min(backlog, max_messages)
    workers = min(_parts(expected, WORKER_MESSAGES), max_workers)
    threads = min(_parts(expected // workers, THREAD_MESSAGES), MAX_THREADS)
    share, rest = divmod(max_messages, workers)
    return [Share(messages=share + (number < rest), threads=threads) for number in range(workers)]


def _parts(total: int, size: int) -> int:
    """How many parts of a size a total has, the last one perhaps smaller; one at least."""
    return max(1, -(-total // size))
