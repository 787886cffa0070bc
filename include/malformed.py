"""What is wrong with a connection in an environment variable that Airflow could not read.

Airflow takes such a connection for one that is not defined, and says why at log level DEBUG only. Nothing of it is
shown here but the names of its fields.
"""

import json
import os
from typing import Any

from airflow.sdk import Connection
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

# What people write for Airflow's names.
MEANT = {
    **dict.fromkeys(("database", "dbname", "db"), "schema"),
    **dict.fromkeys(("user", "username"), "login"),
    **dict.fromkeys(("type", "connection_type"), "conn_type"),
    **dict.fromkeys(("hostname", "server"), "host"),
    **dict.fromkeys(("sslmode", "region_name", "endpoint_url", "role_arn", "config_kwargs", "extras"), "extra"),
}


@dataclass(config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Fields:
    """The fields of a connection in JSON."""

    conn_type: str | None = None
    description: str | None = None
    login: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    extra: Any = None


def fault_of_variable(name: str) -> str | None:
    """What keeps Airflow from reading the variable of a connection; None where there is no variable, or no fault."""
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    fault = _fault_of_json(text) if text.startswith("{") else _fault_of_uri(text)
    return fault and f"{variable} is malformed: {fault}"


def _fault_of_json(text: str) -> str | None:
    try:
        fields = json.loads(text)
        TypeAdapter(Fields).validate_python(fields)
    except json.JSONDecodeError as error:
        return f"it is not JSON ({error.msg} at character {error.pos + 1})"
    except ValidationError as error:
        return "; ".join(_in_words(str(fault["loc"][0]), fault["type"]) for fault in error.errors(include_input=False))
    return None


def _in_words(field: str, rule: str) -> str:
    if rule == "unexpected_keyword_argument":
        return f"there is no field {field}" + (f", use {MEANT[field]}" if field in MEANT else "")
    return f"{field} is not {'a number' if rule.startswith('int') else 'text'}"


def _fault_of_uri(text: str) -> str | None:
    if text[0] in "'\"":
        return "it begins with a quotation mark: remove those around it"
    if "://" not in text:
        return "it is neither JSON nor a URI"
    try:
        Connection.from_uri(text, conn_id="malformed")
    except Exception:  # noqa: BLE001 - it may quote the password
        return "it is not a URI: check its port, and percent-encode special characters in login and password"
    return None
