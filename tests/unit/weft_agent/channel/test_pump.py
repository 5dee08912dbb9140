"""The channel under trio: everything sent arrives, and whatever breaks the link ends `run` with its reason."""

import socket

import pytest
import trio
import trio.testing

from weft_agent.channel import Link, LinkClosedError, LinkOverrunError, LinkProtocolError, Pump, Received
from weft_agent.channel import link as link_module
from weft_agent.channel.messages import FromWorker, Ready, ToWorker, from_worker_decoder, to_worker_decoder

pytestmark = pytest.mark.trio


def pumps() -> tuple[Pump[ToWorker], Pump[FromWorker], list[FromWorker], socket.socket]:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[FromWorker] = []

    def hear(received: Received[FromWorker]) -> None:
        heard.append(received.message)

    return (
        Pump(Link(a, to_worker_decoder), lambda received: None),
        Pump(Link(b, from_worker_decoder), hear),
        heard,
        a,
    )


async def test_many_more_messages_than_the_kernel_holds_all_arrive() -> None:
    worker, control, heard, _ = pumps()
    for number in range(5000):
        worker.send(Ready(pid=number))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            nursery.start_soon(control.run)
            while len(heard) < 5000:  # noqa: ASYNC110 - the handler is a plain callback
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    assert heard == [Ready(pid=number) for number in range(5000)]


async def test_the_peers_last_words_are_heard_before_its_end() -> None:
    worker, control, heard, _ = pumps()
    worker.send(Ready(pid=1))
    worker._link.close()
    with trio.fail_after(5), pytest.raises(LinkClosedError):
        await control.run()
    assert heard == [Ready(pid=1)]


async def test_sending_to_a_dead_peer_is_harmless_and_run_says_so() -> None:
    worker, control, _, _ = pumps()
    control._link.close()
    for _ in range(3):
        worker.send(Ready(pid=1))
    with trio.fail_after(5), pytest.raises(LinkClosedError):
        await worker.run()


async def test_garbage_ends_the_run() -> None:
    _, control, _, sock = pumps()
    sock.send(b"\xc1")
    with trio.fail_after(5), pytest.raises(LinkProtocolError):
        await control.run()
    sock.close()


async def test_an_overrun_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, control, _, _ = pumps()
    monkeypatch.setattr(link_module, "MAX_QUEUED_MESSAGES", 10)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def run() -> None:
                with pytest.raises(LinkOverrunError):
                    await worker.run()
                ended.set()

            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(2000):
                worker.send(Ready(pid=number))
            await ended.wait()
    control._link.close()


async def test_a_handler_that_fails_is_not_swallowed() -> None:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fail(received: Received[FromWorker]) -> None:
        raise ZeroDivisionError

    control = Pump(Link(b, from_worker_decoder), fail)
    worker = Link(a, to_worker_decoder)
    worker.send(Ready(pid=1))
    with trio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await control.run()
    assert caught.group_contains(ZeroDivisionError)
    worker.close()
