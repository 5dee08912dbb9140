"""Taking objects in: what is allowed, what is allotted (cluster IPs), and what changes nothing."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from msgspec.structs import replace

from weft_contract.labels import NETNS
from weft_contract.problems import Problem
from weft_lab.addressing import AddressesExhaustedError, Pair, Pool
from weft_lab.daemon.lab import Lab
from weft_lab.model import (
    DaemonSet,
    Decoded,
    Deployment,
    Job,
    Key,
    LabObject,
    Metadata,
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    Service,
    ServiceAccount,
    StatefulSet,
    decode,
)
from weft_lab.model.kinds import Kind
from weft_lab.model.pod import PodSpec
from weft_lab.plan.view import View
from weft_lab.protocol import ObjectOutcome, Outcome, ProblemText, Source
from weft_operator.compile import regex_error

NAME_LABEL: Final = "kubernetes.io/metadata.name"
SYSTEM_NAMESPACES: Final = ("default", "kube-system", "weft-system")
_Family = Literal["IPv4", "IPv6"]


class Admission:
    """The door for objects that users write. All methods run on the loop's thread."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._pool: Pool = lab.plan.services()
        self._taken: dict[Key, Pair] = {}

    def apply(self, sources: Iterable[Source], namespace: str) -> tuple[list[ObjectOutcome], list[ProblemText]]:
        """Take documents in, each on its own: a broken one does not keep the others out.

        Args:
            sources: documents with their places.
            namespace: where namespaced objects go that do not say it.
        """
        decoded = [decode(item.body, source=item.source, regex=regex_error, namespace=namespace) for item in sources]
        outcomes: list[ObjectOutcome] = []
        problems: list[Problem] = []
        for item in sorted(decoded, key=lambda one: one.kind.order if one.kind is not None else 0):
            problems += item.problems
            if item.kind is not None and item.key is not None:
                outcomes.append(self._one(item, item.kind, item.key, problems))
        return outcomes, [ProblemText(text=str(problem), warning=problem.warning) for problem in problems]

    def create_system_namespaces(self) -> None:
        """Make the namespaces that every cluster has."""
        for name in SYSTEM_NAMESPACES:
            metadata = Metadata(name=name, labels={NAME_LABEL: name})
            self._create(Key("Namespace", "", name), Namespace(metadata=metadata))

    def released(self, view: View) -> None:
        """Free the cluster IPs of Services that are gone."""
        for key in [key for key in self._taken if key not in view.objects]:
            self._pool.free(self._taken.pop(key))

    def _one(self, item: Decoded, kind: Kind, key: Key, problems: list[Problem]) -> ObjectOutcome:
        outcome: Outcome = "refused"
        if item.object is not None:
            found = list(self._refusals(key, item.object))
            if not any(not problem.warning for problem in found):
                try:
                    outcome = self._put(key, item.object)
                except AddressesExhaustedError as exc:
                    found.append(Problem(path="$", message=str(exc), subject=str(key)))
            problems += found
        return ObjectOutcome(resource=kind.resource(key.name), namespace=key.namespace, outcome=outcome)

    def _put(self, key: Key, found: LabObject) -> Outcome:
        store = self._lab.store
        old = store.get(key)
        prepared = self._prepared(key, found, old)
        if old is None:
            self._create(key, prepared)
            return "created"
        merged = _merged(old, prepared)
        if _wanted(old) == _wanted(merged):
            return "unchanged"
        store.update(key, merged, generation=True)
        return "configured"

    def _create(self, key: Key, found: LabObject) -> None:
        """Create an object; a namespace comes with its default service account."""
        self._lab.store.create(key, found)
        if isinstance(found, Namespace):
            account = Key("ServiceAccount", key.name, "default")
            if self._lab.store.get(account) is None:
                metadata = Metadata(name="default", namespace=key.name)
                self._lab.store.create(account, ServiceAccount(metadata=metadata))

    # -- what is refused ------------------------------------------------------------------------------------------

    def _refusals(self, key: Key, found: LabObject) -> Iterator[Problem]:
        view = self._lab.store.view()
        if key.namespace:
            yield from _namespace_problems(view, key)
        old = view.objects.get(key)
        if old is not None and old.metadata.deletion_timestamp is not None:
            remedy = "wait until it is gone, then apply it again"
            yield Problem(path="$", message="is being deleted", remedy=remedy, subject=str(key))
        if isinstance(found, Pod) and isinstance(old, Pod) and _spec_as_written(old, found) != found.spec:
            remedy = f"delete it first: weft lab delete pod {key.name} -n {key.namespace}"
            yield Problem(path="$.spec", message="a pod's spec cannot be changed", remedy=remedy, subject=str(key))
        if isinstance(found, Node) and old is None:
            names = ", ".join(self._lab.record.nodes)
            message = f"this lab has no such node (its nodes: {names})"
            remedy = "nodes are made by `weft lab up --nodes N`; their labels can be set by applying a Node"
            yield Problem(path="$.metadata.name", message=message, remedy=remedy, subject=str(key))
        if isinstance(found, Service):
            yield from self._service_problems(key, found)
        spec = _pod_spec(found)
        if spec is not None and Key("ServiceAccount", key.namespace, spec.account) not in view.objects:
            message = f"service account {spec.account!r} does not exist; a cluster would not run these pods"
            yield Problem(path="$", message=message, remedy="add a ServiceAccount", subject=str(key), warning=True)

    def _service_problems(self, key: Key, found: Service) -> Iterator[Problem]:
        wanted = found.spec.cluster_ip
        if wanted in {"", "None"} or (key in self._taken and wanted in self._taken[key].texts()):
            return
        path = "$.spec.clusterIP"
        blocks = f"{self._lab.plan.services_v4} and {self._lab.plan.services_v6}"
        try:
            address = ip_address(wanted)
        except ValueError:
            yield Problem(path=path, message=f"{wanted!r:.60} is not an address", subject=str(key))
            return
        if address not in self._lab.plan.services_v4 and address not in self._lab.plan.services_v6:
            message = f"{wanted} is not in this lab's Service networks ({blocks})"
            yield Problem(path=path, message=message, remedy="leave clusterIP out", subject=str(key))
        elif key in self._taken:
            yield Problem(
                path=path, message="a cluster IP cannot be changed", remedy="delete the Service first", subject=str(key)
            )
        elif any(wanted in pair.texts() for pair in self._taken.values()):
            yield Problem(path=path, message=f"{wanted} is taken", remedy="leave clusterIP out", subject=str(key))

    # -- what is filled in ----------------------------------------------------------------------------------------

    def _prepared(self, key: Key, found: LabObject, old: LabObject | None) -> LabObject:
        if isinstance(found, Service):
            return self._with_addresses(key, found)
        if isinstance(found, Node) and isinstance(old, Node):
            labels = old.metadata.labels | found.metadata.labels
            return replace(old, metadata=replace(old.metadata, labels=labels))
        if isinstance(found, Namespace):
            labels = found.metadata.labels | {NAME_LABEL: key.name}
            return replace(found, metadata=replace(found.metadata, labels=labels))
        return found

    def _with_addresses(self, key: Key, found: Service) -> Service:
        families = _families(found)
        if found.headless or found.spec.type == "ExternalName":
            spec = replace(found.spec, ip_families=families, cluster_ips=("None",) if found.headless else ())
            return replace(found, spec=spec)
        pair = self._taken.get(key) or self._take(found.spec.cluster_ip)
        self._taken[key] = pair
        texts = {"IPv4": str(pair.v4), "IPv6": str(pair.v6)}
        addresses = tuple(texts[family] for family in families)
        spec = replace(found.spec, cluster_ip=addresses[0], cluster_ips=addresses, ip_families=families)
        return replace(found, spec=spec)

    def _take(self, wanted: str) -> Pair:
        if wanted:
            address = ip_address(wanted)
            pair = self._pool.take_v4(address) if isinstance(address, IPv4Address) else None
            if isinstance(address, IPv6Address):
                pair = self._pool.take_v6(address)
            if pair is None:
                raise AddressesExhaustedError(f"{wanted} is not free")
            return pair
        return self._pool.take()


