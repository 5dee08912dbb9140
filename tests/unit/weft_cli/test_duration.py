"""Times on a command line."""

import click
import pytest

from weft_cli.duration import Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1.5h", 5400), ("0", 0), (7, 7)]
)
def test_good_ones(text: object, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "1 s", "1s1s", "٣"])
def test_bad_ones(text: str) -> None:
    with pytest.raises(click.UsageError):
        Duration().convert(text, None, None)
