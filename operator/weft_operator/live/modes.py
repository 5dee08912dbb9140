"""Stage 5: PeerAuthentication objects, and which mTLS mode holds at each member."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from weft_contract import objects
from weft_contract.objects import ROOT_NAMESPACE
from weft_contract.resources.workload import MtlsMode
from weft_operator.compile import ClusterView, ObjectResult
from weft_operator.compile.members import Member
from weft_operator.compile.peer_authentication import Modes, ModeTable, selects
from weft_operator.compile.view import ObjectKey
from weft_operator.live.changes import Changes, ProblemBook, of_kind

KIND = "PeerAuthentication"


@dataclass(slots=True)
class ModeChanges:
    """What changed of modes."""

    namespaces: set[str] | None = field(default_factory=set)
    """Namespaces whose members may have other modes; None: all."""
    results: dict[ObjectKey, ObjectResult | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Selection:
    """The members that one object selects."""

    item: objects.PeerAuthentication
    keys: set[str] = field(default_factory=set)
    nodes: Counter[str] = field(default_factory=Counter)
    result: ObjectResult | None = None

    def replace(self, key: str, old: Member | None, new: Member | None) -> bool:
        """Judge a member again; say whether that changes anything."""
        if key in self.keys and old is not None:
            self.keys.discard(key)
            self.nodes[old.node] -= 1
            if not self.nodes[old.node]:
                del self.nodes[old.node]
        if new is not None and selects(self.item, new):
            self.keys.add(key)
            self.nodes[new.node] += 1
        return old is None or new is None or old.node != new.node or old.labels != new.labels


class ModeStage:
    """Keeps the table of modes, and for each object whom it selects.

    Theory: objects compete with those of their own namespace only, and those of the root namespace hold everywhere. The
    table is made anew when an object changes, which is rare; the selections follow members one by one.
    """

    def __init__(self, problems: ProblemBook) -> None:
        self._table: ModeTable | None = None
        self._default: MtlsMode | None = None
        self._selections: dict[str, _Selection] = {}
        self._in_namespace: dict[str, set[str]] = {}
        self._problems = problems

    def look_up(self, member: Member) -> Modes:
        """Say what holds at a member."""
        assert self._table is not None, "update comes first"
        return self._table.look_up(member)

    def update(
        self,
        view: ClusterView,
        changes: Changes,
        members: Mapping[str, Member],
        member_changes: Mapping[str, tuple[Member | None, Member | None]],
        default: MtlsMode,
    ) -> ModeChanges:
        """Follow changes of objects, members and the mesh's default.

        Args:
            view: the cluster.
            changes: of objects.
            members: all, as they are now.
            member_changes: those that changed, old and new.
            default: where no object says otherwise.
        """
        found = ModeChanges()
        changed = [key for key, _, _ in of_kind(changes, objects.PeerAuthentication)]
        told: set[str] = set()
        for key, (old, new) in member_changes.items():
            told |= self._follow(key, old, new)
        if changed or default != self._default or self._table is None:
            namespaces = {key.partition("/")[0] for key in changed}
            everywhere = default != self._default or ROOT_NAMESPACE in namespaces
            found.namespaces = None if everywhere else namespaces
            self._default, self._table = default, ModeTable(view, default)
            self._problems.put("modes", "", tuple(self._table.problems))
            for key in changed:
                self._take_over(key, view, members)
            told.update(key for name in namespaces for key in self._in_namespace.get(name, ()))
            told.update(changed)
        for key in told:
            self._tell(key, found)
        return found

    def _follow(self, key: str, old: Member | None, new: Member | None) -> set[str]:
        """Let the objects that may select a member look at it; return those that say otherwise now."""
        namespace = key.partition("/")[0]
        candidates = self._in_namespace.get(namespace, set()) | self._in_namespace.get(ROOT_NAMESPACE, set())
        return {name for name in candidates if self._selections[name].replace(key, old, new)}

    def _take_over(self, key: str, view: ClusterView, members: Mapping[str, Member]) -> None:
        namespace = key.partition("/")[0]
        item = view.peer_authentication.get(key)
        old = self._selections.pop(key, None)
        if item is None:
            self._in_namespace.get(namespace, set()).discard(key)
            return
        self._in_namespace.setdefault(namespace, set()).add(key)
        selection = self._selections[key] = _Selection(item, result=old.result if old is not None else None)
        for member in _candidates(item, members):
            selection.replace(member.key, None, member)

    def _tell(self, key: str, found: ModeChanges) -> None:
        assert self._table is not None, "made by update"
        selection = self._selections.get(key)
        if selection is None:
            found.results[KIND, key] = None
            return
        nodes = tuple(sorted(selection.nodes))
        result = self._table.result(selection.item, pods=len(selection.keys), nodes=nodes)
        if result != selection.result:
            selection.result = found.results[KIND, key] = result


def _candidates(item: objects.PeerAuthentication, members: Mapping[str, Member]) -> Iterator[Member]:
    return (member for member in members.values() if selects(item, member))
