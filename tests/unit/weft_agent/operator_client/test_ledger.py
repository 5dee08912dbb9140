"""What the node holds: the last good version of everything, told truthfully, whatever is refused in whatever order."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.ledger import UNSURE, Ledger, WorkerRefusal, judge
from weft_contract.codec import digest, encode
from weft_contract.resources import Node, Resource, Service, TrustBundle, Workload, resource_key
from weft_contract.stream import Ack
from weft_testing.node_resources import NODE, workload


def item(resource: Resource) -> tuple[str, bytes]:
    body = encode(resource)
    return digest(body), body


def change(*resources: Resource, removes: Iterable[str] = (), nonce: int = 1) -> Change:
    return Change((nonce,), {resource_key(each): item(each) for each in resources}, frozenset(removes))


def service(name: str, *addresses: str) -> Service:
    return Service(namespace="shop", name=name, addresses=addresses)


class Node1:
    """A ledger with workers that refuse what they are told to refuse."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.generation = 0

    def take(self, taken: Change) -> None:
        self.generation += 1
        self.ledger.take(judge(taken, "n1"), self.generation)

    def confirm(self, **refused: str) -> tuple[Ack, ...]:
        refusals = [WorkerRefusal(self.generation, f"Service/shop/{name}", reason) for name, reason in refused.items()]
        acks, changed = self.ledger.confirm(refusals)
        if changed:
            self.generation += 1
        return acks


def hashes(node: Node1) -> dict[str, str]:
    return {key: content_hash for key, (content_hash, _) in node.ledger.entries.items()}


def test_what_is_confirmed_is_held() -> None:
    node = Node1()
    node.take(change(NODE, service("web"), workload("a", "10.0.0.1"), TrustBundle(trust_domain="x", roots=("r",))))
    assert set(node.ledger.have().values()) == {UNSURE}, "in flight is not held yet"
    assert node.confirm() == (Ack(nonce=1),)
    assert node.ledger.have() == hashes(node)
    config = node.ledger.config("operator")
    assert config.node == NODE
    assert [each.name for each in config.workloads] == ["a"]
    assert [each.trust_domain for each in config.bundles] == ["x"]
    assert node.ledger.confirmed == node.ledger.entries
    node.take(change(removes=["Workload/shop/a", "Service/shop/web"], nonce=2))
    assert node.confirm() == (Ack(nonce=2),)
    assert set(node.ledger.have()) == {"Node/n1", "TrustBundle/x"}
    assert node.ledger.config("operator").workloads == ()


BAD = {
    "hash": (resource_key(service("web")), ("0" * 32, encode(service("web", "10.0.0.9")))),
    "key": ("Service/shop/web", item(service("other"))),
    "unknown field": ("Service/shop/web", (digest(b := b'{"kind":"Service","new":1}'), b)),
    "unknown kind": ("Service/shop/web", (digest(b := b'{"kind":"Teapot"}'), b)),
    "no JSON": ("Service/shop/web", (digest(b"{"), b"{")),
}


@pytest.mark.parametrize(("key", "bad"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_keeps_its_last_good_version_and_is_named(key: str, bad: tuple[str, bytes]) -> None:
    node = Node1()
    node.take(change(service("web", "10.0.0.1"), service("two")))
    node.confirm()
    before = node.ledger.entries
    node.take(Change((2,), {key: bad, **change(service("three")).upserts}, frozenset()))
    (ack,) = node.confirm()
    assert [(refused[0], refused[1]) for refused in ack.refused] == [(key, bad[0])]
    assert ack.refused[0][2]
    assert node.ledger.entries[key] == before[key]
    assert "Service/shop/three" in node.ledger.entries
    assert node.ledger.have()[key] == before[key][0], "the operator hears of the old version and sends again"


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (workload("a", "10.0.0.300"), "address"),
        (replace(workload("a"), identity="spiffe://x/a/../b"), "segment"),
        (replace(NODE, trust_domain="Upper"), "trust domain"),
        (TrustBundle(trust_domain="a/b", roots=("r",)), "trust domain"),
    ],
)
def test_what_control_itself_could_not_work_with_is_refused_before_it_tries(resource: Resource, reason: str) -> None:
    node = Node1()
    node.take(change(resource))
    (ack,) = node.confirm()
    assert reason in ack.refused[0][2]
    assert not node.ledger.entries


