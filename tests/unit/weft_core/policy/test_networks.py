"""IP blocks: both families, mapped addresses, and agreement with the standard library."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_core.policy.networks import NetworkSet, pack_address
from weft_core.text import UncompilableError


@pytest.mark.parametrize(
    ("block", "address", "expected"),
    [
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("0.0.0.0/0", "8.8.8.8", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "8.8.8.8", False),
        ("::/0", "fd00::1", True),
        ("fd00::/64", "fd00::ffff", True),
        ("fd00::/64", "fd00:0:0:1::", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("fe80::1", "fe80::1", True),
    ],
)
def test_blocks_of_both_families(block: str, address: str, expected: bool) -> None:
    assert NetworkSet([block]).matches(pack_address(address)) is expected


@pytest.mark.parametrize("block", ["", "10.0.0.0/33", "example.com", "10.0.0", "*", "10.0.0.0/8 "])
def test_what_is_no_block_is_refused(block: str) -> None:
    with pytest.raises(UncompilableError, match="neither CIDR nor address"):
        NetworkSet([block])


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/8", "10.0.0.0.1"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        pack_address(text)


networks = st.one_of(
    st.builds(ipaddress.IPv4Network, st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), st.just(False)),
    st.builds(ipaddress.IPv6Network, st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)), st.just(False)),
)


@given(st.lists(networks, min_size=1, max_size=6), st.data())
def test_agrees_with_the_standard_library(
    blocks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject
) -> None:
    compiled = NetworkSet([str(block) for block in blocks])
    near = data.draw(st.sampled_from(blocks))
    edge = data.draw(st.sampled_from([int(near[0]) - 1, int(near[0]), int(near[-1]), int(near[-1]) + 1]))
    bound = 2**32 if near.version == 4 else 2**128
    address = (ipaddress.IPv4Address if near.version == 4 else ipaddress.IPv6Address)(edge % bound)
    expected = any(address in block for block in blocks)
    assert compiled.matches(address.packed) is expected
