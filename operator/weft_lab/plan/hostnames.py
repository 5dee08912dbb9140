"""Names that pods resolve: hosts entries of Services and pods, and resolv.conf. Pure.

Theory: the lab has no DNS server; every name a cluster's DNS would answer is in the pod's own hosts file, which every
resolver reads first. glibc takes hosts names as they are written (no search list), so each form of a name is listed.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from weft_lab.model import Pod, Service
from weft_lab.plan.endpoints import slices_of
from weft_lab.plan.view import View

CLUSTER_DOMAIN: Final = "cluster.local"


class HostEntry(NamedTuple):
    """One line: an address and the names it has."""

    address: str
    names: tuple[str, ...]

    def line(self) -> str:
        """Return the line as hosts(5) has it."""
        return f"{self.address}\t{' '.join(self.names)}\n"


def fixed_entries(pod: Pod) -> list[HostEntry]:
    """Return the entries that a pod keeps for life: loopback, itself, its host aliases."""
    entries = [
        HostEntry("127.0.0.1", ("localhost",)),
        HostEntry("::1", ("localhost", "ip6-localhost", "ip6-loopback")),
    ]
    own = hostname(pod)
    names: tuple[str, ...] = (own,)
    if pod.spec.subdomain:
        names = (f"{own}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{CLUSTER_DOMAIN}", own)
    if not pod.spec.host_network:
        entries += [HostEntry(address, names) for address in pod.addresses]
    entries += [HostEntry(alias.ip, alias.hostnames) for alias in pod.spec.host_aliases if alias.hostnames]
    return entries


def hostname(pod: Pod) -> str:
    """Return a pod's host name, at most 63 bytes as Linux and Kubernetes have it."""
    return (pod.spec.hostname or pod.metadata.name)[:63].rstrip("-.")


def service_entries(view: View) -> list[tuple[str, HostEntry]]:
    """Return, for all Services, the entries with their fully qualified part; namespace first.

    The names are relative to nothing yet: `names_for` adds the short form for a pod's own namespace.
    """
    found: list[tuple[str, HostEntry]] = []
    for service in view.services():
        namespace = service.metadata.namespace
        for address, stem in _addresses(view, service):
            found.append((namespace, HostEntry(address, (stem,))))
    return found


def _addresses(view: View, service: Service) -> Iterator[tuple[str, str]]:
    name = service.metadata.name
    if not service.headless:
        yield from ((address, name) for address in service.addresses)
        return
    for item in slices_of(view, service):
        for endpoint in item.endpoints:
            if endpoint.conditions.ready is not False:
                yield from ((address, name) for address in endpoint.addresses)
                if endpoint.hostname:
                    yield from ((address, f"{endpoint.hostname}.{name}") for address in endpoint.addresses)


def entries_for(namespace: str, services: Iterable[tuple[str, HostEntry]]) -> list[HostEntry]:
    """Return the Service entries as a pod of a namespace sees them: all forms, the shortest for its own namespace only."""
    return [
        HostEntry(entry.address, tuple(_forms(entry.names[0], owner, owner == namespace))) for owner, entry in services
    ]


def _forms(stem: str, namespace: str, own: bool) -> Iterator[str]:
    full = f"{stem}.{namespace}.svc.{CLUSTER_DOMAIN}"
    yield full
    yield f"{stem}.{namespace}.svc"
    yield f"{stem}.{namespace}"
    if own:
        yield stem


def resolv_conf(namespace: str) -> str:
    """Return a resolv.conf as the kubelet writes it, for a name server that refuses at once what hosts does not have.

    Port 53 of the pod's loopback is closed, so an unknown name fails in microseconds instead of after a time-out.
    """
    search = f"{namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}"
    return f"search {search}\nnameserver 127.0.0.1\noptions ndots:5 timeout:1 attempts:1\n"
