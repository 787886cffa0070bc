"""The environment variables that point Airflow at this project and at a sandbox's servers."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

from sandbox.servers import NO_PROXY, PROJECT, Servers, secret


def airflow_environment(servers: Servers, *, port: int) -> dict[str, str]:
    """The variables to add to the process's own; `port` is the API server's, on 127.0.0.1.

    Only for a laptop: whoever reaches the port is admin, without a login.
    """
    address = f"http://127.0.0.1:{port}"
    aws = {
        "conn_type": "aws",
        "login": "sandbox",
        "password": "sandbox",
        "extra": {"region_name": "us-east-1", "endpoint_url": servers.sqs},
    }
    warehouse = {"conn_type": "postgres", "host": servers.postgres, "login": "pipeline", "schema": "warehouse"}
    masking = {"conn_type": "generic", "password": servers.masking_key()}
    return {
        "AIRFLOW_HOME": str(servers.home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__FERNET_KEY": _fernet_key(secret(servers.home, "fernet_key")),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@/airflow?host={servers.postgres}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret(servers.home, "api_secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(servers.home, "jwt_secret"),
        "AIRFLOW_CONN_AWS_SQS": json.dumps(aws),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
        "AIRFLOW_CONN_PII_MASKING": json.dumps(masking),
        "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL": servers.queue_url,
        **NO_PROXY,
        "PYTHONPATH": str(PROJECT),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }


def _fernet_key(secret: str) -> str:
    """Fernet takes padded base64url; the secret is the same 32 bytes without padding."""
    return base64.urlsafe_b64encode(base64.urlsafe_b64decode(secret + "=")).decode()
