"""The commands in README and docs, as they stand there.

A test that runs one takes it from here, by `documented` or, with those around it, by `documented_block`, so that what
is documented is what was run. That each command is run so, or cannot be, is a test of its own:
tests/unit/test_commands.py.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# What the changelog names is of its day.
DOCUMENTS = [
    *sorted(path for path in PROJECT.glob("*.md") if path.name != "CHANGELOG.md"),
    *sorted((PROJECT / "docs").glob("*.md")),
]
PROGRAMS = frozenset(
    {
        *("age", "airflow", "astro", "aws", "chcon", "chmod", "curl", "docker", "docker-compose", "eval", "export"),
        *(
            "gcloud",
            "git",
            "helm",
            "kubectl",
            "make",
            "openssl",
            "pg_basebackup",
            "pg_dump",
            "pg_dumpall",
            "pg_restore",
        ),
        *("pip", "prometheus", "promtool", "psql", "python", "python3", "sudo", "systemctl", "terraform", "zip"),
    }
)
STATEMENTS = frozenset(
    {"alter", "create", "delete", "drop", "explain", "grant", "insert", "revoke", "select", "update", "vacuum", "with"}
)
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s+# .*|^# .*")


@dataclass(frozen=True)
class Command:
    """A command of a document: a line for a shell, or one statement of SQL where `is_sql`."""

    document: str
    text: str
    is_sql: bool = False


def documented(document, beginning):
    """The command for a shell in `document`, such as `docs/page.md`, that is this, or else the one that begins so."""
    found = {each.text for each in commands(document) if not each.is_sql and each.text.startswith(beginning)}
    if beginning in found:
        return beginning
    assert len(found) == 1, (document, beginning, found)
    return found.pop()


def documented_block(document, beginning, language="sh"):
    """The one block of this language in `document` that begins so, whole: for what only makes sense together."""
    [found] = [block for block in _blocks(document, language) if block.startswith(beginning)]
    return found


def statements():
    """The SQL of all documents: whole blocks, and what stands in the text; not what is cut short with `…`."""
    return [each for path in DOCUMENTS for each in commands(name_of(path)) if each.is_sql and "…" not in each.text]


def name_of(path):
    return str(path.relative_to(PROJECT))


def commands(document):
    """All commands of a document: those in blocks of `sql`, in blocks of `sh`, and in the text."""
    for block in _blocks(document, "sql"):
        yield Command(document, block.strip(), is_sql=True)
    for block in _blocks(document, "sh"):
        for line in lines(block):
            yield Command(document, line)
    for span in re.findall(r"`([^`]+)`", BLOCK.sub("", (PROJECT / document).read_text())):
        words = " ".join(span.split()).removesuffix(" …")
        first, _, rest = words.partition(" ")
        if rest and (first in PROGRAMS or first in STATEMENTS):
            yield Command(document, words, is_sql=first in STATEMENTS)


def lines(block):
    """The commands of a block for a shell, each in one line and without its comment."""
    joined = re.sub(r" *\\\n *", " ", block)
    return [command for line in joined.splitlines() if (command := COMMENT.sub("", line).strip())]


def _blocks(document, language):
    for indent, found, block in BLOCK.findall((PROJECT / document).read_text()):
        if found == language:
            yield "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
