"""How a backlog is shared out among drain tasks."""

from typing import TypedDict

WORKER_MESSAGES = 10_000  # a task takes seconds to start: below this a second one costs more than it gains
THREAD_MESSAGES = 100  # ten receive calls
MAX_THREADS = 16


class Share(TypedDict):
    """The bounds of one drain task: how many messages it may take, over how many threads."""

    messages: int
    threads: int


def plan_shares(backlog: int, *, max_messages: int, max_workers: int) -> list[Share]:
    """Shares for 1 to `max_workers` drain tasks, none for an empty queue.

    One worker for each 10 000 messages there are, one thread for each 100 of a worker's; the backlog
    is approximate, so it decides how many take part, and `max_messages` how much they may take.

    >>> plan_shares(25_000, max_messages=10_000, max_workers=4)
    [{'messages': 10000, 'threads': 16}]
    """
    if backlog < 1:
        return []
    expected = min(backlog, max_messages)
    workers = min(_parts(expected, WORKER_MESSAGES), max_workers)
    threads = min(_parts(expected // workers, THREAD_MESSAGES), MAX_THREADS)
    share, rest = divmod(max_messages, workers)
    return [Share(messages=share + (number < rest), threads=threads) for number in range(workers)]


def _parts(total: int, size: int) -> int:
    return max(1, -(-total // size))
