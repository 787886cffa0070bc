"""Calls the functions of the DAGs' tasks as a worker does, for a test that looks at nothing but what they do.

`python task_process.py dags`, in a process whose PYTHONPATH has the code of those DAGs: a line of JSON in is a call, a
line of JSON out what became of it, as Airflow would keep it. Of that code `tests` may be another one: hence no import.
"""

import inspect
import json
import os
import sys
from collections import defaultdict
from types import SimpleNamespace

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException


def read_dags(folder):
    """The DAGs of a folder, by their ids."""
    bag = DagBag(folder)
    if bag.import_errors:
        raise ImportError(str(bag.import_errors))
    return bag.dags


def call_task(dags, line):
    """Call a task's function with its arguments, and what it asks for of Airflow's context; all in JSON.

    What it returned, and the extras of its asset events; or that it skipped itself; or its error.
    """
    asked = json.loads(line)
    dag = dags[asked["dag_id"]]
    task = dag.task_dict[asked["task_id"]]
    function = getattr(task, "python_callable", None) or task.partial_kwargs["python_callable"]
    if "get_current_context" in function.__globals__:
        function.__globals__["get_current_context"] = dict
    events = defaultdict(SimpleNamespace)
    run = {"dag_id": dag.dag_id, "run_id": asked["run_id"]}
    no_window = {"run_type": "manual", "data_interval_start": None, "data_interval_end": None}
    context = {
        "params": {name: dag.params[name] for name in dag.params} | asked["params"],
        "dag_run": SimpleNamespace(**run, **no_window),
        "ti": SimpleNamespace(**run, map_index=asked["map_index"], try_number=1),
        "outlet_events": events,
    }
    of_context = {name: context[name] for name in inspect.signature(function).parameters if name in context}
    try:
        done = {"returned": function(**asked["arguments"], **of_context)}
    except AirflowSkipException:
        done = {"skipped": True}
    except Exception as error:  # noqa: BLE001
        done = {"raised": f"{type(error).__name__}: {error}"}
    return json.dumps(done | {"events": [event.extra for event in events.values()]})


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what is logged must not come in between
    dags = read_dags(sys.argv[1])
    for line in sys.stdin:
        print(call_task(dags, line), file=answers)
