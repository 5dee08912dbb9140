"""A session over memory streams and a clock that jumps: liveness, order, and every way it ends."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request, TextMessage

from weft_agent.operator_client.assembly import Change
from weft_agent.operator_client.errors import (
    ClosedError,
    GoodbyeError,
    OperatorError,
    ProtocolError,
    RefusedError,
    SilentError,
    UnreachableError,
)
from weft_agent.operator_client.session import Session
from weft_agent.operator_client.websocket import WebSocket, refusal
from weft_contract.limits import DEFAULT_LIMITS
from weft_contract.resources.document import SCHEMA
from weft_contract.stream import (
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    Ack,
    Goodbye,
    Hello,
    Pods,
    Update,
    encoder,
    from_agent_decoder,
)

HELLO = Hello(node="n1", build="1.0", schema=SCHEMA, have={})


class Peer:
    """The server's end of a memory stream, frame by frame."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.connection = WSConnection(ConnectionType.SERVER)
        self.events: list[Event] = []

    async def next(self) -> Event:
        while not self.events:
            data = bytes(await self.stream.receive_some(65536))
            self.connection.receive_data(data or None)
            self.events += self.connection.events()
        return self.events.pop(0)

    async def send(self, *events: Event) -> None:
        await self.stream.send_all(b"".join(self.connection.send(event) for event in events))

    async def message(self) -> object:
        """Return the next message, passing over pings and answering them."""
        while True:
            match await self.next():
                case BytesMessage(data=data):
                    return from_agent_decoder.decode(bytes(data))
                case Ping() as ping:
                    await self.send(ping.response())

    async def say(self, *messages: object) -> None:
        await self.send(*(BytesMessage(data=encoder.encode(message)) for message in messages))


class Scene:
    """A session with its peer."""

    def __init__(self, websocket: WebSocket, peer: Peer) -> None:
        self.changes: list[Change] = []
        self.pods = Pods()
        self.peer = peer
        self.session = Session(websocket, DEFAULT_LIMITS, self.changes.append, lambda: self.pods)
        self.ended: str | OperatorError = ""
        self.lasted_s = 0.0

    async def run(self, *watchers: Callable[[], Awaitable[str]]) -> None:
        began_s = trio.current_time()
        try:
            self.ended = await self.session.run(HELLO, *watchers)
        except OperatorError as exc:
            self.ended = exc
        self.lasted_s = trio.current_time() - began_s


async def pair() -> tuple[WebSocket, Peer]:
    ours, theirs = memory_stream_pair()
    websocket, peer = WebSocket(ours, MAX_FRAME_BYTES), Peer(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(websocket.open, "operator", "/v1/stream", SUBPROTOCOL, [(b"authorization", b"Bearer x")])
        request = await peer.next()
        assert isinstance(request, Request)
        assert dict(request.extra_headers)[b"authorization"] == b"Bearer x"
        await peer.send(AcceptConnection(subprotocol=SUBPROTOCOL))
    return websocket, peer


def play(script: Callable[[Scene], Awaitable[None]], *watchers: Callable[[], Awaitable[str]]) -> Scene:
    """Run a script as the peer; return the scene when the session has ended."""
    scenes: list[Scene] = []

    async def main() -> None:
        scene = Scene(*await pair())
        scenes.append(scene)
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scene.run, *watchers)
                await script(scene)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return scenes[0]


def test_hello_comes_first_then_pods_and_acks_in_order() -> None:
    async def script(scene: Scene) -> None:
        assert await scene.peer.message() == HELLO
        assert await scene.peer.message() == Pods()
        scene.session.acknowledge((Ack(nonce=1), Ack(nonce=2)))
        scene.session.acknowledge((Ack(nonce=3),))
        assert [await scene.peer.message() for _ in range(3)] == [Ack(nonce=1), Ack(nonce=2), Ack(nonce=3)]
        await scene.peer.say(Update(nonce=1, more=True), Update(nonce=1), Goodbye(reason="enough", retry_after_s=3.0))

    scene = play(script)
    assert [change.nonces for change in scene.changes] == [(1,)]
    assert isinstance(scene.ended, GoodbyeError)
    assert scene.ended.retry_after_s == 3.0


