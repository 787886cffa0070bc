"""Search for raw values in every place where they must not be."""

import base64
from contextlib import suppress
from pathlib import Path


def everywhere(local, environment):
    """Place → content: both databases, Airflow's home with all its logs, the database server's log."""
    with local.connect() as warehouse, local.connect("airflow") as metadata:
        places = {"the warehouse": _dump(warehouse), "the metadata database": _dump(metadata)}
    for path in Path(environment["AIRFLOW_HOME"]).rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
    return places | {"Postgres's log": (local.home / "postgres" / "log").read_bytes()}


def leaks(places, secrets):
    """Each place and secret where a secret stands, plain or as bytea columns, hex or base64 would show it."""
    return [
        (place, secret)
        for place, content in places.items()
        for secret in secrets
        if any(spelling in content for spelling in _spellings(secret))
    ]


def _spellings(secret):
    raw = secret.encode()
    shifted = [base64.b64encode(b"x" * shift + raw)[4 * bool(shift) : -4] for shift in range(3)]
    return [raw, raw.hex().encode(), *shifted]


def _dump(connection):
    """All rows of all tables, as bytes."""
    tables = connection.execute(
        "select format('%I.%I', table_schema, table_name) from information_schema.tables "
        "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
    ).fetchall()
    assert len(tables) > 5
    content = b""
    for (table,) in tables:
        with connection.cursor().copy(f"copy (select * from {table}) to stdout".encode()) as copy:
            content += b"".join(copy)
    return content


def in_memory(process, secrets):
    """Those of the secrets that stand in what a process may write to of its memory; ours, or one that we started."""
    found = set()
    maps, memory = (Path("/proc", str(process.pid), name) for name in ("maps", "mem"))
    with memory.open("rb", buffering=0) as content:
        for line in maps.read_text().splitlines():
            where, rights, *_ = line.split()
            start, end = (int(each, 16) for each in where.split("-"))
            if rights.startswith("rw") and not line.endswith(("[vvar]", "[vsyscall]")):
                content.seek(start)
                with suppress(OSError):  # given back meanwhile
                    region = content.read(end - start)
                    found |= {secret for secret in secrets if secret.encode() in region}
    return found
