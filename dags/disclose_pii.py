"""### Ask for originals, and let somebody else decide

Trigger it by hand, in the UI, as a user with a name of your own. It asks for the addresses and device ids behind up to
100 masks, or, with `case` alone, for all of the person whom an officer has noted for that case. One of the users in
the variable `disclosure_approvers`, who is not you, approves or rejects it under *Required Actions*, within three
days. Then an officer, who has the private key, reads them outside of Airflow: `python -m include.privacy reveal`.

* **Nothing is shown here**: no original is in a log, in XCom, or on a page; the pipeline cannot open them.
* **Approved**: an officer can read it for a day, as often as needed; each time is in the trail.
* **It failed right after the answer**, which came within seconds of the question: clear it, and it asks again. Airflow
  had not noticed yet that the question was asked.
* **Rejected, or nobody decided in time**: ask again with a new run. A run that was decided, cleared, marked or made
  anew grants nothing.
* **`nobody in particular asks`**: this Airflow makes everybody an admin without a name, or the command line or a
  schedule has asked. People need users of their own.
* **`… masks are in no login`**: after a rotation, masks are others. Copy them from `user_logins` again.
* **`no original was ever kept`**: the vault is off until an officer registers a public key. docs/privacy.md has how.

Needs the connection `warehouse`, schema `privacy`, and the variable `disclosure_approvers`.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag

from include.alerts import alert, say_last
from include.approval import DisclosureApproval
from include.params import DISCLOSURE_FORM


@dag(
    description="Ask for the originals of masks, or of a person; somebody else approves, an officer reads them",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    max_active_runs=100,
    on_failure_callback=alert,
    default_args={"owner": "data-platform", "on_failure_callback": say_last},
    dagrun_timeout=timedelta(days=4),
    params=DISCLOSURE_FORM,
    tags=["logins", "pii"],
    doc_md=__doc__,
)
def disclose_pii():
    DisclosureApproval(task_id="approve_disclosure")


disclose_pii()
