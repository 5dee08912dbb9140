"""What to do about one object's status: write it, wait a little, or leave it. Pure: facts and times in, a decision out.

Theory, in the order it is asked:

1. An object on its way out is left alone, and so is a route that is attached to no Service and has no entry of ours.
2. What the compiler says must be about the very generation that is written about. Until it has caught up we wait; when it
   takes long, an object without any condition gets `Unknown`, and one that has some keeps them: their
   `observedGeneration` says that they are old.
3. A new generation that is accepted is announced when it is in force, or after `SETTLE_S`: canary controllers take
   `Accepted` with their generation as leave to go on, and by then the weights should be live. A refusal is told at once.
4. Progress alone is written at most once in `PROGRESS_S`: two hundred nodes that acknowledge one after the other are not
   two hundred writes.
5. A node that had everything and is missing now (its agent or our replica restarts, a pod moves to another node) is given
   `RETURN_S` to be back: else each restart would be two writes of every object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from weft_operator.conditions import Progress, edited_parents, policy_status
from weft_operator.conditions.route import mesh_parents
from weft_operator.controllers.outlook import Look
from weft_operator.controllers.resources import CONTROLLER_NAME

Item: TypeAlias = Mapping[str, object]
"""An object as the API has it."""

GRACE_S: Final = 2.0
"""A change is compiled within 0.1-1 s."""
SETTLE_S: Final = 2.0
"""Nodes acknowledge within a second; a node that is away must not keep `Accepted` back for long."""
PROGRESS_S: Final = 1.0
RETURN_S: Final = 10.0
"""Agents connect again within 1-5 s; a node that is really away is named soon enough."""
RECHECK_S: Final = 30.0
_NO_PROGRESS: Final = Progress(needed=0)
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


def plan(item: Item, look: Look | None, times: Times, *, is_route: bool, stamp: str) -> Plan:
    """Decide about one object.

    Args:
        item: the object.
        look: how things stand with it.
        times: when what happened.
        is_route: whether its status is that of a Gateway API route.
        stamp: the time for new transitions, RFC 3339.
    """
    if _part(item, "metadata").get("deletionTimestamp"):
        return Leave()
    current = look if look is not None and look.result.generation == generation_of(item) else None
    needs_verdict = not is_route or bool(mesh_parents(item))
    if current is None and needs_verdict:
        age = times.now - times.since
        if age < GRACE_S:
            return Wait(GRACE_S - age)
        if _has_conditions(item, is_route):
            return Wait(RECHECK_S)
    status = _route_status(item, current, stamp) if is_route else _own_status(item, current, stamp)
    if status is None:
        return Leave()
    return _when(item, status, current, times, is_route)


def _own_status(item: Item, look: Look | None, stamp: str) -> dict[str, object] | None:
    """Return a new status of an object of ours; None: it is right as it is."""
    wanted = (
        policy_status(item, None, _NO_PROGRESS, now=stamp)
        if look is None
        else policy_status(item, look.result, look.progress, now=stamp)
    )
    return None if wanted == item.get("status") else wanted


def _route_status(item: Item, look: Look | None, stamp: str) -> dict[str, object] | None:
    """Return a new status of a route; None: it is right as it is. What is not `parents` stays."""
    result, progress = (look.result, look.progress) if look is not None else (None, _NO_PROGRESS)
    parents = edited_parents(item, result, progress, controller=CONTROLLER_NAME, now=stamp)
    status = _part(item, "status")
    return None if parents == list(_list(status.get("parents"))) else {**status, "parents": parents}


def _when(item: Item, status: dict[str, object], look: Look | None, times: Times, is_route: bool) -> Plan:
    """Say whether a new status is written now or a little later."""
    if look is None:
        return Write(status)
    before, after = _verdicts(item, _part(item, "status"), is_route), _verdicts(item, status, is_route)
    if before == after:
        wait_s = times.written + PROGRESS_S - times.now
        if look.progress.missing and not look.progress.refused and _is_programmed(item, is_route):
            wait_s = max(wait_s, times.missed + RETURN_S - times.now)
        return Wait(wait_s) if wait_s > 0 else Write(status)
    settles = look.result.accepted.holds and look.progress.missing and not look.progress.refused
    if settles and times.now - times.since < SETTLE_S:
        return Wait(times.since + SETTLE_S - times.now)
    return Write(status)


def _is_programmed(item: Item, is_route: bool) -> bool:
    """Whether the object was in force everywhere when its status was written."""
    found = conditions_of(item, _part(item, "status"), is_route)
    states = [each.get("status") for _, conditions in found for each in conditions if each.get("type") == _PROGRAMMED]
    return bool(states) and all(state == "True" for state in states)


def _verdicts(item: Item, status: Item, is_route: bool) -> list[object]:
    """Return everything of a status but the progress."""
    conditions = [condition for _, found in conditions_of(item, status, is_route) for condition in found]
    return [
        (each.get("type"), each.get("status"), each.get("reason"), each.get("message"), each.get("observedGeneration"))
        for each in conditions
        if each.get("type") != _PROGRAMMED
    ]


def conditions_of(item: Item, status: Item, is_route: bool) -> list[tuple[str, list[Item]]]:
    """Return the conditions that are ours, with the parent they are about (empty for our own kinds)."""
    if not is_route:
        return [("", _mappings(status.get("conditions")))]
    return [
        (_parent_name(_part(entry, "parentRef")), _mappings(entry.get("conditions")))
        for entry in _mappings(status.get("parents"))
        if entry.get("controllerName") == CONTROLLER_NAME
    ]


def _parent_name(reference: Item) -> str:
    namespace = reference.get("namespace")
    port = reference.get("port")
    name = f"{namespace}/{reference.get('name')}" if namespace else f"{reference.get('name')}"
    return f"Service {name}" + (f":{port}" if port else "")


def _has_conditions(item: Item, is_route: bool) -> bool:
    return any(found for _, found in conditions_of(item, _part(item, "status"), is_route))


def generation_of(item: Item) -> int:
    """Return an object's generation."""
    generation = _part(item, "metadata").get("generation")
    return generation if isinstance(generation, int) else 0


def _part(item: Item, name: str) -> Item:
    value = item.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _mappings(value: object) -> list[Item]:
    return [entry for entry in _list(value) if isinstance(entry, Mapping)]
