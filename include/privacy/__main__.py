"""What people do with personal data, outside of Airflow: `python -m include.privacy COMMAND`.

It connects as libpq does, by PGHOST, PGDATABASE, PGUSER, PGSERVICE and ~/.pgpass: with a login of the person's own.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator

import psycopg

from include.failures import SetupError
from include.privacy.erasures import ask_erasure
from include.privacy.install import INSTALL, install, members, script
from include.privacy.trail import BrokenTrail, read_anchor, verify
from include.warehouse.errors import text_of

ANCHOR_HELP = "an anchor that maintain_user_logins has logged; may be given several times"
WELL = ("queued", "already queued")
CASE = "the number of the case: up to 64 letters, digits, and . _ / - behind the first"
# Who may do it, for whom it is refused. Roles count in every database of a server.
FOR_WHOM = {
    "install": "it takes a role with createrole, and create on this database; where another database of this server "
    "has schema privacy, the role that made the roles there",
    "erase": "it takes a login in privacy_officer",
    "verify": "it takes a login in privacy_auditor",
}


def install_schema(arguments: argparse.Namespace) -> None:
    """Install or upgrade schema privacy; for a DBA who may create roles and schemas."""
    if arguments.print:
        print(script(login=arguments.login))
        return
    with _connect() as connection:
        applied = install(connection, login=arguments.login)
        print(f"schema privacy: {', '.join(applied) or 'nothing new'}")
        for role, people in members(connection).items():
            print(f"{role}: {people}")


def erase(arguments: argparse.Namespace) -> None:
    """Ask for people to be forgotten, whose user ids are read from the terminal or from stdin, one a line."""
    verdicts: Counter[str] = Counter()
    with _connect() as connection:
        for user_id in _user_ids():
            verdicts[ask_erasure(connection, case_number=arguments.case, user_id=user_id)] += 1
    print("; ".join(f"{verdict}: {number}" for verdict, number in verdicts.items()) or "no user id was given")
    if not verdicts or not all(verdict.startswith(WELL) for verdict in verdicts):
        sys.exit(1)
    print("the DAG erase_users forgets them: trigger it, first as the dry run that it is by default")


def verify_trail(arguments: argparse.Namespace) -> None:
    """Check that no entry of the trail was changed; for an auditor."""
    with _connect() as connection:
        head = verify(connection, [read_anchor(text) for text in arguments.anchor])
        where = f"database {connection.info.dbname}"
    print(f"whole: {where}, {head.seq} entries, each as it was written")
    if not arguments.anchor:
        print("a trail that was computed anew is whole as well: give an anchor, --anchor NUMBER:HASH")
    print(f"anchor: {head}")


def _user_ids() -> Iterator[str]:
    """What is typed until an empty line, or the lines of stdin that are not empty. Others can see arguments."""
    try:
        yield from map(_checked, _lines())
    except UnicodeError:
        raise SetupError("a user id is not in UTF-8: nothing of it, or behind it, is asked for") from None


def _checked(user_id: str) -> str:
    user_id.encode()
    return user_id


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        while user_id := input("user id (an empty line ends): ").strip():
            yield user_id
    else:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").split("\n")
        yield from filter(None, map(str.strip, lines))


def _connect() -> psycopg.Connection:
    """A connection that finds functions of Postgres's own only: others may make some in `public`."""
    connection = psycopg.connect(autocommit=True, prepare_threshold=None, application_name="include.privacy")
    connection.execute("set search_path = pg_catalog, pg_temp")
    return connection


def main() -> None:
    """Parse the command line and run one command; what is wrong is one sentence, and the exit code is 1."""
    parser = argparse.ArgumentParser(prog="python -m include.privacy", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in {"install": install_schema, "erase": erase, "verify": verify_trail}.items():
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command, name=name)
        if command is install_schema:
            sub.add_argument("--login", default="pipeline", help="the login of connection warehouse (pipeline)")
            sub.add_argument("--print", action="store_true", help="print the SQL, and run nothing")
        if command is erase:
            sub.add_argument("--case", required=True, help=CASE)
        if command is verify_trail:
            sub.add_argument("--anchor", action="append", default=[], metavar="SEQ:HASH", help=ANCHOR_HELP)
    arguments = parser.parse_args()
    try:
        arguments.command(arguments)
    except (SetupError, BrokenTrail) as error:
        sys.exit(str(error))
    except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction):
        sys.exit(f"schema privacy is not installed in this database: {INSTALL}")
    except psycopg.errors.InsufficientPrivilege as error:
        sys.exit(f"{text_of(error)}: {FOR_WHOM[arguments.name]}")
    except psycopg.Error as error:
        sys.exit(text_of(error))


if __name__ == "__main__":
    main()
