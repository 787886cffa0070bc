"""### What is kept no longer than needed

Every day: forgets the sealed bodies of messages that were rejected more than 30 days ago, or as many as the variable
`user_logins_keep_rejected_days` says. Their rows in `login_etl.rejected_messages` stay, with reason and counts, but
`replay_rejected` cannot open them any more.

* **It failed**: nothing is lost; the next run catches up.

Needs the connection `warehouse`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from include import pipeline
from include.rejected import retention
from include.retries import RETRIES


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=30), **RETRIES},
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def maintain_user_logins():
    @task
    def forget_rejected_bodies(days):
        return pipeline.forget_rejected(days=retention(days))

    forget_rejected_bodies("{{ var.value.get('user_logins_keep_rejected_days', '30') }}")


maintain_user_logins()
