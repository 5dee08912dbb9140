"""One kind followed through everything that goes wrong: differences are told, and never a deletion that was not read."""

import asyncio
from collections.abc import Sequence

import pytest

from weft_operator.access import ApiError, ExpiredError, NotFoundError, UnreachableError
from weft_operator.reflect import REFLECTED, Reflector, Seen
from weft_operator.reflect import reflector as module
from weft_testing.objects import Doc
from weft_testing.scripted_source import FOR_EVER, List, ScriptedSource, Watch

pytestmark = pytest.mark.asyncio
GONE = NotFoundError("gone", status=404)
BROKEN = UnreachableError("broken")
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weft_operator.reflect.backoff.Backoff.failed", lambda self: 0.0)
    monkeypatch.setattr(module, "ABSENT_POLL_S", 0.0)


def pod(name: str, version: int, **spec: object) -> Doc:
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(version)}, "spec": spec}


def added(name: str, version: int) -> Doc:
    return {"type": "MODIFIED", "object": pod(name, version)}


def deleted(name: str, version: int) -> Doc:
    return {"type": "DELETED", "object": pod(name, version)}


def bookmark(version: int) -> Doc:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


class Told:
    def __init__(self) -> None:
        self.batches: list[list[tuple[str, str, bool]]] = []
        self.synced = 0

    def tell(self, items: Sequence[Seen]) -> None:
        self.batches.append([(item.key.removeprefix("n/"), item.version, item.held is not None) for item in items])

    def note(self) -> None:
        self.synced += 1


async def play(
    *steps: List | Watch | ApiError, kind: str = "Pod", late: bool = False
) -> tuple[Told, Reflector, ScriptedSource]:
    """Play the steps; late: the last of them comes long after the others."""
    told, source = Told(), ScriptedSource(list(steps))

    def now() -> float:
        return 1000.0 if late and not source.steps else 0.0

    reflector = Reflector(REFLECTED[kind], source, told.tell, told.note, clock=now)
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(source.finished.wait(), PATIENCE_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return told, reflector, source


async def test_a_list_in_pages_then_events_then_on_where_it_was() -> None:
    told, reflector, source = await play(
        List("5", [[pod("a", 1), pod("b", 2)], [pod("c", 3)]]),
        Watch("5", [added("a", 6), deleted("b", 7), bookmark(9)]),
        Watch("9", [added("d", 10)], BROKEN),
        Watch("10", end=FOR_EVER),
    )
    assert told.batches == [
        [("a", "1", True), ("b", "2", True), ("c", "3", True)],
        [("a", "6", True)],
        [("b", "7", False)],
        [("d", "10", True)],
    ]
    assert (told.synced, reflector.objects, reflector.lists, reflector.events) == (1, 3, 1, 3)
    assert [what for what, _, _ in source.asked] == ["list", "watch", "watch", "watch"]


async def test_after_410_a_new_list_tells_only_what_changed_meanwhile() -> None:
    told, _, _ = await play(
        List("5", [[pod("a", 1), pod("b", 2), pod("c", 3)]]),
        Watch("5", end=ExpiredError("too old", status=410)),
        List("20", [[pod("a", 1), pod("c", 15), pod("d", 16)]]),
        Watch("20", end=FOR_EVER),
    )
    assert told.batches[1:] == [[("b", "", False), ("c", "15", True), ("d", "16", True)]]


async def test_a_list_that_breaks_off_tells_nothing() -> None:
    told, reflector, _ = await play(
        List("5", [[pod("a", 1), pod("b", 2)]]),
        Watch("5", end=ExpiredError("too old", status=410)),
        List("9", [[pod("a", 1)]], error=BROKEN),
        List("9", [[pod("a", 1), pod("b", 2)]]),
        Watch("9", end=FOR_EVER),
    )
    assert told.batches == [[("a", "1", True), ("b", "2", True)]]
    assert reflector.objects == 2


async def test_a_list_that_grew_too_old_is_asked_for_in_one_piece() -> None:
    _, _, source = await play(
        List("5", [[pod("a", 1)]], error=ExpiredError("continuation", status=410)),
        List("6", [[pod("a", 1)]]),
        Watch("6", end=ExpiredError("too old", status=410)),
        List("7"),
        Watch("7", end=FOR_EVER),
    )
    assert [chunk for what, _, chunk in source.asked if what == "list"] == [module.CHUNK, module.WHOLE, module.CHUNK]


async def test_while_the_server_refuses_everything_stays_and_the_reason_is_kept() -> None:
    refused = ApiError("GET: 403 Forbidden", status=403)
    told, reflector, _ = await play(refused, refused)
    assert (told.batches, told.synced, reflector.error) == ([], 0, "GET: 403 Forbidden")
    told, reflector, _ = await play(
        List("5", [[pod("a", 1)]]), Watch("5", end=BROKEN), BROKEN, Watch("5", end=FOR_EVER)
    )
    assert (len(told.batches), reflector.objects) == (1, 1)


async def test_a_kind_that_is_not_installed_is_known_to_have_nothing_until_it_comes() -> None:
    versions = REFLECTED["TLSRoute"].versions
    told, reflector, source = await play(
        *[GONE for _ in versions], *[GONE for _ in versions[1:]], List("5"), Watch("5", end=FOR_EVER), kind="TLSRoute"
    )
    assert (told.synced, told.batches, reflector.state) == (1, [], "synced")
    assert source.asked[-1][1].startswith(f"/apis/{versions[-1]}/")


async def test_known_objects_outlive_a_kind_that_is_away_for_a_moment() -> None:
    route: Doc = {"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}, "spec": {}}
    versions = REFLECTED["HTTPRoute"].versions
    missing = [GONE for _ in versions]
    told, _, _ = await play(
        List("5", [[route]]), Watch("5", end=GONE), *missing, List("6", [[route]]), Watch("6", end=FOR_EVER),
        kind="HTTPRoute",
    )  # fmt: skip
    assert told.batches == [[("r", "1", True)]]


async def test_a_kind_that_stays_away_takes_its_objects_along() -> None:
    route: Doc = {"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}, "spec": {}}
    missing = [GONE for _ in REFLECTED["HTTPRoute"].versions]
    told, reflector, _ = await play(
        List("5", [[route]]), Watch("5", end=GONE), *missing, *missing, kind="HTTPRoute", late=True
    )
    assert told.batches == [[("r", "1", True)], [("r", "", False)]]
    assert reflector.state == "absent"


async def test_a_built_in_kind_is_never_believed_to_be_away() -> None:
    told, reflector, _ = await play(List("5", [[pod("a", 1)]]), Watch("5", end=GONE), GONE, GONE, late=True)
    assert told.batches == [[("a", "1", True)]]
    assert "not served" in reflector.error


async def test_an_object_that_cannot_be_read_any_more_stays_as_it_was() -> None:
    broken: Doc = {"type": "MODIFIED", "object": {**pod("a", 6), "spec": []}}
    told, reflector, _ = await play(List("5", [[pod("a", 1)]]), Watch("5", [broken, deleted("a", 8)], FOR_EVER))
    assert told.batches == [[("a", "1", True)], [("a", "8", False)]]
    assert not reflector.unreadable
