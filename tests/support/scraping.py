"""What a scrape says, as a test asks of it."""

import re

from include.page.metrics import exposition

LINE = re.compile(r"user_logins_(\w+)(?:\{(.*)\})? (\S+)")


def scrape(connection):
    """The samples: by name without the prefix, and the values of the labels."""
    return samples(exposition(connection))


def samples(text):
    found = {}
    for line in filter(lambda line: not line.startswith("#"), text.splitlines()):
        name, labels, value = LINE.fullmatch(line).groups()
        found[name, *re.findall(r'="((?:[^"\\]|\\.)*)"', labels or "")] = float(value)
    return found
