"""Conversations torn at every byte in every way: whatever happens when, nothing half looks whole, and nothing is left.

Each conversation runs up to each of its bytes; then the caller or the server resets, finishes, or both stand still until every
deadline is over, or the worker drains or cuts; and then the rest of the conversation comes all the same. Held each time:

- a request that the server has whole is one that the caller sent, and one that it has in part ends in a reset (unless the
  server has ended or answered before: then it knows);
- an answer that the caller has whole is one that the server gave, or a refusal of ours;
- every exchange that began has ended, every upstream is dropped or rests, no timer is left.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from weft_agent.proxy.http1 import Session, Upstream
from weft_agent.reactor import Reactor
from weft_contract.limits import KIB, Limits
from weft_core.errors import DrainDeadlineError, WeftError
from weft_core.http1 import RequestHead, ResponseHead
from weft_testing.http1_reader import Message, Reader
from weft_testing.memory_ends import MemoryEnd, pass_time, waiting

LIMITS = Limits()
LONG_S = 4000.0
"""Longer than any timeout."""
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = (
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
)
EXPECT = b"POST /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
UPGRADE = b"GET /e HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OLD = b"GET /f HTTP/1.0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer"
OK_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nansw\r\n2\r\ner\r\n0\r\n\r\n"
OK_OPEN = b"HTTP/1.1 200 OK\r\n\r\nanswer"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nanswer"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BODIES = {b"/a": b"", b"/b": b"hello", b"/c": b"abcde", b"/d": b"hello", b"/e": b"", b"/f": b""}

Step = tuple[str, bytes]
"""Who does what: `caller` and `server` say bytes, `end` of either, `connected`."""
CONVERSATIONS: dict[str, tuple[Step, ...]] = {
    "get": (("caller", GET), ("server", OK)),
    "get, chunked answer": (("caller", GET), ("server", OK_CHUNKS)),
    "get, answer to the end": (("caller", GET), ("server", OK_OPEN), ("server end", b"")),
    "http/1.0": (("caller", OLD), ("server", OK)),
    "twice": (("caller", GET), ("server", OK), ("caller", LENGTH), ("server", OK)),
    "pipelined": (("caller", GET + LENGTH + CHUNKS), ("server", OK), ("server", OK_CHUNKS), ("server", OK)),
    "length": (("caller", LENGTH), ("server", OK)),
    "chunks": (("caller", CHUNKS), ("server", OK_CHUNKS)),
    "expect": (("caller", EXPECT), ("server", CONTINUE), ("caller", b"hello"), ("server", OK)),
    "early answer": (("caller", LENGTH[:-3]), ("server", EARLY), ("caller", b"llo")),
    "server is late": (("late", b""), ("caller", LENGTH), ("connected", b""), ("server", OK)),
    "half-close": (("caller", GET), ("caller end", b""), ("server", OK)),
    "upgrade": (("caller", UPGRADE), ("server", SWITCH), ("caller", b"ping"), ("server", b"pong")),
    "slow caller": (("caller", GET), ("caller stalls", b""), ("server", OK), ("caller takes", b"")),
    "slow server": (("server stalls", b""), ("caller", LENGTH), ("server takes", b""), ("server", OK)),
}


@dataclass
class World:
    """A session between a caller and whatever servers its planner finds."""

    reactor: Reactor
    late: bool = False
    stalling: bool = False
    servers: list[MemoryEnd] = field(default_factory=list)
    resting: list[Upstream] = field(default_factory=list)
    upstreams: list[Upstream] = field(default_factory=list)
    open: int = 0
    finished_count: int = 0
    closed_count: int = 0
    wanting: Session | None = None

    def __post_init__(self) -> None:
        self.caller = MemoryEnd(LIMITS, downstream=True)
        self.session = Session(self.reactor, self.caller, LIMITS, self)

    # -- planner ------------------------------------------------------------------------------------------------------

    def start(self, session: Session, head: RequestHead) -> None:
        self.open += 1
        self.wanting = session
        if not self.late:
            self.connect()

    def connect(self) -> None:
        session, self.wanting = self.wanting, None
        if session is None:
            return
        if self.resting:
            session.forward(self.resting.pop())
            return
        end = MemoryEnd(LIMITS, downstream=False)
        if self.stalling:
            end.stall()
        upstream = Upstream(end, LIMITS, "10.0.0.1:80")
        self.servers.append(end)
        self.upstreams.append(upstream)
        upstream.on_gone = self.forget
        session.forward(upstream)

    def forget(self, upstream: Upstream) -> None:
        if upstream in self.resting:
            self.resting.remove(upstream)

    def again(self, session: Session, head: RequestHead, error: WeftError) -> bool:
        return False

    def release(self, session: Session, upstream: Upstream, *, reusable: bool) -> None:
        if reusable:
            self.resting.append(upstream)
        else:
            upstream.drop()

    def response_block(self, session: Session, head: ResponseHead) -> bytes | None:
        return None

    def finished(self, session: Session, error: WeftError | None) -> None:
        self.wanting = None
        if session.method:
            self.open -= 1
        self.finished_count += 1

    def closed(self, session: Session) -> None:
        self.wanting = None
        self.closed_count += 1

    # -- what happens -------------------------------------------------------------------------------------------------

    def do(self, step: Step) -> None:
        who, data = step
        server = self.servers[-1] if self.servers else None
        match who:
            case "caller":
                self.caller.say(data)
            case "caller end":
                self.caller.say_end()
            case "caller stalls":
                self.caller.stall()
            case "caller takes":
                self.caller.take()
            case "late":
                self.late = True
            case "connected":
                self.connect()
            case "server stalls":
                self.stalling = True
            case "server takes" if server is not None:
                server.take()
            case "server" if server is not None:
                server.say(data)
            case "server end" if server is not None:
                server.say_end()
        self.reactor.settle()


Tear = Callable[[World], None]


def _server(act: Callable[[MemoryEnd], None]) -> Tear:
    return lambda world: act(world.servers[-1]) if world.servers else None


TEARS: dict[str, Tear] = {
    "nothing": lambda world: None,
    "caller resets": lambda world: world.caller.reset(),
    "caller finishes": lambda world: world.caller.say_end(),
    "caller stalls": lambda world: world.caller.stall(),
    "server resets": _server(MemoryEnd.reset),
    "server finishes": _server(MemoryEnd.say_end),
    "garbage": _server(lambda end: end.say(b"\x00garbage\r\n\r\n")),
    "drain": lambda world: world.session.drain(),
    "cut": lambda world: world.session.cut(DrainDeadlineError("the drain is over")),
    "crash": lambda world: world.session.crash(),
}


def places(conversation: tuple[Step, ...]) -> list[tuple[int, int]]:
    """Return every place of a conversation: how many whole steps, and how many bytes of the next one."""
    found = [(count, at) for count, (_, data) in enumerate(conversation) for at in range(max(1, len(data)))]
    return [*found, (len(conversation), 0)]


def run(conversation: tuple[Step, ...], place: tuple[int, int], tear: Tear, clock: MockClock, *, stand: bool) -> World:
    """Run a conversation up to a place, tear it, go on with the rest, and let the caller leave."""
    faults: list[Exception] = []
    reactor = Reactor(KIB, faults.append)
    world = World(reactor)
    count, at = place
    for step in conversation[:count]:
        world.do(step)
    rest = list(conversation[count:])
    if at:
        who, data = rest[0]
        world.do((who, data[:at]))
        rest[0] = (who, data[at:])
    tear(world)
    reactor.settle()
    if stand:
        clock.jump(LONG_S)
        pass_time(reactor)
    for step in rest:
        world.do(step)
    world.caller.reset()
    reactor.settle()
    reactor.close()
    assert not faults
    return world


def messages(data: bytes | bytearray, method: bytes | None) -> tuple[list[Message], bool]:
    """Return the whole messages in some bytes, and whether part of another one follows."""
    reader = Reader(method)
    reader.feed(bytes(data))
    found = [message for message in reader.messages if message.complete]
    return found, reader.refused is None and (reader.incomplete or len(found) < len(reader.messages))


def check(world: World, name: str, tear: str) -> None:
    """Hold what the first lines of this file promise."""
    assert world.closed_count == 1
    assert world.open == 0
    for upstream, server in zip(world.upstreams, world.servers, strict=True):
        assert server.over or upstream in world.resting
        assert upstream.session is None
    assert waiting(world.reactor) == 0
    if name != "upgrade":
        for server in world.servers:
            check_server(server)
        if tear != "garbage":  # which may be a body like any other
            check_caller(world, name)
        if name == "get, answer to the end" and world.caller.sent.endswith(b"answer") and was_reset(world):
            assert world.caller.ending == "aborted", (
                "an answer that ends with its connection looks whole unless it is reset"
            )


def was_reset(world: World) -> bool:
    return world.servers[-1].ending == "lost"


def check_server(server: MemoryEnd) -> None:
    found, partial = messages(server.sent, None)
    for message in found:
        assert isinstance(message.head, RequestHead)
        assert message.body == BODIES[message.head.target]
    heard = server.said_end or server.said >= len(EARLY)
    assert not partial or heard or server.ending in {"aborted", "lost"}, "part of a request must not end in order"


def check_caller(world: World, name: str) -> None:
    found, partial = messages(world.caller.sent, b"GET")
    open_ended = name == "get, answer to the end"
    assert not partial or open_ended or world.caller.ending in {"aborted", "lost"}, (
        "half an answer must not end in order"
    )
    for message in found:
        assert isinstance(message.head, ResponseHead)
        if message.head.status in (200, 413) and message.head.header(b"content-length") != [b"0"]:
            assert message.body.startswith(b"weft: ") or message.body == b"answer"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("tear", "stand"),
    [*((tear, False) for tear in TEARS), ("nothing", True), ("caller stalls", True), ("caller finishes", True)],
)
@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_torn_at_every_byte(name: str, tear: str, stand: bool, clock: MockClock) -> None:
    conversation = CONVERSATIONS[name]
    for place in places(conversation):
        world = run(conversation, place, TEARS[tear], clock, stand=stand)
        try:
            check(world, name, tear)
        except AssertionError as exc:
            exc.add_note(f"at {place}: caller got {bytes(world.caller.sent)!r} ({world.caller.ending})")
            for server in world.servers:
                exc.add_note(f"server got {bytes(server.sent)!r} ({server.ending})")
            raise
        if tear == "nothing" and not stand:
            whole(world, name)
    await trio.lowlevel.checkpoint()


def whole(world: World, name: str) -> None:
    """An undisturbed conversation comes to its end, wherever it was cut in two."""
    if name == "upgrade":
        assert world.caller.sent.endswith(b"pong")
        assert world.servers[-1].sent.endswith(b"ping")
        return
    if name == "get, answer to the end":
        assert world.caller.sent.endswith(b"\r\n\r\nanswer")
        assert world.caller.ending == "closed"
        return
    found, partial = messages(world.caller.sent, b"GET")
    assert len([message for message in found if message.body == b"answer"]) == {"twice": 2, "pipelined": 3}.get(name, 1)
    assert not partial
