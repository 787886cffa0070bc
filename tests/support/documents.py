"""The commands in README and docs, as they stand there.

A test that runs one takes it from here, by `documented`, so that what is documented is what was run. That each command
is run so, or cannot be, is a test of its own: tests/unit/test_commands.py.
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
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
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


def statements():
    """The SQL of all documents: whole blocks, and what stands in the text; not what is cut short with `…`."""
    return [each for path in DOCUMENTS for each in commands(name_of(path)) if each.is_sql and "…" not in each.text]


def name_of(path):
    return str(path.relative_to(PROJECT))


def commands(document):
    """All commands of a document, in its order: blocks of `sh` and `sql` first, then what stands in the text."""
    text = (PROJECT / document).read_text()
    for language, block in BLOCK.findall(text):
        if language == "sql":
            yield Command(document, block.strip(), is_sql=True)
        elif language == "sh":
            for line in re.sub(r" *\\\n *", " ", block).splitlines():
                if command := COMMENT.sub("", line).strip():
                    yield Command(document, command)
    for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text)):
        words = " ".join(span.split()).removesuffix(" …")
        first, _, rest = words.partition(" ")
        if rest and (first in PROGRAMS or first in STATEMENTS):
            yield Command(document, words, is_sql=first in STATEMENTS)
