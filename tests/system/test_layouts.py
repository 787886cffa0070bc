"""The project in each place where an Airflow may put it, found without any help but what docs/deploy.md says."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.events import sample_events, send
from tests.support.deploying import run
from tests.support.documents import documented_block

PROJECT = Path(__file__).parents[2]
LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
AS_SOMEBODY = "git -c user.name=somebody -c user.email=somebody@example.org"
# Airflow looks for these two words before it executes a file.
CANARY = "# airflow, dag\nfrom pathlib import Path\nPath(__file__).with_suffix('.executed').touch()\n"


@pytest.fixture
def copy(tmp_path):
    """The project's files in a folder of their own, and a canary in each folder that holds no DAGs."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for name in tracked.strip("\0").split("\0"):
        target = tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, target)
    for folder in (
        "benchmarks",
        "deploy",
        "include",
        "include/sqs",
        "sandbox",
        "tests",
        ".venv/lib",
        ".sandbox/airflow",
    ):
        (tmp_path / "project" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / folder / "canary.py").write_text(CANARY)
    return tmp_path / "project"


def on_pythonpath(project):
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "PYTHONPATH": str(project),
    }, []


def as_a_bundle(project):
    """With no PYTHONPATH and no plugins folder: a bundle brings none."""
    bundle = {"name": "project", "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(project)}}
    return {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project.parent / "none"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project.parent / "none"),
    }, ["--bundle-name", "project"]


def in_the_plugins_folder(project):
    """Only what the document's commands pack is uploaded, as to a managed Airflow, which unpacks the plugins."""
    home = project.parent / "managed"
    run(f"git init -q . && git add -A && {AS_SOMEBODY} commit -q -m all", project)
    run(documented_block("docs/deploy.md", "rm -rf build"), project)
    shutil.move(project / "build" / "dags", home / "dags")
    shutil.unpack_archive(project / "build" / "plugins.zip", home / "plugins")
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
    }, []


@pytest.mark.parametrize("place", [on_pythonpath, as_a_bundle, in_the_plugins_folder])
def test_the_project_runs_wherever_airflow_puts_it(place, copy, empty_warehouse, environment, sqs, queue_url):
    settings, options = place(copy)
    send(sqs, queue_url, sample_events(100, 1))
    inherited = {name: value for name, value in (os.environ | environment).items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["airflow", "dags", "test", "user_logins", *options],
        cwd=copy.parent,
        env=inherited | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Failed to import" not in done.stdout
    with empty_warehouse.connect() as warehouse:
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (99,)
    assert list(copy.parent.rglob("*.executed")) == []
