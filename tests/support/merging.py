"""Merges, each as a run of its own, and the run of a rebuild."""

from uuid import uuid4

from include.batches.merge import merge_user_logins
from include.events.message import Run

REBUILD = Run("user_logins", "a rebuild", rebuilds=True)


def merge(connection):
    """What one merge did."""
    return merge_user_logins(connection, f"user_logins/{uuid4()}")
