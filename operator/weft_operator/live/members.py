"""Stage 1: which pods are members, and who has each address."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from weft_contract import objects
from weft_contract.objects import Pod
from weft_operator.compile import ClusterView
from weft_operator.compile.members import Member, Members, claimed_addresses, member_of, opts_in, owner_of
from weft_operator.live.changes import Changes, ProblemBook, of_kind
from weft_operator.live.pods import LivePods


@dataclass(slots=True)
class MemberChanges:
    """What changed of pods and members."""

    pods: dict[str, tuple[Pod | None, Pod | None]] = field(default_factory=dict)
    """Pods that changed, or whose membership may have: old and new."""
    members: dict[str, tuple[Member | None, Member | None]] = field(default_factory=dict)
    """Members that came, went or changed: old and new."""
    addresses: set[str] = field(default_factory=set)
    """Addresses whose owner, or something about it, changed."""
    namespaces: set[str] = field(default_factory=set)
    """Namespaces that joined or left the mesh."""


class MemberStage:
    """Keeps members, owners of addresses and namespaces of the mesh.

    Theory: a member depends on its pod, on the label of its namespace and on the trust domain. An address belongs to one
    of the pods that claim it, so each claimant that changes makes all its addresses be judged again.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self.index = LivePods()
        self.by_key: dict[str, Member] = {}
        self.by_address: dict[str, Member] = {}
        self.owners: dict[str, Pod] = {}
        self._claims: dict[str, dict[str, Pod]] = {}
        self._opted_in: set[str] = set()
        self._counts: dict[str, int] = {}
        self._problems = problems
        self._trust_domain = ""

    @property
    def members(self) -> Members:
        """All, for the compiler's functions; it changes with the stage."""
        return Members(by_key=self.by_key, by_address=self.by_address, namespaces=self.namespaces, owners=self.owners)

    @property
    def namespaces(self) -> frozenset[str]:
        """Namespaces that opted in or have a member."""
        return frozenset(self._opted_in | self._counts.keys())

    def update(self, view: ClusterView, changes: Changes, trust_domain: str) -> MemberChanges:
        """Follow changes of pods, namespaces and the trust domain."""
        found = MemberChanges()
        before = self.namespaces
        for key, old, new in of_kind(changes, Pod):
            self.index.replace(old, new)
            found.pods[key] = old, new
        for name, _, namespace in of_kind(changes, objects.Namespace):
            self._opted_in.discard(name)
            if namespace is not None and opts_in(namespace):
                self._opted_in.add(name)
            self._look_again(found, self.index.in_namespace(name).values())
        if trust_domain != self._trust_domain:
            self._trust_domain = trust_domain
            self._look_again(found, view.pods.values())
        for key in found.pods:
            self._judge(view, key, found)
        for address in found.addresses:
            self._settle(address)
            for key, claimant in self._claims.get(address, {}).items():
                found.pods.setdefault(key, (claimant, claimant))  # it may have won or lost the address
        found.namespaces = set(before ^ self.namespaces)
        return found

    def _look_again(self, found: MemberChanges, pods: Iterable[Pod]) -> None:
        for pod in pods:
            found.pods.setdefault(pod.metadata.key, (pod, pod))

    def _judge(self, view: ClusterView, key: str, found: MemberChanges) -> None:
        old_pod, pod = found.pods[key]
        result = member_of(view, key, pod, self._trust_domain) if pod is not None else None
        member = result if isinstance(result, Member) else None
        problem = None if isinstance(result, Member) else result
        self._problems.put("members", key, (problem,) if problem is not None else ())
        old = self.by_key.get(key)
        if member != old:
            found.members[key] = old, member
            self._count(old, -1)
            self._count(member, +1)
            if member is None:
                del self.by_key[key]
            else:
                self.by_key[key] = member
        if old_pod is not None:
            for address in claimed_addresses(old_pod):
                self._claims.get(address, {}).pop(key, None)
                found.addresses.add(address)
        if pod is not None:
            for address in claimed_addresses(pod):
                self._claims.setdefault(address, {})[key] = pod
                found.addresses.add(address)

    def _count(self, member: Member | None, step: int) -> None:
        if member is not None:
            count = self._counts.get(member.namespace, 0) + step
            if count:
                self._counts[member.namespace] = count
            else:
                self._counts.pop(member.namespace, None)

    def _settle(self, address: str) -> None:
        """Judge again who has an address."""
        claimants = self._claims.get(address)
        self.owners.pop(address, None)
        self.by_address.pop(address, None)
        if not claimants:
            self._claims.pop(address, None)
            self._problems.put("addresses", address, ())
            return
        owner, problem = owner_of(address, claimants.values())
        self.owners[address] = owner
        self._problems.put("addresses", address, (problem,) if problem is not None else ())
        member = self.by_key.get(owner.metadata.key)
        if member is not None:
            self.by_address[address] = member
