"""Earlier versions of the code, whose tasks a test calls beside those of today."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.task_process import call_task, read_dags

PROJECT = Path(__file__).parents[2]
PROCESS = Path(__file__).with_name("task_process.py")
# No release is tagged yet. What tells versions apart is their tables, so each of these is the last commit before tables
# changed. Once there are releases, put the tags of the last two here.
VERSIONS = {
    "before 0021": "78d20c5fb478225cafba9cd629c911cf25a897ce",  # no page, no summary of shared masks, no totals
    "before 0019": "c44b70c600be516376a55c72f028f6c79eb7f8af",  # nor erasure, nor schema privacy
}
BEFORE_THE_VAULT = "edb594e9fd752787b46483775226ec4777549ff1"


class Tasks:
    """The tasks of a version of the code; `ask` has a line of JSON answered, as in `task_process`."""

    def __init__(self, ask):
        self._ask = ask

    def done(self, task_id, arguments, *, run_id, dag_id="user_logins", params=None, map_index=0):
        """What became of a call: `returned`, `skipped` or `raised`, and `events`."""
        asked = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id, "params": params or {}, "map_index": map_index}
        return json.loads(self._ask(json.dumps(asked | {"arguments": arguments})))

    def __call__(self, task_id, arguments=None, **context):
        """What a task returned; None where it skipped itself."""
        done = self.done(task_id, arguments or {}, **context)
        assert "raised" not in done, done["raised"]
        return done.get("returned")


def todays_tasks():
    """The tasks of today's code, in this process."""
    dags = read_dags(PROJECT / "dags")
    return Tasks(lambda line: call_task(dags, line))


@contextmanager
def earlier_tasks(commit, folder, environment):
    """The tasks of the code at a commit, unpacked into a folder, in a process of their own, which logs there."""
    code = folder / "code"
    _unpack(commit, code)
    own = {"PYTHONPATH": str(code), "AIRFLOW__CORE__PLUGINS_FOLDER": str(code / "plugins")}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, PROCESS, code / "dags"],
            env=os.environ | environment | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        ) as process,
    ):

        def ask(line):
            print(line, file=process.stdin)
            answer = process.stdout.readline()
            assert answer, (folder / "log").read_text()
            return answer

        try:
            yield Tasks(ask)
        finally:
            process.kill()


def _unpack(commit, folder):
    """The project as it was. A clone without that commit skips the test; a whole one fails it where CI is set."""
    git = shutil.which("git")
    commands = [[git, "archive", commit, "include", "dags", "plugins"], [git, "rev-parse", "--is-shallow-repository"]]
    archive, shallow = (
        subprocess.run(command, cwd=PROJECT, capture_output=True, check=False) if git else None for command in commands
    )
    if archive is None or archive.returncode:
        is_whole = shallow is not None and shallow.stdout.strip() == b"false"
        missing = pytest.fail if "CI" in os.environ and is_whole else pytest.skip
        missing(f"no commit {commit[:7]} in this clone (git fetch --unshallow)")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
