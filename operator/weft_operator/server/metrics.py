"""What a replica shows of itself at `/metrics`, beside what streams and webhooks count."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from weft_operator.reflect import Known, Mirror, Round

PREFIX: Final = "weft_operator"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Numbers that are asked for when somebody looks."""

    leads: Callable[[], bool]
    status_writes: Callable[[], int]
    waiting: Callable[[], int]
    """Objects whose status waits to be looked at."""
    certificates: Callable[[], Iterable[tuple[str, float]]]
    """Name and end (seconds since 1970) of certificates that must be renewed in time."""
    aside: Callable[[], int]
    """Objects that the compiler fails at."""
    alarms: Callable[[], Iterable[str]]
    """Names of what is about to go wrong with the authority."""


class CompileMetrics:
    """What compiling takes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            f"{PREFIX}_compile_seconds", "Time to compile one round.", registry=registry, buckets=_BUCKETS
        )
        self._delay = Histogram(
            f"{PREFIX}_compile_delay_seconds",
            "From the first change of a round until it was compiled.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._changes = Counter(f"{PREFIX}_changes", "Changes of objects that were compiled.", registry=registry)
        self._problems = Gauge(f"{PREFIX}_problems", "Problems of objects, by the last round.", registry=registry)

    def observe(self, found: Round, problems: int) -> None:
        """Count a round."""
        self._seconds.observe(found.compile_s)
        self._delay.observe(found.delay_s)
        self._changes.inc(found.changes)
        self._problems.set(problems)


class StateCollector(Collector):
    """Reads the rest where it lies."""

    def __init__(self, mirror: Mirror, known: Known, gauges: Gauges) -> None:
        self._mirror, self._known, self._gauges = mirror, known, gauges

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        objects = GaugeMetricFamily(f"{PREFIX}_objects", "Objects known, by kind.", labels=["kind"])
        lists = CounterMetricFamily(f"{PREFIX}_lists", "Lists of a kind that were read.", labels=["kind"])
        events = CounterMetricFamily(f"{PREFIX}_watch_events", "Events of a kind that came.", labels=["kind"])
        failing = GaugeMetricFamily(f"{PREFIX}_watch_failing", "1: a kind cannot be followed now.", labels=["kind"])
        unreadable = GaugeMetricFamily(
            f"{PREFIX}_unreadable_objects", "Objects kept as they were, because they cannot be read.", labels=["kind"]
        )
        for kind, reflector in self._mirror.reflectors.items():
            objects.add_metric([kind], self._known.objects[kind])
            lists.add_metric([kind], reflector.lists)
            events.add_metric([kind], reflector.events)
            failing.add_metric([kind], float(bool(reflector.error)))
            unreadable.add_metric([kind], len(reflector.unreadable))
        yield from (objects, lists, events, failing, unreadable)
        yield GaugeMetricFamily(f"{PREFIX}_leader", "1: this replica leads.", value=float(self._gauges.leads()))
        yield CounterMetricFamily(
            f"{PREFIX}_status_writes", "Statuses written.", value=float(self._gauges.status_writes())
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_status_waiting", "Objects whose status is to be looked at.", value=float(self._gauges.waiting())
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_objects_set_aside",
            "Objects that are not in force as they are, because compiling them failed: an error of weft.",
            value=float(self._gauges.aside()),
        )
        ends = GaugeMetricFamily(
            f"{PREFIX}_certificate_not_after_seconds",
            "End of a certificate, seconds since 1970.",
            labels=["certificate"],
        )
        for name, not_after in self._gauges.certificates():
            ends.add_metric([name], not_after)
        yield ends
        alarms = GaugeMetricFamily(
            f"{PREFIX}_authority_alarm", "1: somebody should look at the certificate authority.", labels=["alarm"]
        )
        for name in self._gauges.alarms():
            alarms.add_metric([name], 1.0)
        yield alarms


def make_registry() -> CollectorRegistry:
    """Return a registry with what is told of every Python process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def metrics_application(registry: CollectorRegistry) -> web.Application:
    """Return the HTTP side."""

    async def show(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/metrics", show)])
    return application
