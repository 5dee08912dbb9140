"""What one round of compiling changed, as the distribution takes it over: frozen, and shared between threads.

Theory: what nodes hold lies on *shelves*, and a node is given a list of shelves: what everybody has, what everybody with a
member has, what members of one namespace have, and the node's own. So one change of a Service is one change on one shelf,
however many nodes read it, and who reads which shelf changes only when namespaces come to a node or leave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from weft_contract.problems import Problem
from weft_operator.compile import ObjectResult
from weft_operator.compile.reach import Audience
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import ProblemKey

Shelf: TypeAlias = str
ALWAYS: Final[Shelf] = "always"
"""For every node."""
EVERYBODY: Final[Shelf] = "everybody"
"""For every node with a member."""


def namespace_shelf(namespace: str) -> Shelf:
    """Return the shelf of what only some namespaces are told, for one of them."""
    return f"namespace/{namespace}"


def node_shelf(node: str) -> Shelf:
    """Return the shelf of what one node alone has."""
    return f"node/{node}"


def shelves_of(audience: Audience) -> frozenset[Shelf]:
    """Return the shelves that something with this audience lies on."""
    return frozenset({EVERYBODY}) if audience is None else frozenset(map(namespace_shelf, audience))


@dataclass(frozen=True, slots=True)
class Item:
    """One resource as it goes over the wire, encoded once for everybody."""

    key: str
    hash: str
    body: bytes
    """Canonical JSON of the resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Differences between two rounds."""

    shelves: Mapping[Shelf, Mapping[str, Item | None]] = field(default_factory=dict)
    """What lies there now, by resource key; None: nothing any more."""
    nodes: Mapping[str, tuple[Shelf, ...] | None] = field(default_factory=dict)
    """The shelves of nodes that are given others now; None: the node is gone."""
    results: Mapping[ObjectKey, ObjectResult | None] = field(default_factory=dict)
    """What became of objects; `nodes` is filled in by whoever knows the shelves, except where it needs none."""
    problems: Mapping[ProblemKey, tuple[Problem, ...]] = field(default_factory=dict)
    """Problems by who found them with what; empty: gone."""

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.shelves or self.nodes or self.results or self.problems)
