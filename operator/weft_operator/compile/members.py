"""Pods that opted in: who they are, where they run, and why a pod that wants in is refused.

Theory: only a *member* has an identity and is captured. A pod that wants in and cannot be (host network, a service account
that makes no identity) is a problem, never a silent stranger. Pods without an address or a node yet, and pods that have
ended, are simply not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from weft_contract import labels
from weft_contract.codec import digest
from weft_contract.identity import IdentityGrammarError, spiffe_id
from weft_contract.names import is_subdomain
from weft_contract.objects import Namespace, Pod, ReplicaSet
from weft_contract.objects.annotations import AnnotationError, enrolled
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.pod import owner_name as name_by_object
from weft_contract.problems import Problem
from weft_operator.compile.ports import Ranges, annotated_ranges
from weft_operator.compile.view import ClusterView

ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An enrolled pod that runs somewhere."""

    key: str
    """`namespace/name`."""
    pod: Pod
    node: str
    addresses: tuple[str, ...]
    service_account: str
    identity: str
    workload: str
    """Name of the owner, for telemetry."""
    uncaptured: Ranges = ()
    """Ports on which arriving traffic is not captured, so that no tunnel can end there."""

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.pod.metadata.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        """The pod's labels."""
        return self.pod.metadata.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """All pods as the compiler sees them."""

    by_key: Mapping[str, Member]
    by_address: Mapping[str, Member]
    namespaces: frozenset[str]
    """Namespaces that opted in or have a member."""
    owners: Mapping[str, Pod] = field(default_factory=dict)
    """Address to the pod that has it now, members or not."""
    problems: tuple[Problem, ...] = ()


def find_members(view: ClusterView, trust_domain: str) -> Members:
    """Find every pod that is in the mesh.

    Args:
        view: the cluster.
        trust_domain: first part of their identities.
    """
    problems: list[Problem] = []
    by_key: dict[str, Member] = {}
    for key, pod in view.pods.items():
        found = member_of(view, key, pod, trust_domain)
        if isinstance(found, Member):
            by_key[key] = found
        elif found is not None:
            problems.append(found)
    owners = _owners(view.pods, problems)
    by_address = {
        address: by_key[owner.metadata.key] for address, owner in owners.items() if owner.metadata.key in by_key
    }
    opted_in = {name for name, item in view.namespaces.items() if opts_in(item)}
    return Members(
        by_key=by_key,
        by_address=by_address,
        namespaces=frozenset(opted_in | {member.namespace for member in by_key.values()}),
        owners=owners,
        problems=tuple(problems),
    )


def member_of(view: ClusterView, key: str, pod: Pod, trust_domain: str) -> Member | Problem | None:
    """Return a pod as a member; None: it did not opt in or does not run; a problem: it cannot be in."""
    return _member(view, key, pod, trust_domain) if wants_in(view, pod) and _runs(pod) else None


def opts_in(namespace: Namespace) -> bool:
    """Whether a namespace enrols its pods."""
    return bool(_label(namespace.metadata))


def wants_in(view: ClusterView, pod: Pod) -> bool:
    """Whether a pod opted in: by its own label, else by its namespace's."""
    own = _label(pod.metadata)
    if own is not None:
        return own
    namespace = view.namespaces.get(pod.metadata.namespace)
    return namespace is not None and opts_in(namespace)


def _label(metadata: Metadata) -> bool | None:
    """Read the opt-in label; one that is neither value counts as absent, and is reported by the object's checks."""
    value = metadata.labels.get(labels.MESH_LABEL)
    if value is None:
        return None
    try:
        return enrolled(value)
    except AnnotationError:
        return None


def pod_addresses(pod: Pod) -> tuple[str, ...]:
    """Return a pod's addresses in canonical text, without repetition; what is not an address is left out."""
    found: list[str] = []
    for text in (pod.status.pod_ip, *(item.ip for item in pod.status.pod_ips)):
        try:
            address = str(ip_address(text))
        except ValueError:
            continue
        if address not in found:
            found.append(address)
    return tuple(found)


def _runs(pod: Pod) -> bool:
    return bool(pod.spec.node_name and pod_addresses(pod)) and pod.status.phase not in ENDED


def service_account_of(pod: Pod) -> str:
    """Return the name of a pod's service account."""
    return pod.spec.service_account_name or pod.spec.service_account or "default"


