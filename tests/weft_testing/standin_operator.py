"""A small operator for tests: real TLS, real WebSocket, real certificates, and every fault that a test may wish for.

It keeps to `weft_contract.stream` and knows nothing of the operator's own code: what an agent does with it, it does because
of the contract. In a trio test it runs in the test's nursery; `in_thread` runs it beside a test that is not trio's.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import h11
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, RejectConnection, RejectData
from wsproto.events import Request as Upgrade
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from weft_contract.codec import digest, encode
from weft_contract.resources import Resource, resource_key
from weft_contract.stream import (
    CERTIFICATE_PATH,
    MAX_HELLO_BYTES,
    SERVER_NAME,
    STREAM_PATH,
    SUBPROTOCOL,
    Ack,
    CertificateAnswer,
    CertificateRequest,
    FromOperator,
    Hello,
    Pods,
    Update,
    encoder,
    from_agent_decoder,
)
from weft_testing import asn1
from weft_testing.pki import DAY_S, Authority, key_pem, root

T = TypeVar("T")

TOKEN: Final = "token-of-n1"
WAIT_S: Final = 20.0
PART_RESOURCES: Final = 100


class StandinOperator:
    """The operator.

    Args:
        directory: for its certificate, the agent's roots file and token file.
    """

    def __init__(self, directory: Path) -> None:
        self.authority: Authority = root()
        self.directory = directory
        self.roots_path, self.token_path = directory / "operator-roots.pem", directory / "token"
        self.roots_path.write_text(self.authority.pem_text)
        self.token_path.write_text(TOKEN)
        self.tokens = {TOKEN}
        self.port = 0
        self.resources: dict[str, tuple[str, bytes]] = {}
        self.sessions: list[Served] = []
        """Every session that said hello, the living and the dead."""
        self.requests: list[CertificateRequest] = []
        self.refuse_stream: tuple[int, str] | None = None
        self.refuse_certificates: tuple[int, str] | None = None
        self.mute = False
        """Takes connections and says nothing, not even pong."""
        self.subprotocol: str | None = SUBPROTOCOL
        self.server_name = SERVER_NAME
        self.ttl_s = DAY_S
        self.issuer: Authority = self.authority
        self.identity_of: Callable[[CertificateRequest], str] = lambda request: (
            f"spiffe://cluster.local/ns/{request.namespace}/sa/{request.service_account}"
        )
        self.key_of: Callable[[bytes], object] | None = None
        self._nonce = 0
        self._news = trio.Event()
        self._nursery: trio.Nursery | None = None

    # -- what it serves -------------------------------------------------------------------------------------------

    def put(self, *resources: Resource) -> None:
        """Make these the newest versions, and tell every session."""
        items = {resource_key(each): (digest(body := encode(each)), body) for each in resources}
        self.put_raw(items)

    def put_raw(self, items: dict[str, tuple[str, bytes]]) -> None:
        """Do it with bytes of one's own choice."""
        self.resources |= items
        self._tell(Update(nonce=self.next_nonce(), upserts=tuple((key, *item) for key, item in items.items())))

    def remove(self, *keys: str) -> None:
        """Take resources away, and tell every session."""
        for key in keys:
            del self.resources[key]
        self._tell(Update(nonce=self.next_nonce(), removes=keys))

    def say(self, message: FromOperator) -> None:
        """Say anything to every session."""
        self._tell(message)

    def next_nonce(self) -> int:
        """Return a nonce that was never used."""
        self._nonce += 1
        return self._nonce

    def _tell(self, message: FromOperator) -> None:
        for session in self.alive:
            session.outbox.append(message)
            session.wake.set()

    # -- what it has seen -----------------------------------------------------------------------------------------

    @property
    def alive(self) -> list["Served"]:
        """The sessions that are open."""
        return [session for session in self.sessions if session.open]

    @property
    def acks(self) -> list[Ack]:
        """Every acknowledgement of every session."""
        return [ack for session in self.sessions for ack in session.acks]

    def changed(self) -> None:
        """Wake those who wait."""
        self._news.set()
        self._news = trio.Event()

    async def until(self, condition: Callable[[], T]) -> T:
        """Return the first true value of a condition."""
        with trio.fail_after(WAIT_S):
            while not (value := condition()):
                await self._news.wait()
        return value

    async def until_acked(self) -> Ack:
        """Return the acknowledgement of the newest update, once an agent is there that has it in force."""

        def newest() -> list[Ack]:
            return [ack for ack in self.acks if ack.nonce == self._nonce] if self.alive else []

        return (await self.until(newest))[0]

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on the same port as before, if any, until cancelled."""
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        context = self._context()
        async with trio.open_nursery() as self._nursery:
            task_status.started()

            async def serve(stream: trio.SocketStream) -> None:
                await self._serve(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

            await trio.serve_listeners(serve, listeners)

    def _context(self) -> ssl.SSLContext:
        issued = self.issuer.issue(
            uris=(), other_names=(asn1.implicit(2, self.server_name.encode()),), subject="", names_critical=True
        )
        path = self.directory / "operator.pem"
        path.write_bytes(key_pem(issued.key) + issued.chain_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(path)
        return context

    async def _serve(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some(65536)
                if not data:
                    return
                head += data
            if head.startswith(b"GET"):
                await Served(self, stream).run(head)
            else:
                await self._answer_post(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError, LocalProtocolError):
            pass  # the agent left
        finally:
            await trio.aclose_forcefully(stream)

    # -- certificates ---------------------------------------------------------------------------------------------

    async def _answer_post(self, stream: trio.abc.Stream, head: bytes) -> None:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        body, authorization, target = b"", b"", b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                target = event.target
                authorization = dict(event.headers).get(b"authorization", b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
        status, answer = self._certificate(target, authorization, body)
        fields = [("content-type", "application/json"), ("content-length", str(len(answer)))]
        if status == 429:
            fields.append(("retry-after", "1"))
        parts = (h11.Response(status_code=status, headers=fields), h11.Data(data=answer), h11.EndOfMessage())
        await stream.send_all(b"".join(connection.send(part) or b"" for part in parts))

    def _certificate(self, target: bytes, authorization: bytes, body: bytes) -> tuple[int, bytes]:
        if target != CERTIFICATE_PATH.encode() or not self.knows(authorization):
            return 401, problem("unknown token")
        request = msgspec.json.decode(body, type=CertificateRequest)
        self.requests.append(request)
        self.changed()
        if self.refuse_certificates is not None:
            status, detail = self.refuse_certificates
            return status, problem(detail)
        return 200, msgspec.json.encode(self.issue(request))

    def issue(self, request: CertificateRequest) -> CertificateAnswer:
        """Issue what was asked for, or what the test wishes instead."""
        from cryptography import x509

        key = x509.load_pem_x509_csr(request.csr.encode()).public_key() if self.key_of is None else self.key_of(b"")
        identity = self.identity_of(request)
        issued = self.issuer.issue(key=PublicHalf(key), uris=(identity,), ends_in_s=self.ttl_s)
        return CertificateAnswer(chain=issued.chain_pem.decode(), identity=identity, not_after_unix_s=0.0)

    def knows(self, authorization: bytes) -> bool:
        """Tell whether a request shows one of the tokens."""
        return authorization.decode().removeprefix("Bearer ") in self.tokens


class PublicHalf:
    """A key of which only the public half is known, as `weft_testing.pki` takes it."""

    def __init__(self, key: object) -> None:
        self._key = key

    def public_key(self) -> object:
        return self._key


class Served:
    """One session with one agent."""

    def __init__(self, operator: StandinOperator, stream: trio.abc.Stream) -> None:
        self._operator = operator
        self._stream = stream
        self._websocket = WSConnection(ConnectionType.SERVER)
        self.hello: Hello | None = None
        self.acks: list[Ack] = []
        self.pods: list[Pods] = []
        self.pings = 0
        self.outbox: list[FromOperator] = []
        self.wake = trio.Event()
        self.open = False
        self._scope = trio.CancelScope()

    async def run(self, head: bytes) -> None:
        """Serve the session to its end."""
        self._websocket.receive_data(head)
        upgrade = next(iter(self._websocket.events()))
        assert isinstance(upgrade, Upgrade)
        if not await self._accept(upgrade):
            return
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._receive)
                nursery.start_soon(self._send_outbox)
        except BaseExceptionGroup as exc:
            _, rest = exc.split(
                (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError, LocalProtocolError)
            )
            if rest is not None:
                raise rest from None
        finally:
            self.open = False
            self._operator.changed()

    def cut(self) -> None:
        """End the connection without a word."""
        self._scope.cancel()

    async def _accept(self, upgrade: Upgrade) -> bool:
        operator = self._operator
        authorization = dict(upgrade.extra_headers).get(b"authorization", b"")
        refused = operator.refuse_stream or (None if operator.knows(bytes(authorization)) else (401, "unknown token"))
        if refused is None and upgrade.target == STREAM_PATH and SUBPROTOCOL in upgrade.subprotocols:
            await self._send(AcceptConnection(subprotocol=operator.subprotocol))
            return True
        status, detail = refused or (404, "no stream here")
        await self._send(RejectConnection(status_code=status, headers=[(b"retry-after", b"1")], has_body=True))
        await self._send(RejectData(data=problem(detail)))
        return False

    async def _receive(self) -> None:
        message = b""
        while True:
            for event in list(self._websocket.events()):
                match event:
                    case BytesMessage(data=data, message_finished=finished):
                        message += bytes(data)
                        assert len(message) <= MAX_HELLO_BYTES
                        if finished:
                            self._heard(message)
                            message = b""
                    case Ping() as ping:
                        self.pings += 1
                        self._operator.changed()
                        if not self._operator.mute:
                            await self._send(ping.response())
                    case CloseConnection():
                        self._scope.cancel()
                        return
            data = await self._stream.receive_some(65536)
            self._websocket.receive_data(bytes(data) or None)
            if not data:
                self._scope.cancel()
                return

    def _heard(self, data: bytes) -> None:
        match from_agent_decoder.decode(data):
            case Hello() as hello:
                assert self.hello is None, "hello is said once"
                self.hello = hello
                self.open = True
                self._operator.sessions.append(self)
                self.outbox += self._differences(hello)
                self.wake.set()
            case Ack() as ack:
                self.acks.append(ack)
            case Pods() as pods:
                self.pods.append(pods)
        self._operator.changed()

    def _differences(self, hello: Hello) -> list[FromOperator]:
        resources = self._operator.resources
        upserts = [(key, *item) for key, item in resources.items() if hello.have.get(key) != item[0]]
        removes = tuple(key for key in hello.have if key not in resources)
        if not upserts and not removes:
            return []
        nonce = self._operator.next_nonce()
        parts: list[FromOperator] = [
            Update(nonce=nonce, upserts=tuple(upserts[start : start + PART_RESOURCES]), more=True)
            for start in range(0, len(upserts), PART_RESOURCES)
        ]
        return [*parts, Update(nonce=nonce, removes=removes)]

    async def _send_outbox(self) -> None:
        while True:
            await self.wake.wait()
            self.wake = trio.Event()
            while self.outbox and not self._operator.mute:
                await self._send(BytesMessage(data=encoder.encode(self.outbox.pop(0))))

    async def _send(self, event: Event) -> None:
        await self._stream.send_all(self._websocket.send(event))


def problem(detail: str) -> bytes:
    """Return a refusal's body."""
    return msgspec.json.encode({"type": "about:blank", "title": "refused", "detail": detail})


