"""Standing by: a second agent of a node waits, ready, until the first one hands the node over; a rolling update is two such.

Theory: a DaemonSet that replaces an agent without a gap starts the new one beside the old one and ends the old one when the new
one says that it is ready. Only one of them may have the node: whoever holds the lock of the state directory. So the second
one is *ready to take over* as soon as everything it will run is loaded, says so, and tries the lock. The first one, told to
end, closes its listeners, lets go of the lock at once, and drains what it still carries; from then on it writes nothing below
the state directory and looks after no pod (`weft_agent.control.main`). An attempt to connect that falls between is repeated by
its client's kernel within a second, because rules without a listener drop it.
"""

import signal
from collections.abc import AsyncIterator
from typing import Final

import trio

from weft_agent.control.http_server import Request, Response, json_response, problem_response, serve
from weft_agent.control.state_directory import StateDirectory
from weft_agent.telemetry.log import Log

LOOK_S: Final = 0.02
"""Between looks at the lock: what a hand-over may lose at most."""
_WAITING: Final = "stands by until the agent that has this node ends"


async def stand_by(listeners: list[trio.SocketListener], state: StateDirectory, lifeline: int | None, log: Log) -> bool:
    """Wait for the lock; tell whether it came, and not the order to end.

    Args:
        listeners: for health; closed in the end, so that control can open its own.
        state: whose lock is waited for.
        lifeline: readable when the keeper is gone; None where no keeper is.
        log: told of the beginning and the end.
    """
    ports = ",".join("{}:{}".format(*listener.socket.getsockname()[:2]) for listener in listeners)
    took = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as orders:  # before anybody hears that it stands by
        log.info("standing-by", state=str(state.path), health=ports)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listeners, _answer, log)
            nursery.start_soon(_obey, orders, nursery.cancel_scope)
            if lifeline is not None:
                nursery.start_soon(_hold, lifeline, nursery.cancel_scope)
            while not state.lock():  # noqa: ASYNC110 - a lock of another process is no event of ours
                await trio.sleep(LOOK_S)
            took = True
            log.info("taking-over", state=str(state.path))
            nursery.cancel_scope.cancel()
    return took


async def _answer(request: Request) -> Response:
    if request.method not in {"GET", "HEAD"}:
        return problem_response(405, "GET or HEAD")
    match request.path:
        case "/healthz/ready":
            return json_response({"ready": True, "missing": [], "warnings": [_WAITING]})
        case "/healthz/live":
            return json_response({"live": True, "missing": []})
        case _:
            return problem_response(404, "/healthz/ready and /healthz/live are here")


async def _obey(orders: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in orders:
        scope.cancel()


async def _hold(lifeline: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(lifeline)
    scope.cancel()
