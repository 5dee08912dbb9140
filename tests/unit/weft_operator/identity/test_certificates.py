"""The certificate endpoint over HTTP: who gets what, who is refused and what they are told, and the audit log."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from weft_contract.stream import CERTIFICATE_PATH
from weft_operator.ca import Authority, create_intermediate, create_root
from weft_operator.identity import CertificateEndpoint, PodIndex
from weft_operator.identity.rates import BURST
from weft_testing import objects as o
from weft_testing.live import held
from weft_testing.stream_agent import OpenDoor

pytestmark = pytest.mark.asyncio

NOW = 1_800_000_000.0


def csr(key: ec.EllipticCurvePrivateKey, *, name: str = "spiffe://evil/ns/a/sa/b") -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class World:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self.http = url, http

    async def ask(
        self, body: object, *, node: str | None = "n1", raw: bytes | None = None
    ) -> tuple[int, dict[str, object], str | None]:
        headers = {"Authorization": f"Bearer {node}"} if node else {}
        data = raw if raw is not None else json.dumps(body).encode()
        async with self.http.post(self.url + CERTIFICATE_PATH, data=data, headers=headers) as response:
            answer = json.loads(await response.read())
            expected = "application/json" if response.status == 200 else "application/problem+json"
            assert response.content_type == expected
            return response.status, answer, response.headers.get("Retry-After")


@asynccontextmanager
async def serve(*, authority: bool = True) -> AsyncIterator[World]:
    pods = PodIndex()
    for body in (o.namespace("shop"), o.pod("web", "10.0.0.1", node="n1", account="web")):
        item = held(body)
        pods.apply({item.key: item})
    root = create_root("mesh.test", now_unix_s=NOW)
    signer = Authority(create_intermediate(root, "mesh.test", now_unix_s=NOW), "mesh.test")
    endpoint = CertificateEndpoint(
        OpenDoor(), pods, lambda: signer if authority else None, clock=lambda: 0.0, wall=lambda: NOW
    )
    application = web.Application()
    application.add_routes(endpoint.routes())
    async with TestServer(application) as server, aiohttp.ClientSession() as http:
        yield World(str(server.make_url("")).rstrip("/"), http)


def asked(account: str = "web", namespace: str = "shop", request: str | None = None) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {"namespace": namespace, "serviceAccount": account, "csr": request if request is not None else csr(key)}


async def test_the_certificate_says_what_we_know_and_nothing_of_what_was_asked() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with capture_logs() as logs:
        async with serve() as world:
            status, answer, _ = await world.ask(asked(request=csr(key)))
    assert status == 200
    assert answer["identity"] == "spiffe://mesh.test/ns/shop/sa/web"
    leaf, _ = x509.load_pem_x509_certificates(str(answer["chain"]).encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://mesh.test/ns/shop/sa/web"]
    assert leaf.public_key() == key.public_key()
    assert answer["notAfterUnixS"] == leaf.not_valid_after_utc.timestamp()
    (line,) = [entry for entry in logs if entry["event"] == "certificate issued"]
    assert (line["node"], line["identity"]) == ("n1", answer["identity"])
    assert line["serial"] == f"{leaf.serial_number:x}"
    assert line["agent"] == "weft-system/n1"


async def test_an_identity_that_is_not_on_the_node_is_refused() -> None:
    with capture_logs() as logs:
        async with serve() as world:
            status, answer, retry = await world.ask(asked(), node="n2")
            assert (status, retry) == (403, "1")
            assert "no pod of service account shop/web is on node n2" in str(answer["detail"])
            for account, namespace in (("default", "shop"), ("web", "weft-system")):
                assert (await world.ask(asked(account, namespace)))[0] == 403
    refused = [entry for entry in logs if entry["event"] == "certificate refused"]
    assert [entry["status"] for entry in refused] == [403, 403, 403]
    assert (refused[0]["node"], refused[0]["service_account"]) == ("n2", "web")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"namespace": "shop", "serviceAccount": "web"}, "missing required field `csr`"),
        ({**asked(request="x"), "ttl": 1}, "unknown field `ttl`"),
        (asked(request="not pem"), "$.csr: not a certificate signing request"),
        (asked(request="x" * 9000), "length <= 8192"),
        (asked("../web"), "service account"),
        (asked("web/../../sa/admin"), "service account"),
        (asked(namespace="shop/sa/x"), "namespace"),
        ([], "Expected `object`"),
    ],
)
async def test_a_malformed_request_is_told_what_is_wrong(body: object, says: str) -> None:
    async with serve() as world:
        status, answer, _ = await world.ask(body)
        assert status == 400
        assert says in str(answer["detail"])


async def test_what_is_no_json_and_what_is_too_long() -> None:
    async with serve() as world:
        assert (await world.ask(None, raw=b"\xff{"))[0] == 400
        assert (await world.ask(None, raw=b" " * 20_000))[0] == 413


async def test_without_a_token_nothing_is_read() -> None:
    async with serve() as world:
        assert (await world.ask(asked(), node=None))[0] == 401


async def test_before_the_authority_is_known_it_says_so() -> None:
    async with serve(authority=False) as world:
        status, answer, retry = await world.ask(asked())
        assert (status, answer["title"], retry) == (503, "No authority", "1")


async def test_a_node_that_asks_too_often_is_slowed_down_alone() -> None:
    async with serve() as world:
        for _ in range(int(BURST)):
            assert (await world.ask([]))[0] == 400
        status, _, retry = await world.ask(asked())
        assert (status, retry) == (429, "1")
        assert (await world.ask(asked(), node="n2"))[0] == 403