def test_what_was_never_taken_is_asked_for_again_so_that_its_removal_is_heard_of() -> None:
    node = Node1()
    node.take(Change((1,), {"Service/shop/web": (digest(b"{"), b"{")}, frozenset()))
    node.confirm()
    assert node.ledger.have() == {"Service/shop/web": UNSURE}
    node.take(change(removes=["Service/shop/web"], nonce=2))
    node.confirm()
    assert not node.ledger.have()
    assert not node.ledger.refusals


def test_another_nodes_description_is_refused() -> None:
    node = Node1()
    node.take(change(Node(name="n2", trust_domain="x")))
    (ack,) = node.confirm()
    assert "this agent is of 'n1'" in ack.refused[0][2]
    assert not node.ledger.entries


def test_what_workers_refuse_goes_back_to_the_last_good_version() -> None:
    node = Node1()
    node.take(change(service("web", "10.0.0.1"), workload("web", "10.0.0.1")))
    node.confirm()
    good = node.ledger.entries["Service/shop/web"]
    node.take(change(service("web", "nonsense"), nonce=2))
    (ack,) = node.confirm(web="no address")
    assert ack == Ack(nonce=2, refused=(("Service/shop/web", item(service("web", "nonsense"))[0], "no address"),))
    assert node.ledger.entries["Service/shop/web"] == good
    assert node.ledger.have()["Service/shop/web"] == good[0]
    assert node.ledger.refusals
    node.take(change(service("web", "10.0.0.2"), nonce=3))
    assert node.confirm() == (Ack(nonce=3),)
    assert not node.ledger.refusals


def test_a_workload_that_goes_back_is_the_old_one_again() -> None:
    node = Node1()
    old, new = workload("a", "10.0.0.1"), workload("a", "10.0.0.2")
    node.take(change(old))
    node.confirm()
    node.take(change(new, nonce=2))
    assert node.ledger.config("operator").workloads == (new,)
    node.ledger.confirm([WorkerRefusal(node.generation, "Workload/shop/a", "no")])
    assert node.ledger.config("operator").workloads == (old,)


def test_a_refused_version_without_a_good_one_stays_and_is_never_called_held() -> None:
    """Workers put something in its place that refuses."""
    node = Node1()
    node.take(change(service("web", "nonsense")))
    node.confirm(web="no address")
    assert "Service/shop/web" in node.ledger.entries
    assert node.ledger.have() == {"Service/shop/web": UNSURE}
    node.take(change(service("web", "nonsense"), nonce=2))  # sent again by the next session; no worker is asked again
    (ack,) = node.confirm()
    assert [refused[0] for refused in ack.refused] == ["Service/shop/web"]
    node.take(change(removes=["Service/shop/web"], nonce=3))
    assert node.confirm() == (Ack(nonce=3),)
    assert node.ledger.have() == {}


def test_going_back_to_the_last_good_version_ends_a_refusal() -> None:
    node = Node1()
    node.take(change(service("web", "10.0.0.1")))
    node.confirm()
    node.take(change(service("web", "nonsense"), nonce=2))
    node.confirm(web="no")
    node.take(change(service("web", "10.0.0.1"), nonce=3))
    assert node.confirm() == (Ack(nonce=3),)
    assert not node.ledger.refusals


def test_a_removal_that_workers_refuse_is_taken_back() -> None:
    node = Node1()
    node.take(change(NODE))
    node.confirm()
    node.take(change(removes=["Node/n1"], nonce=2))
    acks, changed = node.ledger.confirm([WorkerRefusal(node.generation, "Node/n1", "the Node is gone")])
    assert changed
    assert acks == (Ack(nonce=2),), "no hash was sent that could be refused"
    assert node.ledger.refusals == {"Node/n1": (UNSURE, "the Node is gone")}
    assert node.ledger.config("operator").node == NODE


def test_a_late_refusal_of_an_older_version_does_not_count() -> None:
    """Two changes in flight at once, because a worker was slow."""
    node = Node1()
    node.take(change(service("web", "nonsense")))
    first = node.generation
    node.take(change(service("web", "10.0.0.1"), nonce=2))
    acks, changed = node.ledger.confirm([WorkerRefusal(first, "Service/shop/web", "no")])
    assert [ack.nonce for ack in acks] == [1, 2]
    assert not changed
    assert not node.ledger.refusals


