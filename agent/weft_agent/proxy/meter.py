"""Counting what passed: one meter per pair of workloads, counter cells looked up once per outcome and then added to."""

from typing import Final, Literal, NamedTuple

from weft_agent.telemetry.series import Histogram, SeriesTable
from weft_contract.identity import SpiffeId
from weft_contract.resources import Workload

Reporter = Literal["source", "destination"]
OUTCOMES_MAX: Final = 256
"""Distinct (status, flags) of one meter that are remembered; an upstream chooses its statuses."""


class Party(NamedTuple):
    """One side of an exchange as telemetry knows it; empty: unknown."""

    workload: str = ""
    namespace: str = ""
    principal: str = ""
    app: str = ""
    version: str = ""


UNKNOWN: Final = Party()


def party_of(workload: Workload) -> Party:
    """Describe a pod of this node."""
    name = workload.workload or workload.name
    return Party(name, workload.namespace, workload.identity, workload.app or name, workload.version)


def party_named(identity: SpiffeId | None, told: str) -> Party:
    """Describe a peer: its verified identity, and what its agent told of itself (`workload;app;version`)."""
    if identity is None:
        return UNKNOWN
    workload, _, rest = told.partition(";")
    app, _, version = rest.partition(";")
    return Party(workload, identity.namespace, str(identity), app or workload, version)


def labels_of(
    reporter: Reporter, source: Party, destination: Party, service: str, *, protocol: str, mutual_tls: bool
) -> dict[str, str]:
    """Return Istio's standard labels.

    Args:
        reporter: which side counts.
        source: who called.
        destination: who was called.
        service: `namespace/name` of the Service called, or empty.
        protocol: `http`, `grpc` or `tcp`.
        mutual_tls: whether the identities are verified.
    """
    namespace, _, name = service.partition("/")
    labels = {
        "reporter": reporter,
        "destination_service": f"{name}.{namespace}.svc.cluster.local" if name else "",
        "destination_service_name": name,
        "destination_service_namespace": namespace,
        "request_protocol": protocol,
        "connection_security_policy": "mutual_tls" if mutual_tls else "none",
    }
    for end, party in (("source", source), ("destination", destination)):
        labels[f"{end}_workload"] = party.workload
        labels[f"{end}_workload_namespace"] = party.namespace
        labels[f"{end}_principal"] = party.principal
        labels[f"{end}_app"] = labels[f"{end}_canonical_service"] = party.app
        labels[f"{end}_version"] = labels[f"{end}_canonical_revision"] = party.version
    return labels


class _Outcome:
    """The cells of one (status, flags)."""

    __slots__ = ("duration_ms", "received", "sent", "total")

    def __init__(self, series: SeriesTable, labels: dict[str, str]) -> None:
        self.total = series.counter("istio_requests_total", labels)
        self.duration_ms: Histogram = series.observer("istio_request_duration_milliseconds", labels)
        self.received: Histogram = series.observer("istio_request_bytes", labels)
        self.sent: Histogram = series.observer("istio_response_bytes", labels)


class HttpMeter:
    """Counts requests of one pair of workloads.

    Args:
        series: the worker's series.
        labels: from `labels_of`.
    """

    __slots__ = ("_cells", "_labels", "_outcomes", "_series")

    def __init__(self, series: SeriesTable, labels: dict[str, str]) -> None:
        self._series = series
        self._cells = series.cells
        self._labels = labels
        self._outcomes: dict[tuple[int, str], _Outcome] = {}

    def count(self, status: int, flags: str, *, seconds: float, received: int, sent: int) -> None:
        """Count one exchange.

        Args:
            status: answered to the caller; 0: none.
            flags: Envoy's response flags, `-` for none.
            seconds: first byte of the request to last byte of the answer.
            received: request bytes, head included.
            sent: response bytes, head included.
        """
        outcome = self._outcomes.get((status, flags))
        if outcome is None:
            outcome = self._make(status, flags)
        self._cells[outcome.total] += 1
        outcome.duration_ms.observe(seconds * 1000.0)
        outcome.received.observe(received)
        outcome.sent.observe(sent)

    def _make(self, status: int, flags: str) -> _Outcome:
        labels = self._labels | {"response_code": str(status), "response_flags": flags}
        outcome = _Outcome(self._series, labels)
        if len(self._outcomes) < OUTCOMES_MAX:
            self._outcomes[status, flags] = outcome
        return outcome


class TcpMeter:
    """Counts opaque connections of one pair of workloads; bytes may be told in portions."""

    __slots__ = ("_cells", "_closed", "_labels", "_opened", "_received", "_sent", "_series")

    def __init__(self, series: SeriesTable, labels: dict[str, str]) -> None:
        self._series = series
        self._cells = series.cells
        self._labels = labels
        plain = labels | {"response_flags": "-"}
        self._opened = series.counter("istio_tcp_connections_opened_total", plain)
        self._closed = series.counter("istio_tcp_connections_closed_total", plain)
        self._received = series.counter("istio_tcp_received_bytes_total", plain)
        self._sent = series.counter("istio_tcp_sent_bytes_total", plain)

    def opened(self) -> None:
        """Count a connection."""
        self._cells[self._opened] += 1

    def moved(self, received: int, sent: int) -> None:
        """Count bytes."""
        self._cells[self._received] += received
        self._cells[self._sent] += sent

    def closed(self, flags: str) -> None:
        """Count an end."""
        if flags == "-":
            self._cells[self._closed] += 1
        else:
            labels = self._labels | {"response_flags": flags}
            self._cells[self._series.counter("istio_tcp_connections_closed_total", labels)] += 1
