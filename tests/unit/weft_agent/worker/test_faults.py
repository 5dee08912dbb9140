"""Faults are counted each time and told once per place and while."""

from weft_agent.channel.messages import Report
from weft_agent.worker.faults import MAX_DETAIL_CHARACTERS, SILENCE_S, Faults, fault_report


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.count = 0
        self.reports: list[Report] = []
        self.faults = Faults(self.reports.append, self.add, lambda: self.now)

    def add(self) -> None:
        self.count += 1


def one() -> Exception:
    try:
        raise ValueError("one")
    except ValueError as exc:
        return exc


def two() -> Exception:
    try:
        raise ValueError("two")
    except ValueError as exc:
        return exc


def test_a_place_is_told_once_in_a_while_and_counted_always() -> None:
    rig = Rig()
    for _ in range(10_000):
        rig.faults(one())
    rig.faults(two())
    assert rig.count == 10_001
    assert len(rig.reports) == 2
    rig.now += SILENCE_S
    rig.faults(one())
    assert len(rig.reports) == 3


def test_a_report_has_the_traceback_and_fits_a_message() -> None:
    report = fault_report(one(), "here")
    assert report.level == "error"
    assert report.event == "worker-fault"
    assert "ValueError: one" in report.detail
    assert "test_faults.py" in report.detail
    assert len(fault_report(ValueError("x" * 100_000)).detail) == MAX_DETAIL_CHARACTERS


def test_a_call_that_the_sandbox_refused_is_called_so() -> None:
    assert fault_report(PermissionError(1, "Operation not permitted")).event == "worker-sandbox-refused"
    assert fault_report(PermissionError(13, "Permission denied")).event == "worker-fault"
