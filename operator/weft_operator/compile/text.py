"""Texts of policies to typed comparisons: Istio's star forms, principals, path templates, networks."""

from collections.abc import Iterable

from weft_contract.objects.annotations import network
from weft_contract.objects.check.text import ANY_SEGMENT, ANY_SEGMENTS, SPIFFE_SCHEME
from weft_contract.resources import TextMatch


def star_form(value: str) -> TextMatch:
    """Read `text`, `prefix*`, `*suffix` or `*`."""
    if value == "*":
        return TextMatch(kind="present")
    if value.startswith("*"):
        return TextMatch(kind="suffix", value=value[1:])
    if value.endswith("*"):
        return TextMatch(kind="prefix", value=value[:-1])
    return TextMatch(value=value)


def star_forms(values: Iterable[str]) -> tuple[TextMatch, ...]:
    """Read a list of star forms."""
    return tuple(star_form(value) for value in values)


def principals(values: Iterable[str]) -> tuple[TextMatch, ...]:
    """Read principals, with or without `spiffe://`."""
    return star_forms(value.removeprefix(SPIFFE_SCHEME) for value in values)


def hosts(values: Iterable[str]) -> tuple[TextMatch, ...]:
    """Read hosts, which compare without case."""
    return star_forms(value.lower() for value in values)


def paths(values: Iterable[str]) -> tuple[TextMatch, ...]:
    """Read paths, templates among them."""
    return tuple(
        TextMatch(kind="template", value=value) if ANY_SEGMENT in value or ANY_SEGMENTS in value else star_form(value)
        for value in values
    )


def networks(values: Iterable[str]) -> tuple[str, ...]:
    """Read addresses and networks into canonical CIDR."""
    return tuple(network(value) for value in values)


def accounts(values: Iterable[str], namespace: str) -> tuple[str, ...]:
    """Read service accounts into `namespace/name`; a bare name is of the policy's namespace."""
    return tuple(value if "/" in value else f"{namespace}/{value}" for value in values)
