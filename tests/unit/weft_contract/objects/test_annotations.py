"""The grammar of labels and annotations."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects.annotations import (
    AnnotationError,
    enrolled,
    export_to,
    netns_name,
    network,
    networks,
    port_ranges,
    truth,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("9090", ((9090, 9090),)),
        ("9100-9110, 9090", ((9090, 9090), (9100, 9110))),
        ("1-65535", ((1, 65535),)),
        ("80,81,82", ((80, 82),)),
        ("80-90,85-95,100", ((80, 95), (100, 100))),
        ("00080", ((80, 80),)),
    ],
)
def test_port_ranges(value: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert port_ranges(value) == expected


@pytest.mark.parametrize(
    "value", ["0", "65536", "90-80", "a", "80-", "-80", "80:90", "80;90", "8 0", "٨٠", "999999", "1-2-3"]
)
def test_what_is_no_port_range_is_refused(value: str) -> None:
    with pytest.raises(AnnotationError):
        port_ranges(value)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=8))
def test_ranges_cover_exactly_what_was_written(pairs: list[tuple[int, int]]) -> None:
    written = [(min(pair), max(pair)) for pair in pairs]
    merged = port_ranges(",".join(f"{first}-{last}" for first, last in written))
    borders = {port for pair in written for edge in pair for port in (edge - 1, edge, edge + 1)}
    for port in borders:
        assert any(a <= port <= b for a, b in merged) == any(a <= port <= b for a, b in written)
    assert all(first[1] + 1 < second[0] for first, second in pairwise(merged))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("10.0.0.0/8", ("10.0.0.0/8",)),
        ("fd00::/8, 10.1.2.3", ("10.1.2.3/32", "fd00::/8")),
        ("10.1.2.3/8,10.0.0.0/8", ("10.0.0.0/8",)),
        ("::1", ("::1/128",)),
    ],
)
def test_networks(value: str, expected: tuple[str, ...]) -> None:
    assert networks(value) == expected


@pytest.mark.parametrize(
    "value", ["10.0.0.0/33", "10.0.0", "example.com", "fe80::1%eth0", "10.0.0.0/8/8", "10.0.0.0 - 10.0.0.9"]
)
def test_what_is_no_network_is_refused(value: str) -> None:
    with pytest.raises(AnnotationError):
        networks(value)
    with pytest.raises(ValueError, match=r".+"):
        network(value)


def test_enrolment_and_truth_have_two_values_each() -> None:
    assert enrolled("enabled")
    assert not enrolled("disabled")
    assert truth("true")
    assert not truth("false")
    for value in ("", "Enabled", "true ", "1", "yes", "TRUE"):
        with pytest.raises(AnnotationError):
            enrolled(value)
        with pytest.raises(AnnotationError):
            truth(value)


def test_a_netns_is_a_name_and_never_a_path() -> None:
    assert netns_name("weft-lab_pod.1") == "weft-lab_pod.1"
    for value in ("", ".", "..", "../x", "a/b", "/run/netns/x", "-a", "a\n", "a" * 129):
        with pytest.raises(AnnotationError):
            netns_name(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", frozenset({"shop"})),
        (".", frozenset({"shop"})),
        ("billing, web", frozenset({"shop", "billing", "web"})),
        (".,shop", frozenset({"shop"})),
    ],
)
def test_who_is_told_of_a_service(value: str, expected: frozenset[str]) -> None:
    assert export_to(value, "shop") == expected
    assert export_to(f"{value},*", "shop") is None


@pytest.mark.parametrize("value", ["Shop", "a.b", "a;b", "-", "a/b", "*a", "shop,%"])
def test_who_is_no_namespace_is_refused(value: str) -> None:
    with pytest.raises(AnnotationError):
        export_to(value, "shop")
