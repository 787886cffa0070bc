"""A whole run in a process of its own, which can be killed at any point of what it says to its servers."""

import multiprocessing
import os
import threading
from collections import Counter
from datetime import UTC, datetime

from include import erasure, pipeline, rotation
from include.batches.rejected import Selection
from include.events.message import Origin, Run
from include.sqs.chunk import CHUNK, ChunkBounds
from tests.support.runs import A_RUN

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["pytest", "tests.conftest", "tests.support.worker", "airflow.providers.postgres.hooks.postgres"]
)


def run(queue_url, run_id, messages, bounds=CHUNK, dag_id="user_logins"):
    """Set up, plan, drain so many messages, merge; by the connections in the environment."""
    url = pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    pipeline.plan_drain(url, max_messages=messages, max_workers=1)
    share = {"messages": messages, "threads": 1}
    one = Origin(Run(dag_id, run_id), 0, 1, datetime.now(UTC), queue=url)
    counts = pipeline.drain_and_mask(share, url, origin=one, seconds=30, bounds=bounds)
    merged = pipeline.merge_user_logins(one.run)
    pipeline.check_run(one.run, "queue", url, drained=[counts])
    return merged


def run_in_small_chunks(queue_url, run_id, messages):
    """The same with chunks of 20 messages."""
    run(queue_url, run_id, messages, bounds=ChunkBounds(messages=20))


def replay_all(run_id):
    """Replay every rejected message, and merge."""
    one = Origin(Run("user_logins", run_id), -1, 1, datetime.now(UTC), source="rejected_messages")
    counts = pipeline.replay_messages(Selection(limit=1000), origin=one, dry_run=False)
    pipeline.merge_user_logins(one.run)
    pipeline.check_run(one.run, "rejected_messages", drained=[counts])


def rotate():
    """All steps of a rotation."""
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    rotation.rewrap_user_logins()
    rotation.reseal_rejected_bodies()
    rotation.count_shared()


def erase():
    """All steps of an erasure of whoever waits; the sums."""
    erasure_ids = erasure.plan_erasure()
    if erasure_ids:
        erasure.raise_tombstones(erasure_ids)
        return erasure.erase_rows(erasure_ids, erasure.forget_bodies(erasure_ids))
    return {}


def exit_code(environment, step, *arguments, seconds=60):
    """Do a step in a process of its own; -9 when that was killed."""
    process = processes.Process(target=_work, args=(environment, step, *arguments))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{step.__name__} was still running after {seconds} seconds")
    return process.exitcode


def _work(environment, step, *arguments):
    os.environ.update(environment)
    step(*arguments)


class Conversation:
    """What is said to both servers; the client is killed at one point of it: a label, and its how-many-eth occurrence.

    Not at a number of the whole, since what the client's threads say mixes differently each time.
    """

    def __init__(self, kill_at=None, *, done=False):
        """`done`: whether the server still does what is said at that point, though it tells nobody."""
        self.kill_at, self.done = kill_at, done
        self.said = []
        self._occurrences, self._lock = Counter(), threading.Lock()

    def __call__(self, call):
        with self._lock:
            point = (call.label, self._occurrences[call.label])
            self._occurrences[call.label] += 1
            self.said.append(point)
        if point != self.kill_at or self.done:
            call.forward()
        if point == self.kill_at:
            call.kill()
