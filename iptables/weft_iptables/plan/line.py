"""One line of a rendered chain: a rule becomes one or several, and each has its place in the kernel's own list."""

from dataclasses import dataclass

from weft_iptables.plan.rule import Tally


@dataclass(frozen=True, slots=True)
class Line:
    """What the kernel holds as one rule."""

    chain: str
    text: str
    """The rule in the tool's language, without the chain."""
    tally: Tally | None = None
    """What its packets are counted as; None also for lines that only help another line of the same rule."""
