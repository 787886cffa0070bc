"""What a run is told: the forms in Airflow's UI, the variables, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from airflow.sdk import Param

from include.batches.disclosure import MOST_MASKS
from include.batches.rejected import BEGINNING, END, Selection
from include.batches.window import Window
from include.failures import SetupError
from include.privacy.masking import MASK

QUEUE_URL = "user_logins_queue_url"
KEEP_STAGING_DAYS = "user_logins_keep_staging_days"
KEEP_REJECTED_DAYS = "user_logins_keep_rejected_days"

KEEP_MONTHS = "user_logins_keep_months"
APPROVERS = "disclosure_approvers"

MAX_SECONDS = 1_800
MAX_DAYS = 3_650
MAX_MONTHS = 1_200

COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
TIME: dict[str, Any] = {"type": ["null", "string"], "format": "date-time"}
REBUILD = TIME | {"section": "Rebuild from staging instead of draining the queue"}

DRAIN_FORM = {
    "max_messages": Param(
        100_000, **COUNT, maximum=1_000_000, description="Maximum number of messages per run, from 1 to 1,000,000"
    ),
    "max_seconds": Param(
        180,
        **COUNT,
        maximum=MAX_SECONDS,
        description=f"Maximum number of seconds for which a drain task receives messages, from 1 to {MAX_SECONDS:,}",
    ),
    "max_workers": Param(4, **COUNT, maximum=32, description="Maximum number of parallel drain tasks, from 1 to 32"),
    "max_rejected_percent": Param(
        50,
        type="integer",
        minimum=0,
        maximum=100,
        description="Maximum percentage of rejected messages, from 0 to 100, where there are 20 messages or more: with "
        "more the run fails, all loaded",
    ),
    "source": Param(
        "queue",
        type="string",
        enum=["queue", "dead_letter_queue"],
        description="The queue to drain: the queue itself, or its dead-letter queue",
    ),
    "rebuild_from": Param(None, **REBUILD, description="Start of the range of sent times, inclusive (UTC)"),
    "rebuild_to": Param(None, **REBUILD, description="End of the range, exclusive (UTC)"),
}

REPLAY_FORM = {
    "dry_run": Param(default=True, type="boolean", description="Only show what would be loaded"),
    "reasons": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        description="Reasons to select by, one per line, such as app_version: version; all if empty",
    ),
    "rejected_from": Param(None, **TIME, description="Start of the range of rejection times, inclusive (UTC)"),
    "rejected_to": Param(None, **TIME, description="End of the range, exclusive (UTC)"),
    "limit": Param(
        10_000,
        type="integer",
        minimum=1,
        maximum=1_000_000,
        description="Maximum number of messages to load, from 1 to 1,000,000",
    ),
}

CHECK_FORM = {
    "max_unknown_percent": Param(
        20,
        type="integer",
        minimum=0,
        maximum=100,
        description="Maximum percentage of logins with a version that app_version cannot hold, from 0 to 100, where "
        "there are 20 logins or more",
    ),
}
ROTATION_FORM = {
    "dry_run": Param(default=True, type="boolean", description="Only show how much there is to do"),
}
ERASURE_FORM = {
    "dry_run": Param(default=True, type="boolean", description="Only show how much there is of whom, by case"),
}
# A pattern's $ would let a line feed follow. Of a reason, Markdown must not be read, nor a second line be.
END_OF_TEXT = r"(?![\s\S])"
DISCLOSURE_FORM = {
    "case": Param(
        type="string",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._\/\-]{0,63}" + END_OF_TEXT,
        description="Number of the case: up to 64 letters, digits, and . _ / - behind the first",
    ),
    "reason": Param(
        type="string",
        pattern=r"^(?=(\s*\S){10})[^`\x00-\x1f\x7f-\x9f\u2028\u2029]{10,300}" + END_OF_TEXT,
        description="Why they are needed, for who approves: one line of at least 10 characters, spaces not counted, "
        "and at most 300, without a backtick, and without anything personal",
    ),
    "masked": Param(
        None,
        type=["null", "array"],
        items={"type": "string", "pattern": f"^{MASK.pattern}{END_OF_TEXT}"},
        maxItems=MOST_MASKS,
        description=f"Masks from user_logins, one per line, up to {MOST_MASKS}; empty: all of the person that the case "
        "is about",
    ),
}


class Run(Protocol):
    """What is asked of Airflow's DagRun."""

    run_type: str
    data_interval_start: datetime | None
    data_interval_end: datetime | None


