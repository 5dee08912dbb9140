"""The other replicas, out of the slices of our own Service."""

from weft_operator.compile import Document, hold_document
from weft_operator.compile.view import Held
from weft_operator.reflect import Seen
from weft_operator.server.siblings import Siblings
from weft_testing.objects import Doc


def slice_of(
    name: str, *addresses: str, service: str = "weft-operator", family: str = "IPv4", ready: bool = True
) -> Seen:
    body: Doc = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "weft-system", "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"name": "webhooks", "port": 15017}, {"name": "stream", "port": 15010}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    }
    held = hold_document(Document(source="", body=body))
    assert isinstance(held, Held)
    return Seen("EndpointSlice", f"weft-system/{name}", "1", held)


def test_each_replica_is_named_once() -> None:
    siblings = Siblings("weft-system", "weft-operator")
    assert siblings.urls() == ()
    siblings.apply(
        [
            slice_of("b", "fd00::1", "fd00::2", family="IPv6"),
            slice_of("a", "10.0.0.2", "10.0.0.1"),
            slice_of("other", "10.0.0.9", service="web"),
            slice_of("gone", "10.0.0.8", ready=False),
        ]
    )
    assert siblings.urls() == ["https://10.0.0.1:15010", "https://10.0.0.2:15010"]
    siblings.apply([Seen("EndpointSlice", "weft-system/a", "2", None), Seen("Pod", "weft-system/b", "2", None)])
    siblings.apply([Seen("EndpointSlice", "weft-system/gone", "2", None)])
    assert siblings.urls() == ["https://[fd00::1]:15010", "https://[fd00::2]:15010"]
