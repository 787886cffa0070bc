"""docs/comparison.md: what it says of others has a source that does not change under it, or is called a judgement."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")][1:]


def test_when_not_to_use_it_comes_first():
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE)[0] == "When not to use this project"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("*"))
def test_each_claim_has_a_source_or_is_called_a_judgement(row):
    assert len(row) == 6
    assert [cell for cell in row[1:] if "](" not in cell and "*judgement*" not in cell] == []


def test_source_files_are_linked_at_a_commit():
    files = re.findall(r"\]\((https://github\.com/[^/)]+/[^/)]+/[^)]+)\)", TEXT)
    assert len(files) >= 8
    assert [link for link in files if not re.search(r"/blob/[0-9a-f]{40}/", link)] == []
