"""Make the secrets that the containers share, where they are not there yet: python -m deploy.compose.keys FOLDER."""

import json
import os
import sys
from pathlib import Path

from sandbox.own import fault
from sandbox.secret_file import random_secret, secret_file

MAKE = {
    # Fernet takes 32 bytes of base64url with its padding.
    "fernet_key": lambda: random_secret() + "=",
    "jwt_secret": random_secret,
    "api_secret_key": random_secret,
    "connections.json": lambda: json.dumps({"pii_masking": {"conn_type": "generic", "password": random_secret()}}),
}


def main(folder: Path) -> None:
    """Only root, and the group 0, which the user of Airflow's image is in, can read them."""
    if missing := fault(os.environ, throw_away_host="warehouse", throw_away_key="in the volume keys"):
        sys.exit(missing)
    folder.chmod(0o750)
    for name, make in MAKE.items():
        secret_file(folder / name, make)
        (folder / name).chmod(0o640)


main(Path(sys.argv[1]))
