"""What to do about one object's status: write it, wait a little, or leave it. Pure: facts and times in, a decision out.

Theory, in the order it is asked:

1. An object on its way out is left alone, and so is a route or a Gateway API policy that is attached to no Service and has
   no entry of ours.
2. What the compiler says must be about the very generation that is written about. Until it has caught up we wait; when it
   takes long, an object without any condition gets `Unknown`, and one that has some keeps them: their
   `observedGeneration` says that they are old. A policy of the Gateway API waits: whether it is our business at all is
   part of the verdict.
3. A new generation that is accepted is announced when it is in force, or after `SETTLE_S`: canary controllers take
   `Accepted` with their generation as leave to go on, and by then the weights should be live. A refusal is told at once.
4. Progress alone is written at most once in `PROGRESS_S`: two hundred nodes that acknowledge one after the other are not
   two hundred writes.
5. A node that had everything and is missing now (its agent or our replica restarts, a pod moves to another node) is given
   `RETURN_S` to be back: else each restart would be two writes of every object.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from weft_operator.controllers.forms import (
    Item,
    conditions_of,
    generation_of,
    may_be_unknown,
    needs_verdict,
    new_status,
    part,
)
from weft_operator.controllers.outlook import Look
from weft_operator.controllers.resources import Form

GRACE_S: Final = 2.0
"""A change is compiled within 0.1-1 s."""
SETTLE_S: Final = 2.0
"""Nodes acknowledge within a second; a node that is away must not keep `Accepted` back for long."""
PROGRESS_S: Final = 1.0
RETURN_S: Final = 10.0
"""Agents connect again within 1-5 s; a node that is really away is named soon enough."""
RECHECK_S: Final = 30.0
_PROGRAMMED: Final = "Programmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When what happened, in monotonic seconds."""

    now: float
    since: float
    """When this generation was seen first."""
    written: float = field(default=float("-inf"))
    """When its status was written last."""
    missed: float = field(default=float("-inf"))
    """Since when nodes are missing without a pause; where none are it does not matter."""


@dataclass(frozen=True, slots=True)
class Write:
    """The status is to become this."""

    status: dict[str, object]


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again in so many seconds, or sooner when something changes."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """There is nothing to do."""


Plan: TypeAlias = Write | Wait | Leave


def plan(item: Item, look: Look | None, times: Times, *, form: Form, stamp: str) -> Plan:
    """Decide about one object.

    Args:
        item: the object.
        look: how things stand with it.
        times: when what happened.
        form: what its status is made of.
        stamp: the time for new transitions, RFC 3339.
    """
    if part(item, "metadata").get("deletionTimestamp"):
        return Leave()
    current = look if look is not None and look.result.generation == generation_of(item) else None
    if current is None and needs_verdict(item, form):
        age = times.now - times.since
        if age < GRACE_S:
            return Wait(GRACE_S - age)
        if not may_be_unknown(form) or _has_conditions(item, form):
            return Wait(RECHECK_S)
    status = new_status(item, current, form, stamp)
    if status is None:
        return Leave()
    return _when(item, status, current, times, form)


def _when(item: Item, status: dict[str, object], look: Look | None, times: Times, form: Form) -> Plan:
    """Say whether a new status is written now or a little later."""
    if look is None:
        return Write(status)
    before, after = _verdicts(item, part(item, "status"), form), _verdicts(item, status, form)
    if before == after:
        wait_s = times.written + PROGRESS_S - times.now
        if look.progress.missing and not look.progress.refused and _is_programmed(item, form):
            wait_s = max(wait_s, times.missed + RETURN_S - times.now)
        return Wait(wait_s) if wait_s > 0 else Write(status)
    settles = look.result.accepted.holds and look.progress.missing and not look.progress.refused
    if settles and times.now - times.since < SETTLE_S:
        return Wait(times.since + SETTLE_S - times.now)
    return Write(status)


def _is_programmed(item: Item, form: Form) -> bool:
    """Whether the object was in force everywhere when its status was written."""
    found = conditions_of(item, part(item, "status"), form)
    states = [each.get("status") for _, conditions in found for each in conditions if each.get("type") == _PROGRAMMED]
    return bool(states) and all(state == "True" for state in states)


def _verdicts(item: Item, status: Item, form: Form) -> list[object]:
    """Return everything of a status but the progress."""
    conditions = [condition for _, found in conditions_of(item, status, form) for condition in found]
    return [
        (each.get("type"), each.get("status"), each.get("reason"), each.get("message"), each.get("observedGeneration"))
        for each in conditions
        if each.get("type") != _PROGRAMMED
    ]


def _has_conditions(item: Item, form: Form) -> bool:
    return any(found for _, found in conditions_of(item, part(item, "status"), form))
