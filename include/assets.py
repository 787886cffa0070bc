"""The tables as Airflow knows them: other DAGs are scheduled on the events of one, and lineage shows both.

One asset, whichever queue a DAG drains and wherever the connection `warehouse` leads: its URI is a name for the table,
and not its address. It stays as it is, since a DAG that knows the asset by another URI would fail.
"""

from airflow.providers.common.compat.lineage.entities import Table
from airflow.sdk import Asset

USER_LOGINS = Asset("user_logins", uri="postgres://warehouse/postgres/public/user_logins")
# For lineage only, in whose terms the asset above is postgres://warehouse:5432, postgres.public.user_logins. An asset
# would have an event for each drain task, and DAGs could be scheduled on what is not merged yet.
STAGING_LOGINS = Table(cluster="postgres://warehouse:5432", database="postgres", name="login_etl.staging_logins")
