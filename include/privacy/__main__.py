"""What people do with personal data, outside of Airflow: `python -m include.privacy COMMAND`.

It connects as libpq does, by PGHOST, PGDATABASE, PGUSER, PGSERVICE and ~/.pgpass: with a login of the person's own.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from include.failures import SetupError
from include.privacy import officer
from include.privacy.install import INSTALL, as_owner, install, members, script
from include.privacy.originals import change_settings, retire_recipient
from include.privacy.trail import BrokenTrail, read_anchor, verify
from include.warehouse.errors import text_of

DBA = (
    "it takes a role with createrole, and create on this database; where another database of this server has schema "
    "privacy, the role that made the roles there"
)
OFFICER = "it takes a login in privacy_officer"
CASE = "the number of the case: up to 64 letters, digits, and . _ / - behind the first"


def install_schema(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Install or upgrade schema privacy; for a DBA who may create roles and schemas (--print: print the SQL)."""
    applied = install(connection, login=arguments.login)
    print(f"schema privacy: {', '.join(applied) or 'nothing new'}")
    for role, people in members(connection).items():
        print(f"{role}: {people}")


def retire(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Let nothing more be sealed to a key; for a DBA. What was sealed stays readable with it."""
    with as_owner(connection):
        verdict = retire_recipient(connection, arguments.key_id)
    print(f"key {arguments.key_id}: {verdict}")
    if not verdict.startswith("retired"):
        sys.exit(1)


def settings(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Change how long originals are kept and grants last; for a DBA."""
    if arguments.keep_originals_days is None and arguments.grant_hours is None:
        raise SetupError("nothing to change: give --keep-originals-days, --grant-hours, or both")
    for name, value, most in (
        ("--keep-originals-days", arguments.keep_originals_days, 3650),
        ("--grant-hours", arguments.grant_hours, 720),
    ):
        if value is not None and not 1 <= value <= most:
            raise SetupError(f"{name} is a number from 1 to {most}: nothing is changed")
    with as_owner(connection):
        change_settings(
            connection, keep_originals_days=arguments.keep_originals_days, grant_hours=arguments.grant_hours
        )
    print("changed; maintain_user_logins drops what is older from its next run on")


def verify_trail(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Check that no entry of the trail was changed; for an auditor."""
    head = verify(connection, [read_anchor(text) for text in arguments.anchor])
    print(f"whole: database {connection.info.dbname}, {head.seq} entries, each as it was written")
    if not arguments.anchor:
        print("a trail that was computed anew is whole as well: give an anchor, --anchor NUMBER:HASH")
    print(f"anchor: {head}")


def _number(text: str) -> int:
    """A number that the database can have given."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a request")
    return int(text)


@dataclass(frozen=True, slots=True)
class Command:
    """What a command does, its arguments, and who may run it, for whom it is refused."""

    run: Callable[[argparse.Namespace, psycopg.Connection], None]
    who: str
    arguments: dict[str, dict[str, Any]]


REQUEST: dict[str, dict[str, Any]] = {
    "request": {"type": _number, "metavar": "REQUEST", "help": "the request's number"}
}
OF_CASE: dict[str, dict[str, Any]] = {"--case": {"required": True, "help": CASE}}
COMMANDS = {
    "install": Command(
        install_schema,
        DBA,
        {
            "--login": {"default": "pipeline", "help": "the login of connection warehouse (pipeline)"},
            "--print": {"action": "store_true", "help": "print the SQL of a first installation, and run nothing"},
        },
    ),
    "retire": Command(retire, DBA, {"key_id": {"metavar": "KEY_ID", "help": "the key's id, 8 hex digits"}}),
    "settings": Command(
        settings,
        DBA,
        {
            "--keep-originals-days": {
                "type": int,
                "metavar": "DAYS",
                "help": "days that originals are kept, 1 to 3650",
            },
            "--grant-hours": {"type": int, "metavar": "HOURS", "help": "hours that a grant lasts, 1 to 720"},
        },
    ),
    "register": Command(officer.register, OFFICER, {"file": {"metavar": "FILE", "help": "a key file; - is stdin"}}),
    "requests": Command(officer.list_requests, "it takes a login in privacy_officer or privacy_auditor", {}),
    "reveal": Command(
        officer.reveal_request,
        OFFICER,
        REQUEST | {"--key": {"required": True, "metavar": "FILE", "help": "your key file; - is stdin"}},
    ),
    "revoke": Command(officer.revoke, "it takes a login in privacy_officer or privacy_auditor", REQUEST),
    "access": Command(officer.access, OFFICER, OF_CASE),
    "erase": Command(officer.erase, OFFICER, OF_CASE),
    "verify": Command(
        verify_trail,
        "it takes a login in privacy_auditor",
        {
            "--anchor": {
                "action": "append",
                "default": [],
                "metavar": "SEQ:HASH",
                "help": "an anchor that maintain_user_logins has logged; may be given several times",
            }
        },
    ),
}


def main() -> None:
    """Parse the command line and run one command; what is wrong is one sentence, and the exit code is 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what is asked for, in any locale
    arguments = _parser().parse_args()
    try:
        _run(arguments)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit("stopped")
    except UnicodeError:
        sys.exit("an argument is not in UTF-8")
    except (SetupError, BrokenTrail) as error:
        sys.exit(str(error))
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        sys.exit(f"schema privacy is not installed in this database, or is older than this program: {INSTALL}")
    except psycopg.errors.InsufficientPrivilege as error:
        sys.exit(f"{text_of(error)}: {COMMANDS[arguments.name].who}")
    except psycopg.Error as error:
        sys.exit(text_of(error))


def _run(arguments: argparse.Namespace) -> None:
    if arguments.name == "keygen":
        officer.keygen(arguments)
    elif arguments.name == "install" and arguments.print:
        print(script(login=arguments.login))
    else:
        with _connect() as connection:
            COMMANDS[arguments.name].run(arguments, connection)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.privacy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    keygen = commands.add_parser("keygen", help=officer.keygen.__doc__, description=officer.keygen.__doc__)
    keygen.add_argument("file", metavar="FILE", help="the file to make; none that is there is overwritten")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.run.__doc__, description=command.run.__doc__)
        for argument, options in command.arguments.items():
            sub.add_argument(argument, **options)
    return parser


def _connect() -> psycopg.Connection:
    """A connection that finds functions of Postgres's own only: others may make some in `public`."""
    connection = psycopg.connect(
        autocommit=True, prepare_threshold=None, application_name="include.privacy", client_encoding="UTF8"
    )
    connection.execute("set search_path = pg_catalog, pg_temp")
    return connection


if __name__ == "__main__":
    main()
