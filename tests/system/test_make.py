"""The commands of the README, as a user types them."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from sandbox import servers
from tests.support.documents import documented

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


@pytest.fixture
def home(tmp_path):
    """A sandbox of this test's own; whatever still runs in it at the end is a failure."""
    yield tmp_path / "sandbox"
    left = processes_of(tmp_path)
    for process in left:
        process.kill()
    assert left == []


def processes_of(home):
    """The processes that were started with this sandbox's home in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(process)
        except psutil.Error:
            continue
    return found


def shell(home, script):
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=PROJECT,
        env=os.environ | {"SANDBOX_HOME": str(home), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_make_run_twice(home):
    for run in (1, 2):
        done = shell(home, documented("README.md", "make run"))
        counts = dict(re.findall(r"^│ ([\w: ]+?) +│ +(\d+) +│$", done.stdout, re.MULTILINE))
        assert counts["received"] == "100"
        assert counts["staged"] == counts["inserted"] == "99"
        assert counts["rejected"] == "1"
        assert counts["left on the queue"] == "0"
        assert counts["user_id: missing"] == str(run)
        assert f"user_logins: {99 * run} rows" in done.stdout
        assert "…" not in re.sub(r"\w…|user_logins: ", "", done.stdout)  # nothing was cut off but the masks
        assert "Running: airflow dags test user_logins" in done.stderr


def test_a_shell_for_plain_airflow_commands(home):
    seed = documented("README.md", "make seed")
    backfill = documented("docs/runbook.md", "airflow backfill create")
    script = [
        documented("README.md", 'eval "$(make -s env)"'),
        f"{seed} EVENTS=20 FORMS=1",
        documented("README.md", "airflow dags test user_logins"),
        documented("README.md", "airflow dags test maintain_user_logins"),
        documented("README.md", "make psql"),
        documented("README.md", "make doctor"),
        "airflow dags reserialize",
        f"{backfill} --dry-run",
        documented("docs/recovery.md", "airflow dags pause"),
        documented("docs/recovery.md", "airflow dags unpause"),
        documented("docs/recovery.md", "airflow dags trigger"),
    ]
    done = shell(home, "\n".join(script))
    assert re.search("batch 1: received 10, staged [0-9]+, rejected [0-9]+, deleted 10", done.stdout)
    assert re.search("body: unknown_envelope +2", done.stdout)
    assert "body: too_large; body: not_an_object" in done.stdout
    assert "2026-01-31 10:55" in done.stdout
    assert re.search(r"masked_device_id +\| users \| logins", done.stdout)
    with servers.start(home).connect("airflow") as metadata:
        runs = "select conf from dag_run where dag_id = 'erase_users'"
        assert metadata.execute(runs).fetchall() == [({"dry_run": False},)]
        unpaused = "select array_agg(dag_id order by dag_id) from dag where not is_paused"
        assert metadata.execute(unpaused).fetchall() == [(["erase_users"],)]
    shell(home, documented("README.md", "make stop"))


def test_the_ui_runs_what_is_triggered_and_ctrl_c_leaves_no_process(home):
    log = home.parent / "ui.log"
    with log.open("w") as output:
        ui = subprocess.Popen(
            documented("README.md", "make ui").split(),
            cwd=PROJECT,
            env=os.environ | {"SANDBOX_HOME": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not (address := re.search(r"Airflow: (http://127\.0\.0\.1:\d+)/dags/user_logins", log.read_text())):
            assert ui.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        assert f"How it goes: {address[1]}/plugin/user-logins" in log.read_text()
        wait_for_success(f"{address[1]}/api/v2/dags/user_logins/dagRuns")
        wait_for_shared_devices(home)
        assert "Triggered maintain_user_logins" in log.read_text()
        said = shell(home, "make seed EVENTS=10").stderr
        assert f"Triggered user_logins: {address[1]}/plugin/user-logins" in said.replace("\n", "")
        listening = {
            connection.laddr.ip
            for process in processes_of(home.parent)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    finally:
        os.killpg(ui.pid, signal.SIGINT)
        ui.wait(60)


def wait_for_success(runs):
    """Wait until a run has loaded the first events, trigger another, and wait until it is over too."""
    deadline = time.monotonic() + 240
    wanted = 1
    while time.monotonic() < deadline:
        try:
            states = [run["state"] for run in ask(runs)["dag_runs"]]
        except OSError:  # the DAG is not parsed yet
            states = []
        assert "failed" not in states
        if states.count("success") >= wanted and wanted == 1:
            ask(
                runs,
                {
                    "logical_date": None,
                    "conf": {"rebuild_from": "2026-01-01T00:00:00Z", "rebuild_to": "2100-01-01T00:00:00Z"},
                },
            )
            wanted = 2
        elif states.count("success") >= wanted:
            return
        time.sleep(1)
    raise AssertionError(states)


def wait_for_shared_devices(home):
    """Wait until the maintenance has counted who shares devices, in a warehouse that was empty."""
    deadline = time.monotonic() + 120
    with servers.start(home).connect() as warehouse:
        while not warehouse.execute("select users from login_etl.shared_devices").fetchall():
            assert time.monotonic() < deadline
            time.sleep(1)


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_make_help_lists_every_target_that_the_readme_names():
    command = documented("README.md", "make help").split()
    targets = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in targets.splitlines()}
    named = set(re.findall(r"(?:^|`|\()make (?:-s )?([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test", "help", "ui", "seed", "env", "stop"} <= named <= listed
    assert {"install", "check"} <= listed
