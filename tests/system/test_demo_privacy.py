"""`make demo-privacy`, as it is told; and afterwards nothing raw is anywhere but on the officer's terminal."""

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from sandbox import servers
from sandbox.demo_privacy import EVENTS, SEED
from sandbox.environment import airflow_environment
from sandbox.events import sample_events
from tests.support.documents import documented
from tests.support.leaks import everywhere, leaks

PROJECT = Path(__file__).parents[2]


def test_it_is_told_to_its_end_and_leaves_nothing(tmp_path):
    make, target = documented("README.md", "make demo-privacy").split()
    command = [make, "--old-file=.venv/installed", target]
    environment = os.environ | {"SANDBOX_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [event for event in map(json.loads, sample_events(EVENTS, SEED)) if "device_id" in event]
    [(device, _)] = Counter(event["device_id"] for event in events).most_common(1)
    five = [event["user_id"] for event in events if event["device_id"] == device]
    eva = five[0]
    shown = re.findall(r"^│ ([0-9a-f-]{36}) │", done.stdout, re.MULTILINE)
    assert Counter(shown) == {user: 1 if user == eva else 3 for user in five}
    assert re.search(r"^│ 100 +│ 98 +│ 2 +│ 93 +│$", done.stdout, re.MULTILINE)
    assert "broken at 8: the entry is not the one that was hashed" in done.stdout

    home = tmp_path / "demo-privacy"
    assert not servers.running(home)
    with servers.servers(home) as local:
        places = everywhere(local, airflow_environment(local, port=1))
        places |= {"the log of the DAGs": (home / "dags-test.log").read_bytes(), "the story": done.stdout.encode()}
        places |= {"the officer's key": (home / "officer.pem").read_bytes()}
        secrets = {event[name] for event in events for name in ("ip", "device_id")}
        hers = {event["ip"] for event in events if event["user_id"] == eva}
        # What the officer's terminal has shown, and no more; and that nowhere else.
        assert sorted(leaks(places, {*secrets, local.masking_key()})) == [
            ("the story", shown) for shown in sorted({device, *hers})
        ]
        assert {place for place, _ in leaks(places, [eva])} == {"the story"}
        assert leaks(places, five[1:2]) != []  # what would be found is found
