"""Which pods of this node are captured, and what workers are told of them: the configuration, corrected by what is seen here.

Pure. Theory of operation. The configuration says how a pod is to be treated; the node's own watch says which pods are there.
The watch is younger, and goes on while the operator is away, so

- a pod that the watch has shown to be gone, or ended, is released at once and no longer told to workers;
- a pod's addresses are those that the watch shows, and an address belongs to one pod: one that is not being deleted before
  one that is, then the younger;
- a pod on the node's network is refused whatever the configuration says;
- a pod that opted in and that the configuration does not know yet is captured all the same. Another pod of this node made
  from the same template (same namespace, labels, annotations of ours, account, ports and probes) has the resource that this
  one will get, because nothing else is looked at when it is compiled; it is told to workers until the real one comes.
  Without such a sibling nothing is told, so its traffic is refused and its gate waits: captured, never open.

Whether a pod opted in is known here from its own label, or from its gate: admission gave it one because its namespace opted
in. A gate that has been passed says nothing of the present, though, so such a pod stays in while it is held already and
the configuration has not dropped it. For everything else the configuration has the last word.

The node's addresses, from which probes come, are those of the configuration and those that its network has.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

import msgspec

from weft_agent.control.config_source import Config
from weft_agent.control.desired import Entries
from weft_agent.kubernetes.node_pods import NodePods
from weft_contract import labels
from weft_contract.codec import digest, encode
from weft_contract.gate import GATE_CONTAINER
from weft_contract.identity import IdentityGrammarError, spiffe_id
from weft_contract.objects import Pod
from weft_contract.objects.annotations import AnnotationError, enrolled, networks, port_ranges
from weft_contract.resources import Capture, Resource, Workload
from weft_contract.resources.document import resource_key

ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Members:
    """The outcome."""

    told: tuple[Workload, ...] = ()
    """Pods that workers know: to be captured, and ready when they are."""
    untold: tuple[Workload, ...] = ()
    """Pods to be captured whose treatment is not known yet."""
    entries: Entries | None = None
    """What workers are told; None while there is no configuration."""
    complete: bool = True
    """False until the watch has shown this node's pods once: who else is captured already may have to stay so."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Pods that opted in and cannot be captured, by key, with the reason."""


def members(
    config: Config | None,
    seen: NodePods | None,
    node_addresses: Iterable[str] = (),
    held: Container[str] = frozenset(),
) -> Members:
    """Work out who is captured.

    Args:
        config: the present configuration.
        seen: what the watch has shown; None where there is none.
        node_addresses: addresses of the node's own network.
        held: uids of pods that are captured and that no configuration has dropped since.
    """
    if config is None:
        return Members()
    if seen is None or not seen.synced:
        entries = _entries(config, config.workloads, node_addresses)
        return Members(told=config.workloads, entries=entries, complete=seen is None)
    owners = _owners(seen.present.values())
    told = tuple(_corrected(config.workloads, seen, owners))
    known = {workload.uid for workload in config.workloads}
    templates = {_template(seen.present[workload.uid]): workload for workload in told if workload.uid in seen.present}
    untold: list[Workload] = []
    for uid, pod in seen.present.items():
        addresses = _own_addresses(pod, owners)
        if uid in known or not addresses or not _lives(pod) or not _wants_in(pod, held) or pod.spec.host_network:
            continue
        sibling = templates.get(_template(pod))
        if sibling is not None:
            told += (_like(sibling, pod, addresses),)
        elif config.node and (unknown := stranger(pod, addresses, config.node.trust_domain)) is not None:
            untold.append(unknown)
    entries = _entries(config, told, node_addresses)
    return Members(told=told, untold=tuple(untold), entries=entries, refused=_refused(seen, known))


# -- pods that the configuration knows ----------------------------------------------------------------------------


def _corrected(workloads: Iterable[Workload], seen: NodePods, owners: Mapping[str, str]) -> Iterator[Workload]:
    for workload in workloads:
        pod = seen.present.get(workload.uid)
        if seen.is_gone(workload.uid):
            continue
        if pod is None:
            yield workload  # the watch is behind
        elif _lives(pod) and not pod.spec.host_network:
            shown = _own_addresses(pod, owners)
            if shown or not pod_addresses(pod):
                addresses = shown or workload.addresses
                yield (
                    workload
                    if addresses == workload.addresses
                    else msgspec.structs.replace(workload, addresses=addresses)
                )


def _refused(seen: NodePods, known: Iterable[str]) -> Mapping[str, str]:
    listed = frozenset(known)
    return {
        pod.metadata.key: "it uses the node's network, whose traffic is not this pod's alone; it is not in the mesh"
        for uid, pod in seen.present.items()
        if pod.spec.host_network and _lives(pod) and (uid in listed or _wants_in(pod, ()))
    }


# -- pods that it does not know yet -------------------------------------------------------------------------------


