"""The chain of the trail, as docs/privacy.md publishes it, and as another program would compute it."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

from include.privacy.trail import BEGINNING, Anchor, BrokenTrail, check_chain, link

DOCS = Path(__file__).parents[2] / "docs" / "privacy.md"
VECTORS = re.findall(r"^\| (\d+) \| `(\{.*\})` \| `([0-9a-f]{64})` \|$", DOCS.read_text(), re.MULTILINE)


def test_published_vectors():
    assert len(VECTORS) == 3
    previous = BEGINNING
    for number, entry, digest in VECTORS:
        assert sha256(previous + number.encode() + b" " + entry.encode()).hexdigest() == digest
        previous = link(previous, int(number), entry)
        assert previous.hex() == digest


def entries():
    return [(int(number), entry, bytes.fromhex(digest)) for number, entry, digest in VECTORS]


def test_the_published_trail_is_whole_and_each_change_of_it_is_found():
    head = Anchor(3, VECTORS[-1][2])
    check_chain(entries(), head, [Anchor(2, VECTORS[1][2]), head])
    check_chain([], Anchor(0, BEGINNING.hex()))
    for index, (number, entry, digest) in enumerate(entries()):
        for changed in ((number + 1, entry, digest), (number, entry + " ", digest), (number, entry, digest[::-1])):
            chain = entries()
            chain[index] = changed
            with pytest.raises(BrokenTrail, match=rf"^broken at {number}: "):
                check_chain(chain, head)
    for chain in (entries()[:2], entries()[1:], entries()[::-1]):
        with pytest.raises(BrokenTrail):
            check_chain(chain, head)
