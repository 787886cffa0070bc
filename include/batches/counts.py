"""The counts of a batch: their names, which are the columns of `login_etl.batches`, and what must hold between them."""

from dataclasses import dataclass

STAGED = ("received", "staged", "rejected")  # written with the batch
MERGED = ("inserted", "already_there", "refused")  # written by the merge; refused: those that wait now
DELETED = (
    "deleted",
    "expired",
    "delete_failed",
)  # written after the deletes; null for replays, and after a crash in between
UNKNOWN = ("unknown_addresses", "unknown_versions")  # of the staged; null in batches of before they were counted
DRAINED = STAGED + DELETED  # what a drain returns
ALL = STAGED + MERGED + DELETED + UNKNOWN  # in the order in which they are shown


@dataclass(frozen=True, slots=True)
class Equation:
    """A count, and those that it must be the sum of."""

    total: str
    parts: tuple[str, ...]


EQUATIONS = (
    Equation("received", ("staged", "rejected")),
    Equation("staged", MERGED),
    Equation("received", DELETED),
)


def in_words(name: str) -> str:
    """A count's name as people read it.

    >>> in_words("already_there")
    'already there'
    """
    return name.replace("_", " ")
