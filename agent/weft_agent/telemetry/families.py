"""Every metric family: name, type, help, labels, buckets. Nothing else may be counted.

Theory: the `istio_*` families carry Istio's standard names and labels, because Kiali, Flagger and thousands of dashboards
query them as they are. Everything of our own is `weft_*`. A family is either counted by workers (cells in a shared page,
integers, hence `scale`) or stated by control (plain numbers); `owner` says which.

Source: Istio standard metrics; Envoy's default histogram buckets; OpenMetrics 1.0 on units and suffixes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Owner = Literal["worker", "control"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric family."""

    name: str
    """As exposed, counters with their `_total`."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    owner: Owner = "worker"
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets in the exposed unit, without +Inf."""
    scale: int = 1
    """Cells hold `value * scale` as an integer: 1000 keeps microseconds of a sum in milliseconds."""

    @property
    def cells(self) -> int:
        """Counter cells of one series: buckets, +Inf and the sum for a histogram."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1

    @property
    def absent(self) -> str:
        """What a label without a value says: Istio's queries expect `unknown`, ours nothing."""
        return "unknown" if self.name.startswith("istio_") else ""


_PEERS: Final = tuple(
    f"{end}_{what}"
    for end in ("source", "destination")
    for what in ("workload", "workload_namespace", "principal", "app", "version", "canonical_service",
                 "canonical_revision", "cluster")
)  # fmt: skip
_SERVICE: Final = ("destination_service", "destination_service_name", "destination_service_namespace")
TCP_LABELS: Final = (
    "reporter", *_PEERS, *_SERVICE, "request_protocol", "response_flags", "connection_security_policy",
)  # fmt: skip
"""Labels of Istio's TCP metrics."""
HTTP_LABELS: Final = (*TCP_LABELS, "response_code", "grpc_response_status")
"""Labels of Istio's request metrics."""

ENVOY_BOUNDS: Final = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
)  # fmt: skip
"""Envoy's and hence Istio's buckets, for milliseconds and bytes alike."""
HANDSHAKE_S_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_POD: Final = ("namespace", "pod")

