"""Labels and subdomains, in both directions."""

import pytest

from weft_contract.names import is_label, is_subdomain


@pytest.mark.parametrize("text", ["a", "0", "a-b", "a" * 63])
def test_labels(text: str) -> None:
    assert is_label(text)
    assert is_subdomain(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a_b", "a/b", "a\n", "ü", "a b", "..", "../a", "a\x00"])
def test_what_is_no_name_at_all(text: str) -> None:
    assert not is_label(text)
    assert not is_subdomain(text)


@pytest.mark.parametrize("text", ["a.b", "web.v2.example", "0.1", ".".join(["a" * 60] * 4), "a" * 64])
def test_subdomains_that_are_no_labels(text: str) -> None:
    assert is_subdomain(text)
    assert not is_label(text)


@pytest.mark.parametrize("text", [".", "a.", ".a", "a..b", "a.-b", "a" * 254])
def test_dots_stand_between_labels(text: str) -> None:
    assert not is_subdomain(text)
