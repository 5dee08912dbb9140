"""Sums over workers: living and dead count once each, gauges die with their worker, a worker is not believed blindly."""

import os
from pathlib import Path

from weft_agent.channel.messages import Series
from weft_agent.telemetry.counters import CELLS, CounterPage, new_page
from weft_agent.telemetry.pages import Pages, WorkerPage, value_of
from weft_agent.telemetry.series import SeriesTable

COUNTER, GAUGE = "weft_retries_total", "weft_connections_active"


class Worker:
    """A worker and control's page of it."""

    def __init__(self) -> None:
        fd = new_page(0)
        self.page = WorkerPage(CounterPage(fd))
        self.table = SeriesTable(CounterPage(fd), 100, lambda made: self.page.add(made.series))
        os.close(fd)

    def count(self, amount: int, connections: int) -> None:
        self.table.cells[self.table.counter(COUNTER, {"reason": "x"})] += amount
        self.table.cells[self.table.counter(GAUGE, {"direction": "inbound"})] += connections
        self.table.flush()


def test_counters_never_go_backwards_when_workers_die(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "retired")
    one, two = Worker(), Worker()
    pages.join(one.page)
    pages.join(two.page)
    one.count(10, 3)
    two.count(5, 2)
    assert value_of(pages.totals(), COUNTER) == 15
    assert value_of(pages.totals(), GAUGE) == 5
    pages.retire(one.page)
    assert value_of(pages.totals(), COUNTER) == 15
    assert value_of(pages.totals(), GAUGE) == 2, "the dead worker's connections are gone"
    pages.retire(one.page)
    assert value_of(pages.totals(), COUNTER) == 15, "twice is once"
    third = Worker()
    pages.join(third.page)
    third.count(1, 0)
    assert value_of(pages.totals(), COUNTER) == 16


def test_the_next_control_goes_on_counting(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "retired")
    worker = Worker()
    pages.join(worker.page)
    worker.count(10, 3)
    pages.retire(worker.page)
    successor = Pages(tmp_path / "retired")
    assert value_of(successor.totals(), COUNTER) == 10
    assert value_of(successor.totals(), GAUGE) == 0


def test_a_damaged_record_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "retired").write_bytes(b"\xc1garbage")
    assert Pages(tmp_path / "retired").totals() == {}


def test_a_worker_cannot_make_control_read_or_show_nonsense(tmp_path: Path) -> None:
    worker = Worker()
    bad = [
        Series(index=-1, cells=1, family=COUNTER, labels=()),
        Series(index=CELLS, cells=1, family=COUNTER, labels=()),
        Series(index=0, cells=CELLS, family=COUNTER, labels=()),
        Series(index=0, cells=1, family="weft_build_info", labels=()),
        Series(index=0, cells=1, family="made_up", labels=()),
    ]
    before = len(worker.page._series)
    worker.page.add(bad)
    assert len(worker.page._series) == before
