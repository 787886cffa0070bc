"""What sealing originals costs a record, with the vault on and off; and how long an officer waits for 100."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import partial
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from benchmarks.bench import Bench, interleaved, this_origin
from benchmarks.figures import Section, absolute, growth
from benchmarks.rotation import timed
from include.batches import staging
from include.batches.disclosure import MOST_MASKS
from include.batches.merge import merge_user_logins
from include.batches.staging import stage
from include.events.login import Login
from include.events.message import Message
from include.privacy import requests
from include.privacy.keys import public_bytes
from include.privacy.originals import prepare_vault, register_recipient
from include.privacy.requests import Item, Request
from include.privacy.reveal import reveal
from include.privacy.vault import key_id_of

BATCH, DAYS, A_DAY = 10_000, 90, 10_000
DAY = """
create table privacy.{part} partition of privacy.originals for values from ('{day}') to ('{after}');
insert into privacy.{part}
select '{day}', 0, gen_random_uuid(), sha256('x'), sha256('y') from generate_series(1, {rows})
"""


def section(bench: Bench) -> Section:
    """Stage the same logins without the vault's code, with the vault off, and with it on; then reveal."""
    bench.empty()
    logins = _logins(bench.size(BATCH, 100))
    rounds = bench.size(15, 1)
    private_key = X25519PrivateKey.generate()
    with bench.connect() as warehouse, bench.local.connect() as owner:

        def cost(guard: Callable[[], object] = nullcontext) -> float:
            with guard():  # type: ignore[attr-defined]
                stage_it = partial(stage, warehouse, logins, [], keyring=bench.keyring(), origin=this_origin())
                return timed(stage_it) / len(logins) * 1_000_000

        without = partial(patch.object, staging, "fill_vault", lambda *_: None)
        off = interleaved(2 * rounds, off=cost, without=partial(cost, without))
        register_recipient(owner, public_bytes(private_key))
        prepare_vault(warehouse)
        on = interleaved(rounds, on=cost, without=partial(cost, without))
        seconds = _reveal(bench, warehouse, owner, private_key)
        owner.execute("truncate privacy.originals, privacy.data_keys, privacy.recipients")  # what follows has none
    return Section(
        [
            absolute(
                "landing a login with its originals beyond landing it",
                on["without"],
                on["on"],
                "µs",
                at_most=10,
                beyond=on["without"],
            ),
            growth("the same with no public key registered", off["without"], off["off"], "µs", at_most=1.02),
            absolute("revealing the originals of 100 masks", None, seconds, "s", at_most=1),
        ]
    )


def _reveal(
    bench: Bench, warehouse: psycopg.Connection, owner: psycopg.Connection, private_key: X25519PrivateKey
) -> float:
    """Seconds for 100 masks of twenty logins each, of which one has its original."""
    masks, today = bench.size(MOST_MASKS, 3), datetime.now(UTC).date()
    for number in range(1, bench.size(DAYS, 2)):
        _fill(owner, today - timedelta(days=number), bench.size(A_DAY, 10))
    owner.execute("analyze privacy.originals")
    logins = _logins(masks)
    stage(warehouse, logins, [], keyring=bench.keyring(), origin=this_origin())
    merge_user_logins(warehouse, "user_logins/benchmark")
    gone = [Item(n, c, "ip", f"{n:08x}:{n:064x}", uuid4()) for n in range(masks) for c in range(1, 20)]
    left = [Item(n, 20, "ip", f"{n:08x}:{n:064x}", message.message_id) for n, (message, _) in enumerate(logins)]
    request = Request(f"benchmark {uuid4()}", "ann", "bench", "a benchmark", ("m",))
    requests.ask(warehouse, request, [*gone, *left])
    requests.decide(warehouse, request, approver="bob", approve=True)
    [(request_id,)] = owner.execute("select max(request_id) from privacy.requests").fetchall()
    key_id = key_id_of(public_bytes(private_key))
    taken = []
    for _ in range(bench.size(5, 1)):
        started = time.perf_counter()
        shown = reveal(owner, request_id, private_key, key_id=key_id)
        taken.append(time.perf_counter() - started)
        if {each.ip for each in shown} != {repr(login.ip) for _, login in logins}:
            raise RuntimeError("the originals are not those that were landed")
    return statistics.median(taken)


def _fill(owner: psycopg.Connection, day: date, rows: int) -> None:
    owner.execute(
        DAY.format(part=f"originals_{day:%Y_%m_%d}", day=day, after=day + timedelta(days=1), rows=rows).encode()
    )


def _logins(count: int) -> list[tuple[Message, Login]]:
    now = datetime.now(UTC)
    return [
        (
            Message(UUID(int=number + (1 << 64)), now, 1, ""),
            Login("user", ip=f"10.0.{number >> 8}.{number & 255}", device_id="d"),
        )
        for number in range(count)
    ]
