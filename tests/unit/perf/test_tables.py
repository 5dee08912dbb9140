"""Tables in documents: from the newest whole result, between two marks, nowhere else."""

from pathlib import Path

import msgspec
import pytest
from perf.bench.figures import bars, rows
from perf.bench.samples import Result, Sample
from perf.bench.tables import BEGIN, END, filled, main, newest

DOCUMENT = f"# Title\n\n{BEGIN}\n{END}\n\nend\n"


def result(cpu_s: float, *, quick: bool = False) -> Result:
    measured = rows(
        Sample(
            scenario="tcp_bulk",
            connections=1,
            contestant=contestant,
            round=1,
            operations=1.0,
            seconds=1.0,
            cpu_s=seconds,
            proxy_core_busy=1.0,
            load_core_busy=1.0,
            others_share=0.0,
        )
        for contestant, seconds in (("weft", cpu_s), ("envoy-tcp", 0.4))
    )
    machine: dict[str, str | int | float | bool] = dict.fromkeys(("cpu", "kernel", "python", "openssl", "envoy"), "x")
    return Result(
        format=1,
        date="2026-11-28",
        commit="abc",
        quick=quick,
        rounds=1,
        seconds=1,
        machine=machine | {"load_average_before": 0.0},
        rows=measured,
        memory=(),
        resident=(),
        bars=bars(measured, (), ()),
        samples=(),
        memory_samples=(),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    for name in ("README.md", "docs/performance.md"):
        (tmp_path / name).write_text(DOCUMENT)
    return tmp_path


def save(root: Path, name: str, found: Result) -> None:
    (root / "results" / name).write_bytes(msgspec.json.encode(found))


def test_tables_are_written_once_and_then_up_to_date(root: Path) -> None:
    results = root / "results"
    save(root, "2026-11-27-1200.json", result(0.2))
    assert main(["--check"], root, results) == 1
    assert (root / "README.md").read_text() == DOCUMENT, "a comparison changes nothing"
    assert main([], root, results) == 0
    assert main(["--check"], root, results) == 0
    text = (root / "README.md").read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nend\n")
    assert "| plaintext bulk, to Envoy (1) | 0.20 s/GiB | 0.40 s/GiB | 0.50 | ≤ 1.00, met |" in text
    save(root, "2026-11-28-0800.json", result(0.6))
    assert main(["--check"], root, results) == 1


def test_quick_results_are_not_shown(root: Path) -> None:
    save(root, "2026-11-27-1200.json", result(0.2))
    save(root, "2026-11-28-0800.json", result(0.2, quick=True))
    found = newest(root / "results")
    assert found is not None
    assert found.name == "2026-11-27-1200.json"
    assert newest(root / "nowhere") is None


@pytest.mark.parametrize("text", ["none", BEGIN, END + BEGIN, BEGIN + END + BEGIN + END])
def test_marks_that_are_not_there_once_each_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        filled(text, "x")
