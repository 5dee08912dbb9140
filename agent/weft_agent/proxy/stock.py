"""Sockets that control made ahead of need: taken in callbacks, asked for again before they run out.

Theory: a worker may not make sockets in a pod's namespace, so it holds a few of each kind (role and family) per pod. The
number wanted follows use: it doubles whenever somebody had to wait, or more were taken within a second than are held, and falls
back when the kind lies idle. So a stock lasts for about a second of what is going on, which is what a restart of control takes.
Only when it is empty does a connection wait, and then for control's answer (the next control's, too), not longer than
`stock_wait_s`.
"""

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from weft_agent.reactor import Reactor, Timer

FIRST_WANTED: Final = 2
MOST_WANTED: Final = 64
WINDOW_S: Final = 1.0
"""What is taken within so long should be there."""
IDLE_S: Final = 30.0
"""A kind that nobody took for so long is wanted half as much."""

Taker = Callable[[socket.socket | None], None]
"""Takes a socket, or None when none came in time."""
Ask = Callable[[int], None]
"""Asks control for so many sockets of this kind."""


class Stock:
    """Sockets of one kind."""

    __slots__ = (
        "_ask", "_expected", "_reactor", "_sockets", "_taken", "_taken_at", "_wait_s", "_waiting", "_window_at", "waits",
        "wanted",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, ask: Ask, wait_s: float) -> None:
        self._reactor = reactor
        self._ask = ask
        self._wait_s = wait_s
        self._sockets: deque[socket.socket] = deque()
        self._waiting: deque[tuple[Taker, Timer]] = deque()
        self._expected = 0
        self._taken_at = reactor.now
        self._window_at = reactor.now
        self._taken = 0
        """Since the window began."""
        self.wanted = FIRST_WANTED
        self.waits = 0

    def take(self, taker: Taker) -> None:
        """Hand a socket to `taker`, at once if there is one."""
        self._count()
        if self._sockets:
            sock = self._sockets.popleft()
            if len(self._sockets) + self._expected < self.wanted:
                self._order(self.wanted)
            taker(sock)
            return
        self.waits += 1
        self.wanted = min(self.wanted * 2, MOST_WANTED)
        timer = self._reactor.after(self._wait_s, self._expire)
        self._waiting.append((taker, timer))
        if self._expected < len(self._waiting):
            self._order(self.wanted)

    def _count(self) -> None:
        """Note that somebody needs one, and want more where a second's need is more than is held."""
        now = self._taken_at = self._reactor.now
        if now - self._window_at >= WINDOW_S:
            self._window_at = now
            self._taken = 0
        self._taken += 1
        if self._taken > self.wanted:
            self.wanted = min(self.wanted * 2, MOST_WANTED)

    def add(self, sockets: list[socket.socket]) -> None:
        """Take in what control sent; those who wait are served first."""
        self._expected = max(0, self._expected - len(sockets))
        for sock in sockets:
            if self._waiting:
                taker, timer = self._waiting.popleft()
                timer.cancel()
                taker(sock)
            else:
                self._sockets.append(sock)
        if self._waiting and self._expected < len(self._waiting):
            self._order(self.wanted)

    def trim(self) -> None:
        """Give up what an idle kind no longer needs; called now and then."""
        if self._reactor.now - self._taken_at > IDLE_S and self.wanted > FIRST_WANTED:
            self.wanted = max(FIRST_WANTED, self.wanted // 2)
            self._taken_at = self._reactor.now
            while len(self._sockets) > self.wanted:
                self._sockets.popleft().close()

    def reorder(self) -> None:
        """Ask again for everything outstanding: control was replaced and knows of no order."""
        self._expected = 0
        if self._waiting or len(self._sockets) < self.wanted:
            self._order(max(self.wanted - len(self._sockets), len(self._waiting)))

    def close(self) -> None:
        """Close what is held and disappoint those who wait."""
        while self._sockets:
            self._sockets.popleft().close()
        while self._waiting:
            taker, timer = self._waiting.popleft()
            timer.cancel()
            taker(None)

    def _order(self, count: int) -> None:
        self._expected += count
        self._ask(count)

    def _expire(self) -> None:
        if self._waiting:
            taker, _ = self._waiting.popleft()
            taker(None)
        self._expected = 0  # whatever was ordered never came: order anew with the next need
