"""Everything that is counted, as Prometheus text or OpenMetrics: a custom collector over control's values and all pages."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from weft_agent.telemetry.families import FAMILIES, OVERFLOW_LABEL, Family
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.pages import LabelPairs, Pages


class Collector:
    """The one collector; reads everything at the moment of a scrape.

    Args:
        metrics: control's own values.
        pages: the workers' counters.
    """

    def __init__(self, metrics: Metrics, pages: Pages) -> None:
        self._metrics = metrics
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a sample."""
        grouped: dict[str, list[tuple[LabelPairs, list[int]]]] = defaultdict(list)
        for (name, labels), cells in self._pages.totals().items():
            if any(cells) or labels != ((OVERFLOW_LABEL, "true"),):
                grouped[name].append((labels, cells))
        own = self._metrics.snapshot()
        for family in FAMILIES.values():
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
            if family.owner == "control":
                for values, value in own.get(family.name, {}).items():
                    metric.add_sample(family.name, dict(zip(family.labels, values, strict=True)), value)
            else:
                for labels, cells in grouped.get(family.name, ()):
                    _add_samples(metric, family, dict(labels), cells)
            if metric.samples:
                yield metric


def _add_samples(metric: Metric, family: Family, labels: dict[str, str], cells: list[int]) -> None:
    if family.kind != "histogram":
        metric.add_sample(family.name, labels, cells[0] / family.scale)
        return
    count = 0
    for bound, cell in zip((*family.bounds, float("inf")), cells[:-1], strict=True):
        count += cell
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": _bound_text(bound)}, count)
    metric.add_sample(f"{family.name}_count", labels, count)
    metric.add_sample(f"{family.name}_sum", labels, cells[-1] / family.scale)


def _bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))


def expose(collector: Collector, accept: str) -> tuple[bytes, str]:
    """Return the body and its content type.

    Args:
        collector: what to expose.
        accept: the request's Accept field, which chooses between Prometheus text and OpenMetrics.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(collector.collect()))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Once:
    """Hands one collection to the encoder; a registry asks a new collector for its names first, which would count twice."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._metrics
