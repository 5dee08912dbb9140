"""What is about to go wrong with the authority, told long before it does. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from weft_contract.limits import HOURS
from weft_operator.ca.authority import DAYS
from weft_operator.ca.rotation import RENEW_INTERMEDIATE_S, RENEW_ROOT_S, Facts
from weft_operator.ca.state import CaState, not_after

STUCK_S: Final = 1.0 * HOURS
"""A bundle is in force on all nodes within seconds; a node that is down for longer needs somebody's attention."""
FOREIGN_S: Final = 14.0 * DAYS
"""Left of an issuer that we do not renew; cert-manager renews at a third of a life."""
MAX_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that somebody should look at."""

    name: str
    """CamelCase and stable: a label and the reason of an Event."""
    text: str
    """What, and what to do."""


def alarms(state: CaState, facts: Facts, now_unix_s: float) -> Iterator[Alarm]:
    """Yield every alarm that holds now."""
    signer_left_s = not_after(state.signer) - now_unix_s
    root = state.root(state.signer.root)
    ours = facts.issuer is None and root is not None and bool(root.key)
    if signer_left_s < (RENEW_INTERMEDIATE_S / 2 if ours else FOREIGN_S):
        what = "it should have been renewed by itself: see the operator's log" if ours else "its issuer must renew it"
        yield Alarm("IntermediateEnds", f"what signs certificates ends in {_days(signer_left_s)}; {what}")
    for each in state.roots:
        left_s = not_after(each) - now_unix_s
        stays = state.rotation is None or each.name in state.rotation.roots
        if stays and left_s < RENEW_ROOT_S / 2:
            yield Alarm("RootEnds", f"root {each.name} ends in {_days(left_s)}; it should have been replaced by now")
    rotation = state.rotation
    if rotation is not None and rotation.moved_unix_s is None and now_unix_s - rotation.since_unix_s > STUCK_S:
        yield Alarm("RotationWaits", f"the new root waits for {_nodes(facts.lacking)}; until then the old one signs")


def _days(seconds: float) -> str:
    return f"{seconds / DAYS:.0f} days" if seconds > 0 else "the past"


def _nodes(names: tuple[str, ...] | None) -> str:
    if not names:
        return "knowledge of the nodes" if names is None else "its time"
    more = len(names) - MAX_NAMES
    return f"nodes {', '.join(names[:MAX_NAMES])}" + (f" and {more} more" if more > 0 else "")
