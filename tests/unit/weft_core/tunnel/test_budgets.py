"""Budgets: what is charged, what brings tokens back, when it is enough."""

import pytest

from weft_contract.limits import Limits
from weft_core.tunnel.breach import ConnectionBreachError
from weft_core.tunnel.budgets import WORK_BYTES_PER_TOKEN, Budget, Guard
from weft_core.tunnel.frames import ErrorCode

LIMITS = Limits(
    tunnel_glitch_burst=8, tunnel_glitch_rate=2, reset_burst=4, reset_rate=1, tunnel_empty_frames=3
)  # fmt: skip


def test_a_budget_is_a_token_bucket() -> None:
    budget = Budget(3, 2)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    budget.refill(1.0)
    assert budget.spend()
    assert not budget.spend()
    budget.refill(100.0)
    assert budget.tokens == 3
    assert budget.full


def test_traffic_earns_tokens() -> None:
    budget = Budget(3, 0)
    for _ in range(3):
        budget.spend()
    budget.earn(WORK_BYTES_PER_TOKEN)
    assert budget.spend()
    assert not budget.spend()


def test_three_quarters_are_a_warning() -> None:
    budget = Budget(8, 0)
    lows = []
    for _ in range(8):
        budget.spend()
        lows.append(budget.low)
    assert lows == [False] * 6 + [True] * 2


def test_glitches_break_the_connection_when_the_budget_is_spent() -> None:
    guard = Guard(LIMITS)
    for _ in range(8):
        guard.glitch(1.0, 0)
    assert guard.low
    with pytest.raises(ConnectionBreachError) as caught:
        guard.glitch(1.0, 0)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM
    assert caught.value.detail == "glitch_flood"


def test_a_busy_connection_earns_its_glitches() -> None:
    guard = Guard(LIMITS)
    for count in range(1000):
        guard.glitch(1.0, count * WORK_BYTES_PER_TOKEN)
    assert not guard.low


def test_moved_bytes_are_counted_once() -> None:
    guard = Guard(LIMITS)
    for _ in range(8):
        guard.glitch(1.0, WORK_BYTES_PER_TOKEN)
    with pytest.raises(ConnectionBreachError):
        guard.glitch(1.0, WORK_BYTES_PER_TOKEN)


def test_resets_come_back_with_time_alone() -> None:
    guard = Guard(LIMITS)
    for _ in range(4):
        guard.reset()
    guard.refill(1.0)
    guard.reset()
    with pytest.raises(ConnectionBreachError) as caught:
        guard.reset()
    assert caught.value.detail == "reset_flood"


def test_empty_frames_in_a_row() -> None:
    guard = Guard(LIMITS)
    for _ in range(3):
        guard.empty(100)
    for _ in range(3):
        guard.empty(101)
    with pytest.raises(ConnectionBreachError) as caught:
        guard.empty(101)
    assert caught.value.detail == "empty_data_flood"


def test_full_means_that_time_brings_nothing() -> None:
    guard = Guard(LIMITS)
    states = [guard.full]
    guard.reset()
    states.append(guard.full)
    guard.refill(1.0)
    states.append(guard.full)
    assert states == [True, False, True]
