"""### Upkeep: partitions created ahead of need, old staging dropped, old rejected bodies forgotten

Every day. No task waits for another or is stopped by its failure; `report` shows in one table what they did, and how
large the tables are now.

* **`make_partitions`** creates the months of `user_logins` and the days of staging to come, three months and seven days
  ahead, so that a run need not. Rows in `user_logins_default`, which have no month yet, are moved into months of their
  own. A `user_logins` that existed before this project has no months, and is left alone.
* **`drop_staging_days`** drops the days of `login_etl.staging_logins` that ended more than 30 days ago, or as many as
  the variable `user_logins_keep_staging_days` says. Rebuilds and backfills reach no further back. A day with a batch
  that is not merged is kept, and named.
* **`drop_login_months`** drops the months of `user_logins` that ended more than `user_logins_keep_months` months ago;
  without that variable none. Masks are personal data: keep them no longer than you need them. A month of which staging
  still has messages is kept, and so is a `user_logins` that existed before this project.
* **`forget_rejected_bodies`** forgets the sealed bodies of messages that were rejected more than 30 days ago, or as
  many as the variable `user_logins_keep_rejected_days` says. Their rows stay, with reason and counts, but
  `replay_rejected` cannot open them any more.
* **`privacy_upkeep`** drops days of originals that are over, ends requests for them that are, and tombstones of users
  who were erased 30 days ago. It logs the anchor of the trail, by which a later `python -m include.privacy verify` sees
  whether somebody rewrote it: keep this log where the warehouse's DBA cannot change it.

* **It failed**: nothing is lost; the next run catches up. The error in the log says what to fix.
* **A table is locked**: the task is retried, and fails when the table stays locked: find the long transaction in
  `pg_stat_activity`.
* **Rows are still in the default partition**: no month is created for dates more than ten years ago or more than three
  months ahead. Correct `create_date`, or delete the rows.
* **A day is kept because of unmerged batches**: `user_logins` fails too, and says what refuses them. Fix that.

Needs the connection `warehouse`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task, teardown

from include import maintenance
from include.alerts import alert
from include.params import (
    KEEP_MONTHS,
    KEEP_REJECTED_DAYS,
    KEEP_STAGING_DAYS,
    months_to_keep,
    retention,
    variable,
)
from include.retries import RETRIES


@dag(
    description="Make partitions ahead, drop old staging, forget old rejected bodies",
    schedule="@daily",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=30), **RETRIES},
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def maintain_user_logins():
    @task
    def make_partitions():
        return maintenance.make_partitions()

    @task
    def drop_staging_days(days):
        return maintenance.drop_staging_days(days=retention(KEEP_STAGING_DAYS, days))

    @task
    def drop_login_months(months):
        return maintenance.drop_login_months(months=months_to_keep(months))

    @task
    def forget_rejected_bodies(days):
        return maintenance.forget_rejected_bodies(days=retention(KEEP_REJECTED_DAYS, days))

    @task
    def privacy_upkeep():
        return maintenance.privacy_upkeep()

    @teardown  # it runs whatever became of the others, and hides no failure of theirs
    def report(made, days_dropped, months_dropped, forgotten, privacy):
        dropped = {"drop_staging_days": days_dropped, "drop_login_months": months_dropped}
        kept = {"forget_rejected_bodies": forgotten, "privacy_upkeep": privacy}
        maintenance.report({"make_partitions": made, **dropped, **kept})

    report(
        make_partitions(),
        drop_staging_days(variable(KEEP_STAGING_DAYS, "30")),
        drop_login_months(variable(KEEP_MONTHS)),
        forget_rejected_bodies(variable(KEEP_REJECTED_DAYS, "30")),
        privacy_upkeep(),
    )


maintain_user_logins()
