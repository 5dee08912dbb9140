"""Which collections are read: every kind once, in the version the server prefers; what is not there, and what may not be read."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from weft_cli.cluster.objects import Collection, custom_collections, document, fetch
from weft_cli.cluster.session import Session
from weft_operator.access import ApiError, NotFoundError
from weft_testing import objects as o

GATEWAY = "/apis/gateway.networking.k8s.io"


class Server:
    """Answers from a table; what is not in it is not found."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def get(self, path: str) -> Any:
        answer = self.answers.get(path)
        if answer is None:
            raise NotFoundError(f"GET {path}: 404", status=404)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def everything(self, path: str) -> list[Any]:
        return list(self.get(path)["items"])


def resources(*kinds: tuple[str, str]) -> dict[str, Any]:
    return {"resources": [{"kind": kind, "name": name, "verbs": ["get", "list"]} for kind, name in kinds]}


SERVED = {
    GATEWAY: {"preferredVersion": {"version": "v1"}, "versions": [{"version": "v1alpha2"}, {"version": "v1"}]},
    f"{GATEWAY}/v1": resources(("HTTPRoute", "httproutes"), ("HTTPRoute", "httproutes/status")),
    f"{GATEWAY}/v1alpha2": resources(("HTTPRoute", "httproutes"), ("TCPRoute", "tcproutes")),
}
NATIVE: dict[str, Any] = {
    path: {"items": []}
    for path in (
        "/api/v1/namespaces", "/api/v1/nodes", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices",
        "/apis/apps/v1/replicasets",
    )
}  # fmt: skip


def session(answers: Mapping[str, Any]) -> Session:
    return cast("Session", Server(answers))


def test_each_kind_is_read_in_the_preferred_version_that_has_it() -> None:
    assert custom_collections(session(SERVED), "gateway.networking.k8s.io") == [
        Collection("HTTPRoute", f"{GATEWAY}/v1/httproutes"),
        Collection("TCPRoute", f"{GATEWAY}/v1alpha2/tcproutes"),
    ]
    assert custom_collections(session({}), "gateway.networking.k8s.io") == []


def test_what_may_not_be_read_is_named_and_the_rest_is_read() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}}
    refused = ApiError("GET /apis/.../httproutes: 403 Forbidden: no", status=403)
    routes = {f"{GATEWAY}/v1/httproutes": refused, f"{GATEWAY}/v1alpha2/tcproutes": {"items": []}}
    found = fetch(session({**NATIVE, **SERVED, **routes, "/api/v1/pods": {"items": [pod]}}))
    assert found.documents == (document(pod),)
    assert found.documents[0].source == "cluster: Pod shop/a"
    assert found.unreadable == (str(refused),)


def test_of_the_experimental_channel_only_what_the_compiler_reads_is_listed() -> None:
    group, policy = "/apis/gateway.networking.x-k8s.io", o.backend_traffic("t", "web")
    served = {
        group: {"preferredVersion": {"version": "v1alpha1"}, "versions": [{"version": "v1alpha1"}]},
        f"{group}/v1alpha1": resources(("XBackendTrafficPolicy", "xbackendtrafficpolicies"), ("XMesh", "xmeshes")),
        f"{group}/v1alpha1/xbackendtrafficpolicies": {"items": [policy]},
    }
    found = fetch(session({**NATIVE, "/api/v1/pods": {"items": []}, **served}))
    assert [item.body for item in found.documents] == [policy]


def test_a_server_that_fails_is_not_taken_for_an_empty_one() -> None:
    broken = {**NATIVE, "/api/v1/pods": ApiError("GET /api/v1/pods: 500", status=500)}
    with pytest.raises(ApiError, match="500"):
        fetch(session(broken))
