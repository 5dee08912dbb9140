"""One object's status: read fresh, written once, conflicts taken up again, everybody else's words kept."""

import pytest

from weft_contract.objects import ParentReference
from weft_operator.compile import ObjectResult, ParentResult, Verdict
from weft_operator.conditions import Progress
from weft_operator.controllers.events import Recorder
from weft_operator.controllers.outlook import Look
from weft_operator.controllers.plan import GRACE_S, RETURN_S
from weft_operator.controllers.reconcile import MAX_CONFLICTS, Reconciler
from weft_operator.controllers.resources import Reference
from weft_operator.controllers.store import Body, ConflictError
from weft_testing.memory_api import MemoryApi

pytestmark = pytest.mark.asyncio

WEB = Reference("AuthorizationPolicy", "shop/web")
WEB_PATH = "/apis/weft.dev/v1alpha1/namespaces/shop/authorizationpolicies/web"
ROUTE = Reference("HTTPRoute", "shop/r")
ROUTE_PATH = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r"
MESH_PATH = "/apis/weft.dev/v1alpha1/meshes/default"
YES = Verdict(holds=True, reason="Accepted")
NO = Verdict(holds=False, reason="Invalid", message="$.spec: no")
PARENT: Body = {"group": "", "kind": "Service", "name": "web"}
FOREIGN: Body = {
    "parentRef": {"kind": "Gateway", "name": "g"},
    "controllerName": "example.com/gw",
    "conditions": [{"type": "Accepted", "status": "True"}],
}


