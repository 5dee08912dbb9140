"""Canonical bytes, hashes, and decoding that reports every problem."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_contract import codec
from weft_contract.problems import ContractError
from weft_contract.resources import (
    AuthorizationPolicy,
    Capture,
    Endpoint,
    Endpoints,
    Node,
    Resource,
    Rule,
    Service,
    ServicePort,
    Telemetry,
    TextMatch,
    TrustBundle,
    Workload,
)
from weft_contract.resources.policy import RateLimit, Source

_NODE = Node(name="n1", trust_domain="cluster.local")
_WORKLOAD = Workload(
    namespace="shop",
    name="web",
    uid="u",
    service_account="web",
    identity="spiffe://cluster.local/ns/shop/sa/web",
    addresses=("10.0.0.1",),
)
_SOME: list[Resource] = [
    _NODE,
    _WORKLOAD,
    Telemetry(),
    TrustBundle(trust_domain="cluster.local", roots=("pem",)),
    Service(namespace="shop", name="web", ports=(ServicePort(port=80, protocol="http"),)),
    Endpoints(namespace="shop", service="web", port=80, endpoints=(Endpoint(address="10.0.0.1", port=8080),)),
    AuthorizationPolicy(
        namespace="shop",
        name="web",
        rules=(Rule(sources=(Source(principals=(TextMatch(kind="prefix", value="a"),)),)),),
    ),
]


def _fresh(text: str) -> str:
    """An equal text that is another object, as a parser makes it."""
    return "".join([text[:1], text[1:]])


@pytest.mark.parametrize("resource", _SOME, ids=lambda item: type(item).__name__)
def test_a_resource_survives_its_bytes(resource: Resource) -> None:
    data = codec.encode(resource)
    assert codec.decode_resource(data) == resource
    assert codec.encode(codec.decode_resource(data)) == data


def test_defaults_are_left_out_whoever_made_the_equal_value() -> None:
    telemetry = Telemetry(access_log=_fresh("errors"), access_log_sampling_percent=float("100"))  # type: ignore[arg-type]  # made at run time
    assert codec.encode(telemetry) == codec.encode(Telemetry()) == b'{"kind":"Telemetry"}'
    explicit = msgspec.structs.replace(_WORKLOAD, capture=Capture(preserve_source=True), ports=())
    assert codec.encode(explicit) == codec.encode(_WORKLOAD)


def test_what_differs_from_the_default_is_kept() -> None:
    limit = RateLimit(requests_per_second=1.0, burst=1, per="total")
    assert codec.encode(limit) == b'{"requestsPerSecond":1.0,"burst":1,"per":"total"}'
    assert b'"ready":false' in codec.encode(Endpoint(address="10.0.0.1", port=1, ready=False))


@given(
    st.lists(
        st.builds(
            Endpoint,
            address=st.sampled_from(["10.0.0.1", "fd00::1"]),
            port=st.integers(0, 65535),
            identity=st.sampled_from(["", "spiffe://a/ns/b/sa/c"]),
            node=st.text(max_size=3),
            ready=st.booleans(),
        ),
        max_size=5,
    )
)
def test_equal_values_have_equal_bytes(endpoints: list[Endpoint]) -> None:
    original = Endpoints(namespace="a", service="b", port=1, endpoints=tuple(endpoints))
    # Through plain values every text and number becomes a new object.
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(original)), Endpoints)
    assert again == original
    assert codec.encode(again) == codec.encode(original)


def test_the_digest_is_128_bits_of_the_bytes() -> None:
    assert codec.digest(b"") == "e3b0c44298fc1c149afbf4c8996fb924"
    assert codec.digest(b"a") != codec.digest(b"b")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[]", b'{"kind":"Nothing"}', b'{"kind":"Node","name":"n","trustDomain":"a","extra":1}'],
)
def test_bytes_that_are_no_resource_are_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        codec.decode_resource(data)


def test_convert_reports_every_problem_with_its_place() -> None:
    plain = {"namespace": "shop", "name": 1, "uid": "u", "identity": "x", "adresses": []}
    with pytest.raises(ContractError) as caught:
        codec.convert({"kind": "Workload", **plain}, Workload, source="a.yaml#1", subject="Workload shop/web")
    found = {(problem.path, problem.source, problem.subject) for problem in caught.value.problems}
    where = ("a.yaml#1", "Workload shop/web")
    assert found == {("$.adresses", *where), ("$.name", *where), ("$", *where)}
    assert "did you mean 'addresses'?" in str(caught.value)


def test_convert_takes_what_is_right() -> None:
    assert codec.convert({"kind": "Telemetry", "accessLog": "all"}, Telemetry).access_log == "all"


def _document(*resources: Resource) -> bytes:
    return codec.encode(codec.document("n1", list(resources)))


def test_a_document_survives_its_bytes_and_is_sorted() -> None:
    data = _document(*_SOME)
    document = codec.decode_document(data, source="n1.json", node="n1")
    keys = [entry.key for entry in document.resources]
    assert keys == sorted(keys)
    assert codec.encode(document) == data
    assert _document(*reversed(_SOME)) == data


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    plain = msgspec.json.decode(_document(_NODE, _WORKLOAD))
    change(plain)
    return msgspec.json.encode(plain)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update(schema="weft.dev/node/v0"), "$.schema"),
        (lambda d: d.pop("schema"), "$.schema"),
        (lambda d: d.update(node="n2"), "for node 'n2'"),
        (lambda d: d["resources"][1].update(key="Workload/shop/other"), "should be 'Workload/shop/web'"),
        (lambda d: d["resources"][1].update(hash="0" * 32), "changed after it was compiled"),
        (lambda d: d["resources"][1]["spec"].update(uid="v"), "changed after it was compiled"),
        (lambda d: d["resources"].append(d["resources"][1]), "is there twice"),
        (lambda d: d["resources"].pop(0), "exactly one Node"),
        (lambda d: d.update(extra=1), "unknown field 'extra'"),
        (lambda d: d["resources"][1]["spec"].update(kind="Wrokload"), "not a known kind"),
    ],
)
def test_a_document_that_is_wrong_is_refused(change: Callable[[dict[str, Any]], object], expected: str) -> None:
    with pytest.raises(ContractError) as caught:
        codec.decode_document(_changed(change), source="n1.json", node="n1")
    assert expected in str(caught.value)
    assert all(problem.source == "n1.json" for problem in caught.value.problems)


@pytest.mark.parametrize("data", [b"", b"\x00", b"not json", b"\xff\xfe", b"[]", b"3", b"null"])
def test_a_file_that_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        codec.decode_document(data, source="n1.json")


def test_all_problems_of_a_document_come_at_once() -> None:
    def change(plain: dict[str, Any]) -> None:
        plain["node"] = "n2"
        plain["resources"][0]["hash"] = "x"
        plain["resources"][1]["key"] = "y"

    with pytest.raises(ContractError) as caught:
        codec.decode_document(_changed(change), source="n1.json", node="n1")
    assert len(caught.value.problems) == 3


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ContractError):
        codec.decode_document(data, source="x")
