"""ClusterView: all objects at one moment, by kind and key, with what is broken marked as such; the compiler's only input.

Theory: a broken policy or route stays in the view, with as much of its scope as could be read and the reason it is broken,
so that it compiles to a refusal instead of vanishing. Everything is keyed and walked in sorted order, and where two
documents claim one name the choice depends on their content and never on their order: same input, same bytes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from weft_contract import objects
from weft_contract.codec import encode
from weft_contract.objects import Object, RouteObject, Skipped
from weft_contract.problems import ContractError, Problem
from weft_core.text import UncompilableError, compile_pattern
from weft_operator.compile.annotated_limits import annotated_limit
from weft_operator.compile.documents import Document

T = TypeVar("T")
_DIGITS: Final = re.compile(r"([0-9]+)")
ObjectKey: TypeAlias = tuple[str, str]
"""Kind and `namespace/name` (or the name alone)."""
Bundles: TypeAlias = Mapping[str, Sequence[str]]
"""Trust domain to PEM certificates of its roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """Objects by key (`namespace/name`, or the name for kinds without a namespace), each mapping sorted by it."""

    mesh: objects.Mesh | None = None
    namespaces: Mapping[str, objects.Namespace] = field(default_factory=dict)
    nodes: Mapping[str, objects.Node] = field(default_factory=dict)
    pods: Mapping[str, objects.Pod] = field(default_factory=dict)
    services: Mapping[str, objects.Service] = field(default_factory=dict)
    slices: Mapping[str, objects.EndpointSlice] = field(default_factory=dict)
    replica_sets: Mapping[str, objects.ReplicaSet] = field(default_factory=dict)
    routes: Mapping[ObjectKey, RouteObject] = field(default_factory=dict)
    grants: Mapping[str, objects.ReferenceGrant] = field(default_factory=dict)
    authorization: Mapping[str, objects.AuthorizationPolicy] = field(default_factory=dict)
    peer_authentication: Mapping[str, objects.PeerAuthentication] = field(default_factory=dict)
    rate_limits: Mapping[str, objects.RateLimitPolicy] = field(default_factory=dict)
    backend_traffic: Mapping[str, objects.XBackendTrafficPolicy] = field(default_factory=dict)
    bundles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[ObjectKey, str] = field(default_factory=dict)
    """Where an object came from."""
    broken: Mapping[ObjectKey, str] = field(default_factory=dict)
    """Objects that cannot be carried out, and why in one sentence."""
    problems: tuple[Problem, ...] = ()
    """Everything found while reading, sorted."""
    skipped: tuple[Skipped, ...] = ()
    """Documents that are not for the mesh."""

    def source(self, kind: str, key: str) -> str:
        """Return where an object came from; empty where it came from no document."""
        return self.sources.get((kind, key), "")


def regex_error(pattern: str) -> str | None:
    """Say what is wrong with an RE2 expression, by the same compiler that the agents use."""
    try:
        compile_pattern(pattern)
    except UncompilableError as exc:
        return str(exc)
    return None


def read_view(documents: Iterable[Document], bundles: Bundles | None = None) -> ClusterView:
    """Decode documents into a view.

    Args:
        documents: in any order; what they say decides, not where they stand.
        bundles: PEM roots by trust domain, from the certificate authority.

    Returns:
        A view in which every document has left an object, a broken object, a problem or a note.
    """
    builder = ViewBuilder()
    for document in documents:
        builder.add_document(document)
    return builder.view(bundles or {})


@dataclass(frozen=True, slots=True)
class Held:
    """One object with what is known to be wrong with it."""

    item: Object
    source: str
    problems: tuple[Problem, ...]
    broken: str | None
    """Why it cannot be carried out; None: it can."""

    @property
    def key(self) -> ObjectKey:
        """Its kind and key."""
        return self.item.kind, self.item.metadata.key


def hold(item: Object, source: str = "", problems: Iterable[Problem] = ()) -> Held:
    """Check a decoded object.

    Args:
        item: the object.
        source: where it came from.
        problems: what is known to be wrong with it already; an error among them makes it a broken one.
    """
    known = tuple(problems)
    found = known if _first_error(known) else (*known, *objects.problems(item, regex_error, source=source))
    error = _first_error(found)
    return Held(item, source, found, f"{error.path}: {error.message}" if error else None)


def hold_document(document: Document) -> Held | Skipped | tuple[Problem, ...]:
    """Decode and check a document.

    Returns:
        The object, or as much of a broken one as says what it applies to; `Skipped` where it is somebody else's; the
        problems where nothing can be kept of it.
    """
    problems = [*document.problems]
    try:
        item = objects.decode_object(document.body, document.source)
    except ContractError as exc:
        problems += exc.problems
        remains = objects.salvage(document.body)
        return tuple(problems) if remains is None else hold(remains, document.source, problems)
    return item if isinstance(item, Skipped) else hold(item, document.source, problems)