class World:
    """An API server, an outlook and a clock."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.looks: dict[Reference, Look] = {}
        self.now = 100.0
        recorder = Recorder(self.api, "replica-1", clock=lambda: self.now, wall=lambda: self.now)
        self.reconciler = Reconciler(self.api, self, recorder, clock=lambda: self.now, wall=lambda: self.now)

    def look(self, kind: str, key: str) -> Look | None:
        return self.looks.get(Reference(kind, key))

    def apply(self, reference: Reference, path: str, item: Body) -> None:
        """Let a user write an object, and kopf hear of it."""
        self.reconciler.saw(reference, self.api.put(path, item))

    def judge(self, reference: Reference, verdict: Verdict, generation: int = 1) -> None:
        parents = (
            ParentResult(
                parent=ParentReference(name="web"),
                accepted=verdict,
                resolved_refs=Verdict(holds=True, reason="ResolvedRefs"),
            ),
        )
        self.looks[reference] = Look(
            result=ObjectResult(
                kind=reference.kind,
                namespace=reference.namespace,
                name=reference.name,
                generation=generation,
                source="",
                accepted=verdict,
                parents=parents if reference.kind == "HTTPRoute" else (),
            ),
            progress=Progress(needed=2),
        )

    def status(self, path: str) -> Body:
        status = self.api.objects[path]["status"]
        assert isinstance(status, dict)
        return status


def policy(generation: int = 1) -> Body:
    metadata = {"name": "web", "namespace": "shop", "generation": generation, "uid": "u1"}
    return {"apiVersion": "weft.dev/v1alpha1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": {}}


def route(entries: list[Body] | None = None) -> Body:
    metadata = {"name": "r", "namespace": "shop", "generation": 1, "uid": "u2"}
    item: Body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"parentRefs": [PARENT]},
    }
    return item if entries is None else {**item, "status": {"parents": entries}}


def statuses(world: World) -> list[str]:
    return [path for path in world.api.writes if path.endswith("/status")]


async def test_a_status_is_written_once_and_told_once() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES)
    assert await world.reconciler.reconcile(WEB) is None
    assert await world.reconciler.reconcile(WEB) is None
    assert statuses(world) == [f"{WEB_PATH}/status"]
    assert [condition["status"] for condition in world.status(WEB_PATH)["conditions"]] == ["True"] * 3
    assert [(event["type"], event["reason"]) for event in world.api.events] == [("Normal", "Accepted")]
    assert world.reconciler.writes == 1


async def test_the_answer_of_our_own_write_coming_back_writes_nothing() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES)
    await world.reconciler.reconcile(WEB)
    world.reconciler.saw(WEB, world.api.objects[WEB_PATH])
    await world.reconciler.reconcile(WEB)
    assert len(statuses(world)) == 1


async def test_a_verdict_that_changes_is_written_and_told() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    for verdict in (YES, NO, NO, YES):
        world.judge(WEB, verdict)
        await world.reconciler.reconcile(WEB)
        world.now += 10
    assert len(statuses(world)) == 3
    assert [event["reason"] for event in world.api.events] == ["Accepted", "Rejected", "Accepted"]


async def test_what_was_written_meanwhile_is_read_and_judged_again() -> None:
    world = World()
    world.apply(ROUTE, ROUTE_PATH, route())
    world.judge(ROUTE, YES)
    rivals = iter([route([FOREIGN])])

    def rival(path: str) -> None:
        item = next(rivals, None)
        if item is not None:
            world.api.put(ROUTE_PATH, item)

    world.api.before_replace = rival
    await world.reconciler.reconcile(ROUTE)
    entries = world.status(ROUTE_PATH)["parents"]
    assert [entry["controllerName"] for entry in entries] == ["example.com/gw", "weft.dev/mesh"]
    assert entries[0] == FOREIGN


async def test_a_rival_that_never_rests_is_a_failure_that_is_tried_again_later() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES)
    world.api.before_replace = lambda path: void(world.api.put(WEB_PATH, policy()))
    with pytest.raises(ConflictError, match=f"AuthorizationPolicy shop/web .* {MAX_CONFLICTS} times"):
        await world.reconciler.reconcile(WEB)
    assert statuses(world) == []


async def test_what_was_heard_of_late_is_not_written_over() -> None:
    """The object has a new generation that kopf has not told of: the verdict on the old one must not be written to it."""
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES, generation=1)
    world.api.put(WEB_PATH, policy(generation=2))
    assert await world.reconciler.reconcile(WEB) == GRACE_S
    assert statuses(world) == []


async def test_an_object_that_is_gone_is_nobody_s() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES)
    del world.api.objects[WEB_PATH]
    assert await world.reconciler.reconcile(WEB) is None
    assert world.reconciler.known == ()
    world.apply(WEB, WEB_PATH, policy())
    world.reconciler.saw(WEB, None)
    assert await world.reconciler.reconcile(WEB) is None
    assert statuses(world) == []


async def test_the_wait_for_a_verdict_begins_with_each_generation() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    assert await world.reconciler.reconcile(WEB) == GRACE_S
    world.now += 1.5
    world.reconciler.saw(WEB, world.api.objects[WEB_PATH])
    assert await world.reconciler.reconcile(WEB) == GRACE_S - 1.5
    world.apply(WEB, WEB_PATH, policy(generation=2))
    assert await world.reconciler.reconcile(WEB) == GRACE_S
    world.now += GRACE_S
    assert await world.reconciler.reconcile(WEB) is None
    assert {condition["status"] for condition in world.status(WEB_PATH)["conditions"]} == {"Unknown"}
    assert world.api.events == []


async def test_kinds_without_a_namespace_have_a_path_without_one() -> None:
    world = World()
    mesh = Reference("Mesh", "default")
    item: Body = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": "default", "generation": 1, "uid": "u3"},
        "spec": {},
    }
    world.apply(mesh, MESH_PATH, item)
    world.judge(mesh, YES)
    await world.reconciler.reconcile(mesh)
    assert statuses(world) == [f"{MESH_PATH}/status"]
    assert [event["metadata"]["namespace"] for event in world.api.events] == ["default"]


def void(_: object) -> None:
    return None


async def test_a_node_that_is_away_for_a_moment_is_no_write_and_one_that_stays_away_is() -> None:
    world = World()
    world.apply(WEB, WEB_PATH, policy())
    world.judge(WEB, YES)
    await world.reconciler.reconcile(WEB)
    everywhere = world.looks[WEB]
    away = Look(result=everywhere.result, progress=Progress(needed=2, lagging=["n2"]))
    for _ in range(3):
        world.now += 60
        world.looks[WEB] = away
        assert await world.reconciler.reconcile(WEB) == RETURN_S
        world.now += RETURN_S - 1
        assert await world.reconciler.reconcile(WEB) == 1.0
        world.looks[WEB] = everywhere
        assert await world.reconciler.reconcile(WEB) is None
    assert len(statuses(world)) == 1
    world.looks[WEB] = away
    await world.reconciler.reconcile(WEB)
    world.now += RETURN_S
    assert await world.reconciler.reconcile(WEB) is None
    assert len(statuses(world)) == 2
    programmed = world.status(WEB_PATH)["conditions"][-1]
    assert (programmed["status"], "waiting for n2" in programmed["message"]) == ("False", True)
