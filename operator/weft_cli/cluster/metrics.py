"""Metrics of agents and operators, read through the API server's pod proxy, so that no port has to be open to the user."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from weft_cli.cluster.session import Session
from weft_contract.ports import METRICS_PORT

_SAMPLE: Final = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL: Final = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES: Final = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


def read_samples(text: str, prefix: str = "") -> Iterator[Sample]:
    """Yield the samples of a text exposition whose name begins with a prefix; lines that are none are left out.

    Source: Prometheus text format 0.0.4.
    """
    for line in text.splitlines():
        if not line.startswith(prefix) or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        try:
            value = float(found[3]) if found else 0.0
        except ValueError:
            continue
        if found:
            yield Sample(found[1], dict(_labels(found[2] or "")), value)


def _labels(text: str) -> Iterator[tuple[str, str]]:
    for found in _LABEL.finditer(text):
        yield found[1], re.sub(r'\\[\\"n]', lambda escape: _ESCAPES[escape[0]], found[2])


def scrape(session: Session, namespace: str, pod: str) -> list[Sample]:
    """Return a pod's own metrics.

    Raises:
        ApiError: the pod does not answer, or the user may not use the proxy (`pods/proxy`).
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
    return list(read_samples(session.text(path), "weft_"))
