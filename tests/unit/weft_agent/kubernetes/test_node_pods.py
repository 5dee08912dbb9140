"""What was shown of a node's pods: gone is gone for ever, unseen is not gone."""

from weft_agent.kubernetes import node_pods
from weft_agent.kubernetes.node_pods import NodePods
from weft_contract.objects import Pod
from weft_contract.objects.metadata import Metadata
from weft_contract.objects.pod import PodStatus


def pod(uid: str, phase: str = "Running") -> Pod:
    return Pod(metadata=Metadata(namespace="shop", name=f"web-{uid}", uid=uid), status=PodStatus(phase=phase))


def test_a_pod_that_was_never_shown_is_not_gone() -> None:
    pods = NodePods()
    before = pods.synced
    pods.replace([pod("a")])
    assert (before, pods.synced) == (False, True)
    assert not pods.is_gone("a")
    assert not pods.is_gone("b")


def test_a_deleted_pod_is_gone_and_late_words_do_not_bring_it_back() -> None:
    pods = NodePods()
    assert pods.change("ADDED", pod("a"))
    assert pods.change("DELETED", pod("a"))
    assert pods.is_gone("a")
    assert not pods.change("MODIFIED", pod("a"))
    assert not pods.change("DELETED", pod("a"))
    pods.replace([pod("a"), pod("b")])
    assert list(pods.present) == ["b"]


def test_a_pod_that_is_deleted_before_it_was_shown_is_gone_too() -> None:
    pods = NodePods()
    assert pods.change("DELETED", pod("a"))
    assert pods.is_gone("a")


def test_what_a_later_list_lacks_is_gone() -> None:
    pods = NodePods()
    pods.replace([pod("a"), pod("b")])
    pods.replace([pod("b")])
    assert pods.is_gone("a")
    assert not pods.is_gone("b")


def test_an_event_that_changes_nothing_that_matters_is_no_change() -> None:
    pods = NodePods()
    pods.change("ADDED", pod("a"))
    assert not pods.change("MODIFIED", pod("a"))
    assert pods.change("MODIFIED", pod("a", "Succeeded"))


def test_the_memory_of_the_gone_is_bounded() -> None:
    pods = NodePods()
    for number in range(node_pods.GONE_MAX + 1):
        pods.change("DELETED", pod(str(number)))
    assert not pods.is_gone("0")
    assert pods.is_gone("1")
    assert pods.is_gone(str(node_pods.GONE_MAX))
