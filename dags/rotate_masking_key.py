"""### A new masking key, on top of the old ones

Run it by hand. Masks that were equal are equal afterwards: each gets the new key on top, without the raw value. Drains,
merges and rebuilds go on meanwhile.

1. **Append** a comma and the new key to the password of connection `pii_masking`, wherever tasks run. The old keys
   stay: every mask needs them all. Until the switch nothing changes.
2. **First as a dry run**, which is the default: the log of `plan_rotation` says how many rows have masks of which key
   id, and how long it will take.
3. **Then with `dry_run` off**: `switch_masking_key` lets masks be made with the new key; `rewrap_staging` and
   `rewrap_user_logins` change those that are there; `reseal_rejected_bodies` seals rejected messages anew;
   `count_shared` counts shared devices and addresses by their new masks.

* **Meanwhile** a device has two masks in `user_logins`, one of each key. Group by masks only within the key in use,
  `left(masked_ip, 8) = (select kid from login_etl.masking)`, or wait.
* **It failed, or was killed**: clear the failed task; it goes on where it ended. There is no way back, and no need.
* **The table refuses new masks**: the error names the constraint or trigger, and how many rows, of which days, stay as
  they are. Fix it, and clear the task.
* **Afterwards** the table is up to twice as large until it is vacuumed: run `vacuum public.user_logins`.

A rotation helps against a key that leaked before, not against a connection that leaks. Old dumps stay as they are.
Needs the connections `warehouse` and `pii_masking`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include import rotation
from include.alerts import alert
from include.params import ROTATION_FORM
from include.retries import RETRIES


@dag(
    description="Put a new masking key on top of the old ones; equal masks stay equal",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=1,
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(hours=12), **RETRIES},
    params=ROTATION_FORM,
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def rotate_masking_key():
    @task.short_circuit
    def plan_rotation(params=None):
        return rotation.plan_rotation() and not params["dry_run"]

    @task
    def switch_masking_key():
        return rotation.switch_masking_key()

    @task
    def rewrap_staging():
        return rotation.rewrap_staging()

    @task
    def rewrap_user_logins():
        return rotation.rewrap_user_logins()

    @task
    def reseal_rejected_bodies():
        return rotation.reseal_rejected_bodies()

    @task
    def count_shared():
        return rotation.count_shared()

    switched = plan_rotation() >> switch_masking_key()
    switched >> rewrap_staging() >> rewrap_user_logins() >> reseal_rejected_bodies() >> count_shared()


rotate_masking_key()
