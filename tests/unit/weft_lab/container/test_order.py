"""Orders survive the way to the small program unchanged."""

from weft_lab.container.order import Bind, JoinOrder, NodeOrder, PodOrder, Program, read_order, write_order

PROGRAM = Program(("sh", "-c", "echo ü"), {"A": "b"}, "/srv", 1, 2, (3, 4), ("NET_ADMIN",), ("ALL",), False, True)


def test_pod_orders() -> None:
    order = PodOrder("/run/netns/x", "pod", "/d", "/h", "text\n", (Bind("/a", "/b", True),), PROGRAM, True)
    assert read_order(write_order(order), PodOrder) == order


def test_join_orders() -> None:
    order = JoinOrder(7, 123456, PROGRAM)
    assert read_order(write_order(order), JoinOrder) == order


def test_node_orders() -> None:
    order = NodeOrder("/run/netns/n", "/run/x", (Bind("/a", "b"), Bind("/c", "d", True)), PROGRAM)
    assert read_order(write_order(order), NodeOrder) == order
