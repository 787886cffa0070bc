"""docs/production.md: its sizes follow from what scaling.md says was measured, and its names are those there are."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PRODUCTION = (DOCS / "production.md").read_text()
PERFORMANCE = (DOCS / "performance.md").read_text()
RUNS_A_DAY = 24 * 60 // 5


def measured(pattern):
    """A number in scaling.md."""
    [number] = re.findall(pattern, (DOCS / "scaling.md").read_text())
    return int(number.replace(" ", ""))


def test_the_sizes_are_computed_from_what_was_measured():
    row, staged = measured(r"(\d+) B a row of `user_logins`"), measured(r"(\d+) B a row of `staging_logins`")
    wal, speed = 1000 * measured(r"(\d+) kB of WAL"), measured(r"\| ([\d ]+) messages/s at a round trip")
    sizes = r"([\d.]+) GB \| ([\d.]+) GB \| ([\d.]+) GB"
    rows = re.findall(rf"^\| (\d+) million \| ([\d ]+\d)[^|]* \| (\d+) \| {sizes} \|$", PRODUCTION, re.MULTILINE)
    assert len(rows) == 3
    for millions, allowed, slots, *gigabytes in rows:
        messages, most = int(millions) * 10**6, int(allowed.replace(" ", ""))
        assert most >= 2 * messages / RUNS_A_DAY
        assert int(slots) * speed * 180 >= most
        exact = (messages * row, 30 * messages * staged, messages * wal)
        assert [float(size) for size in gigabytes] == [float(f"{size / 1e9:.2g}") for size in exact]


def test_the_speed_of_a_drain_is_the_one_that_was_measured_last():
    """As `make bench` has written it, of one worker; rounded down."""
    found = re.findall(r"^\| two mapped workers against one, 15 ms \| ([\d,]+) msg/s \|", PERFORMANCE, re.MULTILINE)
    [benched] = [int(each.replace(",", "")) for each in found]
    assert 0.95 * benched <= measured(r"\| ([\d ]+) messages/s at a round trip") <= benched


def test_the_names_are_those_of_the_other_manuals():
    others = "".join((DOCS / name).read_text() for name in ("monitoring.md", "configuration.md", "runbook.md"))
    names = set(re.findall(r"`(user_logins_\w+|UserLogins\w+|max_\w+)`", PRODUCTION))
    assert len(names) >= 8
    assert {name for name in names if name not in others} == set()
