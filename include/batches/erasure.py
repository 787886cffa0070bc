"""Erasure: people are forgotten, and nothing that they sent before comes back.

    plan_erasure ──► raise_tombstones ──► forget_bodies ──► erase_rows
    who waits, and   what they sent is    rejected bodies   user id and masks become null in user_logins and
    how much there   staged without       that name them    staging, masks that they shared are counted anew,
    is of them       user id and masks                      originals are deleted, and the user id in the queue
                                                            becomes null

In this order: what comes again after its row was cleared would be restored by a rebuild. Rows stay, as counts that
nobody is in, because their keys keep redeliveries out; so all goes on adding up. People are named by the number of
their erasure only: user ids stay out of Airflow. Whoever is killed anywhere begins again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import psycopg
from cryptography.exceptions import InvalidTag
from tabulate import tabulate

from include.batches.reconciliation import FailedCheck
from include.batches.rejected import RejectedRow, Selection, next_page
from include.batches.rotation import in_use
from include.batches.shared import recount_shared
from include.events.message import Message
from include.failures import SetupError
from include.privacy import tombstones
from include.privacy.erasures import Erasure, record_erased, waiting
from include.privacy.fence import pass_fence
from include.privacy.install import check_privacy
from include.privacy.masking import Keyring
from include.privacy.mentions import names_user
from include.privacy.sealing import unseal
from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

ALL = Selection(limit=10**9)
Until = Mapping[int, datetime]  # by the number of an erasure: what was sent until then is to be forgotten


def plan_erasure(connection: psycopg.Connection, keyring: Keyring) -> list[int]:
    """Log who waits, by number and case, and how much there is of them; return the numbers. Changes nothing.

    Raises SetupError where an erasure would fail.
    """
    check_erasure(connection)
    people = waiting(connection)
    if not people:
        log.info("nobody waits to be forgotten: python -m include.privacy erase asks for it")
        return []
    until = dict.fromkeys((person.erasure_id for person in people), datetime.now(UTC))
    bodies = _search_bodies(connection, keyring, people, until, forget=False)
    lines = [
        (
            person.erasure_id,
            person.case_number,
            *_rows_of(connection, person, until[person.erasure_id]),
            bodies[person.erasure_id],
        )
        for person in people
    ]
    headers = ["erasure", "case", "rows of user_logins", "rows of staging", "rejected bodies"]
    log.info("to be forgotten, once dry_run is off:\n%s", tabulate(lines, headers, intfmt=","))
    for number, case, *found in lines:
        _warn_of_nothing(number, case, found)
    return [person.erasure_id for person in people]


def raise_tombstones(connection: psycopg.Connection, keyring: Keyring, erasure_ids: Sequence[int]) -> int:
    """Let what these people sent until now be staged without user id and masks; return how many they are.

    psycopg's LockNotAvailable where a batch takes too long to be staged: drains wait behind us.
    """
    check_erasure(connection)
    people = waiting(connection, erasure_ids)
    in_use(connection, keyring)
    with transaction(connection, wait="partition"):
        take_turn(connection, "login_etl.fence")
        tombstones.raise_tombstones(connection, [each.user_id for each in people], in_use(connection, keyring))
    log.info("nothing that %d people sent until now is staged with user id or masks any more", len(people))
    return len(people)


def forget_bodies(connection: psycopg.Connection, keyring: Keyring, erasure_ids: Sequence[int]) -> dict[int, int]:
    """Forget the rejected bodies that name these people; return how many, by the number of the erasure."""
    people = waiting(connection, erasure_ids)
    return dict(_search_bodies(connection, keyring, people, _raised(connection, keyring, people), forget=True))


def erase_rows(
    connection: psycopg.Connection, keyring: Keyring, erasure_ids: Sequence[int], bodies: Mapping[int, int]
) -> dict[str, int]:
    """Clear user id and masks of these people, each in one transaction with its entry in the trail; return the sums.

    `bodies` is what `forget_bodies` returned. Raises FailedCheck, once the others are erased, where a table refuses it.
    """
    people = waiting(connection, erasure_ids)
    until = _raised(connection, keyring, people)
    sums: Counter[str] = Counter(erased=0, user_logins=0, staging=0, bodies=0, originals=0)
    refused: list[str] = []
    for person in people:
        try:
            counts = _erase(connection, person, until[person.erasure_id], bodies.get(person.erasure_id, 0))
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            refused.append(f"erasure {person.erasure_id}: {reason_of(error)}")
            continue
        except _KeptError as kept:
            refused.append(f"erasure {person.erasure_id}: {kept}")
            continue
        log.info("erasure %d, case %s: %s", person.erasure_id, person.case_number, counts)
        _warn_of_nothing(person.erasure_id, person.case_number, counts.values())
        sums.update(counts, erased=1)
    if refused:
        raise FailedCheck(f"{len(refused)} people are not erased: {'; '.join(refused)}: fix it, and clear the task")
    return dict(sums)


def check_erasure(connection: psycopg.Connection) -> None:
    """All that an erasure needs is there; SetupError where it is not.

    A row without a user would be refused for ever where the table forbids nulls, before its key is looked at.
    """
    check_privacy(connection, needed_by="erasure")
    with transaction(connection):
        [(forbidden, in_key)] = connection.execute(statement("privacy/forbidden_nulls")).fetchall()
    if forbidden:
        columns = ", ".join(f"alter column {column} drop not null" for column in forbidden)
        raise SetupError(
            "connection warehouse: public.user_logins does not allow null where an erasure puts it: "
            + ("drop its primary key, which has such a column, and " if in_key else "")
            + f"run: alter table public.user_logins {columns}"
        )


def _warn_of_nothing(erasure_id: int, case_number: str, found: Iterable[int]) -> None:
    """A user id that is spelled otherwise is another person's."""
    if not any(found):
        log.warning(
            "erasure %d, case %s: nothing is there: is the user id spelled as in user_logins?", erasure_id, case_number
        )


