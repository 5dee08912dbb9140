"""The answer of `weft explain` as plain values: legs that the caller's agent chooses from, landings that each ends at."""

from typing import Literal

import msgspec

Word = Literal["allowed", "refused"]


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base: immutable, camelCase in JSON and YAML."""


class Looked(Shape, frozen=True, kw_only=True):
    """One thing that was looked at."""

    kind: str
    subject: str
    outcome: str
    detail: str = ""


class Landing(Shape, frozen=True, kw_only=True):
    """What the node of an endpoint decides."""

    endpoint: str
    """`address:port`."""
    pod: str = ""
    """`namespace/name`; empty: none of the mesh."""
    node: str = ""
    alike: int = 0
    """So many more endpoints of which the same holds."""
    transport: str = ""
    verdict: Word = "allowed"
    reason: str = ""
    policy: str = ""
    rule: str = ""
    message: str = ""
    status: int = 0
    """What an HTTP client is told; 0: passed on, or no HTTP."""
    limits: tuple[str, ...] = ()
    """Rates that may refuse it all the same."""
    steps: tuple[Looked, ...] = ()


class Leg(Shape, frozen=True, kw_only=True):
    """One way that the call may take."""

    share: float
    """Of all such calls, 0 to 1."""
    action: Literal["forward", "redirect", "refuse"]
    route: str = ""
    """`kind/namespace/name` and rule; empty: no route."""
    rule: str = ""
    to: str = ""
    """`namespace/service:port`, or an address."""
    detail: str = ""
    status: int = 0
    landings: tuple[Landing, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether anything on this way refuses."""
        return self.action == "refuse" or any(landing.verdict == "refused" for landing in self.landings)


class Answer(Shape, frozen=True, kw_only=True):
    """What becomes of a call."""

    source: str
    """`namespace/pod`."""
    identity: str
    """SPIFFE ID; empty: not in the mesh."""
    node: str
    destination: str
    request: str
    """`GET /path, host web`; empty: judged as an opaque connection."""
    legs: tuple[Leg, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["allowed", "refused", "mixed"]:
        """All ways, none, or some."""
        refused = [leg.refused for leg in self.legs]
        return "allowed" if not any(refused) else "refused" if all(refused) else "mixed"
