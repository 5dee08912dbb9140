"""An endpoint as a slice shows it. Shape only."""

from dataclasses import dataclass

from weft_agent.degraded.seen import TargetReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where somebody answers."""

    address: str
    port: int
    node: str
    ready: bool
    """False: it terminates and still serves."""
    zone: str = ""
    pod: TargetReference | None = None
    """Who, where the slice says so."""
