"""Which nodes a root's replacement waits for: all that run members or are connected, until each has exactly these roots."""

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import Ack, Hello
from weft_operator.ca import create_root
from weft_operator.distribution import Caller, Hub
from weft_operator.distribution.hub import Line
from weft_operator.distribution.trust import lacking_roots
from weft_testing import objects as o
from weft_testing.live import Twin

OLD, NEW = (create_root("cluster.local", now_unix_s=1.8e9).certificate_pem.decode() for _ in range(2))


def join(hub: Hub, node: str) -> Line:
    hello = Hello(node=node, build="t", schema=SCHEMA, have={})
    return hub.join(Caller(node=node), hello, lambda: None, lambda text, after: None)


def settle(hub: Hub, line: Line) -> None:
    batch = hub.take(line)
    assert batch is not None
    hub.acked(line, Ack(nonce=batch.nonce))


def test_every_node_with_members_and_every_connected_one() -> None:
    twin, hub = Twin(), Hub(later=lambda _, call: call())
    assert lacking_roots(hub, "cluster.local", [OLD]) is None, "nothing is known yet"
    nodes = [o.node(name, f"172.16.0.{number}") for number, name in enumerate(("n1", "n2", "n3", "n4"), 1)]
    pods = [o.pod("a", "10.0.0.1", node="n1"), o.pod("b", "10.0.0.2", node="n2")]
    hub.apply(twin.change([*nodes, o.namespace("shop"), *pods], bundles={"cluster.local": (OLD,)}))
    assert lacking_roots(hub, "cluster.local", [OLD]) == ("n1", "n2")
    lines = [join(hub, node) for node in ("n1", "n2", "n3")]
    assert lacking_roots(hub, "cluster.local", [OLD]) == ("n1", "n2", "n3"), "n4 has neither member nor agent"
    for line in lines:
        settle(hub, line)
    assert lacking_roots(hub, "cluster.local", [OLD]) == ()
    assert lacking_roots(hub, "cluster.local", [OLD, NEW]) == ("n1", "n2", "n3"), "the compiler does not know it yet"
    hub.apply(twin.change(bundles={"cluster.local": (OLD, NEW)}))
    settle(hub, lines[0])
    assert lacking_roots(hub, "cluster.local", [NEW, OLD]) == ("n2", "n3")
    settle(hub, lines[1])
    settle(hub, lines[2])
    assert lacking_roots(hub, "cluster.local", [NEW, OLD]) == ()
    hub.leave(lines[1], "gone")
    assert lacking_roots(hub, "cluster.local", [NEW, OLD]) == ("n2",), "it runs members and cannot be asked"
    hub.leave(lines[2], "gone")
    assert lacking_roots(hub, "cluster.local", [NEW, OLD]) == ("n2",)


def test_a_mesh_without_nodes_lacks_nothing() -> None:
    twin, hub = Twin(), Hub(later=lambda _, call: call())
    hub.apply(twin.change([o.namespace("shop")]))
    assert lacking_roots(hub, "cluster.local", [OLD]) == ()
