"""Pods by label."""

from collections.abc import Mapping

from weft_contract.objects import Pod, decode_object
from weft_operator.compile.pod_index import PodIndex
from weft_testing import objects as o


def _pod(name: str, labels: Mapping[str, str], namespace: str = "shop") -> Pod:
    item = decode_object(o.pod(name, labels=labels, namespace=namespace), "x")
    assert isinstance(item, Pod)
    return item


def test_pods_are_found_by_labels() -> None:
    pods = [
        _pod("a", labels={"app": "x", "v": "1"}),
        _pod("b", labels={"app": "x", "v": "2"}),
        _pod("c", labels={"app": "x", "v": "1"}, namespace="other"),
    ]
    index = PodIndex(pods)

    def names(namespace: str | None, **wanted: str) -> list[str]:
        return sorted(pod.metadata.name for pod in index.select(namespace, wanted))

    assert names("shop") == ["a", "b"]
    assert names("shop", app="x") == ["a", "b"]
    assert names("shop", app="x", v="1") == ["a"]
    assert names(None, v="1") == ["a", "c"]
    assert names("shop", app="y") == names("nowhere") == names("shop", app="x", z="1") == []
