"""### Rejected messages: parsed again, and loaded where they are valid now

Run it by hand after a fix of the parser, or to see what a fix would do. It opens the sealed bodies in
`login_etl.rejected_messages`, parses them with the code as it is now, and loads those that have become valid under
their own message ids: once, however often it runs.

* **First as a dry run**, which is the default: the log of `replay_messages` says how many messages would be loaded, and
  what is still wrong with the others. Nothing is changed.
* **Then with `dry_run` off**: valid messages are staged, their sealed bodies are forgotten, and `merge_user_logins`
  loads them. What is still rejected stays as it is.
* **`reasons`** selects by broken rule, as the column `reason` has them: one per line, such as `app_version: version`.
* **It failed**: run it again; what was replayed is not replayed twice.

A body that is forgotten (see `maintain_user_logins`) cannot be replayed.
The counts are in the view `login_etl.history`, with `rejected_messages` as their source.
Needs the connections `warehouse` and `pii_masking`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

from include import pipeline
from include.alerts import alert
from include.assets import STAGING_LOGINS, USER_LOGINS
from include.events.message import Origin, Run
from include.params import REPLAY_FORM, selection
from include.retries import RETRIES


@dag(
    description="Parse rejected messages again, and load those that are valid now",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=1,
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "execution_timeout": timedelta(minutes=30), **RETRIES},
    params=REPLAY_FORM,
    tags=["sqs", "logins", "pii"],
    doc_md=__doc__,
)
def replay_rejected():
    @task(outlets=[STAGING_LOGINS])
    def replay_messages(params=None, ti=None):
        run = Run(ti.dag_id, ti.run_id)
        origin = Origin(run, ti.map_index, ti.try_number, pendulum.now("UTC"), source="rejected_messages")
        return pipeline.replay_messages(selection(params), origin=origin, dry_run=params["dry_run"])

    @task(inlets=[STAGING_LOGINS], outlets=[USER_LOGINS])
    def merge_user_logins(params=None, dag_run=None, outlet_events=None):
        if params["dry_run"]:
            raise AirflowSkipException("a dry run loads nothing")
        counts = pipeline.merge_user_logins(Run(dag_run.dag_id, dag_run.run_id))
        if not counts["inserted"]:
            raise AirflowSkipException("nothing to merge")  # a skipped task emits no asset event
        outlet_events[USER_LOGINS].extra = counts
        return counts

    @task(trigger_rule="none_failed")
    def check_run(replayed, dag_run=None):
        pipeline.check_run(Run(dag_run.dag_id, dag_run.run_id), "rejected_messages", drained=[replayed])

    replayed = replay_messages()
    replayed >> merge_user_logins() >> check_run(replayed)


replay_rejected()
