"""Where a node's configuration comes from, as the rest of control sees it: the file of a directory or an operator's stream."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from weft_contract.resources import Node, TrustBundle, Workload

Origin = Literal["file", "last-good", "operator", "snapshot"]
"""`file` and `operator` are the present state of the two sources, `last-good` and `snapshot` what was kept of them."""


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration, complete and valid."""

    digest: str
    """Content hash: equal for equal resources from the same source."""
    origin: Origin
    node: Node | None
    """None where an operator has not told of the node yet."""
    workloads: tuple[Workload, ...]
    bundles: tuple[TrustBundle, ...]
    entries: Mapping[str, tuple[str, bytes]] = field(repr=False)
    """Hash and canonical JSON by resource key: what workers are told."""


class ConfigSource(Protocol):
    """A source of configurations."""

    @property
    def current(self) -> Config | None:
        """What is in force; None: nothing came yet."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What the source says and is not in force, and why."""

    def degraded(self) -> Iterable[str]:
        """Say what the node serves without that it should have, though it serves."""

    def reload(self) -> None:
        """Look at the source now."""

    async def run(self, apply: Callable[[Config], None]) -> None:
        """Follow the source until cancelled; tell `apply` of each new configuration."""