class ViewBuilder:
    """Collects objects, from documents or from an API server's cache, and makes the view of them."""

    def __init__(self) -> None:
        self._held: dict[ObjectKey, Held] = {}
        self._problems: list[Problem] = []
        self._skipped: list[Skipped] = []

    def add_document(self, document: Document) -> None:
        """Decode a document and add what it holds."""
        found = hold_document(document)
        if isinstance(found, Held):
            self.add_held(found)
        elif isinstance(found, Skipped):
            self._skipped.append(found)
            self._problems += document.problems
        else:
            self._problems += found

    def add(self, item: Object, source: str = "", problems: Iterable[Problem] = ()) -> None:
        """Add a decoded object; see `hold`."""
        self.add_held(hold(item, source, problems))

    def add_held(self, held: Held) -> None:
        """Add an object that was checked."""
        twin = self._held.get(held.key)
        self._held[held.key] = held if twin is None else _settled(twin, held)

    def view(self, bundles: Bundles) -> ClusterView:
        """Return the view of everything added so far."""
        held = dict(sorted(self._held.items()))
        problems = [*self._problems, *(problem for entry in held.values() for problem in entry.problems)]
        mesh = held.get(("Mesh", objects.MESH_NAME))
        return ClusterView(
            mesh=mesh.item if mesh and isinstance(mesh.item, objects.Mesh) else None,
            namespaces=_of(held, objects.Namespace),
            nodes=_of(held, objects.Node),
            pods=_of(held, objects.Pod),
            services=_of(held, objects.Service),
            slices=_of(held, objects.EndpointSlice),
            replica_sets=_of(held, objects.ReplicaSet),
            routes=_routes(held),
            grants=_of(held, objects.ReferenceGrant),
            authorization=_of(held, objects.AuthorizationPolicy),
            peer_authentication=_of(held, objects.PeerAuthentication),
            rate_limits=_rate_limits(held),
            backend_traffic=_of(held, objects.XBackendTrafficPolicy),
            bundles=MappingProxyType({domain: tuple(sorted(set(roots))) for domain, roots in sorted(bundles.items())}),
            sources=MappingProxyType({key: entry.source for key, entry in held.items() if entry.source}),
            broken=MappingProxyType({key: entry.broken for key, entry in held.items() if entry.broken is not None}),
            problems=sorted_problems(problems),
            skipped=tuple(sorted(self._skipped, key=lambda item: (item.kind, item.name, item.source))),
        )


def _first_error(problems: Iterable[Problem]) -> Problem | None:
    return next((problem for problem in problems if not problem.warning), None)


def _settled(first: Held, second: Held) -> Held:
    """Decide between two objects of one name: equal ones are one, different ones are broken, whichever came first."""
    if first.item == second.item and first.broken == second.broken:
        return first if first.source <= second.source else second
    kept, other = sorted((first, second), key=lambda entry: (encode(entry.item), entry.source))
    message = f"{kept.item.kind} {kept.item.metadata.key} is given twice with different contents"
    where = " and ".join(sorted({first.source, second.source} - {""}))
    problem = Problem(
        path="$",
        message=f"{message}: {where}" if where else message,
        remedy="take one out",
        source=kept.source,
        subject=f"{kept.item.kind} {kept.item.metadata.key}",
    )
    return Held(kept.item, kept.source, (*kept.problems, *other.problems, problem), message)


def _of(held: Mapping[ObjectKey, Held], python_type: type[T]) -> Mapping[str, T]:
    return MappingProxyType(
        {key: entry.item for (_, key), entry in held.items() if isinstance(entry.item, python_type)}
    )


def _routes(held: Mapping[ObjectKey, Held]) -> Mapping[ObjectKey, RouteObject]:
    return MappingProxyType({key: entry.item for key, entry in held.items() if isinstance(entry.item, RouteObject)})


def _rate_limits(held: Mapping[ObjectKey, Held]) -> Mapping[str, objects.RateLimitPolicy]:
    """Return those that were written and those that Services' annotations stand for."""
    annotated = (annotated_limit(item) for item in _of(held, objects.Service).values())
    found = {item.metadata.key: item for item in annotated if item is not None}
    return MappingProxyType(dict(sorted({**_of(held, objects.RateLimitPolicy), **found}.items())))


def sorted_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems without repetition in an order that does not depend on how they were found."""
    return tuple(sorted(set(problems), key=_problem_order))


def _problem_order(problem: Problem) -> tuple[list[tuple[int, str]], str, str, str, bool]:
    """Sort by place as people count: document 2 before document 10."""
    source = [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(problem.source)]
    return source, problem.subject, problem.path, problem.message, problem.warning
