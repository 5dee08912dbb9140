"""Members to Workload resources: capture, ports, probes and the keys of what applies to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from weft_contract import labels
from weft_contract.objects import Container, Pod, Probe
from weft_contract.objects import pod as spec
from weft_contract.objects.annotations import AnnotationError, netns_name, networks, truth
from weft_contract.problems import Problem
from weft_contract.resources import Capture, InboundPort, Workload
from weft_contract.resources import Probe as ProbeResource
from weft_contract.resources.workload import PortScope, Protocol
from weft_operator.compile.members import Member, pod_uid
from weft_operator.compile.peer_authentication import Modes
from weft_operator.compile.ports import (
    agreed_protocol,
    annotated_ranges,
    containers,
    in_ranges,
    name_protocol,
    named_port,
    opaque_ranges,
)
from weft_operator.compile.services import Lead

T = TypeVar("T")


def compile_workload(
    member: Member,
    *,
    leads: Iterable[Lead],
    modes: Modes,
    policies: Mapping[str, frozenset[int] | None],
    rate_limits: Mapping[str, frozenset[int] | None],
    source: str,
) -> tuple[Workload, list[Problem]]:
    """Turn a member into its resource.

    Args:
        member: the pod.
        leads: Service ports that lead to it.
        modes: its mTLS modes.
        policies: keys of AuthorizationPolicy resources that apply, with the ports they hold on (None: every port).
        rate_limits: the same for RateLimitPolicy resources.
        source: where the pod came from, for problems.
    """
    pod = member.pod
    probes, problems = find_probes(pod, source)
    resource = Workload(
        namespace=member.namespace,
        name=pod.metadata.name,
        uid=pod_uid(pod),
        service_account=member.service_account,
        identity=member.identity,
        addresses=member.addresses,
        workload=member.workload,
        app=_first_label(pod, labels.CANONICAL_NAME_LABELS) or member.workload,
        version=_first_label(pod, labels.CANONICAL_VERSION_LABELS),
        capture=_capture(member),
        mtls=modes.mode,
        mtls_ports=modes.ports,
        ports=_inbound_ports(pod, leads),
        probes=probes,
        policies=tuple(sorted(policies)),
        rate_limits=tuple(sorted(rate_limits)),
        port_scopes=tuple(_port_scopes(policies, rate_limits)),
    )
    return resource, problems


def _first_label(pod: Pod, keys: Iterable[str]) -> str:
    return next((pod.metadata.labels[key] for key in keys if pod.metadata.labels.get(key)), "")


def _annotation(pod: Pod, key: str, read: Callable[[str], T], default: T) -> T:
    """Read an annotation; a broken one counts as absent, which captures more, and is reported by the pod's checks."""
    value = pod.metadata.annotations.get(key)
    if value is None:
        return default
    try:
        return read(value)
    except AnnotationError:
        return default


def _capture(member: Member) -> Capture:
    pod = member.pod
    return Capture(
        exclude_inbound_ports=member.uncaptured,
        exclude_outbound_ports=annotated_ranges(pod.metadata, labels.EXCLUDE_OUTBOUND_PORTS),
        exclude_outbound_networks=_annotation(pod, labels.EXCLUDE_OUTBOUND_NETWORKS, networks, ()),
        preserve_source=_annotation(pod, labels.PRESERVE_SOURCE, truth, True),
        netns=_annotation(pod, labels.NETNS, _netns, None),
    )


def _netns(value: str) -> str | None:
    return netns_name(value)


def _inbound_ports(pod: Pod, leads: Iterable[Lead]) -> tuple[InboundPort, ...]:
    """Collect the ports that a container or a Service declares; where several say what they speak, they must agree."""
    declared: dict[int, list[Protocol]] = {}
    services: dict[int, set[str]] = {}
    for container in containers(pod):
        for port in container.ports:
            if port.protocol == "TCP" and 1 <= port.container_port <= 65535:
                declared.setdefault(port.container_port, []).append(name_protocol(port.name))
    for lead in leads:
        declared.setdefault(lead.pod_port, []).append(lead.protocol)
        services.setdefault(lead.pod_port, set()).add(lead.service)
    opaque = opaque_ranges(pod.metadata)
    return tuple(
        InboundPort(
            port=number,
            protocol="tcp" if in_ranges(number, opaque) else agreed_protocol(declared[number]),
            services=tuple(sorted(services.get(number, ()))),
        )
        for number in sorted(declared)
    )


def _port_scopes(
    policies: Mapping[str, frozenset[int] | None], rate_limits: Mapping[str, frozenset[int] | None]
) -> Iterator[PortScope]:
    for key, ports in sorted(policies.items()):
        if ports is not None:
            yield PortScope(kind="AuthorizationPolicy", policy=key, ports=tuple(sorted(ports)))
    for key, ports in sorted(rate_limits.items()):
        if ports is not None:
            yield PortScope(kind="RateLimitPolicy", policy=key, ports=tuple(sorted(ports)))


def find_probes(pod: Pod, source: str) -> tuple[tuple[ProbeResource, ...], list[Problem]]:
    """Return the probes that reach a pod over the network, and those that cannot be recognised.

    Source: kubelet `pkg/probe`: a path without a leading slash gets one; `host` sends the probe elsewhere.
    """
    found: set[ProbeResource] = set()
    problems: list[Problem] = []
    for container in containers(pod):
        for name, probe in _of_container(container):
            try:
                resource = _probe(pod, container, probe)
            except _UnrecognisableError as exc:
                message = f"{name} of container {container.name!r} {exc}; where mTLS is STRICT it will fail"
                subject = f"Pod {pod.metadata.key}"
                problems.append(
                    Problem(path="$.spec.containers", message=message, source=source, subject=subject, warning=True)
                )
                continue
            if resource is not None:
                found.add(resource)
    return tuple(sorted(found, key=lambda item: (item.port, item.kind, item.path))), problems


class _UnrecognisableError(ValueError):
    """A probe that cannot be told from other traffic; the message says why."""


def _of_container(container: Container) -> Iterator[tuple[str, Probe]]:
    for name, probe in (
        ("startupProbe", container.startup_probe),
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
    ):
        if probe is not None:
            yield name, probe


def _probe(pod: Pod, container: Container, probe: Probe) -> ProbeResource | None:
    """Return a probe as a resource; None: it does not reach the pod over the network.

    Raises:
        _UnrecognisableError: it does, and could be anything.
    """
    if probe.http_get is not None:
        return _http_probe(pod, container, probe.http_get)
    if probe.tcp_socket is not None:
        elsewhere = bool(probe.tcp_socket.host)
        return None if elsewhere else ProbeResource(kind="tcp", port=_port(pod, container, probe.tcp_socket.port))
    if probe.grpc is not None:
        return ProbeResource(kind="grpc", port=_port(pod, container, probe.grpc.port), path=probe.grpc.service)
    return None


def _http_probe(pod: Pod, container: Container, action: spec.HttpGetAction) -> ProbeResource | None:
    if action.host:
        return None
    port = _port(pod, container, action.port)
    if action.scheme.upper() == "HTTPS":
        raise _UnrecognisableError("uses HTTPS, in which its path cannot be seen")
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    return ProbeResource(kind="http", port=port, path=path)


def _port(pod: Pod, container: Container, reference: int | str) -> int:
    """Return a probe's port; a name is one of the same container's, as the kubelet reads it."""
    own = next((item.container_port for item in container.ports if item.name == reference), None)
    number = own if own is not None else named_port(pod, reference)
    if number is None or not 1 <= number <= 65535:
        raise _UnrecognisableError(f"names port {reference!r}, which the container does not have")
    return number
