"""The commands that a manual says to type."""

import os
import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name, language="sh"):
    """The blocks of a document in this language, in order, without those of Airflow's own command."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    texts = ["\n".join(line.removeprefix(indent) for line in text.splitlines()) for indent, text in found]
    return [text for text in texts if not text.startswith("airflow ")]


def landed_by_the_log(logs, folder):
    """Batch, received, staged, rejected and deleted of each line in Airflow's logs that a recovery counts by."""
    [command] = [text[: text.index("psql")] for text in blocks("recovery.md") if text.startswith("grep")]
    environment = os.environ | {"LOGS": str(logs)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, check=True)
    lines = (folder / "landed.csv").read_text().splitlines()
    return sorted(tuple(map(int, line.split(","))) for line in lines)
