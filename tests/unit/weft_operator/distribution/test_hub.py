"""The hub without sockets: who is told of which change, nobody is emptied by mistake, how far objects have come."""

from collections.abc import Callable, Iterable

import pytest

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import Ack, Hello
from weft_operator.compile.view import ObjectKey
from weft_operator.distribution import Caller, Hub, RefusedError
from weft_operator.distribution.hub import Line
from weft_operator.distribution.session import ProtocolError
from weft_operator.live import Delta
from weft_testing import objects as o
from weft_testing.live import Twin

ALLOW = {"rules": [{"to": [{"operation": {"paths": ["/a"]}}]}]}
POLICY: ObjectKey = ("AuthorizationPolicy", "shop/web")


class World:
    """A compiled cluster, its hub, and nodes that keep what they acknowledged."""

    def __init__(self) -> None:
        self.twin = Twin()
        self.told: list[set[ObjectKey]] = []
        self.now = 100.0
        self.hub = Hub(changed=self._changed, later=lambda _, call: call(), clock=lambda: self.now)
        self.held: dict[str, dict[str, str]] = {}
        self.ends: list[tuple[str, str]] = []
        self.wakes: list[str] = []

    def _changed(self, keys: Iterable[ObjectKey]) -> None:
        self.told.append(set(keys))

    def change(self, *put: o.Doc, drop: Iterable[ObjectKey] = ()) -> Delta:
        delta = self.twin.change(put, drop)
        self.hub.apply(delta, since=self.now)
        return delta

    def join(self, node: str, *, schema: str = SCHEMA, says: str | None = None) -> Line:
        have = self.held.setdefault(node, {})
        hello = Hello(node=says or node, build="t", schema=schema, have=dict(have))
        return self.hub.join(
            Caller(node=node), hello, lambda: self.wakes.append(node), lambda text, _: self.ends.append((node, text))
        )

    def answer(self, line: Line, *refused: tuple[str, str]) -> list[str]:
        """Let a node take and acknowledge what there is for it; return the keys."""
        batch = self.hub.take(line)
        if batch is None:
            return []
        held, why = self.held[line.caller.node], dict(refused)
        told = []
        for item in batch.upserts:
            if item.key in why:
                told.append((item.key, item.hash, why[item.key]))
            else:
                held[item.key] = item.hash
        for key in batch.removes:
            held.pop(key, None)
        keys = sorted(batch.keys)
        self.hub.acked(line, Ack(nonce=batch.nonce, refused=tuple(told)))
        return keys

    def text(self, key: ObjectKey) -> str:
        look = self.hub.look(*key)
        assert look is not None
        return look.progress.text

    def should_hold(self, node: str) -> dict[str, str]:
        return {key: item_hash for key, (item_hash, _) in self.twin.contents()[node].items()}


@pytest.fixture
def world() -> World:
    world = World()
    world.change(
        *(o.node(name, f"172.16.0.{number}") for number, name in enumerate(("n1", "n2", "n3"), 1)),
        o.namespace("shop"),
        o.namespace("other"),
        o.pod("web", "10.0.0.1", node="n1"),
        o.pod("api", "10.0.0.2", node="n2"),
        o.service("web", 80),
        o.policy("AuthorizationPolicy", "web", {"selector": {"matchLabels": {"app": "web"}}, **ALLOW}),
    )
    return world


def test_a_node_holds_exactly_what_it_should_and_then_only_differences(world: World) -> None:
    line = world.join("n1")
    world.answer(line)
    assert world.held["n1"] == world.should_hold("n1")
    world.change(o.service("web", 80, addresses=["10.96.0.11"]))
    assert world.answer(line) == ["Service/shop/web"]
    assert world.held["n1"] == world.should_hold("n1")
    assert world.answer(line) == []


def test_a_node_that_comes_again_is_told_what_it_missed(world: World) -> None:
    line = world.join("n1")
    world.answer(line)
    world.hub.leave(line, "gone")
    world.change(o.service("web", 81), drop=[POLICY])
    line = world.join("n1")
    told = world.answer(line)
    assert "AuthorizationPolicy/shop/web" in told, "it is taken away"
    assert "Node/n1" not in told
    assert world.held["n1"] == world.should_hold("n1")


def test_namespaces_that_come_to_a_node_and_leave_it(world: World) -> None:
    quiet = o.namespace("quiet")
    quiet["metadata"] = {
        "name": "quiet",
        "labels": {"weft.dev/mesh": "enabled"},
        "annotations": {"weft.dev/exportTo": "."},
    }
    world.change(quiet, o.pod("db", "10.0.0.3", node="n3", namespace="quiet"), o.service("db", 5432, namespace="quiet"))
    line = world.join("n1")
    world.answer(line)
    assert "Service/quiet/db" not in world.held["n1"]
    world.change(o.pod("db2", "10.0.0.4", node="n1", namespace="quiet"))
    world.answer(line)
    assert "Service/quiet/db" in world.held["n1"]
    assert world.held["n1"] == world.should_hold("n1")
    world.change(o.service("db", 5433, namespace="quiet"), drop=[("Pod", "quiet/db2")])
    world.answer(line)
    assert "Service/quiet/db" not in world.held["n1"]
    assert world.held["n1"] == world.should_hold("n1")
    world.change(drop=[("Service", "quiet/db"), ("Pod", "quiet/db")])
    world.answer(line)
    assert world.held["n1"] == world.should_hold("n1")


def test_only_nodes_that_read_a_change_are_woken(world: World) -> None:
    for name in ("n1", "n2", "n3"):
        world.answer(world.join(name))
    world.wakes.clear()
    world.change(o.service("web", 81))
    assert sorted(world.wakes) == ["n1", "n2"], "n3 runs no member"


