"""What people do in their first hour, and what they are told."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sandbox import airflow, servers

PROJECT = Path(__file__).parents[2]
OWN_DATABASE = """AIRFLOW_CONN_WAREHOUSE='{"conn_type": "postgres", "host": "db.example.com", "schema": "x"}'\n"""
OWN_QUEUE = "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/1/mine\n"
OWN_AWS = """AIRFLOW_CONN_AWS_SQS='{"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}'\n"""
OWN_KEY = """AIRFLOW_CONN_PII_MASKING='{"conn_type": "generic", "password": "…"}'\n"""
# It must not take our .venv for an old one, and clear it.
MAKE = ("make", "--old-file=.venv/installed")
NOBODY = 65534
# Somebody who may read what is root's, since that is where Python may be, and write nothing of it. make would ask with
# access(), which knows no such right.
READS_ALL = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
SETPRIV = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *READS_ALL)
AS_NOBODY = (*SETPRIV, ".venv/bin/python", "-m", "sandbox")


@pytest.fixture
def project(tmp_path):
    """A copy of the project with a sandbox of its own, stopped at the end."""
    copy_project(tmp_path / "project")
    yield tmp_path / "project"
    make(tmp_path / "project", "stop")


def copy_project(folder):
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for name in tracked.strip("\0").split("\0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    (folder / ".venv").symlink_to(PROJECT / ".venv")


def make(project, *arguments, command=MAKE, **environment):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | environment
    return subprocess.run(
        [*command, *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def start(project, *arguments):
    """A command in a terminal of its own, as a shell starts it."""
    master, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    process = subprocess.Popen(
        [*MAKE, *arguments],
        cwd=project,
        env=environment | {"COLUMNS": "200"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    return process, master


def read_until(terminal, pattern, seconds=120):
    """What the terminal shows until it shows that."""
    os.set_blocking(terminal, False)
    shown, deadline = "", time.monotonic() + seconds
    while not re.search(pattern, shown):
        assert time.monotonic() < deadline, shown
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # its last process has ended
            assert re.search(pattern, shown), shown
    return shown


def states(project):
    """The states of the runs in the sandbox's Airflow."""
    with servers.servers(project / ".sandbox") as local, local.connect("airflow") as metadata:
        return [state for (state,) in metadata.execute("select state from dag_run order by id").fetchall()]


def wait_until_a_task_runs(project):
    log, deadline = project / ".sandbox" / "airflow" / "dags-test.log", time.monotonic() + 120
    while not log.exists() or "check_setup" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    log.unlink()


@contextmanager
def dags_test(project):
    """What looks like an `airflow dags test` of the project's, which ends in a second."""
    environment = {"AIRFLOW_HOME": str(project / ".sandbox" / "airflow")}
    command = [sys.executable, "-c", "import time; time.sleep(1)", "dags test"]
    with subprocess.Popen(command, env=os.environ | environment):
        yield environment


def test_a_run_that_is_interrupted_or_killed_blocks_no_other(project):
    process, terminal = start(project, "run", "EVENTS=10")
    read_until(terminal, "Sending")
    read_until(terminal, "Running")
    wait_until_a_task_runs(project)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal's Ctrl-C sends
    read_until(terminal, "Stopped")
    process.wait(60)
    assert states(project) == ["failed"]

    process, terminal = start(project, "run", "EVENTS=10")
    read_until(terminal, "Running")
    wait_until_a_task_runs(project)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    done = make(project, "-s", "env")
    assert done.returncode == 0, done.stderr
    assert "1 test run of before, never ended, marked as failed" in done.stderr
    assert states(project) == ["failed", "failed"]

    with servers.servers(project / ".sandbox") as local, dags_test(project) as environment:
        with local.connect("airflow") as metadata:
            metadata.execute("update dag_run set state = 'running'")
        assert airflow.fail_left_test_runs(local, environment) == 2
    assert states(project) == ["failed", "failed"]


def family(process):
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def test_a_second_ui_says_where_the_first_one_is_and_stop_ends_what_a_killed_one_has_left(project):
    process, terminal = start(project, "ui", "EVENTS=0")
    address = re.search(r"Airflow: .*?(http://127.0.0.1:\d+)/dags", read_until(terminal, r"Airflow: .*/dags"))[1]
    again = make(project, "ui")
    assert again.returncode != 0
    assert f"Airflow is already running at {address}/dags/user_logins; make stop ends it" in again.stderr

    started = family(process)
    os.killpg(process.pid, signal.SIGKILL)  # its components have sessions of their own, and stay
    process.wait(60)
    assert any(each.is_running() and each.status() != "zombie" for each in started)
    assert (project / ".sandbox" / "airflow" / "components.json").exists()
    assert make(project, "stop").returncode == 0
    _, alive = psutil.wait_procs([each for each in started if each.is_running()], timeout=10)
    assert alive == []