def _wants_in(pod: Pod, held: Container[str]) -> bool:
    value = pod.metadata.labels.get(labels.MESH_LABEL)
    if value is not None:
        try:
            return enrolled(value)
        except AnnotationError:
            pass  # counts as absent, and is told by the operator
    return has_gate(pod) and (not _initialized(pod) or pod.metadata.uid in held)


def has_gate(pod: Pod) -> bool:
    """Whether admission put the gate into a pod."""
    return any(container.name == GATE_CONTAINER for container in pod.spec.init_containers)


def _initialized(pod: Pod) -> bool:
    return any(item.type == "Initialized" and item.status == "True" for item in pod.status.conditions)


def _template(pod: Pod) -> bytes:
    """Return what the operator looks at when it compiles a pod, names and addresses left out."""
    metadata, spec = pod.metadata, pod.spec
    ours = {key: value for key, value in metadata.annotations.items() if labels.GROUP in key}
    owners = [(owner.kind, owner.name) for owner in metadata.owner_references if owner.controller]
    looked_at = (metadata.namespace, metadata.labels, ours, owners, msgspec.structs.replace(spec, node_name=""))
    return msgspec.json.encode(looked_at, order="deterministic")


def _like(sibling: Workload, pod: Pod, addresses: tuple[str, ...]) -> Workload:
    return msgspec.structs.replace(sibling, name=pod.metadata.name, uid=pod.metadata.uid, addresses=addresses)


def stranger(pod: Pod, addresses: tuple[str, ...], trust_domain: str) -> Workload | None:
    """Return what a pod's object alone says of it; None: it can have no identity."""
    account = pod.spec.service_account_name or pod.spec.service_account or "default"
    try:
        identity = spiffe_id(trust_domain, pod.metadata.namespace, account)
    except IdentityGrammarError:
        return None  # it can never be in the mesh; the operator says so
    return Workload(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        service_account=account,
        identity=str(identity),
        addresses=addresses,
        capture=_capture(pod),
    )


def _capture(pod: Pod) -> Capture:
    """Read a pod's exclusions; a broken one counts as absent, which captures more."""
    annotations = pod.metadata.annotations

    def ranges(key: str) -> tuple[tuple[int, int], ...]:
        try:
            return port_ranges(annotations.get(key, ""))
        except AnnotationError:
            return ()

    try:
        excluded = networks(annotations.get(labels.EXCLUDE_OUTBOUND_NETWORKS, ""))
    except AnnotationError:
        excluded = ()
    return Capture(
        exclude_inbound_ports=ranges(labels.EXCLUDE_INBOUND_PORTS),
        exclude_outbound_ports=ranges(labels.EXCLUDE_OUTBOUND_PORTS),
        exclude_outbound_networks=excluded,
    )


# -- lives and addresses ------------------------------------------------------------------------------------------


def _lives(pod: Pod) -> bool:
    return pod.status.phase not in ENDED


def pod_addresses(pod: Pod) -> tuple[str, ...]:
    """Return a pod's addresses in canonical text."""
    found: dict[str, None] = {}
    for text in (pod.status.pod_ip, *(item.ip for item in pod.status.pod_ips)):
        try:
            found[str(ip_address(text))] = None
        except ValueError:
            continue
    return tuple(found)


def _owners(pods: Iterable[Pod]) -> dict[str, str]:
    """Return whose each address is, by uid."""
    owners: dict[str, Pod] = {}
    for pod in pods:
        if _lives(pod) and not pod.spec.host_network:
            for address in pod_addresses(pod):
                other = owners.get(address)
                if other is None or _claim(pod) > _claim(other):
                    owners[address] = pod
    return {address: pod.metadata.uid for address, pod in owners.items()}


def _claim(pod: Pod) -> tuple[bool, float, str]:
    return not pod.metadata.deletion_timestamp, pod.metadata.created_unix_s, pod.metadata.key


def _own_addresses(pod: Pod, owners: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(address for address in pod_addresses(pod) if owners.get(address) == pod.metadata.uid)


# -- what workers are told ----------------------------------------------------------------------------------------


def _entries(config: Config, told: Iterable[Workload], node_addresses: Iterable[str]) -> Entries:
    """Return the configuration's entries, those of pods and of the node corrected."""
    corrections: list[Resource] = list(told)
    node = config.node
    if node is not None and (more := sorted(set(node_addresses) - set(node.addresses))):
        corrections.append(msgspec.structs.replace(node, addresses=(*node.addresses, *more)))
    configured = {resource_key(workload): workload for workload in config.workloads}
    changed = [item for item in corrections if configured.get(resource_key(item)) != item]
    left = configured.keys() - {resource_key(item) for item in corrections}
    if not changed and not left:
        return config.entries
    entries = {key: value for key, value in config.entries.items() if key not in left}
    for item in changed:
        data = encode(item)
        entries[resource_key(item)] = (digest(data), data)
    return entries
