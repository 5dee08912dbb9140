"""The harness of the control plane measures what it says, at a size that takes seconds: both processes, TLS, changes, a table."""

import pytest
from perf.control.command import main, measure, table
from perf.control.plan import Plan

SMALL = Plan(services=20, nodes=4, seconds=1.0, rate=20.0)


def test_a_small_mesh_is_measured() -> None:
    result = measure(SMALL)
    start, nodes, changes = result["start"], result["nodes"], result["changes"]
    assert start["objects"] > 20 * 6
    assert nodes["turned_away"] == 0
    assert nodes["resources_per_node"] > 40
    assert nodes["bytes_per_node"] > 10_000
    assert changes["changes"] == 20
    assert changes["updates"] >= 4
    assert 0 < changes["lag_s"]["p50"] <= changes["lag_s"]["p99"] < 30
    text = table(result)
    assert "lag from change to in force on a node" in text


def test_a_wrong_word_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--nodes", "many"])
    assert caught.value.code == 2
    assert "invalid int value: 'many'" in capsys.readouterr().err