@pytest.fixture
def of_somebody_else():
    """A copy of the project that belongs to another user of the machine, with a home of hers."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    copy_project(folder / "project")
    subprocess.run(["chown", "--recursive", "--no-dereference", f"{NOBODY}:{NOBODY}", folder], check=True)
    yield folder / "project"
    make(folder / "project", "stop", command=AS_NOBODY, HOME=str(folder))
    shutil.rmtree(folder)


def may_be_somebody_else():
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return False
    return subprocess.run([*SETPRIV, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_be_somebody_else(), reason="needs root, setpriv and the capability dac_read_search")
def test_a_second_user_of_the_machine_runs_it_beside_the_first(project, of_somebody_else):
    assert make(project, "-s", "env").returncode == 0
    done = make(of_somebody_else, "env", command=AS_NOBODY, HOME=str(of_somebody_else.parent))
    assert done.returncode == 0, done.stderr
    assert f"host={of_somebody_else}" in done.stdout


@pytest.mark.parametrize(
    ("command", "settings", "line"),
    [
        ("ui", OWN_DATABASE, "AIRFLOW_CONN_PII_MASKING="),
        ("env", OWN_QUEUE + OWN_KEY, "AIRFLOW_CONN_WAREHOUSE="),
        ("doctor", OWN_QUEUE + OWN_DATABASE + OWN_KEY, "AIRFLOW_CONN_AWS_SQS="),
    ],
)
def test_half_of_ones_own_settings_are_refused_with_the_line_to_add(project, command, settings, line):
    (project / ".env").write_text(settings)
    refused = make(project, "-s", command)
    assert refused.returncode != 0
    assert "names a" in refused.stderr
    assert re.findall(rf"^{line}'\{{.*\}}'$", refused.stderr, re.MULTILINE)
    assert not (project / ".sandbox").exists()


@pytest.mark.parametrize("command", ["doctor", "psql"])
def test_a_connection_in_env_that_is_no_json_is_called_that(project, command):
    (project / ".env").write_text(OWN_DATABASE.replace(", ", " ", 1) + OWN_KEY)
    refused = make(project, "-s", command, "SQL=select 1")
    assert refused.returncode != 0
    assert "AIRFLOW_CONN_WAREHOUSE in .env is malformed: it is not JSON (Expecting ',' delimiter at" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_env_has_too_much_or_too_little_of_is_said(project):
    (project / ".env").write_text(OWN_DATABASE + OWN_KEY + "AIRFLOW_CONN_WAREHOUS=x\n")
    said = make(project, "-s", "doctor", COLUMNS="200").stderr
    assert "Nothing here uses AIRFLOW_CONN_WAREHOUS: is the name right?" in said
    assert "events of the local one are loaded into the database of .env" in said


def test_sql_is_asked_as_it_is_written(project):
    done = make(project, "-s", "psql", "SQL=select '$5' as five, $$two$$ as two")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\$5 +\| two", done.stdout)


def test_sample_events_never_go_to_ones_own_queue(project):
    (project / ".env").write_text(OWN_QUEUE + OWN_DATABASE + OWN_KEY + OWN_AWS)
    refused = make(project, "seed")
    assert refused.returncode != 0
    assert (
        "Nothing is sent: .env names a queue of your own, https://sqs.eu-west-1.amazonaws.com/1/mine" in refused.stderr
    )


def test_the_local_servers_meet_nothing_of_the_machines_and_their_key_is_not_deleted_without_a_word(project, tmp_path):
    """A profile that is gone; a temporary folder whose lock file cannot be opened: not even root opens a folder."""
    (tmp_path / "tmp" / ".lockfile").mkdir(parents=True)
    hostile = {"AWS_PROFILE": "of-last-year", "TMPDIR": str(tmp_path / "tmp"), "XDG_RUNTIME_DIR": ""}
    done = make(project, "-s", "env", **hostile)
    assert done.returncode == 0, done.stderr
    assert "unset AWS_PROFILE" in done.stdout.splitlines()
    done = make(project, "doctor", **hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A run would find all it needs." in done.stdout
    assert "✗" not in done.stdout

    key = project / ".sandbox" / "secrets" / "masking_key"
    assert key.exists()
    (project / ".env").write_text(OWN_DATABASE)
    refused = make(project, "clean")
    assert refused.returncode != 0
    assert "The masking key may be in use" in refused.stderr
    assert "Nothing is deleted" in refused.stderr
    assert key.exists()

    process, terminal = start(project, "clean")
    read_until(terminal, "to delete it")
    os.write(terminal, b"delete\n")
    process.wait(60)
    assert not (project / ".sandbox").exists()


def test_clean_says_what_it_deletes(project):
    (project / ".sandbox" / "secrets").mkdir(parents=True)
    done = make(project, "clean")
    assert done.returncode == 0, done.stderr
    assert "runsandlogs,andthemaskingkey" in "".join(done.stderr.split())  # wherever a long path lets lines end
    assert not (project / ".sandbox").exists()


def test_the_doctor_looks_at_what_env_names(project):
    (project / ".env").write_text(OWN_QUEUE + OWN_DATABASE + OWN_KEY + OWN_AWS)
    done = make(project, "doctor", COLUMNS="200")
    assert done.returncode != 0
    assert re.search("✗.*connection pii_masking: key 1 is not base64url", done.stdout)
    assert re.search("✗.*db.example.com", done.stdout)
    assert "Using .env for" in done.stderr


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("with a space", "takes no path with a space: move the project from"),
        ("without_index", "No package index can be reached: pip needs a network"),
    ],
)
def test_what_keeps_the_installation_from_working_is_said(tmp_path, folder, sentence):
    (tmp_path / folder).mkdir()
    for name in ("Makefile", "requirements-dev.lock"):
        shutil.copy(PROJECT / name, tmp_path / folder / name)
    nowhere = {"PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/simple"}
    done = subprocess.run(
        ["make", "install"],
        cwd=tmp_path / folder,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert sentence in done.stdout
    assert not (tmp_path / folder / ".venv" / "installed").exists()
