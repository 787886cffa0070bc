"""The table as Airflow knows it: other DAGs are scheduled on its events.

One asset, whichever queue a DAG drains and wherever the connection `warehouse` leads: its URI is a name for the table,
and not its address. It stays as it is, since a DAG that knows the asset by another URI would fail.
"""

from airflow.sdk import Asset

USER_LOGINS = Asset("user_logins", uri="postgres://warehouse/postgres/public/user_logins")
