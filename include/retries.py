"""The one place that says which failures are worth another try."""

from datetime import timedelta

import psycopg
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include.alerts import say_last
from include.batches.rebuild import RebuildRefused
from include.batches.reconciliation import FailedCheck
from include.failures import SetupError
from include.params import MAX_SECONDS
from include.sqs.calls import VISIBILITY_SECONDS

FAIL_FAST = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=SetupError, action=RetryAction.FAIL, reason="somebody has to fix the set-up"),
        RetryRule(exception=FailedCheck, action=RetryAction.FAIL, reason="another try would find the same numbers"),
        RetryRule(
            exception=[RebuildRefused, psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.DataError],
            action=RetryAction.FAIL,
            reason="the database will refuse the same again",
        ),
    ],
)


# Throttling, restarts, dropped connections, deadlocks: what is left is worth waiting for.
RETRIES = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=2),
    "retry_policy": FAIL_FAST,
    "on_failure_callback": say_last,
}

# A drain is tried again when SQS shows again what the failed try held. Sooner, it would find the queue empty, and a
# failure that lasts would pass for a success. Once, because each try brings the messages nearer to the dead letters.
DRAIN_RETRIES = {
    "execution_timeout": timedelta(seconds=MAX_SECONDS + 600),
    "retries": 1,
    "retry_delay": timedelta(seconds=VISIBILITY_SECONDS + 10),
    "retry_exponential_backoff": False,
    "max_retry_delay": timedelta(seconds=VISIBILITY_SECONDS + 10),
}
