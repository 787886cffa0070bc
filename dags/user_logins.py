"""### Login events: SQS → masked → `user_logins`

Every five minutes: look at the queue, drain it into staging with `ip` and `device_id` masked, merge staging into
`public.user_logins`. A message is deleted from SQS only after its row is committed, and its id is the row's key:
nothing is lost, and nothing is there twice, whatever is retried. Where there is a vault, originals go there, sealed.

* **Nothing to do**: an empty queue is watched for half a minute; then the run is a success with skipped tasks.
* **It failed**: the error says what to fix. Clear the failed task, or leave it to the next run, which merges what
  earlier ones left. SQS delivers again what was not deleted, and the merge recognises it.
* **Rebuild**: `rebuild_from` and `rebuild_to`, or a backfill, restore rows from staging, and drain nothing.
* **Dead letters**: `source: dead_letter_queue` drains the queue's dead-letter queue by the same rules.
* **Bad messages** are in `login_etl.rejected_messages`, sealed; `replay_rejected` parses them again.
* **`check_run` failed**: what can be loaded is loaded. Rows that the table refuses wait until it takes them.
* **How it goes** is on the page [User logins](user-logins/) below Browse; counts are in the view
  `login_etl.history`, the log of `check_run` and the asset's events.

Needs the connections `aws_sqs`, `warehouse` and `pii_masking`, and the variable with the queue's URL,
`user_logins_queue_url`. Another queue is another line in `QUEUES` in this file: a DAG, and accounts, of its own.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include import pipeline
from include.alerts import alert
from include.assets import STAGING_LOGINS, USER_LOGINS
from include.events.message import Origin, Run
from include.params import DRAIN_FORM, QUEUE_URL, rebuild_window, variable
from include.retries import DRAIN_RETRIES, RETRIES
from include.sensor import SqsBacklogSensor

QUEUES = {"user_logins": QUEUE_URL}  # DAG: the variable with the URL of its queue
LABEL = "{{ came or 'up to ' ~ task.op_kwargs.share.messages ~ ' messages' }}"  # of a drain task


def drain(dag_id: str, queue_variable: str) -> None:
    @dag(
        dag_id=dag_id,
        description="Drain login events from SQS into user_logins, masked",
        schedule=CronDataIntervalTimetable("*/5 * * * *", timezone="UTC"),  # a backfill needs intervals with width
        start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
        catchup=False,
        max_active_runs=1,
        on_failure_callback=alert,
        default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=10), **RETRIES},
        params=DRAIN_FORM,
        tags=["sqs", "logins", "pii"],
        doc_md=__doc__,
    )
    def user_logins():
        @task
        def check_setup(configured, params=None, dag_run=None):
            run, window = Run(dag_run.dag_id, dag_run.run_id), rebuild_window(dag_run, params)
            return pipeline.check_setup(run, configured, named=queue_variable, source=params["source"], window=window)

        @task
        def plan_drain(queue_url, params=None):
            messages, workers = params["max_messages"], params["max_workers"]
            return pipeline.plan_drain(queue_url, max_messages=messages, max_workers=workers)

        @task(**DRAIN_RETRIES, map_index_template=LABEL, outlets=[STAGING_LOGINS])
        def drain_and_mask(share, queue_url, configured, params=None, ti=None):
            run, now = Run(ti.dag_id, ti.run_id), pendulum.now("UTC")
            origin = Origin(run, ti.map_index, ti.try_number, now, params["source"], queue_url)
            counts = pipeline.drain_and_mask(share, queue_url, configured, origin=origin, seconds=params["max_seconds"])
            get_current_context()["came"] = "{received:,} received, {rejected:,} rejected".format(**counts)
            return counts

        @task(trigger_rule="none_failed", inlets=[STAGING_LOGINS], outlets=[USER_LOGINS])
        def merge_user_logins(params=None, dag_run=None, outlet_events=None):
            run, window = Run(dag_run.dag_id, dag_run.run_id), rebuild_window(dag_run, params)
            counts = pipeline.merge_user_logins(run, window=window)
            if not counts["inserted"] and not counts["rebuilt"]:
                raise AirflowSkipException("nothing new")  # a skipped task emits no asset event
            outlet_events[USER_LOGINS].extra = counts
            return counts

        @task(trigger_rule="none_failed")
        def check_run(queue_url, drained, params=None, dag_run=None):
            run, window = Run(dag_run.dag_id, dag_run.run_id), rebuild_window(dag_run, params)
            drained, limit = drained[:] if drained else [], params["max_rejected_percent"]
            pipeline.check_run(run, params["source"], queue_url, drained, window=window, max_rejected_percent=limit)

        configured = variable(queue_variable)
        queue_url = check_setup(configured)
        wait = SqsBacklogSensor(task_id="wait_for_messages", sqs_queue=queue_url, poke_interval=15, timeout=30)
        shares = plan_drain(queue_url)
        wait >> shares
        drained = drain_and_mask.partial(queue_url=queue_url, configured=configured).expand(share=shares)
        drained >> merge_user_logins() >> check_run(queue_url, drained)

    user_logins()


for dag_id, queue_variable in QUEUES.items():
    drain(dag_id, queue_variable)
