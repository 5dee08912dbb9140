"""A Lease as we read and write it. Pure.

Source: Kubernetes API, coordination.k8s.io/v1; times are RFC 3339 with microseconds (`MicroTime`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from weft_operator.apiserver import Body


def lease_path(namespace: str, name: str = "") -> str:
    """Return the path of a Lease, or of their collection."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a Lease says."""

    holder: str
    """Empty: nobody holds it."""
    duration_s: float
    renewed: str
    """Time of the last renewal by the holder's clock; only compared for being another."""
    acquired: str
    transitions: int


def read_record(item: Mapping[str, Any]) -> Record:
    """Read a Lease; what is missing in it is as in one that nobody holds."""
    spec = item.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
        renewed=str(spec.get("renewTime") or ""),
        acquired=str(spec.get("acquireTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def written(item: Mapping[str, Any], record: Record) -> Body:
    """Return a Lease that says this; everything else of it stays."""
    spec: dict[str, object] = {
        **(item.get("spec") or {}),
        "holderIdentity": record.holder,
        "leaseDurationSeconds": int(record.duration_s),
        "renewTime": record.renewed,
        "acquireTime": record.acquired,
        "leaseTransitions": record.transitions,
    }
    return {**item, "spec": spec}


def micro_time(unix_s: float) -> str:
    """Return a time as the API writes it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
