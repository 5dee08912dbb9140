"""Metadata: keys and times."""

import pytest

from weft_contract.objects.metadata import Metadata, unix_s


def test_keys() -> None:
    assert Metadata(name="a", namespace="b").key == "b/a"
    assert Metadata(name="a").key == "a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1970-01-01T00:00:00Z", 0), ("2026-01-01T00:00:00Z", 1767225600), ("2026-01-01T01:00:00+01:00", 1767225600),
     ("2026-01-01T00:00:00.500Z", 1767225600.5), ("", 0), ("yesterday", 0), ("2026-01-01T00:00:00", 0), ("2026-01-01", 0)],
)  # fmt: skip
def test_times(text: str, expected: float) -> None:
    assert unix_s(text) == expected
    assert Metadata(creation_timestamp=text).created_unix_s == expected
