"""The flowcharts of the documents, as far as ours need it: nodes with a label, `-->`, `&`, and subgraphs."""

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
# A node is written with its label once, in brackets of a shape, and named by its id elsewhere.
NODE = re.compile(r'(\w+)(?:[\[(/]+"([^"]+)"[\])/]+)?')
ARROW = re.compile(r"\s*-->(?:\|[^|]*\|)?\s*")
IGNORED = re.compile(r"flowchart \w+|direction \w+|end|.* ~~~ .*|")  # what is only for the layout


class Flowchart(NamedTuple):
    """The labels of each subgraph's nodes, None for those outside of any, and the arrows between labels.

    Of a label its first line counts; the others say what it is.
    """

    nodes: dict[str | None, set[str]]
    arrows: set[tuple[str, str]]

    def between(self, sources, targets):
        """The arrows from any of these labels to any of those."""
        return {(source, target) for source, target in self.arrows if source in sources and target in targets}


def flowchart(document):
    """The one picture of a document; ValueError for a line that cannot be read, so that none is left unchecked."""
    [text] = re.findall(r"```mermaid\n(.*?)```", (PROJECT / "docs" / document).read_text(), re.DOTALL)
    labels, homes, arrows, home = {}, {}, set(), None
    for line in map(str.strip, text.splitlines()):
        if subgraph := re.fullmatch(r'subgraph (\w+) \["[^"]+"\]', line):
            home = subgraph[1]
        elif line == "end":
            home = None
        elif not IGNORED.fullmatch(line):
            groups = [[_node(text, labels, homes, home) for text in part.split(" & ")] for part in ARROW.split(line)]
            arrows |= {(one, other) for left, right in pairwise(groups) for one in left for other in right}
    nodes = {place: {labels[name] for name in homes if homes[name] == place} for place in {None, *homes.values()}}
    return Flowchart(nodes, {(labels[one], labels[other]) for one, other in arrows})


def _node(text, labels, homes, home):
    """A node's id; where it is written with its label, that and its subgraph are noted."""
    found = NODE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a node of a flowchart, or not as we write them: {text}")
    name, label = found.groups()
    if label:
        if name in labels:
            raise ValueError(f"two labels for one node: {text}")
        labels[name], homes[name] = label.split("<br/>")[0], home
    return name


def reduced(arrows):
    """Arrows without those that follow from others: a → c is left out where a → b and b → c are there.

    >>> sorted(reduced({("a", "b"), ("b", "c"), ("a", "c")}))
    [('a', 'b'), ('b', 'c')]
    """

    def reachable(start, left_out):
        found, new = set(), {start}
        while new:
            found |= new
            new = {end for begin, end in arrows - {left_out} if begin in new} - found
        return found

    return {arrow for arrow in arrows if arrow[1] not in reachable(arrow[0], arrow)}
