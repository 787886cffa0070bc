"""### Login events: SQS → masked → `user_logins`

Every five minutes: look at the queue, drain it into staging with `ip` and `device_id` masked, merge staging
into `public.user_logins`. A message is deleted from SQS only after its row is committed, and its id is the
row's key: nothing is lost, and nothing is there twice, whatever is retried.

* **Nothing to do**: an empty queue is watched for one minute; then the run is a success with skipped tasks.
* **It failed**: the error in the log says what to fix. Clear the failed task, or leave it to the next run, which
  merges what earlier ones left. SQS delivers again what was not deleted, and the merge recognises it.
* **Rebuild**: `rebuild_from` and `rebuild_to` restore rows from staging and take nothing from the queue.
  So does `airflow backfill create … --reprocess-behavior completed`, for the intervals of earlier runs.
* **Dead letters**: `source: dead_letter_queue` drains the queue's dead-letter queue by the same rules.
* **Bad messages** are in `login_etl.rejected_messages`, sealed, with the reason; `replay_rejected` parses them again.
* **Counts** are in the view `login_etl.history`, in the log of `merge_user_logins` and in the asset's events.

Needs the connections `aws_sqs`, `warehouse` and `pii_masking`, and the variable `user_logins_queue_url`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include import pipeline
from include.assets import USER_LOGINS
from include.connections import AWS
from include.events.message import Origin
from include.params import DRAIN_FORM, MAX_SECONDS, QUEUE_URL, rebuild_window, variable
from include.retries import DRAIN_RETRIES, RETRIES
from include.sensor import SqsBacklogSensor


@dag(
    schedule=CronDataIntervalTimetable("*/5 * * * *", timezone="UTC"),  # a backfill needs intervals with width
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=10), **RETRIES},
    params=DRAIN_FORM,
    tags=["sqs", "logins", "pii"],
    doc_md=__doc__,
)
def user_logins():
    @task
    def check_setup(queue_url, params=None, dag_run=None):
        return pipeline.check_setup(queue_url, source=params["source"], window=rebuild_window(dag_run, params))

    @task
    def plan_drain(queue_url, params=None):
        return pipeline.plan_drain(queue_url, max_messages=params["max_messages"], max_workers=params["max_workers"])

    @task(
        **DRAIN_RETRIES,
        execution_timeout=timedelta(seconds=MAX_SECONDS + 600),
        map_index_template="up to {{ task.op_kwargs.share.messages }} messages",
    )
    def drain_and_mask(share, queue_url, params=None, ti=None):
        origin = Origin(ti.run_id, ti.map_index, ti.try_number, pendulum.now("UTC"), source=params["source"])
        return pipeline.drain_and_mask(share, queue_url, origin=origin, seconds=params["max_seconds"])

    @task(trigger_rule="none_failed", outlets=[USER_LOGINS])
    def merge_user_logins(drained, params=None, dag_run=None, outlet_events=None):
        window = rebuild_window(dag_run, params)
        drained = drained[:] if drained else []
        counts = pipeline.merge_user_logins(dag_run.run_id, params["source"], window=window, drained=drained)
        if not counts["merged_batches"] and not counts["rebuilt"]:
            raise AirflowSkipException("nothing to merge")  # a skipped task emits no asset event
        outlet_events[USER_LOGINS].extra = counts
        return counts

    queue_url = check_setup(variable(QUEUE_URL))
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
