"""The loop: order of timers, results of threads on the loop's thread, and bugs of one handler that stay its own."""

import logging
import os
import threading
from collections.abc import Iterator

import pytest

from weft_lab.daemon.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.at(made.now + 20, made.stop)  # no test may hang
    yield made
    made.close()


def test_timers_fire_in_order_and_not_when_cancelled(loop: Loop) -> None:
    seen: list[str] = []
    now = loop.now
    loop.at(now + 0.02, lambda: seen.append("second"))
    loop.at(now + 0.01, lambda: seen.append("first"))
    loop.at(now + 0.015, lambda: seen.append("never")).cancel()
    loop.at(now + 0.03, loop.stop)
    loop.run()
    assert seen == ["first", "second"]


def test_threads_hand_their_results_to_the_loops_thread(loop: Loop) -> None:
    seen: list[tuple[int, bool]] = []

    def then(future: object) -> None:
        seen.append((future.result(), threading.current_thread() is threading.main_thread()))  # type: ignore[attr-defined]  # a future
        loop.stop()

    loop.in_thread(lambda: 7, then)
    loop.run()
    assert seen == [(7, True)]


def test_calls_from_many_threads_all_arrive(loop: Loop) -> None:
    count = 0

    def add() -> None:
        nonlocal count
        count += 1
        if count == 800:
            loop.stop()

    def call_often() -> None:
        for _ in range(100):
            loop.call(add)

    threads = [threading.Thread(target=call_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    loop.run()
    assert count == 800


def test_questions_are_answered_and_their_errors_handed_on(loop: Loop) -> None:
    answers: list[object] = []

    def ask() -> None:
        answers.append(loop.ask(lambda: 42))
        try:
            loop.ask(lambda: 1 // 0)
        except ZeroDivisionError as exc:
            answers.append(type(exc))
        loop.call(loop.stop)

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run()
    thread.join(5)
    assert answers == [42, ZeroDivisionError]


def test_a_failing_handler_is_logged_and_the_loop_goes_on(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call(lambda: [][1])
    loop.at(loop.now + 0.01, loop.stop)
    with caplog.at_level(logging.ERROR):
        loop.run()
    assert "a handler failed" in caplog.text


def test_descriptors_are_watched_until_they_are_not(loop: Loop) -> None:
    read_end, write_end = os.pipe()
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(os.read(read_end, 10))
        loop.unwatch(read_end)
        loop.stop()

    loop.watch(read_end, readable)
    os.write(write_end, b"x")
    loop.run()
    assert seen == [b"x"]
    os.close(read_end)
    os.close(write_end)
