"""A user's own settings in `.env`, and which of them must not be mixed with what the sandbox throws away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

QUEUE = "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL"
DATABASE = "AIRFLOW_CONN_WAREHOUSE"
KEYS = "AIRFLOW_CONN_PII_MASKING"
AWS = "AIRFLOW_CONN_AWS_SQS"
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")  # of no use to the local queue, and an error where it is gone
CONNECTIONS = (AWS, DATABASE, KEYS)
EXAMPLE = '{"conn_type": "postgres", "host": "db.example.com", "login": "pipeline", "password": "…", "schema": "x"}'

AWS_EXAMPLE = '{"conn_type": "aws", "login": "AKIA…", "password": "…", "extra": {"region_name": "eu-west-1"}}'
# Not made here: this is read in terminals, and in the logs of containers.
KEY_EXAMPLE = '{"conn_type": "generic", "password": "…"}'
MAKE_A_KEY = 'A key: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'


def fault(settings: Mapping[str, str], *, throw_away_host: str | None = None, throw_away_key: str) -> str | None:
    """What must be added to the settings, in a sentence and a line, before anything runs with them; None if nothing.

    `throw_away_host` is the host of a database that is deleted with the rest; `throw_away_key` says where the masking
    key is that would be used without one in the settings.
    """
    for name in CONNECTIONS:
        if malformed := _malformed(settings.get(name, "")):
            return f"{name} in .env is malformed: {malformed}"
    own_database = bool(settings.get(DATABASE)) and _host(settings[DATABASE]) != throw_away_host
    if own_database and not settings.get(KEYS):
        return (
            f".env names a database of your own, {DATABASE}, and no masking key. With the local one, {throw_away_key}, "
            "masks could never be matched again once that is deleted. Make a key, or take the local one if runs have "
            f"used it; keep a copy, and add it in this line:\n{KEYS}='{KEY_EXAMPLE}'\n{MAKE_A_KEY}"
        )
    if settings.get(QUEUE) and not own_database:
        return (
            f".env names a queue of your own, {QUEUE}, and no database: its messages would be moved into the local "
            f"one, and be gone when that is deleted. Add the line of your database:\n{DATABASE}='{EXAMPLE}'"
        )
    if settings.get(QUEUE) and not settings.get(AWS):
        return (
            f".env names a queue of your own, {QUEUE}, and no connection to it: the local SQS server, which may have "
            f"one of that name, would be asked. Add the line of the connection:\n{AWS}='{AWS_EXAMPLE}'"
        )
    return None


def libpq_environment(connection: str) -> dict[str, str]:
    """The variables with which libpq's programs connect as this Airflow connection does, in JSON or as a URI."""
    if connection.lstrip().startswith("{"):
        fields = json.loads(connection)
        extra = fields.get("extra") or {}
        sslmode = (json.loads(extra) if isinstance(extra, str) else extra).get("sslmode")
    else:
        uri = urlsplit(connection)
        fields = {"host": uri.hostname, "port": uri.port, "schema": uri.path.strip("/")}
        fields |= {"login": unquote(uri.username or ""), "password": unquote(uri.password or "")}
        sslmode = dict(parse_qsl(uri.query)).get("sslmode")
    values = {
        "PGHOST": fields.get("host"),
        "PGPORT": fields.get("port"),
        "PGUSER": fields.get("login"),
        "PGPASSWORD": fields.get("password"),
        "PGDATABASE": fields.get("schema"),
        "PGSSLMODE": sslmode,
    }
    return {name: str(value) for name, value in values.items() if value}


def unknown(settings: Mapping[str, str]) -> list[str]:
    """The connections in the settings that nothing here uses, such as a name that was misspelt."""
    return sorted(name for name in settings if name.startswith("AIRFLOW_CONN_") and name not in CONNECTIONS)


def _malformed(connection: str) -> str | None:
    """Where a connection in JSON is none; of one as a URI Airflow says it."""
    if connection.lstrip().startswith("{"):
        try:
            json.loads(connection)
        except json.JSONDecodeError as error:
            return f"it is not JSON ({error.msg} at character {error.pos + 1})"
    return None


def _host(connection: str) -> str | None:
    """The host of an Airflow connection, in JSON or as a URI; None where it has none, or cannot be read."""
    try:
        if connection.lstrip().startswith("{"):
            return str(json.loads(connection)["host"])
        return urlsplit(connection).hostname
    except (ValueError, KeyError):
        return None
