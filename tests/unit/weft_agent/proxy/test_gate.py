"""A pod's gate in a worker: answered with control's word, never with an old one, and never a burden."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from weft_agent.channel.messages import AskGate, GateWord
from weft_agent.proxy.gate import FRESH_S, QUESTIONS_MAX, GateDesk
from weft_agent.reactor import Reactor, TcpEnd
from weft_contract.gate import MAX_LINE_BYTES, question_line, ready_line, waiting_line
from weft_testing.reactor import LIMITS, running_reactor, tcp_pair, until

pytestmark = pytest.mark.trio

UID = "0f2d6b3e-6f4f-4c5e-9d3a-3f1a2b4c5d6e"


class Rig:
    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.asked: list[AskGate] = []
        self.opened: list[trio.socket.SocketType] = []
        self.desk = GateDesk(UID, reactor, self.asked.append)

    def connect(self) -> trio.SocketStream:
        ours, theirs = tcp_pair()
        self.desk.accepted(TcpEnd(self.reactor, theirs, LIMITS, downstream=True))
        sock = trio.socket.from_stdlib_socket(ours)
        self.opened.append(sock)
        return trio.SocketStream(sock)

    async def question(self, line: bytes = question_line(UID)) -> trio.SocketStream:
        stream = self.connect()
        await stream.send_all(line)
        return stream

    async def until_asked(self, count: int = 1) -> None:
        await until(lambda: len(self.asked) == count)

    def say(self, waiting: str = "") -> None:
        self.reactor.refresh()
        self.desk.word(GateWord(uid=UID, waiting=waiting))
        self.reactor.settle()


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    with trio.fail_after(10):
        async with running_reactor() as reactor:
            made = Rig(reactor)
            yield made
            for sock in made.opened:
                sock.close()


async def whole(stream: trio.SocketStream) -> bytes:
    data = b""
    while piece := await stream.receive_some(4096):
        data += piece
    return data


async def test_control_decides_and_the_pod_is_told() -> None:
    async with rig() as gate:
        stream = await gate.question()
        await gate.until_asked()
        gate.say("no certificate")
        assert await whole(stream) == waiting_line("no certificate")
        await trio.sleep(2 * FRESH_S)
        stream = await gate.question()
        await gate.until_asked(2)
        gate.say()
        assert await whole(stream) == ready_line(UID)


async def test_questions_at_once_share_one_word_and_soon_after_they_need_none() -> None:
    async with rig() as gate:
        streams = [await gate.question() for _ in range(10)]
        await gate.until_asked()
        await trio.testing.wait_all_tasks_blocked(0.01)
        gate.say()
        assert [await whole(stream) for stream in streams] == [ready_line(UID)] * 10
        assert await whole(await gate.question()) == ready_line(UID)
        assert len(gate.asked) == 1


async def test_a_question_in_pieces_is_one_question() -> None:
    async with rig() as gate:
        stream = gate.connect()
        for byte in question_line(UID):
            await stream.send_all(bytes([byte]))
        await gate.until_asked()
        gate.say()
        assert await whole(stream) == ready_line(UID)


async def test_another_pods_question_is_not_answered_for_it() -> None:
    async with rig() as gate:
        stream = await gate.question(question_line("11111111-2222-3333-4444-555555555555"))
        assert await whole(stream) == waiting_line(f"this is the gate of pod {UID}")
        assert not gate.asked


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b"gate \n", b"x" * (MAX_LINE_BYTES + 1), b"gate a\ngate b\n"])
async def test_what_is_no_question_is_hung_up_on(line: bytes) -> None:
    async with rig() as gate:
        stream = await gate.question(line)
        if line.startswith(b"gate a"):
            assert (await whole(stream)).startswith(b"waiting ")
            return
        with pytest.raises(trio.BrokenResourceError):
            await whole(stream)
        assert not gate.asked


async def test_whoever_hangs_up_is_forgotten_and_the_word_finds_nobody() -> None:
    async with rig() as gate:
        stream = await gate.question()
        await gate.until_asked()
        await stream.aclose()
        silent = gate.connect()
        silent.socket.shutdown(socket.SHUT_WR)
        gate.say()


async def test_a_next_control_is_asked_what_the_last_one_owed() -> None:
    async with rig() as gate:
        stream = await gate.question()
        await gate.until_asked()
        gate.desk.reorder()
        await gate.until_asked(2)
        gate.say()
        assert await whole(stream) == ready_line(UID)
        gate.desk.reorder()
        assert len(gate.asked) == 2, "nothing is owed now"


async def test_a_pod_holds_so_many_questions_open_and_none_when_it_is_gone() -> None:
    async with rig() as gate:
        streams = [gate.connect() for _ in range(QUESTIONS_MAX + 1)]
        with pytest.raises(trio.BrokenResourceError):
            await streams[-1].receive_some(1)
        gate.desk.close()
        for stream in streams[:-1]:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
