"""A run, where it does not matter which."""

from include.events.message import Run

A_RUN = Run("user_logins", "a run")
