"""The agent's own account: its deletion is heard over a watch that is open, and nothing else is taken for one."""

import json
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from weft_agent.kubernetes import Account, AccountError, OwnAccount
from weft_agent.kubernetes.own_account import owner_of
from weft_agent.telemetry.log import Log
from weft_testing.cluster.pki import Authority

pytestmark = pytest.mark.trio


def token(subject: str) -> str:
    return f"e30.{urlsafe_b64encode(json.dumps({'sub': subject}).encode()).decode().rstrip('=')}.c2ln"


class Rig:
    """A server whose watch says what the test sends."""

    def __init__(self, directory: Path) -> None:
        authority = Authority.make(directory)
        authority.issue("server", "server", names=["127.0.0.1"])
        (directory / "ca.crt").write_bytes(authority.certificate_pem)
        (directory / "token").write_text(token("system:serviceaccount:weft-system:weft-agent"))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(directory / "server.crt", directory / "server.key")
        self._directory = directory
        self.targets: list[str] = []
        self.send, self._receive = trio.open_memory_channel[str](10)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OwnAccount]:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listeners[0].socket.getsockname()
        account = Account(host, port, self._directory)
        own = OwnAccount(account, Log(lambda line: None, "json", "debug"), Random(1))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve, listeners)
                nursery.start_soon(own.run)
                yield own
                nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await tls.receive_some(65536)
        self.targets.append(head.split(b" ")[1].decode())
        await tls.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        async for kind in self._receive:
            if kind == "cut":
                await trio.aclose_forcefully(tls)
                return
            data = json.dumps({"type": kind, "object": {"metadata": {"name": "weft-agent"}}}).encode() + b"\n"
            await tls.send_all(b"%x\r\n%s\r\n" % (len(data), data))


async def test_a_deletion_is_heard(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running() as own:
        await rig.send.send("ADDED")
        await rig.send.send("MODIFIED")
        await rig.send.send("DELETED")
        await own.wait_gone()
        assert own.is_gone
        target = rig.targets[0]
        assert target.startswith("/api/v1/namespaces/weft-system/serviceaccounts?watch=1&")
        assert "fieldSelector=metadata.name%3Dweft-agent" in target


async def test_a_connection_that_breaks_is_no_deletion_and_a_new_account_takes_it_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    async with rig.running() as own:
        await rig.send.send("cut")
        await rig.send.send("ADDED")
        await rig.send.send("DELETED")
        await own.wait_gone()
        assert len(rig.targets) == 2
        await rig.send.send("ADDED")
        while own.is_gone:  # noqa: ASYNC110 - an account that is back is told to nobody
            await trio.sleep(0.002)


@pytest.mark.parametrize(
    "text", ["", "a.b", "opaque", token("system:node:n1"), token(""), token("system:serviceaccount:one")]
)
async def test_a_token_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(AccountError, match="no service account's"):
        owner_of(text)


async def test_the_owner_of_a_token() -> None:
    assert owner_of(token("system:serviceaccount:a:b")) == ("a", "b")
