"""Who shares devices and addresses, counted as soon as there is somebody to count.

`maintain_user_logins` counts once a day. Its first run begins beside the first one of `user_logins`, and finds no row.
"""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg

from sandbox import airflow
from sandbox.servers import Servers

MAINTENANCE = "maintain_user_logins"
STANDING = """
select
    exists (select from public.user_logins) and not exists (select from login_etl.batches where merged_at is null),
    exists (select from login_etl.shared_masks)
"""


def count_shared_once(servers: Servers, address: str) -> bool:
    """Wait for the first rows, and trigger the maintenance of the Airflow at `address`; False where it has counted."""
    while True:
        # The tables, the DAG or an answer may not be there yet.
        with suppress(psycopg.Error, OSError), servers.connect() as warehouse:
            [(has_rows, is_counted)] = warehouse.execute(STANDING).fetchall()
            if is_counted:
                return False
            if has_rows and airflow.trigger(address, MAINTENANCE):
                return True
        time.sleep(2)
