"""The layers, as a rule: who may import whom. A fault names the file, the import, and the rule that it breaks."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# The flat modules of include/ that join Airflow to the logic.
ENTRANCE = {"assets", "connections", "params", "pipeline", "retries", "sensor"}
ROOMS = {
    "failures": set(),
    "events": {"failures"},
    "sqs": {"events", "failures"},
    "warehouse": {"failures"},
    "privacy": {"warehouse", "events", "failures"},
    "batches": {"privacy", "warehouse", "sqs", "events", "failures"},
    "page": {"privacy", "warehouse", "events", "failures"},
    "entrance": {"batches", "privacy", "warehouse", "sqs", "events", "failures"},
}
# Beside include/: which rooms of it a folder may import, and which other folders of ours.
FOLDERS = {
    "dags": ({"entrance", "events", "failures"}, set()),
    "plugins": ({"entrance", "page", "failures"}, set()),
    "sandbox": (set(), set()),
    "deploy": (set(), {"sandbox"}),
    "benchmarks": (ROOMS.keys() - {"page"}, {"sandbox"}),
}
OURS = {"include", "tests", *FOLDERS}
KNOW_AIRFLOW = {"dags", "plugins", "benchmarks"}
FILES = [path for folder in ("include", *FOLDERS) for path in sorted((PROJECT / folder).rglob("*.py"))]


def room(module):
    """The room of a module of include/, given by its dotted name; the whole of what stands below it is its own."""
    first = module.split(".")[1]
    return "entrance" if first in ENTRANCE else first


def imports(source):
    """Every module that is imported, with its dotted name; also what only a type checker sees."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "include" else [module]


def faults(path, source):
    """What a file, by its path in the project, imports though it may not."""
    folder, *below = path.with_suffix("").parts
    if folder == "include":
        place = "include" if below == ["__init__"] else room(".".join((folder, *below)))
        if place not in {"include", *ROOMS}:
            yield f"{path} is in no room: {', '.join(sorted(ROOMS))}"
            return
        rooms, others = ROOMS.get(place, set()) | {place}, set()
    else:
        place, (rooms, others) = folder, FOLDERS[folder]
    for module in imports(source):
        top = module.split(".")[0]
        if not top:
            yield f"{path} imports {module}: name the whole module"
        elif top == "airflow" and place not in {"entrance"} | KNOW_AIRFLOW:
            yield f"{path} imports {module}: only the entrance, {', '.join(sorted(ENTRANCE))}, may import airflow"
        elif top == "include" and room(module) not in rooms:
            yield f"{path} imports {module}: {place} may import of include only {', '.join(sorted(rooms)) or 'nothing'}"
        elif top in OURS - {"include", folder} and top not in others:
            yield f"{path} imports {module}: {folder} may not import {top}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_file_imports_only_what_its_room_may(path):
    assert list(faults(path.relative_to(PROJECT), path.read_text())) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("include/events/login.py", "import airflow.sdk"),
        ("include/failures.py", "from include.events import login"),
        ("include/events/login.py", "from include.sqs.calls import Queue"),
        ("include/sqs/calls.py", "from include.warehouse.locks import lock"),
        ("include/sqs/calls.py", "from include.batches import drain"),
        ("include/sqs/calls.py", "from include.privacy.masking import Keyring"),
        ("include/warehouse/check.py", "from include.sqs import calls"),
        ("include/warehouse/check.py", "from include.privacy.masking import Keyring"),
        ("include/warehouse/check.py", "import include.batches.merge"),
        ("include/privacy/masking.py", "from include.batches.staging import stage"),
        ("include/privacy/masking.py", "from include.sqs.calls import Queue"),
        ("include/batches/drain.py", "from include.connections import sqs_client"),
        ("include/batches/drain.py", "from include import pipeline"),
        ("include/batches/drain.py", "def late():\n    from airflow.sdk import task"),
        ("include/batches/drain.py", "from .staging import stage"),
        ("include/batches/drain.py", "from include.page import app"),
        ("include/page/routes.py", "from airflow.sdk import BaseHook"),
        ("include/page/routes.py", "from include.connections import warehouse_connection"),
        ("include/pipeline.py", "from include.page import app"),
        ("include/pipeline.py", "from sandbox.events import sample_events"),
        ("include/pipeline.py", "import benchmarks.bench"),
        ("include/pipeline.py", "from tests.support import queues"),
        ("include/pipeline.py", "from deploy.compose import keys"),
        ("include/helpers.py", ""),
        ("dags/user_logins.py", "from include.warehouse.locks import lock"),
        ("dags/user_logins.py", "from include.page import app"),
        ("dags/user_logins.py", "import sandbox"),
        ("sandbox/events.py", "from include.events.login import parse"),
        ("sandbox/airflow.py", "import airflow"),
        ("deploy/compose/seed.py", "from tests.support import queues"),
        ("benchmarks/bench.py", "from tests.support import queues"),
    ],
)
def test_the_rules_find_what_breaks_one(path, source):
    assert len(list(faults(Path(path), source))) == 1


def test_the_walk_found_the_rooms():
    found = {
        room(".".join(path.relative_to(PROJECT).with_suffix("").parts)) for path in FILES if "include" in path.parts
    }
    assert found >= ROOMS.keys() - {"page"}


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_is_a_table_of_contents(path):
    assert len(path.read_text().splitlines()) < 100
