"""Choice of endpoints: who may be chosen, how even it is, and what busy and failing endpoints change."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_contract.resources import Endpoint
from weft_core.balance import FAILED_RECENTLY_S, States, pick, state_of

NOW = 1000.0
ALGORITHMS = ("LEAST_REQUEST", "ROUND_ROBIN", "RANDOM")
numbers = st.integers(0, 2**32 - 1)


def endpoint(index: int, *, ready: bool = True, zone: str = "") -> Endpoint:
    return Endpoint(address=f"10.0.0.{index}", port=8080, ready=ready, zone=zone)


def several(count: int) -> tuple[Endpoint, ...]:
    return tuple(endpoint(index) for index in range(count))


def sample(endpoints: tuple[Endpoint, ...], algorithm: str, states: States, times: int = 4000) -> Counter[str]:
    rng = random.Random(7)
    counted: Counter[str] = Counter()
    for _ in range(times):
        found = pick(endpoints, algorithm, states, rng.getrandbits(32), now=NOW)
        assert found is not None
        counted[found.address] += 1
    return counted


# -- laws ---------------------------------------------------------------------------------------------------------

described = st.lists(
    st.tuples(st.booleans(), st.sampled_from((None, NOW - 5, NOW - 0.5, NOW)), st.integers(0, 3), st.booleans()),
    max_size=6,
)


def tier(ready: bool, failure: float | None) -> int:
    return (0 if ready else 2) + (1 if failure is not None and failure > NOW - FAILED_RECENTLY_S else 0)


@settings(max_examples=400, deadline=None)
@given(described, st.sampled_from(ALGORITHMS), numbers)
def test_the_best_there_is_and_never_one_that_was_tried(
    rows: list[tuple[bool, float | None, int, bool]], algorithm: str, number: int
) -> None:
    states: States = {}
    endpoints = tuple(endpoint(index, ready=ready) for index, (ready, *_) in enumerate(rows))
    for item, (_, failure, active, _) in zip(endpoints, rows, strict=True):
        state_of(states, item).active = active
        if failure is not None:
            state_of(states, item).failed(failure)
    tried = tuple(item for item, row in zip(endpoints, rows, strict=True) if row[3])
    found = pick(endpoints, algorithm, states, number, tried, now=NOW)
    left = [index for index, row in enumerate(rows) if not row[3]]
    if not left:
        assert found is None
        return
    assert found is not None
    chosen = endpoints.index(found)
    assert chosen in left
    assert tier(*rows[chosen][:2]) == min(tier(*rows[index][:2]) for index in left)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=8), numbers)
def test_of_two_choices_the_busier_is_never_taken(active: list[int], number: int) -> None:
    states: States = {}
    endpoints = several(len(active))
    for item, count in zip(endpoints, active, strict=True):
        state_of(states, item).active = count
    found = pick(endpoints, "LEAST_REQUEST", states, number, now=NOW)
    assert found is not None
    busiest = max(active)
    if active.count(busiest) == 1:
        assert active[endpoints.index(found)] < busiest, "it lost every comparison it could be in"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_of_none_there_is_none_and_of_one_there_is_one(algorithm: str) -> None:
    assert pick((), algorithm, {}, 0, now=NOW) is None
    only = endpoint(1)
    assert pick((only,), algorithm, {}, 2**32 - 1, now=NOW) is only
    assert pick((only,), algorithm, {}, 0, (only,), now=NOW) is None


# -- evenness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_idle_endpoints_share_evenly(algorithm: str, count: int) -> None:
    counted = sample(several(count), algorithm, {})
    assert len(counted) == count
    assert all(abs(value / 4000 - 1 / count) < 0.04 for value in counted.values())


def test_tm_05_an_endpoint_with_slow_requests_gets_no_new_one_while_another_idles() -> None:
    states: States = {}
    busy, idle = several(2)
    state_of(states, busy).active = 10
    assert sample((busy, idle), "LEAST_REQUEST", states, 200) == {idle.address: 200}


def test_least_request_levels_out() -> None:
    states: States = {}
    endpoints = several(8)
    rng = random.Random(1)
    for _ in range(8 * 50):
        found = pick(endpoints, "LEAST_REQUEST", states, rng.getrandbits(32), now=NOW)
        assert found is not None
        state_of(states, found).started()
    active = [state_of(states, item).active for item in endpoints]
    assert max(active) - min(active) <= 4


def test_round_robin_takes_turns_exactly() -> None:
    states: States = {}
    endpoints = several(3)
    rng = random.Random(3)
    order = [pick(endpoints, "ROUND_ROBIN", states, rng.getrandbits(32), now=NOW) for _ in range(30)]
    assert all(order[index] is order[index + 3] for index in range(27))
    assert len(set(order[:3])) == 3


def test_round_robin_gives_a_newcomer_one_turn_and_not_a_flood() -> None:
    states: States = {}
    old = several(3)
    for number in range(300):
        pick(old, "ROUND_ROBIN", states, number, now=NOW)
    new = endpoint(9)
    following = [pick((*old, new), "ROUND_ROBIN", states, 0, now=NOW) for _ in range(8)]
    assert following.count(new) == 2


def test_workers_begin_round_robin_at_different_places() -> None:
    firsts = {pick(several(4), "ROUND_ROBIN", {}, number << 30, now=NOW) for number in range(4)}
    assert len(firsts) == 4


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_failed_endpoint_is_avoided_for_its_second_and_then_back(algorithm: str) -> None:
    states: States = {}
    good, bad = several(2)
    state_of(states, bad).failed(NOW)
    assert sample((good, bad), algorithm, states, 100) == {good.address: 100}
    later = {pick((good, bad), algorithm, states, number << 28, now=NOW + FAILED_RECENTLY_S) for number in range(16)}
    assert later == {good, bad}
    state_of(states, bad).failed(NOW)
    state_of(states, bad).succeeded()
    assert state_of(states, bad).failures == 0
    assert set(sample((good, bad), algorithm, states, 100)) == {good.address, bad.address}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_if_all_failed_they_are_tried_all_the_same(algorithm: str) -> None:
    states: States = {}
    both = several(2)
    for item in both:
        state_of(states, item).failed(NOW)
    assert len(sample(both, algorithm, states, 100)) == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_terminating_endpoint_is_the_last_resort(algorithm: str) -> None:
    ready, leaving = endpoint(1), endpoint(2, ready=False)
    states: States = {}
    state_of(states, ready).failed(NOW)
    assert sample((ready, leaving), algorithm, states, 50) == {ready.address: 50}
    assert sample((leaving,), algorithm, states, 5) == {leaving.address: 5}


# -- zones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_own_zone_is_preferred_while_it_is_as_usable(algorithm: str) -> None:
    near, far = endpoint(1, zone="a"), endpoint(2, zone="b")
    states: States = {}
    found = {pick((near, far), algorithm, states, number << 28, now=NOW, zone="a") for number in range(16)}
    assert found == {near}
    assert pick((near, far), algorithm, states, 0, now=NOW, zone="c") is not None
    state_of(states, near).failed(NOW)
    assert pick((near, far), algorithm, states, 0, now=NOW, zone="a") is far
