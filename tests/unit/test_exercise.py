"""docs/exercise.md: each answer is short, and says where the code, a test and a figure are."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ANSWERS = re.split(r"^## ", (DOCS / "exercise.md").read_text(), flags=re.MULTILINE)[1:]
LINK = re.compile(r"\]\(([^)]+)\)")
FIGURE = re.compile(r"\*\*([^*]*\d[^*]*)\*\*")


def sentences(text):
    """How many sentences a text has; a point in code, in a link's address or before a small letter ends none."""
    return len(re.findall(r"[.?!](?=\s+[^a-z]|\s*$)", re.sub(r"`[^`]*`|\]\([^)]*\)", "x", text).strip()))


def test_the_ten_questions_are_answered():
    assert len(ANSWERS) == 10


def test_sentences_are_counted():
    assert sentences("One. Two (`a.b`, [c.md](c.md)), at 1.5 s. Three, e.g. this?") == 3


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.splitlines()[0])
def test_each_answer_is_short_and_has_code_a_test_and_a_figure(answer):
    text = answer.split("\n", 1)[1]
    links = LINK.findall(text)
    assert 1 <= sentences(text) <= 3
    assert any(re.match(r"\.\./(dags|plugins|include|deploy|sandbox)\b", link) for link in links)
    assert re.search(r"`test_\w+`", text)
    [figure] = FIGURE.findall(text)
    named = [DOCS / link.split("#")[0] for link in links if re.match(r"\w+\.md", link)]
    sources = [" ".join(path.read_text().split()) for path in named if path.exists()]
    assert any(figure in source for source in sources), f"{figure} is in none of the documents that are linked"