def _member(view: ClusterView, key: str, pod: Pod, trust_domain: str) -> Member | Problem:
    account = service_account_of(pod)

    def refused(path: str, message: str, remedy: str) -> Problem:
        source = view.source("Pod", key)
        return Problem(path=path, message=message, remedy=remedy, source=source, subject=f"Pod {key}")

    if pod.spec.host_network:
        message = "opted in but uses the node's network, whose traffic is not this pod's alone; it is not in the mesh"
        return refused("$.spec.hostNetwork", message, f"label it {labels.MESH_LABEL}: {labels.MESH_DISABLED}")
    if not is_subdomain(pod.spec.node_name):
        return refused("$.spec.nodeName", f"{pod.spec.node_name!r:.80} is not a node name", "a-z, 0-9, '-' and '.'")
    try:
        identity = spiffe_id(trust_domain, pod.metadata.namespace, account)
    except IdentityGrammarError as exc:
        return refused("$.spec.serviceAccountName", f"it can have no identity: {exc}", "rename the service account")
    return Member(
        key=key,
        pod=pod,
        node=pod.spec.node_name,
        addresses=pod_addresses(pod),
        service_account=account,
        identity=str(identity),
        workload=owner_name(pod, view.replica_sets),
        uncaptured=annotated_ranges(pod.metadata, labels.EXCLUDE_INBOUND_PORTS),
    )


def owner_name(pod: Pod, replica_sets: Mapping[str, ReplicaSet]) -> str:
    """Return the name of what made a pod, as people know it; where its ReplicaSet is held, by what that says of its owner."""
    owner = pod.metadata.controller
    made_by = (
        replica_sets.get(f"{pod.metadata.namespace}/{owner.name}") if owner and owner.kind == "ReplicaSet" else None
    )
    if made_by is None:
        return name_by_object(pod)
    above = made_by.metadata.controller
    return above.name if above else made_by.metadata.name


def pod_uid(pod: Pod) -> str:
    """Return a pod's uid; on plain hosts, where there is none, one made of its name."""
    return pod.metadata.uid or f"weft-{digest(pod.metadata.key.encode())}"


def _owners(pods: Mapping[str, Pod], problems: list[Problem]) -> dict[str, Pod]:
    """Say who has each address now: pod networks reuse them, and a watch may lag behind.

    A pod that is not being deleted wins, then the younger one, then the name. Should the choice be wrong, the peer's
    certificate shows it and the connection is refused.
    """
    claims: dict[str, list[Pod]] = {}
    for pod in pods.values():
        for address in claimed_addresses(pod):
            claims.setdefault(address, []).append(pod)
    owners: dict[str, Pod] = {}
    for address, claimants in sorted(claims.items()):
        owners[address], problem = owner_of(address, claimants)
        if problem is not None:
            problems.append(problem)
    return owners


def claimed_addresses(pod: Pod) -> tuple[str, ...]:
    """Return the addresses that a pod has for itself now."""
    return pod_addresses(pod) if _runs(pod) and not pod.spec.host_network else ()


def owner_of(address: str, claimants: Iterable[Pod]) -> tuple[Pod, Problem | None]:
    """Return who of several has an address, and a warning where that is not clear.

    Args:
        address: canonical text.
        claimants: the pods that claim it, at least one.
    """
    pods = list(claimants)
    living = [pod for pod in pods if not pod.metadata.deletion_timestamp]
    return max(pods, key=_claim), _address_problem(address, living) if len(living) > 1 else None


def _claim(pod: Pod) -> tuple[bool, float, str]:
    return not pod.metadata.deletion_timestamp, pod.metadata.created_unix_s, pod.metadata.key


def _address_problem(address: str, living: Iterable[Pod]) -> Problem:
    names = " and ".join(sorted(pod.metadata.key for pod in living))
    message = f"address {address} is claimed by several pods: {names}"
    return Problem(path="$.status.podIPs", message=message, subject="Pod", warning=True)


def is_ready(pod: Pod) -> bool:
    """Whether a pod is ready; one without any condition (a plain host's) is ready once it has an address."""
    conditions = {item.type: item.status for item in pod.status.conditions}
    return conditions.get("Ready", "False" if conditions else "True") == "True"
