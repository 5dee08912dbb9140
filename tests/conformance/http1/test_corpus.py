"""The fuzzers' corpus, replayed: what was once found stays found."""

from pathlib import Path
from random import Random

import pytest

from weft_testing import fuzzing
from weft_testing.fuzzing import FuzzTarget, load, run, try_one
from weft_testing.http1_targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_replay(target: FuzzTarget) -> None:
    corpus = load(CORPUS / f"{target.name}.txt")
    assert corpus
    rng = Random(1)
    for data in (*target.seeds, *corpus):
        failure = try_one(target, data, rng)
        assert failure is None, failure


def test_the_fuzzer_finds_and_writes_down(tmp_path: Path) -> None:
    def never_a_percent_sign(data: bytes, _rng: Random) -> int:
        assert b"%" not in data
        return len(data)

    corpus = tmp_path / "x.txt"
    failure = run([FuzzTarget("x", (b"/",), never_a_percent_sign)], {"x": corpus}, seconds=10, seed=1)
    assert failure is not None
    assert b"%" in failure.data
    assert load(corpus) == [failure.data]
    again = run([FuzzTarget("x", (b"/",), never_a_percent_sign)], {"x": corpus}, seconds=0, seed=2)
    assert again is not None
    assert again.data == failure.data


def test_the_fuzzer_ends(tmp_path: Path) -> None:
    target = FuzzTarget("x", (b"/",), lambda data, _rng: len(data) % 5)
    assert run([target], {"x": tmp_path / "x.txt"}, seconds=0.05, seed=1) is None
    assert len(target.seen) == 5


def test_an_input_that_never_ends_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SLOW_S", 0.05)

    def endless(_data: bytes, _rng: Random) -> int:
        while True:
            try:
                sum(range(1000))
            except Exception:  # what is tried may catch whatever it likes
                continue

    failure = try_one(FuzzTarget("x", (b"/",), endless), b"/", Random(1))
    assert failure is not None
    assert failure.hang
    assert "HangError" in failure.report
