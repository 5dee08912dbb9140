"""What the streams count."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class HubMetrics:
    """Counts of one replica's streams.

    Args:
        registry: where they are shown; None: nowhere, for tests.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        where = registry if registry is not None else CollectorRegistry()
        prefix = "weft_operator_stream"
        self.streams = Gauge(f"{prefix}s", "Nodes connected to this replica.", registry=where)
        self.syncing = Gauge(f"{prefix}s_syncing", "Nodes that are being brought up to date.", registry=where)
        self.sent_bytes = Counter(f"{prefix}_sent_bytes", "Bytes of updates sent to nodes.", registry=where)
        self.updates = Counter(f"{prefix}_updates", "Updates sent to nodes.", registry=where)
        self.refusals = Counter(f"{prefix}_refusals", "Resources that a node refused.", registry=where)
        self.oversized = Counter(
            f"{prefix}_oversized", "Resources that could not be sent because they exceed a message.", registry=where
        )
        self.turned_away = Counter(
            f"{prefix}_turned_away", "Streams that were not begun, by HTTP status.", ["status"], registry=where
        )
        self.ended = Counter(f"{prefix}_ended", "Streams that ended, by reason.", ["reason"], registry=where)
        self.lag = Histogram(
            f"{prefix}_lag_seconds",
            "From a change of an object to its being in force on a node, by update.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60),
            registry=where,
        )
        self.sync = Histogram(
            f"{prefix}_sync_seconds",
            "From the Hello of a node to its being up to date.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=where,
        )
