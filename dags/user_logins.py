"""### Login events: SQS → masked → `user_logins`

Every five minutes: look at the queue, drain it into staging with `ip` and `device_id` masked, merge staging
into `public.user_logins`. A message is deleted from SQS only after its row is committed, and its id is the
row's key: nothing is lost, and nothing is there twice, whatever is retried.

* **Nothing to do**: the queue is looked at for one minute; then the run is a success with skipped tasks.
* **It failed**: the log's last line says what to mend. Clear the failed task, or leave it to the next run, which
  merges what earlier ones left behind. Messages that were not deleted come again, and are recognised.
* **Rebuild**: `rebuild_from` and `rebuild_to` bring rows back from staging and take nothing from the queue.
  So does `airflow backfill create … --reprocess-behavior completed`, for the intervals of earlier runs.
* **Dead letters**: `source: dead_letter_queue` drains the queue's dead-letter queue by the same rules.
* **Bad messages** are in `login_etl.rejected_messages`, sealed, with the reason; `replay_rejected` tries them again.
* **Counts** are in the view `login_etl.history`, in the log of `merge_user_logins` and in the asset's events.

Needs the connections `aws_sqs`, `warehouse` and `pii_masking`, and the variable `user_logins_queue_url`.
"""

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import CronDataIntervalTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include import pipeline
from include.batches.staging import Drain
from include.batches.window import rebuild_window
from include.connections import AWS, USER_LOGINS
from include.retries import DRAIN_RETRIES, RETRIES
from include.sensor import SqsBacklogSensor

MAX_SECONDS = 1_800
INTEGER: dict[str, Any] = {"type": "integer", "minimum": 1}
SOURCE: dict[str, Any] = {"type": "string", "enum": ["queue", "dead_letter_queue"]}
TIME: dict[str, Any] = {"type": ["null", "string"], "format": "date-time", "section": "Rebuild instead of draining"}


@dag(
    schedule=CronDataIntervalTimetable("*/5 * * * *", timezone="UTC"),  # a backfill needs intervals with width
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=10), **RETRIES},
    params={
        "max_messages": Param(100_000, **INTEGER, maximum=1_000_000, description="Messages that one run may take"),
        "max_seconds": Param(180, **INTEGER, maximum=MAX_SECONDS, description="Seconds that a drain task may receive"),
        "max_workers": Param(4, **INTEGER, maximum=32, description="Drain tasks side by side, for a large backlog"),
        "source": Param("queue", **SOURCE, description="Which queue to drain"),
        "rebuild_from": Param(None, **TIME, description="Rebuild the rows of messages sent from this time on"),
        "rebuild_to": Param(None, **TIME, description="… up to this time, and without it"),
    },
    tags=["sqs", "logins", "pii"],
    doc_md=__doc__,
)
def user_logins():
    @task
    def check_setup(queue_url, params=None, dag_run=None):
        return pipeline.set_up(queue_url, source=params["source"], window=rebuild_window(dag_run, params))

    @task
    def plan_drain(queue_url, params=None):
        return pipeline.plan(queue_url, max_messages=params["max_messages"], max_workers=params["max_workers"])

    @task(
        **DRAIN_RETRIES,
        execution_timeout=timedelta(seconds=MAX_SECONDS + 600),
        map_index_template="up to {{ task.op_kwargs.share.messages }} messages",
    )
    def drain_and_mask(share, queue_url, params=None, ti=None):
        drain = Drain(ti.run_id, ti.map_index, ti.try_number, pendulum.now("UTC"), source=params["source"])
        return pipeline.drain(share, queue_url, drain=drain, seconds=params["max_seconds"])

    @task(trigger_rule="none_failed", outlets=[USER_LOGINS])
    def merge_user_logins(drained, params=None, dag_run=None, outlet_events=None):
        window = rebuild_window(dag_run, params)
        drained = drained[:] if drained else []
        counts = pipeline.merge(dag_run.run_id, params["source"], window=window, drained=drained)
        if not counts["merged_batches"] and not counts["rebuilt"]:
            raise AirflowSkipException("nothing to merge")  # a skipped task emits no asset event
        outlet_events[USER_LOGINS].extra = counts
        return counts

    queue_url = check_setup("{{ var.value.get('user_logins_queue_url', '') }}")
    wait_for_messages = SqsBacklogSensor(
        task_id="wait_for_messages",
        aws_conn_id=AWS,
        sqs_queue=queue_url,
        mode="reschedule",
        poke_interval=15,
        timeout=60,
        soft_fail=True,
    )
    shares = plan_drain(queue_url)
    wait_for_messages >> shares
    merge_user_logins(drain_and_mask.partial(queue_url=queue_url).expand(share=shares))


user_logins()
