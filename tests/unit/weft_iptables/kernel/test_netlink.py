"""Attributes of netlink messages, and answers of the real kernel that need no privilege."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_iptables.kernel.addresses import addresses
from weft_iptables.kernel.netlink import NETLINK_ROUTE, Netlink, attribute, attributes, text


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back_as_they_were(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in pairs)
    assert len(data) % 4 == 0
    assert list(attributes(data)) == pairs
    assert list(attributes(b"head" + data, 4)) == pairs


def test_flags_of_a_type_do_not_count() -> None:
    assert list(attributes(attribute(0x8000 | 7, b"x") + attribute(0x4000 | 9, b"y"))) == [(7, b"x"), (9, b"y")]


@given(st.binary(max_size=64))
def test_garbage_ends_the_walk(data: bytes) -> None:
    assert all(len(value) <= len(data) for _, value in attributes(data))


def test_a_name_ends_at_its_nul() -> None:
    assert text(b"weft\0garbage") == "weft"
    assert text(b"\xff\0") == "\\xff"


def test_the_kernel_lists_addresses() -> None:
    assert "127.0.0.1" in addresses()


def test_the_kernels_refusal_is_an_error_with_its_number() -> None:
    with Netlink(NETLINK_ROUTE) as netlink:
        with pytest.raises(OSError, match=r"supported|permitted") as caught:
            netlink.ask(0x3FF0, struct.pack("=I", 0))
        assert caught.value.errno in (errno.EOPNOTSUPP, errno.EPERM)
        assert netlink.dump(22, struct.pack("=4Bi", 0, 0, 0, 0, 0)), "the socket is of use after a refusal"
