"""Ports: what protocol one speaks, which number a name stands for, which are opaque."""

from collections.abc import Iterable, Iterator
from typing import Final

from weft_contract.labels import OPAQUE_PORTS
from weft_contract.objects import Container, Pod, ServicePort
from weft_contract.objects.annotations import AnnotationError, port_ranges, timeout_s
from weft_contract.objects.metadata import Metadata
from weft_contract.resources.workload import Protocol

Ranges = tuple[tuple[int, int], ...]

APP_PROTOCOLS: Final[dict[str, Protocol]] = {
    "http": "http",
    "http2": "http2",
    "https": "tls",
    "grpc": "grpc",
    "grpc-web": "http",
    "tcp": "tcp",
    "tls": "tls",
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "tls",
    "mongo": "tcp",
    "mysql": "tcp",
    "redis": "tcp",
}
"""`appProtocol`, and the first word of a port's name, to what we do with it.

Source: KEP-3726 (`kubernetes.io/…`), Istio's protocol selection (the rest). Protocols that we do not parse are TCP.
"""


def service_protocol(port: ServicePort, opaque: Ranges) -> Protocol:
    """Return a Service port's protocol: opaque by annotation, then `appProtocol`, then the name, else detection."""
    if in_ranges(port.port, opaque):
        return "tcp"
    if port.app_protocol:
        declared = APP_PROTOCOLS.get(port.app_protocol.lower())
        if declared is not None:
            return declared
    return name_protocol(port.name)


def name_protocol(name: str) -> Protocol:
    """Return the protocol that a port's name declares: `http`, `http-web`, `grpc-…`; anything else is detected."""
    return APP_PROTOCOLS.get(name.partition("-")[0].lower(), "auto")


def agreed_protocol(declared: Iterable[Protocol]) -> Protocol:
    """Return what several declarations of one port agree on; where they differ the bytes decide."""
    known = {protocol for protocol in declared if protocol != "auto"}
    return known.pop() if len(known) == 1 else "auto"


def annotated_ranges(metadata: Metadata, key: str) -> Ranges:
    """Read an annotation of ports; a broken one counts as absent and is reported by the object's checks."""
    try:
        return port_ranges(metadata.annotations.get(key, ""))
    except AnnotationError:
        return ()


def annotated_timeout_s(metadata: Metadata, key: str) -> float | None:
    """Read an annotation of a timeout; a broken one counts as absent and is reported by the object's checks."""
    try:
        return timeout_s(metadata.annotations.get(key, "0s"))
    except AnnotationError:
        return None


def opaque_ranges(metadata: Metadata) -> Ranges:
    """Read the annotation of opaque ports."""
    return annotated_ranges(metadata, OPAQUE_PORTS)


def in_ranges(port: int, ranges: Ranges) -> bool:
    """Whether a port is in one of the inclusive ranges."""
    return any(first <= port <= last for first, last in ranges)


def containers(pod: Pod) -> Iterator[Container]:
    """Yield every container that may run beside others: the ordinary ones, and init containers that keep running."""
    yield from pod.spec.containers
    yield from pod.spec.init_containers


def named_port(pod: Pod, reference: int | str) -> int | None:
    """Return the number a port reference means in a pod; None where no container has that name."""
    if isinstance(reference, int):
        return reference
    for container in containers(pod):
        for port in container.ports:
            if port.name == reference and port.protocol == "TCP":
                return port.container_port
    return int(reference) if reference.isascii() and reference.isdigit() else None


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """Return the pod port that a Service port leads to; None where its name is not known in this pod."""
    number = named_port(pod, port.port if port.target_port is None else port.target_port)
    return number if number is not None and 1 <= number <= 65535 else None
