"""What a run did, as tables."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox.servers import Servers

RUN = """
select coalesce(received, 0), coalesce(staged, 0), coalesce(rejected, 0), coalesce(inserted, 0),
    coalesce(already_there, 0), coalesce(deleted, 0), coalesce(delete_failed + expired, 0)
from (
    select sum(received), sum(staged), sum(rejected), sum(inserted), sum(already_there), sum(deleted),
        sum(delete_failed), sum(expired)
    from login_etl.batches
    where batch_id > %s
) as sums (received, staged, rejected, inserted, already_there, deleted, delete_failed, expired)
"""
REJECTED = "select reason, count(*) from login_etl.rejected_messages group by reason order by count(*) desc, reason"
ROWS = """
select left(user_id, 4) || '…', device_type, left(masked_ip, 10) || '…', left(masked_device_id, 10) || '…',
    locale, app_version::text, create_date
from public.user_logins order by batch_id desc, message_id limit 5
"""
SHARED = """
select left({column}, 17) || '…', count(distinct user_id) as users, count(*) as logins
from public.user_logins where {column} is not null
group by {column} having count(distinct user_id) > 1 order by users desc, {column} limit 5
"""


def last_batch(servers: Servers) -> int:
    """The newest batch there is, 0 where there is none."""
    with servers.connect() as warehouse:
        if warehouse.execute(
            "select 1 from pg_tables where schemaname = 'login_etl' and tablename = 'batches'"
        ).fetchone():
            [(newest,)] = warehouse.execute("select coalesce(max(batch_id), 0) from login_etl.batches").fetchall()
            return int(newest)
    return 0


def show(servers: Servers, console: Console, *, since: int) -> None:
    """Print the counts of the batches after `since`, some rows, and who shares devices and addresses."""
    sqs = servers.client()
    left = sqs.get_queue_attributes(QueueUrl=servers.queue_url, AttributeNames=["All"])["Attributes"]
    with servers.connect() as warehouse:
        [counts] = warehouse.execute(RUN, [since]).fetchall()
        labels = ("received", "staged", "rejected", "inserted", "already there", "deleted", "not deleted")
        on_queue = int(left["ApproximateNumberOfMessages"]) + int(left["ApproximateNumberOfMessagesNotVisible"])
        _print(
            console, "The run", ("messages", ""), [*zip(labels, counts, strict=True), ("left on the queue", on_queue)]
        )
        _print(console, "Rejected so far, and why", ("reason", "messages"), warehouse.execute(REJECTED))
        [(total,)] = warehouse.execute("select count(*) from public.user_logins").fetchall()
        headers = ("user", "type", "ip mask", "device mask", "locale", "version", "date")
        _print(console, f"user_logins: {total:,} rows, for example", headers, warehouse.execute(ROWS))
        for column, title in (("masked_device_id", "Devices"), ("masked_ip", "Addresses")):
            rows = warehouse.execute(SHARED.format(column=column).encode())
            _print(console, f"{title} shared by the most users", (column, "users", "logins"), rows)


def _print(console: Console, title: str, headers: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    lines = [list(row) for row in rows]
    for header, value in zip(headers, lines[0] if lines else [None] * 9, strict=False):
        table.add_column(header, no_wrap=True, justify="right" if isinstance(value, int) else "left")
    for line in lines:
        table.add_row(*("" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in line))
    console.print(table)
