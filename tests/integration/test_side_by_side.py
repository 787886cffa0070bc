"""Two versions of the code at work on the same tables: while an upgrade is rolled out, and after one is undone.

Each task is called by its function in the DAG, and what it returns goes to the next one in JSON, as through Airflow.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count

import pytest

from sandbox.servers import NO_PROXY
from tests.support.privacy import prepared_warehouse, recipient
from tests.support.queues import MESSAGES, left_on, send_events
from tests.support.versions import BEFORE_THE_VAULT, VERSIONS, earlier_tasks, todays_tasks

EVERYTHING = "SOAK_SECONDS" in os.environ
# In `make test` the last version is tried with all, the one before it with the first test only.
NEAREST = list(VERSIONS) if EVERYTHING else list(VERSIONS)[:1]
RUN = ("check_setup", "plan_drain", "first drain", "second drain", "merge_user_logins", "check_run")
# Behind how many of a run's tasks the code changes: between two drains, and between drains and merge.
CHANGES = range(1, len(RUN)) if EVERYTHING else (3, 4)
UPKEEP = {
    "make_partitions": {},
    "drop_staging_days": {"days": "30"},
    "drop_login_months": {"months": "24"},
    "forget_rejected_bodies": {"days": "30"},
}


@pytest.fixture(scope="module")
def new():
    return todays_tasks()


@pytest.fixture(scope="module")
def at_commit(airflow_home, tmp_path_factory):
    """The tasks of the code at a commit, by a context manager."""
    connections = {name: value for name, value in airflow_home.items() if name.startswith("AIRFLOW_CONN_")}
    return lambda commit: earlier_tasks(commit, tmp_path_factory.mktemp("earlier"), connections | NO_PROXY)


@pytest.fixture(scope="module", params=VERSIONS)
def old(request, at_commit):
    with at_commit(VERSIONS[request.param]) as tasks:
        yield tasks


class Deployment:
    """A queue, the runs that drain it, and what must have become of all that was sent."""

    def __init__(self, local, sqs, queue_url):
        self.local, self.sqs, self.queue_url = local, sqs, queue_url
        self.users, self.rejected, self.numbers = [], 0, count(1)

    def ask(self, query):
        with self.local.connect() as warehouse:
            return warehouse.execute(query).fetchall()

    def send(self):
        users = send_events(self.sqs, self.queue_url, f"user {len(self.users)}")
        self.users += users
        self.rejected += MESSAGES - len(users)
        return users

    def run(self, *by, limit=MESSAGES):
        """A run whose tasks are of these versions, in turn; what its event says was inserted, None for an empty queue.

        It has as many drains as there are versions for, which share the limit.
        """
        set_up, plan, *drains, merge, check = by
        run_id, configured = f"run {next(self.numbers)}", {"configured": self.queue_url}
        url = set_up("check_setup", configured, run_id=run_id)
        shares = plan("plan_drain", {"queue_url": url}, run_id=run_id, params={"max_messages": limit})
        if not shares:
            return None
        share = shares[0] | {"messages": limit // len(drains)}
        arguments = configured | {"share": share, "queue_url": url}
        drained = [
            drain("drain_and_mask", arguments, run_id=run_id, map_index=number) for number, drain in enumerate(drains)
        ]
        merged = merge.done("merge_user_logins", {}, run_id=run_id)
        assert "raised" not in merged
        check("check_run", {"queue_url": url, "drained": drained}, run_id=run_id)
        return sum(event["inserted"] for event in merged["events"])

    def assert_all_is_there_once(self):
        rows = self.ask("select user_id from public.user_logins")
        assert sorted(user for (user,) in rows) == sorted(self.users)
        assert self.ask("select count(*) from login_etl.rejected_messages") == [(self.rejected,)]
        counts = "select sum(received), sum(staged), sum(inserted), sum(rejected), sum(deleted) from login_etl.history"
        sent, loaded = len(self.users) + self.rejected, len(self.users)
        assert self.ask(counts) == [(sent, loaded, loaded, self.rejected, sent)]
        assert self.ask("select * from login_etl.history where unbalanced_batches is not null") == []
        assert left_on(self.sqs, self.queue_url) == 0

    def ledger(self):
        return self.ask("select version, name, sha256 from login_etl.schema_migrations order by version")


@pytest.fixture
def deployment(empty_warehouse, connected, sqs, queue_url):
    return Deployment(empty_warehouse, sqs, queue_url)


def test_a_run_whose_code_changes_behind_any_task_loses_nothing(deployment, old, new):
    """Forward, and back; the first change finds tables of before, and its next task migrates them."""
    for number in CHANGES:
        for before, after in ((old, new), (new, old)):
            users = deployment.send()
            assert deployment.run(*[before] * number, *[after] * (len(RUN) - number)) == len(users)
    deployment.assert_all_is_there_once()


@pytest.mark.parametrize("old", NEAREST, indirect=True, scope="module")
def test_two_versions_at_once_load_everything_once(deployment, old, new):
    """Runs of old code, one after the other, while those of new code begin, with the migrations."""
    old("check_setup", {"configured": deployment.queue_url}, run_id="the first run")
    before = deployment.ledger()
    deployment.send()

    def some_runs(tasks):
        return [deployment.run(*[tasks] * 5, limit=5) for _ in range(MESSAGES // 2 // 5)]

    with ThreadPoolExecutor(2) as pool:
        inserted = [each.result() for each in [pool.submit(some_runs, tasks) for tasks in (old, new)]]
    assert None not in chain(*inserted)  # each found messages in each of its runs
    assert deployment.ledger()[: len(before)] == before != deployment.ledger()
    deployment.assert_all_is_there_once()
    assert sum(chain(*inserted)) == len(deployment.users)  # each row is in the event of one run


@pytest.mark.parametrize("old", NEAREST, indirect=True, scope="module")
def test_the_code_of_before_works_on_the_tables_of_today(deployment, old, new):
    """What a roll back needs: nothing but the code."""
    for tasks in (new, old, new):
        users = deployment.send()
        assert deployment.run(*[tasks] * len(RUN)) == len(users)
        ledger = deployment.ledger()
        for task, arguments in UPKEEP.items():
            tasks(task, arguments, run_id="upkeep", dag_id="maintain_user_logins")
        assert deployment.ledger() == ledger
    deployment.assert_all_is_there_once()


@pytest.mark.skipif(not EVERYTHING, reason="make soak tries it")
def test_code_from_before_the_vault_lands_without_originals_while_that_is_on(
    local, connected, sqs, queue_url, at_commit, new
):
    """Why nobody may go back so far: docs/upgrading.md."""
    with prepared_warehouse(local.postgres), at_commit(BEFORE_THE_VAULT) as old:
        recipient(local.postgres)
        deployment = Deployment(local, sqs, queue_url)
        for tasks, originals in ((new, 27), (old, 27), (new, 54)):
            users = deployment.send()
            assert deployment.run(*[tasks] * len(RUN)) == len(users)
            assert deployment.ask("select count(*) from privacy.originals") == [(originals,)]
        deployment.assert_all_is_there_once()
