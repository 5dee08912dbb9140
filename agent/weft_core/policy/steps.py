"""Steps of a decision, in the order they were taken: what `explain` shows, written by the code that decides."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

StepKind = Literal["facts", "mode", "probe", "policy", "rule", "limit", "verdict"]
Outcome = Literal["given", "passed", "refused", "matched", "not_matched", "needed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at."""

    kind: StepKind
    subject: str
    """What was looked at: `DENY shop/no-post rules[0]`, `mode STRICT on port 8080`."""
    outcome: Outcome
    detail: str = ""
    """The first condition that failed, or what follows."""


Trace: TypeAlias = list[Step] | None
"""Where steps are noted; None: nobody wants to know, which is how live traffic is decided."""