class ThreadedOperator:
    """A stand-in operator in a thread of its own; every call is made there."""

    def __init__(self, operator: StandinOperator) -> None:
        self.operator = operator
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop = trio.CancelScope()
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; a second time on the same port."""
        self._running.clear()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        assert self._running.wait(WAIT_S)

    def stop(self) -> None:
        """Be away: every connection breaks, nobody listens."""
        if self._thread is not None:
            self.call(lambda: self._stop.cancel())
            self._thread.join(WAIT_S)
            self._thread = None

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the operator's thread."""
        return trio.from_thread.run_sync(function, trio_token=self._token)

    def until(self, condition: Callable[[], T]) -> T:
        """Wait for a condition on the operator."""

        async def wait() -> T:
            return await self.operator.until(condition)

        return trio.from_thread.run(wait, trio_token=self._token)

    def until_acked(self) -> Ack:
        """Wait until the newest update is acknowledged."""

        async def wait() -> Ack:
            return await self.operator.until_acked()

        return trio.from_thread.run(wait, trio_token=self._token)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.CancelScope()
        with self._stop:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.operator.run)
                self._running.set()


@contextmanager
def in_thread(operator: StandinOperator) -> Iterator[ThreadedOperator]:
    """Run a stand-in operator beside a test."""
    threaded = ThreadedOperator(operator)
    threaded.start()
    try:
        yield threaded
    finally:
        threaded.stop()
