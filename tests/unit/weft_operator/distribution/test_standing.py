"""Progress over several replicas: the leader knows of every node what the replica that serves it knows, and no more."""

from collections.abc import Callable, Iterable

import pytest

from weft_contract.resources.document import SCHEMA
from weft_contract.stream import Ack, Hello
from weft_operator.compile.view import ObjectKey
from weft_operator.distribution import Caller, Hub
from weft_operator.distribution.hub import Line
from weft_operator.distribution.standing import FORGET_S
from weft_operator.live import Delta
from weft_testing import objects as o
from weft_testing.live import Twin

POLICY: ObjectKey = ("AuthorizationPolicy", "shop/web")
WIDE: ObjectKey = ("PeerAuthentication", "weft-system/default")


def at_once(_: float, call: Callable[[], None]) -> None:
    call()


class Replicas:
    """A leader and another replica, each with its own hub, of the same cluster."""

    def __init__(self) -> None:
        self.twin = Twin()
        self.told: set[ObjectKey] = set()
        self.leader, self.other = Hub(changed=self._changed, later=at_once), Hub(later=at_once)
        self.now = 0.0
        self.asked = 0
        self.change(
            *(o.node(name, f"172.16.0.{number}") for number, name in enumerate(("n1", "n2", "n3"), 1)),
            o.namespace("shop"),
            *(o.pod(f"web{number}", f"10.0.0.{number}", node=f"n{number}", labels={"app": "web"}) for number in (1, 2)),
            self.policy("ALLOW"),
        )

    def _changed(self, keys: Iterable[ObjectKey]) -> None:
        self.told |= set(keys)

    def policy(self, action: str) -> o.Doc:
        spec = {"action": action, "rules": [{"to": [{"operation": {"paths": ["/a"]}}]}]}
        return o.policy("AuthorizationPolicy", "web", spec)

    def change(self, *put: o.Doc) -> Delta:
        delta = self.twin.change(put)
        self.leader.apply(delta)
        self.other.apply(delta)
        return delta

    def join(self, hub: Hub, node: str) -> Line:
        hello = Hello(node=node, build="t", schema=SCHEMA, have={})
        line = hub.join(Caller(node=node), hello, lambda: None, lambda text, after: None)
        self.answer(hub, line)
        return line

    def answer(self, hub: Hub, line: Line, refuse: str = "") -> None:
        batch = hub.take(line)
        if batch is not None:
            refused = tuple((item.key, item.hash, "no") for item in batch.upserts if item.key == refuse)
            hub.acked(line, Ack(nonce=batch.nonce, refused=refused))

    def ask(self) -> None:
        """Let the leader ask once."""
        self.now += 1
        question = self.leader.elsewhere.question("other", self.now)
        self.asked = len(question.keys)
        self.leader.heard(question, self.other.answer(question, "other"), self.now)

    def text(self, key: ObjectKey = POLICY) -> str:
        look = self.leader.look(*key)
        assert look is not None
        return look.progress.text


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


def test_nodes_of_both_replicas_count(replicas: Replicas) -> None:
    replicas.join(replicas.leader, "n1")
    replicas.join(replicas.other, "n2")
    assert replicas.text() == "1/2", "nothing is known of the other's nodes yet"
    replicas.told.clear()
    replicas.ask()
    assert replicas.text() == "2/2"
    assert POLICY in replicas.told
    replicas.ask()
    replicas.ask()
    assert replicas.asked == 0, "what is known is not asked about again"


def test_a_change_is_known_when_it_is_acknowledged_there(replicas: Replicas) -> None:
    replicas.join(replicas.leader, "n1")
    line = replicas.join(replicas.other, "n2")
    replicas.text()
    replicas.ask()
    replicas.ask()
    replicas.change(replicas.policy("DENY"))
    assert replicas.text() == "0/2"
    replicas.ask()
    assert replicas.text() == "0/2"
    replicas.answer(replicas.other, line)
    assert replicas.text() == "0/2"
    replicas.ask()
    assert replicas.text() == "1/2"
    assert replicas.asked == 1


def test_a_replica_that_is_behind_says_nothing_of_what_it_does_not_know(replicas: Replicas) -> None:
    line = replicas.join(replicas.other, "n2")
    replicas.text()
    replicas.ask()
    replicas.ask()
    delta = replicas.twin.change([replicas.policy("DENY")])
    replicas.leader.apply(delta)
    replicas.text()
    replicas.ask()
    assert replicas.text() == "0/2", "its node has the old version in force"
    replicas.other.apply(delta)
    replicas.answer(replicas.other, line)
    replicas.ask()
    assert replicas.text() == "1/2"


def test_a_refusal_elsewhere_comes_with_its_reason(replicas: Replicas) -> None:
    line = replicas.join(replicas.other, "n2")
    replicas.change(replicas.policy("DENY"))
    replicas.answer(replicas.other, line, "AuthorizationPolicy/shop/web")
    replicas.text()
    replicas.ask()
    replicas.ask()
    look = replicas.leader.look(*POLICY)
    assert look is not None
    assert dict(look.progress.refused) == {"n2": "no"}
    replicas.change(replicas.policy("ALLOW"))
    replicas.answer(replicas.other, line)
    replicas.ask()
    assert replicas.text() == "1/2"


def test_a_node_that_comes_again_is_asked_about_anew_and_the_others_stay_known(replicas: Replicas) -> None:
    first = replicas.join(replicas.other, "n1")
    second = replicas.join(replicas.other, "n2")
    replicas.text()
    replicas.ask()
    replicas.ask()
    assert replicas.text() == "2/2"
    replicas.other.leave(second, "gone")
    replicas.ask()
    assert replicas.text() == "1/2"
    replicas.join(replicas.other, "n2")
    replicas.ask()
    assert replicas.text() == "1/2", "it was not asked about since it is back"
    replicas.ask()
    assert replicas.text() == "2/2"
    replicas.other.leave(first, "gone")
    replicas.join(replicas.leader, "n1")
    assert replicas.text() == "2/2"


def test_a_replica_that_is_silent_is_forgotten_with_its_nodes(replicas: Replicas) -> None:
    replicas.join(replicas.other, "n2")
    replicas.text()
    replicas.ask()
    replicas.ask()
    assert replicas.text() == "1/2"
    replicas.leader.forget_silent(replicas.now + FORGET_S)
    assert replicas.text() == "1/2"
    replicas.told.clear()
    replicas.leader.forget_silent(replicas.now + FORGET_S + 1)
    assert replicas.text() == "0/2"
    assert POLICY in replicas.told


def test_what_is_part_of_many_resources_is_known_too(replicas: Replicas) -> None:
    replicas.change(o.policy("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, namespace="weft-system"))
    replicas.join(replicas.leader, "n1")
    replicas.join(replicas.other, "n2")
    assert replicas.text(WIDE) == "1/2"
    replicas.ask()
    replicas.ask()
    assert replicas.text(WIDE) == "2/2"


def test_another_place_of_the_same_resource_is_another_question(replicas: Replicas) -> None:
    replicas.join(replicas.leader, "n1")
    replicas.join(replicas.other, "n2")
    third = replicas.join(replicas.other, "n3")
    replicas.text()
    replicas.ask()
    replicas.ask()
    assert replicas.text() == "2/2"
    replicas.change(o.pod("web3", "10.0.0.3", node="n3", labels={"app": "web"}))
    assert replicas.text() == "1/3"
    replicas.answer(replicas.other, third)
    replicas.ask()
    assert replicas.text() in {"2/3", "3/3"}
    replicas.ask()
    assert replicas.text() == "3/3"
