"""Airflow connections become the clients that the logic is given."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, cast

import boto3
import psycopg
from airflow.configuration import conf
from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.config import Config
from botocore.exceptions import NoRegionError, PartialCredentialsError, ProfileNotFound

from include.failures import SetupError
from include.malformed import fault_of_variable
from include.privacy.masking import Keyring, read_keyring
from include.sqs.errors import raising_setup_errors
from include.sqs.lean import make_lean
from include.sqs.plan import MAX_THREADS
from include.sqs.reading import read_in_turn
from include.warehouse.errors import text_of

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

AWS = "aws_sqs"
WAREHOUSE = "warehouse"
MASKING = "pii_masking"
METRICS = "user_logins_metrics"
ALERTS = "user_logins_alerts"

# Reads outlast the long poll; "standard" retries throttling and 5xx with back-off. All tries of a call, about a minute
# at worst, end before SQS shows again what the other threads have received.
# The last two spare each call an eighth of its CPU: checks of parameters that mypy has checked, and a User-Agent that
# botocore would put together twice a call.
BOTOCORE = Config(
    connect_timeout=5,
    read_timeout=10,
    max_pool_connections=2 * MAX_THREADS,  # those that receive, and those that delete
    retries={"mode": "standard", "total_max_attempts": 4},
    parameter_validation=False,
    user_agent=f"Boto3/{boto3.__version__}",
)
# A machine or a network that vanishes without a word is noticed in a minute, by libpq's names; without these a drain
# would wait for its whole time limit. The connection's extra overrides each.
NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
# The last one is PgBouncer's, for `options` in the connection's extra.
REFUSED = (
    *("authentication failed", "does not exist", "no pg_hba.conf entry", "unsupported startup parameter"),
    *("no password supplied", "does not support SSL", "certificate verify failed", "invalid sslmode value"),
)


def sqs_client() -> SQSClient:
    """A client for connection `aws_sqs`, which threads may share; every step of a run uses this one.

    The connection's own `config_kwargs`, such as proxies, count; BOTOCORE is merged over them. A config that a hook is
    given would replace them, and a second hook would look the connection up again.
    """
    _connection(AWS, conn_type="aws")
    logging.getLogger("botocore").setLevel(logging.INFO)  # at DEBUG it logs whole messages
    try:
        with raising_setup_errors(f"connection {AWS}"):
            hook = SqsHook(aws_conn_id=AWS)
            hook.conn_config.botocore_config = hook.config.merge(BOTOCORE)  # STS gets it, too
            client: SQSClient = hook.get_conn()
            make_lean(client)
            read_in_turn(client)
    except ProfileNotFound as error:
        raise SetupError(
            f"connection {AWS}: {error}: correct AWS_PROFILE in the environment, or profile_name in extra"
        ) from None
    except (NoRegionError, PartialCredentialsError) as error:
        raise SetupError(f"connection {AWS}: {error} Check region_name and the other extras") from None
    except ValueError as error:  # of botocore's, for one without a scheme: Invalid endpoint: …
        if "endpoint" not in str(error):
            raise
        raise SetupError(
            f"connection {AWS}: endpoint_url in extra: {error}: begin it with http:// or https://"
        ) from None
    except TypeError as error:
        raise SetupError(f"connection {AWS}: config_kwargs in extra: {error}: correct it") from None
    return client


@contextmanager
def warehouse_connection() -> Iterator[psycopg.Connection]:
    """Open a database connection in autocommit mode, and close it.

    In autocommit mode `with transaction(connection):` is a real transaction, committed at its end,
    whatever ran before. Without server-side prepared statements PgBouncer in transaction mode works.
    A `cursor` in the connection's extra does not count: rows are tuples here. Database errors leave with
    their first line only, or less: the lines below it quote rows. They, and SetupError, leave without the
    frames of whoever was landing raw values, which a traceback may show the variables of.
    """
    there = _connection(WAREHOUSE, conn_type="postgres")
    hook = PostgresHook(WAREHOUSE, connection=_with_defaults(there, NETWORK))
    try:
        connection = cast(psycopg.Connection, hook.get_conn())
    except psycopg.ProgrammingError as error:
        raise SetupError(f"connection {WAREHOUSE}: its extra is refused ({error}): correct it") from None
    except psycopg.OperationalError as error:
        sentence = (
            f"connection {WAREHOUSE}: {' '.join(str(error).split())}; check host, port, schema, login and password"
        )
        # libpq gives no error code for a connection that failed, only this text.
        refused = any(phrase in sentence for phrase in REFUSED)
        raise (SetupError if refused else ConnectionError)(sentence) from None
    try:
        with connection:
            connection.autocommit = True
            connection.prepare_threshold = None
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise SetupError(
            f"connection {WAREHOUSE}: {text_of(error)}: grant its role the rights in sandbox/rights.sql"
        ) from None
    except psycopg.Error as error:
        raise type(error)(text_of(error)) from None
    except SetupError as error:
        raise SetupError(str(error)) from None


def masking_keyring() -> Keyring:
    """The keys in the password of connection `pii_masking`."""
    return read_keyring(_connection(MASKING).password)


def metrics_secret() -> str:
    """What a scrape of metrics has to know: the password of connection `user_logins_metrics`; nothing without it."""
    try:
        return BaseHook.get_connection(METRICS).password or ""
    except AirflowNotFoundException:
        return ""


def alerts_connection() -> Connection | None:
    """The connection that alerts are sent through; None where it is not defined, and none are."""
    try:
        BaseHook.get_connection(ALERTS)
    except AirflowNotFoundException:
        if not fault_of_variable(ALERTS):
            return None
    return _connection(ALERTS)


def _with_defaults(connection: Connection, defaults: Mapping[str, int]) -> Connection:
    """The connection with these in its extra, where it has no others, and without what rows would be read with."""
    extra = {**defaults, **connection.extra_dejson}
    for name in ("cursor", "row_factory"):
        extra.pop(name, None)
    changed = copy(connection)
    changed.extra = json.dumps(extra)
    return changed


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _missing(name: str) -> str:
    """What to do about a connection that is not found; Airflow does not tell whether a secrets backend refused it."""
    places = f"add it under Admin → Connections, or as AIRFLOW_CONN_{name.upper()}"
    if backend := conf.get("secrets", "backend", fallback=""):
        backend = backend.rpartition(".")[2]
        return f" is not defined, or {backend} cannot read it: check prefix, rights and JSON there, or {places}"
    return f" is not defined: {places}"


def _connection(name: str, conn_type: str | None = None) -> Connection:
    """The Airflow connection; the AWS hook would go on without one, with whatever the machine has."""
    try:
        connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        fault = fault_of_variable(name)
        raise SetupError(f"connection {name}{f': {fault}' if fault else _missing(name)}") from None
    if not connection.conn_type and (fault := fault_of_variable(name)):
        raise SetupError(f"connection {name}: {fault}")
    if connection.extra and not _is_object(connection.extra):
        raise SetupError(f"connection {name}: its extra is not a JSON object: correct it")
    if conn_type and connection.conn_type != conn_type:
        raise SetupError(f"connection {name} has type {connection.conn_type}: set it to {conn_type}")
    return connection
