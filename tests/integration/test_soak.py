"""Rounds of runs at the same time, among random faults; after each, all is there once. `make soak` takes longer."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import psycopg

from include.warehouse.setup import prepare_warehouse
from tests.integration.test_failing_postgres import crash, wait_until_it_answers
from tests.integration.test_kill_points import INSERTED
from tests.support.fixtures import TENS
from tests.support.queues import MESSAGES, left_on, send_events, show_again
from tests.support.worker import exit_code, run, run_in_small_chunks

SOAK = "SOAK_SECONDS" in os.environ
SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))
ROUNDS = 10_000
WORKERS = 2
# Of about a hundred calls and statements a round, so that many rounds meet a fault, and some none.
PROBABILITY = 0.01


class Disturbances:
    """What becomes of a call or a statement: mostly nothing, sometimes one of these."""

    def __init__(self, seed, local):
        self.random = random.Random(seed)
        self.local = local
        self.done = []

    def __call__(self, call):
        if self.random.random() > PROBABILITY:
            call.forward()
            return
        kinds = [self.kill, self.kill_when_done]
        kinds += [self.refuse, self.reset, self.lose] if call.label.startswith("SQS") else [self.drop, self.crash]
        kind = self.random.choice(kinds)
        self.done.append(f"{kind.__name__} {call.label[:30]}")
        kind(call)

    def kill(self, call):
        with suppress(ProcessLookupError):  # another thread's fault may have been quicker
            call.kill()

    def kill_when_done(self, call):
        call.forward()
        self.kill(call)

    def refuse(self, call):
        call.refuse(self.random.choice(["ThrottlingException", "InternalError", "OverLimit"]), 500)

    def reset(self, call):
        call.reset()

    def lose(self, call):
        call.forward()
        call.reset()

    def drop(self, call):
        call.forward()
        call.drop()

    def crash(self, call):
        with suppress(psycopg.OperationalError, ProcessLookupError):  # the other worker's crash may have been quicker
            crash(self.local)
        call.drop()


def test_random_faults(local, empty_warehouse, proxies, connected, impatient, sqs, queue_url, capfd):
    def tell(line):
        with capfd.disabled() if SOAK else nullcontext():
            print(line, flush=True)

    with local.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
    deadline, rounds, faults, events = time.monotonic() + SECONDS, 0, 0, 0
    while time.monotonic() < deadline and rounds < ROUNDS:
        users = [user for part in range(WORKERS) for user in send_events(sqs, queue_url, f"{rounds}-{part}")]
        proxies.sqs.received.clear()
        proxies.let(disturbances := Disturbances(rounds, local))
        with ThreadPoolExecutor(WORKERS) as pool:
            ends = [
                pool.submit(
                    exit_code, proxies.environment, run_in_small_chunks, queue_url, f"{rounds}-{part}", MESSAGES
                )
                for part in range(WORKERS)
            ]
            exits = [end.result() for end in ends]
        proxies.undisturbed()
        wait_until_it_answers(local)
        while True:  # a message that one more run is given is shown to it again
            show_again(sqs, queue_url, proxies.sqs.handles())
            run(queue_url, f"after {rounds}", max(1, left_on(sqs, queue_url)), bounds=TENS)
            if left_on(sqs, queue_url) == 0:
                break
            assert time.monotonic() < deadline + 60
        with local.connect() as warehouse:
            rows = warehouse.execute(
                "select user_id from public.user_logins where starts_with(user_id, %s)", [f"{rounds}-"]
            )
            assert sorted(user for (user,) in rows) == sorted(users)
            wrong = warehouse.execute("select * from login_etl.history where unbalanced_batches is not null").fetchall()
            assert wrong == []
            [(inserted, there)] = warehouse.execute(INSERTED).fetchall()
            assert inserted == there
        rounds, faults, events = rounds + 1, faults + len(disturbances.done), events + WORKERS * MESSAGES
        tell(f"round {rounds}, {deadline - time.monotonic():.0f} s left: exits {exits}, {disturbances.done}")
    tell(f"{rounds} rounds, {faults} faults, {events} events: none lost, none doubled")
    assert faults
