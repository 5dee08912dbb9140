"""What became of each object: verdicts that a controller turns into conditions and the command line into lines."""

from dataclasses import dataclass
from typing import Final

from weft_contract.objects import ParentReference
from weft_contract.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The content of one condition."""

    holds: bool
    reason: str
    """CamelCase and stable, a word of the Gateway API where it has one."""
    message: str = ""


ACCEPTED: Final = Verdict(holds=True, reason="Accepted")
RESOLVED: Final = Verdict(holds=True, reason="ResolvedRefs")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentResult:
    """What became of a route at one of its parents."""

    parent: ParentReference
    """Exactly as the author wrote it, nothing filled in: tools compare it with the spec."""
    accepted: Verdict
    resolved_refs: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class AncestorResult:
    """What became of a policy of the Gateway API at one of its targets."""

    service: str
    """`namespace/name`; it may not be there."""
    accepted: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectResult:
    """What became of one object."""

    kind: str
    namespace: str
    name: str
    generation: int
    source: str
    accepted: Verdict
    """For a route: whether any parent took it."""
    resolved_refs: Verdict | None = None
    """For routes: whether every backend is there; None for other kinds."""
    parents: tuple[ParentResult, ...] = ()
    """For routes: their Services."""
    ancestors: tuple[AncestorResult, ...] = ()
    """For policies of the Gateway API: those of their targets that are Services of the mesh."""
    pods: int = 0
    """Members it holds for."""
    resource: str = ""
    """Key of the resource it became; empty: none."""
    nodes: tuple[str, ...] = ()
    """Nodes whose document has that resource, for `Programmed`."""
    problems: tuple[Problem, ...] = ()
    overridden_by: str = ""
    """Key of the object of the same kind that holds in its place wherever it would; empty: none does."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name
