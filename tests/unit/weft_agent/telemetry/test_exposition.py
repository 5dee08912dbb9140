"""What Prometheus gets: both formats parse with the reference parsers, and hold what was counted."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from weft_agent.telemetry.counters import CounterPage, new_page
from weft_agent.telemetry.exposition import Collector, expose
from weft_agent.telemetry.metrics import Metrics
from weft_agent.telemetry.pages import Pages, WorkerPage
from weft_agent.telemetry.series import SeriesTable

parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"


def collector(tmp_path: Path) -> Collector:
    metrics, pages = Metrics(), Pages(tmp_path / "retired")
    metrics.set("weft_build_info", 1, version="1.2.3")
    metrics.add("weft_capture_errors_total", namespace="shop", pod='a"b\nc\\d')
    for count in (3, 4):
        fd = new_page(0)
        page = WorkerPage(CounterPage(fd))
        table = SeriesTable(CounterPage(fd), 100, lambda made, page=page: page.add(made.series))  # type: ignore[misc]  # the loop's page, bound now
        os.close(fd)
        table.cells[table.counter("istio_requests_total", {"reporter": "source"})] += count
        table.observer("istio_request_duration_milliseconds", {"reporter": "source"}).observe(7.5)
        table.flush()
        pages.join(page)
    return Collector(metrics, pages)


def test_the_text_format_says_what_was_counted(tmp_path: Path) -> None:
    body, content_type = expose(collector(tmp_path), "text/plain")
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in parse_text(body.decode())}
    (requests,) = families["istio_requests"].samples
    assert requests.value == 7
    assert requests.labels["reporter"] == "source"
    assert requests.labels["destination_workload"] == "unknown"
    duration = {(s.name, s.labels.get("le")): s.value for s in families["istio_request_duration_milliseconds"].samples}
    name = "istio_request_duration_milliseconds"
    assert duration[f"{name}_bucket", "5.0"] == 0
    assert duration[f"{name}_bucket", "10.0"] == 2
    assert duration[f"{name}_bucket", "+Inf"] == duration[f"{name}_count", None] == 2
    assert duration[f"{name}_sum", None] == 15
    assert families["weft_capture_errors"].samples[0].labels["pod"] == 'a"b\nc\\d'


def test_openmetrics_is_given_to_who_asks_for_it(tmp_path: Path) -> None:
    body, content_type = expose(collector(tmp_path), OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    assert families["istio_requests"].type == "counter"
    assert families["istio_requests"].samples[0].value == 7
    assert families["weft_build_info"].samples[0].labels == {"version": "1.2.3"}


def test_overflow_series_that_counted_nothing_are_not_shown(tmp_path: Path) -> None:
    body, _ = expose(collector(tmp_path), "")
    assert b"overflow" not in body.replace(b"weft_series_overflow", b"")
