"""Shared rate-limit buckets: never more than rate and burst, over any number of workers, and memory that does not grow."""

import multiprocessing
import os
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_agent.channel import memfd
from weft_agent.channel.layout import BUCKET_GROUPS, BUCKETS_BYTES, BUCKETS_PER_GROUP
from weft_agent.worker.buckets import Buckets, key_hash


def table(*, alone: bool = True) -> Buckets:
    return Buckets(memfd.shared("test", BUCKETS_BYTES), alone=alone)


def taken(buckets: Buckets, key: int, times: list[float], rate: float, burst: int) -> int:
    return sum(buckets.take(key, now, rate, burst) == 0.0 for now in times)


def test_a_full_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = table()
    assert taken(buckets, 7, [1000.0] * 100, 10, 10) == 10
    assert taken(buckets, 7, [1000.0 + n / 1000 for n in range(1, 1001)], 10, 10) == 10
    buckets.close()


def test_the_answer_says_when_to_come_back() -> None:
    buckets = table()
    assert taken(buckets, 7, [1000.0] * 5, 2, 5) == 5
    wait = buckets.take(7, 1000.0, 2, 5)
    assert wait == pytest.approx(0.5)
    assert buckets.take(7, 1000.0 + wait, 2, 5) == 0.0
    buckets.close()


def test_keys_do_not_share_a_bucket() -> None:
    buckets = table()
    keys = [key_hash(f"policy/rule/{number}") for number in range(1000)]
    assert len(set(keys)) == 1000
    assert all(taken(buckets, key, [1000.0] * 4, 1, 2) == 2 for key in keys)
    buckets.close()


def test_the_hash_is_the_same_in_every_process_and_never_zero() -> None:
    assert key_hash("shop/web") == 2796021594269642155
    assert key_hash("\ud800")


@given(
    rate=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_any_traffic_gets_at_most_rate_times_time_plus_burst(rate: float, burst: int, gaps: list[float]) -> None:
    buckets = table()
    now, times = 5000.0, []
    for gap in gaps:
        now += gap / rate
        times.append(now)
    passed = taken(buckets, 3, times, rate, burst)
    assert passed <= burst + rate * (times[-1] - times[0]) * 1.002 + 1e-6
    buckets.close()


def colliding(group: int, count: int) -> list[int]:
    return [group + BUCKET_GROUPS * (number + 1) for number in range(count)]


def test_places_of_full_buckets_are_taken_over_and_memory_never_grows() -> None:
    buckets = table()
    keys = colliding(5, BUCKETS_PER_GROUP * 20)
    now = 1000.0
    for key in keys:
        assert buckets.take(key, now, 100, 1) == 0.0
        now += 0.011  # each is full again before the group has gone round
    assert (
        sum(1 for cell in buckets._keys[5 * BUCKETS_PER_GROUP : 6 * BUCKETS_PER_GROUP].tolist() if cell)
        <= BUCKETS_PER_GROUP
    )
    buckets.close()


def test_a_full_group_refuses_newcomers_and_forgets_nobody() -> None:
    buckets = table()
    keys = colliding(5, BUCKETS_PER_GROUP + 1)
    for key in keys[:-1]:
        assert buckets.take(key, 1000.0, 0.1, 1) == 0.0
    wait = buckets.take(keys[-1], 1000.0, 0.1, 1)
    assert wait == pytest.approx(10.0)
    assert all(buckets.take(key, 1001.0, 0.1, 1) > 0 for key in keys[:-1]), "no bucket started anew"
    assert buckets.take(keys[-1], 1000.0 + wait, 0.1, 1) == 0.0
    buckets.close()


@given(st.lists(st.tuples(st.integers(0, 150), st.floats(0, 0.5)), max_size=400))
@settings(max_examples=50)
def test_a_crowded_group_never_lets_more_pass_than_separate_tables(steps: list[tuple[int, float]]) -> None:
    crowded, now = table(), 1000.0
    passed: Counter[int] = Counter()
    first: dict[int, float] = {}
    for number, gap in steps:
        now += gap
        key = 9 + BUCKET_GROUPS * (number + 1)
        first.setdefault(key, now)
        passed[key] += crowded.take(key, now, 2.0, 3) == 0.0
        assert passed[key] <= 3 + 2.0 * (now - first[key]) * 1.002 + 1e-6
    crowded.close()


def hammer(fd: int, seconds: float, rate: float, burst: int, results: "multiprocessing.queues.Queue[int]") -> None:
    buckets = Buckets(fd, alone=False)
    end = time.monotonic() + seconds
    passed = 0
    while (now := time.monotonic()) < end:
        passed += buckets.take(77, now, rate, burst) == 0.0
    results.put(passed)


def test_two_processes_together_get_no_more_than_one() -> None:
    fd = memfd.shared("test", BUCKETS_BYTES)
    context = multiprocessing.get_context("fork")  # the descriptor has to be inherited; nothing here has threads
    results: multiprocessing.queues.Queue[int] = context.Queue()
    began = time.monotonic()
    workers = [context.Process(target=hammer, args=(fd, 0.7, 200, 20, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    passed = sum(results.get(timeout=20) for _ in workers)
    for worker in workers:
        worker.join(20)
    elapsed = time.monotonic() - began
    assert passed <= 20 + 200 * elapsed
    assert passed >= 20 + 200 * 0.5, "and what is allowed does pass"
    os.close(fd)


def hold(fd: int, ready: "multiprocessing.synchronize.Event") -> None:
    import fcntl

    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 77 % BUCKET_GROUPS)
    ready.set()
    time.sleep(60)  # noqa: TID251 - it is killed while it holds the lock


def test_a_worker_that_dies_with_a_lock_held_stops_nobody() -> None:
    fd = memfd.shared("test", BUCKETS_BYTES)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(fd, ready))
    holder.start()
    assert ready.wait(20)
    holder.kill()
    holder.join(20)
    buckets = Buckets(fd, alone=False)
    assert buckets.take(77, 1000.0, 1, 1) == 0.0
    buckets.close()
