"""Which mTLS mode holds at each member: pods before namespace before mesh, among equals broken ones, then the oldest.

Theory: a broken PeerAuthentication counts as STRICT for everything it applies to, because refusing is the only answer
that cannot be weaker than what its author meant. One object decides at a member, ports included; so an object whose pods
another one has all taken before it has no effect anywhere, and is told so (`Conflicted`). That is seen from the selectors
alone: no labels, or labels that include all of the other's. Where two selectors merely overlap, each holds somewhere.

Source: Istio PeerAuthentication: precedence, `UNSET` inherits, `portLevelMtls` needs a selector.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weft_contract import objects
from weft_contract.objects.check.text import port_number
from weft_contract.objects.peer_authentication import MutualTls
from weft_contract.objects.target import ROOT_NAMESPACE
from weft_contract.problems import Problem
from weft_contract.resources.workload import MtlsMode
from weft_operator.compile.members import Member, Members
from weft_operator.compile.results import ACCEPTED, ObjectResult, Verdict
from weft_operator.compile.view import ClusterView


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """What holds at one member."""

    mode: MtlsMode
    ports: tuple[tuple[int, MtlsMode], ...]
    decided_by: str
    """Key of the object that decided `mode`; empty: the Mesh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One object, ready to be asked."""

    key: str
    labels: Mapping[str, str]
    mode: MtlsMode | None
    ports: tuple[tuple[int, MtlsMode | None], ...]


class ModeTable:
    """All PeerAuthentication objects, ordered for looking up."""

    def __init__(self, view: ClusterView, default: MtlsMode) -> None:
        self._view, self._default = view, default
        self._wide: dict[str, _Rule] = {}
        self._narrow: dict[str, list[_Rule]] = {}
        self.problems: list[Problem] = []
        self.losers: dict[str, str] = {}
        """Objects that have no effect anywhere because of another one: key to the winner's."""
        for policy in sorted(view.peer_authentication.values(), key=lambda item: _precedence(item, view)):
            self._add(_rule(policy, _broken(policy, view)), policy.metadata.namespace, view)

    def _add(self, rule: _Rule, namespace: str, view: ClusterView) -> None:
        winner = self._winner(rule, namespace)
        if winner is not None:
            self.losers[rule.key] = winner.key
            self.problems.append(_conflict(rule.key, winner.key, view))
        elif rule.labels:
            self._narrow.setdefault(namespace, []).append(rule)
        else:
            self._wide[namespace] = rule

    def _winner(self, rule: _Rule, namespace: str) -> _Rule | None:
        """Return the object, of those before this one, that has all pods of this one; None: there is none."""
        if not rule.labels:
            return self._wide.get(namespace)
        earlier = self._narrow.get(namespace, ())
        return next((other for other in earlier if other.labels.items() <= rule.labels.items()), None)

    def look_up(self, member: Member) -> Modes:
        """Say what holds at a member."""
        mode, decided_by = self._default, ""
        for namespace in (ROOT_NAMESPACE, member.namespace):
            wide = self._wide.get(namespace)
            if wide is not None and wide.mode is not None:
                mode, decided_by = wide.mode, wide.key
        chosen = next((rule for rule in self.candidates(member)), None)
        if chosen is None:
            return Modes(mode=mode, ports=(), decided_by=decided_by)
        if chosen.mode is not None:
            mode, decided_by = chosen.mode, chosen.key
        ports = tuple((port, own) for port, own in chosen.ports if own is not None and own != mode)
        return Modes(mode=mode, ports=ports, decided_by=decided_by)

    def results(self, members: Members) -> Iterator[ObjectResult]:
        """Yield what became of each object; it holds where it is the narrowest, and is told for all it selects."""
        for policy in self._view.peer_authentication.values():
            selected = [member for member in members.by_key.values() if selects(policy, member)]
            yield self.result(policy, pods=len(selected), nodes=tuple(sorted({member.node for member in selected})))

    def result(self, policy: objects.PeerAuthentication, *, pods: int, nodes: tuple[str, ...]) -> ObjectResult:
        """Say what became of one object.

        Args:
            policy: the object.
            pods: members that it selects.
            nodes: where they run, sorted.
        """
        key = policy.metadata.key
        return ObjectResult(
            kind=policy.kind,
            namespace=policy.metadata.namespace,
            name=policy.metadata.name,
            generation=policy.metadata.generation,
            source=self._view.source(policy.kind, key),
            accepted=self._verdict(key),
            overridden_by=self.losers.get(key, ""),
            pods=pods,
            nodes=nodes,
        )

    def _verdict(self, key: str) -> Verdict:
        broken = self._view.broken.get(("PeerAuthentication", key))
        if broken is not None:
            return Verdict(holds=False, reason="Invalid", message=f"{broken}; until it is corrected it means STRICT")
        if key in self.losers:
            message = f"{_precedes(self.losers[key], self._view)}, so this object has no effect"
            return Verdict(holds=False, reason="Conflicted", message=message)
        return ACCEPTED

    def candidates(self, member: Member) -> list[_Rule]:
        """Return the objects that select a member by label, the one that wins first."""
        return [rule for rule in self._narrow.get(member.namespace, []) if rule.labels.items() <= member.labels.items()]


def selects(policy: objects.PeerAuthentication, member: Member) -> bool:
    """Whether an object's selector, or the lack of one, means a member."""
    selector = policy.spec.selector
    if selector is not None and selector.match_labels:
        same = policy.metadata.namespace == member.namespace
        return same and selector.match_labels.items() <= member.labels.items()
    return policy.metadata.namespace in (member.namespace, ROOT_NAMESPACE)


def _broken(policy: objects.PeerAuthentication, view: ClusterView) -> str | None:
    return view.broken.get(("PeerAuthentication", policy.metadata.key))


def _precedence(policy: objects.PeerAuthentication, view: ClusterView) -> tuple[bool, float, str]:
    """Sort broken objects first, because they refuse, then by age."""
    return _broken(policy, view) is None, policy.metadata.created_unix_s, policy.metadata.key


def _rule(policy: objects.PeerAuthentication, broken: str | None) -> _Rule:
    selector = policy.spec.selector
    labels = selector.match_labels if selector is not None else {}
    if broken is not None:
        return _Rule(key=policy.metadata.key, labels=labels, mode="STRICT", ports=())
    ports = ((port_number(port), _mode(mtls)) for port, mtls in policy.spec.port_level_mtls.items())
    known = sorted((port, mode) for port, mode in ports if port is not None and mode is not None)
    return _Rule(key=policy.metadata.key, labels=labels, mode=_mode(policy.spec.mtls), ports=tuple(known))


def _mode(mtls: MutualTls | None) -> MtlsMode | None:
    return None if mtls is None or mtls.mode == "UNSET" else mtls.mode


def _precedes(winner: str, view: ClusterView) -> str:
    """Say why an object holds and not another one."""
    why = "is older" if ("PeerAuthentication", winner) not in view.broken else "is broken, which means STRICT"
    return f"{winner} holds for the same pods and {why}"


def _conflict(loser: str, winner: str, view: ClusterView) -> Problem:
    return Problem(
        path="$.spec",
        message=f"{_precedes(winner, view)}, so this object has no effect (Conflicted)",
        remedy="take one out, or select other pods",
        source=view.source("PeerAuthentication", loser),
        subject=f"PeerAuthentication {loser}",
        warning=True,
    )
