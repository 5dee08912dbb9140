"""Stocks of prepared sockets: what is asked for when, who waits how long, and a second without control."""

import socket
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from weft_agent.proxy.stock import FIRST_WANTED, IDLE_S, MOST_WANTED, Stock
from weft_agent.reactor import Reactor, Timer


class Clock:
    """As much of a reactor as a stock needs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay_s, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.deadline <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            if timer.callback is not None:
                timer.fire()


class Store:
    """A stock and the control behind it, which answers when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[int] = []
        self.got: list[socket.socket | None] = []
        self.made: list[socket.socket] = []
        self.stock = Stock(cast(Reactor, self.clock), self.asked.append, 10.0)

    def take(self) -> None:
        self.stock.take(self.got.append)

    def supply(self) -> None:
        for count in self.asked:
            sockets = [socket.socket() for _ in range(count)]
            self.made += sockets
            self.stock.add(sockets)
        self.asked.clear()


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.stock.close()
    for sock in made.made:
        sock.close()


def test_what_is_there_is_taken_at_once_and_replaced(store: Store) -> None:
    store.stock.reorder()
    assert store.asked == [FIRST_WANTED]
    store.supply()
    store.take()
    assert len(store.got) == 1
    assert store.asked == [FIRST_WANTED]


def test_an_empty_stock_is_waited_for_and_grows(store: Store) -> None:
    store.take()
    assert (store.got, store.stock.waits, store.asked) == ([], 1, [2 * FIRST_WANTED])
    store.supply()
    assert len(store.got) == 1
    assert store.got[0] is not None


def test_nobody_waits_longer_than_allowed(store: Store) -> None:
    store.take()
    store.clock.advance(9.9)
    assert store.got == []
    store.clock.advance(0.2)
    assert store.got == [None]
    store.asked.clear()
    store.take()
    assert store.asked, "what was ordered never came: it is ordered anew"


def test_the_next_control_is_asked_for_all_that_is_outstanding(store: Store) -> None:
    for _ in range(5):
        store.take()
    store.asked.clear()
    store.clock.advance(5.0)
    store.stock.reorder()
    assert sum(store.asked) >= 5
    store.supply()
    assert len(store.got) == 5
    assert None not in store.got


@pytest.mark.parametrize("rate", [1, 12, 40])
def test_a_second_without_control_is_bridged(store: Store, rate: int) -> None:
    """What is held follows what is taken, without anybody having to wait first."""
    store.stock.reorder()
    store.supply()
    for _ in range(10 * rate):
        store.clock.advance(1 / rate)
        store.take()
        store.supply()
    assert store.stock.waits == 0 or rate > MOST_WANTED
    for _ in range(rate):  # control is gone
        store.clock.advance(1 / rate)
        store.take()
    assert store.stock.waits == 0
    assert len(store.got) == 11 * rate


def test_an_idle_stock_falls_back(store: Store) -> None:
    for _ in range(40):
        store.take()
        store.supply()
    assert store.stock.wanted == MOST_WANTED
    for _ in range(8):
        store.clock.advance(IDLE_S + 1)
        store.stock.trim()
    assert store.stock.wanted == FIRST_WANTED
    assert len(store.stock._sockets) == FIRST_WANTED