class _KeptError(Exception):
    """Why a person's rows stay as they are."""


def _erase(connection: psycopg.Connection, person: Erasure, until: datetime, bodies: int) -> dict[str, int]:
    """Clear a person's rows and record it, in one transaction; _KeptError, and nothing, where a row would stay."""
    bounds = {"user_id": person.user_id, "until": until}
    with transaction(connection):
        take_turn(connection, "login_etl.merge")
        connection.execute(statement("warehouse/show_all_rows"))
        connection.execute(statement("batches/check_constraints_now"))
        [(rows, staged, message_ids, stays, masks)] = connection.execute(
            statement("privacy/erase_rows"), bounds
        ).fetchall()
        if stays or any(_rows_of(connection, person, until)):
            raise _KeptError("a trigger or a rule keeps rows as they are")
        recount_shared(connection, masks)
        counts = {"user_logins": int(rows), "staging": int(staged), "bodies": bodies}
        originals = record_erased(connection, person, counts, until=until, message_ids=message_ids)
        if originals is None:
            raise _KeptError("somebody has asked for it again meanwhile: clear raise_tombstones, too")
        return counts | {"originals": originals}


def _rows_of(connection: psycopg.Connection, person: Erasure, until: datetime) -> tuple[int, int]:
    """How many rows of user_logins and of staging have a person's user id, but for what was sent later."""
    bounds = {"user_id": person.user_id, "until": until}
    with transaction(connection):
        connection.execute(statement("warehouse/show_all_rows"))
        [(rows, staged)] = connection.execute(statement("privacy/rows_of_user"), bounds).fetchall()
    return int(rows), int(staged)


def _raised(connection: psycopg.Connection, keyring: Keyring, people: Sequence[Erasure]) -> Until:
    """When their tombstones were raised."""
    with transaction(connection):
        pass_fence(connection)
        found = tombstones.tombstones(connection, [each.user_id for each in people], in_use(connection, keyring))
    never = datetime.min.replace(tzinfo=UTC)
    if missing := [str(each.erasure_id) for each in people if found.get(each.user_id, never) < each.asked_at]:
        raise FailedCheck(
            f"erasure {', '.join(missing)} has no tombstone since it was asked for: clear raise_tombstones and what "
            "follows it"
        )
    return {person.erasure_id: found[person.user_id] for person in people}


def _search_bodies(
    connection: psycopg.Connection, keyring: Keyring, people: Sequence[Erasure], until: Until, *, forget: bool
) -> Counter[int]:
    """How many rejected bodies name each of these people; `forget`: and forget them. Opens all that there are."""
    found: Counter[int] = Counter()
    unreadable, last = 0, None
    while people:
        with transaction(connection):
            if forget:
                take_turn(connection, "login_etl.replay")
            page = next_page(connection, ALL, last)
            if not page:
                break
            named: set[object] = set()
            for rejected in page:
                try:
                    message = _opened(rejected, keyring)
                except (InvalidTag, KeyError):
                    unreadable += 1
                    continue
                by = [
                    each.erasure_id
                    for each in people
                    if rejected.sent_at <= until[each.erasure_id] and names_user(message, each.user_id)
                ]
                found.update(by)
                if by:
                    named.add(rejected.message_id)
            if named and forget:
                connection.execute(statement("privacy/forget_bodies"), {"message_ids": list(named)})
            last = page[-1]
    if unreadable:
        log.warning("%d rejected bodies cannot be opened, and so not be searched: they stay for their time", unreadable)
    return found


def _opened(rejected: RejectedRow, keyring: Keyring) -> Message:
    body, attributes = unseal(rejected.sealed_body, key=keyring.key(rejected.kid), message_id=rejected.message_id)
    return Message(rejected.message_id, rejected.sent_at, rejected.receive_count, body, attributes=attributes)
