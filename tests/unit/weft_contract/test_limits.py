"""Limits: every default is documented, positive and consistent with its neighbours."""

from dataclasses import fields, replace

import pytest

from weft_contract.limits import DEFAULT_LIMITS, Limits, describe


@pytest.mark.parametrize("info", describe(), ids=lambda info: info.name)
def test_every_limit_says_unit_reason_and_source(info: object) -> None:
    for name in ("unit", "reason", "source"):
        assert getattr(info, name), f"{info} lacks its {name}"


def test_the_table_is_complete_and_in_order() -> None:
    assert [info.name for info in describe()] == [field.name for field in fields(Limits)]


def test_times_are_named_in_seconds_and_sizes_in_bytes() -> None:
    for info in describe():
        if info.unit == "seconds":
            assert info.name.endswith("_s"), info.name
        if info.unit == "bytes":
            assert info.name.endswith("_bytes"), info.name


def test_limits_are_positive() -> None:
    for info in describe():
        if info.unit == "0 or 1":
            assert info.value in (0, 1), info.name
        else:
            assert info.value > 0, info.name


def test_neighbours_agree() -> None:
    limits = DEFAULT_LIMITS
    assert limits.write_low_bytes < limits.write_high_bytes
    assert limits.tunnel_stream_window_bytes <= limits.tunnel_stream_window_max_bytes
    assert limits.tunnel_stream_window_max_bytes <= limits.tunnel_connection_window_bytes
    assert limits.head_bytes < limits.tunnel_head_bytes
    assert limits.pod_connection_share < limits.connection_share <= 1


def test_a_test_may_shrink_one_limit() -> None:
    small = replace(DEFAULT_LIMITS, head_bytes=10)
    assert small.head_bytes == 10
    assert {info.name: info.value for info in describe(small)}["head_bytes"] == 10
