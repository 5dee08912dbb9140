"""The worker's metrics: cells, announcements, the series limit, and what control makes of them."""

import os
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_agent.channel.messages import MAX_MESSAGE_BYTES, SeriesMade
from weft_agent.telemetry.counters import CELLS, CounterPage, new_page
from weft_agent.telemetry.families import FAMILIES, HTTP_LABELS
from weft_agent.telemetry.pages import Totals, WorkerPage, value_of
from weft_agent.telemetry.series import MAX_LABEL_CHARACTERS, SeriesTable

REQUESTS = "istio_requests_total"
DURATION = "istio_request_duration_milliseconds"


class Rig:
    """A worker's table and control's view of the same page."""

    def __init__(self, limit: int = 1000) -> None:
        self.fd = new_page(0)
        self.messages: list[SeriesMade] = []
        self.worker_page = CounterPage(self.fd)
        self.table = SeriesTable(self.worker_page, limit, self.hear)
        self.page = WorkerPage(CounterPage(self.fd))

    def hear(self, made: SeriesMade) -> None:
        assert len(msgspec.msgpack.encode(made)) <= MAX_MESSAGE_BYTES
        self.messages.append(made)

    def totals(self, *, gauges: bool = True) -> Totals:
        self.table.flush()
        for message in self.messages:
            self.page.add(message.series)
        totals: Totals = {}
        self.page.add_to(totals, gauges=gauges)
        return totals


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.page.close()
    made.worker_page.close()
    os.close(made.fd)


def test_a_count_is_seen_by_control_with_its_labels(rig: Rig) -> None:
    index = rig.table.counter(REQUESTS, {"reporter": "destination", "response_code": "200"})
    rig.table.cells[index] += 3
    totals = rig.totals()
    assert value_of(totals, REQUESTS, reporter="destination", response_code="200") == 3


def test_a_label_without_a_value_says_unknown_where_istio_does(rig: Rig) -> None:
    rig.table.cells[rig.table.counter(REQUESTS, {"reporter": "source", "source_workload": ""})] += 1
    rig.table.cells[rig.table.counter("weft_refusals_total", {"reason": "denied_by_rule"})] += 1
    totals = rig.totals()
    (istio,) = [labels for name, labels in totals if name == REQUESTS and ("reporter", "source") in labels]
    assert dict(istio) == dict.fromkeys(HTTP_LABELS, "unknown") | {"reporter": "source"}
    (ours,) = [
        labels for name, labels in totals if name == "weft_refusals_total" and ("overflow", "true") not in labels
    ]
    assert ours == (("reason", "denied_by_rule"),)


def test_the_same_labels_get_the_same_cell(rig: Rig) -> None:
    one = rig.table.counter(REQUESTS, {"reporter": "source", "response_code": "200"})
    two = rig.table.counter(REQUESTS, {"response_code": "200", "reporter": "source"})
    other = rig.table.counter(REQUESTS, {"response_code": "404", "reporter": "source"})
    assert one == two != other


def test_a_label_or_family_that_is_not_declared_is_a_bug(rig: Rig) -> None:
    with pytest.raises(KeyError, match="has no label"):
        rig.table.counter(REQUESTS, {"path": "/secret"})
    with pytest.raises(KeyError):
        rig.table.counter("weft_invented_total")


def test_a_histogram_counts_into_the_bucket_of_its_bound(rig: Rig) -> None:
    observer = rig.table.observer(DURATION, {"reporter": "source"})
    for value in (0.1, 0.5, 0.500001, 1, 4_000_000, 0, -1):
        observer.observe(value)
    (cells,) = [
        values
        for (name, labels), values in rig.totals().items()
        if name == DURATION and ("reporter", "source") in labels
    ]
    assert cells[0] == 4, "0.1, 0.5, 0 and -1 are at most 0.5"
    assert cells[1] == 2, "0.500001 and 1"
    assert cells[len(FAMILIES[DURATION].bounds)] == 1, "+Inf"
    assert cells[-1] == int((0.1 + 0.5 + 0.500001 + 1 + 4_000_000) * 1000)


def test_beyond_the_limit_the_overflow_series_counts() -> None:
    rig = Rig(limit=5)
    for number in range(20):
        rig.table.cells[rig.table.counter("weft_retries_total", {"reason": f"r{number}"})] += 1
    totals = rig.totals()
    assert value_of(totals, "weft_retries_total") == 20, "nothing is lost"
    assert value_of(totals, "weft_retries_total", overflow="true") == 15
    assert value_of(totals, "weft_series_overflow_total") == 15


def test_a_million_label_sets_make_no_more_series_than_allowed() -> None:
    rig = Rig(limit=100)
    before = len(rig.table._made)
    for number in range(100_000):
        rig.table.counter("weft_retries_total", {"reason": str(number)})
    assert len(rig.table._made) - before == 100
    assert len(rig.table._indexes) == 100


def test_a_full_page_overflows_before_it_ends() -> None:
    rig = Rig(limit=10**9)
    wanted = CELLS // FAMILIES[DURATION].cells + 10
    indexes = {rig.table.histogram(DURATION, {"source_workload": str(number)}) for number in range(wanted)}
    assert max(indexes) + FAMILIES[DURATION].cells <= CELLS
    assert value_of(rig.totals(), "weft_series_overflow_total") >= 10


def test_long_labels_are_cut_and_announcements_fit_their_messages(rig: Rig) -> None:
    for number in range(200):
        labels = dict.fromkeys(HTTP_LABELS, "\N{SNOWMAN}" * 1000) | {"response_code": str(number)}
        rig.table.counter(REQUESTS, labels)
    totals = rig.totals()
    assert sum(name == REQUESTS for name, _ in totals) == 201
    assert max(len(value) for _, labels in totals for _, value in labels) == MAX_LABEL_CHARACTERS


def test_all_series_can_be_told_to_a_control_that_knows_none(rig: Rig) -> None:
    index = rig.table.counter("weft_retries_total", {"reason": "x"})
    rig.table.cells[index] += 5
    rig.totals()
    rig.messages.clear()
    rig.table.announce_all()
    newcomer = WorkerPage(CounterPage(rig.fd))
    for message in rig.messages:
        newcomer.add(message.series)
    totals: Totals = {}
    newcomer.add_to(totals, gauges=True)
    assert value_of(totals, "weft_retries_total", reason="x") == 5
    newcomer.close()


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 2**40)), max_size=30))
def test_any_sequence_of_counts_adds_up(counts: list[tuple[str, int]]) -> None:
    rig = Rig()
    for reason, amount in counts:
        rig.table.cells[rig.table.counter("weft_retries_total", {"reason": reason})] += amount
    totals = rig.totals()
    for reason in "abc":
        assert value_of(totals, "weft_retries_total", reason=reason) == sum(n for r, n in counts if r == reason)
    rig.page.close()
    os.close(rig.fd)
