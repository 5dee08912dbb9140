"""What a policy applies to: which members, and for those attached to a Service on which of their ports.

Theory: selectors and targets are resolved here and nowhere else, so that agents never see a label. A policy of the root
namespace reaches into every namespace. A policy on a Service holds only on the ports that the Service leads to; on the
pod's other ports it is as if it were not there (`Workload.port_scopes`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from weft_contract.objects import ROOT_NAMESPACE, TargetReference, WorkloadSelector
from weft_contract.objects.metadata import Metadata
from weft_contract.problems import Problem
from weft_operator.compile.members import Member, Members
from weft_operator.compile.pod_index import PodFinder
from weft_operator.compile.services import Services
from weft_operator.compile.view import ClusterView

EVERY_PORT: Final[frozenset[int] | None] = None
"""Ports of a member on which a policy holds: a set, or this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The members a policy applies to, with the ports it holds on."""

    ports: Mapping[str, frozenset[int] | None]
    """Member key to ports; None: every port."""
    missing: tuple[str, ...] = ()
    """Targets that are not there."""


@dataclass(frozen=True, slots=True)
class ScopeFinder:
    """Resolves scopes over one view."""

    view: ClusterView
    members: Members
    services: Services
    index: PodFinder

    def find(
        self, metadata: Metadata, selector: WorkloadSelector | None, targets: tuple[TargetReference, ...]
    ) -> Scope:
        """Resolve one policy's scope.

        Args:
            metadata: the policy's; its namespace bounds the scope unless it is the root namespace.
            selector: pods by label.
            targets: Services. Given beside a selector (which makes the policy broken) both count.
        """
        if not targets:
            return Scope(ports={member.key: EVERY_PORT for member in self._selected(metadata, selector)})
        ports: dict[str, frozenset[int] | None] = {}
        missing: list[str] = []
        for target in targets:
            key = f"{metadata.namespace}/{target.name}"
            if target.kind != "Service" or key not in self.services.services or not self._has_section(key, target):
                missing.append(_name(target))
                continue
            for member_key, port in self._behind(key, target):
                ports[member_key] = (ports.get(member_key) or frozenset()) | {port}
        if selector is not None:
            ports.update({member.key: EVERY_PORT for member in self._selected(metadata, selector)})
        return Scope(ports=ports, missing=tuple(missing))

    def _selected(self, metadata: Metadata, selector: WorkloadSelector | None) -> Iterator[Member]:
        namespace = None if metadata.namespace == ROOT_NAMESPACE else metadata.namespace
        for pod in self.index.select(namespace, selector.match_labels if selector is not None else {}):
            member = self.members.by_key.get(pod.metadata.key)
            if member is not None:
                yield member

    def _has_section(self, key: str, target: TargetReference) -> bool:
        names = {port.name for port in self.services.services[key].ports}
        return target.section_name is None or target.section_name in names

    def _behind(self, key: str, target: TargetReference) -> Iterator[tuple[str, int]]:
        for member_key, lead in self.services.behind.get(key, ()):
            if target.section_name in (None, lead.port_name):
                yield member_key, lead.pod_port


def _name(target: TargetReference) -> str:
    section = f" port {target.section_name}" if target.section_name is not None else ""
    return f"{target.kind} {target.name}{section}"


def missing_problems(scope: Scope, source: str, subject: str) -> Iterator[Problem]:
    """Yield a warning for each target that is not there."""
    for name in scope.missing:
        message = f"{name} is not there, so the policy does not hold for it yet"
        yield Problem(path="$.spec.targetRefs", message=message, source=source, subject=subject, warning=True)