def test_refusals_of_what_is_not_in_flight_do_not_count() -> None:
    """A worker that starts anew tells again what it refuses."""
    node = Node1()
    node.take(change(service("web", "10.0.0.1")))
    node.confirm()
    node.take(change(service("two"), nonce=2))
    (ack,) = node.confirm(web="no")
    assert ack.refused == ()


def test_an_ended_sessions_nonces_are_acknowledged_to_nobody() -> None:
    node = Node1()
    node.take(change(service("web")))
    node.ledger.forget_nonces()
    assert node.confirm() == ()
    assert node.ledger.have() == hashes(node)


VERSIONS = st.sampled_from(["good1", "good2", "bad", "unreadable", "gone"])
STEPS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abc"), VERSIONS, min_size=1), st.booleans()), min_size=1, max_size=12
)


def version(name: str, what: str) -> tuple[str, bytes]:
    if what == "unreadable":
        return digest(b"{"), b"{"
    return item(service(name, what))


@settings(max_examples=300)
@given(STEPS)
def test_after_any_history_the_last_good_version_is_in_force_and_every_refusal_is_told(
    steps: list[tuple[dict[str, str], bool]],
) -> None:
    """Against a model that knows for each name its last good version; workers refuse `bad`."""
    node = Node1()
    good: dict[str, str | None] = dict.fromkeys("abc")
    told_last = dict(good)  # what workers were told last, refused or not
    pending: dict[str, str] = {}
    worker: dict[str, str] = {}  # what a worker was told, so that it refuses what is new to it only
    refused: list[WorkerRefusal] = []
    nonce = 0
    for wanted, confirmed in [*steps, ({"a": "good1"}, True)]:
        nonce += 1
        upserts = {f"Service/shop/{name}": version(name, what) for name, what in wanted.items() if what != "gone"}
        removes = frozenset(f"Service/shop/{name}" for name, what in wanted.items() if what == "gone")
        node.take(Change((nonce,), upserts, removes))
        pending |= wanted
        told_last |= {name: None if what == "gone" else what for name, what in wanted.items() if what != "unreadable"}
        told = {key: content_hash for key, (content_hash, _) in node.ledger.entries.items()}
        refused += [
            WorkerRefusal(node.generation, key, "bad")
            for key in told
            if told[key] == version(key[-1], "bad")[0] and worker.get(key) != told[key]
        ]
        worker = told
        if not confirmed:
            continue
        acks, _ = node.ledger.confirm(refused)
        refused = []
        worker = {key: content_hash for key, (content_hash, _) in node.ledger.entries.items()}
        assert acks[-1].nonce == nonce
        good |= {name: what for name, what in told_last.items() if what != "bad"}
        told_last |= {name: what for name, what in good.items() if what is not None}
        for name in "abc":
            key = f"Service/shop/{name}"
            last = pending.get(name, "gone")
            in_force = good[name]
            if in_force is not None:
                assert node.ledger.entries[key] == version(name, in_force)
                assert node.ledger.have()[key] == version(name, in_force)[0]
            else:
                assert node.ledger.have().get(key, UNSURE) == UNSURE
            assert (key in node.ledger.refusals) == (last in {"bad", "unreadable"})
            if last == "gone":
                assert key not in node.ledger.entries
        recent = {name for name in wanted if wanted[name] in {"bad", "unreadable"}}
        assert {f"Service/shop/{name}" for name in recent} <= {each[0] for each in acks[-1].refused}


def test_the_digest_follows_content_and_not_history() -> None:
    one, two = Node1(), Node1()
    one.take(change(service("a"), service("b")))
    two.take(change(service("b")))
    two.take(change(service("c")))
    two.take(change(service("a"), removes=["Service/shop/c"]))
    assert one.ledger.config("operator").digest == two.ledger.config("operator").digest
    two.take(change(service("a", "10.0.0.1")))
    assert one.ledger.config("operator").digest != two.ledger.config("operator").digest


def test_a_workload_that_became_unreadable_stays_what_it_was() -> None:
    node = Node1()
    old: Workload = workload("a", "10.0.0.1")
    node.take(change(old))
    node.confirm()
    node.take(Change((2,), {"Workload/shop/a": (digest(b"{"), b"{")}, frozenset()))
    node.confirm()
    assert node.ledger.config("operator").workloads == (old,)
