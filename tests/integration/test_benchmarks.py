"""`make bench`, at tiny sizes: every figure is there. How fast it is says the page, on a quiet machine."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

PROJECT = Path(__file__).parents[2]
FIGURES = {
    **{
        f"queue → user_logins against a bare loop, {case}": f"≥ {goal} ×"
        for case, goal in {
            "0 ms, 1 thread": 1.5,
            "0 ms, 4 threads": 1.5,
            "0 ms, 16 threads": 2,
            "0 ms, 32 threads": 1.5,
            "15 ms, 1 thread": 0.85,
            "15 ms, 4 threads": 0.85,
            "15 ms, 16 threads": 1,
            "15 ms, 32 threads": 1.5,
        }.items()
    },
    "CPU per message, the SQS client's included, 0 ms, 16 threads": "≤ 95 µs",
    "the same against a drain by boto3": "≤ 0.6 ×",
    "the same against threads on any core": "≤ 0.75 ×",
    "the same against a drain by boto3, threads on any core": "≤ 0.5 ×",
    "queue → user_logins against a sequential loop, 15 ms": "≥ 15 ×",
    "two mapped workers against one, 15 ms": "≥ 1.2 ×",
    "two mapped workers against two by boto3, 15 ms": "≥ 1.4 ×",
    "CPU per message outside the SQS client": "≤ 12 µs",
    "API calls per 1 000 messages": "≤ 205 calls",
    "peak memory, draining 1 000 000 messages against 10 000": "≤ 1.1 ×",
    **{
        f"peak memory, small messages, then some of 1 MiB of {name}": "≤ 400 MiB"
        for name in ("one-byte characters", "four-byte characters", "one-byte characters and an emoji")
    },
    "landing by COPY against insert_rows, 10 000 rows": "≥ 5 ×",
    "merging 10 000 rows into 10 million against an empty table": "≤ 1.3 ×",
    "the same into 24 monthly partitions against one": "≤ 1.2 ×",
    "rotating user_logins against a bare update": "≥ 0.5 ×",
    "erasing a person among 1 million rows against bare updates": "≥ 0.25 ×",
    "searching rejected bodies against opening them": "≥ 0.5 ×",
    "landing a login with its originals beyond landing it": "≤ 10 µs",
    "the same with no public key registered": "≤ 1.02 ×",
    "revealing the originals of 100 masks": "≤ 1 s",
    "staging 1 000 logins with the fence against without": "≤ 1.02 ×",
    "an empty run, CPU beyond Airflow's": "≤ 0.3 s",
    **{f"parsing {path.name} against an empty DAG file": "≤ 1.3 ×" for path in sorted((PROJECT / "dags").glob("*.py"))},
    "the page's queries, 24 hours of 100 000 batches": "≤ 100 ms",
    "the page's size": "≤ 100 kB",
    "looking up a message among 1 million": "≤ 20 ms",
    "a scrape of the metrics of 100 000 batches": "≤ 50 ms",
    "the same before any of them are in totals": "≤ 50 ms",
    "a task's start with the plugin beyond one without": "≤ 20 ms",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder that a quick run has written into."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--into", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, env={**os.environ, "COLUMNS": "200"}, stdout=subprocess.DEVNULL)
    return folder


def test_the_page_has_every_figure_with_its_goal(written):
    page = (written / "performance.md").read_text()
    summary = page[page.index("| what |") : page.index("## ")].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary[2:] if line.startswith("|")]
    assert {row[0]: row[4] for row in rows} == FIGURES
    for _, floor, ours, result, goal, reached in rows:
        assert all(re.match(r"-?[\d.,]+ ", cell) for cell in (floor, ours, result) if cell)
        assert result.split()[-1] == goal.split()[-1]
        assert reached in ("yes", "**no**")


def test_the_page_says_that_a_quick_run_measures_nothing(written):
    assert "quick run" in (written / "performance.md").read_text()


def test_the_charts_that_the_page_shows_are_drawings(written):
    charts = re.findall(r"!\[.*\]\((.*)\)", (written / "performance.md").read_text())
    assert len(charts) == 2
    for chart in charts:
        drawing = ET.parse(written / chart)
        assert len(drawing.findall(".//{*}circle")) >= 4


def test_make_bench_is_the_same_at_full_size():
    command = subprocess.run(["make", "-n", "bench"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    assert ".venv/bin/python -m benchmarks" in command.splitlines()
