"""Addresses: blocks of labs and nodes do not overlap, pools give each pair once and an old one last."""

from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_lab.addressing import MAX_LABS, MAX_NODES, AddressesExhaustedError, AddressPlan, Pair, free_index


def test_no_two_blocks_of_any_labs_overlap() -> None:
    plans = [AddressPlan(index) for index in range(MAX_LABS)]
    v4 = [
        block for plan in plans for block in (plan.nodes_v4, plan.services_v4, plan.pods_v4(1), plan.pods_v4(MAX_NODES))
    ]
    v6 = [
        block for plan in plans for block in (plan.nodes_v6, plan.services_v6, plan.pods_v6(1), plan.pods_v6(MAX_NODES))
    ]
    assert not [pair for pair in combinations(v4, 2) if pair[0].overlaps(pair[1])]
    assert not [pair for pair in combinations(v6, 2) if pair[0].overlaps(pair[1])]


@given(st.lists(st.booleans(), max_size=400))
def test_a_pool_never_gives_an_address_twice(takes: list[bool]) -> None:
    pool = AddressPlan(3).node_pods(2)
    held: list[Pair] = []
    for take in takes:
        if take and len(held) < 253:
            pair = pool.take()
            assert pair not in held
            assert pair.v4 in AddressPlan(3).pods_v4(2)
            assert pair.v6 in AddressPlan(3).pods_v6(2)
            held.append(pair)
        elif held:
            pool.free(held.pop(0))


def test_a_freed_address_is_the_last_to_come_again() -> None:
    pool = AddressPlan(0).node_pods(1)
    first = pool.take()
    pool.free(first)
    others = [pool.take() for _ in range(252)]
    assert first not in others
    assert pool.take() == first


def test_an_empty_pool_says_so() -> None:
    pool = AddressPlan(0).node_pods(1)
    for _ in range(253):
        pool.take()
    with pytest.raises(AddressesExhaustedError):
        pool.take()


def test_a_wished_address_is_given_once_and_only_inside_the_block() -> None:
    pool = AddressPlan(1).services()
    wished = pool.take_v4(IPv4Address("10.129.7.7"))
    assert wished is not None
    assert wished.texts() == ("10.129.7.7", "fd57:1ab:1:fffe::707")
    assert pool.take_v4(IPv4Address("10.129.7.7")) is None
    assert pool.take_v6(IPv6Address("fd57:1ab:1:fffe::707")) is None
    assert pool.take_v4(IPv4Address("10.128.7.7")) is None
    assert pool.take_v4(IPv4Address("10.129.0.0")) is None
    assert pool.take_v6(IPv6Address("fd57:1ab:1:fffe::1:0")) is None


def test_indexes_are_reused_and_run_out() -> None:
    assert free_index({0, 1, 3}) == 2
    with pytest.raises(AddressesExhaustedError):
        free_index(set(range(MAX_LABS)))
