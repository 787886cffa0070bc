"""The table as Airflow knows it: other DAGs are scheduled on its events."""

from airflow.sdk import Asset

USER_LOGINS = Asset("user_logins", uri="postgres://warehouse/postgres/public/user_logins")
