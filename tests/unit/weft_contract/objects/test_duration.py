"""Durations of GEP-2257."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract.objects.duration import DurationError, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0s", 0), ("1h", 3600), ("5m", 300), ("1h5m", 3900), ("1h30m30s500ms", 5430.5), ("99999h", 359996400), ("00060m", 3600),
     ("10s30ms", 10.03), ("1s1s", 2)],
)  # fmt: skip
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10", "-1s", "1.5s", "1d", "1us", "1 s", "s", "100000s", "1h1m1s1ms1h", "1S", "1s\n", "٣s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationError):
        seconds(text)


@given(st.lists(st.tuples(st.integers(0, 99999), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    text = "".join(f"{count}{name}" for count, name in parts)
    assert seconds(text) == pytest.approx(sum(count * unit[name] for count, name in parts), abs=1e-3)
