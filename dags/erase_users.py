"""### Forget people

Run it by hand, or on a schedule of your own. Who is to be forgotten waits in a queue in the warehouse, which an officer
fills with `python -m include.privacy erase --case C`: no user id is typed into Airflow, or logged here.

1. **First as a dry run**, which is the default: the log of `plan_erasure` says, by number and case, how many rows and
   rejected bodies there are of each.
2. **Then with `dry_run` off**: `raise_tombstones` lets nothing that they sent until now be staged with user id or
   masks, however often it is delivered or replayed; `forget_bodies` forgets rejected messages that name them;
   `erase_rows` clears user id and masks in `user_logins` and staging, and the user id in the queue, and writes the
   trail.

* **What stays**: device type, locale, version and day, as counts that nobody is in, and the message's id, which keeps
  redeliveries out. What they send *after* the erasure is loaded as anybody's.
* **It failed, or was killed**: clear the failed task. Erasing twice changes nothing.
* **`… needs schema privacy`**: a DBA installs it once; the sentence says how.
* **A table refuses it**: the error names the constraint or trigger. Fix it, and clear the task.
* **Outside of its reach**: backups, extracts, a database log with statements. A dead letter that is drained more than
  30 days later is loaded; docs/privacy.md has the rest.

Needs the connections `warehouse` and `pii_masking`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include import erasure
from include.alerts import alert
from include.params import ERASURE_FORM
from include.retries import RETRIES


@dag(
    description="Forget the people in the queue of erasures, so that nothing of theirs comes back",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=1,
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(hours=12), **RETRIES},
    params=ERASURE_FORM,
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def erase_users():
    @task.short_circuit
    def plan_erasure(params=None):
        erasure_ids = erasure.plan_erasure()
        return [] if params["dry_run"] else erasure_ids

    @task
    def raise_tombstones(erasure_ids):
        return erasure.raise_tombstones(erasure_ids)

    @task
    def forget_bodies(erasure_ids):
        return erasure.forget_bodies(erasure_ids)

    @task
    def erase_rows(erasure_ids, bodies):
        return erasure.erase_rows(erasure_ids, bodies)

    planned = plan_erasure()
    bodies = forget_bodies(planned)
    raise_tombstones(planned) >> bodies
    erase_rows(planned, bodies)


erase_users()
