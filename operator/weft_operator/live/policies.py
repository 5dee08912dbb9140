"""Stage 4: policies, and the members they hold at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from weft_contract import objects
from weft_contract.objects import ROOT_NAMESPACE
from weft_contract.resources import AuthorizationPolicy, RateLimitPolicy
from weft_operator.compile import ClusterView, ObjectResult
from weft_operator.compile.annotated_limits import is_annotated
from weft_operator.compile.authorization import asks_http
from weft_operator.compile.members import Member
from weft_operator.compile.policies import (
    authorization_resource,
    authorization_result,
    policy_result,
    rate_limit_resource,
)
from weft_operator.compile.scopes import EVERY_PORT, Scope, ScopeFinder
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import Changes, ProblemBook
from weft_operator.live.services import ServiceChanges

PolicyObject: TypeAlias = objects.AuthorizationPolicy | objects.RateLimitPolicy
PolicyResource: TypeAlias = AuthorizationPolicy | RateLimitPolicy
PortsOfPolicy: TypeAlias = dict[str, frozenset[int] | None]


class _Nowhere:
    """Stands for the ports of a policy that does not hold; None means every port."""


_NOWHERE = _Nowhere()


@dataclass(slots=True)
class PolicyChanges:
    """What changed of policies."""

    resources: set[ObjectKey] = field(default_factory=set)
    """Policies whose resource came, went or changed."""
    members: set[str] = field(default_factory=set)
    """Members at which other policies hold, or on other ports."""
    results: dict[ObjectKey, ObjectResult | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """One policy with what it came to."""

    item: PolicyObject
    resource: PolicyResource
    ports: PortsOfPolicy = field(default_factory=dict)
    """Member key to the ports it holds on."""
    missing: tuple[str, ...] = ()
    result: ObjectResult | None = None


class PolicyStage:
    """Keeps every AuthorizationPolicy and RateLimitPolicy compiled, with where it holds.

    Theory: a policy with a selector follows its members one by one, because one for the whole mesh has very many. One
    with targets is resolved again as a whole when such a Service, or what stands behind it, changes. What is said of a
    policy that looks at HTTP depends also on the leads of the members it holds at.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self.at: dict[str, dict[ObjectKey, frozenset[int] | None]] = {}
        """Member key to policy to ports."""
        self._held: dict[ObjectKey, _Held] = {}
        self._selecting: dict[str, set[ObjectKey]] = {}
        """Namespace to its policies that follow members one by one."""
        self._targeting: dict[str, set[ObjectKey]] = {}
        """Service to the policies that target it."""
        self._mixed: set[ObjectKey] = set()
        """Policies with selector and targets: broken, and in force wherever either says."""
        self._problems = problems
        self._domains: frozenset[str] = frozenset()

    def resource(self, place: ObjectKey) -> PolicyResource | None:
        """Return the resource of a policy."""
        held = self._held.get(place)
        return held.resource if held is not None else None

    def update(
        self,
        view: ClusterView,
        finder: ScopeFinder,
        changes: Changes,
        members: Mapping[str, tuple[Member | None, Member | None]],
        services: ServiceChanges,
        domains: frozenset[str],
    ) -> PolicyChanges:
        """Follow changes of policies, members and Services.

        Args:
            view: the cluster.
            finder: over members and Services as they are now.
            changes: of objects.
            members: that changed, old and new.
            services: what changed of Services.
            domains: trust domains that somebody can have.
        """
        found = PolicyChanges()
        told = set(self._held) if domains != self._domains else set()
        self._domains = domains
        whole = {place for place, change in changes.items() if isinstance(change.old or change.new, PolicyObject)}
        for place in whole:
            self._take_over(place, view, found)
        for service in services.services | services.behind:
            whole |= self._targeting.get(service, set())
        if members:
            whole |= self._mixed
        for place in whole & self._held.keys():
            self._find(place, finder, found)
        for key, (old, new) in members.items():
            told |= self._follow(key, old, new, found)
        for key in services.leads:
            told.update(place for place in self.at.get(key, ()) if self._asks_http(place))
        for place in told | whole:
            self._tell(place, view, finder, found)
        return found

    def _take_over(self, place: ObjectKey, view: ClusterView, found: PolicyChanges) -> None:
        """Put a policy's object in place of the old one, without its scope."""
        old = self._held.get(place)
        if old is not None:
            self._unlink(place, old.item)
        item = _policy(view, place)
        if item is None:
            if old is not None:
                self._hold_at(place, old, {}, found)
                del self._held[place]
                found.resources.add(place)
            return
        resource = _compiled(item, view.broken.get(place))
        held = self._held[place] = _Held(item, resource, result=old.result if old is not None else None)
        if old is not None:
            held.ports = old.ports
        if old is None or old.resource != resource:
            found.resources.add(place)
        self._link(place, item)

    def _link(self, place: ObjectKey, item: PolicyObject) -> None:
        if not item.spec.target_refs:
            self._selecting.setdefault(item.metadata.namespace, set()).add(place)
        for target in item.spec.target_refs:
            self._targeting.setdefault(f"{item.metadata.namespace}/{target.name}", set()).add(place)
        if item.spec.target_refs and item.spec.selector is not None:
            self._mixed.add(place)

    def _unlink(self, place: ObjectKey, item: PolicyObject) -> None:
        self._selecting.get(item.metadata.namespace, set()).discard(place)
        for target in item.spec.target_refs:
            self._targeting.get(f"{item.metadata.namespace}/{target.name}", set()).discard(place)
        self._mixed.discard(place)

    def _find(self, place: ObjectKey, finder: ScopeFinder, found: PolicyChanges) -> None:
        held = self._held[place]
        scope = finder.find(held.item.metadata, held.item.spec.selector, held.item.spec.target_refs)
        held.missing = scope.missing
        self._hold_at(place, held, dict(scope.ports), found)

    def _hold_at(self, place: ObjectKey, held: _Held, ports: PortsOfPolicy, found: PolicyChanges) -> None:
        for key in held.ports.keys() | ports.keys():
            old, new = held.ports.get(key, _NOWHERE), ports.get(key, _NOWHERE)
            if old != new:
                self._note(place, key, new, found)
        held.ports = ports

    def _note(self, place: ObjectKey, key: str, ports: frozenset[int] | _Nowhere | None, found: PolicyChanges) -> None:
        found.members.add(key)
        if isinstance(ports, _Nowhere):
            self.at[key].pop(place)
            if not self.at[key]:
                del self.at[key]
        else:
            self.at.setdefault(key, {})[place] = ports

    def _follow(self, key: str, old: Member | None, new: Member | None, found: PolicyChanges) -> set[ObjectKey]:
        """Let the policies of a member's namespace, and of all, look at it again; return those that say otherwise now."""
        namespace = key.partition("/")[0]
        if old is not None and new is not None and old.labels == new.labels:
            return set()
        changed: set[ObjectKey] = set()
        for place in self._selecting.get(namespace, set()) | self._selecting.get(ROOT_NAMESPACE, set()):
            held = self._held[place]
            selector = held.item.spec.selector
            wanted = selector.match_labels if selector is not None else {}
            holds = new is not None and wanted.items() <= new.labels.items()
            if holds and key not in held.ports:
                held.ports[key] = EVERY_PORT
                self._note(place, key, EVERY_PORT, found)
                changed.add(place)
            elif not holds and key in held.ports:
                del held.ports[key]
                self._note(place, key, _NOWHERE, found)
                changed.add(place)
        return changed

    def _asks_http(self, place: ObjectKey) -> bool:
        resource = self._held[place].resource
        return isinstance(resource, AuthorizationPolicy) and any(asks_http(rule) for rule in resource.rules)

    def _tell(self, place: ObjectKey, view: ClusterView, finder: ScopeFinder, found: PolicyChanges) -> None:
        if is_annotated(place[1]):
            return
        held = self._held.get(place)
        if held is None:
            found.results[place] = None
            self._problems.put("policies", f"{place[0]} {place[1]}", ())
            return
        scope = Scope(ports=held.ports, missing=held.missing)
        match held.item, held.resource:
            case objects.AuthorizationPolicy() as policy, AuthorizationPolicy() as resource:
                result = authorization_result(view, policy, resource, finder, scope, self._domains)
            case _:  # a rate limit, of which there is nothing more to say
                result = policy_result(view, held.item, held.resource, scope, [])
        if result != held.result:
            held.result = found.results[place] = result
            self._problems.put("policies", f"{place[0]} {place[1]}", result.problems)


def _policy(view: ClusterView, place: ObjectKey) -> PolicyObject | None:
    kind, key = place
    return view.authorization.get(key) if kind == "AuthorizationPolicy" else view.rate_limits.get(key)


def _compiled(item: PolicyObject, broken: str | None) -> PolicyResource:
    match item:
        case objects.AuthorizationPolicy():
            return authorization_resource(item, broken)
        case objects.RateLimitPolicy():
            return rate_limit_resource(item, broken)
