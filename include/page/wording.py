"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> duration(42), duration(840), duration(5_400), duration(200_000)
    ('42 s', '14 min', '1 h 30 min', '2 d 7 h')
    """
    left, said = max(0, round(seconds)), []
    for name, size in UNITS:
        if left >= size:
            said.append(f"{left // size} {name}")
        elif said:
            break
        left %= size
        if len(said) == 2 or not left:  # noqa: PLR2004 - the two largest
            break
    return " ".join(said) or "0 s"


def moment(when: datetime, now: datetime) -> str:
    """A time of today as such, an earlier one with its date; in UTC.

    >>> now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> moment(now, now), moment(now - timedelta(days=1), now)
    ('12:00', '01-30 12:00')
    """
    when = when.astimezone(UTC)
    return f"{when:%H:%M}" if when.date() == now.astimezone(UTC).date() else f"{when:%m-%d %H:%M}"


def ago(when: datetime, now: datetime) -> timedelta:
    """How long that is ago; not less than nothing, where two clocks differ."""
    return max(timedelta(), now - when)
