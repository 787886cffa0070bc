"""The layers, as a rule: who may import whom. A fault names the file, the import, and the rule that it breaks."""

from pathlib import Path

import pytest

from tests.support.imports import imports

PROJECT = Path(__file__).parents[2]
# The flat modules of include/ that join Airflow to the logic.
ENTRANCE = {
    "alerts",
    "approval",
    "assets",
    "checks",
    "connections",
    "doctor",
    "erasure",
    "maintenance",
    "malformed",
    "metrics",
    "params",
    "pipeline",
    "retries",
    "rotation",
    "sensor",
}
ROOMS = {
    "failures": set(),
    "release": set(),
    "events": {"failures"},
    "sqs": {"events", "failures"},
    "warehouse": {"failures"},
    "privacy": {"warehouse", "events", "failures"},
    "batches": {"privacy", "warehouse", "sqs", "events", "failures"},
    "page": {"privacy", "warehouse", "events", "failures", "release"},
    "entrance": {"batches", "privacy", "warehouse", "sqs", "events", "failures", "release"},
}
# Beside include/: which rooms of it a folder may import, and which other folders of ours.
FOLDERS = {
    "dags": ({"entrance", "events", "failures"}, set()),
    "plugins": ({"entrance", "page", "failures"}, set()),
    "sandbox": (set(), set()),
    "deploy": (set(), {"sandbox"}),
    "benchmarks": (ROOMS.keys(), {"sandbox"}),
}
OURS = {"include", "tests", *FOLDERS}
KNOW_AIRFLOW = {"dags", "plugins", "benchmarks"}
DAGS = {path.stem for path in (PROJECT / "dags").glob("*.py")}  # Airflow imports them by these names; nobody else does
FILES = [path for folder in ("include", *FOLDERS) for path in sorted((PROJECT / folder).rglob("*.py"))]


def room(module):
    """The room of a module of include/, given by its dotted name; `include` for the package itself."""
    first = module.split(".")[1] if "." in module else "include"
    return "entrance" if first in ENTRANCE else first


def faults(path, source):
    """What a file, by its path in the project, imports though it may not."""
    folder, *below = path.with_suffix("").parts
    if folder == "include":
        place = "include" if below == ["__init__"] else room(".".join((folder, *below)))
        if place not in {"include", *ROOMS} or (place == "entrance" and len(below) > 1):
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
        elif top in (OURS | DAGS) - {"include", folder} and top not in others:
            yield f"{path} imports {module}: {folder} may not import {top}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_file_imports_only_what_its_room_may(path):
    assert list(faults(path.relative_to(PROJECT), path.read_text())) == []


# A file of each room and folder, and a module of each.
PLACES = {name: f"include/{name}/any.py" for name in ROOMS} | {name: f"{name}/any.py" for name in FOLDERS}
PLACES |= {"failures": "include/failures.py", "release": "include/release.py", "entrance": "include/pipeline.py"}
MODULES = {name: f"include.{name}.any" for name in ROOMS} | {name: f"{name}.any" for name in (*FOLDERS, "tests")}
MODULES |= {
    "failures": "include.failures",
    "release": "include.release",
    "entrance": "include.pipeline",
    "airflow": "airflow.sdk",
}
MODULES |= {"a DAG": "user_logins", "the package": "include"}


def allowed(place):
    rooms, others = FOLDERS.get(place) or (ROOMS[place], set())
    return {place, *rooms, *others, *({"airflow"} if place == "entrance" or place in KNOW_AIRFLOW else ())}


@pytest.mark.parametrize(
    ("place", "imported"),
    [(place, imported) for place in PLACES for imported in MODULES if imported not in allowed(place)],
)
def test_an_import_that_breaks_a_rule_is_named(place, imported):
    for source in (f"import {MODULES[imported]}", f"def late():\n    from {MODULES[imported]} import something"):
        [fault] = faults(Path(PLACES[place]), source)
        assert fault.startswith(f"{PLACES[place]} imports {MODULES[imported]}")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("include/batches/drain.py", "from .staging import stage"),
        ("include/batches/drain.py", "from include import pipeline"),
        ("include/sqs/calls.py", "from include import batches, events"),
        ("include/helpers.py", ""),
        ("include/entrance/helpers.py", ""),
        ("include/pipeline/helpers.py", ""),
    ],
)
def test_so_are_other_ways_round_a_rule(path, source):
    assert len(list(faults(Path(path), source))) == 1


def test_the_rules_are_those_of_the_design():
    """Arrows run one way: the entrance → batches → privacy → warehouse; batches → sqs → events → failures."""
    order = ["failures", "release", "events", "sqs", "warehouse", "privacy", "batches", "entrance"]
    assert all(order.index(below) < order.index(name) for name in order for below in ROOMS[name])
    assert not ROOMS["warehouse"] & {"sqs", "privacy", "batches", "events"}
    assert not ROOMS["sqs"] & {"warehouse", "privacy", "batches"}
    assert not ROOMS["privacy"] & {"sqs", "batches"}
    assert ROOMS["events"] == {"failures"}
    assert [name for name in ROOMS if "page" in ROOMS[name]] == []
    # Nothing that runs in production but the plugin; the benchmarks measure the page as they measure all else.
    assert [name for name in FOLDERS if "page" in FOLDERS[name][0]] == ["plugins", "benchmarks"]
    assert [name for name in FOLDERS if FOLDERS[name][1]] == ["deploy", "benchmarks"]
    assert FOLDERS["sandbox"] == (set(), set())
    assert FOLDERS["dags"][0] == {"entrance", "events", "failures"}


def test_the_walk_found_the_rooms():
    found = {
        room(".".join(path.relative_to(PROJECT).with_suffix("").parts)) for path in FILES if "include" in path.parts
    }
    assert found >= ROOMS.keys() - {"page"}


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_is_a_table_of_contents(path):
    assert len(path.read_text().splitlines()) < 100
