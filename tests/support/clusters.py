"""A Postgres of a test's own, which can crash, lose its disk, and be made again from a backup."""

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

OPTIONS = {"listen_addresses": "", "fsync": "off"}


@dataclass(frozen=True)
class Cluster:
    """The server whose programs are in `programs`; its socket, its data and its log are in `folder`."""

    programs: Path
    folder: str
    identity: dict = field(default_factory=dict)  # of whom it runs as

    @property
    def data(self):
        return Path(self.folder, "data")

    def make(self):
        """A new one, with a superuser `postgres`."""
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def configure(self, lines):
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{lines}\n")

    def owns(self, folder):
        """A folder, which is made where it is not there, belongs to whom it runs as, with all in it."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for path in [folder, *folder.rglob("*")] if self.identity else []:
            os.chown(path, self.identity["user"], self.identity["group"])

    def start(self):
        options = OPTIONS | {"unix_socket_directories": self.folder}
        said = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self.run("pg_ctl", "-w", "-D", self.data, "-o", said, "-l", f"{self.folder}/log", "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-w", "-m", mode, "-D", self.data, "stop")

    def lose(self):
        """It crashes, and its disk is gone."""
        self.stop("immediate")
        shutil.rmtree(self.data)

    def run(self, program, *arguments):
        command = [self.programs / program, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self.identity)


@contextmanager
def cluster(programs, user="nobody"):
    """A folder for one, which is neither made nor started; stopped at the end. As root it runs as this user."""
    with tempfile.TemporaryDirectory() as folder:
        identity = {}
        if os.geteuid() == 0:  # as which no Postgres runs
            found = pwd.getpwnam(user)
            os.chown(folder, found.pw_uid, found.pw_gid)
            identity = {"user": found.pw_uid, "group": found.pw_gid}
        made = Cluster(programs, folder, identity)
        try:
            yield made
        finally:
            if (made.data / "postmaster.pid").exists():
                made.stop()