def variable(name: str, default: str = "") -> str:
    """The template of a variable, which is filled in when a task runs: DAG files are parsed too often to ask for it.

    >>> variable("user_logins_keep_staging_days", "30")
    "{{ var.value.get('user_logins_keep_staging_days', '30') }}"
    """
    return "{{ " + f"var.value.get('{name}', '{default}')" + " }}"


def approvers(text: str) -> list[dict[str, str]]:
    """The users in the text of `disclosure_approvers`, who may approve; SetupError for anything else.

    Ids of Airflow users, separated by commas; where a user's name is another text than the id, `id=name`.

    >>> approvers("ann, 7=bob")
    [{'id': 'ann', 'name': 'ann'}, {'id': '7', 'name': 'bob'}]
    """
    pairs = [tuple(part.strip() for part in entry.partition("=")) for entry in text.split(",") if entry.strip()]
    if not pairs or not all(user_id and (name or not equals) for user_id, equals, name in pairs):
        raise SetupError(
            f"variable {APPROVERS} does not say who may approve: set it to the ids of Airflow users, such as ann,bob, "
            "or, where an id is not the user's name, 7=ann,9=bob"
        )
    return [{"id": user_id, "name": name or user_id} for user_id, _, name in pairs]


def retention(variable: str, text: str) -> int:
    """The days in a variable's text; SetupError, which names it, for anything but a number from 1 to 3,650."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_DAYS:
        raise SetupError(
            f"variable {variable} is not a number of days from 1 to {MAX_DAYS:,}: set it to, for example, 30"
        )
    return int(text)


def months_to_keep(text: str) -> int | None:
    """The months in the text of `user_logins_keep_months`; None where it is empty; SetupError for any other text."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MAX_MONTHS:
        raise SetupError(
            f"variable {KEEP_MONTHS} is not a number of months from 1 to {MAX_MONTHS:,}: set it to, for example, 24, "
            "or delete it to keep all"
        )
    return int(text)


def rebuild_window(run: Run, params: Mapping[str, Any]) -> Window | None:
    """What this run rebuilds from staging instead of draining the queue; None for a run that drains.

    A backfill run rebuilds its data interval, any other run what `rebuild_from` and `rebuild_to`
    (ISO 8601 with an offset) say. Raises SetupError for half a range or an empty one.
    """
    if run.run_type == "backfill":
        if run.data_interval_start is None or run.data_interval_end is None:
            raise SetupError("this backfill run has no data interval: give the DAG a schedule with intervals")
        return Window(run.data_interval_start, run.data_interval_end)
    start, stop = params["rebuild_from"], params["rebuild_to"]
    if not start and not stop:
        return None
    if not start or not stop:
        raise SetupError("params rebuild_from and rebuild_to: set both to rebuild, or neither to drain the queue")
    window = Window(instant("rebuild_from", start), instant("rebuild_to", stop))
    if window.start >= window.stop:
        raise SetupError("params rebuild_from and rebuild_to: rebuild_from must be earlier than rebuild_to")
    return window


def selection(params: Mapping[str, Any]) -> Selection:
    """What the params `reasons`, `rejected_from`, `rejected_to` and `limit` select; SetupError for a wrong time.

    A line of `reasons` may be a whole `reason` of the table, which lists several rules.
    """
    start, stop = params["rejected_from"], params["rejected_to"]
    rules = [rule.strip() for reason in params["reasons"] or [] for rule in reason.split(";") if rule.strip()]
    selected = Selection(
        limit=params["limit"],
        start=instant("rejected_from", start) if start else BEGINNING,
        stop=instant("rejected_to", stop) if stop else END,
        rules=rules or None,
    )
    if selected.start >= selected.stop:
        raise SetupError("params rejected_from and rejected_to: rejected_from must be earlier than rejected_to")
    return selected


def instant(name: str, text: str) -> datetime:
    """The moment that a param gives in ISO 8601, with an offset; SetupError for any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SetupError(f"param {name}: not a date-time: write it like 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise SetupError(f"param {name}: has no time zone: end it with Z or an offset such as +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise SetupError(f"param {name}: is outside the years 1 to 9999: write it like 2026-01-31T00:00:00Z") from None