def test_nobody_is_let_in_before_the_cluster_is_known() -> None:
    world = World()
    with pytest.raises(RefusedError, match="still reading the cluster's objects"):
        world.join("n1")
    world.change(o.namespace("shop"))
    assert world.hub.ready
    with pytest.raises(RefusedError, match="there is no Node 'n1'"):
        world.join("n1")


def test_a_node_that_leaves_the_cluster_is_not_emptied_but_sent_away(world: World) -> None:
    line = world.join("n3")
    world.answer(line)
    world.change(drop=[("Node", "n3")])
    assert world.ends == [("n3", "this node is not part of the cluster any more")]


def test_a_second_session_of_a_node_ends_the_first(world: World) -> None:
    first = world.join("n1")
    second = world.join("n1")
    assert world.ends == [("n1", "another session of this node has begun")]
    world.hub.leave(first, "superseded")
    assert world.hub.serves("n1")
    world.hub.leave(second, "gone")
    assert not world.hub.serves("n1")


def test_a_hello_must_be_of_the_token_s_node_and_of_our_schema(world: World) -> None:
    with pytest.raises(ProtocolError, match="Hello of node 'n2', but the token is of node n1"):
        world.join("n1", says="n2")
    with pytest.raises(ProtocolError, match="bring both to the same version"):
        world.join("n1", schema="weft.dev/node/v9")


def test_progress_counts_the_nodes_that_need_an_object(world: World) -> None:
    assert world.text(POLICY) == "0/1"
    line = world.join("n1")
    assert world.text(POLICY) == "0/1"
    world.told.clear()
    world.answer(line)
    assert world.text(POLICY) == "1/1"
    assert POLICY in world.told[-1]
    world.change(o.pod("web-2", "10.0.0.9", node="n2", labels={"app": "web"}))
    look = world.hub.look(*POLICY)
    assert look is not None
    assert (look.progress.text, list(look.progress.lagging)) == ("1/2", ["n2"])
    assert look.result.nodes == ("n1", "n2")
    world.answer(world.join("n2"))
    assert world.text(POLICY) == "2/2"


def test_progress_names_a_refusal_with_its_reason(world: World) -> None:
    line = world.join("n1")
    world.answer(line, ("AuthorizationPolicy/shop/web", "rule 0: no"))
    look = world.hub.look(*POLICY)
    assert look is not None
    assert dict(look.progress.refused) == {"n1": "rule 0: no"}
    assert look.progress.text == "0/1"
    assert world.hub.metrics.refusals._value.get() == 1
    (status,) = world.hub.nodes
    assert (status.behind, list(status.refused)) == (0, ["AuthorizationPolicy/shop/web"])


def test_a_change_is_lagging_until_it_is_acknowledged(world: World) -> None:
    line = world.join("n1")
    world.answer(line)
    world.change(o.policy("AuthorizationPolicy", "web", {**ALLOW, "action": "DENY"}))
    assert world.text(POLICY) == "0/2"
    batch = world.hub.take(line)
    assert batch is not None
    assert world.text(POLICY) == "0/2", "sent is not in force"
    world.hub.acked(line, Ack(nonce=batch.nonce))
    assert world.text(POLICY) == "1/2"


def test_peer_authentication_is_in_force_with_the_workloads_it_is_part_of(world: World) -> None:
    key: ObjectKey = ("PeerAuthentication", "shop/default")
    lines = [world.join("n1"), world.join("n2")]
    for line in lines:
        world.answer(line)
    world.told.clear()
    world.change(o.policy("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}))
    assert key in world.told[-1]
    assert world.text(key) == "0/2"
    world.told.clear()
    world.answer(lines[0])
    assert key in set().union(*world.told)
    assert world.text(key) == "1/2"
    world.answer(lines[1], ("Workload/shop/api", "cannot"))
    look = world.hub.look(*key)
    assert look is not None
    assert dict(look.progress.refused) == {"n2": "cannot"}


def test_the_mesh_is_in_force_with_what_is_each_node_s_own(world: World) -> None:
    mesh: o.Doc = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": "default"},
        "spec": {"accessLog": "All"},
    }
    world.change(mesh)
    assert world.text(("Mesh", "default")) == "0/2"
    for name in ("n1", "n2", "n3"):
        world.answer(world.join(name))
    assert world.text(("Mesh", "default")) == "2/2"


def test_what_the_compiler_did_not_say_is_not_known(world: World) -> None:
    assert world.hub.look("AuthorizationPolicy", "shop/other") is None
    world.change(drop=[POLICY])
    assert world.hub.look(*POLICY) is None


def test_the_lag_counts_from_the_change_to_its_being_in_force(world: World) -> None:
    line = world.join("n1")
    world.answer(line)
    assert world.hub.metrics.lag._sum.get() == 0, "bringing a node up to date is no lag"
    world.change(o.service("web", 81))
    world.now += 0.25
    world.answer(line)
    assert world.hub.metrics.lag._sum.get() == pytest.approx(0.25)


def test_what_is_part_of_very_many_resources_is_told_of_once_in_a_while(world: World) -> None:
    calls: list[Callable[[], None]] = []
    hub = Hub(changed=world._changed, later=lambda _, call: calls.append(call))
    key: ObjectKey = ("PeerAuthentication", "shop/default")
    twin = Twin()
    hub.apply(twin.change([o.namespace("shop"), o.node("n1", "172.16.0.1"), o.pod("web", "10.0.0.1")]))
    for mode in ("STRICT", "DISABLE", "PERMISSIVE"):
        hub.apply(twin.change([o.policy("PeerAuthentication", "default", {"mtls": {"mode": mode}})]))
    world.told.clear()
    (call,) = calls
    call()
    assert world.told == [{key}]
