"""The compose files, read as `docker compose config` reads them, as far as the tests look: without Docker."""

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import yaml
from dotenv import dotenv_values

PROJECT = Path(__file__).parents[2]
BASE = "docker-compose.yaml"
CELERY = "deploy/compose/celery.yaml"
EXERCISE = "deploy/compose/exercise.yaml"
IMAGE = "deploy/image/compose.yaml"
CELERY_IMAGE = "deploy/image/compose-celery.yaml"
VARIANTS = {
    "base": [BASE],
    "celery": [BASE, CELERY],
    "exercise": [BASE, EXERCISE],
    "image": [BASE, IMAGE],
    "celery-image": [BASE, CELERY, IMAGE, CELERY_IMAGE],
    "exercise-image": [BASE, EXERCISE, IMAGE],
}
FILES = sorted({file for files in VARIANTS.values() for file in files})
VARIABLE = re.compile(r"\$(?:\$|\{(\w+):-([^}]*)\})")  # the only forms that the files may use
REPLACED = ("command", "entrypoint", "test")  # lists that an override replaces; it adds to all others


class Override(list):
    """A list or a mapping, here by its items, that replaces what it would be merged into."""


class Loader(yaml.SafeLoader):
    """With the tag that Compose adds."""


def override(loader, node):
    if isinstance(node, yaml.MappingNode):
        return Override(loader.construct_mapping(node, deep=True).items())
    return Override(loader.construct_sequence(node, deep=True))


Loader.add_constructor("!override", override)


def interpolate(value, variables):
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return type(value)(interpolate(item, variables) for item in value)
    if not isinstance(value, str):
        return value
    assert "$" not in VARIABLE.sub("", value), f"{value}: each variable needs a default, and .env none"
    return VARIABLE.sub(lambda found: variables.get(found[1], found[2]) if found[1] else "$", value)


def load(file, variables):
    return interpolate(yaml.load((PROJECT / file).read_text(), Loader), variables)


def merge(under, over):
    """What Compose makes of a value and the one that a later file, or an extending service, has for it."""
    if isinstance(over, Override):
        return dict(over) if isinstance(under, dict) else list(over)
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {
            key: item if key in REPLACED or key not in under else merge(under[key], item) for key, item in over.items()
        }
    return [*under, *over] if isinstance(under, list) and isinstance(over, list) else over


def services(files, **variables):
    """The services of these files, by name, with whole environments; `variables` are those of the shell."""
    variables = {"USER_LOGINS_ENV_FILE": "/dev/null"} | variables  # not the .env of whoever runs the tests
    loaded = [load(file, variables) for file in files]
    merged = {}
    for content in loaded:
        for name, service in content["services"].items():
            extends = service.pop("extends", None)
            under = load(extends["file"], variables)["services"][extends["service"]] if extends else {}
            merged[name] = merge(merged.get(name, {}), merge(under, service))
    volumes = {name for content in loaded for name in content.get("volumes", {})}
    return {name: whole(service, volumes) for name, service in merged.items()}


def whole(service, volumes):
    environment = {}
    for entry in service.get("env_file", []):
        path = PROJECT / (entry["path"] if isinstance(entry, dict) else entry)
        assert path.exists() or (isinstance(entry, dict) and not entry["required"]), path
        environment |= dotenv_values(path, interpolate=False) if path.exists() else {}
    environment |= {name: str(value) for name, value in service.get("environment", {}).items()}
    return service | {
        "environment": environment,
        "volumes": [mount(text, volumes) for text in service.get("volumes", [])],
    }


def mount(text, volumes):
    source, target, *mode = text.split(":")
    kind = "volume" if source in volumes else "bind"
    return {"type": kind, "source": source, "target": target, "read_only": mode == ["ro"]}


def docker_compose():
    """A function that runs `docker compose` on a variant's files, with no engine and no .env; None without it."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            found = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", found.stdout)
            if found.returncode == 0 and version and tuple(map(int, version.groups())) >= (2, 24, 4):
                return partial(run, command)
    return None


def run(command, files, *arguments, **environment):
    options = [f"--file={file}" for file in files]
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
    return subprocess.run(
        [*command, "--env-file", "/dev/null", *options, "--profile=*", *arguments],
        cwd=PROJECT,
        env=inherited | {"USER_LOGINS_ENV_FILE": "/dev/null"} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
