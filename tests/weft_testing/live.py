"""The live compiler beside the compiler that starts from nothing: feed both the same objects, compare what nodes hold."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from weft_contract.codec import encode
from weft_operator.compile import Compiled, Document, Held, ObjectResult, compile_cluster, hold_document
from weft_operator.compile.view import ObjectKey, ViewBuilder
from weft_operator.live import Delta, Engine
from weft_operator.live.board import Board
from weft_testing.objects import Doc


def held(body: Doc) -> Held:
    """Decode and check one body, as the reflectors do."""
    found = hold_document(Document(source="", body=body))
    assert isinstance(found, Held), found
    return found


class Twin:
    """An engine with its board, and all objects it was told of."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.board = Board()
        self.objects: dict[ObjectKey, Held] = {}
        self.bundles: dict[str, tuple[str, ...]] = {}
        self.results: dict[ObjectKey, ObjectResult] = {}

    def change(
        self,
        put: Iterable[Doc] = (),
        drop: Iterable[ObjectKey] = (),
        bundles: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Delta:
        """Tell the engine of one round."""
        changes: dict[ObjectKey, Held | None] = dict.fromkeys(drop)
        for body in put:
            item = held(body)
            changes[item.key] = item
        for place, found in changes.items():
            if found is None:
                self.objects.pop(place, None)
            else:
                self.objects[place] = found
        if bundles is not None:
            self.bundles = dict(bundles)
        delta = self.engine.apply(changes, bundles)
        self.board.apply(delta)
        for place, result in delta.results.items():
            if result is None:
                self.results.pop(place, None)
            else:
                self.results[place] = result
        return delta

    def expected(self) -> Compiled:
        """Compile the same objects from nothing."""
        builder = ViewBuilder()
        for item in self.objects.values():
            builder.add_held(item)
        return compile_cluster(builder.view(self.bundles))

    def check(self) -> None:
        """Compare everything: contents, hashes, who holds what, results, problems."""
        expected = self.expected()
        wanted = {
            node: {entry.key: (entry.hash, encode(entry.spec)) for entry in document.resources}
            for node, document in expected.nodes.items()
        }
        assert self.contents() == wanted
        assert self.all_results() == list(expected.results)
        found = {problem for problems in self.engine.problems.all.values() for problem in problems}
        assert found == set(expected.problems)

    def contents(self) -> dict[str, dict[str, tuple[str, bytes]]]:
        """Return hash and bytes of what every node holds, by key."""
        return {
            node: {item.key: (item.hash, item.body) for item in self.board.items(node)} for node in self.board.nodes
        }

    def all_results(self) -> list[ObjectResult]:
        """Return the results with their nodes, in the compiler's order."""
        placed = (
            replace(item, nodes=tuple(sorted(self.board.holders(item.resource)))) if item.resource else item
            for item in self.results.values()
        )
        return sorted(placed, key=lambda item: (item.kind, item.key))
