"""What was measured, as values: one sample for each run of a generator, one for each kind of memory. Pure."""

from typing import Literal

import msgspec


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a generator against one contestant."""

    scenario: str
    connections: int
    contestant: str
    round: int
    operations: float
    """Requests, GiB, connections or handshakes."""
    seconds: float
    cpu_s: float
    """Of all processes of all proxies on the way."""
    proxy_core_busy: float
    """Share of the time that the proxies' core was not idle, whoever used it."""
    load_core_busy: float
    others_share: float
    """Share of the proxies' core that neither the proxies on the way nor idling used: other programs, and the kernel for them."""
    p50_us: int | None = None
    p99_us: int | None = None
    void: str = ""
    """Why the run does not count; empty: it does."""

    @property
    def cpu_us(self) -> float:
        """CPU per operation."""
        return self.cpu_s / self.operations * 1e6

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


What = Literal["plain_http", "plain_tcp", "tunnel", "tunnel_stream"]


class MemorySample(msgspec.Struct, frozen=True, kw_only=True):
    """Growth of resident memory by idle connections."""

    what: What
    contestant: str
    connections: int
    growth_kib: tuple[int, ...]
    """Of each proxy on the way, the client's first."""
    void: str = ""

    @property
    def kib_each(self) -> float:
        """KiB per connection in the proxy that grew most."""
        return max(self.growth_kib) / self.connections


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory of a process that has nothing to do."""

    process: str
    mib: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison with one peer at one number of connections."""

    scenario: str
    connections: int
    peer: str
    unit: str
    cpu_us_per_request: float | None
    """Per unit; None: no run of ours or the peer's counts."""
    peer_cpu_us_per_request: float | None
    ratio: float | None
    """Of the two medians; below 1 we are cheaper."""
    spread: tuple[float, float] | None
    """Least and greatest ratio of a single round."""
    rate: float | None
    """Ours, per second; of little meaning where the load's core is full."""
    peer_rate: float | None
    saturated: str
    """Which core was full when ours ran: `proxy`, `load`, both or neither."""
    peer_saturated: str
    others_share: float
    """Median share of the proxies' core that went to others; the machine was not quiet where it is above 0.1."""
    rounds: int
    """Rounds in which both runs counted."""
    void: int
    """Runs of ours and the peer's that did not count."""


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison of memory per idle connection."""

    what: str
    connections: int
    peer: str
    kib: float | None
    peer_kib: float | None
    ratio: float | None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised, and what came out."""

    name: str
    limit: float
    unit: str
    measured: float | None
    passed: bool | None
    """None: it was not measured in this run."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one run of the benchmark."""

    format: int
    date: str
    commit: str
    quick: bool
    rounds: int
    seconds: int
    machine: dict[str, str | int | float | bool]
    rows: tuple[Row, ...]
    memory: tuple[MemoryRow, ...]
    resident: tuple[Resident, ...]
    bars: tuple[Bar, ...]
    samples: tuple[Sample, ...]
    memory_samples: tuple[MemorySample, ...]
