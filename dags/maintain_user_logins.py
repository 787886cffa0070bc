"""### Upkeep: partitions created ahead of need, old staging dropped, old rejected bodies forgotten

Every day. No task is stopped by another's failure; `report` shows what they did, and how large the tables are now.

* **`make_partitions`** creates the months of `user_logins` and the days of staging to come, three months and seven days
  ahead, and moves rows in `user_logins_default`, which have no month yet, into months of their own. A `user_logins`
  that existed before this project has no months, and is left alone.
* **`drop_staging_days`** drops the days of `login_etl.staging_logins` that ended more than 30 days ago, or as many as
  the variable `user_logins_keep_staging_days` says. Rebuilds and backfills reach no further back. A day with a batch
  that is not merged is kept, and named.
* **`drop_login_months`** drops the months of `user_logins` that ended more than `user_logins_keep_months` months ago;
  without that variable none. Masks are personal data: keep them no longer than you need them. A month of which staging
  still has messages is kept, and so is a `user_logins` that existed before this project.
* **`count_shared`** counts which devices and addresses several users have (`login_etl.shared_devices`).
* **`forget_rejected_bodies`** forgets the sealed bodies of messages that were rejected more than 30 days ago, or as
  many as the variable `user_logins_keep_rejected_days` says. Their rows stay, with reason and counts.
* **`privacy_upkeep`** ends originals, requests and tombstones whose time is over. It logs the anchor of the trail, by
  which `python -m include.privacy verify` finds one that was rewritten: keep this log where the DBA cannot change it.
* **`add_up_batches`** adds batches that nothing changes any more to `login_etl.totals`, so that `/metrics` stays fast.

* **It failed**: nothing is lost; the next run catches up. The error in the log says what to fix.
* **A table is locked**: the task is retried; if it fails, find the long transaction in `pg_stat_activity`.
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
from include.params import KEEP_MONTHS, KEEP_REJECTED_DAYS, KEEP_STAGING_DAYS, months_to_keep, retention, variable
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

    @task(trigger_rule="all_done")
    def count_shared():
        return maintenance.count_shared()

    @task
    def forget_rejected_bodies(days):
        return maintenance.forget_rejected_bodies(days=retention(KEEP_REJECTED_DAYS, days))

    @task
    def privacy_upkeep():
        return maintenance.privacy_upkeep()

    @task
    def add_up_batches():
        return maintenance.add_up_batches()

    @teardown  # it runs whatever became of the others, and hides no failure of theirs
    def report(outcomes):
        maintenance.report(outcomes)

    months_dropped, counted = drop_login_months(variable(KEEP_MONTHS)), count_shared()
    months_dropped >> counted
    outcomes = [
        make_partitions(),
        drop_staging_days(variable(KEEP_STAGING_DAYS, "30")),
        months_dropped,
        counted,
        forget_rejected_bodies(variable(KEEP_REJECTED_DAYS, "30")),
        privacy_upkeep(),
        add_up_batches(),
    ]
    report({outcome.operator.task_id: outcome for outcome in outcomes})


maintain_user_logins()