def test_silence_ends_a_session_within_twenty_seconds() -> None:
    async def script(scene: Scene) -> None:
        return

    scene = play(script)
    assert isinstance(scene.ended, SilentError)
    assert 19 <= scene.lasted_s <= 21


def test_a_peer_that_answers_pings_is_alive_and_one_that_talks_is_not_asked() -> None:
    async def script(scene: Scene) -> None:
        pings = 0
        with trio.move_on_after(100):
            while True:
                event = await scene.peer.next()
                if isinstance(event, Ping):
                    pings += 1
                    await scene.peer.send(event.response())
        assert 9 <= pings <= 10
        for nonce in range(1, 20):
            await trio.sleep(5)
            await scene.peer.say(Update(nonce=nonce))
        assert not [event for event in scene.peer.events if isinstance(event, Ping)]
        await scene.peer.say(Goodbye(reason="done"))

    assert isinstance(play(script).ended, GoodbyeError)


def test_pods_are_told_when_they_change_and_several_changes_at_once() -> None:
    async def script(scene: Scene) -> None:
        await scene.peer.message()
        assert await scene.peer.message() == Pods()
        for number in range(3):
            scene.pods = Pods(captured=(f"shop/{number}",))
            scene.session.pods_changed()
            await trio.sleep(0.1)
        assert await scene.peer.message() == Pods(captured=("shop/2",))
        await scene.peer.say(Goodbye(reason="done"))

    play(script)


def test_a_watcher_ends_it_by_plan_and_another_with_its_error() -> None:
    async def planned() -> str:
        await trio.sleep(5)
        return "time to go"

    async def failed() -> str:
        await trio.sleep(5)
        raise UnreachableError("no")

    async def nothing(scene: Scene) -> None:
        return

    assert play(nothing, planned).ended == "time to go"
    assert isinstance(play(nothing, failed).ended, UnreachableError)


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([TextMessage(data="hello")], ProtocolError),
        ([BytesMessage(data=b"\xff")], ProtocolError),
        ([BytesMessage(data=encoder.encode(HELLO))], ProtocolError),
        ([BytesMessage(data=encoder.encode(("unheard-of", 1)))], ProtocolError),
        ([BytesMessage(data=bytes(MAX_FRAME_BYTES + 1))], ProtocolError),
        ([CloseConnection(code=1001, reason="going")], ClosedError),
    ],
    ids=["text", "garbage", "agent's", "unknown", "long", "close"],
)
def test_what_should_not_come_ends_it(events: list[Event], error: type[OperatorError]) -> None:
    async def script(scene: Scene) -> None:
        async def send() -> None:
            try:
                await scene.peer.send(*events)
            except trio.BrokenResourceError:
                return

        await send()

    assert isinstance(play(script).ended, error)


def test_a_connection_that_ends_ends_it() -> None:
    async def script(scene: Scene) -> None:
        await scene.peer.stream.aclose()

    assert isinstance(play(script).ended, ClosedError | UnreachableError)


def test_a_message_in_fragments_is_one() -> None:
    async def script(scene: Scene) -> None:
        data = encoder.encode(Update(nonce=1))
        await scene.peer.send(
            BytesMessage(data=data[:2], message_finished=False),
            Ping(payload=b"between"),
            BytesMessage(data=data[2:]),
        )
        while not isinstance(await scene.peer.next(), Pong):
            pass
        await scene.peer.say(Goodbye(reason="done"))

    assert [change.nonces for change in play(script).changes] == [(1,)]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"title":"Refused","detail":"say who you are"}', "say who you are"),
        (b'{"title":"Refused"}', "Refused"),
        (b"<html>proxy</html>", "<html>proxy</html>"),
        (b"", "without a reason"),
        (b"\xff\xfe", "xff"),
    ],
)
def test_a_refusal_is_told_in_its_words(body: bytes, text: str) -> None:
    error = refusal(403, body, b"7")
    assert isinstance(error, RefusedError)
    assert (error.status, error.retry_after_s) == (403, 7.0)
    assert text in str(error)
    assert refusal(403, body, b"Wed, 21 Oct 2015 07:28:00 GMT").retry_after_s == 0.0
