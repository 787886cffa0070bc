"""What of a user's own settings does not go without another."""

import io
import json
import re
import subprocess

import pytest
from dotenv import dotenv_values

from include.privacy.masking import read_keyring
from sandbox.own import AWS, DATABASE, KEYS, QUEUE, fault, libpq_environment

FIELDS = {"conn_type": "postgres", "host": "h", "port": 5433, "login": "u", "password": "p@/", "schema": "d"}


def asked(settings, **options):
    return fault(settings, **{"throw_away_key": "in x"} | options)


def test_following_each_sentence_leads_to_what_runs():
    settings, lines = {QUEUE: "https://sqs.eu-west-1.amazonaws.com/1/mine"}, []
    while sentence := asked(settings):
        [line] = re.findall(r"^(\w+='.*')$", sentence, re.MULTILINE)
        lines.append(line.split("=")[0])
        settings |= dotenv_values(stream=io.StringIO(line))
    assert lines == [DATABASE, KEYS, AWS]


def test_no_key_is_shown_but_how_to_make_one():
    """The sentence is read in terminals, and in the logs of containers."""
    sentence = asked({DATABASE: '{"host": "x"}'})
    [command] = re.findall(r"^A key: (python3 .*)$", sentence, re.MULTILINE)
    made = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout.strip()
    assert read_keyring(made).kid
    assert not re.search(r"[\w-]{40}", sentence)


@pytest.mark.parametrize(
    "settings", [{}, {KEYS: "k"}, {DATABASE: '{"host": "x"}', KEYS: "k"}, {DATABASE: "", QUEUE: ""}]
)
def test_nothing_is_asked_of_who_has_no_queue_or_database_or_all(settings):
    assert asked(settings) is None


@pytest.mark.parametrize(
    "connection", ['{"host": "warehouse", "password": "p"}', "postgres://p:p@warehouse:5432/warehouse"]
)
def test_a_database_that_is_thrown_away_is_none_of_ones_own(connection):
    settings = {DATABASE: connection}
    assert asked(settings, throw_away_host="warehouse") is None
    assert DATABASE in asked(settings | {QUEUE: "https://x"}, throw_away_host="warehouse")
    assert KEYS in asked(settings)


@pytest.mark.parametrize("name", [AWS, DATABASE, KEYS])
def test_a_connection_that_is_no_json_is_named(name):
    assert asked({name: '{"password": "secret" 1}'}) == (
        f"{name} in .env is malformed: it is not JSON (Expecting ',' delimiter at character 23)"
    )


@pytest.mark.parametrize("connection", ["[1]", "postgres://[x", '{"port": 5}'])
def test_what_cannot_be_read_counts_as_ones_own(connection):
    assert KEYS in asked({DATABASE: connection}, throw_away_host="warehouse")


@pytest.mark.parametrize(
    "connection",
    [
        json.dumps(FIELDS | {"extra": {"sslmode": "require"}}),
        json.dumps(FIELDS | {"extra": '{"sslmode": "require"}'}),
        "postgres://u:p%40%2F@h:5433/d?sslmode=require",
    ],
)
def test_psql_connects_as_the_connection_does(connection):
    assert libpq_environment(connection) == {
        "PGHOST": "h",
        "PGPORT": "5433",
        "PGUSER": "u",
        "PGPASSWORD": "p@/",
        "PGDATABASE": "d",
        "PGSSLMODE": "require",
    }
    assert libpq_environment('{"host": "h"}') == {"PGHOST": "h"}
