"""`/validate`: an object is judged in the compiler's own words before it is stored.

Theory: the decoder and the checks that the compiler runs are run here, and all their problems are told at once. Three kinds
of objects are treated differently, by whose they are:

- ours: an error refuses, a warning is told. What is risky but meant (an empty policy denies everybody) is a warning;
- Gateway API routes and grants: never refused, because another implementation may carry out what we cannot, and a canary
  controller that is refused stands still; problems are warnings here and `Accepted: False` in the status;
- everybody else's (Namespace, Pod, templates, Service): never refused, but for a value of our own opt-in label that is
  neither of the two, which would leave pods outside the mesh whose author wants them in.

An update that changes nothing of what is judged is let through without a look: an object stored under an older release must
remain deletable, relabelled and finalised. Nothing is remembered and nothing written, so dry runs are no different.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from weft_contract import objects
from weft_contract.labels import GATEWAY_GROUP, GROUP, MESH_LABEL
from weft_contract.objects import Skipped
from weft_contract.objects.check.route import is_service_parent
from weft_contract.problems import ContractError, Problem
from weft_operator.compile import regex_error
from weft_operator.webhooks.review import ALLOWED, Answer, Cause, Request, mapping

MAX_CAUSES: Final = 20
_JUDGED: Final = ("spec", "apiVersion")
_LABEL_PATH: Final = f".metadata.labels[{MESH_LABEL!r}]"
"""Of a Namespace or Pod, or of the pods of a template."""


class Surroundings(Protocol):
    """What is known of the cluster around an object."""

    def warnings(self, item: objects.Object) -> Sequence[Problem]:
        """Return what an object that is right in itself should be told all the same: what it refers to or meets."""


class Nowhere:
    """Surroundings that nothing is known of, as before the first compile."""

    def warnings(self, item: objects.Object) -> Sequence[Problem]:
        """Return nothing."""
        return ()


def validate(request: Request, surroundings: Surroundings) -> Answer:
    """Answer for one object.

    Args:
        request: what the API server asks.
        surroundings: what is known of the cluster.
    """
    if request.operation not in ("CREATE", "UPDATE") or _is_unchanged(request):
        return ALLOWED
    item, problems = _judged(request.item)
    refusing = [problem for problem in problems if _refuses(problem, request)]
    if refusing:
        told = [problem for problem in problems if problem.warning]
        return Answer(allowed=False, message=_message(refusing), causes=_causes(refusing), warnings=_texts(told))
    if item is not None:
        problems += surroundings.warnings(item)
    return Answer(allowed=True, warnings=_texts(problems))


def _is_unchanged(request: Request) -> bool:
    """Whether an update leaves everything that is judged as it was, or the object is on its way out."""
    metadata, before = mapping(request.item.get("metadata")), mapping(request.old.get("metadata"))
    if metadata.get("deletionTimestamp"):
        return True
    if request.operation != "UPDATE":
        return False
    same = all(request.item.get(part) == request.old.get(part) for part in _JUDGED)
    return same and _our_keys(metadata) == _our_keys(before)


def _our_keys(metadata: Mapping[str, object]) -> list[tuple[str, str, object]]:
    """Return the labels and annotations that we read."""
    return [
        (part, key, value)
        for part in ("labels", "annotations")
        for key, value in mapping(metadata.get(part)).items()
        if GROUP in key or key == "istio.io/dry-run"
    ]


def _judged(item: Mapping[str, object]) -> tuple[objects.Object | None, list[Problem]]:
    """Return an object and its problems; no object where it could not be read or is none of the mesh's business."""
    if not _is_ours_to_judge(item):
        return None, []
    try:
        decoded = objects.decode_object(_named(item), "")
    except ContractError as exc:
        return None, list(exc.problems)
    if isinstance(decoded, Skipped):
        return None, []
    return decoded, objects.problems(decoded, regex_error)


def _named(item: Mapping[str, object]) -> Mapping[str, object]:
    """Return an object with a name: one that the API server is going to make a name for has none yet."""
    metadata = mapping(item.get("metadata"))
    prefix = metadata.get("generateName")
    if metadata.get("name") or not isinstance(prefix, str):
        return item
    return {**item, "metadata": {**metadata, "name": f"{prefix}0"}}


def _is_ours_to_judge(item: Mapping[str, object]) -> bool:
    """Whether an object is the mesh's business: of routes only those attached to a Service."""
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    if group != GATEWAY_GROUP or item.get("kind") == "ReferenceGrant":
        return True
    parents = mapping(item.get("spec")).get("parentRefs")
    return any(_is_service(parent) for parent in parents) if isinstance(parents, list) else False


def _is_service(parent: object) -> bool:
    reference = mapping(parent)
    group, kind, name = (reference.get(key) for key in ("group", "kind", "name"))
    if not isinstance(name, str) or not isinstance(kind, str):
        return False
    return is_service_parent(
        objects.ParentReference(group=group if isinstance(group, str) else None, kind=kind, name=name)
    )


def _refuses(problem: Problem, request: Request) -> bool:
    if problem.warning:
        return False
    return request.kind.group == GROUP or problem.path.endswith(_LABEL_PATH)


def _message(problems: Sequence[Problem]) -> str:
    """Return all of it as one text, for clients that do not show causes."""
    return "; ".join(f"{cause.field}: {cause.message}" for cause in _causes(problems))


def _causes(problems: Sequence[Problem]) -> list[Cause]:
    causes = [
        Cause(field=_field(problem), message="; ".join(filter(None, (problem.message, problem.remedy))))
        for problem in problems
    ]
    more = len(causes) - MAX_CAUSES
    return causes if more <= 0 else [*causes[:MAX_CAUSES], Cause(field="$", message=f"and {more} more problems")]


def _field(problem: Problem) -> str:
    """Return a path as the API server writes it."""
    return problem.path.removeprefix("$.")


def _texts(problems: Sequence[Problem]) -> list[str]:
    return [text for problem in problems for text in _text(problem)]


def _text(problem: Problem) -> Iterator[str]:
    yield f"{_field(problem)}: " + "; ".join(filter(None, (problem.message, problem.remedy)))
