"""Which node may have which identity: exactly where such a pod is there, in the mesh, with a network of its own."""

import pytest

from weft_operator.identity import PodIndex
from weft_testing import objects as o
from weft_testing.live import held


def index(*bodies: o.Doc) -> PodIndex:
    pods = PodIndex()
    change(pods, *bodies)
    return pods


def change(pods: PodIndex, *bodies: o.Doc) -> None:
    found = [held(body) for body in bodies]
    pods.apply({item.key: item for item in found})


WEB = o.pod("web", "10.0.0.1", node="n1", account="web")


def test_a_pod_that_is_there_gives_its_node_its_identity() -> None:
    pods = index(o.namespace("shop"), WEB)
    assert pods.objection("n1", "shop", "web") is None


@pytest.mark.parametrize(
    "place", [("n2", "shop", "web"), ("n1", "other", "web"), ("n1", "shop", "default"), ("", "shop", "web")]
)
def test_no_other_place_has_it(place: tuple[str, str, str]) -> None:
    objection = index(o.namespace("shop"), o.namespace("other"), WEB).objection(*place)
    assert objection is not None
    assert f"no pod of service account {place[1]}/{place[2]} is on node {place[0]}" in objection


def test_a_pod_without_an_account_has_the_default_one() -> None:
    pods = index(o.namespace("shop"), o.pod("web", "10.0.0.1", node="n1"))
    assert pods.objection("n1", "shop", "default") is None


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        (o.pod("web", "10.0.0.1", account="web", labels={"weft.dev/mesh": "disabled"}), "did not opt in: label it"),
        (o.pod("web", "10.0.0.1", account="web", spec={"hostNetwork": True}), "uses the node's network"),
        ({**WEB, "status": {"phase": "Succeeded"}}, "has finished"),
        ({**WEB, "status": {"phase": "Failed"}}, "has finished"),
    ],
)
def test_a_pod_that_is_not_a_member_gives_nothing(pod: o.Doc, says: str) -> None:
    objection = index(o.namespace("shop"), pod).objection("n1", "shop", "web")
    assert objection is not None
    assert says in objection


def test_one_member_is_enough() -> None:
    other = o.pod("a", "10.0.0.2", account="web", labels={"weft.dev/mesh": "disabled"})
    assert index(o.namespace("shop"), other, WEB).objection("n1", "shop", "web") is None


def test_a_pod_that_starts_or_is_being_deleted_is_there_until_it_is_gone() -> None:
    starting: o.Doc = {**WEB, "status": {"phase": "Pending"}}
    pods = index(o.namespace("shop"), starting)
    assert pods.objection("n1", "shop", "web") is None
    leaving = o.pod("web", account="web", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    change(pods, leaving)
    assert pods.objection("n1", "shop", "web") is None
    pods.apply({("Pod", "shop/web"): None})
    assert pods.objection("n1", "shop", "web") is not None
    assert len(pods) == 0


def test_a_pod_that_is_made_again_elsewhere_moves_its_identity() -> None:
    pods = index(o.namespace("shop"), WEB)
    change(pods, o.pod("web", "10.0.0.2", node="n2", account="web"))
    assert pods.objection("n1", "shop", "web") is not None
    assert pods.objection("n2", "shop", "web") is None


def test_the_namespace_s_label_counts_and_may_change() -> None:
    pods = index(WEB)
    assert pods.objection("n1", "shop", "web") is not None, "its namespace is not known"
    change(pods, o.namespace("shop"))
    assert pods.objection("n1", "shop", "web") is None
    change(pods, o.namespace("shop", mesh="disabled"))
    assert pods.objection("n1", "shop", "web") is not None
    change(pods, o.namespace("shop"))
    pods.apply({("Namespace", "shop"): None})
    assert pods.objection("n1", "shop", "web") is not None


def test_a_pod_runs_by_its_uid_on_its_node() -> None:
    pods = index(WEB)
    assert pods.runs("uid-shop-web", "n1", "shop/web")
    assert not pods.runs("uid-shop-web", "n2", "shop/web")
    assert not pods.runs("uid-of-another", "n1", "shop/web")
    assert not pods.runs("uid-shop-web", "n1", "shop/other")
    pods.apply({("Pod", "shop/web"): None})
    assert not pods.runs("uid-shop-web", "n1", "shop/web")
