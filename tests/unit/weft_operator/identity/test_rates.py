"""Certificate requests of one node: a burst, a rate, and nothing kept of nodes that are quiet."""

import pytest

from weft_operator.identity.rates import BURST, FORGET_S, RATE_PER_S, NodeRates


def test_a_burst_then_a_rate() -> None:
    rates = NodeRates()
    assert [rates.wait_s("n1", 0.0) for _ in range(int(BURST))] == [0.0] * int(BURST)
    assert rates.wait_s("n1", 0.0) == pytest.approx(1 / RATE_PER_S)
    assert rates.wait_s("n2", 0.0) == 0.0, "each node has its own"
    assert rates.wait_s("n1", 1 / RATE_PER_S) == 0.0
    assert rates.wait_s("n1", 1 / RATE_PER_S) > 0


def test_quiet_nodes_are_forgotten() -> None:
    rates = NodeRates()
    for number in range(100):
        rates.wait_s(f"n{number}", 0.0)
    rates.wait_s("n1", FORGET_S + 1)
    assert len(rates) == 1
