"""One request for a certificate over real TLS: answers, refusals in the operator's words, and servers that misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from weft_agent.operator_client.bearer import Token, read_token
from weft_agent.operator_client.errors import (
    CredentialsError,
    OperatorError,
    ProtocolError,
    RefusedError,
    UnreachableError,
    UntrustedError,
)
from weft_agent.operator_client.https import post
from weft_agent.operator_client.signing_request import new_key_with_request
from weft_agent.operator_client.transport import Endpoint
from weft_contract.identity import parse_spiffe_id
from weft_contract.stream import CERTIFICATE_PATH, CertificateAnswer
from weft_testing.pki import ALICE, root
from weft_testing.standin_operator import StandinOperator

pytestmark = pytest.mark.trio

MADE = new_key_with_request(parse_spiffe_id(ALICE))
BODY = msgspec.json.encode(MADE.request)


def endpoint(operator: StandinOperator) -> Endpoint:
    return Endpoint("127.0.0.1", operator.port, operator.roots_path, 5.0)


async def ask(operator: StandinOperator, token: Token | None = None, path: str = CERTIFICATE_PATH) -> bytes:
    return await post(endpoint(operator), token or read_token(operator.token_path), path, BODY, 5.0)


@asynccontextmanager
async def serving(operator: StandinOperator) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(operator.run)
        yield
        nursery.cancel_scope.cancel()


async def test_an_answer_comes_back(tmp_path: Path) -> None:
    operator = StandinOperator(tmp_path)
    async with serving(operator):
        answer = msgspec.json.decode(await ask(operator), type=CertificateAnswer)
    assert answer.identity == ALICE
    assert operator.requests == [MADE.request]


async def test_a_refusal_is_told_with_its_words_and_its_wish(tmp_path: Path) -> None:
    operator = StandinOperator(tmp_path)
    operator.refuse_certificates = (429, "too many requests of this node")
    async with serving(operator):
        with pytest.raises(RefusedError, match="429: too many requests of this node") as caught:
            await ask(operator)
        assert caught.value.retry_after_s == 1.0
        with pytest.raises(RefusedError, match="401: unknown token"):
            await ask(operator, Token("other", 0.0))


async def test_the_token_is_shown_to_nobody_but_the_operator(tmp_path: Path) -> None:
    operator = StandinOperator(tmp_path)
    operator.roots_path.write_text(root().pem_text)
    async with serving(operator):
        with pytest.raises(UntrustedError, match="is not the operator"):
            await ask(operator)
    assert not operator.requests
    operator.roots_path.unlink()
    with pytest.raises(CredentialsError):
        await ask(operator)


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    operator = StandinOperator(tmp_path)
    async with serving(operator):
        pass
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:"):
        await ask(operator)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", UnreachableError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", (UnreachableError, ProtocolError)),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 300_000, ProtocolError),
    ],
    ids=["nothing", "half", "no HTTP", "too much"],
)
async def test_a_server_that_misbehaves_is_told(
    tmp_path: Path, answer: bytes, error: type[OperatorError] | tuple[type[OperatorError], ...]
) -> None:
    operator = StandinOperator(tmp_path)

    async def misbehave(stream: "trio.SSLStream[trio.SocketStream]") -> None:
        await stream.receive_some(65536)
        await stream.send_all(answer) if answer else None
        await trio.aclose_forcefully(stream)

    operator._serve = misbehave  # type: ignore[method-assign]  # in place of an operator
    async with serving(operator):
        with pytest.raises(error):
            await ask(operator)


async def test_a_server_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    operator = StandinOperator(tmp_path)

    async def serve_nothing(stream: "trio.SSLStream[trio.SocketStream]") -> None:
        await stream.receive_some(65536)
        await trio.sleep_forever()

    operator._serve = serve_nothing  # type: ignore[method-assign]  # in place of an operator
    async with serving(operator):
        with pytest.raises(UnreachableError, match=r"within 0\.3 s"):
            await post(endpoint(operator), read_token(operator.token_path), CERTIFICATE_PATH, BODY, 0.3)
