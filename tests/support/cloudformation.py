"""The CloudFormation template, read as data."""

from pathlib import Path

import yaml

TEMPLATE = Path(__file__).parents[2] / "deploy" / "aws" / "queue.yaml"


class Loader(yaml.SafeLoader):
    """With CloudFormation's tags: `!Ref Queue` is `{"Ref": "Queue"}`."""


def function(loader, name, node):
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    return {name: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", function)


def template():
    return yaml.load(TEMPLATE.read_text(), Loader)


def properties(resource):
    return template()["Resources"][resource]["Properties"]


def statements(resource, document="PolicyDocument"):
    """The statements of a policy, by Sid; those that depend on a condition are there too."""
    given = properties(resource)[document]["Statement"]
    return {each["Sid"]: each for each in (each["If"][1] if "If" in each else each for each in given)}


def actions(statement):
    """The actions of a statement, which may be one text or a list."""
    given = statement["Action"]
    return [given] if isinstance(given, str) else given
