"""Kubelet probes: plaintext from the node's own address that equals a probe of the pod's spec, and nothing wider.

Theory: kubelet speaks from the node and has no certificate, so under STRICT or default-deny it would be refused. What is
let through is what the pod's own spec asks for: the port and, for HTTP, GET or HEAD of exactly that target; for gRPC, the
health service's Check; for TCP, a connection that sends no byte. Anything else from the node's address is an ordinary
plaintext connection. The source is not rewritten, so NetworkPolicy and the application see the truth.

Source: kubelet `pkg/probe/{http,grpc,tcp}`; Istio exempts by a rewritten source address instead, which admits any process
of the host to any port.
"""

from typing import Final

from weft_contract.resources.node import Node
from weft_contract.resources.workload import Probe, Workload
from weft_core.policy.networks import pack_address

GRPC_HEALTH_PATH: Final = b"/grpc.health.v1.Health/Check"
"""gRPC Health Checking Protocol; the service name asked for is in the body."""
PROBE_RULE: Final = "probe"
"""The rule a permit names that was given to a probe."""


def probe_connection(workload: Workload, node: Node, source_address: str, port: int) -> bool:
    """Say whether a plaintext connection may be a probe: from the node itself, to a port that has one.

    Args:
        workload: the pod that is called.
        node: the node it is on.
        source_address: where the connection comes from, as text.
        port: the pod's port.
    """
    if not any(probe.port == port for probe in workload.probes):
        return False
    try:
        source = pack_address(source_address)
        return any(pack_address(address) == source for address in node.addresses)
    except ValueError:
        return False


def probe_request(workload: Workload, port: int, method: bytes, target: bytes) -> bool:
    """Say whether a request equals a probe of this port.

    Args:
        workload: the pod that is called.
        port: the pod's port.
        method: as sent.
        target: canonical path, with `?` and the query where there is one.
    """
    return any(_equals(probe, method, target) for probe in workload.probes if probe.port == port)


def _equals(probe: Probe, method: bytes, target: bytes) -> bool:
    match probe.kind:
        case "http":
            path = probe.path if probe.path.startswith("/") else f"/{probe.path}"
            return method in {b"GET", b"HEAD"} and target == path.encode()
        case "grpc":
            return method == b"POST" and target == GRPC_HEALTH_PATH
        case "tcp":
            return False


def probe_without_bytes(workload: Workload, port: int) -> bool:
    """Say whether a connection to this port that sends no byte equals a probe (a TCP probe)."""
    return any(probe.port == port and probe.kind == "tcp" for probe in workload.probes)


def probe_by_grpc(workload: Workload, port: int) -> bool:
    """Say whether a connection to this port may be a gRPC probe: one call of the health service."""
    return any(probe.port == port and probe.kind == "grpc" for probe in workload.probes)


def probe_bytes_expected(workload: Workload, port: int) -> bool:
    """Say whether some probe of this port sends bytes (HTTP, gRPC); if not, the first byte proves it is no probe."""
    return any(probe.port == port and probe.kind != "tcp" for probe in workload.probes)
