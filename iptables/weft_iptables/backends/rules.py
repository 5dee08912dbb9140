"""What a way of writing rules has to offer; the rest of a capture is the same for all of them.

Everything here acts on the namespace of the calling thread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from weft_iptables.backends.drift import State
from weft_iptables.plan import CapturePlan, Connection, Tally

KeptTest: TypeAlias = Callable[[Connection], bool]
BackendName = Literal["nft", "iptables-nft", "iptables-legacy"]


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes that the kernel counted."""

    packets: int = 0
    octets: int = 0

    def __add__(self, other: "Count") -> "Count":
        """Add up."""
        return Count(self.packets + other.packets, self.octets + other.octets)

    def __sub__(self, other: "Count") -> "Count":
        """Subtract, never below zero: two numbers are not read at the same instant."""
        return Count(max(0, self.packets - other.packets), max(0, self.octets - other.octets))


class Rules(Protocol):
    """One way of putting rules and sets into the kernel."""

    name: BackendName
    can_keep: bool
    """Whether connections older than the capture can be told apart."""

    def check(self) -> None:
        """Look whether this way can be used here.

        Raises:
            ToolMissingError: a program is not installed.
            CaptureRefusedError: the namespace has foreign rules that this way must not be mixed with.
        """

    def present(self) -> bool:
        """Tell whether anything of ours is here, of this way of writing rules."""

    def state(self, plan: CapturePlan) -> State:
        """Read what is here, in the terms of `compare`."""

    def lines(self, plan: CapturePlan) -> Mapping[str, Sequence[str]]:
        """Return the text of each chain's rules, by the name that `state` gives the chain."""

    def install(self, plan: CapturePlan, learned: Iterable[int]) -> None:
        """Make the namespace have the plan's sets and rules, whatever it has of ours now.

        Args:
            plan: the capture.
            learned: local ports of connections to excluded destinations that are open already.

        Raises:
            KernelRefusedError: the rules stay as they were.
        """

    def uninstall(self) -> None:
        """Take out everything of ours, and what had to be made for it.

        Raises:
            KernelRefusedError: something could not be taken out.
        """

    def tallies(self, plan: CapturePlan) -> Mapping[Tally, Count]:
        """Read the counters of the plan's rules; empty where the rules are not the plan's."""

    def kept(self) -> KeptTest:
        """Return a test for whether a connection is in the keep sets, as they are now."""

    def keep(self, connections: Iterable[Connection]) -> None:
        """Put connections into the keep sets, as far as there is one for their family.

        Raises:
            KernelRefusedError: a set is full.
        """

    def keep_only(self, alive: frozenset[Connection]) -> int:
        """Take out of the keep sets what belongs to no connection of `alive`; return how many entries are left."""
