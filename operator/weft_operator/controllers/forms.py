"""The forms that a status has: an object's own conditions, a route's at each parent, a policy's at each ancestor. Pure.

Whatever an object has is taken as it is: what is not of the shape that the API would take counts as not being there.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from weft_operator.conditions import Progress, edited_ancestors, edited_parents, policy_status
from weft_operator.conditions.ancestor import targets_service
from weft_operator.conditions.route import mesh_parents
from weft_operator.controllers.outlook import Look
from weft_operator.controllers.resources import CONTROLLER_NAME, Form

Item: TypeAlias = Mapping[str, object]
"""An object as the API has it."""

_NO_PROGRESS: Final = Progress(needed=0)
_REFERENCES: Final[Mapping[Form, str]] = {"parents": "parentRef", "ancestors": "ancestorRef"}


def needs_verdict(item: Item, form: Form) -> bool:
    """Whether the compiler has something to say of an object; of others only what we said before is taken back."""
    match form:
        case "conditions":
            return True
        case "parents":
            return bool(mesh_parents(item))
        case "ancestors":
            return targets_service(item)


def may_be_unknown(form: Form) -> bool:
    """Whether an object is told that it was not judged yet; a policy's ancestors are known by the verdict alone."""
    return form != "ancestors"


def new_status(item: Item, look: Look | None, form: Form, stamp: str) -> dict[str, object] | None:
    """Return the status that an object should have; None: it is right as it is.

    Args:
        item: the object.
        look: how things stand with this very generation; None: it was not judged.
        form: what its status is made of. What is not ours in it stays.
        stamp: the time for new transitions, RFC 3339.
    """
    result, progress = (look.result, look.progress) if look is not None else (None, _NO_PROGRESS)
    status = part(item, "status")
    if form == "conditions":
        wanted = policy_status(item, result, progress, now=stamp)
        return None if wanted == item.get("status") else wanted
    if form == "parents":
        entries = edited_parents(item, result, progress, controller=CONTROLLER_NAME, now=stamp)
    else:
        entries = edited_ancestors(item, result, controller=CONTROLLER_NAME, now=stamp)
    return None if entries == list(_list(status.get(form))) else {**status, form: entries}


def conditions_of(item: Item, status: Item, form: Form) -> list[tuple[str, list[Item]]]:
    """Return the conditions that are ours, with the parent or ancestor they are about (empty for our own kinds)."""
    if form == "conditions":
        return [("", _mappings(status.get("conditions")))]
    return [
        (_service_name(part(entry, _REFERENCES[form])), _mappings(entry.get("conditions")))
        for entry in _mappings(status.get(form))
        if entry.get("controllerName") == CONTROLLER_NAME
    ]


def _service_name(reference: Item) -> str:
    namespace = reference.get("namespace")
    port = reference.get("port")
    name = f"{namespace}/{reference.get('name')}" if namespace else f"{reference.get('name')}"
    return f"Service {name}" + (f":{port}" if port else "")


def generation_of(item: Item) -> int:
    """Return an object's generation."""
    generation = part(item, "metadata").get("generation")
    return generation if isinstance(generation, int) else 0


def part(item: Item, name: str) -> Item:
    """Return a mapping in an object; empty where there is none."""
    value = item.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _mappings(value: object) -> list[Item]:
    return [entry for entry in _list(value) if isinstance(entry, Mapping)]
