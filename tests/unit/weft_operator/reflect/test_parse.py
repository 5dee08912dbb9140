"""Bytes of lists and watches: pruned objects, the same as out of files; errors; what cannot be read."""

import msgspec
import pytest

from weft_contract import objects
from weft_operator.access import ApiError, ExpiredError, UnreachableError
from weft_operator.compile import Document, Held, hold_document
from weft_operator.reflect import REFLECTED
from weft_operator.reflect.parse import Bookmark, Seen, Unreadable, parse_event, parse_page
from weft_testing import objects as o
from weft_testing.scale import Scale


def event(kind: str, body: object, type_: str = "ADDED") -> Seen | Unreadable | Bookmark:
    reflected = REFLECTED[kind]
    line = msgspec.json.encode({"type": type_, "object": body})
    return parse_event(reflected, reflected.versions[0], line)


def test_everything_reads_as_it_does_out_of_a_file() -> None:
    for body in Scale(services=5, nodes=2, namespaces=2, route_every=2).documents():
        kind = str(body["kind"])
        found = event(kind, body)
        assert isinstance(found, Seen)
        assert found.held == hold_document(Document(source="", body=body)), kind


def test_items_of_a_list_need_not_say_what_they_are() -> None:
    data = msgspec.json.encode(
        {
            "kind": "PodList",
            "metadata": {"resourceVersion": "9"},
            "items": [{"metadata": {"name": "p", "namespace": "n", "resourceVersion": "7"}, "spec": {"nodeName": "x"}}],
        }
    )
    page = parse_page(REFLECTED["Pod"], "v1", data)
    assert page.version == "9"
    (seen,) = page.items
    assert isinstance(seen, Seen)
    assert (seen.key, seen.version) == ("n/p", "7")
    assert seen.held is not None
    assert isinstance(seen.held.item, objects.Pod)
    assert seen.held.item.spec.node_name == "x"


def test_nulls_of_other_peoples_objects_are_nothing() -> None:
    metadata = {"name": "p", "namespace": "n", "labels": None, "creationTimestamp": None}
    found = event("Pod", {"metadata": metadata, "spec": {"containers": [{"ports": None}]}})
    assert isinstance(found, Seen)
    assert isinstance(found.held, Held)
    assert found.held.broken is None


def test_a_broken_policy_is_kept_as_a_broken_one() -> None:
    body = o.policy("AuthorizationPolicy", "a", {"action": "ALLOW", "rulez": []})
    found = event("AuthorizationPolicy", body)
    assert isinstance(found, Seen)
    assert found.held is not None
    assert found.held.broken is not None
    assert "rulez" in found.held.broken


def test_what_cannot_be_read_at_all_says_why() -> None:
    found = event("Pod", {"metadata": {"name": "p", "namespace": "n", "resourceVersion": "3"}, "spec": []})
    assert isinstance(found, Unreadable)
    assert (found.key, found.version) == ("n/p", "3")
    assert found.problems[0].path == "$.spec"


def test_deletions_and_bookmarks() -> None:
    metadata = {"name": "x", "resourceVersion": "5"}
    assert event("Node", {"metadata": metadata, "spec": []}, "DELETED") == Seen("Node", "x", "5", None)
    assert event("Node", {"kind": "Node", "metadata": {"resourceVersion": "8"}}, "BOOKMARK") == Bookmark("8")


def test_errors_of_a_watch() -> None:
    with pytest.raises(ExpiredError, match="too old resource version"):
        event(
            "Pod", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}, "ERROR"
        )
    with pytest.raises(ApiError, match="500"):
        event("Pod", {"kind": "Status", "code": 500, "message": "etcd"}, "ERROR")


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type":"NEW","object":{}}', b'{"type":"ADDED","object":7}'])
def test_nonsense_is_a_broken_connection(line: bytes) -> None:
    with pytest.raises(UnreachableError):
        parse_event(REFLECTED["Pod"], "v1", line)
    with pytest.raises(UnreachableError):
        parse_page(REFLECTED["Pod"], "v1", line)