def _families(found: Service) -> tuple[_Family, ...]:
    """Return the address families of a Service: both, unless it asks for one."""
    given = found.spec.ip_families
    if found.spec.ip_family_policy == "SingleStack":
        return given[:1] or ("IPv4",)
    if given and found.spec.ip_family_policy is None:
        return given
    both: tuple[_Family, ...] = ("IPv4", "IPv6")
    return tuple(dict.fromkeys((*given, *both)))


def _namespace_problems(view: View, key: Key) -> Iterator[Problem]:
    found = view.namespace(key.namespace)
    if found is None:
        remedy = "add a Namespace document, it may stand anywhere in the files"
        message = f"namespace {key.namespace!r} does not exist"
        yield Problem(path="$.metadata.namespace", message=message, remedy=remedy, subject=str(key))
    elif found.metadata.deletion_timestamp is not None:
        message = f"namespace {key.namespace!r} is being deleted"
        yield Problem(path="$.metadata.namespace", message=message, remedy="wait until it is gone", subject=str(key))


def _pod_spec(found: LabObject) -> PodSpec | None:
    match found:
        case Pod():
            return found.spec
        case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet() | Job():
            return found.spec.template.spec
        case _:
            return None


def _spec_as_written(old: Pod, new: Pod) -> PodSpec:
    """Return the old spec as its author wrote it: the scheduler's choice counts as not written."""
    return old.spec if new.spec.node_name else replace(old.spec, node_name="")


def _merged(old: LabObject, new: LabObject) -> LabObject:
    """Return the new object with what the lab itself knows of the old one."""
    metadata = replace(
        new.metadata,
        deletion_timestamp=old.metadata.deletion_timestamp,
        owner_references=new.metadata.owner_references or old.metadata.owner_references,
    )
    if isinstance(old, Pod):
        own = {key: value for key, value in old.metadata.annotations.items() if key == NETNS}
        metadata = replace(metadata, annotations=metadata.annotations | own)
        return replace(new, metadata=metadata, spec=old.spec, status=old.status)
    if isinstance(old, Deployment | ReplicaSet | StatefulSet | DaemonSet | Job):
        return replace(new, metadata=metadata, status=old.status)
    return replace(new, metadata=metadata)


def _wanted(found: LabObject) -> LabObject:
    """Return an object without what its author did not write, for comparison."""
    metadata = replace(
        found.metadata, uid="", generation=0, resource_version="", creation_timestamp=None, deletion_timestamp=None
    )
    return replace(found, metadata=metadata)
