"""The grammar of our labels and annotations on pods, namespaces and Services."""

import re
from ipaddress import ip_network
from typing import Final

from weft_contract.labels import MESH_DISABLED, MESH_ENABLED
from weft_contract.names import is_label
from weft_contract.objects.duration import DurationError, seconds

_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_DECIMAL: Final = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,6})?")
_MOST_REQUESTS: Final = 10_000_000
"""As a RateLimitPolicy's bounds."""
_NETNS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AnnotationError(ValueError):
    """A value breaks the grammar of its key; the message says what it should look like."""


def enrolled(value: str) -> bool:
    """Read the opt-in label.

    Raises:
        AnnotationError: neither `enabled` nor `disabled`.
    """
    if value not in (MESH_ENABLED, MESH_DISABLED):
        raise AnnotationError(f"{value!r:.40} is neither {MESH_ENABLED!r} nor {MESH_DISABLED!r}")
    return value == MESH_ENABLED


def port_ranges(value: str) -> tuple[tuple[int, int], ...]:
    """Read a comma list of ports and ranges, `9090,9100-9110`, into sorted inclusive ranges without overlap.

    Raises:
        AnnotationError: a part is neither a port nor a range, or outside 1-65535.
    """
    ranges: list[tuple[int, int]] = []
    for part in filter(None, (item.strip() for item in value.split(","))):
        match = _RANGE.fullmatch(part)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if not 1 <= first <= last <= 65535:
            raise AnnotationError(f"{part!r:.40} is not a port or range of 1-65535; write it as 9090,9100-9110")
        ranges.append((first, last))
    return _merged(ranges)


def _merged(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def networks(value: str) -> tuple[str, ...]:
    """Read a comma list of CIDR networks or addresses of both families into sorted canonical texts.

    Raises:
        AnnotationError: a part is not a network.
    """
    found: set[str] = set()
    for part in filter(None, (item.strip() for item in value.split(","))):
        try:
            found.add(network(part))
        except ValueError as exc:
            raise AnnotationError(f"{part!r:.60} is not a network; write it as 10.0.0.0/8,fd00::/8") from exc
    return tuple(sorted(found))


def network(text: str) -> str:
    """Return an address or CIDR network in canonical form, its host bits cleared.

    Raises:
        ValueError: it is neither, or has a zone.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return str(ip_network(text, strict=False))


def truth(value: str) -> bool:
    """Read `"true"` or `"false"`.

    Raises:
        AnnotationError: anything else.
    """
    if value not in ("true", "false"):
        raise AnnotationError(f'{value!r:.40} is neither "true" nor "false"')
    return value == "true"


def timeout_s(value: str) -> float | None:
    """Read a duration as routes write it, `10s`, `1m30s`; None: `0s`, no limit.

    Raises:
        AnnotationError: it is none.
    """
    try:
        return seconds(value) or None
    except DurationError as exc:
        raise AnnotationError(str(exc)) from exc


def rate(value: str) -> float:
    """Read a number of requests per second, `100` or `0.5`.

    Raises:
        AnnotationError: it is none, or outside of what a RateLimitPolicy may say.
    """
    if not _DECIMAL.fullmatch(value) or not 0 < float(value) <= _MOST_REQUESTS:
        raise AnnotationError(f"{value!r:.40} is no number of requests per second; write it as 100 or 0.5")
    return float(value)


def burst(value: str) -> int:
    """Read a number of requests.

    Raises:
        AnnotationError: it is none, or outside of what a RateLimitPolicy may say.
    """
    if not value.isascii() or not value.isdecimal() or len(value) > 8 or not 1 <= int(value) <= _MOST_REQUESTS:
        raise AnnotationError(f"{value!r:.40} is no number of requests; write it as 20")
    return int(value)


def netns_name(value: str) -> str:
    """Read the name of a network namespace below /run/netns; never a path.

    Raises:
        AnnotationError: it has a slash, begins with a dot, or is otherwise not a plain name.
    """
    if not _NETNS.fullmatch(value):
        raise AnnotationError(f"{value!r:.60} is not a plain name below /run/netns")
    return value


def export_to(value: str, namespace: str) -> frozenset[str] | None:
    """Read a comma list of namespaces; `.` stands for the object's own one, which is always among them.

    Args:
        value: the annotation.
        namespace: of the object; of a Namespace its own name.

    Returns:
        The namespaces; None: all of them (`*`).

    Raises:
        AnnotationError: a part is neither a namespace nor `.` nor `*`.
    """
    parts = [part for part in (item.strip() for item in value.split(",")) if part]
    for part in parts:
        if part not in (".", "*") and not is_label(part):
            raise AnnotationError(f"{part!r:.80} is not a namespace; write it as shop,billing, or '.' or '*'")
    if "*" in parts:
        return None
    return frozenset({namespace, *(part for part in parts if part != ".")})
