"""The locks hold what the requirements ask for, with hashes, and name no host."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def locked(name):
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (PROJECT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_holds_what_is_asked_for(name):
    asked = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)", (PROJECT / f"{name}.txt").read_text(), re.MULTILINE)
    assert len(asked) >= 4
    assert dict(asked).items() <= locked(f"{name}.lock").items()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_no_host(name):
    text = (PROJECT / name).read_text()
    assert "://" not in text
    assert len(re.findall(r"^\S+==.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(
        re.findall(r"^\S+==", text, re.MULTILINE)
    )


def test_both_locks_agree():
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
