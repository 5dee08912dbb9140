"""A compiler that fails at an object: the rest goes on, the last good version stays, what never had one refuses."""

from collections.abc import Mapping

import pytest

from weft_operator.compile import Held, ObjectResult
from weft_operator.compile.view import ObjectKey
from weft_operator.live import Delta, Engine
from weft_operator.live.board import Board
from weft_operator.reflect import SteadyEngine
from weft_operator.reflect.steady import WHY
from weft_testing import objects as o
from weft_testing.live import held
from weft_testing.scale import Scale

POISON = "/poison"


class Fragile(Engine):
    """Fails at whatever speaks of `/poison`; at broken objects only where `hopeless`."""

    hopeless = False

    def apply(
        self, changed: Mapping[ObjectKey, Held | None], bundles: Mapping[str, tuple[str, ...]] | None = None
    ) -> Delta:
        for item in changed.values():
            poisoned = item is not None and POISON in str(item.item)
            if poisoned and item is not None and (self.hopeless or item.broken is None):
                raise RuntimeError("a bug of the compiler")
        return super().apply(changed, bundles)


class Hopeless(Fragile):
    hopeless = True


def policy(name: str, path: str) -> o.Doc:
    spec = {"rules": [{"to": [{"operation": {"paths": [path]}}]}]}
    return o.policy("AuthorizationPolicy", name, spec, namespace="shop")


def objects(*bodies: o.Doc) -> dict[ObjectKey, Held | None]:
    return {item.key: item for item in map(held, bodies)}


SHOP = (o.namespace("shop"), o.node("n1", "172.16.0.1"), o.pod("web", "10.0.0.1"), o.pod("api", "10.0.0.2"))


class Reader:
    """Follows the deltas, and compares with an engine that began with the same objects."""

    def __init__(self, steady: SteadyEngine) -> None:
        self.steady, self.board = steady, Board()
        self.results: dict[ObjectKey, ObjectResult] = {}

    def apply(self, changed: Mapping[ObjectKey, Held | None]) -> None:
        delta = self.steady.apply(changed, {"cluster.local": ("root",)})
        self.board.apply(delta)
        for key, result in delta.results.items():
            self.results.pop(key, None)
            if result is not None:
                self.results[key] = result

    def holds(self) -> dict[str, dict[str, str]]:
        return {node: {item.key: item.hash for item in self.board.items(node)} for node in self.board.nodes}

    def check(self, wanted: Mapping[ObjectKey, Held | None]) -> None:
        board = Board()
        delta = Engine().apply(wanted, {"cluster.local": ("root",)})
        board.apply(delta)
        assert self.holds() == {node: {item.key: item.hash for item in board.items(node)} for node in board.nodes}
        assert self.results == {key: result for key, result in delta.results.items() if result is not None}


def test_without_errors_it_is_an_engine() -> None:
    reader = Reader(SteadyEngine())
    first = objects(*Scale(services=6, nodes=3, namespaces=2).documents())
    reader.apply(first)
    reader.check(first)
    assert reader.steady.failures == 0


def test_one_poisoned_object_in_a_large_round_stops_no_other() -> None:
    reader = Reader(SteadyEngine(Fragile))
    good = objects(*SHOP, *(policy(f"p{number}", f"/{number}") for number in range(20)))
    bad = objects(policy("bad", POISON))
    reader.apply({**good, **bad})
    ((key, error),) = reader.steady.aside.items()
    assert key == ("AuthorizationPolicy", "shop/bad")
    assert "a bug of the compiler" in error
    ((_, item),) = bad.items()
    assert item is not None
    broken = Held(item.item, item.source, item.problems, WHY)
    reader.check({**good, key: broken})
    assert not reader.results[key].accepted.holds, "it refuses and says so"


def test_the_last_good_version_stays() -> None:
    reader = Reader(SteadyEngine(Fragile))
    good = objects(*SHOP, policy("a", "/a"))
    reader.apply(good)
    reader.apply({**objects(policy("a", POISON)), **objects(policy("b", "/b"))})
    reader.check({**good, **objects(policy("b", "/b"))})
    assert list(reader.steady.aside) == [("AuthorizationPolicy", "shop/a")]
    reader.apply(objects(policy("a", "/mended")))
    reader.check({**good, **objects(policy("a", "/mended"), policy("b", "/b"))})
    assert not reader.steady.aside


def test_what_raises_even_as_a_broken_object_is_left_out_loudly() -> None:
    reader = Reader(SteadyEngine(Hopeless))
    good = objects(*SHOP)
    reader.apply({**good, **objects(policy("bad", POISON))})
    reader.check(good)
    assert len(reader.steady.aside) == 1


def test_an_engine_that_lost_its_way_begins_anew_with_the_same_objects() -> None:
    class OnceBroken(Engine):
        rounds = 0

        def apply(
            self, changed: Mapping[ObjectKey, Held | None], bundles: Mapping[str, tuple[str, ...]] | None = None
        ) -> Delta:
            type(self).rounds += 1
            if type(self).rounds == 2:
                super().apply(changed, bundles)
                raise KeyError("state that does not fit")
            return super().apply(changed, bundles)

    reader = Reader(SteadyEngine(OnceBroken))
    good = objects(*SHOP, policy("a", "/a"))
    reader.apply(good)
    reader.apply({("Pod", "shop/api"): None, **objects(policy("b", "/b"))})
    del good["Pod", "shop/api"]
    reader.check({**good, **objects(policy("b", "/b"))})
    assert (reader.steady.failures, reader.steady.aside) == (1, {})


def test_where_nothing_compiles_the_error_is_raised() -> None:
    class Dead(Engine):
        def apply(
            self, changed: Mapping[ObjectKey, Held | None], bundles: Mapping[str, tuple[str, ...]] | None = None
        ) -> Delta:
            raise RuntimeError("nothing works")

    with pytest.raises(RuntimeError, match="nothing works"):
        SteadyEngine(Dead).apply({})
