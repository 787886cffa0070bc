"""### What is kept no longer than needed

Every day: forgets the sealed bodies of messages that were rejected more than `keep_rejected_days` ago. Their rows in
`login_etl.rejected_messages` stay, with reason and counts, but `replay_rejected` cannot open them any more.

* **It failed**: nothing is lost; the next run catches up.

Needs the connection `warehouse`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag, task

from include import pipeline
from include.retries import RETRIES


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=30), **RETRIES},
    params={
        "keep_rejected_days": Param(
            30, type="integer", minimum=1, maximum=3_650, description="Days for which a rejected body is kept"
        ),
    },
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def maintain_user_logins():
    @task
    def forget_rejected_bodies(params=None):
        return pipeline.forget_rejected(days=params["keep_rejected_days"])

    forget_rejected_bodies()


maintain_user_logins()
