"""### Is what was loaded as it should be? Checks of yesterday's and today's logins

After each run that has loaded something. It reads, counts, and changes nothing in `user_logins`. The latest result of
each check is in `login_etl.data_checks`, also where it did not pass; then the run fails, and names the check.

* **`keys_are_whole`**: each login has a day and a batch.
* **`masks_are_masks`**: `masked_ip` and `masked_device_id` are null or `<key id>:<HMAC>`, so no raw value is there.
* **`masks_have_the_key`**: masks begin with the key id in use. Not checked while `rotate_masking_key` is under way.
* **`erased_are_erased`**: where there is no user, there is no mask.
* **`sums_hold`**: the counts of each batch that was staged in these days add up.
* **`versions_are_known`**: at most `max_unknown_percent` of the staged logins have a version that cannot be packed.

Logins without a message id, which were there before this project, are left out.

* **It failed**: the log of `count_faults` has the numbers, the runbook what to do about each check. Nothing is undone.
* **It takes too long**: it reads two days, two seconds for a million logins. Loads that come meanwhile are checked
  together by the next run.

**A DAG of your own on this data** is made like this one: scheduled on the asset, so that it runs when there is
something new; SQL in a file, which counts and never selects a person's values; an operator of common-sql that judges
the counts. Such operators log and raise the rows that they read: let them read counts only. Analysts read the view
`login_etl.logins`, through a connection of their own.

Needs the connection `warehouse`.
"""

from datetime import timedelta

import pendulum
from airflow.providers.common.sql.operators.sql import SQLTableCheckOperator
from airflow.sdk import dag, task

from include import checks
from include.alerts import alert
from include.assets import USER_LOGINS
from include.connections import WAREHOUSE
from include.params import CHECK_FORM
from include.retries import RETRIES

CHECKS = (
    *("keys_are_whole", "masks_are_masks", "masks_have_the_key", "erased_are_erased"),
    *("sums_hold", "versions_are_known"),
)


@dag(
    description="Check what was loaded yesterday and today, by counts",
    schedule=[USER_LOGINS],
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=1,  # events that come meanwhile make one run
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=10), **RETRIES},
    params=CHECK_FORM,
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def check_user_logins():
    @task(inlets=[USER_LOGINS])
    def count_faults(params=None):
        return checks.count_faults(max_unknown_percent=params["max_unknown_percent"])

    check_faults = SQLTableCheckOperator(
        task_id="check_faults",
        conn_id=WAREHOUSE,
        table="login_etl.data_checks",
        checks={name: {"check_statement": f"bool_or(passed and name = '{name}')"} for name in CHECKS},
        retry_on_failure=False,  # another try would find the same numbers
    )
    count_faults() >> check_faults


check_user_logins()