_ALL: Final = (
    # -- Istio's standard set -------------------------------------------------------------------------------------
    Family(name="istio_requests_total", kind="counter", help="Requests handled.", labels=HTTP_LABELS),
    Family(
        name="istio_request_duration_milliseconds",
        kind="histogram",
        help="Time from the first byte of a request to the last byte of its response.",
        labels=HTTP_LABELS,
        bounds=ENVOY_BOUNDS,
        scale=1000,
    ),
    Family(
        name="istio_request_bytes",
        kind="histogram",
        help="Bytes of request bodies.",
        labels=HTTP_LABELS,
        bounds=ENVOY_BOUNDS,
    ),
    Family(
        name="istio_response_bytes",
        kind="histogram",
        help="Bytes of response bodies.",
        labels=HTTP_LABELS,
        bounds=ENVOY_BOUNDS,
    ),
    Family(name="istio_request_messages_total", kind="counter", help="gRPC messages of requests.", labels=HTTP_LABELS),
    Family(name="istio_response_messages_total", kind="counter", help="gRPC messages of responses.", labels=HTTP_LABELS),
    Family(name="istio_tcp_sent_bytes_total", kind="counter", help="Bytes sent towards the client.", labels=TCP_LABELS),
    Family(
        name="istio_tcp_received_bytes_total", kind="counter", help="Bytes received from the client.", labels=TCP_LABELS
    ),
    Family(
        name="istio_tcp_connections_opened_total", kind="counter", help="TCP connections opened.", labels=TCP_LABELS
    ),
    Family(
        name="istio_tcp_connections_closed_total", kind="counter", help="TCP connections closed.", labels=TCP_LABELS
    ),
    # -- the data plane's own -------------------------------------------------------------------------------------
    Family(
        name="weft_refusals_total",
        kind="counter",
        help="Requests and connections refused, by the reason logged and, for policy, by what refused them.",
        labels=("direction", "reason", "policy", "rule", "workload", "workload_namespace"),
    ),
    Family(
        name="weft_policy_dry_run_denials_total",
        kind="counter",
        help="Requests that a policy in dry-run mode would have denied.",
        labels=("policy", "workload", "workload_namespace"),
    ),
    Family(
        name="weft_policy_audits_total",
        kind="counter",
        help="Requests that an AUDIT policy matched.",
        labels=("policy", "workload", "workload_namespace"),
    ),
    Family(
        name="weft_connections_active",
        kind="gauge",
        help="Connections of applications that are open.",
        labels=("direction", "protocol"),
    ),
    Family(
        name="weft_connections_total",
        kind="counter",
        help="Connections of applications accepted.",
        labels=("direction", "protocol"),
    ),
    Family(name="weft_tunnels_active", kind="gauge", help="Tunnels to or from other agents.", labels=("role",)),
    Family(name="weft_tunnel_streams_active", kind="gauge", help="Streams on tunnels.", labels=("role",)),
    Family(name="weft_tunnels_opened_total", kind="counter", help="Tunnels established.", labels=("role",)),
    Family(
        name="weft_handshake_duration_seconds",
        kind="histogram",
        help="TLS handshakes between agents that succeeded.",
        labels=("role",),
        bounds=HANDSHAKE_S_BOUNDS,
        scale=1_000_000,
    ),
    Family(
        name="weft_handshake_failures_total",
        kind="counter",
        help="TLS handshakes between agents that failed.",
        labels=("role", "reason"),
    ),
    Family(
        name="weft_protocol_errors_total",
        kind="counter",
        help="Messages refused because they break a protocol, by the rule broken.",
        labels=("direction", "protocol", "detail"),
    ),
    Family(
        name="weft_retries_total", kind="counter", help="Attempts repeated on another endpoint.", labels=("reason",)
    ),
    Family(
        name="weft_stock_waits_total",
        kind="counter",
        help="Connections that had to wait for a prepared socket from control.",
        labels=("role", "family"),
    ),
    Family(name="weft_accept_pauses_total", kind="counter", help="Times accepting stopped for lack of descriptors."),
    Family(name="weft_access_log_dropped_total", kind="counter", help="Access-log records dropped instead of blocking."),
    Family(name="weft_internal_errors_total", kind="counter", help="Our bugs: exceptions that ended one connection."),
    Family(name="weft_series_overflow_total", kind="counter", help="Series not made because of the series limit."),
    # -- stated by control ----------------------------------------------------------------------------------------
    Family(
        name="weft_build_info", kind="gauge", help="Always 1; the version is a label.", labels=("version",),
        owner="control",
    ),
    Family(
        name="weft_capture_state",
        kind="gauge",
        help="1 for the state a pod's capture is in: pending, captured, failed, absent, leaving.",
        labels=(*_POD, "state"),
        owner="control",
    ),
    Family(
        name="weft_capture_drift_healed_total",
        kind="counter",
        help="Differences between a pod's live capture rules and the plan that were repaired.",
        labels=_POD,
        owner="control",
    ),
    Family(
        name="weft_capture_errors_total", kind="counter", help="Failed attempts to capture or verify a pod.", labels=_POD,
        owner="control",
    ),
    Family(
        name="weft_capture_packets_total",
        kind="counter",
        help="Packets of captured pods by what the capture did with them; all kinds but captured, offered, delivered"
        " and dropped went around the agent.",
        labels=(*_POD, "direction", "kind"),
        owner="control",
    ),
    Family(
        name="weft_certificate_not_after_seconds",
        kind="gauge",
        help="Unix time at which a workload certificate expires.",
        labels=("identity",),
        owner="control",
    ),
    Family(
        name="weft_config_generation", kind="gauge", help="Generation of the configuration in force.", owner="control"
    ),
    Family(
        name="weft_config_applied_generation",
        kind="gauge",
        help="Generation that a worker has applied.",
        labels=("worker",),
        owner="control",
    ),
    Family(
        name="weft_config_stale",
        kind="gauge",
        help="1 while the agent works with its last good configuration because the present one is bad or missing.",
        owner="control",
    ),
    Family(
        name="weft_config_reloads_total",
        kind="counter",
        help="Configurations read, by what came of it: applied, refused, unchanged.",
        labels=("outcome",),
        owner="control",
    ),
    Family(
        name="weft_config_refused_resources",
        kind="gauge",
        help="Resources that a worker refused and keeps in their last good version.",
        labels=("worker",),
        owner="control",
    ),
    Family(
        name="weft_config_age_seconds",
        kind="gauge",
        help="Seconds since the operator was last there to change the configuration; 0 while it is.",
        owner="control",
    ),
    Family(
        name="weft_operator_connected", kind="gauge", help="1 while the stream of an operator is open.", owner="control"
    ),
    Family(
        name="weft_operator_sessions_total", kind="counter", help="Streams that were opened to an operator.",
        owner="control",
    ),
    Family(
        name="weft_operator_errors_total",
        kind="counter",
        help="Connections to the operator that failed or ended, by why.",
        labels=("reason",),
        owner="control",
    ),
    Family(
        name="weft_operator_last_error_seconds",
        kind="gauge",
        help="Unix time of the last of them; `weft-agent status` has its words.",
        owner="control",
    ),
    Family(
        name="weft_snapshot_writes_total",
        kind="counter",
        help="Attempts to write the configuration to disk, by what came of it: written, failed.",
        labels=("outcome",),
        owner="control",
    ),
    Family(name="weft_snapshot_bytes", kind="gauge", help="Size of the configuration on disk.", owner="control"),
    Family(
        name="weft_certificate_requests_total",
        kind="counter",
        help="Requests for certificates, by what came of it: issued, refused, failed.",
        labels=("outcome",),
        owner="control",
    ),
    Family(
        name="weft_workers", kind="gauge", help="Worker processes by state.", labels=("state",), owner="control"
    ),
    Family(
        name="weft_worker_restarts_total",
        kind="counter",
        help="Worker processes replaced.",
        labels=("worker",),
        owner="control",
    ),
    Family(
        name="weft_worker_start_seconds",
        kind="gauge",
        help="Time the worker took from its start until it had the configuration applied.",
        labels=("worker",),
        owner="control",
    ),
    Family(
        name="weft_pod_watch_connected",
        kind="gauge",
        help="1 while the pods of this node are watched at the API server, 0 while that fails.",
        owner="control",
    ),
    Family(
        name="weft_pod_watch_errors_total",
        kind="counter",
        help="Failures of that watch, by why: account, connection, refused, expired, object.",
        labels=("reason",),
        owner="control",
    ),
    Family(
        name="weft_degraded_active",
        kind="gauge",
        help="1 while endpoints are watched at the API server because no operator can be reached.",
        owner="control",
    ),
    Family(
        name="weft_degraded_endpoints",
        kind="gauge",
        help="Endpoints that differ from the operator's last word: gone, added, or unknown and therefore left out.",
        labels=("kind",),
        owner="control",
    ),
    Family(
        name="weft_degraded_watch_connected",
        kind="gauge",
        help="1 while all of those endpoints are watched, 0 while that fails or is not done.",
        owner="control",
    ),
    Family(
        name="weft_degraded_watch_errors_total",
        kind="counter",
        help="Failures of that watch, by why: account, connection, refused, expired, object.",
        labels=("reason",),
        owner="control",
    ),
    Family(
        name="weft_stock_sockets_total",
        kind="counter",
        help="Prepared sockets handed to workers.",
        labels=("role", "family"),
        owner="control",
    ),
    Family(
        name="weft_stock_refused_total",
        kind="counter",
        help="Prepared sockets asked for and not made, by why: budget, error, unknown_pod.",
        labels=("reason",),
        owner="control",
    ),
    Family(
        name="weft_selftest_seconds",
        kind="gauge",
        help="Duration of the last self-test request through a worker's data path; NaN when it failed.",
        labels=("worker",),
        owner="control",
    ),
    Family(
        name="weft_log_dropped_total",
        kind="counter",
        help="Log lines dropped because standard output was blocked.",
        owner="control",
    ),
    Family(name="weft_descriptors_open", kind="gauge", help="Open descriptors of control.", owner="control"),
    Family(name="weft_descriptors_limit", kind="gauge", help="RLIMIT_NOFILE of control.", owner="control"),
    Family(name="weft_resident_bytes", kind="gauge", help="Resident memory of the agent's processes.",
           labels=("process",), owner="control"),
)  # fmt: skip

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({family.name: family for family in _ALL})

OVERFLOW_LABEL: Final = "overflow"
"""`overflow="true"` marks the one series per family that counts what the series limit did not admit."""
