"""The SQL in README and docs, against a warehouse that has all there can be: as a superuser, each one whole."""

import pytest

from sandbox.history import write_history
from tests.support.documents import statements
from tests.support.privacy import login, prepared_warehouse

STATEMENTS = [each for each in statements() if each.text != "drop table"]  # which is said of what we do, not to be done


@pytest.fixture(scope="module")
def filled(local):
    with prepared_warehouse(local.postgres) as warehouse:
        write_history(warehouse, days=1, batches=48, logins=3, logins_a_reject=10, queue="a queue")
    with login(local.postgres, "postgres") as superuser:
        superuser.execute("create role analyst")
        yield superuser
        superuser.execute("drop owned by analyst; drop role analyst; alter role pipeline reset all")


@pytest.mark.parametrize("command", STATEMENTS, ids=lambda each: f"{each.document}: {each.text[:40]}")
def test_each_statement_is_one(command, filled):
    found = filled.execute(command.text)
    if command.text.startswith("select"):
        assert found.description
        found.fetchall()
    else:
        assert found.statusmessage


def test_there_are_some_of_each_kind():
    kinds = {each.text.split()[0] for each in STATEMENTS}
    assert {"select", "alter", "grant", "revoke"} <= kinds
